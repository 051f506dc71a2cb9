//! What a message says.

use model::{EncodedHistogram, Exemplar, Labels, MetricMetadata};

/// What is to be encoded. The three columns of rows have equal lengths; rows of one number are in order of time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Message<'a> {
    /// Which series the numbers are that the other side does not know yet. Neighbours that share labels share bytes.
    pub definitions: &'a [(u32, Labels)],
    /// The series of every row.
    pub numbers: &'a [u32],
    /// Milliseconds since the epoch.
    pub timestamps: &'a [i64],
    /// The values.
    pub values: &'a [f64],
    /// Exemplars, those of one number in order of time.
    pub exemplars: &'a [ExemplarEntry],
    /// Native histograms, those of one number in order of time.
    pub histograms: &'a [HistogramEntry],
    /// What is known of metric families.
    pub metadata: &'a [MetricMetadata],
}

/// An exemplar of a numbered series.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarEntry {
    /// The series.
    pub number: u32,
    /// The exemplar.
    pub exemplar: Exemplar,
}

/// A native histogram of a numbered series.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramEntry {
    /// The series.
    pub number: u32,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The histogram.
    pub histogram: EncodedHistogram,
}
