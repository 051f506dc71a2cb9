//! Which rollups to make, from which raw samples, and when to make one again because samples came late.
//!
//! Rollups are made unit by unit, a unit being many rows long, each from all raw samples of its time. A raw block of level 1
//! with a younger name than the rollup of its time holds samples that the rollup does not know: it is made again. That is
//! why rollups come before compaction.

use block::{Block, RollupBuffer};
use model::{Labels, MetricKind, TimeRange, TimestampMs};

use crate::compaction::each_series;
use crate::options::as_ms;
use crate::rows::{roll_up, window_end};
use crate::upkeep::Upkeep;
use crate::{Rollup, Store, StoreError};

/// The most rows of a unit. Powers of two, so that units of other retentions lie within one another.
const MAX_UNIT_ROWS: i64 = 256;
/// So many series are handled between two looks at what is more urgent.
const SERIES_PER_TURN: usize = 512;
/// What marks a counter where no metadata says so.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

/// A rollup that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) resolution: i64,
    /// The samples in (start, end].
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Rollups that it replaces.
    pub(crate) replaces: Vec<String>,
    /// The late block that it is for.
    pub(crate) late: Option<String>,
}

/// What matters of a block, raw or rolled up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) id: String,
    pub(crate) level: u32,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

/// What a plan is made from.
pub(crate) struct Situation<'a> {
    pub(crate) raw: &'a [Span],
    /// The rollups of this resolution.
    pub(crate) rolled: &'a [Span],
    pub(crate) newest: i64,
    pub(crate) retention: i64,
    /// Up to where rollups were made, though they may have no row there.
    pub(crate) rolled_until: i64,
}

/// Left-open and right-closed, as rows are.
fn unit_start(timestamp: i64, unit: i64) -> i64 {
    timestamp.saturating_sub(1).div_euclid(unit).saturating_mul(unit)
}

/// How much time one rollup block stands for: as long as it may be, but a small part of the retention of what it is made of.
fn unit_of(resolution: i64, retention: i64) -> i64 {
    let mut unit = resolution.saturating_mul(MAX_UNIT_ROWS);
    while unit > resolution && unit > retention / 4 {
        unit /= 2;
    }
    unit
}

/// The next rollup of one resolution that is due.
pub(crate) fn next(rollup: &Rollup, situation: &Situation<'_>, done: impl Fn(&str) -> bool) -> Option<Task> {
    let resolution = as_ms(rollup.resolution);
    let unit = unit_of(resolution, situation.retention);
    let cutoff = situation.newest.saturating_sub(situation.retention);
    let covers = |span: &Span, from: i64, to: i64| {
        window_end(span.min, resolution).saturating_sub(resolution) < to && span.max >= from
    };
    let until = situation.rolled.iter().map(|r| r.max).max().unwrap_or(i64::MIN).max(situation.rolled_until);
    let task = |start: i64, end: i64, late: Option<String>| {
        let replaced: Vec<&Span> =
            situation.rolled.iter().filter(|r| covers(r, start.saturating_add(1), end)).collect();
        let first = |r: &&Span| unit_start(r.min, resolution);
        let start = replaced.iter().map(first).min().unwrap_or(start).min(start);
        let end = replaced.iter().map(|r| window_end(r.max, resolution)).max().unwrap_or(end).max(end);
        // What raw samples are gone of cannot be made again.
        let complete = start >= cutoff || replaced.is_empty();
        let replaces = replaced.iter().map(|r| r.id.clone()).collect();
        complete.then_some(Task { resolution, start, end, replaces, late })
    };
    let mut late = situation.raw.iter().filter(|raw| raw.level == 1 && raw.min <= until && !done(&raw.id));
    let stale = late.find_map(|raw| {
        let to = raw.max.min(until);
        let mut known = situation.rolled.iter().filter(|r| covers(r, raw.min, to)).peekable();
        if known.peek().is_some() && known.all(|r| r.id > raw.id) {
            return None;
        }
        task(unit_start(raw.min, unit), window_end(to, unit), Some(raw.id.clone()))
    });
    if stale.is_some() {
        return stale;
    }
    let rest = situation.raw.iter().filter(|raw| raw.max > until);
    let first = rest.map(|raw| raw.min.max(until.saturating_add(1))).min()?;
    let start = unit_start(first, unit);
    let end = start.saturating_add(unit);
    // Early enough that all raw samples of it are there.
    let after = as_ms(rollup.after).min(situation.retention.saturating_sub(unit.saturating_mul(2))).max(0);
    if situation.newest < end.saturating_add(after) {
        return None;
    }
    task(start, end, None).or_else(|| task(until.max(start), end, None))
}

fn span_of(block: &Block) -> Span {
    let meta = block.meta();
    Span { id: meta.id.clone(), level: meta.level, min: meta.min_time, max: meta.max_time }
}

