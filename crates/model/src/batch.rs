//! Samples on their way into a store, and what became of them.

use std::fmt;

use crate::{ExemplarRefusalReason, ExemplarReport, ExemplarRow, HistogramRow, Labels, MetricMetadata, Sample};

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
    /// The series is new and its source has as many as it may.
    SourceSeriesLimit,
    /// The series is new and the store's memory is used up.
    MemoryLimit,
    /// The label set is malformed or over a limit.
    InvalidLabels,
    /// Native histograms are not taken here.
    NativeHistogram,
}

impl RefusalReason {
    /// Every reason, for metrics that exist from the start.
    pub const ALL: [Self; 8] = [
        Self::DuplicateTimestamp,
        Self::OutOfBounds,
        Self::TooFarInFuture,
        Self::SeriesLimit,
        Self::SourceSeriesLimit,
        Self::MemoryLimit,
        Self::InvalidLabels,
        Self::NativeHistogram,
    ];

    /// The value of a `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateTimestamp => "duplicate_timestamp",
            Self::OutOfBounds => "out_of_bounds",
            Self::TooFarInFuture => "too_far_in_future",
            Self::SeriesLimit => "series_limit",
            Self::SourceSeriesLimit => "source_series_limit",
            Self::MemoryLimit => "memory_limit",
            Self::InvalidLabels => "invalid_labels",
            Self::NativeHistogram => "native_histogram",
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
            Self::SourceSeriesLimit => "its source has as many series as it may; no new ones are accepted",
            Self::MemoryLimit => "the store's memory is used up; no new series are accepted for now",
            Self::InvalidLabels => "invalid label set",
            Self::NativeHistogram => "native histograms are not stored here",
        })
    }
}

/// A sample that was not taken. Counted, not an error: the rest of its batch is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Index into [`Batch::rows`], or whatever rows were appended.
    pub row: usize,
    /// Why.
    pub reason: RefusalReason,
}

/// How far a store's log has come: what an append wrote lies before this position. Zero: there is nothing to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Commit(pub u64);

/// What became of a batch: every row not named in `refused` is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// How many rows are stored now that were not before.
    pub appended: usize,
    /// How many rows were stored already, with the same value.
    pub duplicates: usize,
    /// Which rows were not taken, in order of rows.
    pub refused: Vec<Refusal>,
    /// Where the store's log ends after this batch, for [`Append::when_durable`].
    pub commit: Commit,
}

/// The store cannot take anything at the moment. Nothing of the batch may be taken for stored; sending it again later is
/// safe, since the same sample twice is stored once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full, read-only or failing: what the operating system said, and of which file.
    #[error("the store cannot write: {0}; samples are refused until it can")]
    Unwritable(String),
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
}

/// One sample of a series whose labels are still as they came.
#[derive(Debug, Clone, Copy)]
pub struct EncodedRow<'a> {
    /// The labels in the sender's encoding. Equal bytes mean equal labels within one context.
    pub labels: &'a [u8],
    /// The sample.
    pub sample: Sample,
}

/// Reads encoded labels. Called for series that a store sees for the first time, not for every sample.
pub trait DecodeLabels {
    /// The label set.
    ///
    /// # Errors
    /// When the bytes are no valid label set.
    fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason>;

    /// Whether names stand in the encoded bytes, or in those of the context, letter by letter: then a set has no label of
    /// a name that is in neither. Whoever looks for a name need not decode.
    fn spells_out(&self) -> bool {
        false
    }
}

/// Samples that arrived together, their labels not decoded yet. Rows of one series are in order of time.
#[derive(Clone, Copy)]
pub struct EncodedBatch<'a> {
    /// The samples.
    pub rows: &'a [EncodedRow<'a>],
    /// Whatever else decides what the bytes mean: the encoding, and labels that are stamped on every series.
    pub context: &'a [u8],
    /// How to read the labels.
    pub decoder: &'a dyn DecodeLabels,
    /// What the sender said about metric families.
    pub metadata: &'a [MetricMetadata],
}

/// Called once, when what was appended is as durable as it was asked to be.
pub type Durable = Box<dyn FnOnce(Result<(), AppendError>) + Send>;

