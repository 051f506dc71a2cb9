//! Random lives of a queue on a failing disk, against a list of what it promised.

use std::collections::{BTreeMap, BTreeSet};

use ::model::TimestampMs;
use disk::{Fault, SimulatedDisk};
use proptest::prelude::*;

use super::{mark, open, push};
use crate::{Cursor, Lane, Order, Queue, Taken};

const NAMES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
enum Step {
    Push(u64),
    /// Destination, and whether from the live lane.
    Take(usize, bool, Order),
    /// Destination, and which of what it has in hand.
    Deliver(usize, prop::sample::Index),
    PutBack(usize, prop::sample::Index),
    /// Destination, and how many of the newest marks stay live.
    FallBehind(usize, i64),
    Toggle(usize),
    NewHandle(usize),
    Maintain,
    Save,
    Sync,
    Fault(Fault),
    Heal,
    Kill,
    PowerLoss,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        (0..600u64).prop_map(|after_bytes| Fault::Full { after_bytes }),
        Just(Fault::ReadOnly),
        Just(Fault::FailSync),
        Just(Fault::FailTruncate),
        Just(Fault::FailRead),
    ];
    let order = prop_oneof![Just(Order::OldestFirst), Just(Order::NewestFirst)];
    prop_oneof![
        14 => (1..9u64).prop_map(Step::Push),
        12 => (0..2usize, any::<bool>(), order).prop_map(|(name, live, order)| Step::Take(name, live, order)),
        10 => (0..2usize, any::<prop::sample::Index>()).prop_map(|(name, at)| Step::Deliver(name, at)),
        3 => (0..2usize, any::<prop::sample::Index>()).prop_map(|(name, at)| Step::PutBack(name, at)),
        3 => (0..2usize, 0..4i64).prop_map(|(name, keep)| Step::FallBehind(name, keep)),
        1 => (0..2usize).prop_map(Step::Toggle),
        1 => (0..2usize).prop_map(Step::NewHandle),
        3 => Just(Step::Maintain),
        2 => Just(Step::Save),
        3 => Just(Step::Sync),
        2 => fault.prop_map(Step::Fault),
        3 => Just(Step::Heal),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerLoss),
    ]
}

/// What one destination was promised. Records are named by their marks.
struct Destination {
    cursor: Cursor,
    hand: Vec<Taken>,
    /// Must come once more at least.
    owed: BTreeSet<i64>,
    /// May come, and need not: a power loss took them, or did not.
    doubtful: BTreeSet<i64>,
    /// Delivered, and not known to be saved.
    unsaved: BTreeSet<i64>,
    /// Those of `owed` that are in the live lane and were not taken.
    live: BTreeSet<i64>,
    /// Those that were put back, with their lanes.
    returned: BTreeMap<i64, Lane>,
    /// What was pushed before is not live any more.
    behind: i64,
}

struct Life {
    disk: SimulatedDisk,
    queue: Queue,
    destinations: [Option<Destination>; 2],
    clock: i64,
    /// How many rows each record has.
    rows: BTreeMap<i64, u64>,
    synced: BTreeSet<i64>,
    /// Whether a flush failed and was not made up for. A process that dies then takes that knowledge with it.
    flush_failed: bool,
    /// What destinations were owed when they were removed: until that is saved, a crash undoes it.
    forgotten: [BTreeSet<i64>; 2],
}

impl Life {
    fn destination(&self, name: usize) -> Destination {
        Destination {
            cursor: self.queue.cursor(NAMES[name]),
            hand: Vec::new(),
            owed: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            live: BTreeSet::new(),
            returned: BTreeMap::new(),
            behind: i64::MIN,
        }
    }

    fn retain(&self) {
        let names: Vec<&str> =
            (0..2).filter(|name| self.destinations[*name].is_some()).map(|name| NAMES[name]).collect();
        self.queue.retain(&names);
    }

    fn push(&mut self, rows: u64) {
        self.clock += 1;
        let mark = self.clock;
        if let Ok(pushed) = push(&self.queue, mark, rows) {
            assert_eq!(pushed.position.is_some(), self.destinations.iter().any(Option::is_some));
            self.rows.insert(mark, rows);
            for (destination, forgotten) in self.destinations.iter_mut().zip(&mut self.forgotten) {
                match destination {
                    Some(destination) => {
                        destination.owed.insert(mark);
                        destination.live.insert(mark);
                    }
                    None => {
                        forgotten.insert(mark);
                    }
                }
            }
        }
    }

