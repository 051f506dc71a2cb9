//! The section `alerting`: which alert routers there are and how they are reached.

use std::time::Duration;

use config::{Mapping, Node};
use model::{Labels, LabelsBuilder};
use relabel::RelabelRule;
use reqwest::Url;
use runtime::HttpClientConfig;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const ALERTS_PATH: &str = "__alerts_path__";
/// More routers than this are a mistake: each gets a copy of every alert and a queue of its own.
const MAX_ENDPOINTS: usize = 64;

/// Where alerts go, and what is done to them before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertingConfig {
    /// `alert_relabel_configs`
    pub(crate) relabel: Vec<RelabelRule>,
    /// `alertmanagers`
    pub(crate) sets: Vec<AlertmanagerSet>,
}

/// One entry of `alertmanagers`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AlertmanagerSet {
    /// The alerts endpoint of each router.
    pub(crate) active: Vec<Url>,
    /// Those that `relabel_configs` dropped.
    pub(crate) dropped: Vec<Url>,
    pub(crate) timeout: Duration,
    pub(crate) client: HttpClientConfig,
    /// `alert_relabel_configs` of the entry, after those of the section.
    pub(crate) relabel: Vec<RelabelRule>,
}

/// The alert routers by the URL of their alerts endpoint, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alertmanagers {
    /// Those that alerts are sent to.
    pub active: Vec<String>,
    /// Those that relabelling dropped.
    pub dropped: Vec<String>,
}

impl AlertingConfig {
    /// Reads the section.
    pub fn decode(node: &Node<'_>) -> Self {
        let Some(fields) = node.mapping() else { return Self::default() };
        let relabel = RelabelRule::decode_list(&fields, "alert_relabel_configs");
        let sets: Vec<_> = fields.items("alertmanagers").iter().filter_map(AlertmanagerSet::decode).collect();
        let count: usize = sets.iter().map(|set| set.active.len()).sum();
        if count > MAX_ENDPOINTS {
            node.problem(format!("{count} alertmanagers are more than the {MAX_ENDPOINTS} allowed; remove some"));
        }
        fields.finish();
        Self { relabel, sets }
    }

    /// Who alerts are sent to, and who not.
    pub fn alertmanagers(&self) -> Alertmanagers {
        let sorted = |urls: fn(&AlertmanagerSet) -> &Vec<Url>| {
            let mut out: Vec<String> = self.sets.iter().flat_map(urls).map(Url::to_string).collect();
            out.sort();
            out.dedup();
            out
        };
        Alertmanagers { active: sorted(|set| &set.active), dropped: sorted(|set| &set.dropped) }
    }
}

impl AlertmanagerSet {
    fn decode(node: &Node<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        let scheme = match fields.get("scheme") {
            None => "http",
            Some(n) => match n.text()? {
                known @ ("http" | "https") => known,
                other => {
                    n.problem(format!("{other:?} is not a scheme for an alertmanager; use http or https"));
                    "http"
                }
            },
        };
        if let Some(n) = fields.get("api_version")
            && n.text() != Some("v2")
        {
            n.problem("only api_version v2 exists; remove the key or write v2");
        }
        let path = alerts_path(&fields.string("path_prefix").unwrap_or_default());
        let target_rules = RelabelRule::decode_list(&fields, "relabel_configs");
        let mut set = Self {
            active: Vec::new(),
            dropped: Vec::new(),
            timeout: fields.positive_duration("timeout").unwrap_or(DEFAULT_TIMEOUT),
            client: HttpClientConfig::decode(&fields),
            relabel: RelabelRule::decode_list(&fields, "alert_relabel_configs"),
        };
        for group in fields.items("static_configs") {
            set.add_static(&group, scheme, &path, &target_rules);
        }
        refuse_other_discoveries(&fields);
        fields.finish();
        Some(set)
    }

    fn add_static(&mut self, node: &Node<'_>, scheme: &str, path: &str, rules: &[RelabelRule]) {
        let Some(fields) = node.mapping() else { return };
        let shared = fields.get("labels").and_then(|n| n.labels(true)).unwrap_or_default();
        for target in fields.items("targets") {
            let Some(address) = target.text() else { continue };
            let mut labels = LabelsBuilder::from_labels(&shared);
            labels.set(ADDRESS, address).set_default(SCHEME, scheme).set_default(ALERTS_PATH, path);
            let before = labels.build();
            let kept = relabel::apply(rules, &mut labels);
            let labels = if kept { labels.build() } else { before };
            let Some(url) = endpoint(&labels) else {
                target.problem(format!("{address:?} is not an address; write host:port, for example 127.0.0.1:9093"));
                continue;
            };
            let urls = if kept { &mut self.active } else { &mut self.dropped };
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        fields.finish();
    }
}

fn alerts_path(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => "/api/v2/alerts".to_owned(),
        prefix => format!("/{prefix}/api/v2/alerts"),
    }
}

fn endpoint(labels: &Labels) -> Option<Url> {
    let part = |name| labels.get(name).unwrap_or_default();
    let address = part(ADDRESS);
    if address.is_empty() || address.contains(['/', '?', '#', '@']) {
        return None;
    }
    Url::parse(&format!("{}://{address}{}", part(SCHEME), part(ALERTS_PATH))).ok().filter(Url::has_host)
}

fn refuse_other_discoveries(fields: &Mapping<'_>) {
    for key in [
        "file_sd_configs",
        "dns_sd_configs",
        "kubernetes_sd_configs",
        "consul_sd_configs",
        "http_sd_configs",
        "ec2_sd_configs",
        "gce_sd_configs",
        "azure_sd_configs",
    ] {
        fields.unsupported(key, "use static_configs");
    }
}
