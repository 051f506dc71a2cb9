//! Who supplied what of a series: stretches of time, each of one replica, and what is known to be empty between them.
//!
//! A stretch has no hole that a sample of another replica fits into: neighbours are at most twice *near* apart. So what
//! happened to any sample of the past is decided by a few numbers, without reading what is stored; only where nothing is
//! known (before this process first saw the series, or of stretches that were forgotten) the store is asked, once.

/// A replica, as a number that its labels hash to.
pub(crate) type Replica = u64;
/// Whose the samples are that were found in the store.
pub(crate) const NOBODY: Replica = 0;

/// So many stretches of a series are remembered.
const MAX_SPANS: usize = 16;
/// So far back the store is read beyond what is asked for, so that a backlog that comes newest first is read once per hour.
const PAST_MS: i64 = 3_600_000;

/// A stretch of time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: i64,
    to: i64,
    owner: Replica,
    /// Nothing is stored from here (or from the end of the stretch before) to `from`.
    empty_from: i64,
}

/// How a sample stands to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Within a stretch that its own replica supplied.
    Own,
    /// Another replica's sample is near.
    Covered,
    /// Nothing of another replica is near.
    Free,
    /// The store has to be asked about this time, both ends included. Where that changes nothing, what it has there decides.
    Unknown(i64, i64),
}

/// The stretches of a series, in order of time. The last one ends with the newest sample; its owner is the elected replica.
#[derive(Debug, Default, Clone)]
pub(crate) struct Spans {
    list: Vec<Span>,
    /// As long as there is no stretch: since when nothing is stored.
    empty_from: Option<i64>,
}

impl Spans {
    /// The newest sample, and who supplied it.
    #[inline]
    pub(crate) fn newest(&self) -> Option<(i64, Replica)> {
        self.list.last().map(|span| (span.to, span.owner))
    }

    fn after(&self, at: i64) -> usize {
        // Almost always behind the last or within it.
        match self.list.last() {
            Some(last) if last.from <= at => self.list.len(),
            _ => self.list.partition_point(|span| span.from <= at),
        }
    }

    /// Where a sample of `replica` would go.
    pub(crate) fn place(&self, at: i64, replica: Replica, near: i64) -> Place {
        let next = self.after(at);
        let before = next.checked_sub(1).map(|before| self.list[before]);
        let after = self.list.get(next).copied();
        if let Some(before) = before {
            if at <= before.to {
                return match before.owner {
                    owner if owner == replica => Place::Own,
                    // It may be the very sample that is stored, and not be forwarded or acknowledged yet.
                    NOBODY => Place::Unknown(at.saturating_sub(near), at.saturating_add(near)),
                    _ => Place::Covered,
                };
            }
            if before.owner != replica && at.saturating_sub(before.to) < near {
                return Place::Covered;
            }
        }
        if after.is_some_and(|after| after.owner != replica && after.from.saturating_sub(at) < near) {
            return Place::Covered;
        }
        let floor = at.saturating_sub(near).max(before.map_or(i64::MIN, |before| before.to));
        let empty_from = match (before, after) {
            (_, Some(after)) => Some(after.empty_from),
            // Nothing is stored behind the newest.
            (Some(before), None) => Some(before.to),
            (None, None) => self.empty_from,
        };
        match empty_from {
            Some(empty_from) if empty_from <= floor => Place::Free,
            Some(empty_from) => {
                let from = at.saturating_sub(PAST_MS.max(near)).max(before.map_or(i64::MIN, |before| before.to));
                Place::Unknown(from, empty_from.max(at))
            }
            None => Place::Unknown(at.saturating_sub(PAST_MS.max(near)), i64::MAX),
        }
    }

    /// Notes a sample that is kept: one that was [`Place::Free`], or the newest of the elected replica.
    #[inline]
    pub(crate) fn add(&mut self, at: i64, replica: Replica, near: i64) {
        let reach = near.saturating_mul(2);
        if let Some(last) = self.list.last_mut()
            && last.owner == replica
            && at > last.to
            && at.saturating_sub(last.to) <= reach
        {
            last.to = at;
            return;
        }
        self.insert(at, replica, reach);
    }

