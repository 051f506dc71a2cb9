//! Which series there are in one generation: by number, by label set, by encoded label set, and by label pair.

use std::cmp::Ordering;

use hashbrown::DefaultHashBuilder;
use model::Labels;
use std::hash::BuildHasher;

use crate::encoded::{Encoded, Key};
use crate::pairs::{NO_PAIR, PairId, Pairs};
use crate::series::{Nursery, Series};
use crate::table::{Positions, push_gently};

/// Encoded label sets that are remembered per series, and besides.
const ENCODINGS: (usize, usize) = (4, 10_000);

/// The series of one generation. Nothing in it ever changes its number.
#[derive(Debug, Default)]
pub(crate) struct Index {
    series: Vec<Series>,
    nursery: Nursery,
    /// The pairs of all series, one after another, in order of names.
    ids: Vec<PairId>,
    /// Where the pairs of a series end.
    ends: Vec<u64>,
    identity: Positions,
    pub(crate) pairs: Pairs,
    pub(crate) encoded: Encoded,
    hasher: DefaultHashBuilder,
    /// The pairs of the label set that was looked up last.
    wanted: Vec<PairId>,
}

fn pairs_of<'a>(ids: &'a [PairId], ends: &[u64], series: u32) -> &'a [PairId] {
    let at = series as usize;
    let start = at.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
    ends.get(at).and_then(|end| ids.get(start..*end as usize)).unwrap_or(&[])
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// All series, by number.
    #[inline]
    pub(crate) fn series(&self) -> &[Series] {
        &self.series
    }

    /// The pairs of a series in order of names; none for a series that is not there.
    #[inline]
    pub(crate) fn pairs_of(&self, series: u32) -> &[PairId] {
        pairs_of(&self.ids, &self.ends, series)
    }

    /// The label set of a series.
    pub(crate) fn labels(&self, series: u32) -> Labels {
        Labels::from_sorted(self.pairs_of(series).iter().map(|pair| self.pairs.text(*pair))).unwrap_or_default()
    }

    /// How the label set of a series compares with another.
    pub(crate) fn compare(&self, series: u32, labels: &Labels) -> Ordering {
        self.pairs_of(series).iter().map(|pair| self.pairs.text(*pair)).cmp(labels.iter())
    }

    /// The series with a label set. Remembers its pairs for [`Index::create`].
    pub(crate) fn find<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Option<u32> {
        let mut wanted = std::mem::take(&mut self.wanted);
        self.pairs.find_all(labels, &mut wanted);
        self.wanted = wanted;
        if self.wanted.contains(&NO_PAIR) {
            return None;
        }
        let hash = self.hasher.hash_one(&self.wanted[..]);
        self.identity.find(hash, |at| self.pairs_of(at) == &self.wanted[..])
    }

    /// Takes in the series with the label set that [`Index::find`] has just not found, a new one unless there is one. `None`
    /// when there is no number left for it, long after any limit.
    pub(crate) fn create<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        series: Option<Series>,
    ) -> Option<u32> {
        let id = u32::try_from(self.series.len()).ok().filter(|id| *id < u32::MAX)?;
        for ((name, value), pair) in labels.zip(&mut self.wanted) {
            if *pair == NO_PAIR {
                *pair = self.pairs.add(name, value, id)?;
            } else {
                self.pairs.post(*pair, id);
            }
        }
        for pair in &self.wanted {
            push_gently(&mut self.ids, *pair);
        }
        push_gently(&mut self.ends, self.ids.len() as u64);
        let series = series.unwrap_or_else(|| self.nursery.create());
        push_gently(&mut self.series, series);
        let hash = self.hasher.hash_one(&self.wanted[..]);
        let Self { identity, hasher, ids, ends, .. } = self;
        identity.insert(hash, id, |at| hasher.hash_one(pairs_of(ids, ends, at)));
        Some(id)
    }

    /// Remembers an encoding of a series' labels.
    pub(crate) fn remember(&mut self, key: Key, series: u32) {
        self.encoded.insert(key, series, ENCODINGS.0 * self.series.len() + ENCODINGS.1);
    }

    /// Bytes of heap, nearly, without what the series hold.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.series.len() * Series::BYTES
            + self.ids.capacity() * 4
            + self.ends.capacity() * 8
            + self.identity.heap_bytes()
            + self.pairs.heap_bytes()
            + self.encoded.heap_bytes()
    }
}
