//! Evaluates a plan over a grid of steps at once.
//!
//! Rows (one series each) are pushed from the leaves towards the root as soon as they are complete: a leaf decodes a
//! series once, makes its column, and hands it to the node above, which may change it in place and pass it on. Only
//! nodes that must see several rows together hold columns back, and the budget counts what they hold.
//!
//! A column is a flat `Vec<f64>` with one slot for each step. "No value here" is the bit pattern of the staleness
//! marker: selectors filter the marker out, and no arithmetic produces it (it is a signalling NaN), so it is free.
//!
//! Native histograms are to come; this is where they fit in. A column stays a column of numbers. A row of histograms is a
//! second kind of row beside it: the [`Sink`] takes an enum of both, [`rows::Row`] holds one, and each node decides in one
//! place what it makes of a histogram (most drop it and leave a [`annotations::Remark`]). Until then every row is of
//! numbers, and functions of native histograms alone answer nothing.
//!
//! A leaf's work on one series depends on nothing but the series, so [`spread`] may do it on several threads; rows reach
//! the node above one after the other, in order, whatever their number.

mod aggregate;
mod annotations;
mod binary;
mod buckets;
mod budget;
mod counts;
pub(crate) mod date;
mod extended;
mod extrapolation;
mod fold;
mod groups;
mod histogram;
mod info;
mod labels;
mod limit;
mod map;
pub(crate) mod math;
mod memory;
mod order;
mod range;
mod relabel;
mod rows;
mod select;
mod sets;
mod shared;
mod sliding;
mod sort;
mod spread;
mod steps;
mod text;
mod top;
mod vectors;

use std::sync::{Mutex, PoisonError};

use model::{Labels, Queryable};

use crate::PromqlError;
use crate::plan::{At, Place, QueryTime, Scalar, Shift, Vector};
pub(crate) use annotations::Notes;
use annotations::Remark;
pub(crate) use budget::{Allowance, Budget, Held, SAMPLE_BYTES};
pub(crate) use counts::SampleCounts;
pub(crate) use labels::{RowLabels, collect};
pub use memory::AnswerMemory;
pub(crate) use memory::Memory;
pub(crate) use rows::compact;
pub(crate) use shared::SharedRows;
pub(crate) use sort::sort_by;
pub(crate) use spread::Helpers;
pub(crate) use steps::{QueryTimes, Steps, absent, is_absent};

/// Where a node sends its rows. The column may be changed by the receiver and is reused by the sender.
pub(crate) type Sink<'s> = dyn FnMut(RowLabels<'_>, &mut [f64]) -> Result<(), PromqlError> + 's;

/// One evaluation of one query, or of a subquery in it.
#[derive(Clone, Copy)]
pub(crate) struct Evaluation<'a> {
    pub storage: &'a dyn Queryable,
    pub budget: &'a Budget,
    pub helpers: &'a Helpers,
    pub lookback_ms: i64,
    /// What `@ start()` and `@ end()` mean.
    pub query: QueryTimes,
    pub notes: &'a Mutex<Notes>,
    /// Whether the store may answer from rollups where it has nothing better, or where steps are long. The values of a
    /// subquery are looked at again by a function that rollups are not made for.
    pub rollups: bool,
    /// Where samples are counted, if somebody asked; not within subqueries, whose answers count instead.
    pub counts: Option<&'a SampleCounts>,
    /// What common parts of the plan have answered.
    pub shared: &'a SharedRows,
}

