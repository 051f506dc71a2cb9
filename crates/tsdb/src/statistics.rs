//! What the store tells about itself: counts for /metrics, and the shape of its series for status/tsdb.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use model::TimestampMs;
use parking_lot::Mutex;

use crate::StoreError;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often something was done, in vain, and how long it took altogether.
#[derive(Debug, Default)]
pub(crate) struct Work {
    done: Counter,
    failed: Counter,
    nanoseconds: Counter,
}

impl Work {
    /// Does it, and counts.
    pub(crate) fn measure<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let started = Instant::now();
        let outcome = work();
        self.nanoseconds.add(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        match &outcome {
            Ok(_) => self.done.add(1),
            // What gave up its turn did not fail.
            Err(StoreError::Interrupted | StoreError::Busy) => {}
            Err(_) => self.failed.add(1),
        }
        outcome
    }

    pub(crate) fn statistics(&self) -> WorkStatistics {
        WorkStatistics {
            done: self.done.get(),
            failed: self.failed.get(),
            time: Duration::from_nanos(self.nanoseconds.get()),
        }
    }
}

/// Syncs that quantiles are of.
const RECENT_SYNCS: usize = 600;

/// How long syncs took: all of them together, and the latest one by one.
#[derive(Debug, Default)]
pub(crate) struct SyncTimes {
    count: Counter,
    nanoseconds: Counter,
    /// Nanoseconds; the oldest is overwritten.
    recent: Mutex<Vec<u64>>,
}

impl SyncTimes {
    pub(crate) fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let mut recent = self.recent.lock();
        if recent.len() < RECENT_SYNCS {
            recent.push(took);
        } else if let Some(oldest) = recent.get_mut(self.count.get() as usize % RECENT_SYNCS) {
            *oldest = took;
        }
        self.count.add(1);
        self.nanoseconds.add(took);
    }

    pub(crate) fn statistics(&self) -> SyncStatistics {
        let mut recent = self.recent.lock().clone();
        recent.sort_unstable();
        let quantile = |q: f64| {
            let rank = (q * recent.len() as f64).ceil() as usize;
            recent.get(rank.saturating_sub(1)).map(|took| Duration::from_nanos(*took))
        };
        SyncStatistics {
            done: self.count.get(),
            time: Duration::from_nanos(self.nanoseconds.get()),
            quantiles: [0.5, 0.9, 0.99].map(|q| (q, quantile(q))),
        }
    }
}

/// Counters of a store, since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appended: Counter,
    pub(crate) histograms: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) seals: Work,
    pub(crate) compactions: Work,
    pub(crate) rollups: Work,
    pub(crate) removals: Work,
    pub(crate) time_retentions: Counter,
    pub(crate) size_retentions: Counter,
}

/// One kind of work since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkStatistics {
    /// How often it was done.
    pub done: u64,
    /// How often it failed. It is tried again.
    pub failed: u64,
    /// How long it took altogether, failures included.
    pub time: Duration,
}

/// The syncs of the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SyncStatistics {
    /// How many there were since the store was opened.
    pub done: u64,
    /// How long they took altogether.
    pub time: Duration,
    /// Quantiles of the last 600; `None` where there was none.
    pub quantiles: [(f64, Option<Duration>); 3],
}

/// The WAL of a store.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WalStatistics {
    /// Bytes written since the store was opened.
    pub written_bytes: u64,
    /// How many of them are known to survive a power loss.
    pub synced_bytes: u64,
    /// Bytes that a restart would have to replay.
    pub replay_bytes: u64,
    /// Records that could not be written at once.
    pub write_failures: u64,
    /// Syncs that failed.
    pub sync_failures: u64,
    /// Syncs that did not.
    pub syncs: SyncStatistics,
    /// Whether samples are refused at the moment because the WAL cannot be written.
    pub blocked: bool,
}

/// The exemplars of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExemplarStatistics {
    /// How many were stored since the store was opened.
    pub appended: u64,
    /// How many were refused because their series has a later one.
    pub out_of_order: u64,
    /// How often their log could not be written.
    pub log_failures: u64,
    /// How many there may be.
    pub capacity: u64,
    /// How many there are.
    pub stored: u64,
    /// How many series have some.
    pub series: u64,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// The time of the one that will go next.
    pub oldest: Option<TimestampMs>,
}

/// The replay of what the last run left in its WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryStatistics {
    /// Whether it goes on at the moment.
    pub running: bool,
    /// Segments that the last run left.
    pub segments: u64,
    /// How many of them were replayed.
    pub replayed_segments: u64,
    /// Samples that were found in them.
    pub samples: u64,
}

/// What a store holds and did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoreStatistics {
    /// Series in memory.
    pub head_series: u64,
    /// Samples in memory.
    pub head_samples: u64,
    /// Chunks of samples in memory: those that are closed, and one that grows for each series.
    pub head_chunks: u64,
    /// Series that came into memory since start.
    pub head_series_created: u64,
    /// Series that went from memory since start.
    pub head_series_removed: u64,
    /// The oldest and the newest sample in memory; `None` without any.
    pub head_bounds: Option<(TimestampMs, TimestampMs)>,
    /// Bytes of memory that series, index and samples occupy.
    pub head_bytes: u64,
    /// Samples stored since start.
    pub appended: u64,
    /// Native histograms stored since start.
    pub appended_histograms: u64,
    /// Samples that came again since start.
    pub duplicates: u64,
    /// Blocks of raw samples.
    pub blocks: u64,
    /// Blocks of rollups.
    pub rollup_blocks: u64,
    /// Bytes of all blocks.
    pub block_bytes: u64,
    /// Samples in the blocks of raw samples.
    pub block_samples: u64,
    /// The oldest and the newest sample; `None` for an empty store.
    pub bounds: Option<(TimestampMs, TimestampMs)>,
    /// Exemplars.
    pub exemplars: ExemplarStatistics,
    /// The write-ahead log.
    pub wal: WalStatistics,
    /// The replay at start.
    pub recovery: RecoveryStatistics,
    /// Damaged records and files that were found since start. Each was named in the log.
    pub corruptions: u64,
    /// Where damaged files were moved to.
    pub quarantined: Vec<String>,
    /// Moving memory into blocks.
    pub seals: WorkStatistics,
    /// Joining blocks.
    pub compactions: WorkStatistics,
    /// Making rollups.
    pub rollups: WorkStatistics,
    /// How often blocks were removed for their age.
    pub time_retentions: u64,
    /// How often blocks were removed because all of them took too much space.
    pub size_retentions: u64,
    /// For how long raw samples are kept, and how many bytes blocks may take; `None` for any number.
    pub retention: (Duration, Option<u64>),
    /// Removing the files of blocks that retention took or that were joined.
    pub removals: WorkStatistics,
}

/// The shape of what is in memory, the largest first, as status/tsdb shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cardinality {
    /// Series in memory.
    pub series: u64,
    /// Pairs of label name and value in memory.
    pub label_pairs: u64,
    /// Metric names by their series.
    pub series_by_metric: Vec<(String, u64)>,
    /// Label names by their values.
    pub values_by_label: Vec<(String, u64)>,
    /// Label names by the bytes of their values.
    pub memory_by_label: Vec<(String, u64)>,
    /// Pairs, as `name=value`, by their series.
    pub series_by_pair: Vec<(String, u64)>,
}
