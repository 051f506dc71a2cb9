//! Functions over windows: where the windows come from, and which function fills the column.

use model::{Column, METRIC_NAME, MatchOp, Matcher, SampleBuffer};

use super::annotations::Remark;
use super::extended::Extended;
use super::select::{Leaf, drop_stale};
use super::spread::Each;
use super::vectors;
use super::{Evaluation, RowLabels, Sink, Steps, absent, compact, is_absent};
use crate::PromqlError;
use crate::plan::{Place, RangeCall, RangeFunction, RangeSource, Selector, Shift};

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
        let mut remarks = Remarks::new(call, &params);
        let mut send = |labels: RowLabels<'_>, column: &mut [f64]| {
            if remarks.wanted {
                remarks.of_row(self, labels, column)?;
            }
            let column = if let (true, [value]) = (once, &*column) {
                wide.fill(*value);
                wide.as_mut_slice()
            } else {
                column
            };
            sink(if call.function.keeps_name() { labels } else { labels.without_name() }, column)
        };
        match &call.source {
            RangeSource::Select { selector, .. } => {
                let windows = self.ends(&call.source, steps);
                self.columns_of_series(call.function, selector, windows, &params, &mut |series, column| {
                    send(RowLabels::stored(series), column)
                })
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

    /// A function over the windows of every series.
    fn columns_of_series(
        &self,
        function: RangeFunction,
        selector: &Selector,
        windows: Windows,
        params: &[Vec<f64>],
        each: &mut Each<'_>,
    ) -> Result<(), PromqlError> {
        let matchers = &selector.matchers;
        if let Some(extended) = self.extended(selector, windows) {
            let (times, window_ms) = extended.read_windows();
            let leaf = Leaf { matchers, times, window_ms, column: None, newest_only: false };
            let fill = |samples: &mut SampleBuffer, _: &mut vectors::Scratch, column: &mut [f64]| {
                drop_stale(samples);
                extended.fill(function, samples, column);
            };
            return self.columns(leaf, &fill, each);
        }
        let column = function.column();
        let function = match column {
            // The store says how many samples each of its values stands for.
            Some(Column::Count) if self.rollups => RangeFunction::Sum,
            _ => function,
        };
        let leaf = Leaf { matchers, times: windows.ends, window_ms: windows.range_ms, column, newest_only: false };
        let fill = |samples: &mut SampleBuffer, scratch: &mut vectors::Scratch, column: &mut [f64]| {
            drop_stale(samples);
            if let Some(counts) = self.counts {
                counts.windows(&samples.timestamps, windows);
            }
            vectors::fill(function, samples, windows, params, scratch, column);
        };
        self.columns(leaf, &fill, each)
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

    fn extended(&self, selector: &Selector, windows: Windows) -> Option<Extended> {
        let Windows { ends, range_ms, .. } = windows;
        selector.extension.map(|extension| Extended { extension, ends, range_ms, lookback_ms: self.lookback_ms })
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
                if let Some(extended) = self.extended(selector, windows) {
                    let (times, window_ms) = extended.read_windows();
                    let leaf = Leaf { matchers, times, window_ms, column: None, newest_only: false };
                    let mut edged = SampleBuffer::default();
                    return self.read(leaf, &mut |labels, samples| {
                        drop_stale(samples);
                        extended.samples(samples, &mut edged);
                        if edged.is_empty() { Ok(()) } else { each(labels, &edged, windows) }
                    });
                }
                let leaf =
                    Leaf { matchers, times: windows.ends, window_ms: *range_ms, column: None, newest_only: false };
                self.read(leaf, &mut |labels, samples| {
                    drop_stale(samples);
                    if let Some(counts) = self.counts {
                        counts.windows(&samples.timestamps, windows);
                    }
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
                // What the function sees of the subquery counts, not what the subquery is made of.
                let exact = Evaluation { rollups: false, counts: None, ..*self };
                exact.vector(input, inner, &mut |labels, column| {
                    self.budget.work(inner.count)?;
                    compact(column, inner, &mut samples);
                    if let Some(counts) = self.counts {
                        counts.windows(&samples.timestamps, windows);
                    }
                    if samples.is_empty() { Ok(()) } else { each(labels, &samples, windows) }
                })
            }
        }
    }

    fn params(&self, call: &RangeCall, steps: Steps) -> Result<Vec<Vec<f64>>, PromqlError> {
        call.params.iter().map(|p| self.scalar(p, steps)).collect()
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

    /// Warns about quantiles that are none.
    pub(super) fn check_quantile(&self, place: Place, column: &[f64]) {
        let mut told: Option<f64> = None;
        for odd in column.iter().filter(|phi| !(0.0..=1.0).contains(*phi)) {
            // Most are the same at every step.
            if told.is_none_or(|before| before.to_bits() != odd.to_bits()) {
                self.note(place, &Remark::InvalidQuantile(*odd));
                told = Some(*odd);
            }
        }
    }
}

/// What is said of a call once there is a row that it is about.
struct Remarks<'c> {
    call: &'c RangeCall,
    params: &'c [Vec<f64>],
    wanted: bool,
    /// The name of the row before: rows come in order of names.
    name: String,
}

impl<'c> Remarks<'c> {
    fn new(call: &'c RangeCall, params: &'c [Vec<f64>]) -> Self {
        let wanted = match call.function {
            RangeFunction::Rate | RangeFunction::Increase => !call.source.is_counter(),
            RangeFunction::Quantile | RangeFunction::Smoothing => true,
            _ => false,
        };
        Self { call, params, wanted, name: String::new() }
    }

    fn of_row(
        &mut self,
        evaluation: &Evaluation<'_>,
        labels: RowLabels<'_>,
        column: &[f64],
    ) -> Result<(), PromqlError> {
        match (self.call.function, self.params) {
            (RangeFunction::Smoothing, [smoothing, trend]) => {
                refuse_factor("smoothing", "sf", smoothing)?;
                refuse_factor("trend", "tf", trend)?;
                self.wanted = false;
            }
            _ if column.iter().all(|v| is_absent(*v)) => {}
            (RangeFunction::Quantile, [phi]) => {
                evaluation.check_quantile(self.call.place, phi);
                self.wanted = false;
            }
            _ => {
                let name = labels.metric_name();
                if name != self.name && !looks_like_counter(name) {
                    evaluation.note(self.call.place, &Remark::PossibleNonCounter(name));
                    name.clone_into(&mut self.name);
                }
            }
        }
        Ok(())
    }
}

fn refuse_factor(name: &str, letter: &str, column: &[f64]) -> Result<(), PromqlError> {
    match column.iter().find(|f| **f <= 0.0 || **f >= 1.0) {
        None => Ok(()),
        Some(bad) => {
            let text = format!("invalid {name} factor. Expected: 0 < {letter} < 1, got: {bad:.6}");
            Err(PromqlError::Execution(text))
        }
    }
}

impl RangeSource {
    /// Whether the selector names a metric that looks like a counter: `rate` and `increase` of others are often a
    /// mistake, so that their rows have to be looked at.
    fn is_counter(&self) -> bool {
        let Self::Select { selector, .. } = self else { return false };
        let named = |m: &&Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal;
        selector.matchers.iter().filter(named).any(|m| looks_like_counter(m.value()))
    }
}

fn looks_like_counter(name: &str) -> bool {
    name.is_empty() || ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix))
}
