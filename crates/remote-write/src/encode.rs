//! A batch to the body of a request.

use model::{Batch, Labels, MetricMetadata, Row};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::wire;

/// Encodes requests; keeps its buffers between them.
pub struct Encoder {
    message: Vec<u8>,
    series: Vec<u8>,
    snappy: snap::raw::Encoder,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { message: Vec::new(), series: Vec::new(), snappy: snap::raw::Encoder::new() }
    }
}

impl Encoder {
    /// The snappy-compressed `WriteRequest` of these rows and families. Neighbouring rows of one series share its
    /// labels on the wire.
    pub fn encode(&mut self, rows: &[Row], metadata: &[MetricMetadata]) -> Vec<u8> {
        self.message.clear();
        for run in rows.chunk_by(|a, b| a.labels == b.labels) {
            self.series.clear();
            labels(&run[0].labels, &mut self.series);
            for row in run {
                let timestamp = row.sample.timestamp.0 as u64;
                let mut length = 9;
                if timestamp != 0 {
                    length += key_len(wire::SAMPLE_TIMESTAMP) + encoded_len_varint(timestamp);
                }
                message_head(wire::SAMPLES, length, &mut self.series);
                // A zero may be left out in proto3; written all the same, since the bits of -0.0 must not get lost.
                encode_key(wire::SAMPLE_VALUE, WireType::SixtyFourBit, &mut self.series);
                self.series.extend_from_slice(&row.sample.value.to_bits().to_le_bytes());
                if timestamp != 0 {
                    encode_key(wire::SAMPLE_TIMESTAMP, WireType::Varint, &mut self.series);
                    encode_varint(timestamp, &mut self.series);
                }
            }
            message_head(wire::TIMESERIES, self.series.len(), &mut self.message);
            self.message.extend_from_slice(&self.series);
        }
        for entry in metadata {
            self.series.clear();
            encode_key(wire::KIND, WireType::Varint, &mut self.series);
            encode_varint(wire::kind_to_wire(entry.kind), &mut self.series);
            text(wire::FAMILY, &entry.family, &mut self.series);
            text(wire::HELP, &entry.help, &mut self.series);
            text(wire::UNIT, &entry.unit, &mut self.series);
            message_head(wire::METADATA, self.series.len(), &mut self.message);
            self.message.extend_from_slice(&self.series);
        }
        // Fails only for messages of 4 GiB and more, which no caller can hold as rows.
        self.snappy.compress_vec(&self.message).unwrap_or_default()
    }

    /// Bytes of the last message before compression.
    pub fn uncompressed_bytes(&self) -> usize {
        self.message.len()
    }
}

/// The body of a request that carries the whole batch.
pub fn encode(batch: &Batch) -> Vec<u8> {
    Encoder::default().encode(&batch.rows, &batch.metadata)
}

fn message_head(field: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn text(field: u32, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        message_head(field, value.len(), out);
        out.extend_from_slice(value.as_bytes());
    }
}

fn text_len(field: u32, value: &str) -> usize {
    key_len(field) + encoded_len_varint(value.len() as u64) + value.len()
}

/// The label fields of a series.
pub(crate) fn labels(labels: &Labels, out: &mut Vec<u8>) {
    for (name, value) in labels.iter() {
        message_head(wire::LABELS, text_len(wire::NAME, name) + text_len(wire::VALUE, value), out);
        text(wire::NAME, name, out);
        text(wire::VALUE, value, out);
    }
}
