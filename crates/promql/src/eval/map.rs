//! Nodes that change each row on its own, as it passes.

use std::collections::HashSet;

use model::Labels;

use super::math::{max, min, round};
use super::rows::Merged;
use super::{Evaluation, Sink, Steps, absent, binary, is_absent};
use crate::PromqlError;
use crate::plan::{MapCall, MapFunction, Vector, WithScalar};

impl Evaluation<'_> {
    /// A function of each value; drops the metric name.
    pub(super) fn map(&self, call: &MapCall, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let params: Vec<_> = call.params.iter().map(|p| self.scalar(p, steps)).collect::<Result<_, _>>()?;
        self.vector(&call.input, steps, &mut |labels, column| {
            match (call.function, params.as_slice()) {
                // A NaN keeps its sign, so that none can turn into the mark of an empty slot.
                (MapFunction::Math(function), _) => replace(column, |_, v| if v.is_nan() { v } else { function(v) }),
                (MapFunction::Negate, _) => replace(column, |_, v| if v.is_nan() { v } else { -v }),
                (MapFunction::EvaluationTime, _) => replace(column, |step, _| steps.at(step) as f64 / 1000.0),
                (MapFunction::Round, [to]) => replace(column, |step, v| round(v, to[step])),
                (MapFunction::ClampMin, [low]) => replace(column, |step, v| max(low[step], v)),
                (MapFunction::ClampMax, [high]) => replace(column, |step, v| min(high[step], v)),
                (MapFunction::Clamp, [low, high]) => replace(column, |step, v| {
                    let (low, high) = (low[step], high[step]);
                    if high < low { absent() } else { max(low, min(high, v)) }
                }),
                (MapFunction::Round | MapFunction::ClampMin | MapFunction::ClampMax | MapFunction::Clamp, _) => {
                    return Err(PromqlError::execution("missing parameter of a function"));
                }
            }
            sink(labels.without_name(), column)
        })
    }

    /// An operator between a vector and a scalar.
    pub(super) fn with_scalar(&self, node: &WithScalar, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        let scalar = self.scalar(&node.scalar, steps)?;
        let keeps_name = node.op.is_comparison() && !node.return_bool;
        self.vector(&node.input, steps, &mut |labels, column| {
            replace(column, |step, value| {
                let (left, right) = if node.scalar_left { (scalar[step], value) } else { (value, scalar[step]) };
                binary::element(node.op, node.return_bool, left, right, value)
            });
            sink(if keeps_name { labels } else { labels.without_name() }, column)
        })
    }

    /// 1 at every step at which no row has a value.
    pub(super) fn absent(
        &self,
        input: &Vector,
        labels: &Labels,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let _held = self.budget.hold(steps.count)?;
        let mut answer = vec![1.0; steps.count];
        self.vector(input, steps, &mut |_, column| {
            for (slot, value) in answer.iter_mut().zip(column.iter()) {
                if !is_absent(*value) {
                    *slot = absent();
                }
            }
            Ok(())
        })?;
        sink(labels.into(), &mut answer)
    }

    /// Joins rows that became equal, or refuses them, which takes no more memory than their labels.
    pub(super) fn distinct(
        &self,
        strict: bool,
        input: &Vector,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        if strict {
            let (mut held, mut seen) = (self.budget.hold(0)?, HashSet::new());
            return self.vector(input, steps, &mut |labels, column| {
                if column.iter().all(|v| is_absent(*v)) {
                    return Ok(());
                }
                let labels = labels.build();
                held.add(1)?;
                held.add_labels(&labels)?;
                sink((&labels).into(), column)?;
                if seen.insert(labels) { Ok(()) } else { Err(same_labelset()) }
            });
        }
        let mut merged = Merged::new(self.budget)?;
        self.vector(input, steps, &mut |labels, column| merged.add(labels, column)?.map_err(|_| same_labelset()))?;
        merged.rows.rows.iter_mut().try_for_each(|row| sink((&row.labels).into(), &mut row.values))
    }
}

pub(super) fn same_labelset() -> PromqlError {
    PromqlError::execution("vector cannot contain metrics with the same labelset")
}

/// Changes every value that is there: `change(step, value)`.
#[inline]
fn replace(column: &mut [f64], mut change: impl FnMut(usize, f64) -> f64) {
    for (step, slot) in column.iter_mut().enumerate() {
        if !is_absent(*slot) {
            *slot = change(step, *slot);
        }
    }
}
