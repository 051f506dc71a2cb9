//! Our own formats.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use block::{Block, BlockDraft, BlockWriter};
use disk::{Disk, SimulatedDisk};
use model::{Append, Column, SampleBuffer, TimeRange, TimestampMs};
use tsdb::{Store, StoreOptions, WalSync};

use super::{batch, series};

const FOLDER: &str = "/fuzz";

/// A disk with one file.
fn holding(name: &str, data: &[u8]) -> Arc<dyn Disk> {
    let disk = SimulatedDisk::new(1);
    disk.create_folder(Path::new(FOLDER)).expect("makes a folder");
    let file = disk.create(&Path::new(FOLDER).join(name)).expect("creates");
    file.append(data).expect("writes");
    Arc::new(disk)
}

pub(super) fn block(data: &[u8]) {
    let path = Path::new(FOLDER).join("fuzzed.block");
    let Ok(block) = Block::open(holding("fuzzed.block", data), &path) else { return };
    let (mut reader, mut samples) = (block.reader(), SampleBuffer::default());
    for ordinal in 0..block.meta().series.min(100) as u32 {
        samples.clear();
        let _ = reader.read(ordinal, TimeRange::ALL, Column::Last, &mut samples);
        if let Ok(labels) = block.labels(ordinal) {
            let _ = block.find(&labels);
        }
    }
    let _ = block.names();
    let _ = block.cardinality("i");
    let _ = block.verify();
}

pub(super) fn block_seeds() -> Vec<Vec<u8>> {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
    let folder = Path::new(FOLDER);
    disk.create_folder(folder).expect("makes a folder");
    let mut writer = BlockWriter::create(disk.clone(), folder, BlockDraft::default()).expect("begins a block");
    series().iter().for_each(|(labels, samples)| writer.add(labels, samples).expect("takes a series"));
    writer.finish().expect("writes");
    let entries = disk.list(folder).expect("lists");
    entries.iter().map(|e| disk.read(&folder.join(&e.name)).expect("reads").to_vec()).collect()
}

const SEGMENT: &str = "0000000001.log";

pub(super) fn segment(data: &[u8]) {
    let disk = holding(SEGMENT, data);
    for segment in segment_log::segments(&*disk, Path::new(FOLDER)).expect("lists") {
        if let Ok(reader) = segment_log::read(&*disk, &segment) {
            assert!(reader.records().count() <= data.len());
        }
    }
}

/// The first segment of a store that took one batch.
fn log() -> (Arc<dyn Disk>, segment_log::SegmentInfo) {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(1));
    let options = StoreOptions { wal_sync: WalSync::Interval(Duration::from_secs(3600)), ..StoreOptions::default() };
    let clock = Arc::new(|| TimestampMs(1_700_000_000_000));
    let store = Store::open(disk.clone(), Path::new(FOLDER), options, clock).expect("opens");
    store.append(&batch()).expect("appends");
    let segments = segment_log::segments(&*disk, &Path::new(FOLDER).join("wal")).expect("lists");
    let last = segments.into_iter().next_back().expect("there is a segment");
    (disk, last)
}

pub(super) fn segment_seeds() -> Vec<Vec<u8>> {
    let (disk, segment) = log();
    vec![disk.read(&segment.path).expect("reads").to_vec()]
}

pub(super) fn wal(data: &[u8]) {
    let _ = tsdb::check_wal_record(data);
}

pub(super) fn wal_seeds() -> Vec<Vec<u8>> {
    let (disk, segment) = log();
    let reader = segment_log::read(&*disk, &segment).expect("reads");
    reader.records().map(|record| record.expect("is whole").to_vec()).collect()
}
