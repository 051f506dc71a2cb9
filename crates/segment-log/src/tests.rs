//! What the tests of this crate share, and the cases told one by one.

mod cases;
mod model;

use std::path::Path;
use std::sync::Arc;

use disk::{Disk, SimulatedDisk};

use crate::{Damage, Log, Options, Record, SegmentInfo, read, segments};

/// Where the logs of the tests are.
pub(crate) const FOLDER: &str = "/data/wal";

/// A log in small segments on a disk of its own.
pub(crate) fn small_log(seed: u64) -> (SimulatedDisk, Log) {
    let disk = SimulatedDisk::new(seed);
    let log = reopen(&disk, 1000);
    (disk, log)
}

/// A log after whatever is on the disk.
pub(crate) fn reopen(disk: &SimulatedDisk, segment_bytes: u64) -> Log {
    Log::create(Arc::new(disk.clone()), Path::new(FOLDER), Options { segment_bytes }).expect("opens")
}

/// A record with this payload.
pub(crate) fn record(payload: &[u8]) -> Record {
    let mut record = Record::new();
    record.extend_from_slice(payload);
    record
}

/// The segments on the disk.
pub(crate) fn on_disk(disk: &dyn Disk) -> Vec<SegmentInfo> {
    segments(disk, Path::new(FOLDER)).expect("lists")
}

/// All that can be read, and what cannot; checks that nothing lies between.
pub(crate) fn read_segment(disk: &dyn Disk, segment: &SegmentInfo) -> (Vec<Vec<u8>>, Vec<Damage>) {
    let reader = read(disk, segment).expect("opens");
    let (mut found, mut damages) = (Vec::new(), Vec::new());
    let mut records = reader.records();
    loop {
        let from = records.offset();
        let Some(next) = records.next() else { break };
        let taken = records.offset() - from;
        match next {
            Ok(payload) => {
                assert_eq!(taken, payload.len() as u64 + 16);
                found.push(payload.to_vec());
            }
            Err(damage) => {
                assert_eq!((damage.segment, damage.offset, damage.bytes), (segment.number, from, taken));
                damages.push(damage);
            }
        }
    }
    assert_eq!(records.offset(), segment.bytes, "everything was read");
    (found, damages)
}

/// The same for all segments.
pub(crate) fn read_all(disk: &dyn Disk) -> (Vec<Vec<u8>>, Vec<Damage>) {
    let (mut found, mut damages) = (Vec::new(), Vec::new());
    for segment in on_disk(disk) {
        let (mut more, mut worse) = read_segment(disk, &segment);
        found.append(&mut more);
        damages.append(&mut worse);
    }
    (found, damages)
}
