//! Exemplars: single observations behind a sample, mostly with the trace they belong to.

use std::fmt;

use crate::{Labels, Matcher, TimeRange, TimestampMs};

/// One observation that went into a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// What tells it apart: `trace_id`, `span_id`. May be empty.
    pub labels: Labels,
    /// What was observed.
    pub value: f64,
    /// When.
    pub timestamp: TimestampMs,
}

impl Exemplar {
    /// Characters that names and values of an exemplar's labels may have together (OpenMetrics 1.0, "Exemplars").
    pub const MAX_LABEL_CHARACTERS: usize = 128;
}

/// An exemplar on its way into a store.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarRow {
    /// The series that it belongs to.
    pub series: Labels,
    /// The exemplar.
    pub exemplar: Exemplar,
}

/// Why a store did not take an exemplar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExemplarRefusalReason {
    /// Older than the newest one of its series.
    OutOfOrder,
    /// Its labels have more than [`Exemplar::MAX_LABEL_CHARACTERS`] characters.
    LabelsTooLong,
    /// Too far ahead of this machine's clock.
    TooFarInFuture,
    /// The labels of the series or its own are malformed or over a limit.
    InvalidLabels,
    /// This store keeps none.
    Disabled,
}

impl ExemplarRefusalReason {
    /// Every reason, for metrics that exist from the start.
    pub const ALL: [Self; 5] =
        [Self::OutOfOrder, Self::LabelsTooLong, Self::TooFarInFuture, Self::InvalidLabels, Self::Disabled];

    /// The value of a `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfOrder => "out_of_order",
            Self::LabelsTooLong => "labels_too_long",
            Self::TooFarInFuture => "too_far_in_future",
            Self::InvalidLabels => "invalid_labels",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for ExemplarRefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An exemplar that was not taken. Counted, never an error: exemplars are a courtesy beside the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExemplarRefusal {
    /// Index into the rows that were appended.
    pub row: usize,
    /// Why.
    pub reason: ExemplarRefusalReason,
}

/// What became of some exemplars: every row not named in `refused` is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExemplarReport {
    /// How many are stored now that were not before.
    pub appended: usize,
    /// How many were the newest of their series already.
    pub duplicates: usize,
    /// Which were not taken, in order of rows.
    pub refused: Vec<ExemplarRefusal>,
}

impl ExemplarReport {
    /// All of so many rows refused.
    pub fn refused(rows: usize, reason: ExemplarRefusalReason) -> Self {
        let refused = (0..rows).map(|row| ExemplarRefusal { row, reason }).collect();
        Self { refused, ..Self::default() }
    }
}

/// The exemplars of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesExemplars {
    /// The series.
    pub series: Labels,
    /// Its exemplars, in order of time; at least one.
    pub exemplars: Vec<Exemplar>,
}

/// A store that can be asked for exemplars; beside [`crate::Queryable`].
pub trait ExemplarQueryable: Send + Sync {
    /// The exemplars within `range` of the series that satisfy any of the matcher lists, in order of labels.
    fn exemplars(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Vec<SeriesExemplars>;
}
