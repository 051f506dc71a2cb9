//! Records on their way in and out.

use std::sync::Arc;

use columns::{ExemplarEntry, HistogramEntry};
use model::TimestampMs;

use crate::Lane;
use crate::series::Pin;

/// Rows of one record, so that its bytes stay far below what a log takes.
const MAX_ROWS: usize = 1 << 20;
/// Exemplars and histograms of one; a histogram has 64 KiB at most.
const MAX_EXTRAS: usize = 2048;

/// A series of this queue. Never given to another series while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// What becomes one record. The first three have equal lengths; rows of one series are in order of time. Exemplars and
/// histograms name their series by [`SeriesId`]'s number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Entry<'a> {
    /// The series of every row.
    pub series: &'a [SeriesId],
    /// Milliseconds since the epoch.
    pub timestamps: &'a [i64],
    /// The values; every bit counts.
    pub values: &'a [f64],
    /// Exemplars.
    pub exemplars: &'a [ExemplarEntry],
    /// Native histograms; they count as samples.
    pub histograms: &'a [HistogramEntry],
}

/// A record as it leaves the queue. All destinations share it.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The series of every row; [`crate::Queue::labels`] knows each of them as long as the batch lives.
    pub series: Vec<SeriesId>,
    /// Milliseconds since the epoch.
    pub timestamps: Vec<i64>,
    /// The values.
    pub values: Vec<f64>,
    /// Exemplars; their numbers are those of a [`SeriesId`].
    pub exemplars: Vec<ExemplarEntry>,
    /// Native histograms; likewise.
    pub histograms: Vec<HistogramEntry>,
    /// The smallest timestamp of all of these.
    pub min: TimestampMs,
    /// The largest.
    pub max: TimestampMs,
    /// When it was pushed.
    pub arrived: TimestampMs,
    /// Keeps its series from being forgotten.
    pub(crate) _pin: Option<Pin>,
}

impl Entry<'_> {
    /// Why these columns cannot be one record.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let rows = self.series.len();
        match () {
            () if self.timestamps.len() != rows || self.values.len() != rows => Some("columns of unequal lengths"),
            () if rows > MAX_ROWS || self.histograms.len() + self.exemplars.len() > MAX_EXTRAS => Some("too many rows"),
            () => None,
        }
    }

    /// Smallest and largest timestamp; `None` when there is nothing.
    pub(crate) fn times(&self) -> Option<(i64, i64)> {
        let exemplars = self.exemplars.iter().map(|entry| entry.exemplar.timestamp.0);
        let others = self.histograms.iter().map(|entry| entry.timestamp).chain(exemplars);
        let widen = |bounds: Option<(i64, i64)>, time: i64| {
            Some(bounds.map_or((time, time), |(min, max)| (time.min(min), time.max(max))))
        };
        others.fold(self.timestamps.iter().copied().fold(None, widen), widen)
    }
}

impl Batch {
    /// Rows and histograms.
    pub fn samples(&self) -> usize {
        self.values.len() + self.histograms.len()
    }

    /// Bytes of heap that it takes, about.
    pub fn size_bytes(&self) -> usize {
        let histograms: usize = self.histograms.iter().map(|entry| entry.histogram.as_bytes().len() + 64).sum();
        let exemplars: usize = self.exemplars.iter().map(|entry| entry.exemplar.labels.size_bytes() + 64).sum();
        size_of::<Self>() + self.values.len() * 20 + histograms + exemplars
    }
}

/// Where a record lies. Later ones compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Where in its file the record begins.
    pub offset: u64,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// Where the record lies; `None` when there was nothing to keep, or no destination to keep it for.
    pub position: Option<Position>,
    /// Durable once [`crate::Queue::synced`] has reached this.
    pub commit: u64,
}

/// A record that a destination has in hand: until [`crate::Cursor::delivered`] or [`crate::Cursor::put_back`] it counts
/// as in flight.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Names it.
    pub position: Position,
    /// The lane it was taken from.
    pub lane: Lane,
    /// What it says.
    pub batch: Arc<Batch>,
}
