//! The queue and the sender of one alert router.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Url};
use runtime::{HttpClient, Stop};
use tokio::sync::Notify;

use crate::metrics::EndpointMetrics;
use crate::wire::{self, WireAlert};

/// Alerts that may wait for one router; beyond that the oldest go.
pub(crate) const CAPACITY: usize = 10_000;
/// Alerts in one request.
pub(crate) const BATCH: usize = 64;
/// How long a queue is drained when the process stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How much of a router's refusal is shown.
const MAX_SHOWN_BYTES: usize = 300;

/// One alert router.
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    timeout: Duration,
    client: HttpClient,
    metrics: EndpointMetrics,
    waiting: Mutex<VecDeque<WireAlert>>,
    wake: Notify,
    removed: AtomicBool,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error(transparent)]
    Client(#[from] runtime::HttpClientError),
    #[error("{}", with_causes(.0))]
    Transport(#[from] reqwest::Error),
    #[error("it answered {status}: {answer}")]
    Refused { status: u16, answer: String },
}

/// reqwest tells the cause only to who asks.
fn with_causes(error: &reqwest::Error) -> String {
    let mut out = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        out = format!("{out}: {inner}");
        cause = inner.source();
    }
    out
}

impl Endpoint {
    pub(crate) fn new(url: Url, timeout: Duration, client: HttpClient, metrics: EndpointMetrics) -> Self {
        Self {
            url,
            timeout,
            client,
            metrics,
            waiting: Mutex::default(),
            wake: Notify::new(),
            removed: AtomicBool::new(false),
        }
    }

    /// Adds alerts to the queue; the oldest make room.
    pub(crate) fn push(&self, alerts: impl IntoIterator<Item = WireAlert>) {
        let mut waiting = self.waiting.lock();
        waiting.extend(alerts);
        let surplus = waiting.len().saturating_sub(CAPACITY);
        if surplus > 0 {
            waiting.drain(..surplus);
            self.metrics.dropped.inc_by(surplus as u64);
            tracing::warn!(alertmanager = %self.url, dropped = surplus, "too many alerts wait; the oldest were dropped");
        }
        self.metrics.queue_length.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Ends the sender; what waits is dropped.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn take_batch(&self) -> Vec<WireAlert> {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(BATCH);
        let batch = waiting.drain(..count).collect();
        self.metrics.queue_length.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        batch
    }

    /// Sends until asked to stop, then drains the queue for as long as that may take.
    pub(crate) async fn run(&self, stop: Stop) {
        let give_up = async {
            stop.requested().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::pin!(give_up);
        while !self.removed.load(Ordering::Acquire) {
            let batch = self.take_batch();
            if !batch.is_empty() {
                if !self.send(&batch, give_up.as_mut()).await {
                    break;
                }
            } else if stop.is_requested() {
                return;
            } else {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = stop.requested() => {}
                }
            }
        }
        let left = std::mem::take(&mut *self.waiting.lock()).len();
        self.metrics.dropped.inc_by(left as u64);
        if left > 0 {
            tracing::warn!(alertmanager = %self.url, dropped = left, "alerts that were waiting are not sent any more");
        }
    }

    /// False when `give_up` came first.
    async fn send(&self, batch: &[WireAlert], give_up: impl Future<Output = ()>) -> bool {
        let started = Instant::now();
        let failure = tokio::select! {
            result = self.post(batch) => result.err().map(|e| (e.to_string(), true)),
            () = give_up => Some(("the process stops".to_owned(), false)),
        };
        self.metrics.latency.observe(started.elapsed().as_secs_f64());
        let count = batch.len() as u64;
        self.metrics.sent.inc_by(count);
        let Some((error, go_on)) = failure else { return true };
        self.metrics.errors.inc_by(count);
        self.metrics.dropped.inc_by(count);
        tracing::error!(alertmanager = %self.url, alerts = count, error,
            "cannot send alerts; check the alert router (their rules send them again)");
        go_on
    }

    async fn post(&self, batch: &[WireAlert]) -> Result<(), PostError> {
        let request = self
            .client
            .request(Method::POST, self.url.clone())?
            .timeout(self.timeout)
            .header(CONTENT_TYPE, "application/json")
            .body(wire::body(batch));
        let mut response = request.send().await?;
        if response.status().is_success() {
            return Ok(());
        }
        let status = response.status().as_u16();
        let first = response.chunk().await?.unwrap_or_default();
        let shown = &first[..first.len().min(MAX_SHOWN_BYTES)];
        Err(PostError::Refused { status, answer: String::from_utf8_lossy(shown).trim().to_owned() })
    }
}
