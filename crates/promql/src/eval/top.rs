//! `topk` and `bottomk`: the rows themselves, where they are among the best of their group.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use model::Labels;

use super::groups::Groups;
use super::text::general;
use super::{Evaluation, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{Aggregate, Parameter};

/// As many elements as Go sorts by insertion.
const INSERTION_SORTED: usize = 12;

/// A row's value at one step.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    value: f64,
    row: usize,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    Added,
    Replaced,
    Refused,
}

/// The best so far, as a binary heap with the worst on top. Which of equal values stay, and in which order, follows from
/// how exactly a heap moves them, so it moves them as the heap of Prometheus (Go's `container/heap`) does: a new one rises
/// only past what is strictly better, what is on top sinks to the left of equal children, and NaN is worse than anything,
/// NaN included.
#[derive(Debug, Clone)]
struct Best {
    heap: Vec<Candidate>,
    largest: bool,
}

impl Best {
    fn new(largest: bool) -> Self {
        Self { heap: Vec::new(), largest }
    }

    fn is_worse(&self, a: Candidate, b: Candidate) -> bool {
        a.value.is_nan() || if self.largest { a.value < b.value } else { a.value > b.value }
    }

    /// Takes a candidate in where fewer than `limit` are there, or the worst of them is worse.
    fn offer(&mut self, candidate: Candidate, limit: usize) -> Offer {
        if self.heap.len() < limit {
            self.heap.push(candidate);
            self.rise();
            return Offer::Added;
        }
        match self.heap.first().copied() {
            Some(worst) if limit > 0 && !candidate.value.is_nan() && self.is_worse(worst, candidate) => {
                self.heap[0] = candidate;
                self.sink();
                Offer::Replaced
            }
            _ => Offer::Refused,
        }
    }

    /// Moves the last one up to its place.
    fn rise(&mut self) {
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.is_worse(self.heap[at], self.heap[parent]) {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    /// Moves the first one down to its place.
    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.heap.len() {
                break;
            }
            let right_is_worse = right < self.heap.len() && self.is_worse(self.heap[right], self.heap[left]);
            let child = if right_is_worse { right } else { left };
            if !self.is_worse(self.heap[child], self.heap[at]) {
                break;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }

    /// Best first. Few are sorted as Go sorts few, by insertion, and equal ones stay as they lay in the heap; of more than
    /// that Go leaves the order of equal ones open, and they stay here too.
    fn into_sorted(self) -> Vec<Candidate> {
        let Self { mut heap, largest } = self;
        if heap.len() > INSERTION_SORTED {
            heap.sort_by(|a, b| {
                let order = a.value.partial_cmp(&b.value).unwrap_or(Ordering::Equal);
                let order = if largest { order.reverse() } else { order };
                a.value.is_nan().cmp(&b.value.is_nan()).then(order)
            });
            return heap;
        }
        let rules = Self { heap: Vec::new(), largest };
        for end in 1..heap.len() {
            let mut at = end;
            while at > 0 && rules.is_worse(heap[at - 1], heap[at]) {
                heap.swap(at - 1, at);
                at -= 1;
            }
        }
        heap
    }
}

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
        let mut groups: Groups<Vec<Best>> = Groups::new();
        // Labels of every row that ever was a candidate, by its number.
        let mut candidates: BTreeMap<usize, Labels> = BTreeMap::new();
        let mut row = 0;
        self.vector(&node.input, steps, &mut |labels, column| {
            let heaps = groups.of_row(&node.grouping, &names, labels, || {
                held.add_group(steps.count)?;
                held.add_bytes(steps.count.saturating_mul(size_of::<Best>()))?;
                Ok::<_, PromqlError>(vec![Best::new(largest); steps.count])
            })?;
            row += 1;
            let mut entered = 0;
            for (step, value) in column.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                let offer = heaps[step].offer(Candidate { value: *value, row }, limits[step]);
                if offer == Offer::Added {
                    held.add(1)?;
                    held.add_bytes(size_of::<Candidate>())?;
                }
                entered += usize::from(offer != Offer::Refused);
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
        heaps: Vec<Best>,
        candidates: &BTreeMap<usize, Labels>,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let mut held = self.budget.hold(0)?;
        let mut columns: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut order = Vec::new();
        for (step, heap) in heaps.into_iter().enumerate() {
            for best in heap.into_sorted() {
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

    fn rows(largest: bool, k: usize, values: &[f64]) -> Vec<usize> {
        let mut best = Best::new(largest);
        for (row, value) in values.iter().enumerate() {
            best.offer(Candidate { value: *value, row }, k);
        }
        best.into_sorted().iter().map(|c| c.row).collect()
    }

    /// Worked out by hand from the rules of Go's heap; the differential test compares with a real Prometheus.
    #[test]
    fn equal_values_stay_as_in_gos_heap() {
        let nan = f64::NAN;
        for (largest, k, values, want) in [
            (true, 1, &[5.0, 5.0, 5.0][..], &[0][..]),
            (true, 3, &[5.0, 5.0, 5.0, 5.0], &[0, 1, 2]),
            (true, 2, &[1.0, 1.0, 2.0], &[2, 1]),
            (true, 3, &[1.0, 1.0, 1.0, 2.0], &[3, 1, 2]),
            (true, 3, &[2.0, 1.0, 1.0, 3.0], &[3, 0, 2]),
            (false, 3, &[1.0, 2.0, 2.0, 0.0], &[3, 0, 2]),
            (true, 2, &[nan, 1.0, nan, 0.0], &[1, 3]),
            (true, 2, &[nan, nan], &[0, 1]),
            (false, 2, &[nan, nan, 7.0], &[2, 0]),
            (true, 0, &[1.0], &[]),
        ] {
            assert_eq!(rows(largest, k, values), want, "{largest} {k} {values:?}");
        }
    }

    #[test]
    fn many_are_sorted_too() {
        let values: Vec<f64> = (0..40).map(|i| if i % 7 == 3 { f64::NAN } else { f64::from(i % 10) }).collect();
        let best = rows(true, 30, &values);
        assert_eq!(best.len(), 30);
        assert!(best.windows(2).all(|pair| values[pair[0]] >= values[pair[1]]), "{best:?}");
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
