//! What the tests of the store share: a store on a simulated disk, samples by short names, and reading everything back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use disk::{Disk, SimulatedDisk};
use model::{
    Append, AppendError, AppendReport, Batch, Hints, Labels, Matcher, Queryable, Sample, SampleBuffer, SelectError,
    Selection, TimeRange, TimestampMs,
};

use crate::{OpenError, Store, StoreOptions, WalSync};

/// 2026-01-01, at the beginning of a two-hour window.
pub(crate) const NOW: i64 = 1_767_225_600_000;
pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// Samples by series and time; values as bits.
pub(crate) type Content = BTreeMap<String, BTreeMap<i64, u64>>;

/// A disk, a clock and options, from which stores are opened.
pub(crate) struct World {
    pub(crate) disk: SimulatedDisk,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) options: StoreOptions,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::seeded(1)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        let options = StoreOptions { wal_sync: WalSync::Off, ..StoreOptions::default() };
        Self { disk: SimulatedDisk::new(seed), clock: Arc::new(AtomicI64::new(NOW)), options }
    }

    pub(crate) fn with(change: impl FnOnce(&mut StoreOptions)) -> Self {
        let mut world = Self::new();
        change(&mut world.options);
        world
    }

    pub(crate) fn try_open(&self) -> Result<Arc<Store>, OpenError> {
        let clock = self.clock.clone();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let now = move || TimestampMs(clock.load(Ordering::Relaxed));
        Store::open(disk, Path::new("store"), self.options.clone(), Arc::new(now))
    }

    pub(crate) fn open(&self) -> Arc<Store> {
        self.try_open().expect("opens")
    }

    /// The clock is put to `ms`.
    pub(crate) fn at(&self, ms: i64) {
        self.clock.store(ms, Ordering::Relaxed);
    }

    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = self.disk.list(&Path::new("store").join(folder)).expect("is there");
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

pub(crate) fn labels(series: &str) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("series", series), ("kind", &series[..1])])
}

pub(crate) fn batch(rows: &[(&str, i64, f64)]) -> Batch {
    let mut out = Batch::default();
    for (series, timestamp, value) in rows {
        out.push(labels(series), Sample { timestamp: TimestampMs(*timestamp), value: *value });
    }
    out
}

pub(crate) fn append(store: &Store, rows: &[(&str, i64, f64)]) -> Result<AppendReport, AppendError> {
    store.append(&batch(rows))
}

/// Appends what must be stored as it is.
#[track_caller]
pub(crate) fn put(store: &Store, rows: &[(&str, i64, f64)]) {
    let report = append(store, rows).expect("can be written");
    assert_eq!((report.appended, report.refused), (rows.len(), vec![]));
}

pub(crate) fn range(start: i64, end: i64) -> TimeRange {
    TimeRange { start: TimestampMs(start), end: TimestampMs(end) }
}

/// What a query finds, as content; panics where labels are out of order or times are.
#[track_caller]
pub(crate) fn select(store: &Store, matchers: &[Matcher], range: TimeRange, hints: Hints) -> Content {
    try_select(store, matchers, range, hints).expect("selects and reads")
}

/// The same where reading may fail.
#[track_caller]
pub(crate) fn try_select(
    store: &Store,
    matchers: &[Matcher],
    range: TimeRange,
    hints: Hints,
) -> Result<Content, SelectError> {
    let mut out = Content::new();
    let mut before: Option<Labels> = None;
    for series in store.select(&Selection { matchers, range, hints })? {
        assert!(before.as_ref().is_none_or(|b| b < series.labels()), "{before:?} then {:?}", series.labels());
        before = Some(series.labels().clone());
        let mut samples = SampleBuffer::default();
        series.read(range, &mut samples)?;
        assert!(samples.timestamps.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", samples.timestamps);
        if !samples.is_empty() {
            let name = series.labels().get("series").unwrap_or("").to_owned();
            out.insert(name, samples.timestamps.into_iter().zip(samples.values.iter().map(|v| v.to_bits())).collect());
        }
    }
    Ok(out)
}

#[track_caller]
pub(crate) fn everything(store: &Store) -> Content {
    select(store, &[], TimeRange::ALL, Hints::default())
}

pub(crate) fn content(rows: &[(&str, i64, f64)]) -> Content {
    let mut out = Content::new();
    for (series, timestamp, value) in rows {
        out.entry((*series).to_owned()).or_default().insert(*timestamp, value.to_bits());
    }
    out
}

/// Waits until the WAL of the last run is replayed and sealed.
#[track_caller]
pub(crate) fn recovered(store: &Store) {
    assert!(store.wait_until_replayed(Duration::from_secs(60)), "the replay ends");
    store.maintain();
    assert!(!store.statistics().recovery.running, "{:?}", store.statistics());
}
