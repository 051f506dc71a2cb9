//! The body of a robot's message, kept within DingTalk's limit.

use config::{Mapping, Node};
use serde_json::{Value as Json, json};

use crate::Notification;
use crate::decode::Context;
use crate::render::Renderer;
use crate::template::{Text, data};

/// DingTalk refuses larger bodies, and then nobody hears anything.
pub(crate) const MAX_BODY_BYTES: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MessageType {
    Text,
    Markdown,
    ActionCard,
}

/// Whom a message calls by name.
#[derive(Debug, Clone, Default)]
struct Mentions {
    mobiles: Vec<String>,
    user_ids: Vec<String>,
    all: bool,
}

impl Mentions {
    fn decode(node: &Node<'_>) -> Self {
        let Some(fields) = node.mapping() else { return Self::default() };
        let out = Self {
            mobiles: fields.strings("mobiles"),
            user_ids: fields.strings("user_ids"),
            all: fields.bool("all").unwrap_or(false),
        };
        fields.finish();
        if out.mobiles.len() + out.user_ids.len() > 100 {
            node.problem("more than 100 people are mentioned; use all: true");
        }
        out
    }

    fn is_empty(&self) -> bool {
        self.mobiles.is_empty() && self.user_ids.is_empty() && !self.all
    }

    /// DingTalk notifies only those whose `@name` also stands in the text; those that do not are added to its end.
    fn missing_from(&self, text: &str) -> String {
        let names = self.mobiles.iter().chain(&self.user_ids).map(|name| format!("@{name}"));
        let missing: Vec<_> = names.filter(|name| !text.contains(name.as_str())).collect();
        if missing.is_empty() { String::new() } else { format!("\n\n{}", missing.join(" ")) }
    }
}

/// Turns notifications into bodies.
pub(crate) struct Composer {
    channel: String,
    kind: MessageType,
    title: Text,
    text: Text,
    single_title: Text,
    single_url: Text,
    mentions: Mentions,
    renderer: Renderer,
}

impl Composer {
    /// Asks a section for `msg_type`, `title`, `text`, `single_title`, `single_url` and `at`.
    pub(crate) fn decode(fields: &Mapping<'_>, index: usize, context: &Context<'_>) -> Option<Self> {
        let kind = fields.get("msg_type").map(|node| node.parse(parse_type)).unwrap_or(Some(MessageType::Markdown));
        let default_text = match kind {
            Some(MessageType::Text) => r#"{{ template "email.default.text" . }}"#,
            _ => r#"{{ template "dingtalk.default.text" . }}"#,
        };
        let title = context.text(fields, "title", r#"{{ template "dingtalk.default.title" . }}"#);
        let text = context.text(fields, "text", default_text);
        let single_title = context.text(fields, "single_title", "Silence or look closer");
        let single_url = context.text(fields, "single_url", r#"{{ template "__alertmanagerURL" . }}"#);
        let at = fields.get("at");
        let mentions = at.map(|node| Mentions::decode(&node)).unwrap_or_default();
        if let (Some(node), Some(MessageType::ActionCard)) = (at, kind)
            && !mentions.is_empty()
        {
            node.problem("an actionCard mentions nobody; use msg_type: markdown or remove at");
        }
        Some(Self {
            channel: format!("dingtalk/{index}"),
            kind: kind?,
            title: title?,
            text: text?,
            single_title: single_title?,
            single_url: single_url?,
            mentions,
            renderer: context.renderer("dingtalk"),
        })
    }

    /// At most [`MAX_BODY_BYTES`]. What does not fit becomes a digest: as many alerts as do, and how many there are.
    pub(crate) fn body(&self, notification: &Notification) -> Vec<u8> {
        let count = notification.alerts.len();
        let (title, text) = self.filled(notification, count);
        let whole = self.encode(notification, &title, &text);
        if whole.len() <= MAX_BODY_BYTES {
            return whole;
        }
        // `fits` alerts are known to fit (or nothing is), `fails` are known not to.
        let (mut fits, mut fails, mut best) = (0, count, None);
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            let text = self.filled(notification, middle).1 + &digest(notification, middle);
            let body = self.encode(notification, &title, &text);
            if body.len() <= MAX_BODY_BYTES {
                (fits, best) = (middle, Some(body));
            } else {
                fails = middle;
            }
        }
        best.unwrap_or_else(|| self.cut(notification, &title, &text))
    }

    /// Not even one alert fits: the beginning of the text, whatever it says, and the count.
    fn cut(&self, notification: &Notification, title: &str, text: &str) -> Vec<u8> {
        let mut keep = MAX_BODY_BYTES;
        loop {
            let text = format!("{}…{}", beginning(text, keep), digest(notification, 0));
            let body = self.encode(notification, beginning(title, keep.min(200)), &text);
            if body.len() <= MAX_BODY_BYTES || keep == 0 {
                return body;
            }
            keep = keep * 3 / 4;
        }
    }

    fn filled(&self, notification: &Notification, shown: usize) -> (String, String) {
        let data = data(notification, shown);
        (
            self.renderer.fill(&self.title, &data, || notification.plain_title()),
            self.renderer.fill(&self.text, &data, || notification.plain_text()),
        )
    }

    fn encode(&self, notification: &Notification, title: &str, text: &str) -> Vec<u8> {
        let text = format!("{text}{}", self.mentions.missing_from(text));
        let mut body = match self.kind {
            MessageType::Text => json!({ "msgtype": "text", "text": { "content": text } }),
            MessageType::Markdown => json!({ "msgtype": "markdown", "markdown": { "title": title, "text": text } }),
            MessageType::ActionCard => json!({
                "msgtype": "actionCard",
                "actionCard": { "title": title, "text": text, "singleTitle": "", "singleURL": "" },
            }),
        };
        if self.kind == MessageType::ActionCard {
            let data = data(notification, 0);
            let url = self.renderer.fill(&self.single_url, &data, || notification.external_url.clone());
            body["actionCard"]["singleTitle"] =
                self.renderer.fill(&self.single_title, &data, || "Open".to_owned()).into();
            body["actionCard"]["singleURL"] = url.into();
        } else if !self.mentions.is_empty() {
            body["at"] = json!({
                "atMobiles": self.mentions.mobiles,
                "atUserIds": self.mentions.user_ids,
                "isAtAll": self.mentions.all,
            });
        }
        body["msgUuid"] = Json::String(notification.identity(&self.channel));
        body.to_string().into_bytes()
    }
}

fn parse_type(written: &str) -> Result<MessageType, String> {
    match written {
        "text" => Ok(MessageType::Text),
        "markdown" => Ok(MessageType::Markdown),
        "actionCard" => Ok(MessageType::ActionCard),
        _ => Err(format!("unknown message type {written:?}; use markdown, text or actionCard")),
    }
}

/// At most `bytes` bytes of a text, whole characters.
fn beginning(text: &str, bytes: usize) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= bytes).last();
    &text[..end.unwrap_or(0)]
}

