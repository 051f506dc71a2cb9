//! What a reader asks for.

use model::{MatchOp, Matcher, MatcherError, TimeRange, TimestampMs};

use super::wire;
use crate::DecodeError;
use crate::protobuf::{Field, Reader, fields};

/// Queries of one request, and matchers of all of them together. Each may hold a compiled regular expression.
const MAX_QUERIES: usize = 1_000;
const MAX_MATCHERS: usize = 10_000;

/// A request that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not a `prometheus.ReadRequest`, or too large.
    #[error("{0}")]
    Decode(String),
    /// More queries or matchers than allowed.
    #[error("the request holds more than the {limit} {what} allowed; send several requests")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// What is allowed.
        limit: usize,
    },
    /// A matcher of a type that does not exist.
    #[error("matcher of label {name:?} has the type {kind}; send 0 (=), 1 (!=), 2 (=~) or 3 (!~)")]
    MatcherType {
        /// The label's name.
        name: String,
        /// The type's number.
        kind: u64,
    },
    /// A matcher's regular expression.
    #[error("matcher of label {name:?}: {error}")]
    Matcher {
        /// The label's name.
        name: String,
        /// What is wrong.
        error: MatcherError,
    },
    /// None of the types that the reader accepts.
    #[error("none of the response types {0:?} is supported; accept 0 (SAMPLES) or 1 (STREAMED_XOR_CHUNKS)")]
    ResponseType(Vec<u64>),
}

impl From<DecodeError> for ReadError {
    fn from(error: DecodeError) -> Self {
        // The other places where that says what to send are about writing.
        match error {
            DecodeError::Protobuf(what) => {
                Self::Decode(format!("cannot decode the request: {what}; send a prometheus.ReadRequest"))
            }
            other => Self::Decode(other.to_string()),
        }
    }
}

/// How results are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResponseType {
    /// One message with every sample.
    Samples,
    /// Messages with chunks, as they are read.
    StreamedXorChunks,
}

/// One selection of series.
#[derive(Debug, Clone)]
pub struct ReadQuery {
    /// Which samples: those of the query that its hints do not rule out.
    pub range: TimeRange,
    /// All of these hold for every selected series.
    pub matchers: Vec<Matcher>,
    /// Milliseconds between two evaluations, as far as the reader tells.
    pub step_ms: i64,
    /// Milliseconds of the range that each of them looks at.
    pub window_ms: i64,
    /// Whether only the labels are of interest: the hint `series`.
    pub labels_only: bool,
}

/// A whole request.
#[derive(Debug, Clone, Default)]
pub struct ReadRequest {
    /// What is asked for; answers are in this order.
    pub queries: Vec<ReadQuery>,
    accepted: Vec<u64>,
}

impl ReadRequest {
    /// The first accepted type that we speak; samples where the reader names none.
    ///
    /// # Errors
    /// [`ReadError::ResponseType`].
    pub fn response_type(&self) -> Result<ReadResponseType, ReadError> {
        let known = |kind: &u64| match kind {
            0 => Some(ReadResponseType::Samples),
            1 => Some(ReadResponseType::StreamedXorChunks),
            _ => None,
        };
        match self.accepted.iter().find_map(known) {
            Some(kind) => Ok(kind),
            None if self.accepted.is_empty() => Ok(ReadResponseType::Samples),
            None => Err(ReadError::ResponseType(self.accepted.clone())),
        }
    }
}

