//! The parts of alertmanager.yml that say how people are reached: `global`, `templates`, `receivers`.

use std::sync::Arc;

use config::{Mapping, Node};
use prometheus::IntCounterVec;
use runtime::{HttpClientConfig, Metrics, MetricsError};

use crate::dingtalk::{DingTalk, Robots};
use crate::email::{Email, SmtpDefaults};
use crate::http;
use crate::render::Renderer;
use crate::sms::Sms;
use crate::template::{Templates, Text};
use crate::webhook::Webhook;
use crate::{Integration, Receiver};

/// What all receivers of a process share over reloads: the metrics, and how often each robot has spoken.
#[derive(Clone, Default)]
pub struct Delivery {
    template_failures: Option<IntCounterVec>,
    robots: Robots,
}

impl Delivery {
    /// Registers the block's metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let template_failures = metrics.counter_vec(
            "highwater_notify_template_failures_total",
            "Texts whose template failed at send time, so that a plain text was sent instead.",
            &["integration"],
        )?;
        Ok(Self { template_failures: Some(template_failures), robots: Robots::default() })
    }

    /// Decodes `global` (all its keys; `resolve_timeout` is the router's to read, but known here, so the router must
    /// not call `finish` on it), the items of `templates` and of `receivers`. Every problem is reported on its node;
    /// what is returned is complete only where there was none.
    pub fn decode_receivers(
        &self,
        global: Option<&Node<'_>>,
        templates: &[Node<'_>],
        receivers: &[Node<'_>],
    ) -> Vec<Receiver> {
        let (http, smtp) = global.and_then(decode_global).unwrap_or_default();
        let templates = Templates::decode(templates);
        let mut out: Vec<Receiver> = Vec::new();
        for node in receivers {
            let Some(fields) = node.mapping() else { continue };
            let name = fields.required("name").and_then(|n| n.string()).unwrap_or_default();
            if out.iter().any(|r| r.name == name) {
                node.problem(format!("the receiver {name:?} is defined twice; rename one"));
            }
            let context = Context {
                templates: &templates,
                http: &http,
                smtp: &smtp,
                robots: &self.robots,
                failures: self.template_failures.as_ref(),
                receiver: &name,
            };
            let integrations = context.integrations(&fields);
            fields.finish();
            out.push(Receiver { name, integrations });
        }
        out
    }
}

/// [`Delivery::decode_receivers`] for who only checks a file: nothing is registered.
pub fn decode_receivers(global: Option<&Node<'_>>, templates: &[Node<'_>], receivers: &[Node<'_>]) -> Vec<Receiver> {
    Delivery::default().decode_receivers(global, templates, receivers)
}

fn decode_global(node: &Node<'_>) -> Option<(HttpClientConfig, SmtpDefaults)> {
    let fields = node.mapping()?;
    fields.get("resolve_timeout");
    let http = fields.get("http_config").and_then(|n| http::decode_config(&n)).unwrap_or_default();
    let smtp = SmtpDefaults::decode(&fields);
    for key in GLOBAL_KEYS_OF_OTHERS {
        fields.unsupported(key, "remove it");
    }
    fields.finish();
    Some((http, smtp))
}

/// Alertmanager's defaults for integrations that do not exist here.
const GLOBAL_KEYS_OF_OTHERS: [&str; 26] = [
    "jira_api_url",
    "mattermost_webhook_url",
    "mattermost_webhook_url_file",
    "opsgenie_api_key",
    "opsgenie_api_key_file",
    "opsgenie_api_url",
    "pagerduty_url",
    "rocketchat_api_url",
    "rocketchat_token",
    "rocketchat_token_file",
    "rocketchat_token_id",
    "rocketchat_token_id_file",
    "slack_api_url",
    "slack_api_url_file",
    "slack_app_token",
    "slack_app_token_file",
    "slack_app_url",
    "telegram_api_url",
    "telegram_bot_token",
    "telegram_bot_token_file",
    "victorops_api_key",
    "victorops_api_key_file",
    "victorops_api_url",
    "webex_api_url",
    "wechat_api_secret",
    "wechat_api_url",
];

const OTHERS: [&str; 17] = [
    "discord_configs",
    "incidentio_configs",
    "jira_configs",
    "mattermost_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "opsgenie_configs",
    "pagerduty_configs",
    "pushover_configs",
    "rocketchat_configs",
    "slack_configs",
    "sns_configs",
    "telegram_configs",
    "victorops_configs",
    "webex_configs",
    "wechat_configs",
    "voice_configs",
];

/// What an integration's section is decoded with.
pub(crate) struct Context<'a> {
    pub(crate) templates: &'a Templates,
    pub(crate) http: &'a HttpClientConfig,
    pub(crate) smtp: &'a SmtpDefaults,
    pub(crate) robots: &'a Robots,
    failures: Option<&'a IntCounterVec>,
    receiver: &'a str,
}

impl Context<'_> {
    fn integrations(&self, fields: &Mapping<'_>) -> Vec<Arc<dyn Integration>> {
        fn all<I: Integration + 'static>(
            items: Vec<Node<'_>>,
            decode: impl Fn(&Node<'_>, usize) -> Option<I>,
        ) -> impl Iterator<Item = Arc<dyn Integration>> {
            items
                .into_iter()
                .enumerate()
                .filter_map(move |(index, node)| Some(Arc::new(decode(&node, index)?) as Arc<dyn Integration>))
        }
        let mut out = Vec::new();
        out.extend(all(fields.items("dingtalk_configs"), |n, i| DingTalk::decode(n, i, self)));
        out.extend(all(fields.items("email_configs"), |n, i| Email::decode(n, i, self)));
        out.extend(all(fields.items("sms_configs"), |n, i| Sms::decode(n, i, self)));
        out.extend(all(fields.items("webhook_configs"), |n, i| Webhook::decode(n, i, self)));
        for key in OTHERS {
            fields.unsupported(key, "use webhook_configs, dingtalk_configs, email_configs or sms_configs");
        }
        out
    }

    pub(crate) fn renderer(&self, kind: &'static str) -> Renderer {
        Renderer::new(kind, self.receiver, self.failures.cloned())
    }

    /// The template at `key`, or the default one.
    pub(crate) fn text(&self, fields: &Mapping<'_>, key: &'static str, default: &str) -> Option<Text> {
        match fields.get(key) {
            Some(node) => self.text_of(&node),
            None => self.templates.text(default).map_err(|e| fields.node().problem(e)).ok(),
        }
    }

    /// The template that a node holds.
    pub(crate) fn text_of(&self, node: &Node<'_>) -> Option<Text> {
        self.templates.text(node.text()?).map_err(|e| node.problem(e)).ok()
    }
}
