//! From a discovered address to a target: default labels, relabelling, the URL.

use std::time::Duration;

use model::{Labels, LabelsBuilder};
use reqwest::Url;

use crate::discovery::{TargetGroup, check_address};
use crate::scrape_config::ScrapeConfig;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";
const INSTANCE: &str = "instance";
const JOB: &str = "job";

/// What makes two targets the same: a reload that keeps both keeps the loop.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TargetKey {
    /// The labels that its samples get.
    pub(crate) labels: Labels,
    /// What is fetched, as written (a default port stays).
    pub(crate) url: String,
}

impl TargetKey {
    /// The same for the same target in every process and version.
    pub(crate) fn hash(&self) -> u64 {
        Labels::from_pairs([("url", self.url.as_str())]).fingerprint().rotate_left(1) ^ self.labels.fingerprint()
    }
}

/// A target that is to be scraped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TargetSpec {
    pub(crate) key: TargetKey,
    pub(crate) url: Url,
    /// The labels before relabelling.
    pub(crate) discovered: Labels,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

/// What became of a discovered address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Discovered {
    /// To be scraped.
    Active(Box<TargetSpec>),
    /// Dropped by a relabel rule; the labels before relabelling.
    Dropped(Labels),
    /// Relabelled into something that cannot be scraped.
    Failed {
        /// The address as discovered.
        address: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Makes targets of every address of a group.
pub(crate) fn targets_of(group: &TargetGroup, config: &ScrapeConfig) -> Vec<Discovered> {
    let one = |address: &String| {
        let discovered = discovered_labels(address, group, config);
        let mut labels = LabelsBuilder::from_labels(&discovered);
        if !relabel::apply(&config.relabel_rules, &mut labels) {
            return Discovered::Dropped(discovered);
        }
        match spec(discovered, &labels, config) {
            Ok(spec) => Discovered::Active(Box::new(spec)),
            Err(message) => Discovered::Failed { address: address.clone(), message },
        }
    };
    group.addresses.iter().map(one).collect()
}

fn discovered_labels(address: &str, group: &TargetGroup, config: &ScrapeConfig) -> Labels {
    let mut labels = LabelsBuilder::from_labels(&group.labels);
    labels.set(ADDRESS, address);
    labels.set_default(JOB, &config.job_name);
    labels.set_default(INTERVAL, &model::format_duration(config.interval));
    labels.set_default(TIMEOUT, &model::format_duration(config.timeout));
    labels.set_default(METRICS_PATH, &config.metrics_path);
    labels.set_default(SCHEME, &config.scheme);
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            labels.set_default(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    labels.build()
}

fn spec(discovered: Labels, labels: &LabelsBuilder, config: &ScrapeConfig) -> Result<TargetSpec, String> {
    let address = labels.get(ADDRESS).unwrap_or("");
    check_address(address)?;
    let interval = timing(labels, INTERVAL, "scrape interval")?;
    let timeout = timing(labels, TIMEOUT, "scrape timeout")?;
    if timeout > interval {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({} > {})",
            model::format_duration(timeout),
            model::format_duration(interval)
        ));
    }
    let (url, shown) = url_of(address, labels, config)?;
    let mut public = labels.clone();
    public.set_default(INSTANCE, address);
    public.retain(|name, _| !name.starts_with("__"));
    let key = TargetKey { labels: public.build(), url: shown };
    Ok(TargetSpec { key, url, discovered, interval, timeout })
}

fn timing(labels: &LabelsBuilder, name: &str, what: &str) -> Result<Duration, String> {
    let text = labels.get(name).unwrap_or("");
    let duration = model::parse_duration(text).map_err(|e| format!("error parsing {what}: {e}"))?;
    if duration.is_zero() { Err(format!("{what} cannot be 0")) } else { Ok(duration) }
}

