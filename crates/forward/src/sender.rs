//! One request, and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use model::{ExemplarRow, MetricMetadata, Row};
use remote_write::Encoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use runtime::HttpClient;

use crate::config_section::RemoteWriteConfig;

/// Bytes of an error answer that are read and logged.
const MAX_ANSWER_BYTES: usize = 1024;

/// How many samples of a request a receiver has stored. Remote write 2.0 defines it; ours says it always.
const SAMPLES_WRITTEN: &str = "x-prometheus-remote-write-samples-written";

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The destination has every sample. Carries the compressed size.
    Accepted(usize),
    /// The destination will never take all of these samples. Carries its words, and how many it says it has stored.
    Refused(String, usize),
    /// Worth another try, not before this pause where the destination named one.
    Failed(String, Option<Duration>),
}

pub(crate) struct Sender {
    config: RemoteWriteConfig,
    client: HttpClient,
    encoder: Encoder,
}

impl Sender {
    pub(crate) fn new(config: RemoteWriteConfig, client: HttpClient) -> Self {
        Self { config, client, encoder: Encoder::default() }
    }

    /// The body of a request; encoded once, however often it is sent.
    pub(crate) fn encode(&mut self, rows: &[Row], exemplars: &[ExemplarRow], metadata: &[MetricMetadata]) -> Bytes {
        self.encoder.encode_with_exemplars(rows, exemplars, metadata).into()
    }

    pub(crate) async fn send(&self, body: &Bytes) -> Sent {
        let request = match self.client.request(Method::POST, self.config.url.clone()) {
            Ok(request) => request,
            Err(error) => return Sent::Failed(error.to_string(), None),
        };
        let answer = request
            .header(CONTENT_TYPE, remote_write::CONTENT_TYPE)
            .header(CONTENT_ENCODING, remote_write::CONTENT_ENCODING)
            .header(remote_write::VERSION_HEADER, remote_write::VERSION)
            .timeout(self.config.timeout)
            .body(body.clone())
            .send()
            .await;
        match answer {
            Ok(answer) if answer.status().is_success() => Sent::Accepted(body.len()),
            Ok(answer) => classify(answer).await,
            Err(error) => Sent::Failed(causes(&error), None),
        }
    }
}

/// The specification's rule: 5xx and 429 are tried again, every other status never.
async fn classify(mut answer: reqwest::Response) -> Sent {
    let status = answer.status();
    let number = |name: &str| answer.headers().get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let pause = number(RETRY_AFTER.as_str()).map(Duration::from_secs);
    let written = number(SAMPLES_WRITTEN).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER_BYTES - text.len())]);
        if text.len() >= MAX_ANSWER_BYTES {
            break;
        }
    }
    let reason = format!("{status}: {}", String::from_utf8_lossy(&text).trim());
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Sent::Failed(reason, pause)
    } else {
        Sent::Refused(reason, written)
    }
}

/// An error with what caused it: reqwest keeps "connection refused" three levels down.
fn causes(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !out.contains(&text) {
            out = format!("{out}: {text}");
        }
        source = cause.source();
    }
    out
}
