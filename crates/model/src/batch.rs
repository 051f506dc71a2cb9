//! Samples on their way into a store, and what became of them.

use std::fmt;

use crate::{Labels, MetricMetadata, Sample};

/// One sample of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The series.
    pub labels: Labels,
    /// The sample.
    pub sample: Sample,
}

/// Samples that arrived together: one scrape, one remote-write request, one evaluation of a rule group.
/// Rows of one series are in order of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The samples.
    pub rows: Vec<Row>,
    /// What the sender said about metric families since it last did.
    pub metadata: Vec<MetricMetadata>,
}

impl Batch {
    /// Adds one sample.
    pub fn push(&mut self, labels: Labels, sample: Sample) {
        self.rows.push(Row { labels, sample });
    }

    /// True when there is neither a sample nor metadata.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.metadata.is_empty()
    }
}

/// Why a store did not take a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalReason {
    /// The series already has another value at this timestamp.
    DuplicateTimestamp,
    /// Older than what the store keeps.
    OutOfBounds,
    /// Too far ahead of this machine's clock.
    TooFarInFuture,
    /// The series is new and the store holds as many as it may.
    SeriesLimit,
    /// The label set is malformed or over a limit.
    InvalidLabels,
}

impl RefusalReason {
    /// Every reason, for metrics that exist from the start.
    pub const ALL: [Self; 5] =
        [Self::DuplicateTimestamp, Self::OutOfBounds, Self::TooFarInFuture, Self::SeriesLimit, Self::InvalidLabels];

    /// The value of a `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateTimestamp => "duplicate_timestamp",
            Self::OutOfBounds => "out_of_bounds",
            Self::TooFarInFuture => "too_far_in_future",
            Self::SeriesLimit => "series_limit",
            Self::InvalidLabels => "invalid_labels",
        }
    }
}

impl fmt::Display for RefusalReason {
    /// A sentence for the sender.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateTimestamp => "another value for this series and timestamp is already stored",
            Self::OutOfBounds => "older than the retention of this store",
            Self::TooFarInFuture => "more than 10 minutes ahead of the receiver's clock",
            Self::SeriesLimit => "the store holds as many series as it may; no new ones are accepted",
            Self::InvalidLabels => "invalid label set",
        })
    }
}

/// A sample that was not taken. Counted, not an error: the rest of its batch is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Index into [`Batch::rows`].
    pub row: usize,
    /// Why.
    pub reason: RefusalReason,
}

/// What became of a batch: every row not named in `refused` is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// How many rows are stored now that were not before.
    pub appended: usize,
    /// How many rows were stored already, with the same value.
    pub duplicates: usize,
    /// Which rows were not taken, in order of rows.
    pub refused: Vec<Refusal>,
}

/// Where samples go: a store, or a store with forwarders behind it.
pub trait Append: Send + Sync {
    /// Stores what can be stored and reports on the rest. Must not block for longer than a lock is held: callers may
    /// be asynchronous.
    fn append(&self, batch: &Batch) -> AppendReport;
}
