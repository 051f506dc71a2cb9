//! What a sender hears.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::AppendError;

use crate::head::SESSION_HEADER;

/// Seconds after which a sender should come again when too much is under way, and when the store cannot write: disks
/// take longer to recover.
const RETRY_WHEN_BUSY: u64 = 1;
const RETRY_WHEN_UNAVAILABLE: u64 = 5;

/// The answer to a request.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) status: StatusCode,
    pub(crate) written: Written,
    pub(crate) message: String,
    /// Seconds, where it is known better than by the status.
    pub(crate) retry_after: Option<u64>,
    /// What was short, when others come first.
    pub(crate) refused_for: Option<&'static str>,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) samples: usize,
    pub(crate) histograms: usize,
    pub(crate) exemplars: usize,
}

impl Outcome {
    pub(crate) fn refused(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), ..Self::default() }
    }

    /// The sender should come again; others come first.
    pub(crate) fn busy(why: &'static str, message: &str) -> Self {
        Self { refused_for: Some(why), ..Self::refused(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// The store takes nothing at the moment: senders keep their samples and come again.
    pub(crate) fn unavailable(error: AppendError) -> Self {
        Self::refused(StatusCode::SERVICE_UNAVAILABLE, format!("{error}; send this request again later"))
    }

    /// What arrived is not what was sent; what was may be fine.
    pub(crate) fn damaged() -> Self {
        let message = "the body does not have the checksum of its head: it was damaged on the way; send it again";
        Self { retry_after: Some(0), ..Self::refused(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// A session, or a number in it, that is not known here (any more).
    pub(crate) fn unknown_session() -> Self {
        let message = "this session, or a number in it, is not known here; begin a new one and announce all series";
        Self::refused(StatusCode::CONFLICT, message)
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let Self { status, written, mut message, retry_after, .. } = self;
        if !message.is_empty() {
            message.truncate(message.trim_end().len());
            message.push('\n');
        }
        let mut response = (status, message).into_response();
        let headers = response.headers_mut();
        let mut number = |name: &'static str, value: usize| headers.insert(name, value.into());
        number("x-prometheus-remote-write-samples-written", written.samples);
        number("x-prometheus-remote-write-histograms-written", written.histograms);
        number("x-prometheus-remote-write-exemplars-written", written.exemplars);
        let otherwise = match status {
            StatusCode::TOO_MANY_REQUESTS => Some(RETRY_WHEN_BUSY),
            StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_WHEN_UNAVAILABLE),
            _ => None,
        };
        if let Some(seconds) = retry_after.or(otherwise) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        if status == StatusCode::CONFLICT {
            headers.insert(SESSION_HEADER, HeaderValue::from_static("unknown"));
        }
        abilities(headers);
        response
    }
}

/// What a sender of ours may use from now on.
fn abilities(headers: &mut HeaderMap) {
    for (name, value) in [
        (sources::VERSION_HEADER, env!("CARGO_PKG_VERSION")),
        ("highwater-accept", "zstd, columns"),
        ("highwater-lanes", "1"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}
