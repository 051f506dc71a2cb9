//! `webhook_configs`: Alertmanager's JSON, version 4, to any address.

use async_trait::async_trait;
use config::{Node, SecretSource};
use model::Labels;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde::Serialize;
use serde::ser::Serializer;
use std::collections::BTreeMap;

use crate::decode::Context;
use crate::http::Client;
use crate::json::go_json;
use crate::template::{quote_like_regex, rfc3339, zero_time};
use crate::{Alert, Integration, Notification, SendError};

pub(crate) struct Webhook {
    index: usize,
    send_resolved: bool,
    url: SecretSource,
    /// 0 is all of them.
    max_alerts: usize,
    client: Client,
}

impl Webhook {
    pub(crate) fn decode(node: &Node<'_>, index: usize, context: &Context<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        let url = SecretSource::required(&fields, "url", "url_file");
        if let (Some(node), Some(SecretSource::Inline(url))) = (fields.get("url"), &url)
            && let Err(problem) = parse_url(url.expose())
        {
            node.problem(problem);
        }
        let send_resolved = fields.bool("send_resolved").unwrap_or(true);
        let max_alerts = fields.u64("max_alerts").unwrap_or(0);
        let client = Client::decode(&fields, context.http);
        fields.unsupported("payload", "remove it and read version 4 of the JSON");
        fields.finish();
        let max_alerts = usize::try_from(max_alerts).unwrap_or(usize::MAX);
        Some(Self { index, send_resolved, url: url?, max_alerts, client: client? })
    }
}

/// An absolute address that can be posted to.
pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    let hint = "write for example https://example.com/hook";
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(format!("not an http or https address; {hint}")),
        Err(error) => Err(format!("not an address: {error}; {hint}")),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    receiver: String,
    status: &'static str,
    alerts: Vec<MessageAlert<'a>>,
    group_labels: &'a Labels,
    common_labels: Labels,
    common_annotations: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageAlert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    #[serde(serialize_with = "hexadecimal")]
    fingerprint: u64,
}

fn hexadecimal<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:016x}"))
}

impl<'a> MessageAlert<'a> {
    fn of(alert: &'a Alert) -> Self {
        Self {
            status: alert.status(),
            labels: &alert.labels,
            annotations: &alert.annotations,
            starts_at: rfc3339(alert.starts_at),
            // When a firing alert would time out is nobody's business outside.
            ends_at: rfc3339(if alert.resolved { alert.ends_at } else { zero_time() }),
            generator_url: &alert.generator_url,
            fingerprint: alert.fingerprint(),
        }
    }
}

/// The body, newline-terminated as Go writes it.
pub(crate) fn body(notification: &Notification) -> Vec<u8> {
    let message = Message {
        receiver: quote_like_regex(&notification.receiver),
        status: notification.status(),
        alerts: notification.alerts.iter().map(MessageAlert::of).collect(),
        group_labels: &notification.group_labels,
        common_labels: notification.common_labels(),
        common_annotations: notification.common_annotations(),
        external_url: &notification.external_url,
        version: "4",
        group_key: &notification.group_key,
        truncated_alerts: notification.truncated_alerts,
    };
    let mut out = go_json(&message);
    out.push('\n');
    out.into_bytes()
}

#[async_trait]
impl Integration for Webhook {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn index(&self) -> usize {
        self.index
    }

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        let url = parse_url(&self.url.read()?).map_err(SendError::permanent)?;
        let body = match self.max_alerts {
            0 => body(notification),
            most => body(&notification.truncated(most)),
        };
        let answer = self.client.post(url, |r| r.header(CONTENT_TYPE, "application/json").body(body)).await?;
        if answer.status.is_success() { Ok(()) } else { Err(answer.refused()) }
    }
}
