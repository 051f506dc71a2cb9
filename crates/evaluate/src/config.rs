//! The sections `rule_files` and `alerting`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use config::{Mapping, Problems};
use promql::Engine;
use rules::{Group, GroupDefaults, RuleFile, expand_pattern};

use crate::AlertingConfig;

/// What a configuration says about rules and alerts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvaluationConfig {
    /// `rule_files`: paths, wildcards allowed in the last component.
    pub rule_files: Vec<PathBuf>,
    /// `alerting`
    pub alerting: AlertingConfig,
}

/// The rules that the files hold now.
#[derive(Debug, Default)]
pub struct LoadedRules {
    /// The groups, by file, in order within it.
    pub groups: Vec<Arc<Group>>,
    /// What is allowed but probably not meant, as `file:line: message`.
    pub warnings: Vec<String>,
}

impl EvaluationConfig {
    /// Asks a configuration's root for both sections; the caller goes on with its own and finishes the root.
    pub fn decode(fields: &Mapping<'_>) -> Self {
        let mut rule_files = Vec::new();
        for item in fields.items("rule_files") {
            let Some(path) = item.path() else { continue };
            match expand_pattern(&path) {
                Ok(_) => rule_files.push(path),
                Err(message) => item.problem(message),
            }
        }
        let alerting = fields.get("alerting").map(|n| AlertingConfig::decode(&n)).unwrap_or_default();
        Self { rule_files, alerting }
    }

    /// Reads the rule files as they are now.
    ///
    /// # Errors
    /// Every problem in every file.
    pub fn load_rules(&self, engine: &Engine, defaults: &GroupDefaults) -> Result<LoadedRules, Problems> {
        let (mut files, mut problems) = (BTreeSet::new(), Problems::default());
        for pattern in &self.rule_files {
            match expand_pattern(pattern) {
                Ok(found) => files.extend(found),
                Err(message) => problems.extend(Problems::of_file(pattern, message)),
            }
        }
        let mut loaded = LoadedRules::default();
        for path in files {
            match RuleFile::load(&path, engine, defaults) {
                Ok(file) => {
                    loaded.groups.extend(file.groups.into_iter().map(Arc::new));
                    loaded.warnings.extend(file.warnings);
                }
                Err(found) => problems.extend(found),
            }
        }
        problems.or(loaded)
    }
}
