//! One request: check its head, read its body, have it stored, answer for each sample.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::{Append, AppendError, Commit, Labels};
use parking_lot::RwLock;
use remote_write::DecodeLimits;
use runtime::{CpuPool, Metrics, MetricsError, PoolError};
use sources::{Arrival, Sources};
use tokio::sync::oneshot;

use crate::answer::Outcome;
use crate::body::{BodyBudget, BodyError, discard};
use crate::head::Head;
use crate::metrics::ReceiveMetrics;
use crate::rate::Rates;
use crate::shares::Shares;
use crate::store::{Stored, Writer};

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

    pub(crate) fn get(&self) -> Labels {
        self.0.read().clone()
    }
}

/// What senders may use.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverLimits {
    /// What a request may ask for.
    pub decode: DecodeLimits,
    /// Bytes of one body, compressed.
    pub max_body_bytes: usize,
    /// Bytes of all bodies under way, shared by the sources that send.
    pub max_bodies_bytes: usize,
    /// Samples a second of one source; none is no limit. More hear 429.
    pub max_samples_per_second: Option<u32>,
    /// What the sessions of all senders may remember, in bytes.
    pub max_session_bytes: usize,
}

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self {
            decode: DecodeLimits::default(),
            max_body_bytes: 32 << 20,
            max_bodies_bytes: 256 << 20,
            max_samples_per_second: None,
            max_session_bytes: 256 << 20,
        }
    }
}

/// What a receiver is made of.
pub struct ReceiverOptions {
    /// Where samples go.
    pub sink: Arc<dyn Append>,
    /// What is set on every series.
    pub stamp: Stamp,
    /// Where requests are decoded; its places are shared by the sources that send, and more hear 429.
    pub pool: CpuPool,
    /// What senders may use.
    pub limits: ReceiverLimits,
    /// Who is told of every request that was taken.
    pub sources: Arc<Sources>,
}

#[derive(Clone)]
struct Receiver {
    writer: Writer,
    pool: CpuPool,
    /// Requests that are being decoded or wait for that.
    places: Shares,
    budget: BodyBudget,
    max_body_bytes: usize,
    rates: Arc<Rates>,
    sources: Arc<Sources>,
    metrics: ReceiveMetrics,
}

/// `POST /api/v1/write`.
///
/// # Errors
/// When the receiver's metrics are registered already.
pub fn router(options: ReceiverOptions, metrics: &Metrics) -> Result<Router, MetricsError> {
    let ReceiverOptions { sink, stamp, pool, limits, sources } = options;
    let metrics = ReceiveMetrics::new(metrics)?;
    let receiver = Receiver {
        writer: Writer::new(sink, stamp, &limits, metrics.clone()),
        places: Shares::new(pool.places()),
        pool,
        budget: BodyBudget::new(limits.max_bodies_bytes),
        max_body_bytes: limits.max_body_bytes,
        rates: Arc::new(Rates::new(limits.max_samples_per_second)),
        sources,
        metrics,
    };
    let route = post(write).fallback(wrong_method);
    Ok(Router::new().route("/api/v1/write", route).with_state(receiver))
}

async fn wrong_method() -> Outcome {
    Outcome::refused(StatusCode::METHOD_NOT_ALLOWED, "samples are written with POST")
}

async fn write(State(receiver): State<Receiver>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let outcome = match receive(&receiver, &parts, &mut body).await {
        Ok(outcome) | Err(outcome) => outcome,
    };
    // Who waits for a word before it sends the body has heard it by now.
    if outcome.status.is_client_error() && !parts.headers.contains_key(header::EXPECT) {
        discard(body).await;
    }
    receiver.metrics.requests.with_label_values(&[outcome.status.as_str()]).inc();
    outcome.into_response()
}

async fn receive(receiver: &Receiver, parts: &Parts, body: &mut Body) -> Result<Outcome, Outcome> {
    let head = Head::read(parts)?;
    receiver.metrics.message(&head);
    let outcome = receive_body(receiver, &head, body).await;
    if let Err(Outcome { refused_for: Some(why), .. }) = &outcome {
        receiver.metrics.throttled(&head.source, why);
    }
    outcome
}

async fn receive_body(receiver: &Receiver, head: &Head, body: &mut Body) -> Result<Outcome, Outcome> {
    // A sender that has nothing to send is heard whatever it has sent before.
    if body.size_hint().exact() == Some(0) && head.is_ours() {
        return Ok(receiver.heartbeat(head));
    }
    let lane = head.report.lane.unwrap_or_default();
    if let Some(seconds) = receiver.rates.wait(&head.source, lane, Instant::now()) {
        let message = format!("{} sends more samples than it may; send this request again later", head.source);
        return Err(Outcome { retry_after: Some(seconds), ..Outcome::busy("rate", &message) });
    }
    let read = receiver.budget.read(body, receiver.max_body_bytes, &head.source).await;
    let body = read.map_err(|BodyError(status, message)| match status {
        StatusCode::TOO_MANY_REQUESTS => Outcome::busy("bodies", &message),
        status => Outcome::refused(status, message),
    })?;
    let bytes = body.bytes.len();
    if bytes == 0 && head.is_ours() {
        return Ok(receiver.heartbeat(head));
    }
    let started = Instant::now();
    receiver.metrics.bytes.inc_by(bytes as u64);
    if head.checksum.is_some_and(|told| told != remote_write::Checksum::of(&body.bytes)) {
        return Err(Outcome::damaged());
    }
    let mut place = receiver.places.open(&head.source);
    let too_many = || Outcome::busy("decoding", "too many requests are waiting; send this one again later");
    if !place.take(1) {
        return Err(too_many());
    }
    let (worker, kind, source) = (receiver.writer.clone(), head.kind, head.source.clone());
    let ran = receiver.pool.run(move || worker.store(kind, &source, &body.bytes)).await;
    let stored = ran.map_err(|error| match error {
        PoolError::Full => too_many(),
        PoolError::Panicked => Outcome::refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    })??;
    drop(place);
    receiver.rates.count(&head.source, stored.samples, Instant::now());
    receiver.durable(stored.commit).await?;
    receiver.observe(head, &stored, bytes);
    receiver.metrics.seconds.observe(started.elapsed().as_secs_f64());
    Ok(stored.outcome)
}

impl Receiver {
    /// Waits until what was stored is as durable as it was asked to be. No thread is held meanwhile.
    async fn durable(&self, commit: Commit) -> Result<(), Outcome> {
        if commit == Commit::default() {
            return Ok(());
        }
        let (done, told) = oneshot::channel();
        // Nobody listens where the client has hung up.
        self.writer.sink.when_durable(commit, Box::new(move |result| drop(done.send(result))));
        told.await.unwrap_or(Err(AppendError::Closed)).map_err(Outcome::unavailable)
    }

    fn heartbeat(&self, head: &Head) -> Outcome {
        self.observe(head, &Stored::default(), 0);
        Outcome { status: StatusCode::NO_CONTENT, ..Outcome::default() }
    }

    /// Tells who keeps account of senders of a request that was taken.
    fn observe(&self, head: &Head, stored: &Stored, bytes: usize) {
        self.sources.observe(&Arrival {
            address: head.address,
            report: &head.report,
            newest: stored.newest,
            samples: stored.samples as u64,
            bytes: bytes as u64,
            now: runtime::now(),
        });
        let (sessions, session_bytes, evicted) = self.writer.sessions.usage();
        self.metrics.sessions.set(sessions as i64);
        self.metrics.session_bytes.set(session_bytes as i64);
        self.metrics.evicted.inc_by(evicted.saturating_sub(self.metrics.evicted.get()));
    }
}
