//! The way to one receiver: requests out, answers in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Method, Url};
use runtime::HttpClient;

use crate::answer::{Answer, causes};
use crate::metrics::DestinationMetrics;
use crate::negotiation::Negotiation;
use crate::slot::Body;

/// Refusals are logged at most this often, and likewise failures.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// What all requests to one address share.
pub(crate) struct Line {
    pub(crate) destination: String,
    pub(crate) url: Url,
    pub(crate) client: HttpClient,
    pub(crate) timeout: Duration,
    pub(crate) negotiation: Mutex<Negotiation>,
    pub(crate) metrics: DestinationMetrics,
    pub(crate) refusals: LogLimit,
}

/// An answer, and how long it took.
pub(crate) type Answered = (Answer, Duration);

impl Line {
    /// Sends one request.
    ///
    /// # Errors
    /// What went wrong before there was an answer.
    pub(crate) async fn send(&self, body: &Body, report: &[(&'static str, String)]) -> Result<Answered, String> {
        let started = Instant::now();
        let request = self.client.request(Method::POST, self.url.clone()).map_err(|e| e.to_string())?;
        let mut request = request.header(CONTENT_TYPE, body.content_type()).timeout(self.timeout);
        if let Some(encoding) = body.content_encoding() {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        if let Some(version) = body.version() {
            request = request.header(remote_write::VERSION_HEADER, version);
        }
        request = request.header(remote_write::CHECKSUM_HEADER, remote_write::Checksum::of(&body.bytes).to_string());
        if let Some(session) = &body.session {
            request = request.header("highwater-session", session);
        }
        for (name, value) in report {
            request = request.header(*name, value);
        }
        let response = request.body(body.bytes.clone()).send().await.map_err(|e| causes(&e))?;
        let answer = Answer::read(response).await;
        let took = started.elapsed();
        self.metrics.seconds.observe(took.as_secs_f64());
        self.metrics.request(body.form, answer.status.as_u16());
        self.negotiation.lock().learn(&answer);
        Ok((answer, took))
    }
}

/// Keeps lines of one kind from filling the log.
#[derive(Clone, Default)]
pub(crate) struct LogLimit(Arc<Mutex<Option<Instant>>>);

impl LogLimit {
    /// Whether the last line is long enough ago; notes the new one.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
