//! The replay itself: records of a log back into a head, on all cores.
//!
//! One thread reads records, looks references up and creates series; the samples go to workers, each of which has its own
//! series, so that those of one series stay in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use head::{Head, SeriesRef};
use model::EncodedHistogram;
use parking_lot::Mutex;
use segment_log::{Damage, DamageKind, SegmentInfo};

use crate::Store;
use crate::families::Heard;
use crate::record::{Decoded, decode};

/// More workers than this wait for the one that reads.
const MAX_WORKERS: usize = 4;
/// So many neighbouring series have the same worker.
const NEIGHBOURS: usize = 256;
/// So many parts of records wait for a worker at most.
const QUEUE: usize = 8;

/// Samples as columns.
#[derive(Default)]
struct Rows {
    series: Vec<SeriesRef>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

impl Rows {
    fn clear(&mut self) {
        self.series.clear();
        self.timestamps.clear();
        self.values.clear();
    }
}

/// What the workers share.
struct Shared {
    head: Arc<Head>,
    /// Samples that were new.
    stored: Arc<AtomicU64>,
    /// Buffers to be used again.
    spare: Mutex<Vec<Rows>>,
}

impl Shared {
    fn restore(&self, mut rows: Rows) {
        let stored = self.head.restore_samples(&rows.series, &rows.timestamps, &rows.values);
        self.stored.fetch_add(stored as u64, Ordering::Relaxed);
        rows.clear();
        let mut spare = self.spare.lock();
        if spare.len() < MAX_WORKERS * QUEUE {
            spare.push(rows);
        }
    }
}

impl Shared {
    /// Restores the histograms of a record and returns how many are of no known series. They are few, so no worker gets any.
    fn restore_histograms(&self, table: &Table, histograms: &mut Vec<(u32, i64, EncodedHistogram)>) -> usize {
        if histograms.is_empty() {
            return 0;
        }
        let total = histograms.len();
        let known = histograms.drain(..).filter_map(|(reference, at, h)| Some((table.get(reference)?, at, h)));
        let known: Vec<_> = known.collect();
        let stored = self.head.restore_histograms(&known);
        self.stored.fetch_add(stored as u64, Ordering::Relaxed);
        total - known.len()
    }
}

/// A thread that restores samples until its sender is dropped.
struct Worker {
    sender: SyncSender<Rows>,
    thread: JoinHandle<()>,
}

/// References of a generation, in pages: a log names them from zero on, and whatever a damaged one names costs a page.
#[derive(Default)]
struct Table {
    pages: HashMap<u32, Box<[Option<SeriesRef>; Table::PAGE]>>,
}

impl Table {
    const PAGE: usize = 1 << 12;

    fn get(&self, reference: u32) -> Option<SeriesRef> {
        *self.pages.get(&(reference / Self::PAGE as u32))?.get(reference as usize % Self::PAGE)?
    }

    fn set(&mut self, reference: u32, series: SeriesRef) {
        let page = self.pages.entry(reference / Self::PAGE as u32).or_insert_with(|| Box::new([None; Self::PAGE]));
        page[reference as usize % Self::PAGE] = Some(series);
    }
}

/// A replay under way.
pub(crate) struct Replay {
    shared: Arc<Shared>,
    /// None where the operating system gave none: everything is done here then.
    workers: Vec<Worker>,
    /// What each of them gets of the record that is being read.
    parts: Vec<Rows>,
    /// By number of generation.
    tables: HashMap<u64, Table>,
    decoded: Decoded,
}

impl Replay {
    /// A replay into an empty head. `stored` counts what was new.
    pub(crate) fn new(head: Head, stored: Arc<AtomicU64>) -> Self {
        let shared = Arc::new(Shared { head: Arc::new(head), stored, spare: Mutex::default() });
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        let spawn = |_| {
            let (sender, receiver) = sync_channel::<Rows>(QUEUE);
            let shared = shared.clone();
            let work = move || receiver.into_iter().for_each(|rows| shared.restore(rows));
            let thread = std::thread::Builder::new().name("wal-replay-worker".to_owned()).spawn(work).ok()?;
            Some(Worker { sender, thread })
        };
        let workers: Vec<Worker> = if cores > 1 { (0..cores).filter_map(spawn).collect() } else { Vec::new() };
        let parts = (0..workers.len().max(1)).map(|_| Rows::default()).collect();
        Self { shared, workers, parts, tables: HashMap::new(), decoded: Decoded::default() }
    }

