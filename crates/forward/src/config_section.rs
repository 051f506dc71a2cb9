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
    /// Whether exemplars are sent (default no).
    pub exemplars: bool,
    /// How metric metadata is sent; `None` where it is not.
    pub metadata: Option<MetadataConfig>,
    /// Authentication, TLS, headers.
    pub client: HttpClientConfig,
}

/// `metadata_config`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataConfig {
    /// How often everything is said again, for destinations that have restarted (default 1m).
    pub send_interval: Duration,
    /// Families of one request (default 2,000).
    pub max_families_per_send: usize,
}

impl Default for MetadataConfig {
    fn default() -> Self {
        Self { send_interval: Duration::from_secs(60), max_families_per_send: 2_000 }
    }
}

/// `queue_config`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// Samples that may wait (default 1,000,000). One takes 32 bytes; its labels are shared with the other samples of
    /// its series. Prometheus' `capacity` counts for each of `max_shards` (default 50) queues, in front of a log on
    /// disk; here one queue holds what all of them would.
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
        let metadata = match fields.get("metadata_config") {
            Some(node) => MetadataConfig::decode(&node),
            None => Some(MetadataConfig::default()),
        };
        let exemplars = fields.bool("send_exemplars").unwrap_or(false);
        let client = HttpClientConfig::decode(&fields);
        unsupported(&fields);
        fields.finish();
        Some(Self { name, url: url?, timeout, matches, relabel, queue, exemplars, metadata, client })
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
    // As in a Prometheus that scrapes none: there is nothing to send.
    let _ = fields.bool("send_native_histograms");
    if fields.bool("round_robin_dns") == Some(true) {
        fields.unsupported("round_robin_dns", "remove it");
    }
}

impl MetadataConfig {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let default = Self::default();
        let Some(fields) = node.mapping() else { return Some(default) };
        let send = fields.bool("send").unwrap_or(true);
        let out = Self {
            send_interval: fields.positive_duration("send_interval").unwrap_or(default.send_interval),
            max_families_per_send: count(&fields, "max_samples_per_send", default.max_families_per_send).min(50_000),
        };
        fields.finish();
        send.then_some(out)
    }
}

/// A whole number from 1.
fn count(fields: &Mapping<'_>, key: &'static str, or: usize) -> usize {
    let Some(node) = fields.get(key) else { return or };
    match node.u64() {
        Some(0) => {
            node.problem("must be at least 1");
            or
        }
        Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
        None => or,
    }
}

impl QueueConfig {
    fn decode(node: &Node<'_>) -> Self {
        let default = Self::default();
        let Some(fields) = node.mapping() else { return default };
        let shards = count(&fields, "max_shards", 50);
        let capacity = match fields.get("capacity") {
            Some(_) => count(&fields, "capacity", 1).saturating_mul(shards),
            None => default.capacity,
        };
        let out = Self {
            capacity,
            max_samples_per_send: count(&fields, "max_samples_per_send", default.max_samples_per_send).min(50_000),
            batch_send_deadline: fields.positive_duration("batch_send_deadline").unwrap_or(default.batch_send_deadline),
            min_backoff: fields.positive_duration("min_backoff").unwrap_or(default.min_backoff),
            max_backoff: fields.positive_duration("max_backoff").unwrap_or(default.max_backoff),
        };
        // One request at a time keeps the order, and 429 is always tried again: neither key has anything to set.
        let _ = (fields.u64("min_shards"), fields.bool("retry_on_http_429"));
        if fields.duration("sample_age_limit").is_some_and(|limit| !limit.is_zero()) {
            fields.unsupported("sample_age_limit", "remove it");
        }
        fields.finish();
        if out.min_backoff > out.max_backoff {
            node.problem("min_backoff is longer than max_backoff; make it as long or shorter");
        }
        Self { max_samples_per_send: out.max_samples_per_send.min(out.capacity), ..out }
    }
}
