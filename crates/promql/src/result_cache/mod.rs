//! Answers of range queries, kept for dashboards that ask again: docs/decisions/009-the-result-cache.md.
//!
//! An answer from here is, bit for bit, what [`Engine::range`] would answer at that moment. What is kept is evaluated again
//! as far as the store says that something changed ([`model::Changes`]); what lies before and behind it is evaluated and
//! laid beside it. Whatever could tell the parts from the whole is not kept ([`dependence`]), or not used.

mod dependence;
mod extent;
mod remarks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::{Changes, Queryable, SampleBuffer, TimeRange, TimestampMs, Version};
use moka::sync::Cache;

use self::dependence::Reach;
use self::extent::{Extent, Grid};
use self::remarks::Remarks;
use crate::{Engine, MatrixSeries, PromqlError, Query, QueryLimits, QueryResult, QueryStatsWanted, Value};

/// An extent may take at most this part of all memory, so that one query cannot drive out all others.
const LARGEST_SHARE: u64 = 4;

/// What tells answers apart that are kept: two queries of one key have their steps at the same times. The text as written:
/// remarks name places in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    text: String,
    step_ms: i64,
    phase_ms: i64,
    lookback_ms: i64,
}

/// How often the cache was of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResultCacheStatistics {
    /// Queries that needed no evaluation.
    pub hits: u64,
    /// Queries of which a part was evaluated.
    pub partial_hits: u64,
    /// Queries that could have been answered and were not there.
    pub misses: u64,
    /// Queries that can never be answered from here.
    pub bypassed: u64,
    /// Steps that were answered without evaluation.
    pub reused_steps: u64,
    /// Steps that were evaluated, but for queries that bypassed the cache.
    pub evaluated_steps: u64,
    /// Answers that are kept.
    pub entries: u64,
    /// Bytes that they take.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    partial_hits: AtomicU64,
    misses: AtomicU64,
    bypassed: AtomicU64,
    reused_steps: AtomicU64,
    evaluated_steps: AtomicU64,
}

/// A cache of range queries over one store. One serves all threads.
#[derive(Debug)]
pub struct ResultCache {
    extents: Cache<Key, Arc<Extent>>,
    largest_bytes: u64,
    counters: Counters,
}

/// One query to one store.
struct Asked<'a> {
    engine: &'a Engine,
    storage: &'a dyn Queryable,
    query: &'a Query,
    limits: &'a QueryLimits,
    grid: Grid,
    reach: Reach,
    changes: &'a dyn Changes,
    version: Version,
    /// What is being written at the version.
    unsettled: Vec<TimeRange>,
}

/// What an extent is good for now: the extent and those of its steps that are asked for and still hold.
struct Usable {
    extent: Arc<Extent>,
    /// Those that still hold, whether asked for or not.
    clean: Grid,
    reused: Grid,
}

