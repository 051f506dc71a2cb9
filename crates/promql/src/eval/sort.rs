//! Sorting that notices when nobody waits for the answer any more.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::budget::Budget;
use crate::PromqlError;

/// Items that the library sorts at once: about a millisecond of comparing labels.
const RUN: usize = 4096;

/// Sorts stably. Runs are sorted one by one and then merged, with a look at the budget in between.
pub(crate) fn sort_by<T>(
    mut items: Vec<T>,
    budget: &Budget,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, PromqlError> {
    if items.len() <= RUN {
        items.sort_by(&compare);
        return Ok(items);
    }
    let mut runs = VecDeque::new();
    let mut rest = items.into_iter();
    loop {
        let mut run: Vec<T> = rest.by_ref().take(RUN).collect();
        if run.is_empty() {
            break;
        }
        budget.check()?;
        run.sort_by(&compare);
        runs.push_back(run);
    }
    // Neighbours are merged, round by round, so that equal items stay in their order.
    while runs.len() > 1 {
        let mut merged = VecDeque::with_capacity(runs.len().div_ceil(2));
        while let Some(left) = runs.pop_front() {
            merged.push_back(match runs.pop_front() {
                Some(right) => merge(left, right, budget, &compare)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs.pop_front().unwrap_or_default())
}

fn merge<T>(
    left: Vec<T>,
    right: Vec<T>,
    budget: &Budget,
    compare: &impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, PromqlError> {
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(l), Some(r)) = (left.peek(), right.peek()) {
        let from_right = compare(r, l) == Ordering::Less;
        out.extend(if from_right { right.next() } else { left.next() });
        budget.work(0)?;
    }
    out.extend(left);
    out.extend(right);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn it_is_the_librarys_stable_sort(keys in prop::collection::vec(0u8..50, 0..4 * RUN)) {
            let items: Vec<(u8, usize)> = keys.into_iter().enumerate().map(|(at, key)| (key, at)).collect();
            let mut want = items.clone();
            want.sort_by_key(|(key, _)| *key);
            let got = sort_by(items, &Budget::new(0, None, None), |a, b| a.0.cmp(&b.0));
            prop_assert_eq!(got, Ok(want));
        }
    }

    #[test]
    fn it_ends_soon_after_the_client_left() {
        let cancelled = Arc::new(AtomicBool::new(false));
        let budget = Budget::new(0, None, Some(cancelled.clone()));
        for leaves_after in [1, 50_000, 200_000] {
            cancelled.store(false, Relaxed);
            let compared = AtomicUsize::new(0);
            let done = sort_by((0..100_000u32).rev().collect(), &budget, |a, b| {
                if compared.fetch_add(1, Relaxed) == leaves_after {
                    cancelled.store(true, Relaxed);
                }
                a.cmp(b)
            });
            let more = compared.load(Relaxed).saturating_sub(leaves_after);
            assert!(done == Err(PromqlError::Canceled) && more < 2 * RUN, "{more} comparisons after {leaves_after}");
        }
    }
}
