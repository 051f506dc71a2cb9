//! One entry of `scrape_configs`, as Prometheus reads it, and the list of all jobs.

use std::time::Duration;

use config::{Global, Mapping, Node};
use relabel::RelabelRule;
use runtime::HttpClientConfig;

use crate::discovery::{self, TargetGroup};
use crate::federate_config;
use crate::file_discovery::FileDiscoveryConfig;

/// What a body may have, decompressed, where `body_size_limit` does not say: no target can exhaust the memory.
const DEFAULT_BODY_SIZE_LIMIT: u64 = 256 << 20;
/// How many dropped targets a pool remembers where `keep_dropped_targets` does not say.
const DEFAULT_KEEP_DROPPED: usize = 1000;
/// The one format there is a parser for, under its names in Prometheus.
const TEXT_PROTOCOLS: [&str; 1] = ["PrometheusText0.0.4"];

/// Limits that make a scrape fail. 0 means none, as in Prometheus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) samples: u64,
    pub(crate) labels: u64,
    pub(crate) label_name_bytes: u64,
    pub(crate) label_value_bytes: u64,
    pub(crate) targets: u64,
    /// Never 0.
    pub(crate) body_bytes: u64,
}

/// What an entry means where it says nothing.
pub(crate) struct Defaults {
    pub(crate) metrics_path: &'static str,
    pub(crate) honor_labels: bool,
    pub(crate) track_timestamps_staleness: bool,
}

const SCRAPE: Defaults = Defaults { metrics_path: "/metrics", honor_labels: false, track_timestamps_staleness: false };

/// How the targets of one job are found, scraped and relabelled.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapeConfig {
    pub(crate) job_name: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) metrics_path: String,
    pub(crate) scheme: String,
    /// Sorted by name.
    pub(crate) params: Vec<(String, Vec<String>)>,
    pub(crate) honor_labels: bool,
    pub(crate) honor_timestamps: bool,
    pub(crate) track_timestamps_staleness: bool,
    pub(crate) enable_compression: bool,
    pub(crate) limits: Limits,
    pub(crate) keep_dropped: usize,
    pub(crate) client: HttpClientConfig,
    pub(crate) static_groups: Vec<TargetGroup>,
    pub(crate) file_discoveries: Vec<FileDiscoveryConfig>,
    pub(crate) relabel_rules: Vec<RelabelRule>,
    pub(crate) metric_relabel_rules: Vec<RelabelRule>,
}

impl ScrapeConfig {
    /// The job's name, unique among the jobs of a server.
    pub fn job_name(&self) -> &str {
        &self.job_name
    }

    /// Reads the whole of `scrape_configs` and `federate_configs`; a job name that was used before is a problem that names
    /// both lines.
    pub fn decode_all(fields: &Mapping<'_>, global: &Global) -> Vec<Self> {
        let scraped = fields.items("scrape_configs");
        let federated = fields.items("federate_configs");
        let jobs = scraped.iter().flat_map(|node| Self::decode(node, global).map(|job| (node, job)));
        let pulled =
            federated.iter().flat_map(|node| federate_config::decode(node, global).map(move |job| (node, job)));
        let mut seen: Vec<(String, usize)> = Vec::new();
        let mut out = Vec::new();
        for (node, config) in jobs.chain(pulled) {
            match seen.iter().find(|(name, _)| *name == config.job_name) {
                Some((name, line)) => node.problem(format!(
                    "found multiple scrape configs with job name {name:?}: in line {line} and in line {}; rename one",
                    node.line()
                )),
                None => seen.push((config.job_name.clone(), node.line())),
            }
            out.push(config);
        }
        out
    }

    /// Reads one entry. Problems that leave it without meaning (no job name) yield `None`.
    pub fn decode(node: &Node<'_>, global: &Global) -> Option<Self> {
        let fields = node.mapping()?;
        let config = Self::read(&fields, global, &SCRAPE);
        fields.finish();
        config
    }

    /// Reads what an entry says, and leaves it open.
    pub(crate) fn read(fields: &Mapping<'_>, global: &Global, defaults: &Defaults) -> Option<Self> {
        let job_name = fields.required("job_name").and_then(|n| n.string());
        if job_name.as_deref() == Some("") {
            fields.node().problem("job_name is empty; give the job a name");
        }
        let (interval, timeout) = timing(fields, global);
        let relabel_rules = RelabelRule::decode_list(fields, "relabel_configs");
        let config = Self {
            job_name: job_name.clone().unwrap_or_default(),
            interval,
            timeout,
            metrics_path: fields.string("metrics_path").unwrap_or_else(|| defaults.metrics_path.to_owned()),
            scheme: fields.get("scheme").and_then(|n| n.parse(scheme)).unwrap_or_else(|| "http".to_owned()),
            params: params(fields),
            honor_labels: fields.bool("honor_labels").unwrap_or(defaults.honor_labels),
            honor_timestamps: fields.bool("honor_timestamps").unwrap_or(true),
            track_timestamps_staleness: fields
                .bool("track_timestamps_staleness")
                .unwrap_or(defaults.track_timestamps_staleness),
            enable_compression: fields.bool("enable_compression").unwrap_or(true),
            limits: limits(fields),
            keep_dropped: kept(fields.u64("keep_dropped_targets")),
            client: HttpClientConfig::decode(fields),
            static_groups: discovery::decode_static(fields, "static_configs", relabel_rules.is_empty()),
            file_discoveries: FileDiscoveryConfig::decode_list(fields, "file_sd_configs"),
            relabel_rules,
            metric_relabel_rules: RelabelRule::decode_list(fields, "metric_relabel_configs"),
        };
        check_protocols(fields);
        refuse_unsupported(fields);
        job_name.map(|_| config)
    }