impl ResultCache {
    /// A cache of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let weigh = |key: &Key, extent: &Arc<Extent>| {
            u32::try_from(extent.bytes() + key.text.len() + size_of::<Key>()).unwrap_or(u32::MAX)
        };
        let extents = Cache::builder().max_capacity(bytes).weigher(weigh).build();
        Self { extents, largest_bytes: bytes / LARGEST_SHARE, counters: Counters::default() }
    }

    /// How often it was of use.
    pub fn statistics(&self) -> ResultCacheStatistics {
        // What was inserted a moment ago counts too.
        self.extents.run_pending_tasks();
        let counters = &self.counters;
        ResultCacheStatistics {
            hits: counters.hits.load(Relaxed),
            partial_hits: counters.partial_hits.load(Relaxed),
            misses: counters.misses.load(Relaxed),
            bypassed: counters.bypassed.load(Relaxed),
            reused_steps: counters.reused_steps.load(Relaxed),
            evaluated_steps: counters.evaluated_steps.load(Relaxed),
            entries: self.extents.entry_count(),
            bytes: self.extents.weighted_size(),
        }
    }

    /// Evaluates a query at every step of a range, or as few of them as need it. What the answer took
    /// ([`QueryResult::stats`]) is what was evaluated.
    ///
    /// # Errors
    /// As [`Engine::range`].
    pub fn range(
        &self,
        engine: &Engine,
        storage: &dyn Queryable,
        query: &Query,
        range: TimeRange,
        step_ms: i64,
        limits: &QueryLimits,
    ) -> Result<QueryResult, PromqlError> {
        let whole = || engine.range(storage, query, range, step_ms, limits);
        let Some(asked) = Asked::new(engine, storage, query, range, step_ms, limits) else {
            self.counters.bypassed.fetch_add(1, Relaxed);
            return whole();
        };
        let key = asked.key();
        let found = self.extents.get(&key).and_then(|extent| asked.usable(extent));
        if let Some(usable) = found
            && let Some(result) = self.answered_by(&asked, &key, &usable)
        {
            return Ok(result);
        }
        self.counters.misses.fetch_add(1, Relaxed);
        self.counters.evaluated_steps.fetch_add(asked.grid.count as u64, Relaxed);
        let result = whole()?;
        self.keep_whole(&asked, key, &result);
        Ok(result)
    }

    /// An answer of which at least a part is kept. `None` where the whole has to be evaluated after all.
    fn answered_by(&self, asked: &Asked<'_>, key: &Key, usable: &Usable) -> Option<QueryResult> {
        let Usable { extent, reused, .. } = usable;
        let parts = [asked.grid.before(reused), asked.grid.behind(reused)];
        let mut evaluated = Vec::new();
        for part in parts.iter().filter(|part| part.count > 0) {
            // Whatever is wrong with a part is told as it is told of the whole.
            evaluated.push(asked.evaluate(*part).ok()?);
        }
        let fresh: Vec<Remarks> = evaluated.iter().map(Remarks::of).collect();
        let remarks = Remarks::of_parts(&extent.remarks, reused.covers(&extent.remarked), &fresh)?;
        let counters = &self.counters;
        let series = if evaluated.is_empty() {
            counters.hits.fetch_add(1, Relaxed);
            extent.series_within(*reused)
        } else {
            let union = asked.grid.joined(&usable.clean, extent.grid.count);
            let parts: Vec<&[MatrixSeries]> = evaluated.iter().map(matrix).collect::<Option<_>>()?;
            if Extent::bytes_of(&union, Some(extent), &parts) > self.largest_bytes {
                return None;
            }
            let known = Some((extent.as_ref(), usable.clean));
            let mut stitched = Extent::stitch(union, known, &parts, asked.version, remarks.clone());
            (stitched.valid, stitched.remarked) = (asked.settled(&union), asked.grid);
            counters.partial_hits.fetch_add(1, Relaxed);
            let series = stitched.series_within(asked.grid);
            self.insert(key.clone(), stitched);
            series
        };
        counters.reused_steps.fetch_add(reused.count as u64, Relaxed);
        let steps: usize = parts.iter().map(|part| part.count).sum();
        counters.evaluated_steps.fetch_add(steps as u64, Relaxed);
        asked.answer(series, remarks, &evaluated)
    }

    fn keep_whole(&self, asked: &Asked<'_>, key: Key, result: &QueryResult) {
        let Some(series) = matrix(result) else { return };
        let remarks = Remarks::of(result);
        if Extent::bytes_of(&asked.grid, None, &[series]) > self.largest_bytes || !remarks.can_be_kept() {
            return;
        }
        let mut extent = Extent::stitch(asked.grid, None, &[series], asked.version, remarks);
        extent.valid = asked.settled(&asked.grid);
        self.insert(key, extent);
    }

    fn insert(&self, key: Key, extent: Extent) {
        if extent.valid.count > 0 {
            self.extents.insert(key, Arc::new(extent));
        }
    }
}

