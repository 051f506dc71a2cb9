//! One HTTP request with a deadline, and an answer of limited size.

use std::time::Duration;

use config::{Mapping, Node};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use runtime::{HttpClient, HttpClientConfig};

use crate::SendError;

/// How long an attempt may take unless `timeout` says otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read of an answer; services say what they have to say in less.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How much of an answer is shown in an error.
const SHOWN_CHARS: usize = 200;

/// A client and its deadline, as `http_config` and `timeout` of an integration say.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    client: HttpClient,
    timeout: Duration,
}

/// What a server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    retry_after: Option<Duration>,
}

/// Decodes an `http_config` section.
pub(crate) fn decode_config(node: &Node<'_>) -> Option<HttpClientConfig> {
    let fields = node.mapping()?;
    let config = HttpClientConfig::decode(&fields);
    fields.finish();
    Some(config)
}

impl Client {
    /// Asks a section for `http_config` and `timeout`; what is not given comes from `defaults`.
    pub(crate) fn decode(fields: &Mapping<'_>, defaults: &HttpClientConfig) -> Option<Self> {
        let own = fields.get("http_config").and_then(|node| decode_config(&node));
        let timeout = fields.positive_duration("timeout").unwrap_or(DEFAULT_TIMEOUT);
        match own.as_ref().unwrap_or(defaults).build() {
            Ok(client) => Some(Self { client, timeout }),
            Err(error) => {
                fields.node().problem(error);
                None
            }
        }
    }

    /// Sends a POST that `complete` has filled and reads the answer, whatever its status.
    pub(crate) async fn post(
        &self,
        url: Url,
        complete: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer, SendError> {
        // Only a credentials file that cannot be read fails here; it may be mounted late.
        let request = self.client.request(Method::POST, url).map_err(|e| SendError::retry(e.to_string()))?;
        let mut response = complete(request).timeout(self.timeout).send().await.map_err(transport)?;
        let mut answer = Answer {
            status: response.status(),
            body: Vec::new(),
            retry_after: retry_after(response.headers().get(reqwest::header::RETRY_AFTER)),
        };
        // An answer that breaks off is judged by what arrived: its status at least.
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = MAX_ANSWER_BYTES - answer.body.len();
            answer.body.extend(chunk.iter().take(room));
            if chunk.len() >= room {
                break;
            }
        }
        Ok(answer)
    }
}

/// Seconds only: a date would need the server's clock, and nobody sends one here.
fn retry_after(value: Option<&reqwest::header::HeaderValue>) -> Option<Duration> {
    let seconds: u64 = value?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// A request that got no answer. Addresses often hold tokens, so the error is shown without.
fn transport(error: reqwest::Error) -> SendError {
    let timed_out = error.is_timeout();
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        reason.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    SendError::retry(if timed_out { format!("no answer in time: {reason}") } else { reason })
}

impl Answer {
    /// The error for a status that is no success: 5xx, 429 and 408 may pass, everything else stays.
    pub(crate) fn refused(&self) -> SendError {
        let reason = format!("the server answered {}: {}", self.status, self.excerpt());
        let may_pass = self.status.is_server_error()
            || matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if may_pass {
            SendError::Retry { after: self.retry_after, reason }
        } else {
            SendError::permanent(format!("{reason}; check the address and the credentials"))
        }
    }

    /// The beginning of the body, on one line.
    pub(crate) fn excerpt(&self) -> String {
        one_line(&String::from_utf8_lossy(&self.body))
    }
}

/// The beginning of a text from outside, fit for a log line.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