    fn take(&mut self, name: usize, lane: Lane, order: Order) -> bool {
        let Some(destination) = &mut self.destinations[name] else { return false };
        let taken = match lane {
            Lane::Live => destination.cursor.next_live(),
            Lane::Backlog => destination.cursor.next_backlog(order),
        };
        let Ok(taken) = taken else { return false };
        let in_hand: BTreeSet<i64> = destination.hand.iter().map(|taken| taken.batch.arrived.0).collect();
        let returned = destination.returned.iter().find(|(_, of)| **of == lane).map(|(mark, _)| *mark);
        let Some(taken) = taken else {
            assert_eq!(returned, None);
            if lane == Lane::Live {
                assert!(destination.live.is_empty(), "{:?}", destination.live);
            } else {
                let waits = |mark: &&i64| {
                    !in_hand.contains(mark)
                        && !destination.live.contains(mark)
                        && !destination.returned.contains_key(mark)
                };
                assert_eq!(destination.owed.iter().find(waits), None);
            }
            return false;
        };
        // Of what a power loss took, definitions may be missing, and with them rows.
        let is_whole = !destination.doubtful.contains(&taken.batch.arrived.0);
        let mark = if is_whole { mark(&self.queue, &taken.batch) } else { taken.batch.arrived.0 };
        assert!(!in_hand.contains(&mark), "is in hand already");
        let samples = taken.batch.samples() as u64;
        assert!(self.rows[&mark] == samples || (!is_whole && self.rows[&mark] > samples));
        assert_eq!(taken.lane, lane);
        if let Some(first) = returned {
            assert_eq!(mark, first, "what was put back is first");
            destination.returned.remove(&mark);
        } else if lane == Lane::Live {
            assert_eq!(destination.live.pop_first(), Some(mark));
        } else {
            let known = destination.owed.contains(&mark) || destination.doubtful.contains(&mark);
            assert!(known || destination.unsaved.contains(&mark), "{mark} was delivered, and that was saved");
            assert!(!destination.live.contains(&mark));
            let others = destination.owed.iter().find(|other| {
                !in_hand.contains(other)
                    && !destination.live.contains(other)
                    && !destination.returned.contains_key(other)
            });
            if order == Order::OldestFirst {
                assert!(others.is_none_or(|oldest| mark <= *oldest), "{mark} came before {others:?}");
            }
        }
        let oldest = destination.cursor.oldest_undelivered_timestamp().expect("is not delivered").0;
        assert!(destination.owed.first().is_none_or(|first| oldest <= *first), "watermarks are truthful");
        destination.hand.push(taken);
        true
    }

    fn deliver(&mut self, name: usize, at: impl Fn(usize) -> usize) {
        let Some(destination) = &mut self.destinations[name] else { return };
        if destination.hand.is_empty() {
            return;
        }
        let taken = destination.hand.remove(at(destination.hand.len()));
        destination.cursor.delivered(taken.position);
        let mark = taken.batch.arrived.0;
        destination.owed.remove(&mark);
        destination.doubtful.remove(&mark);
        destination.unsaved.insert(mark);
        if destination.owed.is_empty() && destination.doubtful.is_empty() && destination.hand.is_empty() {
            assert!(destination.cursor.waiting().live.samples == 0);
        }
    }

    fn put_back(&mut self, name: usize, at: prop::sample::Index) {
        let Some(destination) = &mut self.destinations[name] else { return };
        if destination.hand.is_empty() {
            return;
        }
        let taken = destination.hand.remove(at.index(destination.hand.len()));
        let mark = taken.batch.arrived.0;
        let lane = if mark < destination.behind { Lane::Backlog } else { taken.lane };
        destination.cursor.put_back(taken);
        destination.returned.insert(mark, lane);
    }

    fn fall_behind(&mut self, name: usize, keep: i64) {
        let before = self.clock + 1 - keep;
        let Some(destination) = &mut self.destinations[name] else { return };
        let mut moved = destination.cursor.fall_behind(TimestampMs(before));
        destination.behind = destination.behind.max(before);
        for (mark, lane) in &mut destination.returned {
            if *lane == Lane::Live && *mark < before {
                *lane = Lane::Backlog;
                moved -= self.rows[mark];
            }
        }
        // At least these, and maybe the rest of a segment.
        while moved > 0 || destination.live.first().is_some_and(|mark| *mark < before) {
            let mark = destination.live.pop_first().expect("as much as was moved");
            moved -= self.rows[&mark];
        }
    }