fn matrix(result: &QueryResult) -> Option<&[MatrixSeries]> {
    match &result.value {
        Value::Matrix(series) => Some(series),
        _ => None,
    }
}

impl<'a> Asked<'a> {
    /// `None` where nothing may be kept, or nothing would be won.
    fn new(
        engine: &'a Engine,
        storage: &'a dyn Queryable,
        query: &'a Query,
        range: TimeRange,
        step_ms: i64,
        limits: &'a QueryLimits,
    ) -> Option<Self> {
        if limits.stats != QueryStatsWanted::None || step_ms <= 0 || range.end < range.start {
            return None;
        }
        let intervals = usize::try_from(range.end.0.checked_sub(range.start.0)? / step_ms).ok()?;
        // An evaluation at one step may take ways that others do not.
        if intervals == 0 || intervals > engine.options().max_points {
            return None;
        }
        let grid = Grid { start: range.start.0, step: step_ms, count: intervals + 1 };
        let lookback = limits.lookback.unwrap_or(engine.options().lookback);
        let reach = dependence::reach(query.plan()?, i64::try_from(lookback.as_millis()).ok()?)?;
        let changes = storage.changes()?;
        let version = changes.version()?;
        let unsettled = changes.changed(version, reach.of(&grid))?;
        Some(Self { engine, storage, query, limits, grid, reach, changes, version, unsettled })
    }

    fn key(&self) -> Key {
        let lookback = self.limits.lookback.unwrap_or(self.engine.options().lookback);
        Key {
            text: self.query.text().to_owned(),
            step_ms: self.grid.step,
            phase_ms: self.grid.start.rem_euclid(self.grid.step),
            // It fits: the reach was computed from it.
            lookback_ms: i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// What of an extent still holds and is asked for.
    fn usable(&self, extent: Arc<Extent>) -> Option<Usable> {
        let changed = self.changes.changed(extent.version, self.reach.of(&extent.valid))?;
        let clean = self.reach.untouched(&extent.valid, &changed);
        let mut reused = self.grid.within(&clean);
        // No part is evaluated at one step alone: that may take ways that others do not.
        if self.grid.before(&reused).count == 1 {
            reused = reused.without_first();
        }
        if self.grid.behind(&reused).count == 1 {
            reused = reused.without_last();
        }
        (reused.count > 0).then_some(Usable { extent, clean, reused })
    }

    fn evaluate(&self, part: Grid) -> Result<QueryResult, PromqlError> {
        let range = TimeRange { start: TimestampMs(part.start), end: TimestampMs(part.last()) };
        self.engine.range(self.storage, self.query, range, part.step, self.limits)
    }

    /// The steps that nothing concerns that is being written now.
    fn settled(&self, steps: &Grid) -> Grid {
        self.reach.untouched(steps, &self.unsettled)
    }

    /// The answer, or `None` where it is larger than the query may hold.
    fn answer(
        &self,
        series: Vec<(model::Labels, SampleBuffer)>,
        remarks: Remarks,
        evaluated: &[QueryResult],
    ) -> Option<QueryResult> {
        let samples: usize = series.iter().map(|(_, samples)| samples.len()).sum();
        let allowed = self.limits.max_samples.unwrap_or(usize::MAX).min(self.engine.options().max_samples);
        if samples > allowed {
            return None;
        }
        let series = series.into_iter().map(|(labels, samples)| MatrixSeries { labels, samples }).collect();
        let mut result = QueryResult::new(Value::Matrix(series));
        (result.warnings, result.infos) = (remarks.warnings, remarks.infos);
        for part in evaluated {
            let (stats, more) = (&mut result.stats, &part.stats);
            stats.samples_read += more.samples_read;
            stats.peak_samples = stats.peak_samples.max(more.peak_samples);
            stats.peak_bytes = stats.peak_bytes.max(more.peak_bytes);
            stats.inner_eval += more.inner_eval;
            stats.result_sort += more.result_sort;
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests;
