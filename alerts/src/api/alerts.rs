//! `/alerts` and `/alerts/groups`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use model::{Labels, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::filter::{AlertFilter, Pairs};
use super::{Api, Refusal, time};
use crate::config::Config;
use crate::engine::alert::AlertRecord;
use crate::engine::order::label_order;
use crate::engine::state::{Flush, Suppression};

/// The lock is given back after so many alerts of a listing.
const CHUNK: usize = 500;

#[derive(Serialize)]
pub(super) struct ShownAlert {
    annotations: BTreeMap<String, String>,
    #[serde(rename = "endsAt")]
    ends_at: String,
    fingerprint: String,
    receivers: Vec<ShownReceiver>,
    #[serde(rename = "startsAt")]
    starts_at: String,
    status: ShownStatus,
    #[serde(rename = "updatedAt")]
    updated_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "String::is_empty")]
    generator_url: String,
    labels: Labels,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownStatus {
    inhibited_by: Vec<String>,
    muted_by: Vec<String>,
    silenced_by: Vec<String>,
    state: &'static str,
}

/// A receiver by name.
#[derive(Serialize, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ShownReceiver {
    pub name: String,
}

#[derive(Serialize)]
pub(super) struct ShownGroup {
    alerts: Vec<ShownAlert>,
    labels: Labels,
    receiver: ShownReceiver,
}

/// Lists what fires.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Vec<ShownAlert>>, Refusal> {
    let filter = AlertFilter::parse(&pairs)?;
    // Many alerts and silences are work for a CPU, not for the threads that answer heartbeats.
    let shown = tokio::task::spawn_blocking(move || list_alerts(&api, &filter)).await;
    shown.map(Json).map_err(Refusal::internal)
}

fn list_alerts(api: &Api, filter: &AlertFilter) -> Vec<ShownAlert> {
    let now = runtime::now();
    let (config, alerts): (_, Vec<_>) = {
        let state = api.core.state.lock();
        let firing = state.alerts.iter().filter(|a| !a.resolved_at(now) && filter.takes_labels(&a.labels));
        (state.config.clone(), firing.cloned().collect())
    };
    let mut shown = Vec::new();
    for chunk in alerts.chunks(CHUNK) {
        let state = api.core.state.lock();
        for alert in chunk {
            let receivers = receivers_of(&config, &alert.labels);
            let suppression = state.suppression(&alert.labels, now);
            if receivers.iter().any(|r| filter.takes_receiver(&r.name)) && filter.takes_condition(&suppression) {
                shown.push(show(alert, receivers, suppression, Vec::new()));
            }
        }
    }
    shown.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    shown
}

/// Lists what fires, in the groups in which it is notified of.
pub(super) async fn groups(
    State(api): State<Arc<Api>>,
    Query(pairs): Query<Pairs>,
) -> Result<Json<Vec<ShownGroup>>, Refusal> {
    let filter = AlertFilter::parse(&pairs)?;
    let shown = tokio::task::spawn_blocking(move || list_groups(&api, &filter)).await;
    shown.map(Json).map_err(Refusal::internal)
}

fn list_groups(api: &Api, filter: &AlertFilter) -> Vec<ShownGroup> {
    let now = runtime::now();
    let groups = api.core.state.lock().groups(now);
    let mut shown: Vec<_> = groups.iter().filter_map(|group| show_group(api, group, filter)).collect();
    shown.sort_by(|a, b| label_order(&a.labels, &b.labels).then_with(|| a.receiver.cmp(&b.receiver)));
    shown
}

fn show_group(api: &Api, group: &Flush, filter: &AlertFilter) -> Option<ShownGroup> {
    let options = &group.config.routes.get(group.id.0)?.options;
    if !filter.takes_receiver(&options.receiver) {
        return None;
    }
    let muted_by = group.config.muted_by(options, group.now);
    let mut alerts = Vec::new();
    for chunk in group.alerts.chunks(CHUNK) {
        let state = api.core.state.lock();
        for alert in chunk.iter().filter(|a| !a.resolved_at(group.now) && filter.takes_labels(&a.labels)) {
            let suppression = state.suppression(&alert.labels, group.now);
            if filter.takes_condition(&suppression) {
                let receivers = receivers_of(&group.config, &alert.labels);
                alerts.push(show(alert, receivers, suppression, muted_by.clone()));
            }
        }
    }
    let receiver = ShownReceiver { name: options.receiver.clone() };
    (!alerts.is_empty()).then(|| ShownGroup { alerts, labels: group.id.1.clone(), receiver })
}

fn receivers_of(config: &Config, labels: &Labels) -> Vec<ShownReceiver> {
    let routes = config.routes.matching(labels).into_iter().filter_map(|i| config.routes.get(i));
    routes.map(|r| ShownReceiver { name: r.options.receiver.clone() }).collect()
}

