//! What is known of a segment without reading it, and the records of those that are in use.

use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use crate::load::Loaded;
use crate::record::Header;

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.samples += other.samples;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Totals {
    /// Saturates: totals of a segment become smaller when it rots.
    fn sub_assign(&mut self, other: Self) {
        self.records = self.records.saturating_sub(other.records);
        self.samples = self.samples.saturating_sub(other.samples);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// A record of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordInfo {
    pub(crate) offset: u64,
    pub(crate) bytes: u32,
    pub(crate) samples: u32,
    /// The smallest timestamp.
    pub(crate) min: i64,
    pub(crate) arrived: i64,
}

impl RecordInfo {
    pub(crate) fn new(header: &Header, offset: u64, bytes: u64) -> Self {
        // Records are at most 256 MiB long.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { offset, bytes, samples: header.samples, min: header.min, arrived: header.arrived }
    }

    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.bytes)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals { records: 1, samples: u64::from(self.samples), bytes: u64::from(self.bytes) }
    }
}

#[derive(Debug)]
pub(crate) struct Segment {
    /// Whether it takes records.
    pub(crate) is_open: bool,
    /// In order of offsets; only where `is_known`.
    pub(crate) records: Vec<RecordInfo>,
    /// Whether `records` are all there are. Those of segments that nobody reads are forgotten.
    pub(crate) is_known: bool,
    pub(crate) totals: Totals,
    /// Of all timestamps.
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) first_arrived: i64,
    pub(crate) last_arrived: i64,
    /// Where somebody reads it.
    pub(crate) loaded: Option<Arc<Loaded>>,
    /// Whether somebody took a record of it since that was last looked at.
    pub(crate) is_used: bool,
}

impl Segment {
    pub(crate) fn empty(is_open: bool) -> Self {
        Self {
            is_open,
            records: Vec::new(),
            is_known: true,
            totals: Totals::default(),
            min: i64::MAX,
            max: i64::MIN,
            first_arrived: i64::MAX,
            last_arrived: i64::MIN,
            loaded: None,
            is_used: false,
        }
    }

    /// Notes a record behind all others.
    pub(crate) fn add(&mut self, header: &Header, info: RecordInfo) {
        self.records.push(info);
        self.totals += info.totals();
        self.min = self.min.min(header.min);
        self.max = self.max.max(header.max);
        self.first_arrived = self.first_arrived.min(header.arrived);
        self.last_arrived = self.last_arrived.max(header.arrived);
    }

    /// The records from this offset on.
    pub(crate) fn from(&self, offset: u64) -> &[RecordInfo] {
        &self.records[self.records.partition_point(|record| record.offset < offset)..]
    }

    /// Forgets what reading it again tells.
    pub(crate) fn unload(&mut self) {
        (self.records, self.is_known, self.loaded) = (Vec::new(), false, None);
    }
}
