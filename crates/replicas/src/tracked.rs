//! The series that are followed, and what encoded labels stand for.

use std::collections::HashMap;

use head::{Key, Keys};
use model::{Labels, Value};
use sources::Inputs;

use crate::held::{HeldBack, NOTHING};
use crate::memo::Memo;
use crate::options::Statistics;
use crate::rows::Merged;
use crate::series::{Fate, Offer, Released, Series};
use crate::spans::Replica;

/// Encodings of labels that are remembered per series that may be followed: one per replica and sender.
const ENCODINGS_PER_SERIES: usize = 4;
const MIN_ENCODINGS: usize = 1 << 16;
const MAX_ENCODINGS: usize = 1 << 30;
/// Series that are looked at in one round of upkeep; more where that would take more than so many rounds.
const SWEEP_AT_LEAST: usize = 2_000;
const SWEEP_ROUNDS: usize = 5;

/// What a label set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It names no replica.
    Plain,
    /// A sample of a replica of a merged series.
    Merged(Member),
}

/// A replica of a merged series. The place of a series that was forgotten is used again, in a later generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) slot: u32,
    generation: u32,
    replica: Replica,
}

#[derive(Debug)]
struct Slot {
    labels: Labels,
    generation: u32,
    /// As [`HeldBack`] counts it.
    held_from: i64,
    series: Series,
}

impl Slot {
    fn new(labels: Labels, generation: u32) -> Self {
        Self { labels, generation, held_from: NOTHING, series: Series::default() }
    }

    /// Passes on what was released, which stays registered until it is stored, and notes what is still held back.
    #[inline]
    fn settled(&mut self, released: &mut Released, held: &mut HeldBack, into: &mut Merged) {
        for (at, value) in released.drain(..) {
            into.push_released(&held.inputs, &self.labels, at, value);
        }
        let held_from = HeldBack::step(self.series.held_from());
        if held_from != self.held_from {
            held.moved(self.held_from, held_from);
            self.held_from = held_from;
        }
    }
}

/// Every series that is followed.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    known: Memo<Known>,
    by_labels: HashMap<Key, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    sweep: usize,
    released: Released,
    held: HeldBack,
    pub(crate) counts: Statistics,
}

impl Tracked {
    /// Follows nothing yet. What will be held back registers with `inputs`.
    pub(crate) fn new(inputs: Inputs) -> Self {
        Self { held: HeldBack::new(inputs), ..Self::default() }
    }

    /// What encoded labels are, if they were decoded before.
    #[inline]
    pub(crate) fn find(&mut self, key: Key, guess: &mut usize) -> Option<Known> {
        match self.known.find(key, guess)? {
            Known::Merged(member) if self.slots[member.slot as usize].generation != member.generation => None,
            known => Some(known),
        }
    }

    /// Remembers what encoded labels are.
    pub(crate) fn remember(&mut self, key: Key, known: Known, max_series: usize) {
        let limit = max_series.saturating_mul(ENCODINGS_PER_SERIES).clamp(MIN_ENCODINGS, MAX_ENCODINGS);
        self.known.remember(key, known, limit);
    }

    /// A replica of the series with merged labels, which is followed from now on; `None` when there is no room for it.
    pub(crate) fn follow(
        &mut self,
        keys: &Keys,
        replica: Replica,
        labels: &Labels,
        max_series: usize,
    ) -> Option<Member> {
        let key = keys.key(keys.own_context(), labels.as_bytes());
        if let Some(&slot) = self.by_labels.get(&key) {
            return Some(Member { slot, generation: self.slots[slot as usize].generation, replica });
        }
        if self.by_labels.len() >= max_series {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize].labels = labels.clone();
                slot
            }
            None => {
                grow_gently(&mut self.slots);
                self.slots.push(Slot::new(labels.clone(), 0));
                (self.slots.len() - 1) as u32
            }
        };
        self.by_labels.insert(key, slot);
        self.counts.series = self.by_labels.len() as u64;
        Some(Member { slot, generation: self.slots[slot as usize].generation, replica })
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, member: Member) -> &Labels {
        &self.slots[member.slot as usize].labels
    }

    /// 0.6 intervals of a series.
    pub(crate) fn near_ms(&self, member: Member) -> i64 {
        self.slots[member.slot as usize].series.near_ms()
    }

    /// Takes over what the store has of a series.
    pub(crate) fn learn(&mut self, member: Member, from: i64, to: i64, times: &[i64]) {
        let slot = &mut self.slots[member.slot as usize];
        if slot.generation == member.generation {
            slot.series.learn(from, to, times);
        }
    }

    /// Decides about a row. What is to be stored goes into `into`. Returns the time that the store has to be asked about,
    /// if it has to be.
    #[inline]
    pub(crate) fn offer(
        &mut self,
        member: Member,
        (row, at, value): (usize, i64, Value),
        now_ms: i64,
        into: &mut Merged,
    ) -> Option<(i64, i64)> {
        let slot = &mut self.slots[member.slot as usize];
        let offer = Offer { replica: member.replica, at, value: &value, now_ms };
        let fate = slot.series.offer(offer, &mut self.released, &mut self.counts);
        slot.settled(&mut self.released, &mut self.held, into);
        match fate {
            Fate::Kept => into.push(&slot.labels, at, value, Some(row)),
            Fate::Taken => {}
            Fate::Unknown(from, to) => return Some((from, to)),
        }
        None
    }

    /// How many series a round of upkeep looks at; all of them get their turn within a few rounds.
    pub(crate) fn begin_round(&mut self, now_ms: i64) -> usize {
        self.known.turn(now_ms);
        (self.slots.len() / SWEEP_ROUNDS).max(SWEEP_AT_LEAST).min(self.slots.len())
    }

    /// Places for series, free ones included.
    pub(crate) fn places(&self) -> usize {
        self.slots.len()
    }

    /// Looks at the next series: releases what was held back for too long by `due_ms`, forgets what is idle at `now_ms`.
    pub(crate) fn sweep(&mut self, keys: &Keys, some: usize, (due_ms, now_ms): (i64, i64), into: &mut Merged) {
        for _ in 0..some.min(self.slots.len()) {
            self.sweep = if self.sweep + 1 < self.slots.len() { self.sweep + 1 } else { 0 };
            let slot = &mut self.slots[self.sweep];
            slot.series.settle(due_ms, &mut self.released, &mut self.counts);
            slot.settled(&mut self.released, &mut self.held, into);
            // A free place has no labels.
            if slot.labels.is_empty() || !slot.series.is_idle(now_ms) {
                continue;
            }
            self.by_labels.remove(&keys.key(keys.own_context(), slot.labels.as_bytes()));
            let generation = slot.generation.wrapping_add(1);
            *slot = Slot::new(Labels::empty(), generation);
            self.free.push(self.sweep as u32);
        }
        self.counts.series = self.by_labels.len() as u64;
    }
}

/// Makes room for one more in a list of millions: by an eighth instead of doubling it.
fn grow_gently<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(8 + list.len() / 8);
    }
}
