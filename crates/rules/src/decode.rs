//! From a rule file's tree to groups; every problem is reported where it stands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Mapping, Node};
use model::{METRIC_NAME, is_legacy_label_name};
use promql::{Engine, PromqlError, Query, ValueType};

use crate::rule::{AlertSettings, Rule, RuleKind};
use crate::{Group, GroupDefaults, Template};

/// Everything that decoding one file needs.
pub(crate) struct Decoder<'e> {
    file: String,
    engine: &'e Engine,
    defaults: &'e GroupDefaults,
    pub(crate) warnings: Vec<String>,
}

impl<'e> Decoder<'e> {
    pub(crate) fn new(file: &Path, engine: &'e Engine, defaults: &'e GroupDefaults) -> Self {
        Self { file: file.display().to_string(), engine, defaults, warnings: Vec::new() }
    }

    pub(crate) fn file(&mut self, root: &Node<'_>) -> Vec<Group> {
        // An empty file is a file without groups, as in Prometheus.
        if root.is_null() {
            return Vec::new();
        }
        let Some(fields) = root.mapping() else { return Vec::new() };
        let mut groups: Vec<Group> = Vec::new();
        for node in fields.items("groups") {
            let Some(group) = self.group(&node) else { continue };
            if groups.iter().any(|g| g.name == group.name) {
                node.problem(format!("the group name {:?} is used twice in this file; rename one of them", group.name));
            }
            groups.push(group);
        }
        fields.finish();
        groups
    }

    fn group(&mut self, node: &Node<'_>) -> Option<Group> {
        let fields = node.mapping()?;
        let name = fields.required("name").and_then(|n| n.string());
        if name.as_deref() == Some("") {
            node.problem("the group name is empty; give it one");
        }
        let interval = fields.positive_duration("interval").unwrap_or(self.defaults.interval);
        let query_offset = fields.duration("query_offset").unwrap_or(self.defaults.query_offset);
        let limit = fields.u64("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let shared = fields.get("labels").map(|n| pairs(&n, "label", as_literal)).unwrap_or_default();
        let mut rules: Vec<Rule> = Vec::new();
        for (index, item) in fields.items("rules").iter().enumerate() {
            let place = format!("group {:?}, rule {}", name.as_deref().unwrap_or_default(), index + 1);
            let Some(rule) = self.rule(item, &place, &shared) else { continue };
            self.compare(item, &rule, &rules);
            rules.push(rule);
        }
        fields.finish();
        Some(Group { name: name?, file: self.file.clone(), interval, limit, query_offset, rules })
    }

    /// `place` says which one it is, for what is wrong with its expression.
    fn rule(&mut self, node: &Node<'_>, place: &str, shared: &[(String, Template)]) -> Option<Rule> {
        let fields = node.mapping()?;
        let (record, alert) = (fields.get("record"), fields.get("alert"));
        let is_alerting = alert.is_some();
        let named = match (record, alert) {
            (Some(_), Some(_)) => {
                node.problem("only one of record and alert may be set; split it into two rules");
                None
            }
            (None, None) => {
                node.problem("one of record and alert must be set; add the one that is meant");
                None
            }
            (Some(record), None) => record_name(&record),
            (None, Some(alert)) => alert_name(&alert),
        };
        let place = named.as_ref().map_or_else(|| place.to_owned(), |name| format!("{place}, {name:?}"));
        let query = fields.required("expr").and_then(|n| self.expression(&n, &place));
        let settings = if is_alerting { alert_settings(&fields) } else { refuse_alert_settings(&fields) };
        let reader = if is_alerting { as_template } else { as_literal };
        let own = fields.get("labels").map(|n| pairs(&n, "label", reader)).unwrap_or_default();
        fields.finish();
        let name = named?;
        let kind = if is_alerting { RuleKind::Alerting(settings) } else { RuleKind::Recording };
        Some(Rule { name, query: query?, labels: merged(shared, own, is_alerting), kind, line: node.line() })
    }

    fn expression(&self, node: &Node<'_>, place: &str) -> Option<Arc<Query>> {
        let text = node.text()?;
        if text.trim().is_empty() {
            node.problem(format!("{place}: expr is empty; write a PromQL expression"));
            return None;
        }
        let query = node.parse(|text| {
            self.engine.parse(text).map_err(|error| match error {
                PromqlError::Unsupported { .. } => format!("{place}: {error}"),
                _ => format!("{place}: expr is not valid PromQL: {error}"),
            })
        })?;
        if matches!(query.value_type(), ValueType::String | ValueType::Matrix) {
            node.problem(format!(
                "{place}: expr must be an instant vector or a scalar, not a {}; aggregate it over time, for example with \
                 rate()",
                query.value_type().documented()
            ));
            return None;
        }
        Some(query)
    }

    /// The same rule twice is a mistake that does no harm, and Prometheus takes it. Two recording rules for the same series
    /// may have disjoint results.
    fn compare(&mut self, node: &Node<'_>, rule: &Rule, earlier: &[Rule]) {
        let Some(twin) = earlier.iter().find(|r| r.continues(rule)) else { return };
        let (name, line) = (&rule.name, twin.line);
        if twin.query.to_promql() == rule.query.to_promql() {
            self.warnings.push(format!(
                "{}:{}: the rule {name:?} is the same as the one at line {line}; remove one of them",
                self.file,
                node.line()
            ));
        } else if rule.kind == RuleKind::Recording {
            self.warnings.push(format!(
                "{}:{}: {name:?} is recorded with the same labels as at line {line}; if both yield a series, one is lost",
                self.file,
                node.line()
            ));
        }
    }
}

fn alert_settings(fields: &Mapping<'_>) -> AlertSettings {
    AlertSettings {
        hold: fields.duration("for").unwrap_or_default(),
        keep_firing_for: fields.duration("keep_firing_for").unwrap_or_default(),
        annotations: fields.get("annotations").map(|n| pairs(&n, "annotation", as_template)).unwrap_or_default(),
    }
}

fn refuse_alert_settings(fields: &Mapping<'_>) -> AlertSettings {
    for key in ["for", "keep_firing_for"] {
        if let Some(node) = fields.get(key)
            && node.duration().is_some_and(|d| d > Duration::ZERO)
        {
            node.problem(format!("{key} belongs to alerting rules only; remove it"));
        }
    }
    if let Some(node) = fields.get("annotations") {
        node.problem("annotations belong to alerting rules only; remove them");
    }
    AlertSettings::default()
}

fn alert_name(node: &Node<'_>) -> Option<String> {
    let name = node.string()?;
    if name.is_empty() {
        node.problem("the alert's name is empty; give it one");
        return None;
    }
    Some(name)
}

/// Letters of any script and dots are allowed (Prometheus 3 does), characters that mean something in an expression are
/// not: `a-b` or `a{b="c"}` as a name is a mistake.
fn record_name(node: &Node<'_>) -> Option<String> {
    let name = node.string()?;
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '.');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(legal) {
        let hint = if name.contains('{') { "put labels under labels: and selectors into expr" } else { "rename it" };
        node.problem(format!(
            "{name:?} is not a metric name (letters, digits, underscores, colons; no digit first); {hint}"
        ));
        return None;
    }
    Some(name)
}

