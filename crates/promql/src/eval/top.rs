//! `topk` and `bottomk`: the rows themselves, where they are among the best of their group.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use model::Labels;

use super::groups::Groups;
use super::{Evaluation, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{Aggregate, Scalar};

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
        k: &Scalar,
        node: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let limits = self.scalar(k, steps)?.into_iter().map(limit).collect::<Result<Vec<usize>, _>>()?;
        let names = node.grouping.names();
        let mut held = self.budget.hold(0)?;
        let mut groups: Groups<Vec<BinaryHeap<Candidate>>> = Groups::new();
        // Labels of every row that ever was a candidate, by its number.
        let mut candidates: BTreeMap<usize, Labels> = BTreeMap::new();
        let mut row = 0;
        self.vector(&node.input, steps, &mut |labels, column| {
            let heaps = groups.entry(node.grouping.kept(labels, &names), || {
                held.add(steps.count)?;
                Ok::<_, PromqlError>(vec![BinaryHeap::new(); steps.count])
            })?;
            row += 1;
            let mut entered = 0;
            for (step, value) in column.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                let (heap, candidate) = (&mut heaps[step], Candidate { value: *value, row, largest });
                if heap.len() < limits[step] {
                    heap.push(candidate);
                    held.add(1)?;
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
                candidates.insert(row, labels.build());
            }
            self.budget.work(column.len())
        })?;
        for (_, heaps) in groups.groups {
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
        for row in order {
            if let (Some(labels), Some(column)) = (candidates.get(&row), columns.get_mut(&row)) {
                sink(labels.into(), column)?;
            }
        }
        Ok(())
    }
}

/// How many rows are wanted.
fn limit(k: f64) -> Result<usize, PromqlError> {
    let shown = crate::syntax::print_float(k);
    match k {
        k if k.is_nan() => Err(PromqlError::execution("Parameter value is NaN")),
        k if k >= i64::MAX as f64 => Err(PromqlError::execution(format!("Scalar value {shown} overflows int64"))),
        k if k <= i64::MIN as f64 => Err(PromqlError::execution(format!("Scalar value {shown} underflows int64"))),
        k => Ok(k.max(0.0) as usize),
    }
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
        assert_eq!(limit(2.9), Ok(2));
        assert_eq!(limit(-5.0), Ok(0));
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert!(limit(odd).is_err());
        }
    }
}