    fn insert(&mut self, at: i64, replica: Replica, reach: i64) {
        let next = self.after(at);
        let joins_next = self.list.get(next).is_some_and(|n| n.owner == replica && n.from.saturating_sub(at) <= reach);
        if let Some(before) = next.checked_sub(1).and_then(|before| self.list.get_mut(before)) {
            if at <= before.to {
                return;
            }
            if before.owner == replica && at.saturating_sub(before.to) <= reach {
                before.to = at;
                if joins_next {
                    let joined = self.list.remove(next);
                    self.list[next - 1].to = joined.to;
                }
                return;
            }
        }
        if joins_next {
            self.list[next].from = at;
            return;
        }
        let empty_from = match (next.checked_sub(1).map(|before| self.list[before].to), self.list.get_mut(next)) {
            (_, Some(after)) => std::mem::replace(&mut after.empty_from, at),
            (Some(before), None) => before,
            (None, None) => self.empty_from.unwrap_or(at),
        };
        // Most series have one stretch, and there are many series.
        self.list.reserve_exact(1);
        self.list.insert(next, Span { from: at, to: at, owner: replica, empty_from });
        self.forget(next);
    }

    /// Forgets the stretch farthest from the one that was touched, but never the last, when there are too many.
    fn forget(&mut self, touched: usize) {
        while self.list.len() > MAX_SPANS {
            let last = self.list.len() - 1;
            let farthest = if touched.saturating_mul(2) >= last { 0 } else { last - 1 };
            let forgotten = self.list.remove(farthest);
            if let Some(after) = self.list.get_mut(farthest) {
                after.empty_from = after.empty_from.max(forgotten.to);
            }
        }
    }

    /// Takes over what the store has between `from` and `to`: the times of its samples, ascending.
    pub(crate) fn learn(&mut self, from: i64, to: i64, times: &[i64], near: i64) {
        let old = std::mem::take(&mut self.list);
        if old.is_empty() {
            self.empty_from = Some(from);
        }
        let reach = near.saturating_mul(2);
        let mut rest = times;
        let mut before = i64::MIN;
        for mut span in old {
            let here = rest.partition_point(|at| *at < span.from);
            let bottom = before.max(from);
            let last = self.stretches(&rest[..here], before, bottom, reach);
            if to >= span.empty_from {
                span.empty_from = last.unwrap_or(span.empty_from.min(bottom));
            }
            before = span.to;
            rest = &rest[here..];
            self.list.push(span);
        }
        self.stretches(rest, before, before.max(from), reach);
        let touched = self.after(from);
        self.forget(touched);
    }

