//! A batch to the body of a request.

use model::{Batch, Exemplar, ExemplarRow, Labels, MetricMetadata, Row, Sample};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use zstd::zstd_safe::{CCtx, compress_bound};

use crate::encode_v2::SymbolWriter;
use crate::{Compression, wire};

/// How hard zstd tries: 1 costs less than snappy's time on these messages, and more of it saves little.
const ZSTD_LEVEL: i32 = 1;

/// Encodes requests; keeps its buffers between them.
pub struct Encoder {
    pub(crate) message: Vec<u8>,
    pub(crate) series: Vec<u8>,
    /// 2.0: the series, a part of one, and the table of texts.
    pub(crate) body: Vec<u8>,
    pub(crate) part: Vec<u8>,
    pub(crate) symbols: SymbolWriter,
    snappy: snap::raw::Encoder,
    zstd: Option<CCtx<'static>>,
}

impl Default for Encoder {
    fn default() -> Self {
        let (message, series, body, part) = Default::default();
        let (symbols, snappy) = (SymbolWriter::default(), snap::raw::Encoder::new());
        Self { message, series, body, part, symbols, snappy, zstd: None }
    }
}

impl Encoder {
    /// The snappy-compressed `WriteRequest` of these rows and families. Neighbouring rows of one series share its
    /// labels on the wire.
    pub fn encode(&mut self, rows: &[Row], metadata: &[MetricMetadata]) -> Vec<u8> {
        self.encode_with_exemplars(rows, &[], metadata)
    }

    /// The same with exemplars, which get series of their own, as Prometheus sends them.
    pub fn encode_with_exemplars(
        &mut self,
        rows: &[Row],
        exemplars: &[ExemplarRow],
        metadata: &[MetricMetadata],
    ) -> Vec<u8> {
        self.message.clear();
        for run in rows.chunk_by(|a, b| a.labels == b.labels) {
            self.series.clear();
            labels(&run[0].labels, &mut self.series);
            run.iter().for_each(|row| sample(wire::SAMPLES, row.sample, &mut self.series));
            message_head(wire::TIMESERIES, self.series.len(), &mut self.message);
            self.message.extend_from_slice(&self.series);
        }
        for run in exemplars.chunk_by(|a, b| a.series == b.series) {
            self.series.clear();
            labels(&run[0].series, &mut self.series);
            run.iter().for_each(|row| exemplar(&row.exemplar, &mut self.series));
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
        self.compress(Compression::Snappy)
    }

    pub(crate) fn compress(&mut self, compression: Compression) -> Vec<u8> {
        match compression {
            // Fails only for messages of 4 GiB and more, which no caller can hold as rows.
            Compression::Snappy => self.snappy.compress_vec(&self.message).unwrap_or_default(),
            Compression::Zstd => {
                let mut body = Vec::with_capacity(compress_bound(self.message.len()));
                let zstd = self.zstd.get_or_insert_with(CCtx::create);
                // Fails only where there is no memory for its tables; there is always room for the answer.
                let _ = zstd.compress(&mut body, &self.message, ZSTD_LEVEL);
                body
            }
        }
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

/// A sample as the given field. Its timestamp is left out where it is zero, its value never: the bits of -0.0 must not
/// get lost.
#[inline]
pub(crate) fn sample(field: u32, sample: Sample, out: &mut Vec<u8>) {
    let timestamp = sample.timestamp.0 as u64;
    message_head(field, 9 + number_len(wire::SAMPLE_TIMESTAMP, timestamp), out);
    encode_key(wire::SAMPLE_VALUE, WireType::SixtyFourBit, out);
    out.extend_from_slice(&sample.value.to_bits().to_le_bytes());
    number(wire::SAMPLE_TIMESTAMP, timestamp, out);
}

fn exemplar(exemplar: &Exemplar, out: &mut Vec<u8>) {
    let timestamp = exemplar.timestamp.0 as u64;
    let length = labels_len(&exemplar.labels) + 9 + number_len(wire::EXEMPLAR_TIMESTAMP, timestamp);
    message_head(wire::EXEMPLARS, length, out);
    labels(&exemplar.labels, out);
    encode_key(wire::EXEMPLAR_VALUE, WireType::SixtyFourBit, out);
    out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
    number(wire::EXEMPLAR_TIMESTAMP, timestamp, out);
}

pub(crate) fn message_head(field: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

pub(crate) fn message_head_len(field: u32, length: usize) -> usize {
    key_len(field) + encoded_len_varint(length as u64)
}

/// Zero is what a missing number means.
pub(crate) fn number(field: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(value, out);
    }
}

pub(crate) fn number_len(field: u32, value: u64) -> usize {
    if value == 0 { 0 } else { key_len(field) + encoded_len_varint(value) }
}

fn text(field: u32, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        message_head(field, value.len(), out);
        out.extend_from_slice(value.as_bytes());
    }
}

fn text_len(field: u32, value: &str) -> usize {
    message_head_len(field, value.len()) + value.len()
}

/// The label fields of a series or an exemplar.
pub(crate) fn labels(labels: &Labels, out: &mut Vec<u8>) {
    for (name, value) in labels.iter() {
        message_head(wire::LABELS, pair_len(name, value), out);
        text(wire::NAME, name, out);
        text(wire::VALUE, value, out);
    }
}

/// Bytes of those.
pub(crate) fn labels_len(labels: &Labels) -> usize {
    let field = |length: usize| message_head_len(wire::LABELS, length) + length;
    labels.iter().map(|(name, value)| field(pair_len(name, value))).sum()
}

fn pair_len(name: &str, value: &str) -> usize {
    text_len(wire::NAME, name) + text_len(wire::VALUE, value)
}