fn as_template(node: &Node<'_>) -> Option<Template> {
    node.parse(Template::parse)
}

fn as_literal(node: &Node<'_>) -> Option<Template> {
    node.text().map(Template::literal)
}

/// A section of label or annotation names, sorted.
fn pairs(node: &Node<'_>, what: &str, read: fn(&Node<'_>) -> Option<Template>) -> Vec<(String, Template)> {
    let mut out = Vec::new();
    let Some(section) = node.mapping() else { return out };
    for (name, key, value) in section.entries() {
        if !is_legacy_label_name(name) || name == METRIC_NAME {
            key.problem(format!(
                "{name:?} is not a name for a {what}; use letters, digits and underscores, begin with no digit, and not \
                 {METRIC_NAME}"
            ));
        } else if let Some(template) = if value.is_null() { Some(Template::literal("")) } else { read(&value) } {
            out.push((name.to_owned(), template));
        }
    }
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    out
}

/// The group's labels, overridden by the rule's. They are templates in alerting rules only.
fn merged(shared: &[(String, Template)], own: Vec<(String, Template)>, templates: bool) -> Vec<(String, Template)> {
    let mut out = own;
    for (name, literal) in shared {
        if !out.iter().any(|(n, _)| n == name) {
            let value = if templates { Template::parse(literal.text()).ok() } else { None };
            out.push((name.clone(), value.unwrap_or_else(|| literal.clone())));
        }
    }
    out.sort_by(|(a, _), (b, _)| a.cmp(b));
    out
}
