//! Functions over windows: where the windows come from, and which function fills the column.

use model::{Labels, METRIC_NAME, SampleBuffer};

use super::select::{drop_stale, window};
use super::vectors;
use super::{Evaluation, Sink, Steps, absent, compact, is_absent};
use crate::PromqlError;
use crate::plan::{RangeCall, RangeFunction, RangeSource, Shift};

/// Windows `(end - range, end]`, one for each step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    pub ends: Steps,
    pub range_ms: i64,
    /// When the query looks at each of them: differs from the end by `offset` and `@`.
    pub eval: Steps,
}

impl RangeSource {
    fn shift(&self) -> Shift {
        match self {
            Self::Select { selector, .. } => selector.shift,
            Self::Subquery { shift, .. } => *shift,
        }
    }

    fn range_ms(&self) -> i64 {
        match self {
            Self::Select { range_ms, .. } | Self::Subquery { range_ms, .. } => *range_ms,
        }
    }
}

impl Evaluation<'_> {
    /// A call of a function over windows.
    pub(super) fn range(&self, call: &RangeCall, all: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        if call.function == RangeFunction::Absent {
            return self.absent_over_time(call, all, sink);
        }
        let params = self.params(call, all)?;
        // With `@` every window is the same one: it is looked at once, unless the function tells steps apart.
        let pinned = call.source.shift().at.is_some() && params.is_empty();
        let once = pinned && call.function != RangeFunction::PredictLinear;
        let steps = if once { Steps { count: all.count.min(1), ..all } } else { all };
        let held = self.budget.hold(all.count)?;
        let mut column = vec![absent(); all.count];
        let mut scratch = vectors::Scratch::default();
        let name = [METRIC_NAME];
        self.windows(&call.source, steps, &mut |labels, samples, windows| {
            vectors::fill(call.function, samples, windows, &params, &mut scratch, &mut column[..steps.count]);
            if once {
                let (first, rest) = column.split_at_mut(steps.count);
                first.iter().for_each(|v| rest.fill(*v));
            }
            self.remark_on_counter(call.function, labels, &column);
            let kept = if call.function.keeps_name() { labels.clone() } else { labels.without(&name) };
            sink(&kept, &mut column)
        })?;
        drop(held);
        Ok(())
    }

    /// A bare range selector or subquery, as an instant query may ask for it.
    pub(crate) fn matrix(
        &self,
        source: &RangeSource,
        at: Steps,
        each: &mut dyn FnMut(&Labels, &SampleBuffer) -> Result<(), PromqlError>,
    ) -> Result<(), PromqlError> {
        self.windows(source, at, &mut |labels, samples, _| each(labels, samples))
    }

    /// Sends the samples of every series from which the windows can be cut.
    fn windows(
        &self,
        source: &RangeSource,
        steps: Steps,
        each: &mut dyn FnMut(&Labels, &SampleBuffer, Windows) -> Result<(), PromqlError>,
    ) -> Result<(), PromqlError> {
        let ends = self.shifted(source.shift(), steps);
        let windows = Windows { ends, range_ms: source.range_ms(), eval: steps };
        match source {
            RangeSource::Select { selector, range_ms } => {
                self.read(&selector.matchers, window(ends, *range_ms), &mut |labels, samples| {
                    drop_stale(samples);
                    each(labels, samples, windows)
                })
            }
            RangeSource::Subquery { input, range_ms, step_ms, .. } => {
                let inner = Steps::of_subquery(ends, *range_ms, *step_ms);
                if inner.count == 0 {
                    return Ok(());
                }
                let _held = self.budget.hold(inner.count)?;
                let mut samples = SampleBuffer::default();
                self.vector(input, inner, &mut |labels, column| {
                    self.budget.work(inner.count)?;
                    compact(column, inner, &mut samples);
                    if samples.is_empty() { Ok(()) } else { each(labels, &samples, windows) }
                })
            }
        }
    }

    fn params(&self, call: &RangeCall, steps: Steps) -> Result<Vec<Vec<f64>>, PromqlError> {
        let columns: Vec<_> = call.params.iter().map(|p| self.scalar(p, steps)).collect::<Result<_, _>>()?;
        match (call.function, columns.as_slice()) {
            (RangeFunction::Quantile, [phi]) => self.check_quantile(phi),
            (RangeFunction::Smoothing, [smoothing, trend]) => {
                for (name, column) in [("smoothing", smoothing), ("trend", trend)] {
                    if let Some(bad) = column.iter().find(|f| !(**f > 0.0 && **f < 1.0)) {
                        let letter = if name == "smoothing" { "sf" } else { "tf" };
                        let text = format!("invalid {name} factor. Expected: 0 < {letter} < 1, got: {bad:.6}");
                        return Err(PromqlError::Execution(text));
                    }
                }
            }
            _ => {}
        }
        Ok(columns)
    }

    fn absent_over_time(&self, call: &RangeCall, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let held = self.budget.hold(2 * steps.count)?;
        let mut answer = vec![1.0; steps.count];
        let mut column = vec![absent(); steps.count];
        let mut scratch = vectors::Scratch::default();
        self.windows(&call.source, steps, &mut |_, samples, windows| {
            vectors::fill(RangeFunction::Present, samples, windows, &[], &mut scratch, &mut column);
            for (slot, present) in answer.iter_mut().zip(&column) {
                if !is_absent(*present) {
                    *slot = absent();
                }
            }
            Ok(())
        })?;
        drop(held);
        sink(&call.absent_labels, &mut answer)
    }

    /// `rate` and `increase` of what does not look like a counter are often a mistake.
    fn remark_on_counter(&self, function: RangeFunction, labels: &Labels, column: &[f64]) {
        if !matches!(function, RangeFunction::Rate | RangeFunction::Increase) {
            return;
        }
        let name = labels.metric_name();
        let counts = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        if !counts && !name.is_empty() && column.iter().any(|v| !is_absent(*v)) {
            self.inform(|| {
                format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}")
            });
        }
    }

    /// Warns about quantiles that are none.
    pub(super) fn check_quantile(&self, column: &[f64]) {
        if let Some(odd) = column.iter().find(|phi| !(0.0..=1.0).contains(*phi)) {
            let shown = crate::syntax::print_float(*odd);
            self.warn(|| format!("quantile value should be between 0 and 1, got {shown}"));
        }
    }
}