    /// Appends the stretches that some times behind `before` make. Returns where the last one ends.
    fn stretches(&mut self, times: &[i64], before: i64, mut empty_from: i64, reach: i64) -> Option<i64> {
        let behind = &times[times.partition_point(|at| *at <= before)..];
        let mut last = None;
        for run in behind.chunk_by(|a, b| b.saturating_sub(*a) <= reach) {
            let (Some(&from), Some(&to)) = (run.first(), run.last()) else { continue };
            self.list.push(Span { from, to, owner: NOBODY, empty_from });
            empty_from = to;
            last = Some(to);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEAR: i64 = 6;

    #[test]
    fn what_is_not_known_is_asked_once() {
        let mut spans = Spans::default();
        let Place::Unknown(from, i64::MAX) = spans.place(100, 1, NEAR) else { panic!("nothing is known yet") };
        assert!(from < 0);
        spans.learn(from, i64::MAX, &[50, 60, 70], NEAR);
        assert_eq!(spans.newest(), Some((70, NOBODY)));
        let cases = [
            (70, Place::Unknown(64, 76)),
            (75, Place::Covered),
            (76, Place::Free),
            (43, Place::Free),
            (45, Place::Covered),
        ];
        for (at, want) in cases {
            assert_eq!(spans.place(at, 1, NEAR), want, "{at}");
        }
        spans.add(80, 1, NEAR);
        assert_eq!([79, 80, 86].map(|at| spans.place(at, 1, NEAR)), [Place::Free, Place::Own, Place::Free]);
        assert_eq!([79, 80, 85, 86].map(|at| spans.place(at, 2, NEAR) == Place::Covered), [true, true, true, false]);
        // Far in the past only what is between is asked for.
        assert_eq!(spans.place(-5_000_000, 1, NEAR), Place::Unknown(-8_600_000, from));
    }

    #[test]
    fn what_is_forgotten_is_asked_again() {
        let mut spans = Spans::default();
        spans.learn(0, i64::MAX, &[], NEAR);
        let times: Vec<i64> = (0..40).map(|n| 1_000 + n * 100).collect();
        times.iter().for_each(|at| spans.add(*at, 1, NEAR));
        assert_eq!(spans.list.len(), MAX_SPANS);
        let Place::Unknown(from, to) = spans.place(1_550, 2, NEAR) else { panic!("is forgotten") };
        assert!(from < 1_000 && to > 2_000);
        spans.learn(from, to, &times[..20], NEAR);
        assert_eq!(spans.newest(), Some((4_900, 1)), "the elected replica stays");
        assert!(spans.list.len() <= MAX_SPANS);
        assert_eq!(spans.place(1_502, 2, NEAR), Place::Covered);
        assert_eq!(spans.place(1_500, 2, NEAR), Place::Unknown(1_494, 1_506), "may be the same one");
        assert_eq!(spans.place(1_550, 2, NEAR), Place::Free);
    }

    proptest! {
        /// Against all samples with their owners: nothing is kept near another's, nothing is dropped that is near none.
        #[test]
        fn places_as_if_everything_was_remembered(
            offers in prop::collection::vec((0..400_i64, 1..4_u64), 1..120), stored in prop::collection::btree_set(0..400_i64, 0..20),
        ) {
            let mut spans = Spans::default();
            let mut all: Vec<(i64, Replica)> = stored.into_iter().map(|at| (at, NOBODY)).collect();
            for (at, replica) in offers {
                if let Place::Unknown(from, to) = spans.place(at, replica, NEAR) {
                    let mut times: Vec<i64> = all.iter().map(|(at, _)| *at).filter(|at| (from..=to).contains(at)).collect();
                    times.sort_unstable();
                    times.dedup();
                    spans.learn(from, to, &times, NEAR);
                }
                let place = spans.place(at, replica, NEAR);
                let others = all.iter().filter(|(_, owner)| *owner != replica);
                let nearest = others.map(|(other, _)| (other - at).abs()).min().unwrap_or(i64::MAX);
                match place {
                    Place::Free => {
                        prop_assert!(spans.list.len() >= MAX_SPANS || nearest >= NEAR, "{} is {} from another", at, nearest);
                        spans.add(at, replica, NEAR);
                        all.push((at, replica));
                    }
                    Place::Own => {}
                    Place::Covered => {
                        let any = all.iter().map(|(other, _)| (other - at).abs()).min().unwrap_or(i64::MAX);
                        prop_assert!(any <= NEAR, "{} is {} from all", at, any);
                    }
                    Place::Unknown(from, to) => {
                        let is_within = all.iter().any(|(other, _)| (other - at).abs() <= NEAR);
                        prop_assert!(spans.list.len() >= MAX_SPANS || (is_within && to - from == 2 * NEAR), "is known now");
                    }
                }
                prop_assert!(spans.list.len() <= MAX_SPANS);
                prop_assert!(spans.list.windows(2).all(|pair| pair[0].to < pair[1].from && pair[0].from <= pair[0].to));
            }
        }
    }
}
