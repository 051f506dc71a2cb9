//! One request: check its head, decode it, stamp it, store it, answer for each sample.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::{Append, Labels, RefusalReason};
use parking_lot::RwLock;
use remote_write::{DecodeLimits, Decoded};
use runtime::{CpuPool, Metrics, MetricsError, PoolError};

use crate::body::{BodyBudget, BodyError};
use crate::metrics::ReceiveMetrics;

/// Largest bodies that may be held at once.
const BODIES_AT_ONCE: usize = 8;
/// Offenders named in one answer.
const MAX_NAMED: usize = 3;

/// Labels set on every received series, over what the sender claims: a cascade's `region`. Shared, so that a reload
/// can change them.
#[derive(Clone, Default)]
pub struct Stamp(Arc<RwLock<Labels>>);

impl Stamp {
    /// A stamp.
    pub fn new(labels: Labels) -> Self {
        Self(Arc::new(RwLock::new(labels)))
    }

    /// Changes it from the next request on.
    pub fn set(&self, labels: Labels) {
        *self.0.write() = labels;
    }

    fn get(&self) -> Labels {
        self.0.read().clone()
    }
}

/// What a receiver is made of.
pub struct ReceiverOptions {
    /// Where samples go.
    pub sink: Arc<dyn Append>,
    /// What is set on every series.
    pub stamp: Stamp,
    /// Where requests are decoded; when it is full, senders hear 429.
    pub pool: CpuPool,
    /// What a request may ask for.
    pub limits: DecodeLimits,
}

#[derive(Clone)]
struct Receiver {
    sink: Arc<dyn Append>,
    stamp: Stamp,
    pool: CpuPool,
    limits: DecodeLimits,
    budget: BodyBudget,
    metrics: ReceiveMetrics,
}

/// `POST /api/v1/write`.
///
/// # Errors
/// When the receiver's metrics are registered already.
pub fn router(options: ReceiverOptions, metrics: &Metrics) -> Result<Router, MetricsError> {
    let ReceiverOptions { sink, stamp, pool, limits } = options;
    let budget = BodyBudget::new(limits.max_decoded_bytes.saturating_mul(BODIES_AT_ONCE));
    let receiver = Receiver { sink, stamp, pool, limits, budget, metrics: ReceiveMetrics::new(metrics)? };
    Ok(Router::new().route("/api/v1/write", post(write)).with_state(receiver))
}

async fn write(State(receiver): State<Receiver>, request: Request) -> Response {
    let outcome = match receive(&receiver, request).await {
        Ok(outcome) | Err(outcome) => outcome,
    };
    receiver.metrics.requests.with_label_values(&[outcome.status.as_str()]).inc();
    outcome.into_response()
}

/// The answer to a request.
#[derive(Debug)]
struct Outcome {
    status: StatusCode,
    written: usize,
    message: String,
}

impl Outcome {
    fn refused(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, written: 0, message: message.into() }
    }
}

impl IntoResponse for Outcome {
    fn into_response(self) -> Response {
        let mut message = self.message;
        if !message.is_empty() {
            message.truncate(message.trim_end().len());
            message.push('\n');
        }
        let mut response = (self.status, message).into_response();
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: usize| headers.insert(name, value.into());
        set("x-prometheus-remote-write-samples-written", self.written);
        set("x-prometheus-remote-write-histograms-written", 0);
        set("x-prometheus-remote-write-exemplars-written", 0);
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            set("retry-after", 1);
        }
        response
    }
}

async fn receive(receiver: &Receiver, request: Request) -> Result<Outcome, Outcome> {
    check_head(request.headers())?;
    let limit = receiver.limits.max_decoded_bytes;
    let read = receiver.budget.read(request.into_body(), limit).await;
    let body = read.map_err(|BodyError(status, message)| Outcome::refused(status, message))?;
    let started = Instant::now();
    receiver.metrics.bytes.inc_by(body.bytes.len() as u64);
    let (pool, worker) = (receiver.pool.clone(), receiver.clone());
    let outcome = pool.run(move || worker.store(&body.bytes)).await.map_err(|e| match e {
        PoolError::Full => {
            Outcome::refused(StatusCode::TOO_MANY_REQUESTS, "too many requests are waiting; send this one again later")
        }
        PoolError::Panicked => Outcome::refused(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()),
    })?;
    receiver.metrics.seconds.observe(started.elapsed().as_secs_f64());
    Ok(outcome)
}