    /// Whether a raw series means the same labels under both, so that what is cached stays true.
    pub(crate) fn resolves_like(&self, other: &Self) -> bool {
        self.honor_labels == other.honor_labels
            && self.limits == other.limits
            && self.metric_relabel_rules == other.metric_relabel_rules
    }
}

/// Interval and timeout; the global timeout gives way to a shorter interval.
fn timing(fields: &Mapping<'_>, global: &Global) -> (Duration, Duration) {
    let interval = fields.positive_duration("scrape_interval").unwrap_or(global.scrape_interval);
    let timeout_node = fields.get("scrape_timeout");
    let timeout = timeout_node.and_then(|n| n.positive_duration());
    if let Some(node) = timeout_node.filter(|_| timeout.is_some_and(|t| t > interval)) {
        node.problem(format!(
            "scrape timeout greater than scrape interval ({}); make it as long or shorter",
            model::format_duration(interval)
        ));
    }
    (interval, timeout.unwrap_or(global.scrape_timeout).min(interval))
}

fn scheme(text: &str) -> Result<String, String> {
    match text {
        "http" | "https" => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not a scheme; use http or https")),
    }
}

fn params(fields: &Mapping<'_>) -> Vec<(String, Vec<String>)> {
    let Some(section) = fields.get("params").and_then(|n| n.mapping()) else { return Vec::new() };
    let mut out: Vec<_> = section.entries().map(|(name, _, values)| (name.to_owned(), values.strings())).collect();
    out.sort();
    out
}

fn limits(fields: &Mapping<'_>) -> Limits {
    let number = |key| fields.u64(key).unwrap_or(0);
    Limits {
        samples: number("sample_limit"),
        labels: number("label_limit"),
        label_name_bytes: number("label_name_length_limit"),
        label_value_bytes: number("label_value_length_limit"),
        targets: number("target_limit"),
        body_bytes: fields.bytes("body_size_limit").filter(|b| *b > 0).unwrap_or(DEFAULT_BODY_SIZE_LIMIT),
    }
}

fn kept(written: Option<u64>) -> usize {
    match written {
        None | Some(0) => DEFAULT_KEEP_DROPPED,
        Some(n) => usize::try_from(n).unwrap_or(usize::MAX).min(DEFAULT_KEEP_DROPPED),
    }
}

/// A list of preferences is fine as long as it holds the format we ask for.
fn check_protocols(fields: &Mapping<'_>) {
    let known = |text: &str| TEXT_PROTOCOLS.contains(&text);
    if let Some(node) = fields.get("scrape_protocols").filter(|n| !n.strings().iter().any(|p| known(p))) {
        node.problem("none of these scrape protocols is supported yet; add PrometheusText0.0.4");
    }
    if let Some(node) = fields.get("fallback_scrape_protocol").filter(|n| n.text().is_some_and(|p| !known(p))) {
        node.problem("this scrape protocol is not supported yet; use PrometheusText0.0.4");
    }
    if let Some(node) = fields.get("metric_name_validation_scheme").filter(|n| n.text().is_some_and(|s| s != "utf8")) {
        node.problem("only the validation scheme utf8 is supported; remove it");
    }
}

fn refuse_unsupported(fields: &Mapping<'_>) {
    for key in [
        "azure_sd_configs",
        "consul_sd_configs",
        "digitalocean_sd_configs",
        "dns_sd_configs",
        "docker_sd_configs",
        "dockerswarm_sd_configs",
        "ec2_sd_configs",
        "eureka_sd_configs",
        "gce_sd_configs",
        "hetzner_sd_configs",
        "http_sd_configs",
        "ionos_sd_configs",
        "kubernetes_sd_configs",
        "kuma_sd_configs",
        "lightsail_sd_configs",
        "linode_sd_configs",
        "marathon_sd_configs",
        "nerve_sd_configs",
        "nomad_sd_configs",
        "openstack_sd_configs",
        "ovhcloud_sd_configs",
        "puppetdb_sd_configs",
        "scaleway_sd_configs",
        "serverset_sd_configs",
        "stackit_sd_configs",
        "triton_sd_configs",
        "uyuni_sd_configs",
        "vultr_sd_configs",
    ] {
        fields.unsupported(key, "use file_sd_configs");
    }
    for key in [
        "scrape_native_histograms",
        "scrape_classic_histograms",
        "always_scrape_classic_histograms",
        "convert_classic_histograms_to_nhcb",
        "native_histogram_bucket_limit",
        "native_histogram_min_bucket_factor",
        "metric_name_escaping_scheme",
        "extra_scrape_metrics",
    ] {
        fields.unsupported(key, "remove it");
    }
    fields.unsupported("scrape_failure_log_file", "remove it and use --log.level=debug");
}
