//! `topk` and `bottomk`: the rows themselves, where they are among the best of their group.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use model::Labels;

use super::groups::Groups;
use super::text::general;
use super::{Evaluation, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{Aggregate, Parameter};

/// A candidate. The greatest in this order is the first to give way: NaN, then the worst value, then the first row (as
/// in the heap of Prometheus, where the oldest of equals is on top).
#[derive(Debug, Clone, Copy)]
struct Candidate {
    value: f64,
    row: usize,
    largest: bool,
}

impl Candidate {
    /// How good the value is, ties aside; the better the less.
    fn rank(&self, other: &Self) -> Ordering {
        let order = self.value.partial_cmp(&other.value).unwrap_or(Ordering::Equal);
        let order = if self.largest { order.reverse() } else { order };
        self.value.is_nan().cmp(&other.value.is_nan()).then(order)
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank(other).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl Evaluation<'_> {
    pub(super) fn top(
        &self,
        largest: bool,
        k: &Parameter,
        node: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let k = self.scalar(&k.value, steps)?;
        let Some(limits) = whole_numbers(&k)? else { return self.vector(&node.input, steps, &mut |_, _| Ok(())) };
        let names = node.grouping.names();
        let mut held = self.budget.hold(0)?;
        let mut groups: Groups<Vec<BinaryHeap<Candidate>>> = Groups::new();
        // Labels of every row that ever was a candidate, by its number.
        let mut candidates: BTreeMap<usize, Labels> = BTreeMap::new();
        let mut row = 0;
        self.vector(&node.input, steps, &mut |labels, column| {
            let heaps = groups.of_row(&node.grouping, &names, labels, || {
                held.add_group(steps.count)?;
                held.add_bytes(steps.count.saturating_mul(size_of::<BinaryHeap<Candidate>>()))?;
                Ok::<_, PromqlError>(vec![BinaryHeap::new(); steps.count])
            })?;
            row += 1;
            let mut entered = 0;
            for (step, value) in column.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                let (heap, candidate) = (&mut heaps[step], Candidate { value: *value, row, largest });
                if heap.len() < limits[step] {
                    heap.push(candidate);
                    held.add(1)?;
                    held.add_bytes(size_of::<Candidate>())?;
                    entered += 1;
                } else if limits[step] > 0
                    && let Some(mut worst) = heap.peek_mut()
                    && candidate.rank(&worst) == Ordering::Less
                {
                    *worst = candidate;
                    entered += 1;
                }
            }
            if entered > 0 {
                let labels = labels.build();
                held.add_labels(&labels)?;
                candidates.insert(row, labels);
            }
            self.budget.work(column.len())
        })?;
        for (_, heaps) in groups.in_order() {
            self.send_best(heaps, &candidates, steps, sink)?;
        }
        Ok(())
    }

    /// Turns the best of each step back into rows; at an instant, best first.
    fn send_best(
        &self,
        heaps: Vec<BinaryHeap<Candidate>>,
        candidates: &BTreeMap<usize, Labels>,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let mut held = self.budget.hold(0)?;
        let mut columns: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut order = Vec::new();
        for (step, heap) in heaps.into_iter().enumerate() {
            let mut best_first = heap.into_vec();
            best_first.sort_by(|a, b| a.rank(b).then(a.row.cmp(&b.row)));
            for best in best_first {
                if !columns.contains_key(&best.row) {
                    held.add(steps.count)?;
                    order.push(best.row);
                }
                columns.entry(best.row).or_insert_with(|| vec![absent(); steps.count])[step] = best.value;
            }
        }
        if steps.count != 1 {
            // Over a range they keep the order in which they came.
            order.sort_unstable();
        }
        for row in order {
            if let (Some(labels), Some(column)) = (candidates.get(&row), columns.get_mut(&row)) {
                sink(labels.into(), column)?;
            }
        }
        Ok(())
    }
}

/// The smallest and largest value of a parameter over all steps; not numbers where one of them is none.
pub(super) struct Extremes {
    pub min: f64,
    pub max: f64,
    pub any_nan: bool,
}

impl Extremes {
    pub fn of(values: &[f64]) -> Self {
        let any_nan = values.iter().any(|v| v.is_nan());
        let fold = |first, pick: fn(f64, f64) -> f64| {
            if any_nan { f64::NAN } else { values.iter().copied().fold(first, pick) }
        };
        Self { min: fold(f64::INFINITY, f64::min), max: fold(f64::NEG_INFINITY, f64::max), any_nan }
    }
}

/// How many rows are wanted at each step; `None` where none are at any.
pub(super) fn whole_numbers(k: &[f64]) -> Result<Option<Vec<usize>>, PromqlError> {
    let extremes = Extremes::of(k);
    if extremes.max < 1.0 {
        return Ok(None);
    }
    let refuse = |text: String| Err(PromqlError::Execution(text));
    if extremes.any_nan {
        return refuse("Parameter value is NaN".to_owned());
    }
    if extremes.min <= i64::MIN as f64 {
        return refuse(format!("Scalar value {} underflows int64", general(extremes.min)));
    }
    if extremes.max >= i64::MAX as f64 {
        return refuse(format!("Scalar value {} overflows int64", general(extremes.max)));
    }
    // What is below zero wants none; `as` does that.
    Ok(Some(k.iter().map(|k| *k as usize).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_gives_way_first_and_then_the_oldest_of_the_worst() {
        let order = |largest: bool| {
            let values = [3.0, f64::NAN, 1.0, 3.0];
            let mut all: Vec<_> =
                values.iter().enumerate().map(|(row, v)| Candidate { value: *v, row, largest }).collect();
            all.sort();
            all.iter().map(|c| c.row).collect::<Vec<_>>()
        };
        assert_eq!(order(true), [3, 0, 2, 1]);
        assert_eq!(order(false), [2, 3, 0, 1]);
    }

    #[test]
    fn limits() {
        assert_eq!(whole_numbers(&[2.9, -5.0]), Ok(Some(vec![2, 0])));
        assert_eq!(whole_numbers(&[f64::NEG_INFINITY, 0.9]), Ok(None));
        for odd in [f64::NAN, f64::INFINITY, 1e300] {
            assert!(whole_numbers(&[odd]).is_err());
        }
        assert!(whole_numbers(&[3.0, f64::NEG_INFINITY]).is_err());
    }
}