/// Where samples go: a store, or a store with forwarders behind it.
pub trait Append: Send + Sync {
    /// Stores what can be stored and reports on the rest. Must not block for longer than a lock or one write to the page
    /// cache takes: callers may be asynchronous.
    ///
    /// # Errors
    /// When the store can take nothing at all. Samples of the batch may be readable already; they may be sent again.
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError>;

    /// The same for samples whose labels are not decoded yet. A store that knows series by their encoded labels
    /// overrides this; here every row is decoded.
    ///
    /// # Errors
    /// As [`Append::append`].
    fn append_encoded(&self, batch: &EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
        let mut invalid = Vec::new();
        // Which row of the request a row of `decoded` was.
        let mut origin = Vec::with_capacity(batch.rows.len());
        let mut decoded = Batch { rows: Vec::with_capacity(batch.rows.len()), metadata: batch.metadata.to_vec() };
        let mut last: Option<(&[u8], Result<Labels, RefusalReason>)> = None;
        for (row, encoded) in batch.rows.iter().enumerate() {
            // Rows of one series follow one another.
            let labels = match &last {
                Some((bytes, labels)) if *bytes == encoded.labels => labels.clone(),
                _ => batch.decoder.decode(encoded.labels),
            };
            match &labels {
                Ok(labels) => {
                    origin.push(row);
                    decoded.push(labels.clone(), encoded.sample);
                }
                Err(reason) => invalid.push(Refusal { row, reason: *reason }),
            }
            last = Some((encoded.labels, labels));
        }
        let mut report = self.append(&decoded)?;
        for refusal in &mut report.refused {
            refusal.row = origin[refusal.row];
        }
        report.refused.extend(invalid);
        report.refused.sort_unstable_by_key(|r| r.row);
        Ok(report)
    }

    /// The same for native histograms, which come apart from samples: the report counts and names these rows. A store
    /// that keeps them overrides this; here all are refused.
    ///
    /// # Errors
    /// As [`Append::append`].
    fn append_histograms(&self, rows: &[HistogramRow]) -> Result<AppendReport, AppendError> {
        let refuse = |row| Refusal { row, reason: RefusalReason::NativeHistogram };
        Ok(AppendReport { refused: (0..rows.len()).map(refuse).collect(), ..AppendReport::default() })
    }

    /// Stores exemplars, each apart from the samples of its series; those of one series are in order of time. A store that
    /// keeps some overrides this; here all are refused.
    ///
    /// # Errors
    /// When the store can take nothing at all.
    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        Ok(ExemplarReport::refused(rows.len(), ExemplarRefusalReason::Disabled))
    }

    /// Calls `done` when everything before `commit` is as durable as the store's sync policy promises: at once, unless
    /// each request must reach the disk.
    fn when_durable(&self, _commit: Commit, done: Durable) {
        done(Ok(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimestampMs;

    struct Utf8;

    impl DecodeLabels for Utf8 {
        fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason> {
            let name = std::str::from_utf8(encoded).map_err(|_| RefusalReason::InvalidLabels)?;
            Ok(Labels::from_pairs([("__name__", name)]))
        }
    }

    /// Refuses negative values.
    struct Sink;

    impl Append for Sink {
        fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
            let refused = |(row, r): (usize, &Row)| {
                (r.sample.value < 0.0).then_some(Refusal { row, reason: RefusalReason::OutOfBounds })
            };
            let refused: Vec<_> = batch.rows.iter().enumerate().filter_map(refused).collect();
            Ok(AppendReport { appended: batch.rows.len() - refused.len(), refused, ..AppendReport::default() })
        }
    }

    #[test]
    fn refusals_name_rows_of_the_encoded_batch() {
        let row = |labels, value| EncodedRow { labels, sample: Sample { timestamp: TimestampMs(1), value } };
        let rows = [row(b"a", 1.0), row(b"\xff", 1.0), row(b"b", -1.0), row(b"b", 1.0)];
        let batch = EncodedBatch { rows: &rows, context: b"", decoder: &Utf8, metadata: &[] };
        let report = Sink.append_encoded(&batch).expect("takes samples");
        assert_eq!(report.appended, 2);
        let named: Vec<_> = report.refused.iter().map(|r| (r.row, r.reason)).collect();
        assert_eq!(named, [(1, RefusalReason::InvalidLabels), (2, RefusalReason::OutOfBounds)]);
    }
}
