//! Which samples the value at a step depends on, and whether on anything else.
//!
//! An answer may be made of parts only where the value at each step is the same, to the last bit, whatever other steps are
//! evaluated with it. What is not known here to be so is not kept: what asks for the bounds of the query (`@ start()`), or
//! pins a time, what looks at a parameter of all steps at once, what refuses a label set that comes twice anywhere in the
//! query, and what adds up or chooses among rows whose order depends on which of them there are.

use model::{TimeRange, TimestampMs};

use super::extent::Grid;
use crate::plan::{
    Aggregate, AggregateFunction, FoldFunction, MapCall, Plan, RangeCall, RangeFunction, RangeSource, Scalar, SetOp,
    Shift, Vector,
};

/// The value at `t` depends on samples after `t - back` and not after `t + ahead`, in milliseconds. `ahead` is negative
/// where an offset reaches back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    pub back: i64,
    pub ahead: i64,
}

impl Reach {
    fn joined(self, other: Self) -> Self {
        Self { back: self.back.max(other.back), ahead: self.ahead.max(other.ahead) }
    }

    /// The times of all samples that some steps depend on.
    pub(super) fn of(self, steps: &Grid) -> TimeRange {
        let start = steps.start.saturating_sub(self.back).saturating_add(1);
        let end = steps.last().saturating_add(self.ahead);
        TimeRange { start: TimestampMs(start), end: TimestampMs(end.max(start)) }
    }

    /// The longest run of steps that depend on none of the spans, which are ascending; of equal ones the newest.
    pub(super) fn untouched(self, steps: &Grid, spans: &[TimeRange]) -> Grid {
        let mut best = steps.part(0, 0);
        // The first step behind everything that was touched so far.
        let mut from = 0;
        let mut run = |from: usize, until: usize| {
            let run = steps.part(from, until.saturating_sub(from));
            if run.count >= best.count {
                best = run;
            }
        };
        for span in spans {
            let first = span.start.0.saturating_sub(self.ahead);
            let last = span.end.0.saturating_add(self.back).saturating_sub(1);
            let index =
                |time: i64| usize::try_from(time.saturating_sub(steps.start).div_euclid(steps.step)).unwrap_or(0);
            // The first step at or after `first`, and the first after `last`.
            let touched = if first <= steps.start { 0 } else { index(first - 1) + 1 };
            let behind = if last < steps.start { 0 } else { index(last) + 1 };
            if touched < behind {
                run(from, touched.min(steps.count));
                from = from.max(behind);
            }
        }
        run(from, steps.count);
        best
    }
}

/// What the answers of a plan depend on; `None` where there is more to it than samples, or nothing that is stored.
pub(super) fn reach(plan: &Plan, lookback_ms: i64) -> Option<Reach> {
    let mut walk = Walk { lookback_ms, reach: None, in_subquery: false };
    let known = match plan {
        Plan::Scalar(scalar) => walk.scalar(scalar),
        Plan::Vector(vector) => walk.vector(vector).is_some(),
        Plan::String(_) | Plan::Matrix(_) => false,
    };
    if known { walk.reach } else { None }
}

/// Whether the order of any two rows of a node is the same whatever steps are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Stable,
    /// For example that of the first row of a group: which row is the first depends on which there are.
    Accidental,
}

struct Walk {
    lookback_ms: i64,
    reach: Option<Reach>,
    in_subquery: bool,
}

impl Walk {
    fn add(&mut self, reach: Reach) {
        self.reach = Some(self.reach.map_or(reach, |known| known.joined(reach)));
    }

    fn window(&mut self, shift: Shift, range_ms: i64) -> Option<()> {
        if shift.at.is_some() {
            return None;
        }
        self.add(Reach { back: range_ms.saturating_add(shift.offset_ms), ahead: shift.offset_ms.saturating_neg() });
        Some(())
    }

    fn scalar(&mut self, scalar: &Scalar) -> bool {
        match scalar {
            Scalar::Literal(_) | Scalar::Time => true,
            Scalar::OfQuery(_) => false,
            Scalar::OfVector(input) => self.vector(input).is_some(),
            Scalar::Negate(input) => self.scalar(input),
            Scalar::Binary(_, left, right) | Scalar::Extreme { left, right, .. } => {
                self.scalar(left) && self.scalar(right)
            }
            Scalar::Shared(shared) => self.scalar(&shared.input),
        }
    }