impl Evaluation<'_> {
    /// Evaluates a scalar at every step.
    pub fn scalar(&self, plan: &Scalar, steps: Steps) -> Result<Vec<f64>, PromqlError> {
        let _held = self.budget.hold(steps.count)?;
        match plan {
            Scalar::Literal(value) => Ok(vec![*value; steps.count]),
            Scalar::Time => Ok(steps.iter().map(|t| t as f64 / 1000.0).collect()),
            Scalar::OfQuery(time) => Ok(vec![self.query_time(*time); steps.count]),
            Scalar::Extreme { largest, left, right } => {
                let (mut left, right) = (self.scalar(left, steps)?, self.scalar(right, steps)?);
                let pick = if *largest { math::max } else { math::min };
                left.iter_mut().zip(&right).for_each(|(l, r)| *l = pick(*l, *r));
                Ok(left)
            }
            Scalar::OfVector(input) => self.scalar_of_vector(input, steps),
            Scalar::Shared(shared) => self.shared_scalar(shared, steps),
            Scalar::Negate(input) => {
                let mut column = self.scalar(input, steps)?;
                column.iter_mut().filter(|v| !v.is_nan()).for_each(|v| *v = -*v);
                Ok(column)
            }
            Scalar::Binary(op, left, right) => {
                let (mut left, right) = (self.scalar(left, steps)?, self.scalar(right, steps)?);
                for (l, r) in left.iter_mut().zip(&right) {
                    *l = binary::scalars(*op, *l, *r);
                }
                Ok(left)
            }
        }
    }

    /// Evaluates an instant vector at every step. Rows without any value may be sent.
    pub fn vector(&self, plan: &Vector, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        match plan {
            Vector::Select(selector) => self.select(selector, steps, sink),
            Vector::Timestamps(selector) => self.timestamps(selector, steps, sink),
            Vector::Range(call) => self.range(call, steps, sink),
            Vector::Map(call) => self.map(call, steps, sink),
            Vector::WithScalar(binary) => self.with_scalar(binary, steps, sink),
            Vector::Binary(binary) => self.binary(binary, steps, sink),
            Vector::Set(set) => self.set(set, steps, sink),
            Vector::Aggregate(aggregate) => self.aggregate(aggregate, steps, sink),
            Vector::OfScalar(scalar) => sink((&Labels::empty()).into(), &mut self.scalar(scalar, steps)?),
            Vector::Absent { input, labels } => self.absent(input, labels, steps, sink),
            Vector::Histogram(call) => self.histogram(call, steps, sink),
            Vector::NativeOnly { input } => self.vector(input, steps, &mut |_, _| Ok(())),
            Vector::Info(call) => self.info(call, steps, sink),
            Vector::Sort { order, input } => self.sort(order, input, steps, sink),
            Vector::Relabel { relabel, input } => self.relabel(relabel, input, steps, sink),
            Vector::Distinct { strict, input } => self.distinct(*strict, input, steps, sink),
            Vector::Shared(shared) => self.shared_vector(shared, steps, sink),
        }
    }

    /// The times at which a shifted selector is read, one for each step.
    pub fn shifted(&self, shift: Shift, steps: Steps) -> Steps {
        let pinned = match shift.at {
            None => return steps.earlier(shift.offset_ms),
            Some(At::Start) => self.query.start,
            Some(At::End) => self.query.end,
            Some(At::Time(time)) => time,
        };
        Steps { start: pinned, step: 0, count: steps.count }.earlier(shift.offset_ms)
    }

    /// Adds a remark to the answer.
    fn note(&self, place: Place, remark: &Remark<'_>) {
        // A poisoned lock only means that another thread of this query failed; the notes themselves are whole.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).add(place, remark);
    }

    /// How many remarks were made so far, repeated ones included.
    fn notes_taken(&self) -> usize {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).taken()
    }

    fn query_time(&self, time: QueryTime) -> f64 {
        let QueryTimes { start, end, step } = self.query;
        let ms = match time {
            QueryTime::Start => start,
            QueryTime::End => end,
            QueryTime::Step => step,
            QueryTime::Range => end.saturating_sub(start),
        };
        ms as f64 / 1000.0
    }

    fn scalar_of_vector(&self, input: &Vector, steps: Steps) -> Result<Vec<f64>, PromqlError> {
        let mut column = vec![f64::NAN; steps.count];
        let mut seen = vec![0u8; steps.count];
        self.vector(input, steps, &mut |_, row| {
            for ((value, seen), slot) in row.iter().zip(&mut seen).zip(&mut column) {
                if !is_absent(*value) {
                    *slot = if *seen == 0 { *value } else { f64::NAN };
                    *seen = 1;
                }
            }
            Ok(())
        })?;
        Ok(column)
    }
}
