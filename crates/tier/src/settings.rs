//! What a tier's configuration file says: Prometheus' sections, decoded by the blocks they belong to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Document, Global, Mapping, Problems};
use evaluate::{AlertingConfig, EvaluationConfig};
use forward::RemoteWriteConfig;
use peers::{Own, PeersConfig};
use promql::Engine;
use rules::{Group, GroupDefaults, RuleKind};
use scrape::ScrapeConfig;
use tsdb::StoreOptions;

/// A validated configuration.
#[derive(Debug, Default)]
pub struct Settings {
    /// `global`
    pub global: Global,
    /// `scrape_configs` and `federate_configs`
    pub scrape: Vec<ScrapeConfig>,
    /// The groups of all `rule_files`.
    pub groups: Vec<Arc<Group>>,
    /// `alerting`
    pub alerting: AlertingConfig,
    /// `peers`
    pub peers: PeersConfig,
    /// `storage`
    pub storage: StorageSettings,
    /// `remote_write`
    pub remote_write: Vec<RemoteWriteConfig>,
    /// The file's text, for the status API.
    pub text: String,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

/// Sections of prometheus.yml that no tier has.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("remote_read", "query the other server, or let it remote-write here"),
    ("scrape_config_files", "list the jobs under scrape_configs"),
    ("tracing", "remove it"),
    ("otlp", "remove it"),
];

impl Settings {
    /// Reads a configuration file and the rule files it names.
    ///
    /// # Errors
    /// Every problem in all of them.
    pub fn load(path: &Path, engine: &Engine) -> Result<Self, Problems> {
        let document = Document::load(path)?;
        let mut out = Self { text: document.text().to_owned(), ..Self::default() };
        let mut problems = Problems::default();
        if !document.root().is_null()
            && let Some(fields) = document.root().mapping()
        {
            out.decode(&fields, engine, &mut problems);
            fields.finish();
        }
        if let Err(own) = document.finish() {
            problems.0.splice(0..0, own.0);
        }
        problems.or(out)
    }

    fn decode(&mut self, fields: &Mapping<'_>, engine: &Engine, problems: &mut Problems) {
        self.global = fields.get("global").map(|n| Global::decode(&n)).unwrap_or_default();
        self.scrape = ScrapeConfig::decode_all(fields, &self.global);
        self.remote_write = RemoteWriteConfig::decode_list(&fields.items("remote_write"));
        let evaluation = EvaluationConfig::decode(fields);
        let defaults =
            GroupDefaults { interval: self.global.evaluation_interval, query_offset: self.global.rule_query_offset };
        match evaluation.load_rules(engine, &defaults) {
            Ok(loaded) => {
                self.groups = loaded.groups;
                self.warnings = loaded.warnings;
            }
            Err(found) => problems.extend(found),
        }
        self.alerting = evaluation.alerting;
        self.peers = fields.get("peers").map(|n| PeersConfig::decode(&n)).unwrap_or_default();
        for (key, advice) in UNSUPPORTED {
            fields.unsupported(key, advice);
        }
        self.storage = StorageSettings::decode(fields);
        accept_without_effect(fields);
    }
}

impl Settings {
    /// The series that a tier with these settings makes itself.
    pub(crate) fn own(&self) -> Own {
        let rules = self.groups.iter().flat_map(|group| &group.rules);
        let recorded = rules.filter(|rule| rule.kind == RuleKind::Recording).map(|rule| rule.name.clone());
        let jobs = self.scrape.iter().map(|job| job.job_name().to_owned());
        Own { recorded: recorded.collect(), jobs: jobs.collect() }
    }
}

/// What a configuration file says of the store; it wins over the flags, as in Prometheus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StorageSettings {
    /// `storage.tsdb.retention.time`
    pub retention: Option<Duration>,
    /// `storage.tsdb.retention.size`
    pub retention_bytes: Option<u64>,
    /// `storage.exemplars.max_exemplars`
    pub max_exemplars: Option<usize>,
}

