//! What a tier's configuration file says: Prometheus' sections, decoded by the blocks they belong to.

use std::path::Path;
use std::sync::Arc;

use config::{Document, Global, Mapping, Problems};
use evaluate::{AlertingConfig, EvaluationConfig};
use forward::RemoteWriteConfig;
use promql::Engine;
use rules::{Group, GroupDefaults};
use scrape::ScrapeConfig;

/// A validated configuration.
#[derive(Debug, Default)]
pub struct Settings {
    /// `global`
    pub global: Global,
    /// `scrape_configs`
    pub scrape: Vec<ScrapeConfig>,
    /// The groups of all `rule_files`.
    pub groups: Vec<Arc<Group>>,
    /// `alerting`
    pub alerting: AlertingConfig,
    /// `remote_write`
    pub remote_write: Vec<RemoteWriteConfig>,
    /// The file's text, for the status API.
    pub text: String,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

/// Sections of prometheus.yml that no tier has.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("remote_read", "query the other server, or let it remote-write here"),
    ("scrape_config_files", "list the jobs under scrape_configs"),
    ("storage", "use the --storage.* flags"),
    ("tracing", "remove it"),
    ("otlp", "remove it"),
    ("runtime", "remove it"),
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
        self.scrape = ScrapeConfig::decode_list(fields, "scrape_configs", &self.global);
        self.remote_write = RemoteWriteConfig::decode_list(&fields.items("remote_write"));
        let evaluation = EvaluationConfig::decode(fields);
        let defaults = GroupDefaults { interval: self.global.evaluation_interval, ..GroupDefaults::default() };
        match evaluation.load_rules(engine, &defaults) {
            Ok(loaded) => {
                self.groups = loaded.groups;
                self.warnings = loaded.warnings;
            }
            Err(found) => problems.extend(found),
        }
        self.alerting = evaluation.alerting;
        for (key, advice) in UNSUPPORTED {
            fields.unsupported(key, advice);
        }
    }
}
