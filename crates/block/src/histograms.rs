//! Chunks of native histograms: their times in the head, their bytes side by side and compressed in the body. A block
//! without histograms has none of this.

use std::ops::Range;

use model::{EncodedHistogram, HistogramBuffer, TimeRange};

use crate::bytes::{Cursor, put_signed, put_varint};
use crate::chunk::Extent;
use crate::error::Malformed;
use crate::format::{Frame, put_frame};

/// A chunk is full with so many bytes of histograms, or so many of them.
const FULL_BYTES: usize = 256 << 10;
const FULL_HISTOGRAMS: usize = 4096;
/// What a body may come to: one histogram more than is full.
const MAX_BODY_BYTES: usize = FULL_BYTES + EncodedHistogram::MAX_BYTES;

/// Gathers the histograms of neighbouring series.
#[derive(Default)]
pub(crate) struct HistogramChunk {
    runs: Vec<Run>,
    times: Vec<i64>,
    /// Where each histogram ends in `bytes`.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

/// Histograms of one series.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    ordinal: u32,
    /// Which of the chunk's histograms they are.
    places: Range<usize>,
}

impl HistogramChunk {
    /// Whether it has to be finished before anything is added.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.times.len() >= FULL_HISTOGRAMS
    }

    /// Adds a histogram, in order of series and time.
    pub(crate) fn push(&mut self, ordinal: u32, timestamp: i64, histogram: &EncodedHistogram) {
        let at = self.times.len();
        self.times.push(timestamp);
        self.bytes.extend_from_slice(histogram.as_bytes());
        self.ends.push(self.bytes.len());
        match self.runs.last_mut() {
            Some(run) if run.ordinal == ordinal => run.places.end = at + 1,
            _ => self.runs.push(Run { ordinal, places: at..at + 1 }),
        }
    }

    /// Puts out what was gathered and begins anew. `None` when there is nothing.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<Option<Extent>, Malformed> {
        let chunk = std::mem::take(self);
        let (Some(first), Some(last)) = (chunk.runs.first(), chunk.runs.last()) else { return Ok(None) };
        let mut head = Vec::new();
        put_varint(&mut head, chunk.bytes.len() as u64);
        put_varint(&mut head, chunk.runs.len() as u64);
        let (mut ordinal, mut began) = (0, 0i64);
        for Run { ordinal: own, places } in &chunk.runs {
            let times = &chunk.times[places.clone()];
            put_varint(&mut head, u64::from(own - ordinal));
            put_varint(&mut head, times.len() as u64);
            put_signed(&mut head, times[0].wrapping_sub(began));
            (ordinal, began) = (*own, times[0]);
            times.windows(2).for_each(|pair| put_varint(&mut head, pair[1].wrapping_sub(pair[0]) as u64));
            places.clone().for_each(|at| put_varint(&mut head, chunk.place(at).len() as u64));
        }
        let body = snap::raw::Encoder::new().compress_vec(&chunk.bytes);
        put_frame(&head, &body.map_err(|_| Malformed("histograms cannot be compressed"))?, out);
        let times = chunk.times.iter().fold((i64::MAX, i64::MIN), |(min, max), t| (min.min(*t), max.max(*t)));
        Ok(Some(Extent { series: (first.ordinal, last.ordinal), times }))
    }

    /// Reads a chunk, without trusting it.
    pub(crate) fn open(bytes: &[u8]) -> Result<Self, Malformed> {
        let frame = Frame::open(bytes)?;
        let mut chunk = Self::default();
        let mut head = Cursor::new(frame.head);
        let length = head.count(MAX_BODY_BYTES)?;
        let (mut ordinal, mut began) = (0u32, 0i64);
        for at in 0..head.count(frame.head.len())? {
            let step = head.count(u32::MAX as usize)? as u32;
            let first = at == 0;
            ordinal =
                ordinal.checked_add(step).filter(|_| first || step > 0).ok_or(Malformed("series out of order"))?;
            let count = head.count(head.remaining())?;
            let from = chunk.times.len();
            began = began.wrapping_add(head.signed()?);
            let mut time = began;
            for place in 0..count {
                if place > 0 {
                    let before = time;
                    time = time.wrapping_add(head.varint()? as i64);
                    if time <= before {
                        return Err(Malformed("histograms are not in order of time"));
                    }
                }
                chunk.times.push(time);
            }
            for _ in 0..count {
                let end = chunk.ends.last().copied().unwrap_or(0) + head.count(EncodedHistogram::MAX_BYTES)?;
                chunk.ends.push(end);
            }
            chunk.runs.push(Run { ordinal, places: from..from + count });
        }
        let whole = head.remaining() == 0 && chunk.ends.last() == Some(&length);
        let body = frame.body()?;
        if !whole || snap::raw::decompress_len(body) != Ok(length) {
            return Err(Malformed("a chunk of histograms has other lengths than it says"));
        }
        let read = snap::raw::Decoder::new().decompress_vec(body);
        chunk.bytes = read.map_err(|_| Malformed("a chunk of histograms cannot be decompressed"))?;
        Ok(chunk)
    }

    fn place(&self, at: usize) -> Range<usize> {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        start..self.ends.get(at).copied().unwrap_or(start)
    }

    /// The first series and the last.
    pub(crate) fn series(&self) -> Option<(u32, u32)> {
        Some((self.runs.first()?.ordinal, self.runs.last()?.ordinal))
    }

    fn places(&self, ordinal: u32) -> Range<usize> {
        let found = self.runs.binary_search_by_key(&ordinal, |run| run.ordinal).ok();
        found.and_then(|at| self.runs.get(at)).map_or(0..0, |run| run.places.clone())
    }

    /// The first time of a series and the last.
    pub(crate) fn span(&self, ordinal: u32) -> Option<(i64, i64)> {
        let times = self.times.get(self.places(ordinal))?;
        times.first().copied().zip(times.last().copied())
    }

    /// Adds the histograms of a series within a range.
    pub(crate) fn read(&self, ordinal: u32, range: TimeRange, into: &mut HistogramBuffer) -> Result<(), Malformed> {
        for at in self.places(ordinal) {
            let Some(&timestamp) = self.times.get(at) else { break };
            if (range.start.0..=range.end.0).contains(&timestamp) {
                let bytes = self.bytes.get(self.place(at)).unwrap_or_default();
                let histogram = EncodedHistogram::new(bytes).ok_or(Malformed("a histogram is empty"))?;
                into.push(timestamp, histogram);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back(series in prop::collection::btree_map(any::<u32>(),
            prop::collection::btree_map(any::<i64>(), prop::collection::vec(any::<u8>(), 1..40), 1..9), 1..9)) {
            let mut chunk = HistogramChunk::default();
            for (ordinal, histograms) in &series {
                for (at, bytes) in histograms {
                    chunk.push(*ordinal, *at, &EncodedHistogram::new(bytes).expect("is short enough"));
                }
            }
            let mut out = Vec::new();
            let extent = chunk.finish(&mut out).expect("compresses").expect("has some");
            prop_assert_eq!(chunk.finish(&mut out).expect("compresses").is_none(), true);
            let chunk = HistogramChunk::open(&out).expect("is whole");
            prop_assert_eq!(chunk.series(), Some(extent.series));
            for (ordinal, histograms) in &series {
                let mut found = HistogramBuffer::default();
                chunk.read(*ordinal, TimeRange::ALL, &mut found).expect("is whole");
                let found: Vec<_> = found.iter().map(|(at, h)| (at, h.as_bytes().to_vec())).collect();
                prop_assert_eq!(&found, &histograms.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(chunk.span(*ordinal), Some((found[0].0, found[found.len() - 1].0)));
            }
        }

        #[test]
        fn takes_any_bytes(head in prop::collection::vec(any::<u8>(), 0..60), body in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut out = Vec::new();
            put_frame(&head, &body, &mut out);
            if let Ok(chunk) = HistogramChunk::open(&out) {
                let ordinal = chunk.series().map_or(0, |(first, _)| first);
                let _ = chunk.read(ordinal, TimeRange::ALL, &mut HistogramBuffer::default());
            }
        }
    }
}
