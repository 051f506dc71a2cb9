//! Functions over windows: where the windows come from, and which function fills the column.

use model::{Column, METRIC_NAME, MatchOp, SampleBuffer};

use super::select::{Leaf, drop_stale};
use super::vectors;
use super::{Evaluation, RowLabels, Sink, Steps, absent, compact, is_absent};
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
        let _held = self.budget.hold(all.count)?;
        let mut wide = vec![absent(); if once { all.count } else { 0 }];
        let counter = CounterCheck::new(call);
        let mut send = |labels: RowLabels<'_>, column: &mut [f64]| {
            let column = if let (true, [value]) = (once, &*column) {
                wide.fill(*value);
                wide.as_mut_slice()
            } else {
                column
            };
            self.remark_on_counter(counter, labels, column);
            sink(if call.function.keeps_name() { labels } else { labels.without_name() }, column)
        };
        match &call.source {
            RangeSource::Select { selector, range_ms } => {
                let windows = self.ends(&call.source, steps);
                let column = call.function.column();
                let function = match column {
                    // The store says how many samples each of its values stands for.
                    Some(Column::Count) if self.rollups => RangeFunction::Sum,
                    _ => call.function,
                };
                let leaf = Leaf {
                    matchers: &selector.matchers,
                    times: windows.ends,
                    window_ms: *range_ms,
                    column,
                    newest_only: false,
                };
                self.columns(
                    leaf,
                    &|samples, scratch, column| {
                        drop_stale(samples);
                        vectors::fill(function, samples, windows, &params, scratch, column);
                    },
                    &mut |series, column| send(RowLabels::stored(series), column),
                )
            }
            RangeSource::Subquery { .. } => {
                let (mut column, mut scratch) = (vec![absent(); steps.count], vectors::Scratch::default());
                self.windows(&call.source, steps, &mut |labels, samples, windows| {
                    vectors::fill(call.function, samples, windows, &params, &mut scratch, &mut column);
                    send(labels, &mut column)
                })
            }
        }
    }

    /// A bare range selector or subquery, as an instant query may ask for it.
    pub(crate) fn matrix(
        &self,
        source: &RangeSource,
        at: Steps,
        each: &mut dyn FnMut(RowLabels<'_>, &SampleBuffer) -> Result<(), PromqlError>,
    ) -> Result<(), PromqlError> {
        self.windows(source, at, &mut |labels, samples, _| each(labels, samples))
    }

    fn ends(&self, source: &RangeSource, steps: Steps) -> Windows {
        Windows { ends: self.shifted(source.shift(), steps), range_ms: source.range_ms(), eval: steps }
    }

    /// Sends the samples of every series from which the windows can be cut.
    fn windows(
        &self,
        source: &RangeSource,
        steps: Steps,
        each: &mut dyn FnMut(RowLabels<'_>, &SampleBuffer, Windows) -> Result<(), PromqlError>,
    ) -> Result<(), PromqlError> {
        let windows = self.ends(source, steps);
        match source {
            RangeSource::Select { selector, range_ms } => {
                let matchers = &selector.matchers;
                let leaf =
                    Leaf { matchers, times: windows.ends, window_ms: *range_ms, column: None, newest_only: false };
                self.read(leaf, &mut |labels, samples| {
                    drop_stale(samples);
                    each(labels, samples, windows)
                })
            }
            RangeSource::Subquery { input, range_ms, step_ms, .. } => {
                let inner = Steps::of_subquery(windows.ends, *range_ms, *step_ms);
                if inner.count == 0 {
                    return Ok(());
                }
                let _held = self.budget.hold(inner.count)?;
                let mut samples = SampleBuffer::default();
                let exact = Evaluation { rollups: false, ..*self };
                exact.vector(input, inner, &mut |labels, column| {
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
        let held = self.budget.hold(steps.count.saturating_mul(2))?;
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
        sink((&call.absent_labels).into(), &mut answer)
    }

    fn remark_on_counter(&self, check: CounterCheck, labels: RowLabels<'_>, column: &[f64]) {
        if check == CounterCheck::Needed
            && !looks_like_counter(labels.metric_name())
            && column.iter().any(|v| !is_absent(*v))
        {
            let name = labels.metric_name();
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

/// Whether rows have to be looked at for what is no counter: `rate` and `increase` of that are often a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CounterCheck {
    Needed,
    /// The function is another one, or the selector names a metric that looks like a counter.
    Done,
}

impl CounterCheck {
    fn new(call: &RangeCall) -> Self {
        let named = match &call.source {
            RangeSource::Select { selector, .. } => selector
                .matchers
                .iter()
                .any(|m| m.name() == METRIC_NAME && m.op() == MatchOp::Equal && looks_like_counter(m.value())),
            RangeSource::Subquery { .. } => false,
        };
        let asked = matches!(call.function, RangeFunction::Rate | RangeFunction::Increase);
        if asked && !named { Self::Needed } else { Self::Done }
    }
}

fn looks_like_counter(name: &str) -> bool {
    name.is_empty() || ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix))
}
