//! The words every other block speaks: labels, samples, matchers, metadata, durations and sizes, and the two
//! traits through which samples flow: [`Append`] (into a store) and [`Queryable`] (out of it).
//!
//! Invariants: a [`Labels`] is sorted by name, holds no empty value and no name twice; a timestamp is milliseconds
//! since the Unix epoch; a staleness marker is a NaN with the bits of [`STALE_NAN_BITS`] and nothing else.
//!
//! Non-goals: no I/O, no async, no clock. Time is always a parameter.

mod batch;
mod changes;
mod duration;
mod exemplar;
mod histogram;
mod labels;
mod matcher;
mod metadata;
mod sample;
mod size;
mod storage;

pub use batch::{
    Append, AppendError, AppendReport, Batch, Commit, DecodeLabels, Durable, EncodedBatch, EncodedRow, Refusal,
    RefusalReason, Row,
};
pub use changes::{Changes, Version};
pub use duration::{DurationError, format_duration, parse_duration};
pub use exemplar::{
    Exemplar, ExemplarQueryable, ExemplarRefusal, ExemplarRefusalReason, ExemplarReport, ExemplarRow, SeriesExemplars,
};
pub use histogram::{EncodedHistogram, HistogramBuffer, HistogramRow, Value};
pub use labels::{BUCKET_LABEL, Labels, LabelsBuilder, METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
pub use matcher::{MatchOp, Matcher, MatcherError, matches_all, regex_weight_bytes, rust_regex};
pub use metadata::{MetricKind, MetricMetadata};
pub use sample::{STALE_NAN_BITS, Sample, TimestampMs, is_stale, stale_nan};
pub use size::{SizeError, format_bytes, parse_bytes};
pub use storage::{Column, Hints, Queryable, SampleBuffer, SelectError, Selection, StoredSeries, TimeRange};
