//! One HTTP request to a target, and every way in which a scrape can fail.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use reqwest::{Method, Response, StatusCode, Url, Version};
use runtime::HttpClient;
use tokio::time::{Instant, timeout_at};

/// Only what there is a parser for.
const ACCEPTED: &str = "text/plain;version=0.0.4;q=1,*/*;q=0.1";
const SCRAPE_TIMEOUT_HEADER: &str = "X-Prometheus-Scrape-Timeout-Seconds";
/// A body is not trusted to be as long as it says before it arrives.
const MAX_INITIAL_BODY_BYTES: usize = 1 << 20;

/// Why a scrape failed; shown as a target's `lastError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScrapeError {
    #[error("Get {url:?}: context deadline exceeded")]
    NoAnswerInTime { url: String },
    #[error("context deadline exceeded while the body was read")]
    BodyNotInTime,
    #[error("Get {url:?}: {cause}")]
    Request { url: String, cause: String },
    #[error("server returned HTTP status {0}")]
    Status(String),
    #[error("received unsupported Content-Type {0:?}; let the target serve text/plain;version=0.0.4, as was asked for")]
    ContentType(String),
    #[error("body size limit exceeded: more than {0} bytes; raise body_size_limit or expose less")]
    BodySize(u64),
    #[error("reading the body: {0}")]
    Body(String),
    #[error("unexpected EOF: the target closed the connection within a line, or before any")]
    CutOff,
    #[error("{0}")]
    Parse(#[from] exposition::ParseError),
    #[error("missing metric name (__name__ label): {0}")]
    NoMetricName(String),
    #[error("sample limit exceeded: {samples} samples, sample_limit is {limit}")]
    SampleLimit { samples: u64, limit: u64 },
    #[error("{0}")]
    LabelLimit(String),
    #[error("target_limit exceeded (number of targets: {targets}, limit: {limit})")]
    TargetLimit { targets: u64, limit: u64 },
    #[error("internal error: {0}")]
    Internal(String),
}

impl ScrapeError {
    /// The value of a `reason` label.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoAnswerInTime { .. } | Self::BodyNotInTime => "timeout",
            Self::Request { .. } => "request",
            Self::Status(_) => "status",
            Self::ContentType(_) => "content_type",
            Self::BodySize(_) => "body_size_limit",
            Self::Body(_) | Self::CutOff => "body",
            Self::Parse(_) | Self::NoMetricName(_) => "parse",
            Self::SampleLimit { .. } => "sample_limit",
            Self::LabelLimit(_) => "label_limit",
            Self::TargetLimit { .. } => "target_limit",
            Self::Internal(_) => "internal",
        }
    }
}

/// What to fetch, and how long and large the answer may be.
pub(crate) struct Fetch<'a> {
    pub(crate) client: &'a HttpClient,
    pub(crate) url: &'a Url,
    /// As the user knows it; for messages.
    pub(crate) shown_url: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) compression: bool,
    /// Bounds the body both as it travels and decompressed.
    pub(crate) body_limit: u64,
    /// The size of the last body.
    pub(crate) expected_bytes: usize,
}

impl Fetch<'_> {
    /// Reads the whole body of a good answer.
    pub(crate) async fn run(&self) -> Result<Vec<u8>, ScrapeError> {
        let deadline = Instant::now() + self.timeout;
        let refused = |cause: String| ScrapeError::Request { url: self.shown_url.to_owned(), cause };
        let request = self
            .client
            .request(Method::GET, self.url.clone())
            .map_err(|e| refused(e.to_string()))?
            .header(ACCEPT, ACCEPTED)
            .header(ACCEPT_ENCODING, if self.compression { "gzip" } else { "identity" })
            .header(SCRAPE_TIMEOUT_HEADER, self.timeout.as_secs_f64().to_string());
        let response = match timeout_at(deadline, request.send()).await {
            Err(_) => return Err(ScrapeError::NoAnswerInTime { url: self.shown_url.to_owned() }),
            Ok(Err(error)) => return Err(refused(root_cause(&error))),
            Ok(Ok(response)) => response,
        };
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status(status_line(response.status())));
        }
        check_content_type(response.headers())?;
        timeout_at(deadline, self.read(response)).await.unwrap_or(Err(ScrapeError::BodyNotInTime))
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, ScrapeError> {
        let is_framed = is_framed(&response);
        let has_type = response.headers().contains_key(CONTENT_TYPE);
        let limit = usize::try_from(self.body_limit).unwrap_or(usize::MAX);
        let mut body = Vec::with_capacity(self.expected_bytes.min(MAX_INITIAL_BODY_BYTES));
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if chunk.len() > limit - body.len() => {
                    return Err(ScrapeError::BodySize(self.body_limit));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return Err(ScrapeError::Body(root_cause(&error))),
            }
        }
        // A page of nothing that was compressed, as /federate sends where nothing is selected, is told by its type from a
        // connection that ended with the head.
        let is_nothing = body.is_empty() && has_type;
        if !is_framed && !is_nothing && body.last() != Some(&b'\n') {
            return Err(ScrapeError::CutOff);
        }
        Ok(body)
    }
}

/// Whether the protocol says where the body ends. Where only the end of the connection does, a missing line feed is
/// the sole sign of a body that was cut off. (A decompressed body has lost its length here, but gzip has a trailer, so
/// asking for the line feed there is strict, not blind.)
fn is_framed(response: &Response) -> bool {
    let headers = response.headers();
    response.version() >= Version::HTTP_2
        || headers.contains_key(CONTENT_LENGTH)
        || headers.contains_key(TRANSFER_ENCODING)
}

fn status_line(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// Anything but the formats that are known to be others is read as text, as old exporters say nothing or nonsense.
fn check_content_type(headers: &HeaderMap) -> Result<(), ScrapeError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let media_type = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let is_other = media_type == "application/openmetrics-text"
        || media_type == "application/vnd.google.protobuf"
        || media_type == "application/x-protobuf"
        || media_type == "application/octet-stream";
    if is_other { Err(ScrapeError::ContentType(text.into_owned())) } else { Ok(()) }
}

/// The innermost error says what happened; the ones around it repeat the URL. Without the operating system's number.
fn root_cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown error".to_owned(),
    }
}
