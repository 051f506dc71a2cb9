//! Evaluates a plan over a grid of steps at once.
//!
//! Rows (one series each) are pushed from the leaves towards the root as soon as they are complete: a leaf decodes a
//! series once, makes its column, and hands it to the node above, which may change it in place and pass it on. Only
//! nodes that must see several rows together hold columns back, and the budget counts what they hold.
//!
//! A column is a flat `Vec<f64>` with one slot for each step. "No value here" is the bit pattern of the staleness
//! marker: selectors filter the marker out, and no arithmetic produces it (it is a signalling NaN), so it is free.
//!
//! A leaf's work on one series depends on nothing but the series, so [`spread`] may do it on several threads; rows reach
//! the node above one after the other, in order, whatever their number.

mod aggregate;
mod binary;
mod budget;
pub(crate) mod date;
mod fold;
mod groups;
mod histogram;
mod labels;
mod map;
pub(crate) mod math;
mod range;
mod relabel;
mod rows;
mod select;
mod sets;
mod sliding;
mod spread;
mod steps;
mod top;
mod vectors;

use std::collections::BTreeSet;
use std::sync::Mutex;

use model::{Labels, Queryable};

use crate::PromqlError;
use crate::plan::{At, Scalar, Shift, Vector};
pub(crate) use budget::Budget;
pub(crate) use labels::{RowLabels, collect};
pub(crate) use rows::compact;
pub(crate) use spread::Helpers;
pub(crate) use steps::{Steps, absent, is_absent};

/// Where a node sends its rows. The column may be changed by the receiver and is reused by the sender.
pub(crate) type Sink<'s> = dyn FnMut(RowLabels<'_>, &mut [f64]) -> Result<(), PromqlError> + 's;

// Enough to understand what is wrong; more would only repeat it.
const MAX_NOTES: usize = 16;

/// Remarks on the data, gathered during evaluation.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub warnings: BTreeSet<String>,
    pub infos: BTreeSet<String>,
}

/// One evaluation of one query, or of a subquery in it.
#[derive(Clone, Copy)]
pub(crate) struct Evaluation<'a> {
    pub storage: &'a dyn Queryable,
    pub budget: &'a Budget,
    pub helpers: &'a Helpers,
    pub lookback_ms: i64,
    /// What `@ start()` and `@ end()` mean.
    pub query: Steps,
    pub notes: &'a Mutex<Notes>,
    /// Whether the store may answer from rollups where it has nothing better, or where steps are long. The values of a
    /// subquery are looked at again by a function that rollups are not made for.
    pub rollups: bool,
}

impl Evaluation<'_> {
    /// Evaluates a scalar at every step.
    pub fn scalar(&self, plan: &Scalar, steps: Steps) -> Result<Vec<f64>, PromqlError> {
        let _held = self.budget.hold(steps.count)?;
        match plan {
            Scalar::Literal(value) => Ok(vec![*value; steps.count]),
            Scalar::Time => Ok(steps.iter().map(|t| t as f64 / 1000.0).collect()),
            Scalar::OfVector(input) => self.scalar_of_vector(input, steps),
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
            Vector::HistogramQuantile { quantile, input } => self.histogram_quantile(quantile, input, steps, sink),
            Vector::Sort { descending, input } => self.sort(*descending, input, steps, sink),
            Vector::Relabel { relabel, input } => self.relabel(relabel, input, steps, sink),
            Vector::Distinct { strict, input } => self.distinct(*strict, input, steps, sink),
        }
    }

    /// The times at which a shifted selector is read, one for each step.
    pub fn shifted(&self, shift: Shift, steps: Steps) -> Steps {
        let pinned = match shift.at {
            None => return steps.earlier(shift.offset_ms),
            Some(At::Start) => self.query.start,
            Some(At::End) => self.query.last(),
            Some(At::Time(time)) => time,
        };
        Steps { start: pinned, step: 0, count: steps.count }.earlier(shift.offset_ms)
    }

    /// Adds a warning to the answer.
    pub fn warn(&self, text: impl FnOnce() -> String) {
        self.note(|notes| &mut notes.warnings, || format!("PromQL warning: {}", text()));
    }

    /// Adds an information to the answer.
    pub fn inform(&self, text: impl FnOnce() -> String) {
        self.note(|notes| &mut notes.infos, || format!("PromQL info: {}", text()));
    }

    fn note(&self, which: impl FnOnce(&mut Notes) -> &mut BTreeSet<String>, text: impl FnOnce() -> String) {
        // A poisoned lock only means that another thread of this query failed; the set itself is whole.
        let mut notes = self.notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let set = which(&mut notes);
        if set.len() < MAX_NOTES {
            set.insert(text());
        }
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
