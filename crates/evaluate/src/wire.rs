//! Alerts as Alertmanager's API v2 takes them.

use std::sync::Arc;

use model::Labels;
use rules::{AlertToSend, rfc3339};
use serde::Serialize;

/// One alert as JSON, made once for all routers.
pub(crate) type WireAlert = Arc<str>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

/// One alert with labels that may differ from its own.
pub(crate) fn encode(alert: &AlertToSend, labels: &Labels) -> Option<WireAlert> {
    let postable = PostableAlert {
        labels,
        annotations: &alert.annotations,
        starts_at: rfc3339(alert.starts_at),
        ends_at: rfc3339(alert.ends_at),
        generator_url: &alert.generator_url,
    };
    // Strings always serialise.
    serde_json::to_string(&postable).ok().map(Arc::from)
}

/// A request's body.
pub(crate) fn body(alerts: &[WireAlert]) -> String {
    format!("[{}]", alerts.join(","))
}
