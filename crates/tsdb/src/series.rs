//! One series in memory: two columns in order of time.

use model::{Labels, RefusalReason, Sample, SampleBuffer, SelectError, StoredSeries, TimeRange};
use parking_lot::Mutex;

/// What became of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Stored,
    Duplicate,
    Refused(RefusalReason),
}

/// A series: its labels, and its samples behind a lock held for one push or one copy.
#[derive(Debug)]
pub(crate) struct Series {
    labels: Labels,
    columns: Mutex<SampleBuffer>,
}

impl Series {
    pub(crate) fn new(labels: Labels) -> Self {
        Self { labels, columns: Mutex::default() }
    }

    pub(crate) fn push(&self, sample: Sample) -> Pushed {
        let mut columns = self.columns.lock();
        let timestamp = sample.timestamp.0;
        // Nearly every sample is newer than all before it.
        if columns.timestamps.last().is_none_or(|last| *last < timestamp) {
            make_room(&mut columns);
            columns.push(timestamp, sample.value);
            return Pushed::Stored;
        }
        match columns.timestamps.binary_search(&timestamp) {
            Ok(at) if columns.values[at].to_bits() == sample.value.to_bits() => Pushed::Duplicate,
            Ok(_) => Pushed::Refused(RefusalReason::DuplicateTimestamp),
            Err(at) => {
                make_room(&mut columns);
                columns.timestamps.insert(at, timestamp);
                columns.values.insert(at, sample.value);
                Pushed::Stored
            }
        }
    }

    /// How many samples it holds, and how many its memory could.
    #[cfg(test)]
    pub(crate) fn room(&self) -> (usize, usize) {
        let columns = self.columns.lock();
        (columns.len(), columns.timestamps.capacity().max(columns.values.capacity()))
    }

    /// First and last timestamp; `None` for a series without samples.
    pub(crate) fn bounds(&self) -> Option<(i64, i64)> {
        let columns = self.columns.lock();
        Some((*columns.timestamps.first()?, *columns.timestamps.last()?))
    }

    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        self.bounds().is_some_and(|(first, last)| first <= range.end.0 && last >= range.start.0)
    }

    /// Drops the samples before `cutoff`; returns how many went and whether any is left.
    pub(crate) fn truncate(&self, cutoff: i64) -> (usize, bool) {
        let mut columns = self.columns.lock();
        let gone = columns.timestamps.partition_point(|t| *t < cutoff);
        if gone > 0 {
            columns.timestamps.drain(..gone);
            columns.values.drain(..gone);
            // A column that shrank to a quarter gives its memory back.
            if columns.timestamps.capacity() > 4 * columns.len().max(8) {
                columns.timestamps.shrink_to_fit();
                columns.values.shrink_to_fit();
            }
        }
        (gone, !columns.is_empty())
    }
}

/// Full columns grow by an eighth: doubling would leave up to half of the store's memory unused.
fn make_room(columns: &mut SampleBuffer) {
    let length = columns.timestamps.len();
    if length == columns.timestamps.capacity() {
        let more = length / 8 + 8;
        columns.timestamps.reserve_exact(more);
        columns.values.reserve_exact(more);
    }
}

/// A series as the query engine sees it.
pub(crate) struct Handle(pub(crate) std::sync::Arc<Series>);

impl StoredSeries for Handle {
    fn labels(&self) -> &Labels {
        self.0.labels()
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        let columns = self.0.columns.lock();
        let from = columns.timestamps.partition_point(|t| *t < range.start.0);
        let to = columns.timestamps.partition_point(|t| *t <= range.end.0).max(from);
        into.timestamps.extend_from_slice(&columns.timestamps[from..to]);
        into.values.extend_from_slice(&columns.values[from..to]);
        Ok(())
    }
}

impl Series {
    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }
}
