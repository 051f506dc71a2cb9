//! Which parts of a segment's file: half-open intervals of offsets.

use serde::{Deserialize, Serialize};

/// Ascending, apart from one another, none empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    /// Adds an interval, joining what it touches.
    pub(crate) fn insert(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let first = self.0.partition_point(|(_, end)| *end < from);
        let last = self.0.partition_point(|(start, _)| *start <= to);
        let joined = self.0[first..last].iter().fold((from, to), |(a, b), (c, d)| (a.min(*c), b.max(*d)));
        self.0.splice(first..last, [joined]);
    }

    /// Takes an interval out.
    pub(crate) fn remove(&mut self, from: u64, to: u64) {
        let first = self.0.partition_point(|(_, end)| *end <= from);
        let last = self.0.partition_point(|(start, _)| *start < to);
        if first >= last || from >= to {
            return;
        }
        let (before, after) = ((self.0[first].0, from), (to, self.0[last - 1].1));
        self.0.splice(first..last, [before, after].into_iter().filter(|(start, end)| start < end));
    }

    pub(crate) fn contains(&self, at: u64) -> bool {
        self.first_outside(at) != at
    }

    /// The first place from `at` on that is in no interval.
    pub(crate) fn first_outside(&self, at: u64) -> u64 {
        let next = self.0.partition_point(|(_, end)| *end <= at);
        self.0.get(next).filter(|(start, _)| *start <= at).map_or(at, |(_, end)| *end)
    }

    /// Where the first interval begins behind `at`.
    pub(crate) fn next_start(&self, at: u64) -> u64 {
        let next = self.0.partition_point(|(start, _)| *start <= at);
        self.0.get(next).map_or(u64::MAX, |(start, _)| *start)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is what the type promises: for what comes from a file.
    pub(crate) fn is_sound(&self) -> bool {
        self.0.iter().all(|(start, end)| start < end) && self.0.is_sorted_by(|a, b| a.1 < b.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set_of_places(steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..12), 0..40)) {
            let (mut intervals, mut set) = (Intervals::default(), std::collections::BTreeSet::new());
            for (insert, from, length) in steps {
                if insert {
                    intervals.insert(from, from + length);
                    set.extend(from..from + length);
                } else {
                    intervals.remove(from, from + length);
                    set.retain(|place| !(from..from + length).contains(place));
                }
                prop_assert!(intervals.is_sound(), "{intervals:?}");
                prop_assert_eq!(intervals.is_empty(), set.is_empty());
                for place in 0..60 {
                    prop_assert_eq!(intervals.contains(place), set.contains(&place), "{} of {:?}", place, intervals);
                    let outside = (place..).find(|at| !set.contains(at));
                    prop_assert_eq!(Some(intervals.first_outside(place)), outside);
                    let next = set.iter().find(|at| **at > place && !set.contains(&(**at - 1))).copied();
                    prop_assert_eq!(intervals.next_start(place), next.unwrap_or(u64::MAX));
                }
            }
        }
    }
}
