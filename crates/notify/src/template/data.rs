//! What templates see of a notification, and how they reach into it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{TemplateError, Value};
use model::{Labels, TimestampMs};

use super::time;
use crate::{Alert, Notification};

type Map = BTreeMap<Arc<str>, Value>;

/// Alertmanager's template data. Only the first `shown` alerts are listed; what is common is common to all.
pub(crate) fn of(notification: &Notification, shown: usize) -> Value {
    let common_annotations = notification.common_annotations();
    record([
        ("Receiver", text(&quote_like_regex(&notification.receiver))),
        ("Status", text(notification.status())),
        ("Alerts", Value::List(notification.alerts.iter().take(shown).map(alert).collect())),
        ("GroupLabels", labels(&notification.group_labels)),
        ("CommonLabels", labels(&notification.common_labels())),
        ("CommonAnnotations", pairs(common_annotations.iter().map(|(n, v)| (n.as_str(), v.as_str())))),
        ("ExternalURL", text(&notification.external_url)),
    ])
}

/// A notification that exercises templates when a file is checked.
pub(crate) fn sample() -> Value {
    let labels = Labels::from_pairs([("alertname", "Example"), ("severity", "warning")]);
    let alert = |resolved| Alert {
        labels: labels.clone(),
        annotations: BTreeMap::from([("summary".to_owned(), "An example".to_owned())]),
        starts_at: TimestampMs(0),
        ends_at: TimestampMs(60_000),
        generator_url: "http://localhost/graph".to_owned(),
        resolved,
    };
    let notification = Notification {
        receiver: "example".to_owned(),
        group_key: "{}:{}".to_owned(),
        group_labels: labels.keep_only(&["alertname"]),
        alerts: vec![alert(false), alert(true)],
        external_url: "http://localhost".to_owned(),
        truncated_alerts: 0,
        repeat: false,
        now: TimestampMs(60_000),
    };
    of(&notification, 2)
}

/// Alertmanager shows a receiver's name as a quoted regular expression (Go's `regexp.QuoteMeta`).
pub(crate) fn quote_like_regex(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn alert(alert: &Alert) -> Value {
    let ends_at = if alert.resolved { time::GoTime::from_ms(alert.ends_at) } else { time::GoTime::zero() };
    record([
        ("Status", text(alert.status())),
        ("Labels", labels(&alert.labels)),
        ("Annotations", pairs(alert.annotations.iter().map(|(n, v)| (n.as_str(), v.as_str())))),
        ("StartsAt", text(&time::GoTime::from_ms(alert.starts_at).to_string())),
        ("EndsAt", text(&ends_at.to_string())),
        ("GeneratorURL", text(&alert.generator_url)),
        ("Fingerprint", text(&format!("{:016x}", alert.fingerprint()))),
    ])
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(Arc::from(text))
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(Arc::new(fields.into_iter().map(|(n, v)| (Arc::from(n), v)).collect()))
}

fn labels(labels: &Labels) -> Value {
    pairs(labels.iter())
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    Value::Map(Arc::new(pairs.map(|(n, v)| (Arc::from(n), text(v))).collect()))
}

pub(crate) fn error(message: impl Into<String>) -> TemplateError {
    TemplateError::Exec(message.into())
}

/// `receiver`, a path like `Alerts.Firing`, and the arguments of its last step.
pub(crate) fn member(args: &[Value]) -> gotmpl::Result<Value> {
    let [receiver, Value::String(path), args @ ..] = args else {
        return Err(error("a field access needs a value and a name"));
    };
    let mut value = receiver.clone();
    let mut steps = path.split('.').peekable();
    while let Some(name) = steps.next() {
        let args = if steps.peek().is_none() { args } else { &[] };
        value = step(&value, name, args)?;
    }
    Ok(value)
}

fn step(value: &Value, name: &str, args: &[Value]) -> gotmpl::Result<Value> {
    match (value, name) {
        (Value::Map(map), "SortedPairs" | "Names" | "Values" | "Remove") if is_kv(map) => kv_method(map, name, args),
        (Value::Map(map), _) if !args.is_empty() && map.contains_key(name) => {
            Err(error(format!("{name} is not a method but has arguments")))
        }
        (Value::Map(map), _) => match map.get(name) {
            Some(found) => Ok(found.clone()),
            // A label or annotation that is not there is empty, as in Alertmanager (missingkey=zero).
            None if is_kv(map) => Ok(text("")),
            None => Err(error(format!("there is no field {name} here"))),
        },
        (Value::List(items), "Firing" | "Resolved") => Ok(with_status(items, &name.to_ascii_lowercase())),
        (Value::List(items), "Names") => Ok(column(items, "Name")),
        (Value::List(items), "Values") => Ok(column(items, "Value")),
        (Value::String(written), _) => time::method(written, name, args),
        _ => Err(error(format!("there is no field or method {name} in a {}", value.type_name()))),
    }
}

/// A set of labels or annotations holds nothing but text; our records always hold something else, except for pairs,
/// which have no field that could be missing.
fn is_kv(map: &Map) -> bool {
    map.values().all(|v| matches!(v, Value::String(_)))
}

fn kv_method(map: &Map, name: &str, args: &[Value]) -> gotmpl::Result<Value> {
    if name == "Remove" {
        let [Value::List(names)] = args else { return Err(error("Remove needs a list of names")) };
        let kept = map.iter().filter(|(n, _)| !names.iter().any(|r| r.as_str() == Some(n)));
        return Ok(Value::Map(Arc::new(kept.map(|(n, v)| (n.clone(), v.clone())).collect())));
    }
    let pairs = sorted_pairs(map);
    Ok(match name {
        "Names" => column(&pairs, "Name"),
        "Values" => column(&pairs, "Value"),
        _ => Value::List(pairs.into()),
    })
}

/// In order of names, but the alert's name comes first.
fn sorted_pairs(map: &Map) -> Vec<Value> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(name, _)| name.as_ref() != "alertname");
    entries.into_iter().map(|(n, v)| record([("Name", Value::String(n.clone())), ("Value", v.clone())])).collect()
}

fn with_status(alerts: &[Value], status: &str) -> Value {
    let has = |alert: &&Value| alert.field("Status").and_then(Value::as_str) == Some(status);
    Value::List(alerts.iter().filter(has).cloned().collect())
}

fn column(pairs: &[Value], field: &str) -> Value {
    Value::List(pairs.iter().filter_map(|p| p.field(field)).cloned().collect())
}
