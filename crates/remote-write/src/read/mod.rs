//! Remote read on the wire: `prometheus.ReadRequest` in, and out either `prometheus.ReadResponse` with samples or a stream
//! of `prometheus.ChunkedReadResponse` with XOR chunks (`prompb/remote.proto`). docs/formats/remote-read.md lists every
//! field.

mod chunks;
mod request;
mod samples;
#[cfg(test)]
mod tests;
mod wire;

pub use chunks::{ChunkFrames, XorChunk};
pub use request::{ReadError, ReadQuery, ReadRequest, ReadResponseType, decode_read_request};
pub use samples::SamplesAnswer;

/// `Content-Type` of an answer with samples; its `Content-Encoding` is [`crate::CONTENT_ENCODING`].
pub const SAMPLES_TYPE: &str = "application/x-protobuf";
/// `Content-Type` of a stream of chunks, which is not compressed any further.
pub const CHUNKS_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
