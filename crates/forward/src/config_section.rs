//! The `remote_write` section: Prometheus' keys, and `match`.

use std::time::Duration;

use config::{Mapping, Node};
use model::Matcher;
use relabel::RelabelRule;
use reqwest::Url;
use runtime::HttpClientConfig;

/// One destination.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteWriteConfig {
    /// How metrics and logs call it; unique.
    pub name: String,
    /// Where requests go.
    pub url: Url,
    /// How long a request may take (default 30s).
    pub timeout: Duration,
    /// Series that any of these selects are sent; all where there is none. They see external labels, unlike
    /// Prometheus' federation (prometheus#2046).
    pub matches: Vec<Vec<Matcher>>,
    /// Applied last, to what was selected.
    pub relabel: Vec<RelabelRule>,
    /// How samples wait.
    pub queue: QueueConfig,
    /// Whether metric metadata is sent too (default true).
    pub send_metadata: bool,
    /// Authentication, TLS, headers.
    pub client: HttpClientConfig,
}

/// `queue_config`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// Samples that may wait (default 1,000,000, about 100 bytes each).
    pub capacity: usize,
    /// Samples of one request (default 5,000).
    pub max_samples_per_send: usize,
    /// How long a sample waits for others (default 1s; Prometheus: 5s).
    pub batch_send_deadline: Duration,
    /// First pause after a failure (default 30ms).
    pub min_backoff: Duration,
    /// Longest pause (default 5s).
    pub max_backoff: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 1_000_000,
            max_samples_per_send: 5_000,
            batch_send_deadline: Duration::from_secs(1),
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
        }
    }
}

impl RemoteWriteConfig {
    /// Decodes the whole `remote_write` list; names must be unique.
    pub fn decode_list(items: &[Node<'_>]) -> Vec<Self> {
        let mut out: Vec<Self> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let Some(destination) = Self::decode(item, i) else { continue };
            if out.iter().any(|d| d.name == destination.name) {
                item.problem(format!(
                    "another remote_write destination is named {:?}; give this one another name",
                    destination.name
                ));
            }
            out.push(destination);
        }
        out
    }

    fn decode(node: &Node<'_>, index: usize) -> Option<Self> {
        let fields = node.mapping()?;
        let url = fields.required("url").and_then(|n| decode_url(&n));
        let name = fields.string("name").unwrap_or_else(|| format!("destination-{index}"));
        let timeout = fields.positive_duration("remote_timeout").unwrap_or(Duration::from_secs(30));
        let matches = fields.items("match").iter().filter_map(|n| n.parse(promql::parse_selector)).collect();
        let relabel = RelabelRule::decode_list(&fields, "write_relabel_configs");
        let queue = fields.get("queue_config").map(|n| QueueConfig::decode(&n)).unwrap_or_default();
        let send_metadata = fields.get("metadata_config").is_none_or(|n| decode_metadata(&n));
        let client = HttpClientConfig::decode(&fields);
        unsupported(&fields);
        fields.finish();
        Some(Self { name, url: url?, timeout, matches, relabel, queue, send_metadata, client })
    }
}

fn decode_url(node: &Node<'_>) -> Option<Url> {
    let url = node.parse(|text| {
        Url::parse(text).map_err(|e| format!("not a URL: {text:?}: {e}; write http://HOST:PORT/api/v1/write"))
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        node.problem(format!("not an HTTP address: {:?}; write http://HOST:PORT/api/v1/write", url.as_str()));
        return None;
    }
    Some(url)
}

/// Prometheus' keys that change nothing here are accepted where that is harmless and refused where it is not.
fn unsupported(fields: &Mapping<'_>) {
    if let Some(node) = fields.get("protobuf_message")
        && node.text().is_some_and(|t| t != "prometheus.WriteRequest")
    {
        node.problem("this message is not supported yet; write prometheus.WriteRequest or remove the key");
    }
    for key in ["send_exemplars", "send_native_histograms"] {
        if let Some(node) = fields.get(key)
            && node.bool() == Some(true)
        {
            node.problem(format!("{key} is not supported yet; remove it"));
        }
    }
    for key in ["round_robin_dns", "tls_server_name"] {
        fields.unsupported(key, "remove it");
    }
}

fn decode_metadata(node: &Node<'_>) -> bool {
    let Some(fields) = node.mapping() else { return true };
    let send = fields.bool("send").unwrap_or(true);
    // Families travel with the samples that follow a change, so neither key has anything to set.
    let _ = (fields.duration("send_interval"), fields.u64("max_samples_per_send"));
    fields.finish();
    send
}

impl QueueConfig {
    fn decode(node: &Node<'_>) -> Self {
        let default = Self::default();
        let Some(fields) = node.mapping() else { return default };
        let count = |key, or: usize| match fields.get(key) {
            None => or,
            Some(n) => match n.u64() {
                Some(0) => {
                    n.problem("must be at least 1");
                    or
                }
                Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
                None => or,
            },
        };
        let out = Self {
            capacity: count("capacity", default.capacity),
            max_samples_per_send: count("max_samples_per_send", default.max_samples_per_send).min(50_000),
            batch_send_deadline: fields.positive_duration("batch_send_deadline").unwrap_or(default.batch_send_deadline),
            min_backoff: fields.positive_duration("min_backoff").unwrap_or(default.min_backoff),
            max_backoff: fields.positive_duration("max_backoff").unwrap_or(default.max_backoff),
        };
        // One request at a time keeps the order; shards have nothing to set.
        let _ = (fields.u64("max_shards"), fields.u64("min_shards"), fields.bool("retry_on_http_429"));
        fields.unsupported("sample_age_limit", "remove it");
        fields.finish();
        if out.min_backoff > out.max_backoff {
            node.problem("min_backoff is longer than max_backoff; make it as long or shorter");
        }
        Self { max_samples_per_send: out.max_samples_per_send.min(out.capacity), ..out }
    }
}
