//! What the demo found, as one JSON object.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fault::{ALERT, Travel};
use super::messages::Channel;
use super::summary::{PerTier, Snapshot};

/// The object on the last line of `--json`.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Whether every link of the chain held.
    pub ok: bool,
    /// Why not, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// From the start of the demo to "all links healthy".
    pub seconds_to_healthy: Option<f64>,
    pub processes: usize,
    pub targets: Targets,
    pub samples: Samples,
    pub freshness_seconds: Option<f64>,
    pub alerts: Alerts,
    /// How many messages arrived, by channel.
    pub messages: BTreeMap<Channel, usize>,
    pub fault: Option<FaultReport>,
    /// From the fault to the first message that names the cluster, by channel; null where none came.
    pub seconds_from_fault_to_message: BTreeMap<Channel, Option<f64>>,
    /// From the end of the fault to the message that tells of it, on channels that tell.
    pub seconds_from_end_to_message: BTreeMap<Channel, f64>,
    /// Every link by name: "ok", or what is wrong.
    pub links: BTreeMap<String, String>,
}

#[derive(Debug, Default, Serialize)]
pub struct Targets {
    pub up: u64,
    pub total: u64,
}

#[derive(Debug, Default, Serialize)]
pub struct Samples {
    /// Scraped by edges, received by cascades and centrals.
    pub total: PerTier,
    pub per_second: PerTier,
}

#[derive(Debug, Default, Serialize)]
pub struct Alerts {
    pub firing: usize,
    pub names: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct FaultReport {
    pub kind: &'static str,
    pub metacluster: String,
    pub cluster: String,
    pub alert: &'static str,
}

impl Report {
    /// One of a demo that could not even begin.
    pub fn failed(error: &anyhow::Error) -> Self {
        Self { error: Some(format!("{error:#}")), ..Self::default() }
    }

    pub fn set_snapshot(&mut self, snapshot: &Snapshot) {
        self.targets = Targets { up: snapshot.targets_up, total: snapshot.targets };
        self.samples = Samples { total: snapshot.samples, per_second: snapshot.samples_per_second };
        self.freshness_seconds = snapshot.freshness_seconds.map(rounded);
        self.alerts = Alerts { firing: snapshot.firing.len(), names: snapshot.firing.clone() };
        self.messages = snapshot.messages.iter().copied().collect();
    }

    pub fn set_travel(&mut self, travel: &Travel) {
        self.fault = Some(FaultReport {
            kind: travel.kind(),
            metacluster: travel.metacluster.clone(),
            cluster: travel.cluster.clone(),
            alert: ALERT,
        });
        self.seconds_from_fault_to_message = Channel::ALL.map(|c| (c, travel.arrived.get(&c).copied())).into();
        self.seconds_from_end_to_message.clone_from(&travel.resolved);
    }

    pub fn set_link(&mut self, name: String, state: Result<(), String>) {
        self.links.insert(name, state.err().unwrap_or_else(|| "ok".to_owned()));
    }

    /// The links that do not hold, with what is wrong.
    pub fn broken(&self) -> impl Iterator<Item = (&String, &String)> {
        self.links.iter().filter(|(_, state)| *state != "ok")
    }

    /// Judges the whole once everything else is set.
    pub fn judge(&mut self) {
        if self.error.is_none() {
            let broken: Vec<_> = self.broken().map(|(name, state)| format!("{name}: {state}")).collect();
            if !broken.is_empty() {
                self.error =
                    Some(format!("{} of {} links failed: {}", broken.len(), self.links.len(), broken.join("; ")));
            }
        }
        self.ok = self.error.is_none();
    }
}

/// Whole milliseconds: nobody can measure more here.
pub fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_what_the_readme_promises() {
        let mut report = Report::default();
        report.set_snapshot(&Snapshot {
            targets: 2,
            targets_up: 1,
            messages: vec![(Channel::DingTalk, 3)],
            ..Snapshot::default()
        });
        report.seconds_from_fault_to_message = [(Channel::Sms, None), (Channel::Email, Some(1.5))].into();
        report.set_link("a -> b".to_owned(), Ok(()));
        report.judge();
        let json = serde_json::to_value(&report).expect("serializes");
        assert_eq!(json["ok"], true);
        assert_eq!(json["targets"], serde_json::json!({"up": 1, "total": 2}));
        assert_eq!(json["messages"], serde_json::json!({"dingtalk": 3}));
        assert_eq!(json["seconds_from_fault_to_message"], serde_json::json!({"email": 1.5, "sms": null}));
        assert_eq!(json["links"]["a -> b"], "ok");
        for key in ["samples", "freshness_seconds", "alerts", "fault", "seconds_to_healthy"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        assert!(!serde_json::to_string(&report).expect("serializes").contains('\n'));
    }

    #[test]
    fn a_broken_link_fails_the_whole_and_is_named() {
        let mut report = Report::default();
        report.set_link("a -> b".to_owned(), Ok(()));
        report.set_link("b -> c".to_owned(), Err("it is dark".to_owned()));
        report.judge();
        assert!(!report.ok);
        assert_eq!(report.error.as_deref(), Some("1 of 2 links failed: b -> c: it is dark"));
    }
}
