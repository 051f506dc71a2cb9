//! The leaves: series from storage, aligned to the grid of steps.

use model::{Labels, Matcher, SampleBuffer, Selection, TimeRange, TimestampMs, is_stale};

use super::{Evaluation, Sink, Steps, absent};
use crate::PromqlError;
use crate::plan::Selector;

/// What is done with each series: its labels, its samples.
pub(crate) type Reader<'s> = dyn FnMut(&Labels, &mut SampleBuffer) -> Result<(), PromqlError> + 's;

impl Evaluation<'_> {
    /// An instant vector selector.
    pub(super) fn select(&self, selector: &Selector, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        self.instants(selector, steps, |samples, at| samples.values[at], sink)
    }

    /// When the samples of an instant vector selector were taken, in seconds.
    pub(super) fn timestamps(&self, selector: &Selector, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let name = [model::METRIC_NAME];
        let mut nameless = |labels: &Labels, column: &mut [f64]| sink(&labels.without(&name), column);
        self.instants(selector, steps, |samples, at| samples.timestamps[at] as f64 / 1000.0, &mut nameless)
    }

    fn instants(
        &self,
        selector: &Selector,
        steps: Steps,
        value: impl Fn(&SampleBuffer, usize) -> f64,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let times = self.shifted(selector.shift, steps);
        let _held = self.budget.hold(steps.count)?;
        let mut column = vec![absent(); steps.count];
        self.read(&selector.matchers, window(times, self.lookback_ms), &mut |labels, samples| {
            align(samples, times, self.lookback_ms, &value, &mut column);
            sink(labels, &mut column)
        })
    }

    /// Reads series one after the other into one buffer.
    ///
    /// This is where series could be spread over threads: what `each` does before it reaches a sink depends on
    /// nothing but the series.
    pub(super) fn read(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        each: &mut Reader<'_>,
    ) -> Result<(), PromqlError> {
        self.budget.check()?;
        let series = self.storage.select(&Selection { matchers, range })?;
        let mut samples = SampleBuffer::default();
        for one in &series {
            samples.clear();
            one.read(range, &mut samples)?;
            self.budget.read(samples.len())?;
            if !samples.is_empty() {
                each(one.labels(), &mut samples)?;
            }
        }
        Ok(())
    }
}

/// What has to be read for windows of `range_ms` that end at `times`. Windows are open on the left.
pub(super) fn window(times: Steps, range_ms: i64) -> TimeRange {
    let start = times.start.saturating_sub(range_ms).saturating_add(1);
    TimeRange { start: TimestampMs(start), end: TimestampMs(times.last()) }
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
