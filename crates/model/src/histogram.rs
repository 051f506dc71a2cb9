//! Native histograms as stores see them: bytes that only whoever writes and reads them understands.

use std::sync::Arc;

use crate::{Labels, TimestampMs};

/// A native histogram in its encoded form, opaque to every store: equal bytes are the same histogram. Copies are handles.
///
/// Nothing is promised about the encoding but that its first byte tells encodings apart, so that another one can be
/// added without a new file format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedHistogram(Arc<[u8]>);

impl EncodedHistogram {
    /// The longest one that is taken. A histogram of a thousand buckets takes a few thousand bytes.
    pub const MAX_BYTES: usize = 64 << 10;

    /// `None` when there are more bytes than [`EncodedHistogram::MAX_BYTES`], or none.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=Self::MAX_BYTES).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a series has at one time.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number; every bit counts.
    Float(f64),
    /// A native histogram.
    Histogram(EncodedHistogram),
}

impl PartialEq for Value {
    /// Bit for bit.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a == b,
            _ => false,
        }
    }
}

/// One native histogram of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramRow {
    /// The series.
    pub labels: Labels,
    /// When it was true.
    pub timestamp: TimestampMs,
    /// The histogram.
    pub histogram: EncodedHistogram,
}

/// Histograms of one series in strictly ascending order of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramBuffer {
    /// Milliseconds since the epoch.
    pub timestamps: Vec<i64>,
    /// As many histograms.
    pub histograms: Vec<EncodedHistogram>,
}

impl HistogramBuffer {
    /// Forgets the histograms, keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets all but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.timestamps.truncate(len);
        self.histograms.truncate(len);
    }

    /// Adds one histogram after the last.
    pub fn push(&mut self, timestamp: i64, histogram: EncodedHistogram) {
        self.timestamps.push(timestamp);
        self.histograms.push(histogram);
    }

    /// How many histograms there are.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Every histogram with its time.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &EncodedHistogram)> {
        self.timestamps.iter().copied().zip(&self.histograms)
    }

    /// Brings those from `start` on in order of time and removes all but the first of those with equal times.
    pub fn settle(&mut self, start: usize) {
        let is_settled = self.timestamps.get(start..).is_none_or(|times| times.is_sorted_by(|a, b| a < b));
        if is_settled {
            return;
        }
        let times = self.timestamps.split_off(start);
        let mut pairs: Vec<_> = times.into_iter().zip(self.histograms.split_off(start)).collect();
        // Stable, and fast on what consists of sorted runs.
        pairs.sort_by_key(|(timestamp, _)| *timestamp);
        pairs.dedup_by_key(|(timestamp, _)| *timestamp);
        pairs.into_iter().for_each(|(timestamp, histogram)| self.push(timestamp, histogram));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(byte: u8) -> EncodedHistogram {
        EncodedHistogram::new(&[byte]).expect("is short enough")
    }

    #[test]
    fn length_is_bounded() {
        assert_eq!(EncodedHistogram::new(&[]), None);
        assert!(EncodedHistogram::new(&vec![1; EncodedHistogram::MAX_BYTES]).is_some());
        assert_eq!(EncodedHistogram::new(&vec![1; EncodedHistogram::MAX_BYTES + 1]), None);
    }

    #[test]
    fn equal_is_bit_for_bit() {
        assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
        assert_ne!(Value::Float(0.0), Value::Float(-0.0));
        assert_ne!(Value::Float(1.0), Value::Histogram(histogram(1)));
        assert_ne!(Value::Histogram(histogram(2)), Value::Histogram(histogram(1)));
    }

    #[test]
    fn runs_are_merged_and_the_first_stays() {
        let mut buffer = HistogramBuffer::default();
        for (at, byte) in [(9, 0), (1, 1), (5, 2), (1, 3), (3, 4)] {
            buffer.push(at, histogram(byte));
        }
        buffer.settle(1);
        assert_eq!(buffer.timestamps, [9, 1, 3, 5]);
        let bytes: Vec<u8> = buffer.iter().map(|(_, h)| h.as_bytes()[0]).collect();
        assert_eq!(bytes, [0, 1, 4, 2]);
    }
}
