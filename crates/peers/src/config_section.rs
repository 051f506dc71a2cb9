//! The `peers` section: who else holds the same, and what is compared how often.

use std::time::Duration;

use config::{Mapping, Node};
use model::Matcher;
use reqwest::Url;
use runtime::HttpClientConfig;

/// Windows that a comparison may look at; each has a digest per source in memory.
const MAX_WINDOWS: u128 = 10_000;
/// Shorter windows would hardly hold a sample.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// `peers`
#[derive(Debug, Clone, PartialEq)]
pub struct PeersConfig {
    /// Whom to ask. A process that finds itself among them skips itself, so all can have the same file.
    pub centrals: Vec<PeerConfig>,
    /// Series that any of these select are compared; all where there is none.
    pub matches: Vec<Vec<Matcher>>,
    /// What one digest covers (default 10m). The same on all, or they have nothing to compare.
    pub window: Duration,
    /// How far back to look (default 1d).
    pub history: Duration,
    /// From one comparison to the next (default 1m).
    pub interval: Duration,
    /// How long ago a window must have ended (default 2m).
    pub settle: Duration,
    /// How fast missing samples are fetched (default 100,000).
    pub max_samples_per_second: u64,
}

/// One peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerConfig {
    /// How metrics and logs call it; unique. `HOST:PORT` where it is not given.
    pub name: String,
    /// Where its API begins, without `/api/v1`.
    pub url: Url,
    /// How long a request may take (default 2m: a peer that was just started reads everything first).
    pub timeout: Duration,
    /// Authentication, TLS, headers.
    pub client: HttpClientConfig,
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self {
            centrals: Vec::new(),
            matches: Vec::new(),
            window: Duration::from_secs(600),
            history: Duration::from_secs(24 * 3600),
            interval: Duration::from_secs(60),
            settle: Duration::from_secs(120),
            max_samples_per_second: 100_000,
        }
    }
}

impl PeersConfig {
    /// Decodes the section.
    pub fn decode(node: &Node<'_>) -> Self {
        let default = Self::default();
        let Some(fields) = node.mapping() else { return default };
        let out = Self {
            centrals: PeerConfig::decode_list(&fields),
            matches: fields.items("match").iter().filter_map(|n| n.parse(promql::parse_selector)).collect(),
            window: fields.positive_duration("window").unwrap_or(default.window),
            history: fields.positive_duration("history").unwrap_or(default.history),
            interval: fields.positive_duration("interval").unwrap_or(default.interval),
            settle: fields.duration("settle").unwrap_or(default.settle),
            max_samples_per_second: fields.u64("max_samples_per_second").unwrap_or(default.max_samples_per_second),
        };
        fields.finish();
        if out.max_samples_per_second == 0 {
            node.problem("max_samples_per_second must be at least 1");
        }
        if out.window < SHORTEST_WINDOW {
            node.problem("window is shorter than 1s; make it longer");
        }
        if out.history < out.window {
            node.problem("history is shorter than window; make it longer");
        }
        if out.history.as_nanos() / out.window.as_nanos().max(1) > MAX_WINDOWS {
            node.problem(format!("history holds more than {MAX_WINDOWS} windows; make window longer"));
        }
        out
    }
}

impl PeerConfig {
    fn decode_list(fields: &Mapping<'_>) -> Vec<Self> {
        let mut out: Vec<Self> = Vec::new();
        for item in fields.items("centrals") {
            let Some(peer) = Self::decode(&item) else { continue };
            if out.iter().any(|other| other.name == peer.name) {
                item.problem(format!("another peer is named {:?}; give this one another name", peer.name));
            }
            out.push(peer);
        }
        out
    }

    fn decode(node: &Node<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        let url = fields.required("url").and_then(|n| decode_url(&n));
        let name = fields.string("name");
        let timeout = fields.positive_duration("timeout").unwrap_or(Duration::from_secs(120));
        let client = HttpClientConfig::decode(&fields);
        fields.finish();
        let url = url?;
        let address = || {
            let port = url.port_or_known_default().unwrap_or_default();
            format!("{}:{port}", url.host_str().unwrap_or_default())
        };
        let name = name.unwrap_or_else(address);
        Some(Self { name, url, timeout, client })
    }
}

fn decode_url(node: &Node<'_>) -> Option<Url> {
    let url =
        node.parse(|text| Url::parse(text).map_err(|e| format!("not a URL: {text:?}: {e}; write http://HOST:PORT")))?;
    let is_http = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if !is_http || url.query().is_some() || url.fragment().is_some() {
        node.problem(format!("not the address of a central: {:?}; write http://HOST:PORT", url.as_str()));
        return None;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use config::Document;

    use super::*;

    fn decoded(text: &str) -> Result<PeersConfig, String> {
        let document = Document::parse("central.yml".as_ref(), text).expect("is YAML");
        let out = PeersConfig::decode(&document.root());
        document.finish().map(|()| out).map_err(|p| p.to_string())
    }

    #[test]
    fn defaults_hold_where_nothing_is_said() {
        let got = decoded("centrals: [{url: 'http://central-2:9090'}]").expect("is fine");
        assert_eq!(got.centrals[0].name, "central-2:9090");
        assert_eq!(PeersConfig { centrals: Vec::new(), ..got }, PeersConfig::default());
    }

    #[test]
    fn everything_can_be_said() {
        let text = "
centrals:
- {url: 'https://a/x/', name: a, timeout: 5s, basic_auth: {username: u, password: p}}
- {url: 'http://b'}
match: ['{region=~\".+\"}']
window: 1h
history: 2d
interval: 5m
settle: 0s
max_samples_per_second: 5
";
        let got = decoded(text).expect("is fine");
        assert_eq!((got.centrals[0].name.as_str(), got.centrals[1].name.as_str()), ("a", "b:80"));
        assert_eq!((got.matches.len(), got.settle, got.max_samples_per_second), (1, Duration::ZERO, 5));
        assert!(!format!("{got:?}").contains("\"p\""));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (text, says) in [
            ("centrals: [{url: 'ftp://a'}]", "not the address of a central"),
            ("centrals: [{url: 'http://a?x=1'}]", "not the address of a central"),
            ("centrals: [{urls: 'http://a'}]", "did you mean \"url\""),
            ("centrals: [{url: 'http://a'}, {url: 'http://a:80/b'}]", "another peer is named \"a:80\""),
            ("window: 100ms", "shorter than 1s"),
            ("history: 5m", "history is shorter than window"),
            ("{window: 1s, history: 1d}", "more than 10000 windows"),
            ("max_samples_per_second: 0", "at least 1"),
            ("match: ['up{']", "central.yml:1:"),
            ("windo: 5m", "did you mean \"window\""),
        ] {
            let found = decoded(text).expect_err(text);
            assert!(found.contains(says), "{text}: {found}");
        }
    }
}