    fn saved(&mut self) {
        self.destinations.iter_mut().flatten().for_each(|destination| destination.unsaved.clear());
        self.forgotten = Default::default();
    }

    /// Goes on as the next process.
    fn restart(&mut self, all: bool) {
        self.disk.clear_faults();
        self.queue = open(&self.disk);
        let synced = &self.synced;
        for (name, destination) in self.destinations.iter_mut().enumerate() {
            let Some(destination) = destination else { continue };
            destination.cursor = self.queue.cursor(NAMES[name]);
            destination.hand.clear();
            destination.returned.clear();
            destination.live.clear();
            destination.doubtful.append(&mut destination.unsaved);
            destination.doubtful.append(&mut self.forgotten[name]);
            destination.behind = i64::MIN;
            if !all || self.flush_failed {
                let lost: Vec<i64> = destination.owed.iter().copied().filter(|mark| !synced.contains(mark)).collect();
                lost.iter().for_each(|mark| {
                    destination.owed.remove(mark);
                    destination.doubtful.insert(*mark);
                });
            }
        }
        self.flush_failed = false;
        self.retain();
    }

    fn live(&mut self, step: &Step) {
        match step {
            Step::Push(rows) => self.push(*rows),
            Step::Take(name, live, order) => {
                self.take(*name, if *live { Lane::Live } else { Lane::Backlog }, *order);
            }
            Step::Deliver(name, at) => self.deliver(*name, |hand| at.index(hand)),
            Step::PutBack(name, at) => self.put_back(*name, *at),
            Step::FallBehind(name, keep) => self.fall_behind(*name, *keep),
            Step::Toggle(name) => {
                let new = self.destinations[*name].is_none().then(|| self.destination(*name));
                if let Some(old) = &self.destinations[*name] {
                    self.forgotten[*name].extend(old.owed.iter().chain(&old.doubtful).chain(&old.unsaved));
                }
                self.destinations[*name] = new;
                self.retain();
            }
            Step::NewHandle(name) => {
                if let Some(destination) = &mut self.destinations[*name] {
                    destination.cursor = self.queue.cursor(NAMES[*name]);
                    destination.hand.clear();
                    destination.returned.clear();
                }
            }
            Step::Maintain => {
                if self.queue.maintain(TimestampMs(self.clock)).is_ok() {
                    self.saved();
                }
            }
            Step::Save => {
                if self.queue.save().is_ok() {
                    self.saved();
                }
            }
            Step::Sync => {
                self.flush_failed = self.queue.sync().is_err();
                if !self.flush_failed {
                    self.synced = self.rows.keys().copied().collect();
                }
            }
            Step::Fault(fault) => self.disk.set_fault(*fault),
            Step::Heal => self.disk.clear_faults(),
            Step::Kill => {
                self.disk.kill();
                self.restart(true);
            }
            Step::PowerLoss => {
                self.disk.power_loss();
                self.restart(false);
            }
        }
    }

    /// Everything that is owed comes, and then nothing is left.
    fn drain(&mut self, had_power_loss: bool) {
        self.disk.clear_faults();
        for name in 0..2 {
            if self.destinations[name].is_none() {
                continue;
            }
            while self.take(name, Lane::Backlog, Order::NewestFirst) || self.take(name, Lane::Live, Order::OldestFirst)
            {
            }
            let hand = self.destinations[name].as_ref().map_or(0, |destination| destination.hand.len());
            for _ in 0..hand {
                self.deliver(name, |_| 0);
            }
            let destination = self.destinations[name].as_mut().expect("is there");
            assert_eq!(destination.owed, BTreeSet::new());
            assert_eq!(destination.cursor.waiting(), crate::Waiting::default());
            assert_eq!(destination.cursor.oldest_undelivered_timestamp(), None);
        }
        let done = self.queue.maintain(TimestampMs(self.clock)).expect("the disk works");
        assert!(had_power_loss || done.dropped.is_empty(), "{:?}", done.dropped);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..120)) {
        let disk = SimulatedDisk::new(seed);
        let queue = open(&disk);
        let (rows, synced) = (BTreeMap::new(), BTreeSet::new());
        let mut life = Life { disk, queue, destinations: [None, None], clock: 0, rows, synced, flush_failed: false, forgotten: Default::default() };
        life.live(&Step::Toggle(0));
        for step in &steps {
            life.live(step);
        }
        life.drain(steps.iter().any(|step| matches!(step, Step::PowerLoss)));
    }
}
