//! Common parts of a plan: aggregations and scalars that stand in it more than once are evaluated once.
//!
//! Their answers are small beside what they are made of, so holding them costs less than evaluating again. Selectors are
//! not shared: their rows pass by one at a time, and holding them would be what the engine avoids.

use std::collections::{HashMap, HashSet};
use std::fmt::{Debug, Write};

use super::{AggregateFunction, Plan, RangeSource, Scalar, Shift, Vector};

/// A part of a plan with its twins elsewhere. Each place keeps its own copy, which is evaluated again where the rows of
/// the first were not kept.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    /// The same for all twins.
    pub id: usize,
    /// How many twins there are.
    pub uses: usize,
    pub input: Box<T>,
}

/// Marks the common parts of a plan.
pub(crate) fn share(plan: &mut Plan) {
    let mut counts = Sharing::default();
    counts.plan(plan);
    let mut repeated: Vec<(String, usize)> = counts.uses.into_iter().filter(|(_, uses)| *uses > 1).collect();
    if repeated.is_empty() {
        return;
    }
    // Numbered in a fixed order, so that equal texts make equal plans.
    repeated.sort();
    let twins = repeated.into_iter().enumerate().map(|(id, (key, uses))| (key, (id, uses))).collect();
    Sharing { twins, ..Sharing::default() }.plan(plan);
}

/// A walk over the plan. Of twins only the first is looked into: nobody evaluates the others.
#[derive(Default)]
struct Sharing {
    uses: HashMap<String, usize>,
    seen: HashSet<String>,
    /// Id and number of the parts to be marked; empty while counting.
    twins: HashMap<String, (usize, usize)>,
    /// The subqueries around the place: their grids of steps differ.
    around: String,
}

impl Sharing {
    fn plan(&mut self, plan: &mut Plan) {
        match plan {
            Plan::Scalar(scalar) => self.scalar(scalar),
            Plan::Vector(vector) => self.vector(vector),
            Plan::Matrix(source) => self.source(source),
            Plan::String(_) => {}
        }
    }

    /// Counts the part, and says whether it is the first of its kind, and which mark it gets.
    fn meet(&mut self, part: &impl Debug) -> (bool, Option<(usize, usize)>) {
        let key = format!("{} {part:?}", self.around);
        let mark = self.twins.get(&key).copied();
        *self.uses.entry(key.clone()).or_default() += 1;
        (self.seen.insert(key), mark)
    }

    fn vector(&mut self, vector: &mut Vector) {
        let Vector::Aggregate(aggregate) = vector else { return self.inside_vector(vector) };
        let (is_first, mark) = self.meet(aggregate);
        if is_first {
            self.inside_vector(vector);
        }
        if let Some((id, uses)) = mark {
            let input = std::mem::replace(vector, Vector::OfScalar(Scalar::Time));
            *vector = Vector::Shared(Shared { id, uses, input: Box::new(input) });
        }
    }

    fn inside_vector(&mut self, vector: &mut Vector) {
        match vector {
            Vector::Select(_) | Vector::Timestamps(_) => {}
            Vector::Range(call) => {
                call.params.iter_mut().for_each(|param| self.scalar(param));
                self.source(&mut call.source);
            }
            Vector::Map(call) => {
                call.params.iter_mut().for_each(|param| self.scalar(param));
                self.vector(&mut call.input);
            }
            Vector::WithScalar(node) => {
                self.scalar(&mut node.scalar);
                self.vector(&mut node.input);
            }
            Vector::Binary(node) => {
                self.vector(&mut node.left);
                self.vector(&mut node.right);
            }
            Vector::Set(node) => {
                self.vector(&mut node.left);
                self.vector(&mut node.right);
            }
            Vector::Aggregate(node) => {
                match &mut node.function {
                    AggregateFunction::Top { k: param, .. }
                    | AggregateFunction::Limit(param)
                    | AggregateFunction::LimitRatio(param)
                    | AggregateFunction::Quantile(param) => self.scalar(&mut param.value),
                    AggregateFunction::Fold(_) | AggregateFunction::CountValues(_) => {}
                }
                self.vector(&mut node.input);
            }
            Vector::OfScalar(scalar) => self.scalar(scalar),
            Vector::Histogram(call) => {
                call.params.iter_mut().for_each(|param| self.scalar(&mut param.value));
                self.vector(&mut call.input);
            }
            Vector::Info(call) => self.vector(&mut call.input),
            Vector::Absent { input, .. }
            | Vector::NativeOnly { input }
            | Vector::Sort { input, .. }
            | Vector::Relabel { input, .. }
            | Vector::Distinct { input, .. } => self.vector(input),
            Vector::Shared(shared) => self.vector(&mut shared.input),
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar) {
        let Scalar::OfVector(vector) = scalar else { return self.inside_scalar(scalar) };
        let (is_first, mark) = self.meet(&("scalar", &*vector));
        if is_first {
            self.inside_scalar(scalar);
        }
        if let Some((id, uses)) = mark {
            let input = std::mem::replace(scalar, Scalar::Time);
            *scalar = Scalar::Shared(Shared { id, uses, input: Box::new(input) });
        }
    }

    fn inside_scalar(&mut self, scalar: &mut Scalar) {
        match scalar {
            Scalar::Literal(_) | Scalar::Time | Scalar::OfQuery(_) => {}
            Scalar::OfVector(vector) => self.vector(vector),
            Scalar::Negate(input) => self.scalar(input),
            Scalar::Binary(_, left, right) | Scalar::Extreme { left, right, .. } => {
                self.scalar(left);
                self.scalar(right);
            }
            Scalar::Shared(shared) => self.scalar(&mut shared.input),
        }
    }

    fn source(&mut self, source: &mut RangeSource) {
        let RangeSource::Subquery { input, range_ms, step_ms, shift } = source else { return };
        let Shift { offset_ms, at } = shift;
        let outside = self.around.len();
        // Writing to a string does not fail.
        let _ = write!(self.around, "[{range_ms}:{step_ms} {offset_ms} {at:?}]");
        self.vector(input);
        self.around.truncate(outside);
    }
}
