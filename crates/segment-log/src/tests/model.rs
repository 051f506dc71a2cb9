//! Random lives of a log on a failing disk, against a list of what it promised.

use disk::{Fault, SimulatedDisk};
use proptest::prelude::*;

use super::{on_disk, read_all, record, reopen};
use crate::Log;

#[derive(Debug, Clone)]
enum Step {
    Append(usize),
    Sync,
    Rotate,
    /// Removes all segments but so many.
    Remove(u64),
    Fault(Fault),
    Heal,
    Kill,
    PowerLoss,
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        (0..800u64).prop_map(|after_bytes| Fault::Full { after_bytes }),
        Just(Fault::ReadOnly),
        Just(Fault::FailSync),
        Just(Fault::FailTruncate),
        Just(Fault::FailRead),
    ];
    prop_oneof![
        12 => (1..300usize).prop_map(Step::Append),
        4 => Just(Step::Sync),
        1 => Just(Step::Rotate),
        1 => (0..3u64).prop_map(Step::Remove),
        2 => fault.prop_map(Step::Fault),
        2 => Just(Step::Heal),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerLoss),
    ]
}

/// What is known about a record that was appended.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    payload: Vec<u8>,
    /// The segment it is in.
    segment: u64,
    synced: bool,
    /// Somebody tried to remove its segment and did not hear that it worked.
    doubtful: bool,
}

struct Life {
    disk: SimulatedDisk,
    log: Log,
    /// The records that may be on the disk, in the order they were appended.
    known: Vec<Known>,
    /// How many were tried.
    tried: u32,
    /// Whether a write failed, so that torn ends are no surprise after a kill.
    torn: bool,
    /// Whether a flush failed and was not made up for yet. A process that dies then takes that knowledge with it.
    flush_failed: bool,
}

impl Life {
    fn append(&mut self, length: usize) {
        self.tried += 1;
        let mut payload = self.tried.to_le_bytes().to_vec();
        payload.resize(4 + length, length as u8);
        let before = self.log.written();
        match self.log.append(&mut record(&payload)) {
            Ok(position) => {
                assert_eq!(position, before + payload.len() as u64 + 16);
                let segment = self.log.segment();
                self.known.push(Known { payload, segment, synced: false, doubtful: false });
            }
            Err(_) => {
                assert_eq!(self.log.written(), before);
                self.torn = true;
            }
        }
    }

    fn sync(&mut self) {
        let before = self.log.synced();
        match self.log.sync() {
            Ok(position) => {
                assert_eq!(position, self.log.written(), "nobody else appends");
                self.known.iter_mut().for_each(|known| known.synced = true);
                self.flush_failed = false;
            }
            Err(_) => {
                assert_eq!(self.log.synced(), before);
                self.flush_failed = true;
            }
        }
    }

    fn rotate(&mut self) {
        if let Ok(number) = self.log.rotate() {
            assert_eq!(number, self.log.segment());
            assert!(self.known.iter().all(|known| known.segment < number));
        }
    }

    fn remove(&mut self, keep: u64) {
        let newest = on_disk(&self.disk).last().map_or(0, |segment| segment.number);
        let before = self.log.segment().saturating_sub(keep).min(newest);
        let removed = self.log.remove_before(before).is_ok();
        let concerned = |known: &Known| known.segment < before;
        if removed {
            self.known.retain(|known| !concerned(known));
        } else {
            self.known.iter_mut().filter(|known| concerned(known)).for_each(|known| known.doubtful = true);
        }
    }

    /// Reads the log as the next process does, compares, and goes on as that.
    fn restart(&mut self, all: bool) {
        self.disk.clear_faults();
        let (found, damages) = read_all(&self.disk);
        let mut rest = found.iter().peekable();
        let mut left = Vec::new();
        for known in &self.known {
            if rest.next_if(|payload| **payload == known.payload).is_some() {
                // What is on the disk when power returns is there to stay.
                let doubtful = known.doubtful || (all && self.flush_failed && !known.synced);
                left.push(Known { synced: !all || known.synced, doubtful, ..known.clone() });
            } else {
                let may_miss = known.doubtful || !(all || known.synced);
                assert!(may_miss, "record {:?} is missing", known.payload.first_chunk::<4>());
                if all {
                    // The next power loss may still undo the removal.
                    left.push(known.clone());
                }
            }
        }
        assert_eq!(rest.next(), None, "was not appended, or not in this order, or was removed");
        if all && !self.torn {
            assert_eq!(damages, []);
        }
        self.known = left;
        (self.torn, self.flush_failed) = (self.torn || !all, false);
        self.log = reopen(&self.disk, 700);
        let newest = on_disk(&self.disk).last().map(|segment| segment.number);
        assert_eq!(Some(self.log.segment()), newest);
        assert!(self.known.iter().all(|known| known.segment < self.log.segment()));
    }

    fn live(&mut self, step: &Step) {
        match step {
            Step::Append(length) => self.append(*length),
            Step::Sync => self.sync(),
            Step::Rotate => self.rotate(),
            Step::Remove(keep) => self.remove(*keep),
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
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold(seed in any::<u64>(), steps in proptest::collection::vec(step(), 1..80)) {
        let disk = SimulatedDisk::new(seed);
        let log = reopen(&disk, 700);
        let mut life = Life { disk, log, known: Vec::new(), tried: 0, torn: false, flush_failed: false };
        for step in &steps {
            life.live(step);
        }
        // And it can always go on.
        life.disk.clear_faults();
        life.append(10);
        life.sync();
        life.disk.power_loss();
        life.restart(false);
    }
}
