//! One request: check its head, decode it, stamp it, store it, answer for each sample.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::{Append, AppendError, AppendReport, Commit, ExemplarRefusalReason, Labels};
use parking_lot::RwLock;
use remote_write::{DecodeLimits, EncodedExemplar, EncodedRequest, LabelDecoder};
use runtime::{CpuPool, Metrics, MetricsError, PoolError};
use tokio::sync::oneshot;

use crate::body::{BodyBudget, BodyError};
use crate::metrics::ReceiveMetrics;
use crate::refusals::Refusals;
use crate::scratches::Scratches;

/// Largest bodies that may be held at once.
const BODIES_AT_ONCE: usize = 8;
/// Exemplars that are read before they are stored.
const EXEMPLARS_AT_ONCE: usize = 256;
/// Seconds after which a sender should come again when too much is under way, and when the store cannot write: disks
/// take longer to recover.
const RETRY_WHEN_BUSY: u64 = 1;
const RETRY_WHEN_UNAVAILABLE: u64 = 5;

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
    scratches: Scratches,
    metrics: ReceiveMetrics,
}

/// `POST /api/v1/write`.
///
/// # Errors
/// When the receiver's metrics are registered already.
pub fn router(options: ReceiverOptions, metrics: &Metrics) -> Result<Router, MetricsError> {
    let ReceiverOptions { sink, stamp, pool, limits } = options;
    let budget = BodyBudget::new(limits.max_decoded_bytes.saturating_mul(BODIES_AT_ONCE));
    let (scratches, metrics) = (Scratches::default(), ReceiveMetrics::new(metrics)?);
    let receiver = Receiver { sink, stamp, pool, limits, budget, scratches, metrics };
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
    exemplars: usize,
    message: String,
}

impl Outcome {
    fn refused(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, written: 0, exemplars: 0, message: message.into() }
    }

    /// The store takes nothing at the moment: senders keep their samples and come again.
    fn unavailable(error: AppendError) -> Self {
        Self::refused(StatusCode::SERVICE_UNAVAILABLE, format!("{error}; send this request again later"))
    }
}

/// A request that the store has taken, as far as it could.
struct Stored {
    outcome: Outcome,
    /// What must be durable before the sender hears of it.
    commit: Commit,
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
        set("x-prometheus-remote-write-exemplars-written", self.exemplars);
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => headers.insert(header::RETRY_AFTER, RETRY_WHEN_BUSY.into()),
            StatusCode::SERVICE_UNAVAILABLE => headers.insert(header::RETRY_AFTER, RETRY_WHEN_UNAVAILABLE.into()),
            _ => None,
        };
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
    let Stored { outcome, commit } = pool.run(move || worker.store(&body.bytes)).await.map_err(|e| match e {
        PoolError::Full => {
            Outcome::refused(StatusCode::TOO_MANY_REQUESTS, "too many requests are waiting; send this one again later")
        }
        PoolError::Panicked => Outcome::refused(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()),
    })??;
    receiver.durable(commit).await?;
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
    /// Runs on the pool.
    fn store(&self, body: &[u8]) -> Result<Stored, Outcome> {
        let decoder = LabelDecoder::new(self.limits, self.stamp.get());
        let mut scratch = self.scratches.take();
        let request = remote_write::decode_rows(body, &self.limits, &mut scratch)
            .map_err(|error| Outcome::refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        let report = self.sink.append_encoded(&request.batch(&decoder)).map_err(Outcome::unavailable)?;
        let exemplars = self.keep_exemplars(&request.exemplars, &decoder).map_err(Outcome::unavailable)?;
        let outcome = Outcome { exemplars, ..self.outcome(&request, &decoder, &report) };
        Ok(Stored { commit: report.commit, outcome })
    }

    /// Stores exemplars, behind the samples that they belong to. Returns how many are stored; what is not is counted and
    /// fails nothing, as in Prometheus.
    fn keep_exemplars(&self, encoded: &[EncodedExemplar<'_>], decoder: &LabelDecoder) -> Result<usize, AppendError> {
        let refused = |reason: ExemplarRefusalReason, count: usize| {
            self.metrics.exemplars_refused.with_label_values(&[reason.as_str()]).inc_by(count as u64);
        };
        let mut kept = 0;
        for some in encoded.chunks(EXEMPLARS_AT_ONCE) {
            let (rows, invalid) = remote_write::decode_exemplars(some, decoder);
            let report = self.sink.append_exemplars(&rows)?;
            kept += report.appended + report.duplicates;
            self.metrics.exemplars.inc_by(report.appended as u64);
            refused(ExemplarRefusalReason::InvalidLabels, invalid);
            report.refused.iter().for_each(|refusal| refused(refusal.reason, 1));
        }
        Ok(kept)
    }

    /// Waits until what was stored is as durable as it was asked to be. No thread is held meanwhile.
    async fn durable(&self, commit: Commit) -> Result<(), Outcome> {
        if commit == Commit::default() {
            return Ok(());
        }
        let (done, told) = oneshot::channel();
        // Nobody listens where the client has hung up.
        self.sink.when_durable(commit, Box::new(move |result| drop(done.send(result))));
        told.await.unwrap_or(Err(AppendError::Closed)).map_err(Outcome::unavailable)
    }

    fn outcome(&self, request: &EncodedRequest<'_>, decoder: &LabelDecoder, report: &AppendReport) -> Outcome {
        self.metrics.appended.inc_by(report.appended as u64);
        self.metrics.duplicates.inc_by(report.duplicates as u64);
        if request.histograms > 0 {
            self.metrics.unsupported.with_label_values(&["histogram"]).inc_by(request.histograms as u64);
        }
        let refusals = Refusals::of(report, &request.rows, decoder);
        for (reason, count) in refusals.counts() {
            self.metrics.refused.with_label_values(&[reason.as_str()]).inc_by(count as u64);
        }
        let written = report.appended + report.duplicates;
        let mut message = refusals.to_string();
        if request.histograms > 0 {
            let _ =
                write!(message, "{} native histograms were not stored: they are not supported yet", request.histograms);
        }
        if message.is_empty() {
            return Outcome { status: StatusCode::NO_CONTENT, written, exemplars: 0, message };
        }
        tracing::debug!(written, problem = %message.replace('\n', "; "), "a remote-write request was stored in part");
        Outcome { status: StatusCode::BAD_REQUEST, written, exemplars: 0, message }
    }
}
