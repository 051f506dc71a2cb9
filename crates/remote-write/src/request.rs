//! What the body of a request becomes, whatever its version: rows whose labels stay encoded, and what they may take.

use model::{EncodedBatch, EncodedRow, MetricMetadata};

use crate::compression::{Compression, Decompressor};
use crate::exemplars::EncodedExemplar;
use crate::found::{Found, Gathered};
use crate::histograms::EncodedHistogramRow;
use crate::label_decoder::LabelDecoder;
use crate::symbols::SymbolTable;
use crate::{decode, decode_v2};

/// Which protobuf message a body holds: the `proto` parameter of `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Message {
    /// `prometheus.WriteRequest`, remote write 1.0.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`, remote write 2.0.
    V2,
}

impl Message {
    /// Every one, for metrics that exist from the start.
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// The message's full name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }
}

/// How to read a body. The default is 1.0 with snappy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format {
    /// Which message it holds.
    pub message: Message,
    /// How that is compressed.
    pub compression: Compression,
}

/// What a request may ask of the receiver.
#[derive(Debug, Clone, Copy)]
pub struct DecodeLimits {
    /// Bytes after decompression (Prometheus: 32 MiB). The labels that symbols of 2.0 stand for may take as much again.
    pub max_decoded_bytes: usize,
    /// How many times larger than the body a message may be, once it has more than a MiB.
    pub max_ratio: usize,
    /// Labels of one series.
    pub max_labels: usize,
    /// Bytes of one label name.
    pub max_name_bytes: usize,
    /// Bytes of one label value.
    pub max_value_bytes: usize,
    /// Samples, histograms and exemplars of one request, and as many symbols. A sample takes two bytes on the wire and 32
    /// in memory at worst, so bytes alone are no bound.
    pub max_samples: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_decoded_bytes: 32 << 20,
            max_ratio: 200,
            max_labels: 128,
            max_name_bytes: 1024,
            max_value_bytes: 16 << 10,
            max_samples: 2 << 20,
        }
    }
}

/// Families of one request that are kept.
pub(crate) const MAX_FAMILIES: usize = 100_000;

/// A request that is refused whole. The sender must not send it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not snappy's block format.
    #[error("cannot decompress the request: {0}; send snappy's block format")]
    Snappy(String),
    /// Not zstd.
    #[error("cannot decompress the request: {0}; send whole frames of zstd")]
    Zstd(String),
    /// Larger than allowed.
    #[error("the request decompresses to more than the {0} bytes allowed; send smaller requests")]
    TooLarge(usize),
    /// So well compressed that it looks like an attack.
    #[error("the request decompresses to more than {0} times its size; send smaller requests")]
    Ratio(usize),
    /// More samples than allowed.
    #[error("the request holds more than the {0} samples, histograms and exemplars allowed; send smaller requests")]
    TooManySamples(usize),
    /// More symbols than allowed.
    #[error("the request holds more than the {0} symbols allowed; send smaller requests")]
    TooManySymbols(usize),
    /// Not the message that was announced.
    #[error("cannot decode the request: {0}; send the protobuf message that Content-Type names")]
    Protobuf(String),
}

impl From<snap::Error> for DecodeError {
    fn from(error: snap::Error) -> Self {
        Self::Snappy(error.to_string())
    }
}

/// The memory that decoding needs, to be used again for the next request.
#[derive(Default)]
pub struct Scratch {
    decompressor: Decompressor,
    gathered: Gathered,
    symbols: SymbolTable,
    /// Empty between requests.
    rows: Vec<EncodedRow<'static>>,
}

impl Scratch {
    /// Bytes of heap that it holds.
    pub fn size_bytes(&self) -> usize {
        self.decompressor.size_bytes()
            + self.gathered.size_bytes()
            + self.symbols.size_bytes()
            + self.rows.capacity() * size_of::<EncodedRow<'_>>()
    }
}

/// What a request holds. Its rows borrow from the [`Scratch`] it was decoded with.
pub struct EncodedRequest<'a> {
    /// Every sample, in the order of the request; labels are not read yet and may be invalid.
    pub rows: Vec<EncodedRow<'a>>,
    /// What it says of metric families.
    pub metadata: Vec<MetricMetadata>,
    /// Every native histogram, for [`crate::decode_histograms`].
    pub histograms: Vec<EncodedHistogramRow<'a>>,
    /// Every exemplar, for [`crate::decode_exemplars`].
    pub exemplars: Vec<EncodedExemplar<'a>>,
    /// Samples that said when their counter began (2.0): nobody keeps that yet, the samples are as good without.
    pub start_timestamps: usize,
    rows_home: &'a mut Vec<EncodedRow<'static>>,
}

impl EncodedRequest<'_> {
    /// The request for a store.
    pub fn batch<'b>(&'b self, decoder: &'b LabelDecoder) -> EncodedBatch<'b> {
        EncodedBatch { rows: &self.rows, context: decoder.context(), decoder, metadata: &self.metadata }
    }
}

impl Drop for EncodedRequest<'_> {
    /// Gives the memory of the rows back.
    fn drop(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        // Collecting in place keeps the allocation and sheds the lifetime; there is nothing left to copy.
        *self.rows_home = rows.into_iter().map(|row| EncodedRow { labels: &[], ..row }).collect();
    }
}

/// Decodes the body of a request. Labels are only delimited, see [`LabelDecoder`]; they have the same bytes in every
/// format, so that a store knows a series again whoever sends it.
///
/// # Errors
/// When the body is not of the format, or too large.
pub fn decode_rows<'a>(
    body: &[u8],
    format: Format,
    limits: &DecodeLimits,
    scratch: &'a mut Scratch,
) -> Result<EncodedRequest<'a>, DecodeError> {
    let Scratch { decompressor, gathered, symbols, rows } = scratch;
    let (padded, length) = decompressor.run(body, format.compression, limits)?;
    gathered.clear(limits.max_decoded_bytes);
    let found = Found::new(std::mem::take(rows), limits.max_samples);
    let found = match format.message {
        Message::V1 => decode::read(padded.get(..length).unwrap_or_default(), found, gathered)?,
        Message::V2 => decode_v2::read(symbols.fill(padded, length, limits)?, found, gathered, limits)?,
    };
    let Found { rows: decoded, metadata, histograms, exemplars, start_timestamps, .. } = found.settle(gathered);
    Ok(EncodedRequest { rows: decoded, metadata, histograms, exemplars, start_timestamps, rows_home: rows })
}
