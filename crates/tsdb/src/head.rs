//! The head: appends, reads, retention, limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use model::{
    Append, AppendReport, Batch, Labels, Matcher, MetricMetadata, Queryable, Refusal, RefusalReason, SelectError,
    Selection, StoredSeries, TimeRange, TimestampMs,
};
use parking_lot::{Mutex, RwLock};

use crate::index::Index;
use crate::series::{Handle, Pushed, Series};

/// Where the head gets the time from.
pub type Clock = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// A sample further ahead of the clock than this is refused, as Prometheus' receiver does.
const MAX_AHEAD_MS: i64 = 600_000;
/// Retention is enforced whenever this part of it has passed: dropping one sample moves all others of its series.
const RETENTION_STEPS: i64 = 64;
/// Metadata of more families than this is not kept.
const MAX_FAMILIES: usize = 100_000;

/// What the head may hold.
#[derive(Debug, Clone, Copy)]
pub struct HeadOptions {
    /// How long samples are kept, counted from the newest stored one.
    pub retention: Duration,
    /// New series beyond this are refused; known ones go on.
    pub max_series: usize,
    /// When more samples than this are held, the oldest go before their retention is over. A sample takes 16 bytes.
    pub max_samples: u64,
}

impl Default for HeadOptions {
    /// Six hours, two million series, 2^28 samples (4 GiB).
    fn default() -> Self {
        Self { retention: Duration::from_secs(6 * 3600), max_series: 2_000_000, max_samples: 1 << 28 }
    }
}

/// Counts of what the head holds and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadStatistics {
    /// Series with at least one sample.
    pub series: u64,
    /// Samples held.
    pub samples: u64,
    /// Samples stored since start.
    pub appended: u64,
    /// Samples dropped by retention since start.
    pub dropped_by_retention: u64,
    /// Samples dropped before their time because the budget was used up, since start.
    pub dropped_by_budget: u64,
    /// The oldest and the newest sample; `None` for an empty head.
    pub bounds: Option<(TimestampMs, TimestampMs)>,
}

/// An in-memory store of series.
pub struct Head {
    options: HeadOptions,
    clock: Clock,
    index: RwLock<Index>,
    metadata: RwLock<BTreeMap<String, MetricMetadata>>,
    newest: AtomicI64,
    /// Held during upkeep: an index is rebuilt by one at a time.
    upkeep: Mutex<()>,
    /// What retention has been enforced up to.
    truncated: AtomicI64,
    /// Below zero for a moment when samples are dropped before their append has counted them.
    samples: AtomicI64,
    appended: AtomicU64,
    dropped_by_retention: AtomicU64,
    dropped_by_budget: AtomicU64,
}

impl Head {
    /// An empty head.
    pub fn new(options: HeadOptions, clock: Clock) -> Self {
        Self {
            options,
            clock,
            index: RwLock::default(),
            metadata: RwLock::default(),
            newest: AtomicI64::new(i64::MIN),
            upkeep: Mutex::default(),
            truncated: AtomicI64::new(i64::MIN),
            samples: AtomicI64::new(0),
            appended: AtomicU64::new(0),
            dropped_by_retention: AtomicU64::new(0),
            dropped_by_budget: AtomicU64::new(0),
        }
    }

    fn retention_ms(&self) -> i64 {
        i64::try_from(self.options.retention.as_millis()).unwrap_or(i64::MAX)
    }

    fn cutoff(&self) -> i64 {
        self.newest.load(Ordering::Relaxed).saturating_sub(self.retention_ms())
    }

