//! One request: which rows name a replica, and what becomes of those.
//!
//! Rows of known series are decided under one lock. What needs more waits until it is released: labels that were not seen
//! before are decoded then, and the store is asked for what is not remembered, once per series.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use head::{Key, Keys};
use model::{Queryable, Refusal};
use parking_lot::Mutex;

use crate::names::Names;
use crate::past::{Past, Stored};
use crate::rows::{Merged, Rows};
use crate::tracked::{Known, Member, Tracked};

/// Samples further ahead are refused by every store, so they must not decide about anything. Milliseconds.
const MAX_AHEAD_MS: i64 = 600_000;

/// Rows that are taken to name a replica behind one that does.
const TRUSTED_ROWS: usize = 15;

/// What decisions are made of.
pub(crate) struct Decider<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) names: &'a Names,
    pub(crate) tracked: &'a Mutex<Tracked>,
    pub(crate) store: &'a dyn Queryable,
    pub(crate) max_series: usize,
    pub(crate) now_ms: i64,
}

/// What became of the rows of a request; its memory serves one request after another.
#[derive(Default)]
pub(crate) struct Decided {
    /// Rows that name no replica, in order.
    pub(crate) plain: Vec<usize>,
    /// What is to be stored of the others.
    pub(crate) merged: Merged,
    /// Rows whose labels are malformed.
    pub(crate) refused: Vec<Refusal>,
    waiting: Vec<Waiting>,
    /// Rows that may name a replica, with their keys.
    keyed: Vec<(usize, Key)>,
}

impl Decided {
    /// Forgets the rows, keeps the memory.
    fn clear(&mut self) {
        self.plain.clear();
        self.merged.clear();
        self.refused.clear();
        self.waiting.clear();
        self.keyed.clear();
    }

    /// Rows that there is memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.keyed.capacity().max(self.merged.batch.rows.capacity())
    }
}

/// A row that waits for what the store has in a range of time.
struct Waiting {
    row: usize,
    member: Member,
    from: i64,
    to: i64,
}

/// What the store has of a series.
struct Read {
    member: Member,
    from: i64,
    to: i64,
    stored: Stored,
}

