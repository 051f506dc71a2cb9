//! What is found in a message while it is read, and the labels that do not stand there as they are needed.

use std::ops::Range;

use model::{EncodedRow, MetricMetadata};

use crate::DecodeError;
use crate::exemplars::EncodedExemplar;
use crate::histograms::EncodedHistogramRow;

/// What was found so far.
pub(crate) struct Found<'a> {
    pub(crate) rows: Vec<EncodedRow<'a>>,
    pub(crate) metadata: Vec<MetricMetadata>,
    pub(crate) histograms: Vec<EncodedHistogramRow<'a>>,
    pub(crate) exemplars: Vec<EncodedExemplar<'a>>,
    pub(crate) start_timestamps: usize,
    max_samples: usize,
}

/// How much was found at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    rows: usize,
    histograms: usize,
    exemplars: usize,
}

impl<'a> Found<'a> {
    /// Nothing; `rows` is empty, but has memory.
    pub(crate) fn new(rows: Vec<EncodedRow<'a>>, max_samples: usize) -> Self {
        let (metadata, histograms, exemplars) = (Vec::new(), Vec::new(), Vec::new());
        Self { rows, metadata, histograms, exemplars, start_timestamps: 0, max_samples }
    }

    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        Mark { rows: self.rows.len(), histograms: self.histograms.len(), exemplars: self.exemplars.len() }
    }

    #[inline]
    pub(crate) fn check_room(&self) -> Result<(), DecodeError> {
        let max = self.max_samples;
        let taken = self.rows.len() + self.histograms.len() + self.exemplars.len();
        if taken >= max { Err(DecodeError::TooManySamples(max)) } else { Ok(()) }
    }

    /// Gives everything that was found between two moments its labels.
    #[inline]
    pub(crate) fn set_labels(&mut self, labels: &'a [u8], from: Mark, to: Mark) {
        for row in self.rows.get_mut(from.rows..to.rows).unwrap_or_default() {
            row.labels = labels;
        }
        if (from.histograms, from.exemplars) == (to.histograms, to.exemplars) {
            return;
        }
        for row in self.histograms.get_mut(from.histograms..to.histograms).unwrap_or_default() {
            row.series = labels;
        }
        for row in self.exemplars.get_mut(from.exemplars..to.exemplars).unwrap_or_default() {
            row.series = labels;
        }
    }

    /// Gives everything the labels that were gathered for it.
    pub(crate) fn settle(mut self, gathered: &'a Gathered) -> Self {
        for Gather { from, to, labels } in &gathered.gathers {
            self.set_labels(gathered.bytes.get(labels.clone()).unwrap_or_default(), *from, *to);
        }
        self
    }
}

/// One series whose labels were gathered, and where: all ends are known before the buffer may be borrowed.
#[derive(Debug)]
struct Gather {
    from: Mark,
    to: Mark,
    labels: Range<usize>,
}

/// Labels that were put together, one series behind another.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Used up to `end`; what lies behind has no meaning, and keeps memory from being cleared for every request.
    bytes: Vec<u8>,
    end: usize,
    limit: usize,
    gathers: Vec<Gather>,
}

impl Gathered {
    /// Forgets all. At most `limit` bytes may come now.
    pub(crate) fn clear(&mut self, limit: usize) {
        self.end = 0;
        self.limit = limit;
        self.gathers.clear();
    }

    #[inline]
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    /// Adds bytes.
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.reserve(bytes.len())?;
        if let Some(to) = self.bytes.get_mut(self.end..self.end + bytes.len()) {
            to.copy_from_slice(bytes);
            self.end += bytes.len();
        }
        Ok(())
    }

    /// The next `N` bytes, if there are so many already: see [`Gathered::advance`].
    #[inline]
    pub(crate) fn next<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.bytes.get_mut(self.end..)?.first_chunk_mut()
    }

    /// Counts so many of the bytes that [`Gathered::next`] gave as used.
    #[inline]
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.bytes.len());
    }

    /// Makes room, and twice as much as there was.
    #[cold]
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), DecodeError> {
        let needed = self.end.saturating_add(more);
        if needed > self.limit {
            return Err(DecodeError::TooLarge(self.limit));
        }
        if needed > self.bytes.len() {
            let twice = self.bytes.len().saturating_mul(2).max(1 << 10);
            self.bytes.resize(twice.min(self.limit).max(needed), 0);
        }
        Ok(())
    }

    /// Everything that was found since `from` has the labels that were gathered since `start`; those of nothing are
    /// forgotten.
    #[inline]
    pub(crate) fn close(&mut self, found: &Found<'_>, from: Mark, start: usize) {
        let to = found.mark();
        if to == from {
            self.end = start;
        } else {
            self.gathers.push(Gather { from, to, labels: start..self.end });
        }
    }

    /// Everything that was gathered.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.capacity() + self.gathers.capacity() * size_of::<Gather>()
    }
}
