//! Request bodies: read in bounded time, into memory that all requests together may use up to a budget.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use sources::SourceName;

use crate::shares::{Share, Shares};

/// Bytes that are set aside for a body that claims to be as large; a larger one grows as it arrives.
const SET_ASIDE: usize = 256 << 10;
/// How long a client may take to send a body; senders give up after 30s by default.
const READ_WITHIN: Duration = Duration::from_secs(60);
/// How long it may send nothing: connections that idle in the middle of a body must not keep others out.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// Of a body that is refused: bytes that are read and thrown away, and how long that may take.
const DISCARD: usize = 64 << 20;
const DISCARD_WITHIN: Duration = Duration::from_secs(5);

/// What all bodies together may take, in bytes.
#[derive(Clone)]
pub(crate) struct BodyBudget {
    bytes: Shares,
    within: Duration,
    idle: Duration,
}

/// A whole body, and its part of the budget.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _share: Share,
}

/// A body that was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BodyError(pub(crate) StatusCode, pub(crate) String);

impl BodyBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes: Shares::new(bytes), within: READ_WITHIN, idle: IDLE_FOR }
    }

    /// Reads a body of at most `limit` bytes.
    pub(crate) async fn read(&self, body: &mut Body, limit: usize, source: &SourceName) -> Result<Held, BodyError> {
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let whole = tokio::time::timeout(self.within, self.read_all(body, limit, source)).await;
        whole.unwrap_or_else(|_| Err(too_slow(self.within)))
    }

    async fn read_all(&self, body: &mut Body, limit: usize, source: &SourceName) -> Result<Held, BodyError> {
        // Copied, since many small chunks would each keep a buffer of their own alive.
        let claimed = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut whole = BytesMut::with_capacity(claimed.min(SET_ASIDE));
        let mut share = self.bytes.open(source);
        while let Some(frame) = tokio::time::timeout(self.idle, body.frame()).await.map_err(|_| too_slow(self.idle))? {
            // Nobody hears this answer: the connection is broken.
            let frame =
                frame.map_err(|e| BodyError(StatusCode::BAD_REQUEST, format!("cannot read the request: {e}")))?;
            let Ok(chunk) = frame.into_data() else { continue };
            if whole.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            if !share.take(chunk.len()) {
                let text = "too much is being received at once; send this request again later";
                return Err(BodyError(StatusCode::TOO_MANY_REQUESTS, text.to_owned()));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(Held { bytes: whole.freeze(), _share: share })
    }
}

/// Reads what is left of a body that nobody wants. A connection that is closed while its client still writes is reset, and
/// the client hears that instead of why.
pub(crate) async fn discard(mut body: Body) {
    let all = async {
        let mut left = DISCARD;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    };
    // Who is slower than that hears what it hears.
    let _ = tokio::time::timeout(DISCARD_WITHIN, all).await;
}

fn too_large(limit: usize) -> BodyError {
    let text = format!("the request is larger than the {limit} bytes allowed; send smaller requests");
    BodyError(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// Not 408: senders never repeat what was answered with a 4xx other than 429, and these samples are good.
fn too_slow(within: Duration) -> BodyError {
    let text = format!("nothing of the body arrived for {} seconds; send the request again", within.as_secs());
    BodyError(StatusCode::SERVICE_UNAVAILABLE, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use http_body_util::Full;

    async fn read(budget: &BodyBudget, body: impl Into<Body>, limit: usize) -> Result<Held, BodyError> {
        budget.read(&mut body.into(), limit, &SourceName::new("edge", "a", "")).await
    }

    #[tokio::test]
    async fn bodies_share_a_budget_and_give_it_back() {
        let budget = BodyBudget::new(10);
        let first = read(&budget, Body::from("12345678"), 9).await.expect("fits");
        assert_eq!(first.bytes, "12345678");
        let second = read(&budget, Body::from("123"), 9).await.expect_err("is too much at once");
        assert_eq!(second.0, StatusCode::TOO_MANY_REQUESTS);
        drop(first);
        assert_eq!(read(&budget, Body::from("123"), 9).await.expect("fits now").bytes, "123");
        let large = read(&budget, Body::from("1234567890"), 9).await.expect_err("is too large");
        assert_eq!(large.0, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(read(&budget, Body::empty(), 9).await.expect("is a body").bytes, "");
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let soon = Duration::from_millis(10);
        for budget in
            [BodyBudget { within: soon, ..BodyBudget::new(10) }, BodyBudget { idle: soon, ..BodyBudget::new(10) }]
        {
            let end = std::future::pending::<Option<Result<HeaderMap, std::convert::Infallible>>>();
            let endless = Body::new(Full::new(Bytes::from("1")).with_trailers(end));
            let error = read(&budget, endless, 9).await.expect_err("does not end");
            assert_eq!(error.0, StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
