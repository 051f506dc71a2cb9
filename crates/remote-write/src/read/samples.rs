//! An answer with samples: one `prometheus.ReadResponse` in snappy's block format.
//!
//! It may be large, so it is compressed while it is written. A block of snappy is its uncompressed length and then
//! elements that lean on nothing more than 64 KiB back; elements of pieces that were compressed one by one make a block
//! when they follow one another behind the sum of their lengths.

use model::{Labels, Sample, SampleBuffer, TimestampMs};
use prost::encoding::{encode_varint, encoded_len_varint};

use super::wire;
use crate::encode::{labels, message_head, sample};

/// Bytes that are compressed at once.
const PIECE_BYTES: usize = 256 << 10;

/// An answer while it is written.
pub struct SamplesAnswer {
    /// Compressed, in order; before those of each result stands its head, which is known when the result ends.
    pieces: Vec<Vec<u8>>,
    /// Not compressed yet.
    pending: Vec<u8>,
    series: Vec<u8>,
    snappy: snap::raw::Encoder,
    /// Uncompressed bytes of all pieces, and of those of the result that is being written.
    total: u64,
    result: u64,
}

impl Default for SamplesAnswer {
    fn default() -> Self {
        let (pieces, pending, series) = (Vec::new(), Vec::new(), Vec::new());
        Self { pieces, pending, series, snappy: snap::raw::Encoder::new(), total: 0, result: 0 }
    }
}

impl SamplesAnswer {
    /// Writes the answer to one query: `fill` adds its series.
    ///
    /// # Errors
    /// What `fill` says.
    pub fn result<E>(&mut self, fill: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        let head = self.pieces.len();
        self.pieces.push(Vec::new());
        self.result = 0;
        fill(self)?;
        self.compress();
        let length = usize::try_from(self.result).unwrap_or(usize::MAX);
        message_head(wire::RESULTS, length, &mut self.pending);
        self.compress();
        // Compressed last, it belongs first.
        if let (Some(compressed), Some(place)) = (self.pieces.pop(), self.pieces.get_mut(head)) {
            *place = compressed;
        }
        Ok(())
    }

    /// Adds a series to the result.
    pub fn series(&mut self, of: &Labels, samples: &SampleBuffer) {
        self.series.clear();
        labels(of, &mut self.series);
        for (at, value) in samples.timestamps.iter().zip(&samples.values) {
            let one = Sample { timestamp: TimestampMs(*at), value: *value };
            sample(crate::wire::SAMPLES, one, &mut self.series);
        }
        message_head(wire::RESULT_SERIES, self.series.len(), &mut self.pending);
        self.pending.extend_from_slice(&self.series);
        if self.pending.len() >= PIECE_BYTES {
            self.compress();
        }
    }

    /// Moves what is pending to the pieces.
    fn compress(&mut self) {
        self.total += self.pending.len() as u64;
        self.result += self.pending.len() as u64;
        for part in self.pending.chunks(PIECE_BYTES) {
            // Fails only for 4 GiB and more.
            let mut compressed = self.snappy.compress_vec(part).unwrap_or_default();
            let length = encoded_len_varint(part.len() as u64);
            compressed.drain(..length.min(compressed.len()));
            compressed.shrink_to_fit();
            self.pieces.push(compressed);
        }
        self.pending.clear();
    }

    /// Bytes of the message so far, before compression.
    pub fn uncompressed_bytes(&self) -> u64 {
        self.total + self.pending.len() as u64
    }

    /// The body, to be sent one piece after the other; `None` when the message is larger than a block of snappy may be.
    pub fn finish(self) -> Option<Vec<Vec<u8>>> {
        let total = u32::try_from(self.total).ok()?;
        let mut head = Vec::new();
        encode_varint(u64::from(total), &mut head);
        Some(std::iter::once(head).chain(self.pieces).filter(|piece| !piece.is_empty()).collect())
    }
}
