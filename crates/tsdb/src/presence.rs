//! Which times a block has, for every series, in a few bytes each. Right after a seal, and while a backfill fills gaps,
//! nearly every sample lies where a block might have it and does not: this says so without reading the block.
//!
//! It never says that a sample is absent which is there; that one is there it only supposes.

use model::Labels;
use xxhash_rust::xxh3::xxh3_64;

/// Series with more runs than this are only known by their first and last time.
const MAX_RUNS: usize = 8;

/// Times with equal distances, of a series whose labels have this hash. What shares a hash shares its runs.
#[derive(Debug, Clone, Copy)]
struct Run {
    hash: u64,
    /// Milliseconds after the beginning of the block.
    first: u32,
    last: u32,
    /// Distance of neighbours; one: there may be a sample at any time from the first to the last.
    step: u32,
}

/// The times of one block.
#[derive(Debug)]
pub(crate) struct Presence {
    start: i64,
    /// In order of hash.
    runs: Vec<Run>,
}

/// The hash that series are known by here.
pub(crate) fn hash_of(labels: &Labels) -> u64 {
    xxh3_64(labels.as_bytes())
}

/// Gathers the times of a block while it is written.
#[derive(Debug)]
pub(crate) struct PresenceBuilder {
    start: i64,
    runs: Vec<Run>,
    /// A time lies too far from the start to be told: nothing is known of the whole block then.
    failed: bool,
}

impl PresenceBuilder {
    /// For a block without samples before `start`.
    pub(crate) fn new(start: i64) -> Self {
        Self { start, runs: Vec::new(), failed: false }
    }

    /// Adds a series with these times, which ascend.
    pub(crate) fn add(&mut self, labels: &Labels, timestamps: &[i64]) {
        let (Some(first), Some(last)) = (timestamps.first(), timestamps.last()) else { return };
        let offset = |timestamp: &i64| u32::try_from(timestamp.wrapping_sub(self.start)).ok();
        let (Some(first), Some(last)) = (offset(first), offset(last)) else {
            self.failed = true;
            return;
        };
        let hash = hash_of(labels);
        let from = self.runs.len();
        let mut at = 0;
        while at < timestamps.len() {
            if self.runs.len() - from == MAX_RUNS {
                self.runs.truncate(from);
                self.runs.push(Run { hash, first, last, step: 1 });
                return;
            }
            let step = timestamps.get(at + 1).map_or(1, |next| next - timestamps[at]);
            let steady = timestamps[at..].windows(2).take_while(|pair| pair[1] - pair[0] == step).count();
            // All of them lie between the first and the last, which fit.
            let place = |timestamp: i64| timestamp.wrapping_sub(self.start) as u32;
            let (first, last) = (place(timestamps[at]), place(timestamps[at + steady]));
            self.runs.push(Run { hash, first, last, step: step as u32 });
            at += steady + 1;
        }
    }

    /// What was gathered, if it is of use.
    pub(crate) fn finish(mut self) -> Option<Presence> {
        self.runs.sort_unstable_by_key(|run| run.hash);
        self.runs.shrink_to_fit();
        (!self.failed).then_some(Presence { start: self.start, runs: self.runs })
    }
}

impl Presence {
    /// Whether a series may have a sample at exactly that time.
    pub(crate) fn may_have(&self, hash: u64, timestamp: i64) -> bool {
        let Ok(offset) = u32::try_from(timestamp.wrapping_sub(self.start)) else { return false };
        let from = self.runs.partition_point(|run| run.hash < hash);
        let mut own = self.runs[from..].iter().take_while(|run| run.hash == hash);
        own.any(|run| run.first <= offset && offset <= run.last && (offset - run.first).is_multiple_of(run.step))
    }

    /// Bytes of memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_000_000;

    fn presence(series: &[(String, Vec<i64>)]) -> Option<Presence> {
        let mut builder = PresenceBuilder::new(START);
        series.iter().for_each(|(name, times)| builder.add(&Labels::from_pairs([("n", name)]), times));
        builder.finish()
    }

    #[test]
    fn a_steady_series_takes_one_run_and_gaps_are_seen() {
        let steady: Vec<i64> = (0..480).filter(|n| !(100..200).contains(n)).map(|n| START + 7 + n * 15_000).collect();
        let known = presence(&[("a".to_owned(), steady)]).expect("fits");
        assert_eq!(known.runs.len(), 2);
        let hash = hash_of(&Labels::from_pairs([("n", "a")]));
        assert!(known.may_have(hash, START + 7) && known.may_have(hash, START + 7 + 479 * 15_000));
        for absent in [START + 8, START + 7 + 150 * 15_000, START + 7 + 480 * 15_000, START, START - 1, i64::MAX] {
            assert!(!known.may_have(hash, absent), "{absent}");
        }
        assert!(presence(&[("a".to_owned(), vec![START + (1 << 32)])]).is_none());
    }

    proptest! {
        #[test]
        fn never_denies_what_is_there(
            series in prop::collection::btree_map("[a-c]", prop::collection::btree_set(0i64..60, 1..30), 0..4),
        ) {
            let listed: Vec<(String, Vec<i64>)> =
                series.iter().map(|(n, times)| (n.clone(), times.iter().map(|t| START + t).collect())).collect();
            let known = presence(&listed).expect("fits");
            for name in ["a", "b", "c"] {
                let times = series.get(name).cloned().unwrap_or_else(BTreeSet::new);
                let hash = hash_of(&Labels::from_pairs([("n", name)]));
                for time in -2..70 {
                    let there = times.contains(&time);
                    let supposed = known.may_have(hash, START + time);
                    prop_assert!(supposed || !there, "{} at {}", name, time);
                    if times.is_empty() {
                        prop_assert!(!supposed);
                    }
                }
            }
        }
    }
}
