//! Random operations on a head and on maps; whatever can be seen must agree.

use std::collections::BTreeMap;

use model::{Labels, RefusalReason, SampleBuffer, StoredSeries, TimeRange, TimestampMs, Value};
use postings::MatchCache;
use proptest::prelude::*;

use super::{OPEN, append, batch, labels, names, options, samples_of};
use crate::{Accepted, Bounds, Frozen, Head};

/// Samples of one series, as bits, by time.
type Samples = BTreeMap<i64, u64>;

#[derive(Debug, Clone)]
enum Operation {
    /// Series, time, value; by a sender with an accent, or with labels that are decoded already.
    Append(Vec<(usize, i64, u8)>, Option<u8>),
    /// A run of samples in order.
    Run(usize, i64, usize),
    Cut,
    Freeze,
    Release,
    Select(i64, i64),
    RefreshOrder,
}

fn operation() -> impl Strategy<Value = Operation> {
    let row = (0..12usize, 0..60i64, 0..3u8);
    prop_oneof![
        6 => (prop::collection::vec(row, 1..20), prop::option::of(0..3u8)).prop_map(|(r, a)| Operation::Append(r, a)),
        3 => (0..12usize, 0..2000i64, 1..600usize).prop_map(|(s, t, n)| Operation::Run(s, t, n)),
        1 => Just(Operation::Cut),
        1 => Just(Operation::Freeze),
        1 => Just(Operation::Release),
        2 => (0..1000i64, 0..1000i64).prop_map(|(a, b)| Operation::Select(a.min(b), a.max(b))),
        1 => Just(Operation::RefreshOrder),
    ]
}

/// What a store around the head would be.
struct World {
    head: Head,
    frozen: Option<Frozen>,
    /// In memory, and in blocks.
    memory: BTreeMap<Labels, Samples>,
    sealed: BTreeMap<Labels, Samples>,
    freezing: BTreeMap<Labels, Samples>,
    cache: MatchCache,
}

impl World {
    fn append(&mut self, rows: &[(usize, i64, f64)], accent: Option<u8>) -> Result<(), TestCaseError> {
        let newest = self.sealed.values().filter_map(|s| s.keys().last()).max().copied().unwrap_or(i64::MIN);
        let sealed = self.sealed.clone();
        let look = |labels: &Labels, at: TimestampMs| {
            assert!(at.0 <= newest, "asked only for what may be sealed");
            sealed.get(labels).and_then(|samples| samples.get(&at.0)).copied().map(f64::from_bits).map(Value::Float)
        };
        let bounds = Bounds { oldest_ms: 2, newest_ms: 2500, sealed_until_ms: newest, sealed: &look };
        let (report, accepted) = match accent {
            Some(accent) => append(&self.head, rows, accent, &bounds),
            None => {
                let mut accepted = Accepted::default();
                (self.head.append_batch(&batch(rows), &bounds, &mut accepted), accepted)
            }
        };
        let (mut stored, mut duplicates, mut refused) = (Vec::new(), 0, Vec::new());
        for (row, (series, timestamp, value)) in rows.iter().enumerate() {
            let labels = labels(*series);
            let of = |map: &BTreeMap<Labels, Samples>| map.get(&labels).and_then(|s| s.get(timestamp)).copied();
            if *timestamp > 2500 {
                refused.push((row, RefusalReason::TooFarInFuture));
            } else if *timestamp < 2 {
                refused.push((row, RefusalReason::OutOfBounds));
            } else if let Some(known) = of(&self.memory).or_else(|| of(&self.sealed)) {
                if known == value.to_bits() {
                    duplicates += 1;
                } else {
                    refused.push((row, RefusalReason::DuplicateTimestamp));
                }
            } else {
                self.memory.entry(labels.clone()).or_default().insert(*timestamp, value.to_bits());
                stored.push((labels, *timestamp, value.to_bits()));
            }
        }
        prop_assert_eq!(report.appended, stored.len());
        prop_assert_eq!(report.duplicates, duplicates);
        prop_assert_eq!(report.refused.iter().map(|r| (r.row, r.reason)).collect::<Vec<_>>(), refused);
        let labels = accepted.series.iter().map(|s| self.head.labels(*s));
        let columns = accepted.timestamps.iter().zip(&accepted.values);
        let mut told: Vec<_> = labels.zip(columns).map(|(l, (t, v))| (l, *t, v.to_bits())).collect();
        told.sort();
        stored.sort();
        prop_assert_eq!(told, stored);
        self.head.mark_defined(&accepted.undefined);
        Ok(())
    }

    fn freeze(&mut self) -> Result<(), TestCaseError> {
        let frozen = self.head.freeze();
        let held: Vec<_> = self.memory.iter().filter(|(_, samples)| !samples.is_empty()).collect();
        prop_assert_eq!(frozen.len(), held.len());
        prop_assert_eq!(frozen.samples(), held.iter().map(|(_, s)| s.len() as u64).sum::<u64>());
        let mut buffer = SampleBuffer::default();
        for (series, (labels, samples)) in frozen.iter().zip(held) {
            prop_assert_eq!(&series.labels(), labels);
            buffer.clear();
            series.read(&mut buffer);
            let read: Vec<_> = buffer.timestamps.iter().zip(&buffer.values).map(|(t, v)| (*t, v.to_bits())).collect();
            prop_assert_eq!(read, samples.iter().map(|(t, v)| (*t, *v)).collect::<Vec<_>>());
            let ends = samples.keys().next().copied().zip(samples.keys().last().copied());
            prop_assert_eq!(Some((series.bounds().0.0, series.bounds().1.0)), ends);
        }
        self.freezing = self.memory.clone();
        self.frozen = Some(frozen);
        Ok(())
    }