    fn held(&self) -> u64 {
        u64::try_from(self.samples.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Drops what retention and budget no longer cover, and series without samples. Call it every few seconds.
    pub fn maintain(&self) {
        let _one_at_a_time = self.upkeep.lock();
        let cutoff = self.cutoff();
        let step = self.retention_ms() / RETENTION_STEPS;
        if cutoff >= self.truncated.load(Ordering::Relaxed).saturating_add(step) {
            self.truncated.store(cutoff, Ordering::Relaxed);
            let gone = self.truncate(cutoff);
            self.dropped_by_retention.fetch_add(gone, Ordering::Relaxed);
        }
        while self.held() > self.options.max_samples {
            let Some((oldest, newest)) = self.statistics().bounds else { break };
            // A tenth of the time span: a few rounds at most, and the newest sample always stays.
            let cutoff = oldest.0 + (newest.0 - oldest.0) / 10 + 1;
            if cutoff > newest.0 {
                break;
            }
            let gone = self.truncate(cutoff);
            self.dropped_by_budget.fetch_add(gone, Ordering::Relaxed);
        }
    }

    fn truncate(&self, cutoff: i64) -> u64 {
        let all = self.index.read().all().to_vec();
        let (mut gone, mut empty) = (0, 0usize);
        for series in &all {
            let (dropped, left) = series.truncate(cutoff);
            gone += dropped as u64;
            empty += usize::from(!left);
        }
        self.samples.fetch_sub(gone as i64, Ordering::Relaxed);
        // Rebuilding the index costs its size, so it waits until a tenth of it is dead.
        if empty * 10 > all.len() {
            self.rebuild_index(&all);
        }
        gone
    }

    /// Leaves dead series behind. Readers and writers wait only for what has changed while the new index was made.
    fn rebuild_index(&self, all: &[Arc<Series>]) {
        let (living, dead): (Vec<_>, Vec<_>) = all.iter().partition(|s| s.bounds().is_some());
        let mut fresh = Index::default();
        living.into_iter().for_each(|series| fresh.insert(series.clone()));
        let old = {
            let mut index = self.index.write();
            // Writers push while they hold the index lock, so none holds a series across its removal. A series that was
            // dead above may live again by now, and new ones stand behind those that were there.
            let revived = dead.into_iter().filter(|s| s.bounds().is_some());
            revived.chain(index.all().iter().skip(all.len())).for_each(|series| fresh.insert(series.clone()));
            std::mem::replace(&mut *index, fresh)
        };
        // Freeing takes time too, and nobody needs to wait for it.
        drop(old);
    }

    /// What the head holds and did.
    pub fn statistics(&self) -> HeadStatistics {
        let index = self.index.read();
        let mut out = HeadStatistics {
            samples: self.held(),
            appended: self.appended.load(Ordering::Relaxed),
            dropped_by_retention: self.dropped_by_retention.load(Ordering::Relaxed),
            dropped_by_budget: self.dropped_by_budget.load(Ordering::Relaxed),
            ..HeadStatistics::default()
        };
        for (first, last) in index.all().iter().filter_map(|s| s.bounds()) {
            out.series += 1;
            let (oldest, newest) = out.bounds.unwrap_or((TimestampMs(first), TimestampMs(last)));
            out.bounds = Some((oldest.min(TimestampMs(first)), newest.max(TimestampMs(last))));
        }
        out
    }

    /// The `limit` values of a label that the most series have, the most first.
    pub fn top_values(&self, name: &str, limit: usize) -> Vec<(String, usize)> {
        let index = self.index.read();
        let mut values: Vec<(&str, usize)> = index.values(name).collect();
        values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        values.truncate(limit);
        values.into_iter().map(|(value, count)| (value.to_owned(), count)).collect()
    }

    fn store_metadata(&self, incoming: &[MetricMetadata]) {
        let mut known = self.metadata.write();
        for entry in incoming {
            if known.len() < MAX_FAMILIES || known.contains_key(&entry.family) {
                known.insert(entry.family.clone(), entry.clone());
            }
        }
    }

    fn selected(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Vec<Arc<Series>> {
        let index = self.index.read();
        let mut out: Vec<Arc<Series>> = match any_of {
            [] => index.all().to_vec(),
            lists => lists.iter().flat_map(|matchers| index.select(matchers)).collect(),
        };
        drop(index);
        out.retain(|s| s.overlaps(range));
        out.sort_unstable_by(|a, b| a.labels().cmp(b.labels()));
        out.dedup_by(|a, b| Arc::ptr_eq(a, b));
        out
    }
}

impl Append for Head {
    fn append(&self, batch: &Batch) -> AppendReport {
        let mut report = AppendReport::default();
        let limit = (self.clock)() + MAX_AHEAD_MS;
        let mut newest = self.newest.load(Ordering::Relaxed);
        let cutoff = self.cutoff();
        let mut index = self.index.read();
        for (row, entry) in batch.rows.iter().enumerate() {
            let timestamp = entry.sample.timestamp;
            let mut refuse = |reason| report.refused.push(Refusal { row, reason });
            if timestamp > limit {
                refuse(RefusalReason::TooFarInFuture);
                continue;
            }
            if timestamp.0 < cutoff.max(0) {
                refuse(RefusalReason::OutOfBounds);
                continue;
            }
            let pushed = match index.get(&entry.labels) {
                Some(series) => series.push(entry.sample),
                None if index.len() >= self.options.max_series => Pushed::Refused(RefusalReason::SeriesLimit),
                None => {
                    // New series are rare: the read lock is given up for them and taken again.
                    drop(index);
                    let pushed = {
                        let mut writing = self.index.write();
                        match writing.get(&entry.labels).cloned() {
                            Some(series) => series.push(entry.sample),
                            // Others may have created the last ones in between.
                            None if writing.len() >= self.options.max_series => {
                                Pushed::Refused(RefusalReason::SeriesLimit)
                            }
                            None => writing.create(&entry.labels).push(entry.sample),
                        }
                    };
                    index = self.index.read();
                    pushed
                }
            };
            match pushed {
                Pushed::Stored => {
                    report.appended += 1;
                    newest = newest.max(timestamp.0);
                }
                Pushed::Duplicate => report.duplicates += 1,
                Pushed::Refused(reason) => refuse(reason),
            }
        }
        drop(index);
        self.newest.fetch_max(newest, Ordering::Relaxed);
        self.samples.fetch_add(report.appended as i64, Ordering::Relaxed);
        self.appended.fetch_add(report.appended as u64, Ordering::Relaxed);
        if !batch.metadata.is_empty() {
            self.store_metadata(&batch.metadata);
        }
        report
    }
}

impl Queryable for Head {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        let mut found = self.index.read().select(selection.matchers);
        found.retain(|s| s.overlaps(selection.range));
        found.sort_unstable_by(|a, b| a.labels().cmp(b.labels()));
        Ok(found.into_iter().map(|s| Box::new(Handle(s)) as Box<dyn StoredSeries>).collect())
    }

    fn series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<Labels>, SelectError> {
        Ok(self.selected(any_of, range).into_iter().map(|s| s.labels().clone()).collect())
    }

    fn label_names(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        if any_of.is_empty() && range == TimeRange::ALL {
            let mut names: Vec<String> = self.index.read().names().map(str::to_owned).collect();
            names.sort_unstable();
            return Ok(names);
        }
        let series = self.selected(any_of, range);
        let names: BTreeSet<&str> = series.iter().flat_map(|s| s.labels().iter().map(|(n, _)| n)).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn label_values(&self, name: &str, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        if any_of.is_empty() && range == TimeRange::ALL {
            return Ok(self.index.read().values(name).map(|(value, _)| value.to_owned()).collect());
        }
        let series = self.selected(any_of, range);
        let values: BTreeSet<&str> = series.iter().filter_map(|s| s.labels().get(name)).collect();
        Ok(values.into_iter().map(str::to_owned).collect())
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        self.metadata.read().values().cloned().collect()
    }
}
