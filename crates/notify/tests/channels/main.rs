//! Every channel end to end: a receiver as alertmanager.yml writes it, sending to a stand-in that checks what arrives.

#![allow(clippy::expect_used, reason = "helpers of tests are not marked as tests")]

mod config_file;
mod dingtalk;
mod email;
mod sms;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use config::Document;
use model::{Labels, TimestampMs};
use notify::{Alert, Delivery, Integration, Notification, SendError};
use runtime::{Metrics, Supervisor};

/// No test should need it; it only ends those that hang.
const DEADLINE: Duration = Duration::from_secs(20);

struct House {
    supervisor: Supervisor,
    metrics: Metrics,
    delivery: Delivery,
}

impl House {
    fn new() -> Self {
        let metrics = Metrics::new("test").expect("registers");
        let delivery = Delivery::new(&metrics).expect("registers");
        Self { supervisor: Supervisor::new(), metrics, delivery }
    }

    /// The one integration of a receiver whose section is `yaml`, indented by nothing.
    fn integration(&self, global: &str, yaml: &str) -> Arc<dyn Integration> {
        let indented = |text: &str| text.lines().map(|l| format!("    {l}\n")).collect::<String>();
        let file = format!("global:\n{}\nreceivers:\n  - name: team\n{}", indented(global), indented(yaml));
        let document = Document::parse("am.yml".as_ref(), &file).expect("is YAML");
        let fields = document.root().mapping().expect("is a mapping");
        let global = fields.get("global");
        let mut receivers = self.delivery.decode_receivers(global.as_ref(), &[], &fields.items("receivers"));
        document.finish().expect("no problems");
        let mut integrations = receivers.remove(0).integrations;
        assert_eq!(integrations.len(), 1);
        integrations.remove(0)
    }

    fn template_failures(&self) -> String {
        let text = String::from_utf8(self.metrics.render()).expect("is UTF-8");
        text.lines().filter(|l| l.starts_with("highwater_notify_template_failures_total")).collect()
    }
}

fn alert(node: &str, resolved: bool) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", "磁盘满"), ("cluster", "c1"), ("node", node), ("severity", "page")]),
        annotations: BTreeMap::from([("summary".to_owned(), format!("{node}: 90% < 100%"))]),
        starts_at: TimestampMs(1_704_164_645_123),
        ends_at: TimestampMs(1_704_168_245_000),
        generator_url: "http://central/graph?g0.expr=up".to_owned(),
        resolved,
    }
}

fn notification() -> Notification {
    Notification {
        receiver: "team".to_owned(),
        group_key: "{}:{alertname=\"磁盘满\"}".to_owned(),
        group_labels: Labels::from_pairs([("alertname", "磁盘满")]),
        alerts: vec![alert("n1", false), alert("n2", true)],
        external_url: "http://am.example:9093".to_owned(),
        truncated_alerts: 0,
        repeat: false,
        now: TimestampMs(1_704_168_245_000),
    }
}

fn many(count: usize) -> Notification {
    Notification { alerts: (0..count).map(|n| alert(&format!("node-{n}"), false)).collect(), ..notification() }
}

fn retry_after(result: Result<(), SendError>) -> Option<Duration> {
    match result {
        Err(SendError::Retry { after, .. }) => after,
        other => panic!("expected a retry, got {other:?}"),
    }
}

fn assert_retry(result: Result<(), SendError>, says: &str) {
    match result {
        Err(SendError::Retry { reason, .. }) => assert!(reason.contains(says), "{reason}"),
        other => panic!("expected a retry that says {says:?}, got {other:?}"),
    }
}

fn assert_permanent(result: Result<(), SendError>, says: &str) {
    match result {
        Err(SendError::Permanent { reason }) => assert!(reason.contains(says), "{reason}"),
        other => panic!("expected a permanent failure that says {says:?}, got {other:?}"),
    }
}
