//! Exemplars over a restart: a log of their own, apart from that of the samples, since nothing ever seals them.
//!
//! The log is twice as long as the ring at most. When a part holds as many exemplars as the ring, the next one begins and
//! the one before it goes: what is left fills the ring.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::Disk;
use model::ExemplarRow;
use segment_log::{Damage, DamageKind, Log, LogError, Options, Record, SegmentInfo};

use super::record::{decode, encode};

/// Exemplars of one record: a log takes no record of any length.
const RECORD_ROWS: usize = 64;

/// The log, once something was written to it.
pub(super) struct ExemplarLog {
    log: Log,
    record: Record,
    /// The first segment of the part that is being written.
    part: u64,
    /// Exemplars of the part that is being written.
    rows: usize,
}

impl ExemplarLog {
    /// Begins behind what earlier runs left.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn create(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, LogError> {
        let log = Log::create(disk, folder, Options::default())?;
        let part = log.segment();
        Ok(Self { log, record: Record::new(), part, rows: 0 })
    }

    /// Writes exemplars; of `capacity` and more, earlier ones may go.
    ///
    /// # Errors
    /// What the disk says. They are not written again.
    pub(super) fn write(&mut self, rows: &[&ExemplarRow], capacity: usize) -> Result<(), LogError> {
        let mut removed = Ok(());
        if self.rows >= capacity {
            let next = self.log.rotate()?;
            let before = std::mem::replace(&mut self.part, next);
            self.rows = 0;
            removed = self.log.remove_before(before);
        }
        for chunk in rows.chunks(RECORD_ROWS) {
            self.record.clear();
            encode(&mut self.record, chunk);
            self.log.append(&mut self.record)?;
            self.rows += chunk.len();
        }
        removed
    }

    /// Removes what earlier runs left.
    ///
    /// # Errors
    /// What the disk says; it goes with the next part.
    pub(super) fn forget_earlier(&self) -> Result<(), LogError> {
        self.log.remove_before(self.part)
    }

    /// Flushes to the disk itself.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.log.sync().map(|_| ())
    }
}

/// What reading a log found.
#[derive(Default)]
pub(super) struct Replayed {
    /// Damages by segment.
    pub(super) damaged: Vec<(SegmentInfo, Vec<Damage>)>,
    /// Segments that could not be read at all.
    pub(super) unreadable: Vec<(PathBuf, LogError)>,
}

/// Reads what earlier runs left, in the order it was written.
pub(super) fn replay(disk: &dyn Disk, segments: Vec<SegmentInfo>, mut each: impl FnMut(ExemplarRow)) -> Replayed {
    let mut out = Replayed::default();
    for segment in segments {
        let reader = match segment_log::read(disk, &segment) {
            Ok(reader) => reader,
            Err(error) => {
                out.unreadable.push((segment.path, error));
                continue;
            }
        };
        let (mut damages, mut records) = (Vec::new(), reader.records());
        let mut from = records.offset();
        while let Some(record) = records.next() {
            let offset = std::mem::replace(&mut from, records.offset());
            let malformed = Damage { segment: segment.number, offset, bytes: from - offset, kind: DamageKind::Corrupt };
            if let Err(damage) = record.and_then(|payload| decode(payload, &mut each).map_err(|_| malformed)) {
                damages.push(damage);
            }
        }
        if !damages.is_empty() {
            out.damaged.push((segment, damages));
        }
    }
    out
}
