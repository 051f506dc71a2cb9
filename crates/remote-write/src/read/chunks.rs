//! A stream of chunks: frames, each the length of its message as a varint, the checksum of the message (CRC-32C,
//! big-endian), and the message, a `prometheus.ChunkedReadResponse` with chunks of one series.

use model::{Labels, TimestampMs};
use prost::encoding::encode_varint;

use super::wire;
use crate::encode::{labels, message_head, message_head_len, number, number_len};

/// What a message has beside labels and chunks, at most: a key and a length, and the number of the query.
const OVERHEAD: usize = 32;

/// A chunk in Prometheus' XOR encoding.
#[derive(Debug, Clone, Copy)]
pub struct XorChunk<'a> {
    /// Its first sample.
    pub first: TimestampMs,
    /// Its last sample.
    pub last: TimestampMs,
    /// The chunk.
    pub data: &'a [u8],
}

/// Writes frames; keeps its buffers between them.
#[derive(Debug)]
pub struct ChunkFrames {
    max_frame_bytes: usize,
    query: u64,
    /// The label fields of the series, written once however many frames it takes.
    labels: Vec<u8>,
    chunks: Vec<u8>,
    message: Vec<u8>,
}

impl ChunkFrames {
    /// Messages are no longer than this, unless the labels and one chunk of a series are.
    pub fn new(max_frame_bytes: usize) -> Self {
        Self { max_frame_bytes, query: 0, labels: Vec::new(), chunks: Vec::new(), message: Vec::new() }
    }

    /// Begins a series of the query with this number in the request.
    pub fn begin(&mut self, query: usize, of: &Labels) {
        self.query = query as u64;
        self.labels.clear();
        self.chunks.clear();
        labels(of, &mut self.labels);
    }

    /// Adds a chunk to the series; adds to `out` a frame with those before it, where there is no room for one more.
    pub fn chunk(&mut self, chunk: XorChunk<'_>, out: &mut Vec<u8>) {
        let (first, last) = (chunk.first.0 as u64, chunk.last.0 as u64);
        let length = number_len(wire::CHUNK_MIN_TIME, first)
            + number_len(wire::CHUNK_MAX_TIME, last)
            + number_len(wire::CHUNK_TYPE, wire::XOR)
            + message_head_len(wire::CHUNK_DATA, chunk.data.len())
            + chunk.data.len();
        let field = message_head_len(wire::CHUNKS, length) + length;
        let with_it = OVERHEAD + self.labels.len() + self.chunks.len() + field;
        if !self.chunks.is_empty() && with_it > self.max_frame_bytes {
            self.flush(out);
        }
        message_head(wire::CHUNKS, length, &mut self.chunks);
        number(wire::CHUNK_MIN_TIME, first, &mut self.chunks);
        number(wire::CHUNK_MAX_TIME, last, &mut self.chunks);
        number(wire::CHUNK_TYPE, wire::XOR, &mut self.chunks);
        message_head(wire::CHUNK_DATA, chunk.data.len(), &mut self.chunks);
        self.chunks.extend_from_slice(chunk.data);
    }

    /// Adds the last frame of the series to `out`; none where it has no chunks.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if !self.chunks.is_empty() {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.message.clear();
        message_head(wire::CHUNKED_SERIES, self.labels.len() + self.chunks.len(), &mut self.message);
        self.message.extend_from_slice(&self.labels);
        self.message.append(&mut self.chunks);
        number(wire::QUERY_INDEX, self.query, &mut self.message);
        encode_varint(self.message.len() as u64, out);
        out.extend_from_slice(&crc32c::crc32c(&self.message).to_be_bytes());
        out.extend_from_slice(&self.message);
    }
}
