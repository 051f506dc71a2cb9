//! What is left to send of one batch, and how a batch that a receiver refuses whole falls into halves until the sample
//! that it minds stands alone.
//!
//! What is refused is cut between two records first, and the older half goes first: what receivers mind is mostly time, so
//! that good and bad lie record by record, and for who wants everything in order nothing overtakes anything. Within one
//! record a cut goes between two series where there are two: those may be sent in any order, so the largest go first, and one
//! bad sample costs about two requests for every halving.

use std::collections::VecDeque;
use std::ops::Range;

/// Requests that one batch may cost beyond the first: enough for eight bad samples among 5,000.
const MAX_EXTRA: usize = 200;
/// The same for a receiver that took no part of the last batch that it refused: it does not mind samples, it minds all
/// there is.
const MAX_EXTRA_IN_VAIN: usize = 8;
/// More for a receiver that minds samples older than what it has: as after a crash of ours, it may have the first records
/// of a batch, each of them whole, and take the rest.
const MORE_FOR_ORDER: usize = 200;
/// Of those, for one record as long as no part of it is taken; and for one after a record of which none was.
const RECORD_EXTRA: [usize; 2] = [32, 6];
const RECORD_EXTRA_FOR_ORDER: [usize; 2] = [6, 0];

/// What became of a part that was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is sent again in two halves.
    Halved,
    /// It will not arrive: one sample, or more where no more requests may be spent.
    Lost,
}

/// The parts of a batch that are still to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Parts of one record; or one part that nobody has refused yet.
    waiting: VecDeque<Range<usize>>,
    /// Parts of the request that was refused, the oldest records last.
    newer: Vec<Range<usize>>,
    /// Requests after it, which may hold the same series.
    later: VecDeque<Range<usize>>,
    /// Requests beyond the first that may still be made.
    extra: usize,
    more_for_order: usize,
    /// Whether anything was refused whole, and whether anything of such a batch was taken.
    was_cut: bool,
    part_taken: bool,
    record: Record,
    minds_order: bool,
}

/// How the parts in [`Pieces::waiting`] fare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Record {
    was_refused: bool,
    part_taken: bool,
    /// Whether those before them were of a record of which nothing was taken.
    after_vain: bool,
    /// Requests that they cost so far.
    extra: usize,
}

impl Record {
    /// The one after this one; nothing is known of parts of several records that were only cut.
    fn next(self) -> Self {
        Self { after_vain: !self.part_taken && (self.was_refused || self.after_vain), ..Self::default() }
    }
}

impl Pieces {
    /// So many items, in requests of at most `max`.
    pub(crate) fn of(items: usize, max: usize, in_vain: bool) -> Self {
        let max = max.max(1);
        Self {
            waiting: VecDeque::new(),
            newer: Vec::new(),
            later: (0..items).step_by(max).map(|from| from..(from + max).min(items)).collect(),
            extra: if in_vain { MAX_EXTRA_IN_VAIN } else { MAX_EXTRA },
            more_for_order: if in_vain { 0 } else { MORE_FOR_ORDER },
            was_cut: false,
            part_taken: false,
            record: Record::default(),
            minds_order: false,
        }
    }

    /// What to send now; it stays until it is known what became of it.
    pub(crate) fn first(&mut self) -> Option<Range<usize>> {
        if self.waiting.is_empty() {
            self.waiting.extend(self.newer.pop().or_else(|| self.later.pop_front()));
            self.record = self.record.next();
        }
        self.waiting.front().cloned()
    }

    /// The first part has arrived.
    pub(crate) fn taken(&mut self) {
        self.waiting.pop_front();
        (self.part_taken, self.record.part_taken) = (true, true);
    }

    /// The first part was refused whole. `place` says of an item which record and which series it belongs to; items of a part
    /// are in order of that.
    pub(crate) fn refused(&mut self, place: impl Fn(usize) -> (u32, u32)) -> Refused {
        let Some(part) = self.waiting.pop_front() else { return Refused::Lost };
        self.was_cut = true;
        if part.len() < 2 || self.extra < 2 {
            self.record.was_refused = true;
            return Refused::Lost;
        }
        let middle = part.start + part.len() / 2;
        if let Some(at) = boundary(|item| place(item).0, &part, middle) {
            self.newer.extend([at..part.end, part.start..at]);
        } else {
            self.record.was_refused = true;
            let may = if self.minds_order { RECORD_EXTRA_FOR_ORDER } else { RECORD_EXTRA };
            if !self.record.part_taken && self.record.extra >= may[usize::from(self.record.after_vain)] {
                return Refused::Lost;
            }
            self.record.extra += 2;
            match boundary(|item| place(item).1, &part, middle) {
                Some(at) => self.waiting.extend([part.start..at, at..part.end]),
                None => {
                    self.waiting.push_front(middle..part.end);
                    self.waiting.push_front(part.start..middle);
                }
            }
        }
        self.extra -= 2;
        Refused::Halved
    }

    /// The receiver minds samples that are older than what it has.
    pub(crate) fn mind_order(&mut self) {
        self.minds_order = true;
        self.extra += std::mem::take(&mut self.more_for_order);
    }