impl StorageSettings {
    fn decode(fields: &Mapping<'_>) -> Self {
        let mut out = Self::default();
        if let Some(storage) = fields.get("storage").and_then(|n| n.mapping()) {
            if let Some(tsdb) = storage.get("tsdb").and_then(|n| n.mapping()) {
                // Samples are taken in any order as far back as the retention reaches, whatever the window.
                tsdb.duration("out_of_order_time_window");
                if let Some(retention) = tsdb.get("retention").and_then(|n| n.mapping()) {
                    out.retention = retention.positive_duration("time");
                    out.retention_bytes = retention.bytes("size").filter(|bytes| *bytes > 0);
                    retention.finish();
                }
                tsdb.finish();
            }
            if let Some(exemplars) = storage.get("exemplars").and_then(|n| n.mapping()) {
                let max = exemplars.u64("max_exemplars");
                out.max_exemplars = max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
                exemplars.finish();
            }
            storage.finish();
        }
        out
    }

    /// Puts what the file says over the flags.
    pub(crate) fn apply(&self, options: &mut StoreOptions) {
        options.retention = self.retention.unwrap_or(options.retention);
        options.retention_bytes = self.retention_bytes.or(options.retention_bytes);
        options.max_exemplars = self.max_exemplars();
    }

    /// What a store is told when it is opened only.
    pub(crate) fn retention(&self) -> (Option<Duration>, Option<u64>) {
        (self.retention, self.retention_bytes)
    }

    /// How many exemplars are kept. No flag says it.
    pub(crate) fn max_exemplars(&self) -> usize {
        self.max_exemplars.unwrap_or(StoreOptions::default().max_exemplars)
    }
}

/// A key of a stock configuration that asks for nothing here: there is no garbage collector.
fn accept_without_effect(fields: &Mapping<'_>) {
    if let Some(runtime) = fields.get("runtime").and_then(|n| n.mapping()) {
        runtime.get("gogc");
        runtime.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::EngineOptions;

    fn decoded(text: &str) -> Result<Settings, String> {
        let document = Document::parse("prometheus.yml".as_ref(), text).expect("is YAML");
        let (mut out, mut problems) = (Settings::default(), Problems::default());
        let fields = document.root().mapping().expect("is a mapping");
        out.decode(&fields, &Engine::new(EngineOptions::default()), &mut problems);
        fields.finish();
        document.finish().map(|()| out).map_err(|p| p.to_string())
    }

    #[test]
    fn a_stock_configuration_starts_a_tier() {
        let text = "
global: {scrape_interval: 15s, evaluation_interval: 15s, rule_query_offset: 10s, external_labels: {monitor: m}}
alerting: {alertmanagers: [{static_configs: [{targets: ['localhost:9093']}]}]}
rule_files: []
scrape_configs: [{job_name: prometheus, static_configs: [{targets: ['localhost:9090'], labels: {app: p}}]}]
storage: {tsdb: {out_of_order_time_window: 30m, retention: {time: 30d, size: 10GB}}, exemplars: {max_exemplars: 5}}
runtime: {gogc: 75}
remote_write:
- {url: 'http://localhost:9091/api/v1/write', send_exemplars: true, queue_config: {capacity: 10000, max_shards: 50}}
";
        let settings = decoded(text).expect("is fine");
        assert_eq!((settings.scrape.len(), settings.remote_write.len()), (1, 1));
        let mut options = StoreOptions { retention_bytes: Some(1), ..StoreOptions::default() };
        settings.storage.apply(&mut options);
        let want = (Duration::from_secs(30 * 24 * 3600), Some(10 << 30));
        assert_eq!((options.retention, options.retention_bytes), want, "the file wins over the flags");
        assert_eq!(options.max_exemplars, 5);
        StorageSettings::default().apply(&mut options);
        assert_eq!((options.retention, options.retention_bytes), want, "where it says something");
        assert_eq!(options.max_exemplars, 100_000);
    }

    #[test]
    fn what_no_tier_does_is_refused_by_name() {
        for (text, says) in [
            ("remote_read: [{url: 'http://localhost/'}]", "remote_read is not supported yet"),
            ("storage: {tsdb: {retention: {time: 0s}}}", "must be longer than 0"),
            ("storage: {tsdb: {retention: {tim: 1d}}}", "did you mean \"time\""),
            ("storage: {exemplars: {max_exemplar: 1}}", "did you mean \"max_exemplars\""),
            ("storage: {tsdb: {out_of_order_tim_window: 1m}}", "did you mean \"out_of_order_time_window\""),
        ] {
            let found = decoded(text).expect_err(text);
            assert!(found.contains(says), "{text}: {found}");
        }
    }
}
