//! One series from many places: lists in label order become one list, and what several hold is read as one.

use std::cmp::Ordering;
use std::vec::IntoIter;

use model::{HistogramBuffer, Labels, SampleBuffer, SelectError, StoredSeries, TimeRange, TimestampMs};

/// A series that several places hold a part of, the older parts first.
struct Merged {
    parts: Vec<Box<dyn StoredSeries>>,
}

impl StoredSeries for Merged {
    fn labels(&self) -> &Labels {
        // There are always two parts or more, and they have equal labels.
        self.parts[0].labels()
    }

    fn each_label(&self, each: &mut dyn FnMut(&str, &str)) {
        self.parts[0].each_label(each);
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

    fn read_histograms(&self, range: TimeRange, into: &mut HistogramBuffer) -> Result<(), SelectError> {
        let start = into.len();
        self.parts.iter().try_for_each(|part| part.read_histograms(range, into))?;
        into.settle(start);
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

/// A list under way.
struct Cursor {
    rest: IntoIter<Box<dyn StoredSeries>>,
    next: Option<Box<dyn StoredSeries>>,
    /// Compares with those of other lists as the labels of `next` do.
    key: Vec<u8>,
}

impl Cursor {
    fn new(list: Vec<Box<dyn StoredSeries>>) -> Self {
        let mut cursor = Self { rest: list.into_iter(), next: None, key: Vec::new() };
        cursor.advance();
        cursor
    }

    /// Gives the next series away and looks at the one behind it.
    fn advance(&mut self) -> Option<Box<dyn StoredSeries>> {
        let given = std::mem::replace(&mut self.next, self.rest.next());
        self.key.clear();
        if let Some(series) = &self.next {
            series.each_label(&mut |name, value| {
                push_ordered(&mut self.key, name);
                push_ordered(&mut self.key, value);
            });
        }
        given
    }
}

/// Adds a text so that bytes compare as lists of texts do: no byte of UTF-8 is 255, so each can be one more, and zero ends it.
fn push_ordered(key: &mut Vec<u8>, text: &str) {
    key.extend(text.bytes().map(|byte| byte.wrapping_add(1)));
    key.push(0);
}

/// Merges lists that are each in label order; older places come first. No labels are built.
pub(crate) fn merge(mut lists: Vec<Vec<Box<dyn StoredSeries>>>) -> Vec<Box<dyn StoredSeries>> {
    lists.retain(|list| !list.is_empty());
    if lists.len() < 2 {
        return lists.pop().unwrap_or_default();
    }
    let mut out: Vec<Box<dyn StoredSeries>> = Vec::with_capacity(lists.iter().map(Vec::len).max().unwrap_or(0));
    let mut cursors: Vec<Cursor> = lists.into_iter().map(Cursor::new).collect();
    let (mut key, mut parts) = (Vec::new(), Vec::new());
    loop {
        let unfinished = cursors.iter().filter(|cursor| cursor.next.is_some());
        let Some(first) = unfinished.min_by(|a, b| a.key.cmp(&b.key)) else { return out };
        key.clone_from(&first.key);
        let same = cursors.iter_mut().filter(|cursor| cursor.key == key);
        parts.extend(same.filter_map(Cursor::advance));
        match parts.len() {
            1 => out.append(&mut parts),
            _ => out.push(Box::new(Merged { parts: std::mem::take(&mut parts) })),
        }
    }
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