fn digest(notification: &Notification, shown: usize) -> String {
    let firing = notification.alerts.iter().filter(|a| !a.resolved).count();
    let (count, resolved) = (notification.alerts.len(), notification.alerts.len() - firing);
    let mut out =
        format!("\n\n**{shown} of {count} alerts are shown ({firing} firing, {resolved} resolved): too long.**");
    if !notification.external_url.is_empty() {
        out.push_str(&format!(" All of them: {}", notification.external_url));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Alert;
    use crate::template::Templates;
    use model::{Labels, TimestampMs};

    fn composer(kind: MessageType) -> Composer {
        let templates = Templates::defaults();
        let text = |source: &str| templates.text(source).expect("is a template");
        Composer {
            channel: "dingtalk/0".to_owned(),
            kind,
            title: text(r#"{{ template "dingtalk.default.title" . }}"#),
            text: text(r#"{{ template "dingtalk.default.text" . }}"#),
            single_title: text("Open"),
            single_url: text("{{ .ExternalURL }}"),
            mentions: Mentions { mobiles: vec!["138".to_owned()], ..Mentions::default() },
            renderer: Renderer::new("dingtalk", "team", None),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_body_is_json_and_never_too_large(
            summaries in prop::collection::vec("\\PC{0,30}", 0..40),
            repeat in 1usize..400,
            kind in prop::sample::select(vec![MessageType::Text, MessageType::Markdown, MessageType::ActionCard]),
        ) {
            let alert = |(n, summary): (usize, &String)| Alert {
                labels: Labels::from_pairs([("alertname", "A"), ("n", &n.to_string())]),
                annotations: [("summary".to_owned(), summary.repeat(repeat))].into(),
                starts_at: TimestampMs(0),
                ends_at: TimestampMs(0),
                generator_url: String::new(),
                resolved: n % 2 == 0,
            };
            let notification = Notification {
                receiver: "team".to_owned(),
                group_key: "{}".to_owned(),
                group_labels: Labels::empty(),
                alerts: summaries.iter().enumerate().map(alert).collect(),
                external_url: "http://am".to_owned(),
                truncated_alerts: 0,
                repeat: false,
                now: TimestampMs(0),
            };
            let body = composer(kind).body(&notification);
            prop_assert!(body.len() <= MAX_BODY_BYTES, "{}", body.len());
            let body: Json = serde_json::from_slice(&body).expect("is JSON");
            let text = ["/text/content", "/markdown/text", "/actionCard/text"].iter().find_map(|p| body.pointer(p));
            prop_assert!(text.and_then(Json::as_str).is_some_and(|t| t.ends_with("@138")));
        }
    }
}