    fn release(&mut self) {
        let Some(frozen) = self.frozen.take() else { return };
        self.head.release(frozen);
        for (labels, samples) in std::mem::take(&mut self.freezing) {
            if let Some(memory) = self.memory.get_mut(&labels) {
                memory.retain(|t, _| !samples.contains_key(t));
            }
            self.sealed.entry(labels).or_default().extend(samples);
        }
    }

    fn select(&self, range: TimeRange) -> Result<(), TestCaseError> {
        let selected = self.head.select(&[], range, &self.cache);
        let within = |samples: &Samples| samples.range(range.start.0..=range.end.0).map(|(t, v)| (*t, *v)).collect();
        let mut expected: BTreeMap<&Labels, Vec<(i64, u64)>> =
            self.memory.iter().map(|(labels, samples)| (labels, within(samples))).collect();
        prop_assert!(names(&selected).is_sorted_by(|a, b| a < b));
        for series in &selected {
            let samples = expected.remove(series.labels()).unwrap_or_default();
            prop_assert_eq!(samples_of(series, range), samples, "{}", series.labels());
        }
        prop_assert!(expected.values().all(Vec::is_empty), "series with samples in range were not selected");
        prop_assert_eq!(self.head.samples(), self.memory.values().map(|s| s.len() as u64).sum::<u64>());
        // What is frozen and what came since may both reach further than what is left of them.
        let ends = self.memory.values().filter(|s| !s.is_empty());
        let first = ends.clone().filter_map(|s| s.keys().next()).min();
        let last = ends.filter_map(|s| s.keys().last()).max();
        if let (Some(first), Some(last)) = (first, last) {
            let (oldest, newest) = self.head.bounds().expect("there are samples");
            prop_assert!(oldest.0 <= *first && *last <= newest.0);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_head_is_a_map(operations in prop::collection::vec(operation(), 1..60)) {
        let mut world = World {
            head: Head::new(options()),
            frozen: None,
            memory: BTreeMap::new(),
            sealed: BTreeMap::new(),
            freezing: BTreeMap::new(),
            cache: MatchCache::new(1 << 20),
        };
        for operation in operations {
            match operation {
                Operation::Append(rows, accent) => {
                    let rows: Vec<_> = rows.into_iter().map(|(s, t, v)| (s, t * 47, f64::from(v) / 8.0)).collect();
                    world.append(&rows, accent)?;
                }
                Operation::Run(series, start, count) => {
                    let rows: Vec<_> =
                        (0..count).map(|i| (series, start + i as i64 * 3, (i % 5) as f64 + 0.1)).collect();
                    world.append(&rows, Some(0))?;
                }
                Operation::Cut => {
                    let prepared = world.head.prepare_cut();
                    world.append(&[(7, 77, 7.0), (50, 77, 7.0)], Some(1))?;
                    world.head.cut(prepared);
                }
                Operation::Freeze => world.freeze()?,
                Operation::Release => world.release(),
                Operation::Select(start, end) => {
                    world.select(TimeRange { start: TimestampMs(start), end: TimestampMs(end) })?;
                }
                Operation::RefreshOrder => world.head.refresh_order(),
            }
        }
        world.select(TimeRange::ALL)?;
        world.freeze()?;
        world.release();
        prop_assert_eq!(world.head.samples(), 0);
        prop_assert_eq!(world.head.bounds(), None);
        prop_assert!(world.head.select(&[], TimeRange::ALL, &world.cache).is_empty());
        // With nothing in memory, the next generation begins with nothing but what its index costs.
        let prepared = world.head.prepare_cut();
        world.head.cut(prepared);
        prop_assert_eq!(world.head.series(), 0);
    }

    #[test]
    fn a_replay_restores_what_was_appended(
        rows in prop::collection::vec((0..6usize, 0..400i64, 0..3u8), 1..600),
    ) {
        let rows: Vec<_> = rows.into_iter().map(|(s, t, v)| (s, t * 13, f64::from(v))).collect();
        let head = Head::new(options());
        let (_, accepted) = append(&head, &rows, 0, &OPEN);
        let replayed = Head::new(options());
        let series: Vec<_> = accepted.series.iter().map(|s| replayed.restore(&head.labels(*s))).collect();
        let stored = replayed.restore_samples(&series, &accepted.timestamps, &accepted.values);
        prop_assert_eq!(stored, accepted.series.len());
        prop_assert_eq!(replayed.restore_samples(&series, &accepted.timestamps, &accepted.values), 0);
        let cache = MatchCache::new(1 << 20);
        let (a, b) = (head.select(&[], TimeRange::ALL, &cache), replayed.select(&[], TimeRange::ALL, &cache));
        prop_assert_eq!(names(&a), names(&b));
        for (a, b) in a.iter().zip(&b) {
            prop_assert_eq!(samples_of(a, TimeRange::ALL), samples_of(b, TimeRange::ALL));
        }
        prop_assert_eq!(head.bounds(), replayed.bounds());
        prop_assert_eq!(head.samples(), replayed.samples());
    }
}