    /// Waits until everything that was read is in the head.
    pub(crate) fn finish(self) -> Arc<Head> {
        for Worker { sender, thread } in self.workers {
            drop(sender);
            // A panic in there was reported when it happened.
            let _ = thread.join();
        }
        self.shared.head.clone()
    }

    /// Replays a segment. What cannot be read is named, counted and put aside.
    pub(crate) fn segment(&mut self, store: &Store, segment: &SegmentInfo) {
        let reader = match segment_log::read(&*store.disk, segment) {
            Ok(reader) => reader,
            Err(error) => {
                tracing::error!(%error, "a segment of the log cannot be read, it is kept for the next start");
                store.damages.count.add(1);
                store.recovery.incomplete.store(true, Ordering::Release);
                return;
            }
        };
        let mut damages = Vec::new();
        let mut records = reader.records();
        let mut from = records.offset();
        while let Some(record) = records.next() {
            if store.recovery.is_stopping() {
                return;
            }
            let offset = std::mem::replace(&mut from, records.offset());
            let outcome = record.and_then(|payload| {
                self.record(store, payload).map_err(|what| {
                    tracing::error!(segment = segment.number, offset, what, "a record of the log is of no use");
                    Damage { segment: segment.number, offset, bytes: from - offset, kind: DamageKind::Corrupt }
                })
            });
            if let Err(damage) = outcome {
                tracing::error!(%damage, "the log is damaged");
                store.damages.count.add(1);
                damages.push(damage);
            }
            self.seal_when_full(store);
        }
        store.recovery.replayed.fetch_add(1, Ordering::Relaxed);
        if store.options.read_only || damages.is_empty() {
            return;
        }
        match segment_log::quarantine(&*store.disk, segment, &damages, &store.layout.quarantine) {
            Ok(paths) => store.quarantined.lock().extend(paths.iter().map(|path| path.display().to_string())),
            Err(error) => {
                tracing::error!(%error, "damage of the log cannot be put aside, its segments are kept");
                store.recovery.incomplete.store(true, Ordering::Release);
            }
        }
    }

    fn record(&mut self, store: &Store, payload: &[u8]) -> Result<(), String> {
        decode(payload, &mut self.decoded).map_err(|error| error.to_string())?;
        let decoded = &mut self.decoded;
        let table = self.tables.entry(decoded.header.generation).or_default();
        for (reference, labels) in decoded.definitions.drain(..) {
            table.set(reference, self.shared.head.restore(&labels));
        }
        decoded.metadata.iter().for_each(|entry| store.families.hear(Heard::Logged, entry));
        let mut unknown = self.shared.restore_histograms(table, &mut decoded.histograms);
        let mut page: Option<(u32, &[Option<SeriesRef>; Table::PAGE])> = None;
        let rows = decoded.references.iter().zip(&decoded.timestamps).zip(&decoded.values);
        for ((reference, timestamp), value) in rows {
            let number = reference / Table::PAGE as u32;
            if page.is_none_or(|(known, _)| known != number) {
                page = table.pages.get(&number).map(|page| (number, &**page));
            }
            let Some(series) = page.and_then(|(_, page)| page[*reference as usize % Table::PAGE]) else {
                unknown += 1;
                continue;
            };
            let worker = series.0 as usize / NEIGHBOURS % self.parts.len();
            let part = &mut self.parts[worker];
            part.series.push(series);
            part.timestamps.push(*timestamp);
            part.values.push(*value);
        }
        self.hand_over();
        if unknown > 0 { Err(format!("{unknown} samples are of series whose definition is lost")) } else { Ok(()) }
    }

    /// Gives the workers their parts.
    fn hand_over(&mut self) {
        for (at, part) in self.parts.iter_mut().enumerate().filter(|(_, part)| !part.series.is_empty()) {
            let spare = self.shared.spare.lock().pop().unwrap_or_default();
            let rows = std::mem::replace(part, spare);
            match self.workers.get(at) {
                // A worker ends before its sender does only by a panic, which was reported.
                Some(worker) => drop(worker.sender.send(rows)),
                None => self.shared.restore(rows),
            }
        }
    }

    /// A replay needs no more memory than running did.
    fn seal_when_full(&mut self, store: &Store) {
        while self.shared.head.samples() > store.options.max_head_samples && !store.options.read_only {
            let _one = store.recovery.sealing.lock();
            let Err(error) = store.counters.seals.measure(|| store.seal_part(&self.shared.head)) else { return };
            tracing::error!(%error, "what was recovered cannot be sealed, the replay waits");
            store.recovery.wait_to_retry();
            if store.recovery.is_stopping() {
                return;
            }
        }
    }
}