    /// Whether nothing of a batch that was cut was taken: the next one is not worth as many requests.
    pub(crate) fn in_vain(&self) -> bool {
        self.was_cut && !self.part_taken
    }
}

/// The place nearest to `middle` where one record or series ends and another begins.
fn boundary(of: impl Fn(usize) -> u32, part: &Range<usize>, middle: usize) -> Option<usize> {
    let differs = |at: &usize| of(*at) != of(*at - 1);
    let before = (part.start + 1..=middle).rev().find(differs);
    let behind = (middle + 1..part.end).find(differs);
    match (before, behind) {
        (Some(a), Some(b)) => Some(if middle - a <= b - middle { a } else { b }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends all pieces to a receiver that refuses whatever holds something bad: what it takes, what is lost, how many requests
    /// it saw. Items are named by record and series.
    fn send(items: &[(u32, u32)], max: usize, is_bad: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<usize>, usize) {
        send_to(items, max, is_bad, false)
    }

    /// `says_so`: whether it says that it minds the order.
    fn send_to(
        items: &[(u32, u32)],
        max: usize,
        is_bad: impl Fn(usize) -> bool,
        says_so: bool,
    ) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut pieces, mut taken, mut lost, mut requests) = (Pieces::of(items.len(), max, false), vec![], vec![], 0);
        while let Some(part) = pieces.first() {
            requests += 1;
            if part.clone().any(&is_bad) {
                if says_so {
                    pieces.mind_order();
                }
                if pieces.refused(|at| items[at]) == Refused::Lost {
                    lost.extend(part);
                }
            } else {
                pieces.taken();
                taken.extend(part);
            }
        }
        (taken, lost, requests)
    }

    fn one_record(series: u32) -> Vec<(u32, u32)> {
        (0..series).map(|series| (0, series)).collect()
    }

    #[test]
    fn one_bad_sample_of_thousands_is_found_in_a_few_requests() {
        for place in [0, 1_234, 4_999] {
            let (taken, lost, requests) = send(&one_record(5_000), 5_000, |at| at == place);
            assert_eq!((taken.len(), lost), (4_999, vec![place]));
            assert!(requests <= 1 + 2 * 13, "{requests}");
        }
        let bad = [5, 900, 1_800, 2_700, 3_600, 4_999];
        assert_eq!(send(&one_record(5_000), 5_000, |at| bad.contains(&at)).1.len(), bad.len());
    }

    #[test]
    fn what_a_receiver_has_already_costs_nothing_that_is_new() {
        // Scrapes of 100 series each; it has the first ones, and minds every sample of them.
        let items: Vec<(u32, u32)> = (0..50).flat_map(|record| (0..100).map(move |series| (record, series))).collect();
        for (says_so, known) in [(false, 1), (false, 2), (false, 15), (true, 1), (true, 15), (true, 49)] {
            let (taken, lost, requests) = send_to(&items, 5_000, |at| at < known * 100, says_so);
            assert_eq!((taken, lost.len()), ((known * 100..5_000).collect(), known * 100), "{known}");
            let each = if says_so { 2 } else { 10 };
            assert!(requests < 60 + each * known, "{says_so} {known}: {requests}");
        }
        // A bad record among good ones costs itself, and a bad sample after it no more than that.
        let (taken, lost, _) = send(&items, 5_000, |at| (700..800).contains(&at) || at == 850);
        assert_eq!((taken.len(), lost.len()), (4_899, 101));
    }

    #[test]
    fn requests_are_bounded_where_everything_is_bad() {
        let (taken, lost, requests) = send(&one_record(5_000), 5_000, |_| true);
        assert_eq!((taken.len(), lost.len(), requests), (0, 5_000, 1 + RECORD_EXTRA[0]));
        let items: Vec<(u32, u32)> = (0..2_500).flat_map(|record| [(record, 0), (record, 1)]).collect();
        let (taken, lost, requests) = send(&items, 5_000, |_| true);
        assert_eq!((taken.len(), lost.len(), requests), (0, 5_000, 1 + MAX_EXTRA));
        assert!(Pieces::of(5_000, 100, true).extra < 10);
    }

    proptest! {
        #[test]
        fn every_item_is_taken_or_lost_once_and_series_stay_in_order(
            mut items in prop::collection::vec((0u32..5, 0u32..9), 1..200),
            max in 1usize..80,
            bad in prop::collection::vec(0usize..200, 0..3),
        ) {
            // As a flight does: requests by series, and what is in one of them by record.
            items.sort_unstable_by_key(|(record, series)| (*series, *record));
            items.chunks_mut(max).for_each(<[_]>::sort_unstable);
            let mut bad: Vec<usize> = bad.into_iter().filter(|b| *b < items.len()).collect();
            let (taken, mut lost, _) = send(&items, max, |at| bad.contains(&at));
            let mut all = [taken.clone(), lost.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..items.len()).collect::<Vec<_>>());
            for (i, a) in taken.iter().enumerate() {
                prop_assert!(taken[i + 1..].iter().all(|b| items[*a].1 != items[*b].1 || items[*a].0 <= items[*b].0));
            }
            bad.sort_unstable();
            bad.dedup();
            lost.sort_unstable();
            prop_assert_eq!(lost, bad);
        }
    }
}
