//! What the query engine sees of a store.

use std::num::NonZero;

use crate::{Changes, HistogramBuffer, Labels, Matcher, MetricMetadata, TimestampMs};

/// A span of time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First instant.
    pub start: TimestampMs,
    /// Last instant.
    pub end: TimestampMs,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start: TimestampMs::MIN, end: TimestampMs::MAX };
}

/// Which of the values a rollup keeps per window stands for the samples of that window. Raw samples have only themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Column {
    /// The last sample, with the resets of counters inside the window made up for: instants, `rate`, `increase`, `last`.
    #[default]
    Last,
    /// How many samples there were.
    Count,
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Sum divided by count.
    Average,
}

/// What the reader is going to do with the samples. A store may use it to read less, never to answer something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hints {
    /// Milliseconds between two evaluations; 0 for a single one.
    pub step_ms: i64,
    /// Milliseconds of the range or lookback that each evaluation looks at; 0 when unknown.
    pub window_ms: i64,
    /// What to return where only rollups are read.
    pub column: Column,
    /// Whether rollups may be read at all: only when the reader knows what to do with `column`.
    pub rollups: bool,
    /// How many series the reader has room for: a store that finds more need not list them
    /// ([`SelectError::TooMany`]). `None` is all there are.
    pub max_series: Option<NonZero<usize>>,
}

/// Which series, over which time.
#[derive(Debug, Clone)]
pub struct Selection<'a> {
    /// All of these hold for every selected series.
    pub matchers: &'a [Matcher],
    /// Only series with a sample in here need to be returned (more may be).
    pub range: TimeRange,
    /// What for.
    pub hints: Hints,
}

/// A read that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The store could not read what it holds.
    #[error("storage: {0}")]
    Storage(String),
    /// There are more series than [`Hints::max_series`].
    #[error("more than {limit} series are selected")]
    TooMany {
        /// How many there may be.
        limit: NonZero<usize>,
    },
}

/// Samples as two columns of equal length, in strictly ascending order of time. Filled again and again, so that
/// reading allocates only until the longest series was seen.
#[derive(Debug, Default, Clone)]
pub struct SampleBuffer {
    /// Milliseconds since the epoch.
    pub timestamps: Vec<i64>,
    /// Values, staleness markers included.
    pub values: Vec<f64>,
}

impl SampleBuffer {
    /// Forgets the samples, keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
    }

    /// Adds one sample after the last.
    #[inline]
    pub fn push(&mut self, timestamp: i64, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }
}

/// One selected series, its samples still in the store.
pub trait StoredSeries: Send + Sync {
    /// Its labels. The first call may have to build them; a reader that needs none does not ask.
    fn labels(&self) -> &Labels;

    /// Calls `each` with its labels, in order of names. A store that can do that without building them overrides it.
    fn each_label(&self, each: &mut dyn FnMut(&str, &str)) {
        self.labels().iter().for_each(|(name, value)| each(name, value));
    }

    /// Adds its samples within `range` to the end of `into`.
    ///
    /// # Errors
    /// When stored data cannot be read.
    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError>;

    /// Adds at least the newest of its samples within `range`, as the last one. A store that knows it without reading the
    /// others overrides this: most of what dashboards and alerts ask for is "now".
    ///
    /// # Errors
    /// As [`StoredSeries::read`].
    fn read_newest(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        self.read(range, into)
    }

    /// Adds its native histograms within `range` to the end of `into`: none in a store that holds none. Samples are read
    /// without them.
    ///
    /// # Errors
    /// As [`StoredSeries::read`].
    fn read_histograms(&self, _range: TimeRange, _into: &mut HistogramBuffer) -> Result<(), SelectError> {
        Ok(())
    }
}

/// A store that can be asked. Reads see every sample whose append returned before the read began.
pub trait Queryable: Send + Sync {
    /// The selected series in order of their labels.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError>;

    /// How many of the selected series have a newest sample within the range that is no staleness marker, where the store
    /// knows that without reading samples.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn count_live(&self, _selection: &Selection<'_>) -> Result<Option<usize>, SelectError> {
        Ok(None)
    }

    /// The label sets of the series that satisfy any of the matcher lists (all series where there is none), sorted.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<Labels>, SelectError>;

    /// The label names of those series, sorted.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn label_names(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError>;

    /// The values of one label over those series, sorted, without the empty one.
    ///
    /// # Errors
    /// When the index cannot be read.
    fn label_values(&self, name: &str, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError>;

    /// What is known about metric families, sorted by family.
    fn metadata(&self) -> Vec<MetricMetadata>;

    /// What tells of changes, where the store can: without it no answer is kept.
    fn changes(&self) -> Option<&dyn Changes> {
        None
    }
}