/// The specification's rule: an encoding or message that we do not speak is 415, so that the sender can fall back.
fn check_head(headers: &HeaderMap) -> Result<(), Outcome> {
    let unsupported = |message: String| Err(Outcome::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?").trim());
    if let Some(encoding) = text(header::CONTENT_ENCODING).filter(|e| !e.eq_ignore_ascii_case("snappy")) {
        return unsupported(format!("content encoding {encoding:?} is not supported; send snappy"));
    }
    let Some(content_type) = text(header::CONTENT_TYPE) else { return Ok(()) };
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    if !media.eq_ignore_ascii_case(remote_write::CONTENT_TYPE) {
        return unsupported(format!("content type {media:?} is not supported; send {}", remote_write::CONTENT_TYPE));
    }
    match parts.find_map(|p| p.strip_prefix("proto=")) {
        None | Some("prometheus.WriteRequest") => Ok(()),
        Some(other) => {
            unsupported(format!("message {other:?} is not supported yet; send prometheus.WriteRequest (1.0)"))
        }
    }
}

impl Receiver {
    fn store(&self, body: &[u8]) -> Outcome {
        let mut decoded = match remote_write::decode(body, &self.limits) {
            Ok(decoded) => decoded,
            Err(error) => return Outcome::refused(StatusCode::BAD_REQUEST, error.to_string()),
        };
        let stamp = self.stamp.get();
        if !stamp.is_empty() {
            // Rows of one series follow one another and share their labels.
            let mut last: Option<(Labels, Labels)> = None;
            for row in &mut decoded.batch.rows {
                let stamped = match &last {
                    Some((from, to)) if *from == row.labels => to.clone(),
                    _ => row.labels.with_overrides(&stamp),
                };
                let before = std::mem::replace(&mut row.labels, stamped.clone());
                last = Some((before, stamped));
            }
        }
        let report = self.sink.append(&decoded.batch);
        self.metrics.appended.inc_by(report.appended as u64);
        self.metrics.duplicates.inc_by(report.duplicates as u64);
        let mut refusals = Refusals::default();
        for refusal in &report.refused {
            let named =
                decoded.batch.rows.get(refusal.row).map(|row| format!("{} at {} ms", row.labels, row.sample.timestamp));
            refusals.add(refusal.reason, 1, || format!("{}: {}", refusal.reason, named.unwrap_or_default()));
        }
        for invalid in &decoded.invalid {
            refusals.add(RefusalReason::InvalidLabels, invalid.samples.max(1), || invalid.reason.clone());
        }
        for (reason, count) in &refusals.counts {
            self.metrics.refused.with_label_values(&[reason.as_str()]).inc_by(*count as u64);
        }
        let written = report.appended + report.duplicates;
        self.answer(&decoded, &refusals, written)
    }

    fn answer(&self, decoded: &Decoded, refusals: &Refusals, written: usize) -> Outcome {
        for (kind, count) in [("histogram", decoded.histograms), ("exemplar", decoded.exemplars)] {
            if count > 0 {
                self.metrics.unsupported.with_label_values(&[kind]).inc_by(count as u64);
            }
        }
        let mut message = refusals.message();
        if decoded.histograms > 0 {
            let _ =
                write!(message, "{} native histograms were not stored: they are not supported yet", decoded.histograms);
        }
        if message.is_empty() {
            return Outcome { status: StatusCode::NO_CONTENT, written, message };
        }
        tracing::debug!(written, problem = %message.replace('\n', "; "), "a remote-write request was stored in part");
        Outcome { status: StatusCode::BAD_REQUEST, written, message }
    }
}

/// What was not stored: counts by reason, and the first offenders by name.
#[derive(Default)]
struct Refusals {
    counts: BTreeMap<RefusalReason, usize>,
    named: Vec<String>,
}

impl Refusals {
    fn add(&mut self, reason: RefusalReason, samples: usize, describe: impl FnOnce() -> String) {
        *self.counts.entry(reason).or_default() += samples;
        if self.named.len() < MAX_NAMED {
            self.named.push(describe());
        }
    }

    fn message(&self) -> String {
        let total: usize = self.counts.values().sum();
        if total == 0 {
            return String::new();
        }
        let counts: Vec<String> = self.counts.iter().map(|(reason, n)| format!("{}={n}", reason.as_str())).collect();
        format!(
            "{total} {} not stored ({}), every other sample was; for example:\n{}\n",
            if total == 1 { "sample was" } else { "samples were" },
            counts.join(", "),
            self.named.join("\n")
        )
    }
}