/// Decodes a snappy-compressed `prometheus.ReadRequest` of at most so many bytes.
///
/// # Errors
/// When the body is not one, or asks for too much.
pub fn decode_read_request(body: &[u8], max_decoded_bytes: usize) -> Result<ReadRequest, ReadError> {
    let mut message = Vec::new();
    let refusal = DecodeError::TooLarge(max_decoded_bytes);
    let length = crate::compression::snappy(body, max_decoded_bytes, refusal, &mut message)?;
    message.truncate(length);
    let (mut out, mut matchers) = (ReadRequest::default(), 0);
    let mut reader = Reader::new(&message);
    while !reader.is_at_end() {
        match reader.field()? {
            (wire::QUERIES, Field::Bytes(message)) => {
                if out.queries.len() >= MAX_QUERIES {
                    return Err(ReadError::TooMany { what: "queries", limit: MAX_QUERIES });
                }
                out.queries.push(query(message, &mut matchers)?);
            }
            (wire::ACCEPTED_TYPES, Field::Varint(kind)) => out.accept(kind)?,
            // Numbers of a list may come packed into one field.
            (wire::ACCEPTED_TYPES, Field::Bytes(packed)) => {
                let mut packed = Reader::new(packed);
                while !packed.is_at_end() {
                    out.accept(packed.varint()?)?;
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

impl ReadRequest {
    fn accept(&mut self, kind: u64) -> Result<(), ReadError> {
        const MAX_TYPES: usize = 100;
        if self.accepted.len() >= MAX_TYPES {
            return Err(ReadError::TooMany { what: "response types", limit: MAX_TYPES });
        }
        self.accepted.push(kind);
        Ok(())
    }
}

fn query(message: &[u8], matchers: &mut usize) -> Result<ReadQuery, ReadError> {
    let range = TimeRange { start: TimestampMs(0), end: TimestampMs(0) };
    let mut out = ReadQuery { range, matchers: Vec::new(), step_ms: 0, window_ms: 0, labels_only: false };
    let mut hinted = None;
    let mut reader = Reader::new(message);
    while !reader.is_at_end() {
        match reader.field()? {
            (wire::START, Field::Varint(ms)) => out.range.start = TimestampMs(ms as i64),
            (wire::END, Field::Varint(ms)) => out.range.end = TimestampMs(ms as i64),
            (wire::MATCHERS, Field::Bytes(message)) => {
                *matchers += 1;
                if *matchers > MAX_MATCHERS {
                    return Err(ReadError::TooMany { what: "matchers", limit: MAX_MATCHERS });
                }
                out.matchers.push(matcher(message)?);
            }
            (wire::HINTS, Field::Bytes(message)) => hinted = Some(hints(message, &mut out)?),
            _ => {}
        }
    }
    // Hints may leave times out; they never ask for more than the query.
    if let Some(hinted) = hinted.filter(|hinted| (hinted.start.0, hinted.end.0) != (0, 0)) {
        out.range.start = out.range.start.max(hinted.start);
        out.range.end = out.range.end.min(hinted.end);
    }
    Ok(out)
}

fn hints(message: &[u8], query: &mut ReadQuery) -> Result<TimeRange, ReadError> {
    let mut range = TimeRange { start: TimestampMs(0), end: TimestampMs(0) };
    fields(message, |number, field| match (number, field) {
        (wire::HINT_STEP, Field::Varint(ms)) => query.step_ms = (ms as i64).max(0),
        (wire::HINT_RANGE, Field::Varint(ms)) => query.window_ms = (ms as i64).max(0),
        (wire::HINT_START, Field::Varint(ms)) => range.start = TimestampMs(ms as i64),
        (wire::HINT_END, Field::Varint(ms)) => range.end = TimestampMs(ms as i64),
        (wire::HINT_FUNCTION, Field::Bytes(name)) => query.labels_only = name == b"series",
        _ => {}
    })?;
    Ok(range)
}

fn matcher(message: &[u8]) -> Result<Matcher, ReadError> {
    let (mut kind, mut name, mut value): (u64, &[u8], &[u8]) = (0, b"", b"");
    fields(message, |number, field| match (number, field) {
        (wire::MATCHER_TYPE, Field::Varint(number)) => kind = number,
        (wire::MATCHER_NAME, Field::Bytes(bytes)) => name = bytes,
        (wire::MATCHER_VALUE, Field::Bytes(bytes)) => value = bytes,
        _ => {}
    })?;
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(ReadError::from(DecodeError::Protobuf("a matcher is not UTF-8".to_owned()))),
    };
    let (name, value) = (text(name)?, text(value)?);
    let op = match kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(ReadError::MatcherType { name, kind }),
    };
    Matcher::new(op, name.clone(), value).map_err(|error| ReadError::Matcher { name, error })
}
