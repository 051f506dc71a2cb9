//! The `remote_write` section: Prometheus' keys, and `match`.

use std::time::Duration;

use config::{Mapping, Node};
use model::Matcher;
use relabel::RelabelRule;
use reqwest::Url;
use runtime::HttpClientConfig;

use crate::queue_section::{QueueConfig, count, one_of};

/// One destination.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteWriteConfig {
    /// How metrics and logs call it; unique.
    pub name: String,
    /// Where requests go: one address, or several that lead to equals.
    pub urls: Vec<Url>,
    /// Which of several addresses is used.
    pub choose: Choose,
    /// Whether the first request is one of remote write 2.0 already (`protobuf_message`).
    pub begins_with_2_0: bool,
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

/// `choose`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choose {
    /// `order` (default): the first that works.
    #[default]
    Order,
    /// `hash`: by rendezvous hashing of the external label `metacluster`, so that a list with one more address moves only
    /// its share; where that one does not work, the next by hash.
    Hash,
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
        let urls = decode_urls(&fields);
        let choose = one_of(&fields, "choose", &[("order", Choose::Order), ("hash", Choose::Hash)]);
        let begins_with_2_0 = one_of(&fields, "protobuf_message", &[(MESSAGE_1_0, false), (MESSAGE_2_0, true)]);
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
        Some(Self {
            name,
            urls: urls?,
            choose,
            begins_with_2_0,
            timeout,
            matches,
            relabel,
            queue,
            exemplars,
            metadata,
            client,
        })
    }
}

/// Values of `protobuf_message`.
const MESSAGE_1_0: &str = "prometheus.WriteRequest";
const MESSAGE_2_0: &str = "io.prometheus.write.v2.Request";

/// `url`, or a list `urls`. `None` where a problem was reported.
fn decode_urls(fields: &Mapping<'_>) -> Option<Vec<Url>> {
    let Some(list) = fields.get("urls") else {
        return Some(vec![decode_url(&fields.required("url")?)?]);
    };
    if let Some(one) = fields.get("url") {
        one.problem("url and urls say the same thing; keep one of them");
    }
    let items = list.items();
    if items.is_empty() {
        list.problem("must name at least one address");
        return None;
    }
    items.iter().map(decode_url).collect()
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
    // Histograms are sent like samples, whether asked for or not.
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
