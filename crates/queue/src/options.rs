//! How a queue is kept, and what it says of itself.

use model::TimestampMs;

/// How a queue is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of all segments together; the oldest goes when there are more.
    pub max_bytes: u64,
    /// A segment whose newest record was pushed longer ago goes.
    pub max_age_ms: i64,
    /// A segment that every destination has stays for so long after its newest record was pushed, as long as half of
    /// `max_bytes` is free: so that [`crate::Queue::pushed_since`] finds it.
    pub keep_ms: i64,
    /// A segment that would grow beyond this is followed by a new one; an eighth of `max_bytes` at most.
    pub segment_bytes: u64,
    /// Bytes of records that are kept in memory, the newest ones.
    pub memory_bytes: usize,
    /// Labels that tell sources apart where samples are counted that were dropped: the first one that a series has counts.
    pub source_labels: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 10 << 30,
            max_age_ms: 24 * 3_600_000,
            keep_ms: 2 * 60_000,
            segment_bytes: 8 << 20,
            memory_bytes: 32 << 20,
            source_labels: ["metacluster", "region", "job"].map(str::to_owned).to_vec(),
        }
    }
}

/// What was found when a queue was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opened {
    /// When the newest record was pushed that this folder ever saw; `None` for a new folder.
    pub last_pushed: Option<TimestampMs>,
    /// Segments with records.
    pub segments: usize,
    /// Samples in them.
    pub samples: u64,
    /// Parts of segments that could not be read. Copies of them are in the folder `damaged`.
    pub damages: Vec<segment_log::Damage>,
    /// Why the file of cursors could not be read, if so: every destination gets all that is there again.
    pub cursors_lost: Option<String>,
}

/// Samples that left the queue undelivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The destination that did not get them.
    pub destination: String,
    /// Where they came from: the value of one of [`Options::source_labels`]; empty for series without, `other` when
    /// there are too many sources to name.
    pub source: String,
    /// `disk_full`, `age`, `damaged`.
    pub reason: &'static str,
    /// How many.
    pub samples: u64,
}

/// What [`crate::Queue::maintain`] did.
#[derive(Debug, Clone, Default)]
pub struct Maintained {
    /// What was dropped since the last call.
    pub dropped: Vec<Dropped>,
    /// Segments that are gone.
    pub removed_segments: usize,
}

/// How large a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueState {
    /// Bytes of all segments.
    pub disk_bytes: u64,
    /// Segments.
    pub segments: usize,
    /// Bytes of records in memory.
    pub memory_bytes: usize,
    /// Series that are known.
    pub series: usize,
}
