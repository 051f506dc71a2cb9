//! The leaves: series from storage, aligned to the grid of steps.

use std::num::NonZero;

use model::{Column, Hints, Matcher, SampleBuffer, Selection, TimeRange, TimestampMs, is_stale};

use super::spread::{Each, Fill, Work};
use super::{Evaluation, RowLabels, Sink, Steps, absent};
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
        self.instants(selector, steps, Some(Column::Last), |samples, at| samples.values[at], sink)
    }

    /// When the samples of an instant vector selector were taken, in seconds.
    pub(super) fn timestamps(&self, selector: &Selector, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let mut nameless = |labels: RowLabels<'_>, column: &mut [f64]| sink(labels.without_name(), column);
        self.instants(selector, steps, None, |samples, at| samples.timestamps[at] as f64 / 1000.0, &mut nameless)
    }

    fn instants(
        &self,
        selector: &Selector,
        steps: Steps,
        column: Option<Column>,
        value: impl Fn(&SampleBuffer, usize) -> f64 + Sync,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let times = self.shifted(selector.shift, steps);
        let newest_only = times.count == 1;
        let leaf = Leaf { matchers: &selector.matchers, times, window_ms: self.lookback_ms, column, newest_only };
        let _held = self.budget.hold(steps.count)?;
        self.columns(
            leaf,
            &|samples, _, column| align(samples, times, self.lookback_ms, &value, column),
            &mut |series, column| sink(RowLabels::stored(series), column),
        )
    }

    /// Fills a column from each series, on several threads where there is much to do. The caller holds one column.
    pub(super) fn columns(&self, leaf: Leaf<'_>, fill: &Fill<'_>, each: &mut Each<'_>) -> Result<(), PromqlError> {
        let Some(slots) = NonZero::new(leaf.times.count) else { return Ok(()) };
        self.budget.check()?;
        let series = self.storage.select(&self.selection(&leaf))?;
        let (range, newest_only) = (leaf.range(), leaf.newest_only);
        Work { budget: self.budget, series: &series, range, slots, newest_only, fill }.run(self.helpers, each)
    }

    /// Reads series one after the other into one buffer.
    pub(super) fn read(&self, leaf: Leaf<'_>, each: &mut Reader<'_>) -> Result<(), PromqlError> {
        self.budget.check()?;
        let mut samples = SampleBuffer::default();
        for one in &self.storage.select(&self.selection(&leaf))? {
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

    fn selection<'p>(&self, leaf: &Leaf<'p>) -> Selection<'p> {
        let hints = Hints {
            step_ms: leaf.times.step,
            window_ms: leaf.window_ms,
            column: leaf.column.unwrap_or_default(),
            rollups: self.rollups && leaf.column.is_some(),
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