/// The URL to fetch, and its text with the address as written: the library would hide a default port.
fn url_of(address: &str, labels: &LabelsBuilder, config: &ScrapeConfig) -> Result<(Url, String), String> {
    let scheme = labels.get(SCHEME).unwrap_or("");
    if !matches!(scheme, "http" | "https") {
        return Err(format!("invalid scheme {scheme:?}; use http or https"));
    }
    let mut url = Url::parse(&format!("{scheme}://{address}"))
        .map_err(|e| format!("{address:?} is not a valid hostname: {e}"))?;
    url.set_path(labels.get(METRICS_PATH).unwrap_or("/"));
    let mut params: Vec<(&str, Vec<&str>)> =
        config.params.iter().map(|(n, v)| (n.as_str(), v.iter().map(String::as_str).collect())).collect();
    for (name, value) in labels.iter().filter_map(|(n, v)| Some((n.strip_prefix(PARAM_PREFIX)?, v))) {
        match params.iter_mut().find(|(n, _)| *n == name) {
            Some((_, values)) if !values.is_empty() => values[0] = value,
            Some((_, values)) => values.push(value),
            None => params.push((name, vec![value])),
        }
    }
    params.sort_by_key(|(name, _)| *name);
    if params.iter().any(|(_, values)| !values.is_empty()) {
        let mut query = url.query_pairs_mut();
        for (name, values) in &params {
            query.extend_pairs(values.iter().map(|value| (name, value)));
        }
    }
    let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
    let shown = format!("{scheme}://{address}{}{query}", url.path());
    Ok((url, shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::scrape_config;

    fn discover(yaml: &str) -> Vec<Discovered> {
        let config = scrape_config(&format!("job_name: j\n{yaml}"));
        config.static_groups.iter().flat_map(|g| targets_of(g, &config)).collect()
    }

    fn active(yaml: &str) -> TargetSpec {
        match discover(yaml).pop() {
            Some(Discovered::Active(spec)) => *spec,
            other => panic!("{yaml}: {other:?}"),
        }
    }

    #[test]
    fn labels_and_url() {
        let spec = active("static_configs: [{targets: ['h:80'], labels: {env: x, __meta_a: b}}]");
        assert_eq!(spec.key.labels.to_string(), r#"{env="x", instance="h:80", job="j"}"#);
        assert_eq!(spec.key.url, "http://h:80/metrics");
        let discovered = r#"{__address__="h:80", __meta_a="b", __metrics_path__="/metrics", __scheme__="http", __scrape_interval__="1m", __scrape_timeout__="10s", env="x", job="j"}"#;
        assert_eq!(spec.discovered.to_string(), discovered);

        let spec = active(
            "scheme: https\nmetrics_path: probe\nparams: {module: [a b, c], x: []}\nstatic_configs: [{targets: [h]}]",
        );
        assert_eq!(spec.key.url, "https://h/probe?module=a+b&module=c");
        assert_eq!(spec.discovered.get("__param_module"), Some("a b"));
    }

    #[test]
    fn relabelling_decides() {
        let spec = active(
            "scrape_interval: 10s\n\
             static_configs: [{targets: ['https://site/?q=1']}]\n\
             relabel_configs:\n\
             - {source_labels: [__address__], target_label: __param_target}\n\
             - {source_labels: [__address__], target_label: instance}\n\
             - {target_label: __address__, replacement: 'prober:9115'}\n\
             - {target_label: __metrics_path__, replacement: /probe}\n\
             - {target_label: __scrape_timeout__, replacement: 2s}\n\
             - {target_label: job, replacement: other}\n",
        );
        assert_eq!(spec.key.url, "http://prober:9115/probe?target=https%3A%2F%2Fsite%2F%3Fq%3D1");
        assert_eq!(spec.key.labels.to_string(), r#"{instance="https://site/?q=1", job="other"}"#);
        assert_eq!((spec.interval, spec.timeout), (Duration::from_secs(10), Duration::from_secs(2)));

        let dropped = discover(
            "static_configs: [{targets: [a, b]}]\nrelabel_configs: [{action: keep, source_labels: [__address__], regex: b}]",
        );
        assert!(matches!(&dropped[..], [Discovered::Dropped(_), Discovered::Active(_)]), "{dropped:?}");
    }

    #[test]
    fn what_cannot_be_scraped_says_why() {
        let cases = [
            ("__address__", "''", "no address"),
            ("__address__", "http://x", "not a valid hostname"),
            ("__address__", "'x:99999'", "is not an address"),
            ("__scheme__", "ftp", "invalid scheme"),
            ("__scrape_interval__", "soon", "error parsing scrape interval"),
            ("__scrape_interval__", "0s", "scrape interval cannot be 0"),
            ("__scrape_timeout__", "2m", "scrape timeout cannot be greater"),
        ];
        for (label, value, want) in cases {
            let yaml = format!(
                "static_configs: [{{targets: [a]}}]\nrelabel_configs: [{{target_label: {label}, replacement: {value}}}]"
            );
            match discover(&yaml).pop() {
                Some(Discovered::Failed { address, message }) => {
                    assert!(address == "a" && message.contains(want), "{message}");
                }
                other => panic!("{label}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_hash_of_a_target_never_changes() {
        let spec = active("static_configs: [{targets: ['h:80']}]");
        assert_eq!(spec.key.hash(), spec.key.clone().hash());
        assert_ne!(spec.key.hash(), active("static_configs: [{targets: ['h:81']}]").key.hash());
        assert_ne!(spec.key.hash(), active("metrics_path: /x\nstatic_configs: [{targets: ['h:80']}]").key.hash());
    }
}
