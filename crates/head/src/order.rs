//! The order of label sets as numbers, so that selecting sorts numbers and compares no strings.
//!
//! Series get no further ones before them once they are ranked: an order of the first so many series of an index stays
//! right for ever. Later ones are sorted by their labels until there are enough of them to make a new order.

use std::ops::Range;

use crate::catalog::{Catalog, SLICE};
use crate::index::Index;

/// Ranks of the first series of an index.
#[derive(Debug, Default)]
pub(crate) struct Order {
    ranks: Vec<u32>,
}

impl Order {
    /// How many series are ranked.
    pub(crate) fn len(&self) -> usize {
        self.ranks.len()
    }

    /// The order of all series that the index has by now.
    pub(crate) fn of(catalog: &Catalog) -> Self {
        let count = catalog.index.read().len();
        // Taken after the series were counted, the pairs are at least theirs.
        let pairs = rank_pairs(catalog);
        let mut ranks = vec![0; count];
        for (rank, (_, series)) in sort_series(catalog, &pairs, count).into_iter().enumerate() {
            ranks[series as usize] = rank as u32;
        }
        Self { ranks }
    }

    /// The order of the series that are left, after `numbers` says which number each has now; they kept their sequence.
    pub(crate) fn renumbered(&self, numbers: &[Option<u32>]) -> Self {
        let mut by_rank = vec![None; self.ranks.len()];
        for (rank, number) in self.ranks.iter().zip(numbers) {
            by_rank[*rank as usize] = *number;
        }
        let left: Vec<u32> = by_rank.into_iter().flatten().collect();
        let mut ranks = vec![0; left.len()];
        for (rank, number) in left.into_iter().enumerate() {
            ranks[number as usize] = rank as u32;
        }
        Self { ranks }
    }

    /// The rank of a series; the last for one that has none.
    pub(crate) fn rank(&self, series: u32) -> u32 {
        self.ranks.get(series as usize).copied().unwrap_or(u32::MAX)
    }

    /// Brings series, all of them ranked, into label order.
    pub(crate) fn sort(&self, series: &mut Vec<u32>) {
        if series.len() < self.ranks.len() / 16 {
            series.sort_unstable_by_key(|s| self.rank(*s));
            return;
        }
        // Many of all: put each where it belongs, and close the gaps.
        let mut places = vec![u32::MAX; self.ranks.len()];
        for s in series.iter() {
            places[self.ranks[*s as usize] as usize] = *s;
        }
        places.retain(|s| *s != u32::MAX);
        *series = places;
    }
}

/// The rank of every pair among all, by name and then by value; one more than that, so that zero sorts before all.
fn rank_pairs(catalog: &Catalog) -> Vec<u32> {
    let (mut names, count) = {
        let index = catalog.index.read();
        let names: Vec<Box<str>> = index.pairs.names().iter().map(|n| n.text.clone()).collect();
        (names, index.pairs.len())
    };
    names.sort_unstable();
    let mut ranks = vec![0; count];
    let mut next = 1;
    for name in &names {
        let (mut texts, mut values) = (String::new(), Vec::new());
        catalog.each_value(name, 0, &mut |pair, value| {
            if (pair as usize) < count {
                values.push((pair, texts.len()..texts.len() + value.len()));
                texts.push_str(value);
            }
            true
        });
        values.sort_unstable_by(|a, b| texts[a.1.clone()].cmp(&texts[b.1.clone()]));
        for (pair, _) in values {
            ranks[pair as usize] = next;
            next += 1;
        }
    }
    ranks
}

/// The first `count` series in label order. Label sets are compared two pairs at a time: neighbours that agree in these
/// are sorted by the next two.
fn sort_series(catalog: &Catalog, pairs: &[u32], count: usize) -> Vec<(u64, u32)> {
    let mut series: Vec<(u64, u32)> = (0..count as u32).map(|s| (0, s)).collect();
    // A label set is compared with others as long as it has pairs: two equal ones do not exist.
    let mut rest = vec![(0..count, 0)];
    while let Some((range, depth)) = rest.pop() {
        let group = &mut series[range.clone()];
        for slice in group.chunks_mut(SLICE) {
            let index = catalog.index.read();
            for (key, series) in slice {
                *key = key_of(&index, pairs, *series, depth);
            }
        }
        group.sort_unstable();
        let same = group.chunk_by(|a, b| a.0 == b.0 && a.0 != 0);
        let mut start = range.start;
        for run in same {
            let next: Range<usize> = start..start + run.len();
            start = next.end;
            if run.len() > 1 {
                rest.push((next, depth + 2));
            }
        }
    }
    series
}

fn key_of(index: &Index, pairs: &[u32], series: u32, depth: usize) -> u64 {
    let ids = index.pairs_of(series);
    let rank = |at: usize| ids.get(at).and_then(|pair| pairs.get(*pair as usize)).map_or(0, |rank| u64::from(*rank));
    rank(depth) << 32 | rank(depth + 1)
}
