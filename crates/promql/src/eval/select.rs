//! The leaves: series from storage, aligned to the grid of steps.

use std::num::NonZero;

use model::{
    Column, Hints, Matcher, SampleBuffer, SelectError, Selection, StoredSeries, TimeRange, TimestampMs, is_stale,
};

use super::budget::Held;
use super::spread::{Each, Fill, Work};
use super::{Evaluation, RowLabels, Sink, Steps, absent, extended};
use crate::PromqlError;
use crate::plan::Selector;

/// What is done with each series: its labels, its samples.
pub(crate) type Reader<'s> = dyn FnMut(RowLabels<'_>, &mut SampleBuffer) -> Result<(), PromqlError> + 's;

/// Which series are read, over which windows: those of `window_ms` that end at `times`, open on the left.
#[derive(Clone, Copy)]
pub(super) struct Leaf<'p> {
    pub matchers: &'p [Matcher],
    pub times: Steps,
    pub window_ms: i64,
    /// What a rollup may answer with; `None` where only samples will do.
    pub column: Option<Column>,
    /// Whether only the newest sample of the whole range counts.
    pub newest_only: bool,
}

impl Leaf<'_> {
    fn range(&self) -> TimeRange {
        let start = self.times.start.saturating_sub(self.window_ms).saturating_add(1);
        TimeRange { start: TimestampMs(start), end: TimestampMs(self.times.last()) }
    }
}

