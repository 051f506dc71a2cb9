//! Remote write 1.0 on the wire: `prometheus.WriteRequest` in snappy's block format (Prometheus remote-write specification
//! 1.0; `prompb/remote.proto` and `prompb/types.proto`), and its counterpart, remote read. docs/formats/remote-write.md and
//! docs/formats/remote-read.md list every field.
//!
//! The messages are written and read field by field instead of through generated structs: a request repeats every label
//! of every series, and generated structs would allocate twice for each of them. Reading goes further: [`decode_rows`]
//! only finds where the labels of a series begin and end, and [`LabelDecoder`] reads them when a store asks, which it
//! does for series that it does not know by these bytes yet.
//!
//! Invariants: what a sender claims about sizes is checked before memory is reserved; labels nobody can store cost their
//! own series only; malformed protobuf around them refuses the request. Timestamps and value bits survive unchanged.

mod checksum;
mod compression;
mod decode;
mod decode_v2;
mod encode;
mod encode_v2;
mod exemplars;
mod found;
mod histograms;
mod label_decoder;
mod protobuf;
mod read;
mod request;
mod samples;
mod symbols;
#[cfg(test)]
mod tests;
mod wire;

pub use checksum::{CHECKSUM_HEADER, Checksum};
pub use compression::Compression;
pub use encode::{Encoder, encode};
pub use exemplars::{EncodedExemplar, decode_exemplars};
pub use histograms::{EncodedHistogramRow, PROTOBUF_HISTOGRAM, decode_histograms};
pub use label_decoder::LabelDecoder;
pub use read::{
    CHUNKS_TYPE, ChunkFrames, ReadError, ReadQuery, ReadRequest, ReadResponseType, SAMPLES_TYPE, SamplesAnswer,
    XorChunk, decode_read_request,
};

pub use request::{DecodeError, DecodeLimits, EncodedRequest, Format, Message, Scratch, decode_rows};

/// `Content-Type` of a 1.0 request.
pub const CONTENT_TYPE: &str = "application/x-protobuf";
/// `Content-Encoding` of every request.
pub const CONTENT_ENCODING: &str = "snappy";
/// The header that names the protocol's version.
pub const VERSION_HEADER: &str = "X-Prometheus-Remote-Write-Version";
/// Its value for 1.0.
pub const VERSION: &str = "0.1.0";
/// How many samples of a request were stored; on every answer (specification 2.0, harmless for 1.0).
pub const SAMPLES_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Samples-Written";
/// How many native histograms were stored.
pub const HISTOGRAMS_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Histograms-Written";
/// How many exemplars were stored.
pub const EXEMPLARS_WRITTEN_HEADER: &str = "X-Prometheus-Remote-Write-Exemplars-Written";
