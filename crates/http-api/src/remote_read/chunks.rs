//! A stream of chunks, made piece by piece.

use std::sync::atomic::AtomicBool;

use model::{SampleBuffer, SelectError, TimeRange, TimestampMs};
use prometheus_block::{CHUNK_SAMPLES, encode_xor};
use remote_write::{ChunkFrames, ReadQuery, XorChunk};

use super::selected::{Named, Source, is_left};

/// Frames are handed on when there are this many bytes of them.
const ENOUGH_BYTES: usize = 64 << 10;

/// What is left of an answer.
pub(super) struct Chunks {
    source: Source,
    queries: std::iter::Enumerate<std::vec::IntoIter<ReadQuery>>,
    /// The query that is being answered.
    query: usize,
    range: TimeRange,
    labels_only: bool,
    series: std::vec::IntoIter<Named>,
    frames: ChunkFrames,
    samples: SampleBuffer,
    chunk: Vec<u8>,
    done: bool,
}

impl Chunks {
    pub(super) fn new(source: Source, queries: Vec<ReadQuery>, max_frame_bytes: usize) -> Self {
        Self {
            source,
            queries: queries.into_iter().enumerate(),
            query: 0,
            range: TimeRange::ALL,
            labels_only: false,
            series: Vec::new().into_iter(),
            frames: ChunkFrames::new(if max_frame_bytes == 0 { usize::MAX } else { max_frame_bytes }),
            samples: SampleBuffer::default(),
            chunk: Vec::new(),
            done: false,
        }
    }

    /// Whether there is nothing left.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The next frames, some 64 KiB of them unless a series is larger; less only at the end.
    pub(super) fn piece(&mut self, left: &AtomicBool) -> Result<Vec<u8>, SelectError> {
        let mut out = Vec::new();
        while out.len() < ENOUGH_BYTES && !is_left(left) {
            if let Some(series) = self.series.next() {
                self.one(&series, &mut out)?;
            } else if let Some((number, query)) = self.queries.next() {
                (self.query, self.range, self.labels_only) = (number, query.range, query.labels_only);
                self.series = self.source.select(&query)?.into_iter();
            } else {
                self.done = true;
                break;
            }
        }
        Ok(out)
    }

    /// Adds the frames of a series.
    fn one(&mut self, (labels, series): &Named, out: &mut Vec<u8>) -> Result<(), SelectError> {
        self.frames.begin(self.query, labels);
        self.samples.clear();
        if self.labels_only {
            // A frame needs a chunk: one without samples.
            self.chunk.clear();
            encode_xor(&[], &[], &mut self.chunk);
            self.frames.chunk(XorChunk { first: self.range.start, last: self.range.end, data: &self.chunk }, out);
        } else {
            series.read(self.range, &mut self.samples)?;
        }
        let chunks = self.samples.timestamps.chunks(CHUNK_SAMPLES).zip(self.samples.values.chunks(CHUNK_SAMPLES));
        for (timestamps, values) in chunks {
            let (Some(first), Some(last)) = (timestamps.first(), timestamps.last()) else { continue };
            self.chunk.clear();
            encode_xor(timestamps, values, &mut self.chunk);
            let chunk = XorChunk { first: TimestampMs(*first), last: TimestampMs(*last), data: &self.chunk };
            self.frames.chunk(chunk, out);
        }
        self.frames.end(out);
        Ok(())
    }
}
