//! What rules look like from outside: the JSON of Prometheus' `/api/v1/rules` and `/api/v1/alerts`.

use model::{Labels, TimestampMs};
use serde::{Serialize, Serializer};

use crate::text::{exponent_form, rfc3339};

/// One rule group.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// Its name, unique within its file.
    pub name: String,
    /// The file it was read from.
    pub file: String,
    /// Its rules, in order of evaluation.
    pub rules: Vec<RuleStatus>,
    /// Seconds between evaluations.
    pub interval: f64,
    /// Most series or alerts a rule may yield; 0 is no limit.
    pub limit: u64,
    /// Seconds the last evaluation took.
    pub evaluation_time: f64,
    /// When it was last evaluated; `None` is shown as Go's zero time.
    #[serde(serialize_with = "time")]
    pub last_evaluation: Option<TimestampMs>,
}

/// One rule. `type` tells which.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RuleStatus {
    /// An alerting rule.
    Alerting(AlertingStatus),
    /// A recording rule.
    Recording(RecordingStatus),
}

impl RuleStatus {
    /// The alert's or the recorded series' name.
    pub fn name(&self) -> &str {
        match self {
            Self::Alerting(rule) => &rule.name,
            Self::Recording(rule) => &rule.name,
        }
    }

    /// The labels that the rule adds, templates unexpanded.
    pub fn labels(&self) -> &Labels {
        match self {
            Self::Alerting(rule) => &rule.labels,
            Self::Recording(rule) => &rule.labels,
        }
    }
}

/// An alerting rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertingStatus {
    /// The most advanced state among its alerts.
    pub state: AlertState,
    /// The alert's name.
    pub name: String,
    /// The expression.
    pub query: String,
    /// `for`, in seconds.
    pub duration: f64,
    /// `keep_firing_for`, in seconds.
    pub keep_firing_for: f64,
    /// Labels it adds, templates unexpanded.
    pub labels: Labels,
    /// Annotations, templates unexpanded.
    pub annotations: Labels,
    /// Alerts that are pending or firing, sorted by labels.
    pub alerts: Vec<AlertStatus>,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Seconds the last evaluation took.
    pub evaluation_time: f64,
    /// When it was last evaluated.
    #[serde(serialize_with = "time")]
    pub last_evaluation: Option<TimestampMs>,
}

/// A recording rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingStatus {
    /// The recorded series' name.
    pub name: String,
    /// The expression.
    pub query: String,
    /// Labels it adds.
    pub labels: Labels,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Seconds the last evaluation took.
    pub evaluation_time: f64,
    /// When it was last evaluated.
    #[serde(serialize_with = "time")]
    pub last_evaluation: Option<TimestampMs>,
}

/// One alert that is pending or firing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// Its labels, `alertname` included.
    pub labels: Labels,
    /// Its annotations, expanded.
    pub annotations: Labels,
    /// Pending or firing.
    pub state: AlertState,
    /// Since when its condition has held.
    #[serde(serialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub active_at: Option<TimestampMs>,
    /// Since when it fires only because of `keep_firing_for`.
    #[serde(serialize_with = "time", skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<TimestampMs>,
    /// The expression's last value; shown in exponent form.
    #[serde(serialize_with = "exponent")]
    pub value: f64,
}

/// How far an alert has come. Later states sort after earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// Its condition does not hold.
    #[default]
    Inactive,
    /// Its condition holds, but not yet for long enough.
    Pending,
    /// It is being notified.
    Firing,
}

impl AlertState {
    /// The value of the `alertstate` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// How a rule's last evaluation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It was not evaluated yet.
    #[default]
    Unknown,
    /// It succeeded.
    Ok,
    /// It failed.
    Err,
}

fn time<S: Serializer>(at: &Option<TimestampMs>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_str(&rfc3339(*at)),
        None => serializer.serialize_str("0001-01-01T00:00:00Z"),
    }
}

fn exponent<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&exponent_form(*value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alert() -> AlertStatus {
        AlertStatus {
            labels: Labels::from_pairs([("alertname", "Down"), ("job", "a")]),
            annotations: Labels::from_pairs([("summary", "gone")]),
            state: AlertState::Firing,
            active_at: Some(TimestampMs(1_700_000_000_250)),
            keep_firing_since: None,
            value: 0.0,
        }
    }

    #[test]
    fn groups_look_as_in_prometheus() {
        let alerting = AlertingStatus {
            state: AlertState::Firing,
            name: "Down".into(),
            query: "up == 0".into(),
            duration: 60.0,
            keep_firing_for: 0.0,
            labels: Labels::from_pairs([("severity", "page")]),
            annotations: Labels::empty(),
            alerts: vec![alert()],
            health: Health::Ok,
            last_error: None,
            evaluation_time: 0.25,
            last_evaluation: Some(TimestampMs(1_700_000_000_000)),
        };
        let recording = RecordingStatus {
            name: "a:b".into(),
            query: "sum(b)".into(),
            labels: Labels::empty(),
            health: Health::Err,
            last_error: Some("broken".into()),
            evaluation_time: 0.0,
            last_evaluation: None,
        };
        let group = GroupStatus {
            name: "g".into(),
            file: "/rules.yml".into(),
            rules: vec![RuleStatus::Alerting(alerting), RuleStatus::Recording(recording)],
            interval: 15.0,
            limit: 0,
            evaluation_time: 0.5,
            last_evaluation: None,
        };
        let want = json!({
            "name": "g", "file": "/rules.yml", "interval": 15.0, "limit": 0, "evaluationTime": 0.5,
            "lastEvaluation": "0001-01-01T00:00:00Z",
            "rules": [{
                "type": "alerting", "state": "firing", "name": "Down", "query": "up == 0", "duration": 60.0,
                "keepFiringFor": 0.0, "labels": {"severity": "page"}, "annotations": {}, "health": "ok",
                "evaluationTime": 0.25, "lastEvaluation": "2023-11-14T22:13:20Z",
                "alerts": [{
                    "labels": {"alertname": "Down", "job": "a"}, "annotations": {"summary": "gone"},
                    "state": "firing", "activeAt": "2023-11-14T22:13:20.25Z", "value": "0e+00",
                }],
            }, {
                "type": "recording", "name": "a:b", "query": "sum(b)", "labels": {}, "health": "err",
                "lastError": "broken", "evaluationTime": 0.0, "lastEvaluation": "0001-01-01T00:00:00Z",
            }],
        });
        assert_eq!(serde_json::to_value(&group).expect("serialises"), want);
    }
}
