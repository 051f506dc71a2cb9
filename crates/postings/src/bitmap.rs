//! A set of series as bits: the cheapest way to unite many lists, and to ask each of many series whether it is in.

use crate::SeriesOrdinal;

const BITS: usize = u64::BITS as usize;

/// One bit for each series of an index.
#[derive(Debug, Default)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// An empty set with room for series below `series_count`; it makes room for more.
    pub(crate) fn with_room_for(series_count: usize) -> Self {
        Self { words: vec![0; series_count.div_ceil(BITS)] }
    }

    /// How many words a set of that many series has: what clearing and reading it costs.
    pub(crate) fn words_for(series_count: usize) -> usize {
        series_count.div_ceil(BITS)
    }

    /// Adds the series of an ascending list.
    pub(crate) fn insert_all(&mut self, series: &[SeriesOrdinal]) {
        let Some(&last) = series.last() else { return };
        let words = last as usize / BITS + 1;
        if words > self.words.len() {
            self.words.resize(words, 0);
        }
        for &series in series {
            self.words[series as usize / BITS] |= 1 << (series as usize % BITS);
        }
    }

    #[inline]
    pub(crate) fn contains(&self, series: SeriesOrdinal) -> bool {
        self.words.get(series as usize / BITS).is_some_and(|word| word >> (series as usize % BITS) & 1 == 1)
    }

    /// Appends all series, ascending.
    pub(crate) fn list(&self, into: &mut Vec<SeriesOrdinal>) {
        into.reserve(self.words.iter().map(|word| word.count_ones() as usize).sum());
        for (at, &word) in self.words.iter().enumerate() {
            let mut rest = word;
            while rest != 0 {
                into.push((at * BITS) as u32 + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_what_was_inserted(sets in prop::collection::vec(prop::collection::btree_set(0..5000u32, 0..50), 0..6),
                                   room in 0..5000usize) {
            let mut bits = Bitmap::with_room_for(room);
            let mut want = std::collections::BTreeSet::new();
            for set in sets {
                bits.insert_all(&set.iter().copied().collect::<Vec<_>>());
                want.extend(set);
            }
            let mut listed = Vec::new();
            bits.list(&mut listed);
            prop_assert_eq!(&listed, &want.iter().copied().collect::<Vec<_>>());
            prop_assert!((0..6000).all(|series| bits.contains(series) == want.contains(&series)));
        }
    }
}
