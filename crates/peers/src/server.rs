//! What peers and people are told.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::TimestampMs;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::digest::Shards;
use crate::error::PeerError;
use crate::peer::Peer;
use crate::shared::{Plan, Shared};
use crate::survey::{Span, SurveyError};
use crate::wire::{
    DIGEST_PATH, Envelope, MAX_PARTS, MAX_SAMPLES, MAX_WINDOWS, SAMPLES_PATH, STATUS_PATH, ShardDigests, WindowDigest,
    WindowDigests,
};

/// Seconds after which a peer should come again when too many wait.
const RETRY_AFTER: u64 = 5;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(STATUS_PATH, get(status))
        .route(DIGEST_PATH, get(digest))
        .route(SAMPLES_PATH, get(samples))
        .with_state(shared)
}

/// A request that has no answer.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl Refusal {
    fn bad(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }
}

impl From<PeerError> for Refusal {
    fn from(error: PeerError) -> Self {
        let status = match error {
            PeerError::Pool(runtime::PoolError::Full) => StatusCode::SERVICE_UNAVAILABLE,
            PeerError::Survey(SurveyError::TooMany(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = match self.0 {
            StatusCode::BAD_REQUEST => "bad_data",
            StatusCode::UNPROCESSABLE_ENTITY => "execution",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "internal",
        };
        let body = Json(json!({"status": "error", "errorType": kind, "error": self.1}));
        let mut response = (self.0, body).into_response();
        if self.0 == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.into());
        }
        response
    }
}

fn success<T: Serialize>(data: T) -> Response {
    Json(Envelope { status: "success".to_owned(), data }).into_response()
}

/// The parameters of both endpoints, as they come.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameters {
    start: String,
    end: String,
    window: String,
    source: Option<String>,
    shards: Option<String>,
    shard: Option<String>,
}

impl Parameters {
    /// The span: whole windows, not too many of them.
    fn span(&self, plan: &Plan) -> Result<Span, Refusal> {
        let time = |name: &str, text: &str| {
            let seconds: Option<f64> = text.parse().ok().filter(|s: &f64| s.abs() < 1e12);
            let wrong = || Refusal::bad(format!("{name}: {text:?} is no time; give seconds since the epoch"));
            Ok::<i64, Refusal>(TimestampMs::from_seconds(seconds.ok_or_else(wrong)?).0)
        };
        let span = Span { start_ms: time("start", &self.start)?, end_ms: time("end", &self.end)? };
        let window_ms = plan.window_ms;
        if !self.window.is_empty() && time("window", &self.window)? != window_ms {
            return Err(Refusal::bad(format!(
                "windows of {window_ms} ms are compared here; set the same peers.window"
            )));
        }
        let is_aligned = span.start_ms.rem_euclid(window_ms) == 0 && span.end_ms.rem_euclid(window_ms) == 0;
        if !is_aligned || span.start_ms > span.end_ms {
            return Err(Refusal::bad(format!("start and end must be multiples of {window_ms} ms, in order")));
        }
        if span.end_ms - span.start_ms > window_ms.saturating_mul(MAX_WINDOWS) {
            return Err(Refusal::bad(format!("more than {MAX_WINDOWS} windows; ask for fewer at once")));
        }
        Ok(span)
    }

    /// One window, which is what shards are asked of.
    fn window(&self, plan: &Plan) -> Result<Span, Refusal> {
        let span = self.span(plan)?;
        if span.end_ms - span.start_ms != plan.window_ms {
            return Err(Refusal::bad("shards are those of one window; let start and end be its ends"));
        }
        Ok(span)
    }

    fn source(&self) -> Result<String, Refusal> {
        self.source.clone().ok_or_else(|| Refusal::bad("source is missing; an empty one is that of series without any"))
    }

    fn shards(&self) -> Result<Shards, Refusal> {
        let count = self.shards.as_ref().and_then(|text| text.parse().ok());
        count.and_then(Shards::new).ok_or_else(|| Refusal::bad("shards must be a power of two up to 4096"))
    }

    fn parts(&self, shards: Shards) -> Result<Vec<u16>, Refusal> {
        let texts: Vec<&str> = self.shard.as_deref().unwrap_or_default().split(',').take(MAX_PARTS + 1).collect();
        let parts: Option<Vec<u16>> = texts.iter().map(|text| text.parse().ok()).collect();
        let parts = parts.filter(|parts| parts.len() <= MAX_PARTS && parts.iter().all(|p| *p < shards.count()));
        parts.ok_or_else(|| Refusal::bad(format!("shard must list up to {MAX_PARTS} numbers below shards")))
    }
}