    fn vector(&mut self, vector: &Vector) -> Option<Order> {
        match vector {
            Vector::Select(selector) | Vector::Timestamps(selector) => {
                selector.extension.is_none().then_some(())?;
                self.window(selector.shift, self.lookback_ms)?;
                Some(Order::Stable)
            }
            Vector::Range(call) => self.range(call),
            Vector::Map(MapCall { params, input, .. }) => {
                params.iter().all(|param| self.scalar(param)).then_some(())?;
                self.vector(input)
            }
            Vector::WithScalar(node) => {
                self.scalar(&node.scalar).then_some(())?;
                self.vector(&node.input)
            }
            Vector::Binary(node) => {
                self.vector(&node.left)?;
                self.vector(&node.right)?;
                Some(Order::Accidental)
            }
            Vector::Set(node) => {
                let left = self.vector(&node.left)?;
                self.vector(&node.right)?;
                Some(if node.op == SetOp::Or { Order::Accidental } else { left })
            }
            Vector::Aggregate(node) => self.aggregate(node),
            Vector::OfScalar(scalar) => self.scalar(scalar).then_some(Order::Stable),
            Vector::Absent { input, .. } => self.vector(input).map(|_| Order::Stable),
            Vector::Histogram(call) => {
                call.params.iter().all(|param| is_constant(&param.value)).then_some(())?;
                self.vector(&call.input).map(|_| Order::Accidental)
            }
            Vector::NativeOnly { input } => self.vector(input),
            // Which info series are read depends on all steps.
            Vector::Info(_) => None,
            Vector::Sort { input, .. } => self.vector(input).map(|_| Order::Accidental),
            Vector::Relabel { input, .. } => self.vector(input),
            Vector::Distinct { strict: false, input } => self.vector(input).map(|_| Order::Accidental),
            Vector::Distinct { strict: true, .. } => None,
            Vector::Shared(shared) => self.vector(&shared.input),
        }
    }

    fn range(&mut self, call: &RangeCall) -> Option<Order> {
        // Odd parameters are remarked on, whichever step comes first.
        call.params
            .iter()
            .all(|param| is_constant(param) || call.function == RangeFunction::PredictLinear)
            .then_some(())?;
        call.params.iter().all(|param| self.scalar(param)).then_some(())?;
        match &call.source {
            RangeSource::Select { selector, range_ms } => {
                selector.extension.is_none().then_some(())?;
                self.window(selector.shift, *range_ms)?;
                Some(Order::Stable)
            }
            RangeSource::Subquery { input, range_ms, shift, .. } => {
                // The inner steps lie in the window, and each has a reach of its own.
                let outside = self.reach.take();
                let inside = std::mem::replace(&mut self.in_subquery, true);
                let order = self.vector(input)?;
                self.in_subquery = inside;
                let inner = self.reach.take();
                self.reach = outside;
                if let Some(inner) = inner {
                    let (range, offset) = (*range_ms, shift.offset_ms);
                    let back = inner.back.saturating_add(range).saturating_add(offset);
                    self.add(Reach { back, ahead: inner.ahead.saturating_sub(offset) });
                }
                shift.at.is_none().then_some(order)
            }
        }
    }

    fn aggregate(&mut self, node: &Aggregate) -> Option<Order> {
        let order = self.vector(&node.input)?;
        match &node.function {
            // These do not look at the order of rows.
            AggregateFunction::Fold(FoldFunction::Count | FoldFunction::Group) | AggregateFunction::CountValues(_) => {
                Some(Order::Stable)
            }
            // Of zeros, the sign of the first one counts.
            AggregateFunction::Fold(_) => (order == Order::Stable).then_some(Order::Stable),
            AggregateFunction::Quantile(phi) => {
                (order == Order::Stable && is_constant(&phi.value)).then_some(Order::Stable)
            }
            AggregateFunction::Limit(param) | AggregateFunction::LimitRatio(param) => {
                (order == Order::Stable && is_constant(&param.value)).then_some(Order::Stable)
            }
            // At a single step, which a subquery may have, the best row comes first.
            AggregateFunction::Top { k, .. } if order == Order::Stable && is_constant(&k.value) => {
                Some(if self.in_subquery { Order::Accidental } else { Order::Stable })
            }
            AggregateFunction::Top { .. } => None,
        }
    }
}

