//! One series from many places: lists in label order become one list, and what several hold is read as one.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use model::{Labels, SampleBuffer, SelectError, StoredSeries, TimeRange, TimestampMs};

/// A series that several places hold a part of, the older parts first.
struct Merged {
    parts: Vec<Box<dyn StoredSeries>>,
}

impl StoredSeries for Merged {
    fn labels(&self) -> &Labels {
        // There are always two parts or more, and they have equal labels.
        self.parts[0].labels()
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        let start = into.len();
        for part in &self.parts {
            let joint = into.len();
            part.read(range, into)?;
            join(into, start, joint);
        }
        Ok(())
    }

    fn read_newest(&self, mut range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        let start = into.len();
        // The younger parts first: what the older ones have is rarely newer, and then nothing of them is read.
        for part in self.parts.iter().rev() {
            let before = into.len();
            part.read_newest(range, into)?;
            if into.len() > before
                && let (Some(timestamp), Some(value)) = (into.timestamps.pop(), into.values.pop())
            {
                into.timestamps.truncate(start);
                into.values.truncate(start);
                into.push(timestamp, value);
                if timestamp >= range.end.0 {
                    break;
                }
                range.start = TimestampMs(timestamp) + 1;
            }
        }
        Ok(())
    }
}

/// Makes the two ascending runs `start..joint` and `joint..` one. Of samples with the same time the first stays.
pub(crate) fn join(buffer: &mut SampleBuffer, start: usize, joint: usize) {
    let in_order = match (buffer.timestamps[start..joint].last(), buffer.timestamps.get(joint)) {
        (Some(last), Some(next)) => last < next,
        _ => true,
    };
    if in_order {
        return;
    }
    // Only what lies behind the first sample of the second run has to move.
    let first = buffer.timestamps[joint];
    let from = start + buffer.timestamps[start..joint].partition_point(|t| *t < first);
    let second =
        SampleBuffer { timestamps: buffer.timestamps.split_off(joint), values: buffer.values.split_off(joint) };
    let old = SampleBuffer { timestamps: buffer.timestamps.split_off(from), values: buffer.values.split_off(from) };
    let (mut a, mut b) = (0, 0);
    while a < old.len() && b < second.len() {
        match old.timestamps[a].cmp(&second.timestamps[b]) {
            Ordering::Less => {
                buffer.push(old.timestamps[a], old.values[a]);
                a += 1;
            }
            Ordering::Greater => {
                buffer.push(second.timestamps[b], second.values[b]);
                b += 1;
            }
            Ordering::Equal => {
                buffer.push(old.timestamps[a], old.values[a]);
                a += 1;
                b += 1;
            }
        }
    }
    buffer.timestamps.extend_from_slice(&old.timestamps[a..]);
    buffer.values.extend_from_slice(&old.values[a..]);
    buffer.timestamps.extend_from_slice(&second.timestamps[b..]);
    buffer.values.extend_from_slice(&second.values[b..]);
}

/// The next series of one list. The heap gives the smallest labels first, and among equals the older list.
struct Next {
    labels: Labels,
    list: usize,
    series: Box<dyn StoredSeries>,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        other.labels.cmp(&self.labels).then(other.list.cmp(&self.list))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Next {}

/// Merges lists that are each in label order; older places come first. Labels are built only where there are several.
pub(crate) fn merge(mut lists: Vec<Vec<Box<dyn StoredSeries>>>) -> Vec<Box<dyn StoredSeries>> {
    lists.retain(|list| !list.is_empty());
    if lists.len() < 2 {
        return lists.pop().unwrap_or_default();
    }
    let most = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut out: Vec<Box<dyn StoredSeries>> = Vec::with_capacity(most);
    let count = lists.len();
    let mut heap = BinaryHeap::with_capacity(count);
    let mut advance = |heap: &mut BinaryHeap<Next>, list: usize| {
        if let Some(series) = lists[list].next() {
            heap.push(Next { labels: series.labels().clone(), list, series });
        }
    };
    (0..count).for_each(|list| advance(&mut heap, list));
    while let Some(first) = heap.pop() {
        advance(&mut heap, first.list);
        let mut parts = Vec::new();
        while heap.peek().is_some_and(|next| next.labels == first.labels) {
            let Some(next) = heap.pop() else { break };
            advance(&mut heap, next.list);
            parts.push(next.series);
        }
        if parts.is_empty() {
            out.push(first.series);
        } else {
            parts.insert(0, first.series);
            out.push(Box::new(Merged { parts }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    struct Fixed(Labels, BTreeMap<i64, f64>);

    impl StoredSeries for Fixed {
        fn labels(&self) -> &Labels {
            &self.0
        }

        fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
            self.1.range(range.start.0..=range.end.0).for_each(|(t, v)| into.push(*t, *v));
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn is_what_a_map_would_hold(
            lists in prop::collection::vec(
                prop::collection::btree_map("[a-e]", prop::collection::btree_map(0i64..20, 0u8..9, 0..8), 0..5), 0..4),
        ) {
            let mut want: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
            let boxed = lists.iter().map(|list| {
                list.iter().map(|(name, samples)| {
                    let samples: BTreeMap<i64, f64> = samples.iter().map(|(t, v)| (*t, f64::from(*v))).collect();
                    let known = want.entry(name.clone()).or_default();
                    samples.iter().for_each(|(t, v)| { known.entry(*t).or_insert(*v); });
                    Box::new(Fixed(Labels::from_pairs([("n", name)]), samples)) as Box<dyn StoredSeries>
                }).collect()
            }).collect();
            let mut buffer = SampleBuffer::default();
            let found: Vec<(String, Vec<(i64, f64)>)> = merge(boxed).iter().map(|series| {
                buffer.clear();
                buffer.push(-1, 0.0);
                series.read(TimeRange::ALL, &mut buffer).expect("reads");
                let samples = buffer.timestamps.iter().copied().zip(buffer.values.iter().copied()).skip(1);
                (series.labels().get("n").unwrap_or("").to_owned(), samples.collect())
            }).collect();
            let want: Vec<_> = want.into_iter().map(|(n, s)| (n, s.into_iter().collect::<Vec<_>>())).collect();
            prop_assert_eq!(found, want);
        }
    }
}