impl Evaluation<'_> {
    /// An instant vector selector.
    pub(super) fn select(&self, selector: &Selector, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        if selector.extension.is_some() {
            return self.smoothed(selector, steps, sink);
        }
        self.instants(selector, steps, Some(Column::Last), |samples, at| samples.values[at], sink)
    }

    /// When the samples of an instant vector selector were taken, in seconds.
    pub(super) fn timestamps(&self, selector: &Selector, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let mut nameless = |labels: RowLabels<'_>, column: &mut [f64]| sink(labels.without_name(), column);
        self.instants(selector, steps, None, |samples, at| samples.timestamps[at] as f64 / 1000.0, &mut nameless)
    }

    /// An instant vector selector whose values lie between samples.
    fn smoothed(&self, selector: &Selector, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let times = self.shifted(selector.shift, steps);
        let lookback_ms = self.lookback_ms;
        let leaf = Leaf {
            matchers: &selector.matchers,
            times: times.earlier(lookback_ms.saturating_neg()),
            window_ms: lookback_ms.saturating_mul(2),
            column: None,
            newest_only: false,
        };
        let _held = self.budget.hold(steps.count)?;
        self.columns(
            leaf,
            &|samples, _, column| {
                drop_stale(samples);
                extended::smooth(samples, times, lookback_ms, column);
            },
            &mut |series, column| sink(RowLabels::stored(series), column),
        )
    }

    pub(super) fn instants(
        &self,
        selector: &Selector,
        steps: Steps,
        column: Option<Column>,
        value: impl Fn(&SampleBuffer, usize) -> f64 + Sync,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let leaf = self.instant_leaf(selector, steps, column);
        let times = leaf.times;
        let _held = self.budget.hold(steps.count)?;
        self.columns(
            leaf,
            &|samples, _, column| align(samples, times, self.lookback_ms, &value, column),
            &mut |series, column| {
                if let Some(counts) = self.counts {
                    counts.column(column);
                }
                sink(RowLabels::stored(series), column)
            },
        )
    }

    fn instant_leaf<'p>(&self, selector: &'p Selector, steps: Steps, column: Option<Column>) -> Leaf<'p> {
        let times = self.shifted(selector.shift, steps);
        let newest_only = times.count == 1;
        Leaf { matchers: &selector.matchers, times, window_ms: self.lookback_ms, column, newest_only }
    }

    /// How many series an instant vector selector finds at a single step, where the store can tell from its index.
    pub(super) fn count_live(&self, selector: &Selector, steps: Steps) -> Result<Option<usize>, PromqlError> {
        // Samples can only be counted while they are read.
        if steps.count != 1 || self.counts.is_some() {
            return Ok(None);
        }
        self.budget.check()?;
        let leaf = self.instant_leaf(selector, steps, Some(Column::Last));
        let count = self.storage.count_live(&self.selection(&leaf))?;
        count.map_or(Ok(()), |count| self.budget.read(count, count))?;
        Ok(count)
    }

    /// Fills a column from each series, on several threads where there is much to do. The caller holds one column.
    pub(super) fn columns(&self, leaf: Leaf<'_>, fill: &Fill<'_>, each: &mut Each<'_>) -> Result<(), PromqlError> {
        let Some(slots) = NonZero::new(leaf.times.count) else { return Ok(()) };
        let (series, _held) = self.chosen(&leaf)?;
        let (range, newest_only) = (leaf.range(), leaf.newest_only);
        Work { budget: self.budget, series: &series, range, slots, newest_only, fill }.run(self.helpers, each)
    }

    /// Reads series one after the other into one buffer.
    pub(super) fn read(&self, leaf: Leaf<'_>, each: &mut Reader<'_>) -> Result<(), PromqlError> {
        let (series, _held) = self.chosen(&leaf)?;
        let mut samples = SampleBuffer::default();
        for one in &series {
            samples.clear();
            one.read(leaf.range(), &mut samples)?;
            self.budget.fits(samples.len())?;
            self.budget.read(samples.len(), 1)?;
            if !samples.is_empty() {
                each(RowLabels::stored(one.as_ref()), &mut samples)?;
            }
        }
        Ok(())
    }

    /// The series of a leaf, and what listing them claims.
    fn chosen(&self, leaf: &Leaf<'_>) -> Result<(Vec<Box<dyn StoredSeries>>, Held<'_>), PromqlError> {
        self.budget.check()?;
        let series = match self.storage.select(&self.selection(leaf)) {
            // The budget knows which of its limits that was.
            Err(SelectError::TooMany { .. }) => return Err(self.budget.too_many_series()),
            selected => selected?,
        };
        let held = self.budget.select(series.len())?;
        self.budget.check()?;
        Ok((series, held))
    }

    fn selection<'p>(&self, leaf: &Leaf<'p>) -> Selection<'p> {
        let hints = Hints {
            step_ms: leaf.times.step,
            window_ms: leaf.window_ms,
            column: leaf.column.unwrap_or_default(),
            rollups: self.rollups && leaf.column.is_some(),
            max_series: NonZero::new(self.budget.series_left().saturating_add(1)),
        };
        Selection { matchers: leaf.matchers, range: leaf.range(), hints }
    }
}

/// Fills a column with the newest sample at or before each time, unless it is too old or the series has ended.
fn align(
    samples: &SampleBuffer,
    times: Steps,
    lookback_ms: i64,
    value: &impl Fn(&SampleBuffer, usize) -> f64,
    column: &mut [f64],
) {
    let timestamps = &samples.timestamps;
    let mut next = 0;
    for (slot, time) in column.iter_mut().zip(times.iter()) {
        while next < timestamps.len() && timestamps[next] <= time {
            next += 1;
        }
        *slot = match next.checked_sub(1) {
            Some(at) if timestamps[at] > time.saturating_sub(lookback_ms) && !is_stale(samples.values[at]) => {
                value(samples, at)
            }
            _ => absent(),
        };
    }
}

/// Takes staleness markers out: a window does not see them.
pub(super) fn drop_stale(samples: &mut SampleBuffer) {
    if !samples.values.iter().any(|v| is_stale(*v)) {
        return;
    }
    let mut kept = 0;
    for at in 0..samples.len() {
        if !is_stale(samples.values[at]) {
            samples.values[kept] = samples.values[at];
            samples.timestamps[kept] = samples.timestamps[at];
            kept += 1;
        }
    }
    samples.values.truncate(kept);
    samples.timestamps.truncate(kept);
}
