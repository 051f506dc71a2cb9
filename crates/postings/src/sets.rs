//! Sets of series as strictly ascending slices, combined into a buffer that the caller keeps.

use crate::SeriesOrdinal;

/// From this ratio of lengths on, jumping through the longer list beats walking it.
const GALLOP_RATIO: usize = 16;

/// What is in both. `into` is overwritten.
pub fn intersect(a: &[SeriesOrdinal], b: &[SeriesOrdinal], into: &mut Vec<SeriesOrdinal>) {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    into.clear();
    if short.len().saturating_mul(GALLOP_RATIO) < long.len() {
        let mut rest = long;
        into.extend(short.iter().copied().filter(|&series| {
            rest = skip_below(rest, series);
            rest.first() == Some(&series)
        }));
        return;
    }
    // Without a branch on the outcome, which is as good as random: every step writes, and counts only what is in both.
    into.resize(short.len(), 0);
    let (mut i, mut j, mut kept) = (0, 0, 0);
    while i < short.len() && j < long.len() {
        let (x, y) = (short[i], long[j]);
        into[kept] = x;
        kept += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    into.truncate(kept);
}

/// What is in either. `into` is overwritten.
pub fn union(a: &[SeriesOrdinal], b: &[SeriesOrdinal], into: &mut Vec<SeriesOrdinal>) {
    into.clear();
    into.reserve(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        into.push(x.min(y));
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    into.extend_from_slice(&a[i..]);
    into.extend_from_slice(&b[j..]);
}

/// What is in `a` and not in `b`. `into` is overwritten.
pub fn subtract(a: &[SeriesOrdinal], b: &[SeriesOrdinal], into: &mut Vec<SeriesOrdinal>) {
    into.clear();
    into.reserve(a.len());
    if b.len().saturating_mul(GALLOP_RATIO) < a.len() {
        let mut rest = a;
        for &series in b {
            let after = skip_below(rest, series);
            into.extend_from_slice(&rest[..rest.len() - after.len()]);
            rest = after.strip_prefix(&[series]).unwrap_or(after);
        }
        into.extend_from_slice(rest);
        return;
    }
    let mut rest = b;
    let gallop = a.len().saturating_mul(GALLOP_RATIO) < b.len();
    into.extend(a.iter().copied().filter(|&series| {
        rest = if gallop { skip_below(rest, series) } else { step_below(rest, series) };
        rest.first() != Some(&series)
    }));
}

/// The part of a list from the first element on that is not below `bound`, found by doubling steps and then by halving.
fn skip_below(list: &[SeriesOrdinal], bound: SeriesOrdinal) -> &[SeriesOrdinal] {
    let mut step = 1;
    while step < list.len() && list[step] < bound {
        step *= 2;
    }
    // All up to half the step are below (but nothing is known of the first), and what lies at the step, if anything, is not.
    let (from, to) = (step / 2, list.len().min(step));
    &list[from + list[from..to].partition_point(|&series| series < bound)..]
}

/// The same by single steps, for lists of similar length.
fn step_below(list: &[SeriesOrdinal], bound: SeriesOrdinal) -> &[SeriesOrdinal] {
    let below = list.iter().take_while(|&&series| series < bound).count();
    &list[below..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set() -> impl Strategy<Value = BTreeSet<u32>> {
        // Dense and sparse ones of very different lengths, so that every way of walking is taken.
        prop_oneof![
            prop::collection::btree_set(0..60u32, 0..40),
            prop::collection::btree_set(0..3000u32, 0..1500),
            prop::collection::btree_set(any::<u32>(), 0..8),
        ]
    }

    proptest! {
        #[test]
        fn are_those_of_sets(a in set(), b in set()) {
            let (left, right): (Vec<u32>, Vec<u32>) = (a.iter().copied().collect(), b.iter().copied().collect());
            let mut out = vec![7, 7, 7];
            intersect(&left, &right, &mut out);
            prop_assert_eq!(&out, &a.intersection(&b).copied().collect::<Vec<_>>());
            union(&left, &right, &mut out);
            prop_assert_eq!(&out, &a.union(&b).copied().collect::<Vec<_>>());
            subtract(&left, &right, &mut out);
            prop_assert_eq!(&out, &a.difference(&b).copied().collect::<Vec<_>>());
        }
    }
}