async fn digest(State(shared): State<Arc<Shared>>, Query(parameters): Query<Parameters>) -> Result<Response, Refusal> {
    let plan = shared.plan();
    if parameters.shards.is_some() {
        let (span, source, shards) = (parameters.window(&plan)?, parameters.source()?, parameters.shards()?);
        let read = shared.read(&plan, move |survey| survey.shards(&source, span, shards)).await?;
        let shards = read.map_err(PeerError::from)?;
        shared.metrics.digested.inc_by(shards.values().map(|digest| digest.samples).sum());
        return Ok(success(ShardDigests { shards }));
    }
    let span = parameters.span(&plan)?;
    let speaker = shared.speaker(&plan);
    let settled_ms = speaker.settled_until_ms.clamp(span.start_ms, span.end_ms);
    let settled = Span { end_ms: settled_ms - (settled_ms - span.start_ms) % plan.window_ms, ..span };
    let windows = shared.windows(&plan, settled).await?.into_iter().map(|(start_ms, by_source)| {
        let is_asked = |name: &str| parameters.source.as_ref().is_none_or(|source| source == name);
        let sources = by_source.iter().filter(|(name, _)| is_asked(name)).map(|(name, d)| (name.clone(), *d)).collect();
        WindowDigest { start_ms, sources }
    });
    let windows = windows.filter(|window| !window.sources.is_empty()).collect();
    Ok(success(WindowDigests { speaker, windows }))
}

async fn samples(State(shared): State<Arc<Shared>>, Query(parameters): Query<Parameters>) -> Result<Response, Refusal> {
    let plan = shared.plan();
    let (span, source, shards) = (parameters.window(&plan)?, parameters.source()?, parameters.shards()?);
    let parts = parameters.parts(shards)?;
    let read = move |survey: &crate::survey::Survey| {
        let rows = survey.samples(&source, span, shards, &parts, MAX_SAMPLES)?;
        Ok::<Vec<u8>, SurveyError>(remote_write::Encoder::default().encode(&rows, &[]))
    };
    let body = shared.read(&plan, read).await?.map_err(PeerError::from)?;
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(remote_write::CONTENT_TYPE));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(remote_write::CONTENT_ENCODING));
    Ok(response)
}

/// Milliseconds as RFC 3339, for people.
fn moment(at: TimestampMs) -> Option<String> {
    jiff::Timestamp::from_millisecond(at.0).ok().map(|at| at.to_string())
}

/// What is told about a peer.
#[derive(Serialize)]
struct Told {
    name: String,
    url: String,
    is_self: bool,
    reachable: bool,
    error: Option<String>,
    last_comparison: Option<String>,
    compared_until: Option<String>,
    windows_compared: usize,
    windows_differing: usize,
    differs_since: Option<String>,
    complete_since: Option<String>,
    samples_repaired: u64,
    conflicts: u64,
    refused: u64,
}

impl Told {
    fn of(peer: &Peer) -> Self {
        let status = peer.status.lock().clone();
        let mut url = peer.config.url.clone();
        // Fails for addresses that can hold no password.
        let _ = (url.set_username(""), url.set_password(None));
        Self {
            name: peer.config.name.clone(),
            url: url.to_string(),
            is_self: status.is_self,
            reachable: status.is_self || (status.error.is_none() && status.last_comparison.is_some()),
            error: status.error,
            last_comparison: status.last_comparison.and_then(moment),
            compared_until: status.compared_until.and_then(moment),
            windows_compared: status.windows_compared,
            windows_differing: status.windows_differing,
            differs_since: status.differs_since.and_then(moment),
            complete_since: status.complete_since.and_then(moment),
            samples_repaired: status.repaired,
            conflicts: status.conflicts,
            refused: status.refused,
        }
    }
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let plan = shared.plan();
    let peers: Vec<Told> = shared.peers.read().iter().map(|peer| Told::of(peer)).collect();
    success(json!({
        "window": model::format_duration(plan.config.window),
        "history": model::format_duration(plan.config.history),
        "settled_until": moment(TimestampMs(shared.compared(&plan).end_ms)),
        "peers": peers,
    }))
}
