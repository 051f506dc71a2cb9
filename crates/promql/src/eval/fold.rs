//! Aggregations that need a fixed amount of memory for each group and step, however many series there are.

use super::math::{Deviation, KahanSum, RunningMean};
use super::{absent, is_absent};
use crate::plan::FoldFunction;

/// The state of one group, one slot for each step.
#[derive(Debug)]
pub(crate) enum Folded {
    Sum(Vec<Option<KahanSum>>),
    Avg(Vec<RunningMean>),
    /// Smallest or largest value so far, or the count, or 1; absent where there was no value.
    Plain(Vec<f64>, PlainFold),
    Spread(Vec<Deviation>, bool),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum PlainFold {
    Min,
    Max,
    Count,
    Group,
}

impl Folded {
    pub fn new(function: FoldFunction, steps: usize) -> Self {
        let plain = |kind| Self::Plain(vec![absent(); steps], kind);
        match function {
            FoldFunction::Sum => Self::Sum(vec![None; steps]),
            FoldFunction::Avg => Self::Avg(vec![RunningMean::default(); steps]),
            FoldFunction::Min => plain(PlainFold::Min),
            FoldFunction::Max => plain(PlainFold::Max),
            FoldFunction::Count => plain(PlainFold::Count),
            FoldFunction::Group => plain(PlainFold::Group),
            FoldFunction::Stddev => Self::Spread(vec![Deviation::default(); steps], true),
            FoldFunction::Stdvar => Self::Spread(vec![Deviation::default(); steps], false),
        }
    }

    /// How many samples the state of one step is worth.
    pub fn weight(function: FoldFunction) -> usize {
        match function {
            FoldFunction::Min | FoldFunction::Max | FoldFunction::Count | FoldFunction::Group => 1,
            FoldFunction::Sum | FoldFunction::Stddev | FoldFunction::Stdvar => 3,
            FoldFunction::Avg => 4,
        }
    }

    /// Takes one series in.
    pub fn add(&mut self, column: &[f64]) {
        match self {
            Self::Sum(state) => each(state, column, |slot, value| {
                *slot = Some(slot.map_or(KahanSum { sum: value, compensation: 0.0 }, |sum| sum.add(value)));
            }),
            Self::Avg(state) => each(state, column, RunningMean::add),
            Self::Plain(state, PlainFold::Min) => each(state, column, |slot, value| {
                if slot.is_nan() || value < *slot {
                    *slot = value;
                }
            }),
            Self::Plain(state, PlainFold::Max) => each(state, column, |slot, value| {
                if slot.is_nan() || value > *slot {
                    *slot = value;
                }
            }),
            Self::Plain(state, PlainFold::Count) => each(state, column, |slot, _| {
                *slot = if is_absent(*slot) { 1.0 } else { *slot + 1.0 };
            }),
            Self::Plain(state, PlainFold::Group) => each(state, column, |slot, _| *slot = 1.0),
            Self::Spread(state, _) => each(state, column, |slot, value| *slot = slot.add(value)),
        }
    }

    /// The group's column.
    pub fn finish(self) -> Vec<f64> {
        match self {
            Self::Sum(state) => state.into_iter().map(|sum| sum.map_or(absent(), KahanSum::total)).collect(),
            Self::Avg(state) => {
                state.into_iter().map(|mean| if mean.is_empty() { absent() } else { mean.mean() }).collect()
            }
            Self::Plain(state, _) => state,
            Self::Spread(state, root) => {
                let finish = |spread: Deviation| match spread.variance() {
                    _ if spread.count == 0.0 => absent(),
                    variance if root => variance.sqrt(),
                    variance => variance,
                };
                state.into_iter().map(finish).collect()
            }
        }
    }
}

#[inline]
fn each<T>(state: &mut [T], column: &[f64], mut take: impl FnMut(&mut T, f64)) {
    for (slot, value) in state.iter_mut().zip(column) {
        if !is_absent(*value) {
            take(slot, *value);
        }
    }
}