impl Decider<'_> {
    /// Decides about rows. Returns whether any of them names a replica. `is_spelled`: names stand in the bytes letter by
    /// letter.
    pub(crate) fn decide(
        &self,
        rows: &(impl Rows + ?Sized),
        context: Key,
        is_spelled: bool,
        decided: &mut Decided,
    ) -> bool {
        decided.clear();
        self.key_rows(rows, context, is_spelled, decided);
        if decided.keyed.is_empty() {
            return false;
        }
        let unknown = self.decide_known(rows, decided);
        if !unknown.is_empty() {
            self.decide_unknown(rows, &unknown, decided);
        }
        if !decided.waiting.is_empty() {
            self.decide_waiting(rows, decided);
        }
        decided.plain.sort_unstable();
        decided.plain.len() < rows.len()
    }

    /// Lists the rows that may name a replica, with their keys; those that cannot as plain ones, but not when all are.
    fn key_rows(&self, rows: &(impl Rows + ?Sized), context: Key, is_spelled: bool, decided: &mut Decided) {
        let Decided { keyed, plain, .. } = decided;
        let mut last: Option<(&[u8], Option<Key>)> = None;
        // A sender names its replica everywhere: behind a row that does, the next ones are not searched for the name.
        let mut trusted = 0;
        for row in 0..rows.len() {
            let bytes = rows.bytes(row);
            let key = match last {
                // The very same bytes, not equal ones: samples that a sender put into one series.
                Some((known, key)) if std::ptr::eq(known, bytes) => key,
                _ if trusted > 0 => {
                    trusted -= 1;
                    Some(self.keys.key(context, bytes))
                }
                _ => {
                    let may_name = !is_spelled || self.names.may_be_in(bytes);
                    trusted = if may_name { TRUSTED_ROWS } else { 0 };
                    may_name.then(|| self.keys.key(context, bytes))
                }
            };
            last = Some((bytes, key));
            match key {
                Some(key) => {
                    if keyed.is_empty() {
                        plain.extend(0..row);
                    }
                    keyed.push((row, key));
                }
                None if keyed.is_empty() => {}
                None => plain.push(row),
            }
        }
    }

    /// Decides about rows whose labels were decoded before. Returns the others.
    fn decide_known(&self, rows: &(impl Rows + ?Sized), decided: &mut Decided) -> Vec<(usize, Key)> {
        let mut unknown = Vec::new();
        let mut tracked = self.tracked.lock();
        let (mut guess, mut last) = (0, None);
        let keyed = std::mem::take(&mut decided.keyed);
        for &(row, key) in &keyed {
            let known = match last {
                Some((same, known)) if same == key => known,
                _ => tracked.find(key, &mut guess),
            };
            last = Some((key, known));
            match known {
                Some(Known::Merged(member)) => self.offer(&mut tracked, rows, row, member, decided),
                Some(Known::Plain) => decided.plain.push(row),
                None => unknown.push((row, key)),
            }
        }
        decided.keyed = keyed;
        unknown
    }

    /// Decodes labels that are new, and decides about their rows.
    fn decide_unknown(&self, rows: &(impl Rows + ?Sized), unknown: &[(usize, Key)], decided: &mut Decided) {
        for some in unknown.chunk_by(|(_, a), (_, b)| a == b) {
            let Some(&(first, key)) = some.first() else { continue };
            let labels = match rows.labels(first) {
                Ok(labels) => labels,
                Err(reason) => {
                    decided.refused.extend(some.iter().map(|(row, _)| Refusal { row: *row, reason }));
                    continue;
                }
            };
            let stripped = self.names.strip(&labels);
            let mut tracked = self.tracked.lock();
            let Some((replica, merged)) = stripped else {
                tracked.remember(key, Known::Plain, self.max_series);
                decided.plain.extend(some.iter().map(|(row, _)| *row));
                continue;
            };
            let Some(member) = tracked.follow(self.keys, replica, &merged, self.max_series) else {
                tracked.counts.untracked += some.len() as u64;
                some.iter()
                    .for_each(|(row, _)| decided.merged.push(&merged, rows.at(*row), rows.value(*row), Some(*row)));
                continue;
            };
            tracked.remember(key, Known::Merged(member), self.max_series);
            some.iter().for_each(|(row, _)| self.offer(&mut tracked, rows, *row, member, decided));
        }
    }

    #[inline]
    fn offer(
        &self,
        tracked: &mut Tracked,
        rows: &(impl Rows + ?Sized),
        row: usize,
        member: Member,
        decided: &mut Decided,
    ) {
        let at = rows.at(row);
        if at > self.now_ms.saturating_add(MAX_AHEAD_MS) {
            decided.merged.push(tracked.labels(member), at, rows.value(row), Some(row));
        } else if let Some((from, to)) =
            tracked.offer(member, (row, at, rows.value(row)), self.now_ms, &mut decided.merged)
        {
            decided.waiting.push(Waiting { row, member, from, to });
        }
    }

    /// Reads what the store has, once per series, and decides about the rows that waited for it.
    fn decide_waiting(&self, rows: &(impl Rows + ?Sized), decided: &mut Decided) {
        let waiting = std::mem::take(&mut decided.waiting);
        let mut reads: BTreeMap<u32, Read> = BTreeMap::new();
        for Waiting { member, from, to, .. } in &waiting {
            match reads.entry(member.slot) {
                Entry::Vacant(free) => {
                    free.insert(Read { member: *member, from: *from, to: *to, stored: Stored::default() });
                }
                Entry::Occupied(mut read) => {
                    let read = read.get_mut();
                    (read.from, read.to) = (read.from.min(*from), read.to.max(*to));
                }
            }
        }
        let mut past = Past::new(self.store);
        for read in reads.values_mut() {
            let labels = self.tracked.lock().labels(read.member).clone();
            // What cannot be read cannot be near anything: better a sample too many than one too few.
            read.stored = past.samples(&labels, read.from, read.to).unwrap_or_default();
        }
        let mut tracked = self.tracked.lock();
        for Read { member, from, to, stored } in reads.values() {
            tracked.learn(*member, *from, *to, &stored.times);
        }
        for Waiting { row, member, .. } in waiting {
            let at = rows.at(row);
            let unknown = tracked.offer(member, (row, at, rows.value(row)), self.now_ms, &mut decided.merged);
            if unknown.is_none() {
                continue;
            }
            // Within a stretch that was found in the store, or beyond what is remembered: what was read decides. What is
            // stored already passes, since it may not be forwarded yet.
            let (near, value) = (tracked.near_ms(member), rows.value(row));
            let stored = reads.get(&member.slot).map(|read| &read.stored);
            if stored.is_some_and(|stored| stored.is_near(at, near) && !stored.has(at, &value)) {
                tracked.counts.dropped_covered += 1;
            } else {
                decided.merged.push(tracked.labels(member), at, value, Some(row));
            }
        }
    }
}