impl Store {
    /// Makes one rollup, if one is due. True when it did.
    pub(crate) fn make_rollup(&self, upkeep: &mut Upkeep) -> Result<bool, StoreError> {
        for rollup in &self.options.rollups {
            let resolution = as_ms(rollup.resolution);
            let catalogue = self.catalogue();
            let raw: Vec<Block> =
                catalogue.raw.iter().filter(|b| !upkeep.damaged.contains(&b.meta().id)).cloned().collect();
            let rolled: Vec<Block> = catalogue.within(resolution, TimeRange::ALL).cloned().collect();
            drop(catalogue);
            let situation = Situation {
                raw: &raw.iter().map(span_of).collect::<Vec<_>>(),
                rolled: &rolled.iter().map(span_of).collect::<Vec<_>>(),
                newest: self.present(),
                retention: as_ms(self.options.retention),
                rolled_until: upkeep.rolled_until.get(&resolution).copied().unwrap_or(i64::MIN),
            };
            let done = |id: &str| upkeep.rolled_late.contains(&(resolution, id.to_owned()));
            let Some(task) = next(rollup, &situation, done) else { continue };
            let outcome = self.counters.rollups.measure(|| self.roll(upkeep, &task, &raw, &rolled));
            self.leave_out_damaged(upkeep, &raw, outcome)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn roll(&self, upkeep: &mut Upkeep, task: &Task, raw: &[Block], rolled: &[Block]) -> Result<(), StoreError> {
        let range = TimeRange { start: TimestampMs(task.start.saturating_add(1)), end: TimestampMs(task.end) };
        let sources: Vec<Block> =
            raw.iter().filter(|block| crate::catalogue::overlaps(block.meta(), range)).cloned().collect();
        let mut writer = self.new_block(1, task.resolution, task.replaces.clone())?;
        let mut rows = RollupBuffer::default();
        let mut series = 0usize;
        let mut written = false;
        each_series(&sources, range, |labels, samples, _| {
            series += 1;
            if series.is_multiple_of(SERIES_PER_TURN) {
                self.pause(upkeep)?;
            }
            rows.clear();
            let counter = self.is_counter(labels);
            roll_up(&samples.timestamps, &samples.values, task.resolution, counter, &mut rows);
            written |= !rows.is_empty();
            Ok(writer.add_rollup(labels, &rows)?)
        })?;
        let fresh = if written { vec![self.finish_block(writer)?] } else { Vec::new() };
        let gone: Vec<Block> = rolled.iter().filter(|b| task.replaces.contains(&b.meta().id)).cloned().collect();
        self.replace_blocks(upkeep, &gone, fresh);
        match &task.late {
            Some(id) => drop(upkeep.rolled_late.insert((task.resolution, id.clone()))),
            None => drop(upkeep.rolled_until.insert(task.resolution, task.end)),
        }
        Ok(())
    }

    /// Whether a series only grows, except for resets: by metadata, else by the names that counters have.
    fn is_counter(&self, labels: &Labels) -> bool {
        let name = labels.metric_name();
        let suffix = COUNTER_SUFFIXES.into_iter().find(|suffix| name.ends_with(suffix));
        let family = suffix.and_then(|suffix| name.strip_suffix(suffix));
        let kind = self.families.kind(name).or_else(|| family.and_then(|family| self.families.kind(family)));
        match kind {
            None | Some(MetricKind::Unknown) => suffix.is_some(),
            Some(MetricKind::Counter) => true,
            Some(MetricKind::Histogram | MetricKind::Summary) => suffix.is_some(),
            Some(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 24 * 60 * MINUTE;

    fn span(id: &str, level: u32, min: i64, max: i64) -> Span {
        Span { id: id.to_owned(), level, min, max }
    }

    /// Units of 256 times five minutes, at an age of a day, of raw samples kept for 30 days.
    #[track_caller]
    fn check(raw: &[Span], rolled: &[Span], newest: i64, want: Option<(i64, i64, &[&str], Option<&str>)>) {
        let rollup =
            Rollup { resolution: Duration::from_secs(300), after: Duration::from_secs(24 * 3600), retention: None };
        let situation = Situation { raw, rolled, newest, retention: 30 * DAY, rolled_until: i64::MIN };
        let found = next(&rollup, &situation, |_| false);
        let want = want.map(|(start, end, replaces, late)| Task {
            resolution: 5 * MINUTE,
            start,
            end,
            replaces: replaces.iter().map(|id| (*id).to_owned()).collect(),
            late: late.map(str::to_owned),
        });
        assert_eq!(found, want);
    }

    #[test]
    fn units_are_made_when_they_are_old_enough() {
        const UNIT: i64 = 256 * 5 * MINUTE;
        let raw = [span("a", 1, 1, 3 * DAY)];
        check(&raw, &[], UNIT + DAY - 1, None);
        check(&raw, &[], UNIT + DAY, Some((0, UNIT, &[], None)));
        let rolled = [span("r", 1, 5 * MINUTE, UNIT)];
        check(&raw, &rolled, 2 * UNIT + DAY - 1, None);
        check(&raw, &rolled, 2 * UNIT + DAY, Some((UNIT, 2 * UNIT, &[], None)));
        // The end of a unit belongs to it, its beginning to the one before.
        check(&[span("a", 1, UNIT, UNIT)], &[], 9 * DAY, Some((0, UNIT, &[], None)));
        // Where nothing is, nothing is made.
        check(&[span("a", 1, 5 * UNIT + 1, 5 * UNIT + 2)], &[], 30 * DAY, Some((5 * UNIT, 6 * UNIT, &[], None)));
    }

    #[test]
    fn late_samples_have_a_rollup_made_again() {
        const UNIT: i64 = 256 * 5 * MINUTE;
        let rolled = [span("r", 1, 5 * MINUTE, UNIT)];
        let raw = [span("a", 1, 1, UNIT), span("s", 1, 10 * MINUTE, 20 * MINUTE)];
        check(&raw, &rolled, UNIT + DAY, Some((0, UNIT, &["r"], Some("s"))));
        // Joined ones are known, and so are those of before.
        check(&[span("s", 2, 1, UNIT)], &rolled, UNIT + DAY, None);
        check(&raw[..1], &rolled, UNIT + DAY, None);
        // Raw samples of the beginning are gone: what was made stays.
        check(&raw, &rolled, 31 * DAY, None);
    }
}
