//! What a run that was killed left in its log: replayed on a thread into a head of its own, beside the living one, and
//! sealed from there. Whoever needs samples of that time waits, everybody else goes on.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use head::Head;
use parking_lot::{Condvar, Mutex};
use segment_log::SegmentInfo;

use crate::record::header;
use crate::replay::Replay;
use crate::statistics::RecoveryStatistics;
use crate::{Store, StoreError};

/// How long to wait before a seal in the midst of a replay is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The state of the replay.
pub(crate) struct Recovery {
    /// Samples at or before this may still be in the log only; `i64::MIN` when everything is replayed.
    until: AtomicI64,
    /// Held while `until` changes.
    lock: Mutex<()>,
    changed: Condvar,
    /// What was replayed and is not sealed yet.
    head: ArcSwapOption<Head>,
    /// Whether the segments of the last run may go; what could not be read or put aside keeps them.
    done: AtomicBool,
    pub(crate) incomplete: AtomicBool,
    stopping: AtomicBool,
    /// Held by whoever seals what was recovered.
    pub(crate) sealing: Mutex<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
    segments: AtomicU64,
    pub(crate) replayed: AtomicU64,
    pub(crate) samples: Arc<AtomicU64>,
}

impl Recovery {
    pub(crate) fn new(needed: bool) -> Self {
        Self {
            until: AtomicI64::new(if needed { i64::MAX } else { i64::MIN }),
            lock: Mutex::default(),
            changed: Condvar::new(),
            head: ArcSwapOption::empty(),
            done: AtomicBool::new(!needed),
            incomplete: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            sealing: Mutex::default(),
            thread: Mutex::default(),
            segments: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            samples: Arc::default(),
        }
    }

    /// Whether anybody has to wait for anything.
    #[inline]
    pub(crate) fn concerns_any(&self) -> bool {
        self.until.load(Ordering::Acquire) != i64::MIN
    }

    /// Waits until samples from `timestamp` on are all in memory or in blocks. False when they are not after so long.
    pub(crate) fn wait_for(&self, timestamp: i64, timeout: Duration) -> bool {
        let mut guard = self.lock.lock();
        let deadline = Instant::now() + timeout;
        while self.concerns_any() && timestamp <= self.until.load(Ordering::Acquire) {
            if self.stopping.load(Ordering::Acquire) || self.changed.wait_until(&mut guard, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Waits until everything is replayed.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        self.wait_for(i64::MIN, timeout)
    }

    fn set_until(&self, until: i64) {
        let _guard = self.lock.lock();
        self.until.store(until, Ordering::Release);
        self.changed.notify_all();
    }

    /// What was replayed and is not in blocks yet. Take it before the list of blocks.
    pub(crate) fn head(&self) -> Option<Arc<Head>> {
        self.head.load_full()
    }

    /// Whether the log of the last run is of no use any more.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Ends the replay where it is. The segments stay for the next start.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        {
            let _guard = self.lock.lock();
            self.changed.notify_all();
        }
        // The last handle of a store may be dropped by its own thread.
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic in there was reported when it happened.
            let _ = thread.join();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits a while, unless the store is being closed.
    pub(crate) fn wait_to_retry(&self) {
        let mut guard = self.lock.lock();
        if !self.is_stopping() {
            self.changed.wait_for(&mut guard, RETRY_AFTER);
        }
    }

    pub(crate) fn statistics(&self) -> RecoveryStatistics {
        RecoveryStatistics {
            running: self.concerns_any() || self.head.load().is_some(),
            segments: self.segments.load(Ordering::Relaxed),
            replayed_segments: self.replayed.load(Ordering::Relaxed),
            samples: self.samples.load(Ordering::Relaxed),
        }
    }
}

impl Store {
    /// Replays segments on a thread of its own.
    pub(crate) fn begin_recovery(store: &Arc<Self>, segments: Vec<SegmentInfo>) {
        let weak = Arc::downgrade(store);
        let work = move || recover(&weak, segments);
        match std::thread::Builder::new().name("wal-replay".to_owned()).spawn(work) {
            Ok(thread) => *store.recovery.thread.lock() = Some(thread),
            Err(error) => {
                // Reads of that time fail until the next start; nothing is lost.
                tracing::error!(%error, "no thread to replay the log of the last run, it is kept for the next start");
                store.recovery.incomplete.store(true, Ordering::Release);
            }
        }
    }

    /// The newest time in the segments, and how many of them hold anything.
    fn scan(&self, segments: &[SegmentInfo]) -> Option<(i64, u64)> {
        let (mut newest, mut used) = (i64::MIN, 0);
        for segment in segments {
            if self.recovery.is_stopping() {
                return None;
            }
            let Ok(reader) = segment_log::read(&*self.disk, segment) else { continue };
            let mut any = false;
            for record in reader.records() {
                any = true;
                if let Some(header) = record.ok().and_then(|payload| header(payload).ok()) {
                    newest = newest.max(header.max);
                }
            }
            used += u64::from(any);
        }
        Some((newest, used))
    }

    /// Seals what was recovered and lets go of the segments it came from.
    ///
    /// # Errors
    /// When blocks cannot be written. What was recovered stays in memory.
    pub(crate) fn seal_recovered(&self) -> Result<(), StoreError> {
        let Some(wal) = &self.wal else { return Ok(()) };
        if self.recovery.concerns_any() || self.recovery.is_done() {
            return Ok(());
        }
        let _one = self.recovery.sealing.lock();
        if let Some(head) = self.recovery.head() {
            self.counters.seals.measure(|| self.seal_part(&head))?;
            self.recovery.head.store(None);
        }
        if !self.recovery.incomplete.load(Ordering::Acquire) {
            wal.log().remove_before(self.first_segment)?;
            self.recovery.done.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Moves what a recovered head holds into blocks.
    pub(crate) fn seal_part(&self, head: &Head) -> Result<(), StoreError> {
        let frozen = head.freeze();
        let blocks = self.write_windows(&frozen)?;
        self.change_catalogue(&[], blocks);
        if self.recovery.concerns_any() {
            // Nobody reads it before it is complete.
            head.release(frozen);
        }
        Ok(())
    }
}

/// The whole recovery. Gives up when the store is dropped.
fn recover(store: &Weak<Store>, segments: Vec<SegmentInfo>) {
    let started = Instant::now();
    let scan = store.upgrade().and_then(|store| {
        let (newest, used) = store.scan(&segments)?;
        store.recovery.segments.store(used, Ordering::Relaxed);
        if newest != i64::MIN {
            store.saw(newest);
            store.sealed_until.fetch_max(newest, Ordering::AcqRel);
        }
        store.recovery.set_until(newest.max(i64::MIN + 1));
        Some(Replay::new(Head::new(store.options.head.clone()), store.recovery.samples.clone()))
    });
    let Some(mut replay) = scan else { return };
    for segment in &segments {
        let Some(store) = store.upgrade().filter(|store| !store.recovery.is_stopping()) else { return };
        replay.segment(&store, segment);
    }
    let Some(store) = store.upgrade().filter(|store| !store.recovery.is_stopping()) else { return };
    let recovery = &store.recovery;
    let head = replay.finish();
    if head.samples() > 0 {
        recovery.head.store(Some(head));
    }
    recovery.set_until(i64::MIN);
    let samples = recovery.samples.load(Ordering::Relaxed);
    tracing::info!(samples, segments = segments.len(), took = ?started.elapsed(), "replayed the log of the last run");
    if let Err(error) = store.seal_recovered() {
        tracing::error!(%error, "what was recovered cannot be sealed yet, trying again");
    }
}
