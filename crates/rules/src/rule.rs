//! What a rule file says, validated.

use std::sync::Arc;
use std::time::Duration;

use model::{Labels, LabelsBuilder, TimestampMs};
use promql::Query;

use crate::Template;

/// Rules that are evaluated together, one after the other.
#[derive(Debug, PartialEq)]
pub struct Group {
    /// Unique within its file.
    pub name: String,
    /// The file it was read from, as the configuration names it.
    pub file: String,
    /// Time between evaluations; at least a millisecond.
    pub interval: Duration,
    /// Most series or alerts that one rule may yield; 0 is no limit.
    pub limit: usize,
    /// How far before the evaluation's time its queries look, and its samples are written.
    pub query_offset: Duration,
    /// In order of evaluation. The group's labels are already among theirs.
    pub rules: Vec<Rule>,
}

impl Group {
    /// The latest of this group's evaluation times that is not after `now`. They lie one interval apart, and a hash of
    /// file and name spreads groups over the interval.
    pub fn slot(&self, now: TimestampMs) -> TimestampMs {
        let interval = self.interval_ms();
        let id = Labels::from_pairs([("file", &self.file), ("name", &self.name)]);
        // Below the interval, which is an i64.
        let offset = (id.fingerprint() % interval.unsigned_abs()) as i64;
        now - (now - offset).0.rem_euclid(interval)
    }

    /// The interval in milliseconds, from 1.
    pub fn interval_ms(&self) -> i64 {
        millis(self.interval).max(1)
    }
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// The alert's name, or that of the recorded series.
    pub name: String,
    /// Its expression.
    pub query: Arc<Query>,
    /// Labels it sets, in order of names; an empty value removes the label.
    pub labels: Vec<(String, Template)>,
    /// What it makes of the result.
    pub kind: RuleKind,
    /// Where it stands in its file.
    pub line: usize,
}

/// What a rule makes of its result.
#[derive(Debug, PartialEq)]
pub enum RuleKind {
    /// Series.
    Recording,
    /// Alerts.
    Alerting(AlertSettings),
}

/// What only alerting rules have.
#[derive(Debug, Default, PartialEq)]
pub struct AlertSettings {
    /// `for`: how long the condition must hold before the alert fires.
    pub hold: Duration,
    /// How long the alert goes on after the condition ends.
    pub keep_firing_for: Duration,
    /// Annotations, in order of names.
    pub annotations: Vec<(String, Template)>,
}

impl Rule {
    /// The labels as written.
    pub fn written_labels(&self) -> Labels {
        written(&self.labels)
    }

    /// Whether an alert with these labels can be one of this rule: it has those that the rule sets. What a template makes
    /// is not known.
    pub(crate) fn may_have(&self, labels: &Labels) -> bool {
        let is_there = |(name, value): &(String, Template)| {
            value.text().contains("{{") || labels.get(name).unwrap_or_default() == value.text()
        };
        self.labels.iter().all(is_there)
    }

    /// Whether `other` is the same rule for what is remembered of it: kind, name and labels, as in Prometheus. A changed
    /// expression or `for` keeps the alerts.
    pub(crate) fn continues(&self, other: &Self) -> bool {
        let same_kind = std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind);
        same_kind && self.name == other.name && self.labels == other.labels
    }
}

impl PartialEq for Rule {
    /// The line does not count: a rule that only moved within its file is unchanged.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.labels == other.labels
            && self.kind == other.kind
            && self.query.text() == other.query.text()
    }
}

/// Templates as written.
pub(crate) fn written(pairs: &[(String, Template)]) -> Labels {
    let mut builder = LabelsBuilder::new();
    for (name, template) in pairs {
        builder.set(name, template.text());
    }
    builder.build()
}

/// Milliseconds; longer durations than an i64 holds are refused where durations are parsed.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