fn show(
    alert: &AlertRecord,
    receivers: Vec<ShownReceiver>,
    suppression: Suppression,
    muted_by: Vec<String>,
) -> ShownAlert {
    let suppressed = suppression.any() || !muted_by.is_empty();
    let status = ShownStatus {
        state: if suppressed { "suppressed" } else { "active" },
        inhibited_by: suppression.inhibited_by.iter().map(|f| format!("{f:016x}")).collect(),
        muted_by,
        silenced_by: suppression.silenced_by,
    };
    ShownAlert {
        annotations: alert.annotations.clone(),
        ends_at: time::format(alert.ends_at),
        fingerprint: format!("{:016x}", alert.fingerprint()),
        receivers,
        starts_at: time::format(alert.starts_at),
        status,
        updated_at: time::format(alert.updated_at),
        generator_url: alert.generator_url.clone(),
        labels: alert.labels.clone(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    starts_at: Option<String>,
    #[serde(default)]
    ends_at: Option<String>,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
}

/// Takes alerts. What is valid and has room is kept; if anything was not, the answer names every reason.
pub(super) async fn post(State(api): State<Arc<Api>>, body: Bytes) -> Result<StatusCode, Refusal> {
    let posted: Vec<Value> = serde_json::from_slice(&body)
        .map_err(|e| Refusal::malformed(format!("the body is not a JSON list of alerts: {e}")))?;
    let now = runtime::now();
    let resolve_timeout = api.core.state.lock().config.resolve_timeout;
    let resolve_timeout_ms = i64::try_from(resolve_timeout.as_millis()).unwrap_or(i64::MAX);
    let mut reasons = Vec::new();
    let mut status = StatusCode::BAD_REQUEST;
    for (index, value) in posted.into_iter().enumerate() {
        let record = match read_alert(value, now, resolve_timeout_ms) {
            Ok(record) => record,
            Err(reason) => {
                api.metrics.invalid.with_label_values(&["v2"]).inc();
                reasons.push(format!("alert {index}: {reason}"));
                continue;
            }
        };
        let word = if record.resolved_at(now) { "resolved" } else { "firing" };
        api.metrics.received.with_label_values(&[word, "v2"]).inc();
        let fingerprint = record.fingerprint();
        match api.core.receive(record) {
            Ok(()) => api.cluster.alert_changed(fingerprint),
            Err(refused) => {
                api.metrics.refused.with_label_values(&[refused.reason()]).inc();
                // Senders try again on 5xx, and there may be room by then.
                status = StatusCode::SERVICE_UNAVAILABLE;
                reasons.push(format!("alert {index}: {refused}"));
            }
        }
    }
    if reasons.is_empty() {
        return Ok(StatusCode::OK);
    }
    tracing::warn!(refused = reasons.len(), first = reasons.first(), "alerts were not taken");
    Err(Refusal::of(status, reasons.join("; ")))
}

/// Fills in what a sender may leave out, as Alertmanager does.
fn read_alert(value: Value, now: TimestampMs, resolve_timeout_ms: i64) -> Result<AlertRecord, String> {
    let posted: PostedAlert = serde_json::from_value(value).map_err(|e| e.to_string())?;
    let given_start = time::parse(posted.starts_at.as_deref()).map_err(|e| format!("startsAt: {e}"))?;
    let given_end = time::parse(posted.ends_at.as_deref()).map_err(|e| format!("endsAt: {e}"))?;
    let record = AlertRecord {
        labels: Labels::from_pairs(posted.labels.unwrap_or_default()),
        annotations: posted.annotations.unwrap_or_default(),
        starts_at: given_start.or(given_end).unwrap_or(now),
        ends_at: given_end.unwrap_or(now + resolve_timeout_ms),
        updated_at: now,
        generator_url: posted.generator_url.unwrap_or_default(),
        timeout: given_end.is_none(),
    };
    record.validate().map_err(|e| e.to_string())?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let now = TimestampMs(1_769_860_800_000);
        let (before, after) = ("2026-01-31T11:59:00Z", "2026-01-31T12:01:00Z");
        let minute = 60_000;
        let cases = [
            (json!({}), (0, 5 * minute, true)),
            (json!({"startsAt": before}), (-minute, 5 * minute, true)),
            (json!({"endsAt": before}), (-minute, -minute, false)),
            (json!({"startsAt": before, "endsAt": after}), (-minute, minute, false)),
            (json!({"startsAt": "0001-01-01T00:00:00Z", "endsAt": after}), (minute, minute, false)),
        ];
        for (mut value, (starts, ends, timeout)) in cases {
            value["labels"] = json!({"a": "1", "empty": ""});
            value["annotations"] = json!({"empty": ""});
            let alert = read_alert(value.clone(), now, 5 * minute).expect("is valid");
            assert_eq!((alert.starts_at - now, alert.ends_at - now, alert.timeout), (starts, ends, timeout), "{value}");
            // An empty label is none; an empty annotation is one that templates see.
            assert_eq!((alert.labels.len(), alert.annotations.len()), (1, 1));
        }
    }

    #[test]
    fn nonsense_is_named() {
        let cases = [
            (json!("text"), "invalid type"),
            (json!({}), "at least one label"),
            (json!({"labels": {"a": ""}}), "at least one label"),
            (json!({"labels": {"a": 1}}), "invalid type"),
            (json!({"labels": {"a": "1"}, "startsAt": "now"}), "startsAt: not a time"),
            (
                json!({"labels": {"a": "1"}, "startsAt": "2026-01-31T12:00:00Z", "endsAt": "2026-01-31T11:00:00Z"}),
                "before end",
            ),
        ];
        for (value, want) in cases {
            let error = read_alert(value.clone(), TimestampMs(0), 0).expect_err("is not valid");
            assert!(error.contains(want), "{value}: {error}");
        }
    }
}