fn is_constant(scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Literal(_) => true,
        Scalar::Negate(input) => is_constant(input),
        Scalar::Binary(_, left, right) => is_constant(left) && is_constant(right),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Engine, EngineOptions};

    const MINUTE: i64 = 60_000;

    #[test]
    fn queries_and_their_reach() {
        let engine = Engine::new(EngineOptions::default());
        let cases = [
            ("m", Some((5, 0))),
            ("rate(m[10m])", Some((10, 0))),
            ("sum by (a) (rate(m[1m] offset 2m))", Some((3, -2))),
            ("m offset -7m", Some((-2, 7))),
            ("m - m offset 1h", Some((65, 0))),
            ("max_over_time(rate(m[1m])[30m:1m] offset 1m)", Some((32, -1))),
            ("sum_over_time(m[30m:1m]) + n", Some((35, 0))),
            ("topk(3, sum by (a) (m))", Some((5, 0))),
            ("sum(sum by (a) (m))", Some((5, 0))),
            ("sum(topk(3, m))", Some((5, 0))),
            ("sum(m > 1)", Some((5, 0))),
            ("clamp_max(m, scalar(n offset 9m))", Some((14, 0))),
            ("absent(m)", Some((5, 0))),
            ("histogram_quantile(0.9, rate(m[10m]))", Some((10, 0))),
            ("m / on (a) group_left n", Some((5, 0))),
            ("time() - m", Some((5, 0))),
            // Nothing stored, or more than samples.
            ("time()", None),
            ("vector(1)", None),
            ("m @ end()", None),
            ("rate(m[5m] @ 100)", None),
            ("max_over_time(m[5m:1m] @ start())", None),
            ("label_replace(m, \"a\", \"$1\", \"b\", \"(.*)\")", Some((5, 0))),
            ("rate({a=\"b\"}[5m])", None),
            ("topk(scalar(n), m)", None),
            ("quantile(scalar(n), m)", None),
            ("quantile_over_time(scalar(n), m[5m])", None),
            // The order of rows depends on which there are.
            ("sum(sort(m))", None),
            ("sum_over_time(sum(topk(1, m))[5m:1m])", None),
        ];
        for (text, want) in cases {
            let query = engine.parse(text).expect(text);
            let found =
                query.plan().and_then(|plan| reach(plan, 5 * MINUTE)).map(|r| (r.back / MINUTE, r.ahead / MINUTE));
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn the_longest_run_of_steps() {
        let steps = Grid { start: 100, step: 10, count: 10 };
        let reach = Reach { back: 20, ahead: 0 };
        let spans = |spans: &[(i64, i64)]| -> Vec<TimeRange> {
            spans.iter().map(|(a, b)| TimeRange { start: TimestampMs(*a), end: TimestampMs(*b) }).collect()
        };
        let cases = [
            (vec![], (100, 10)),
            (vec![(185, 400)], (100, 9)),
            (vec![(180, 180)], (100, 8)),
            (vec![(0, 80)], (100, 10)),
            (vec![(0, 81)], (110, 9)),
            (vec![(130, 130)], (150, 5)),
            (vec![(110, 110), (170, 170)], (130, 4)),
            (vec![(0, 400)], (100, 0)),
        ];
        for (touched, (start, count)) in cases {
            let found = reach.untouched(&steps, &spans(&touched));
            assert_eq!(
                (found.count, found.count == 0 || found.start == start),
                (count, true),
                "{touched:?}: {found:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_touched_step_is_kept(
            back in -30i64..60, width in 0i64..60, step in 1i64..20, count in 1usize..20,
            spans in prop::collection::btree_map(-80i64..300, 0i64..9, 0..4),
        ) {
            let reach = Reach { back, ahead: width - back };
            let steps = Grid { start: 100, step, count };
            let spans: Vec<_> = spans
                .into_iter()
                .map(|(start, width)| TimeRange { start: TimestampMs(start * 10), end: TimestampMs(start * 10 + width) })
                .collect();
            let touched = |at: i64| {
                spans.iter().any(|s| s.end.0 > at - reach.back && s.start.0 <= at + reach.ahead)
            };
            let run = reach.untouched(&steps, &spans);
            let clean: Vec<bool> = (0..count).map(|i| !touched(steps.at(i))).collect();
            let longest = clean.split(|ok| !ok).map(<[bool]>::len).max().unwrap_or(0);
            prop_assert_eq!(run.count, longest, "{:?} {:?}", run, clean);
            prop_assert!((0..run.count).all(|i| !touched(run.at(i))));
        }
    }
}
