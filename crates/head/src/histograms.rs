//! The native histograms of one series in memory. Few series have any, so that nothing here costs the others a byte or a
//! look: they lie behind what only odd series have, and their times are kept apart from those of samples by closing the
//! live lane of a series that has them (see [`State::push_histogram`](crate::series::State::push_histogram)).

use model::{EncodedHistogram, HistogramBuffer, TimeRange};

/// Histograms with their times.
#[derive(Debug, Default)]
pub(crate) struct Histograms {
    /// What is being sealed, in the order in which it was frozen.
    frozen: Vec<(i64, EncodedHistogram)>,
    /// The others, in order of time.
    fresh: Vec<(i64, EncodedHistogram)>,
    bytes: usize,
}

/// Bytes of memory that one takes: list, handle, counters and itself.
fn size_of_one(histogram: &EncodedHistogram) -> usize {
    size_of::<(i64, EncodedHistogram)>() + 2 * size_of::<usize>() + histogram.as_bytes().len()
}

impl Histograms {
    pub(crate) fn is_empty(&self) -> bool {
        self.frozen.is_empty() && self.fresh.is_empty()
    }

    /// Bytes of heap, nearly.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// The one at exactly that time.
    pub(crate) fn find(&self, timestamp: i64) -> Option<&EncodedHistogram> {
        let fresh = self.fresh.binary_search_by_key(&timestamp, |(at, _)| *at).ok();
        let fresh = fresh.and_then(|at| self.fresh.get(at));
        fresh.or_else(|| self.frozen.iter().find(|(at, _)| *at == timestamp)).map(|(_, histogram)| histogram)
    }

    /// Adds one at a time that has none.
    pub(crate) fn insert(&mut self, timestamp: i64, histogram: EncodedHistogram) {
        self.bytes += size_of_one(&histogram);
        let at = self.fresh.partition_point(|(known, _)| *known < timestamp);
        self.fresh.insert(at, (timestamp, histogram));
    }

    /// The first and the last time.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        let times = || self.frozen.iter().chain(&self.fresh).map(|(at, _)| *at);
        times().min().zip(times().max())
    }

    /// Takes hold of everything. Returns how many that are.
    pub(crate) fn freeze(&mut self) -> u32 {
        self.frozen.append(&mut self.fresh);
        self.frozen.len() as u32
    }

    /// Forgets the first `count` frozen ones. Returns how many that were.
    pub(crate) fn release(&mut self, count: u32) -> usize {
        let gone = self.frozen.len().min(count as usize);
        self.bytes -= self.frozen.drain(..gone).map(|(_, histogram)| size_of_one(&histogram)).sum::<usize>();
        self.frozen.shrink_to_fit();
        gone
    }

    /// Adds those within `range`, in order of time.
    pub(crate) fn read(&self, range: TimeRange, into: &mut HistogramBuffer) {
        let start = into.len();
        let within = |(at, _): &&(i64, EncodedHistogram)| (range.start.0..=range.end.0).contains(at);
        let found = self.frozen.iter().chain(&self.fresh).filter(within);
        found.for_each(|(at, histogram)| into.push(*at, histogram.clone()));
        into.settle(start);
    }

    /// Adds the first `count` frozen ones, in order of time.
    pub(crate) fn read_frozen(&self, count: u32, into: &mut HistogramBuffer) {
        let start = into.len();
        let found = self.frozen.iter().take(count as usize);
        found.for_each(|(at, histogram)| into.push(*at, histogram.clone()));
        into.settle(start);
    }
}
