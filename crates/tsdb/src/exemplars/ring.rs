//! The ring itself: the newest so many exemplars of all series together. A new one takes the place of the oldest; those
//! of one series are chained in order of time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use model::{Exemplar, ExemplarRow, Labels, Matcher, SeriesExemplars, TimeRange, matches_all};

/// Places in a ring are 32 bits wide.
const MAX_CAPACITY: usize = u32::MAX as usize;

#[derive(Debug)]
struct Slot {
    row: ExemplarRow,
    /// The next one of the same series.
    next: Option<u32>,
}

impl Slot {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.row.exemplar.labels.size_bytes()
    }
}

/// Places of a series' exemplars.
#[derive(Debug, Clone, Copy)]
struct Chain {
    oldest: u32,
    newest: u32,
}

fn series_bytes(series: &Labels) -> usize {
    size_of::<(Labels, Chain)>() + series.size_bytes()
}

/// What becomes of an exemplar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    /// The newest of its series is the same.
    Duplicate,
    /// Its series has a later one.
    OutOfOrder,
}

/// See the module. Memory grows with what is in it, up to the capacity.
#[derive(Debug, Default)]
pub(super) struct Ring {
    capacity: usize,
    slots: Vec<Slot>,
    /// Where the next one goes; once the ring is full, that is where the oldest is.
    next: usize,
    series: HashMap<Labels, Chain>,
    bytes: usize,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.min(MAX_CAPACITY), ..Self::default() }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn series(&self) -> usize {
        self.series.len()
    }

    /// Bytes that all of it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one that came first.
    pub(super) fn oldest(&self) -> Option<&Exemplar> {
        let at = if self.slots.len() < self.capacity { 0 } else { self.next };
        self.slots.get(at).map(|slot| &slot.row.exemplar)
    }

    /// All of them in the order they came.
    pub(super) fn rows(&self) -> impl Iterator<Item = &ExemplarRow> {
        let (younger, older) = self.slots.split_at(self.next.min(self.slots.len()));
        older.iter().chain(younger).map(|slot| &slot.row)
    }

    /// Adds an exemplar, unless its series has it or a later one. At the same time the larger value is the later one, and
    /// of equal values the greater labels: a sender that repeats some in the order it has them changes nothing.
    pub(super) fn push(&mut self, row: &ExemplarRow) -> Verdict {
        let verdict = self.judge(row);
        if verdict == Verdict::New && self.capacity > 0 {
            self.insert(row.clone());
        }
        verdict
    }

    fn judge(&self, row: &ExemplarRow) -> Verdict {
        let chain = self.series.get(&row.series);
        let Some(newest) = chain.and_then(|chain| self.slots.get(chain.newest as usize)) else { return Verdict::New };
        let (new, old) = (&row.exemplar, &newest.row.exemplar);
        let order = new.timestamp.cmp(&old.timestamp);
        let order = order.then_with(|| new.value.total_cmp(&old.value)).then_with(|| new.labels.cmp(&old.labels));
        match order {
            std::cmp::Ordering::Less => Verdict::OutOfOrder,
            std::cmp::Ordering::Equal => Verdict::Duplicate,
            std::cmp::Ordering::Greater => Verdict::New,
        }
    }

    fn insert(&mut self, mut row: ExemplarRow) {
        let at = self.next;
        self.forget(at);
        // Below the capacity, which fits.
        let place = at as u32;
        match self.series.entry(row.series.clone()) {
            Entry::Occupied(mut known) => {
                // One label set for all exemplars of a series.
                row.series = known.key().clone();
                let newest = std::mem::replace(&mut known.get_mut().newest, place);
                if let Some(before) = self.slots.get_mut(newest as usize) {
                    before.next = Some(place);
                }
            }
            Entry::Vacant(free) => {
                self.bytes += series_bytes(&row.series);
                free.insert(Chain { oldest: place, newest: place });
            }
        }
        let slot = Slot { row, next: None };
        self.bytes += slot.bytes();
        match self.slots.get_mut(at) {
            Some(old) => *old = slot,
            None => self.slots.push(slot),
        }
        self.next = (at + 1) % self.capacity;
    }

    /// Takes the exemplar at a place out of the books, where there is one. It is the oldest of all, so that of its series.
    fn forget(&mut self, at: usize) {
        let Some(old) = self.slots.get(at) else { return };
        self.bytes -= old.bytes();
        match old.next {
            Some(next) => {
                if let Some(chain) = self.series.get_mut(&old.row.series) {
                    chain.oldest = next;
                }
            }
            None => {
                self.bytes -= series_bytes(&old.row.series);
                self.series.remove(&old.row.series);
            }
        }
    }

    /// Makes room for more, or keeps the newest of those that are there.
    pub(super) fn resize(&mut self, capacity: usize) {
        let mut fresh = Self::new(capacity);
        let excess = self.len().saturating_sub(fresh.capacity);
        self.rows().skip(excess).for_each(|row| fresh.insert(row.clone()));
        *self = fresh;
    }

    /// The exemplars within a time, of the series that satisfy any of the matcher lists, in order of labels.
    pub(super) fn select(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Vec<SeriesExemplars> {
        let mut found = Vec::new();
        for (series, chain) in &self.series {
            let slot = |place: u32| self.slots.get(place as usize);
            let at = |place: u32| slot(place).map(|slot| slot.row.exemplar.timestamp);
            let overlaps = at(chain.oldest) <= Some(range.end) && at(chain.newest) >= Some(range.start);
            if !overlaps || !any_of.iter().any(|matchers| matches_all(matchers, series)) {
                continue;
            }
            let chained = std::iter::successors(slot(chain.oldest), |slot| self.slots.get(slot.next? as usize));
            let within = chained
                .map(|slot| &slot.row.exemplar)
                .skip_while(|exemplar| exemplar.timestamp < range.start)
                .take_while(|exemplar| exemplar.timestamp <= range.end);
            let exemplars: Vec<Exemplar> = within.cloned().collect();
            if !exemplars.is_empty() {
                found.push(SeriesExemplars { series: series.clone(), exemplars });
            }
        }
        found.sort_unstable_by(|a, b| a.series.cmp(&b.series));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use model::{MatchOp, TimestampMs};
    use proptest::prelude::*;

    use super::*;

    fn row(series: u8, at: i64, value: f64, trace: u8) -> ExemplarRow {
        let series = Labels::from_pairs([("__name__", "m".to_owned()), ("s", format!("s{series}"))]);
        let labels = Labels::from_pairs([("trace_id", trace.to_string())]);
        ExemplarRow { series, exemplar: Exemplar { labels, value, timestamp: TimestampMs(at) } }
    }

    fn everything(ring: &Ring) -> Vec<SeriesExemplars> {
        ring.select(&[Vec::new()], TimeRange::ALL)
    }

    /// What a full count of the books would say.
    fn counted_bytes(ring: &Ring) -> usize {
        ring.slots.iter().map(Slot::bytes).sum::<usize>() + ring.series.keys().map(series_bytes).sum::<usize>()
    }

    #[test]
    fn what_is_not_newer_is_told_apart() {
        let mut ring = Ring::new(10);
        for (row, want) in [
            (row(1, 10, 1.0, 5), Verdict::New),
            (row(1, 10, 1.0, 5), Verdict::Duplicate),
            (row(1, 9, 9.0, 9), Verdict::OutOfOrder),
            (row(1, 10, 0.5, 9), Verdict::OutOfOrder),
            (row(1, 10, 1.0, 4), Verdict::OutOfOrder),
            (row(1, 10, 1.0, 6), Verdict::New),
            (row(1, 10, 2.0, 5), Verdict::New),
            (row(2, 9, 9.0, 9), Verdict::New),
            (row(1, 11, f64::NAN, 5), Verdict::New),
            (row(1, 11, f64::NAN, 5), Verdict::Duplicate),
        ] {
            assert_eq!(ring.push(&row), want, "{row:?}");
        }
        assert_eq!((ring.len(), ring.series()), (5, 2));
    }

    #[test]
    fn selects_by_time_and_by_series() {
        let mut ring = Ring::new(10);
        for (series, at) in [(2, 1), (1, 2), (1, 4), (2, 5), (1, 6)] {
            ring.push(&row(series, at, at as f64, 0));
        }
        let asked = |series: &str, start, end| {
            let matchers = vec![Matcher::new(MatchOp::Equal, "s", series).expect("is a matcher")];
            let range = TimeRange { start: TimestampMs(start), end: TimestampMs(end) };
            let found =
                ring.select(&[matchers, vec![Matcher::new(MatchOp::Equal, "s", "none").expect("is one")]], range);
            found.iter().flat_map(|f| f.exemplars.iter().map(|e| e.timestamp.0)).collect::<Vec<_>>()
        };
        assert_eq!(asked("s1", 2, 4), [2, 4]);
        assert_eq!(asked("s1", 3, 5), [4]);
        assert!(asked("s1", 7, 9).is_empty() && asked("s2", 2, 4).is_empty());
        assert_eq!(ring.select(&[], TimeRange::ALL), []);
        let names: Vec<_> = everything(&ring).iter().map(|f| f.series.get("s").map(str::to_owned)).collect();
        assert_eq!(names, [Some("s1".to_owned()), Some("s2".to_owned())]);
    }

    #[test]
    fn without_room_nothing_stays() {
        let mut ring = Ring::new(2);
        assert_eq!(ring.push(&row(1, 1, 0.0, 0)), Verdict::New);
        ring.resize(0);
        assert_eq!(ring.push(&row(1, 1, 0.0, 0)), Verdict::New);
        assert_eq!((ring.len(), ring.series(), ring.bytes(), ring.oldest()), (0, 0, 0, None));
    }

    proptest! {
        /// Against a queue per series and one over all.
        #[test]
        fn holds_the_newest(
            capacity in 1usize..8,
            steps in prop::collection::vec((0u8..4, 0i64..3, prop::option::weighted(0.1, 1usize..8)), 0..60),
        ) {
            let (mut ring, mut all, mut at, mut room) = (Ring::new(capacity), VecDeque::new(), 0, capacity);
            for (series, later, resized) in steps {
                at += later;
                let row = row(series, at, 0.0, 0);
                let known = all.iter().rev().find(|r: &&ExemplarRow| r.series == row.series) == Some(&row);
                prop_assert_eq!(ring.push(&row) == Verdict::Duplicate, known);
                if !known {
                    all.push_back(row);
                }
                for capacity in std::iter::once(room).chain(resized) {
                    ring.resize(capacity);
                    room = capacity;
                    all.drain(..all.len().saturating_sub(room));
                }
                let mut by_series: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
                all.iter().for_each(|r| by_series.entry(r.series.clone()).or_default().push(r.exemplar.clone()));
                let want: Vec<_> =
                    by_series.into_iter().map(|(series, exemplars)| SeriesExemplars { series, exemplars }).collect();
                prop_assert_eq!(everything(&ring), want);
                prop_assert_eq!(ring.rows().collect::<Vec<_>>(), all.iter().collect::<Vec<_>>());
                prop_assert_eq!(ring.oldest(), all.front().map(|r| &r.exemplar));
                prop_assert_eq!(ring.bytes(), counted_bytes(&ring));
            }
        }
    }
}
