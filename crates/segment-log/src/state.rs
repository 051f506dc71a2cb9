//! Which segments a log has, and what has been proven of them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, OpenFile};

use crate::LogError;
use crate::files::{SegmentInfo, path_of};
use crate::format::{Identity, SEGMENT_HEADER};

/// The segment that takes records.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) identity: Identity,
    path: PathBuf,
    pub(crate) file: Arc<dyn OpenFile>,
    /// How long it is, up to the end of the last whole record.
    pub(crate) bytes: u64,
    /// Up to here it survives a power loss.
    proven: u64,
    /// Whether its name does.
    named: bool,
}

impl Current {
    /// Creates the file, with its header.
    fn begin(disk: &dyn Disk, folder: &Path, number: u64) -> Result<Self, LogError> {
        let path = path_of(folder, number);
        let file = disk.create(&path)?;
        // Seeded by the operating system.
        let marker = (RandomState::new().hash_one(number) as u32).to_le_bytes();
        let identity = Identity { number, marker };
        if let Err(error) = file.append(&identity.segment_header()) {
            // It holds nothing; the next attempt takes another number.
            let _ = disk.remove(&path);
            return Err(error.into());
        }
        let bytes = SEGMENT_HEADER as u64;
        Ok(Self { identity, path, file, bytes, proven: bytes, named: false })
    }

    pub(crate) fn has_records(&self) -> bool {
        self.bytes > SEGMENT_HEADER as u64
    }

    /// What is left to prove of it.
    fn unproven(&self) -> Option<Unproven> {
        let info = || SegmentInfo { number: self.identity.number, bytes: self.bytes, path: self.path.clone() };
        let proof = || Proof::Flush(Arc::clone(&self.file));
        (self.proven < self.bytes).then(|| Unproven { segment: info(), proof: proof(), named: self.named })
    }
}

/// A segment, up to a length, of which it is not sure that it survives a power loss.
#[derive(Debug, Clone)]
pub(crate) struct Unproven {
    pub(crate) segment: SegmentInfo,
    pub(crate) proof: Proof,
    /// Whether at least its name survives.
    pub(crate) named: bool,
}

/// What makes a segment durable.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// Flushing what this process wrote.
    Flush(Arc<dyn OpenFile>),
    /// Flushing what an earlier process wrote, which may have had no time to.
    FlushByName,
    /// Writing it anew, since a flush failed: a later one proves nothing.
    WriteAnew,
}

/// Everything that the appending side changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// `None` after a segment was abandoned, until the next append.
    pub(crate) current: Option<Current>,
    /// The number that the next segment gets.
    pub(crate) next_number: u64,
    /// Segments that take no more records and are not proven yet, in order of number.
    pub(crate) waiting: Vec<Unproven>,
    /// Length of every segment but the current one, by number.
    pub(crate) closed: BTreeMap<u64, u64>,
}

impl State {
    /// That of a log behind these segments of earlier processes.
    pub(crate) fn behind(segments: Vec<SegmentInfo>) -> Self {
        Self {
            current: None,
            next_number: segments.last().map_or(1, |last| last.number.saturating_add(1)),
            closed: segments.iter().map(|segment| (segment.number, segment.bytes)).collect(),
            waiting: segments
                .into_iter()
                .map(|segment| Unproven { segment, proof: Proof::FlushByName, named: false })
                .collect(),
        }
    }

    /// Begins a new segment behind all others. The current one stays when that fails.
    pub(crate) fn begin(&mut self, disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
        // Never twice, whatever becomes of this attempt.
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        let next = Current::begin(disk, folder, number)?;
        self.close();
        self.current = Some(next);
        Ok(())
    }

    /// Lets the current segment take no more records.
    fn close(&mut self) {
        if let Some(current) = self.current.take() {
            self.closed.insert(current.identity.number, current.bytes);
            self.waiting.extend(current.unproven());
        }
    }

    /// The same after a write that could not be undone. A segment without a record is of no use to anybody.
    pub(crate) fn abandon(&mut self, disk: &dyn Disk) {
        if self.current.as_ref().is_some_and(|current| !current.has_records() && disk.remove(&current.path).is_ok()) {
            self.current = None;
        }
        self.close();
    }

    /// What is not proven, in order of number.
    pub(crate) fn unproven(&self) -> Vec<Unproven> {
        let current = self.current.as_ref().and_then(Current::unproven);
        self.waiting.iter().cloned().chain(current).collect()
    }

    /// Notes that a segment survives, up to the length it had when proving began.
    pub(crate) fn prove(&mut self, proven: &SegmentInfo) {
        self.waiting.retain_mut(|waiting| {
            let same = waiting.segment.number == proven.number;
            waiting.named |= same;
            // It may have taken more records before it was closed.
            !(same && waiting.segment.bytes <= proven.bytes)
        });
        if let Some(current) = self.current.as_mut().filter(|current| current.identity.number == proven.number) {
            (current.proven, current.named) = (proven.bytes, true);
        }
    }

    /// Notes that a flush failed: no more records for this segment, and what it holds needs another proof.
    pub(crate) fn fail(&mut self, failed: &SegmentInfo) {
        if self.current.as_ref().is_some_and(|current| current.identity.number == failed.number) {
            self.close();
        }
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.segment.number == failed.number) {
            waiting.proof = Proof::WriteAnew;
        }
    }

    /// The segments before this one that may be removed, in order of number: all but the newest of the log.
    pub(crate) fn closed_before(&self, number: u64) -> Vec<u64> {
        let newest = match (&self.current, self.closed.last_key_value()) {
            (None, Some((last, _))) => *last,
            _ => u64::MAX,
        };
        self.closed.range(..number.min(newest)).map(|(number, _)| *number).collect()
    }

    /// Notes that a segment was removed.
    pub(crate) fn forget(&mut self, number: u64) {
        self.closed.remove(&number);
        self.waiting.retain(|waiting| waiting.segment.number != number);
    }
}
