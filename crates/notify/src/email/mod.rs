//! `email_configs`: mail by SMTP, as text and HTML, threaded by group.

mod message;
mod smtp;

use async_trait::async_trait;
use config::{Mapping, Node};
use lettre::Address;
use lettre::message::header::HeaderName;
use lettre::message::{Mailbox, Mailboxes};

use crate::decode::Context;
use crate::render::Renderer;
use crate::template::{Text, data};
use crate::{Integration, Notification, SendError};
use message::{Draft, Threading};
use smtp::Relay;

pub(crate) use smtp::SmtpDefaults;

pub(crate) struct Email {
    index: usize,
    send_resolved: bool,
    relay: Relay,
    to: Text,
    from: Text,
    headers: Vec<(String, Text)>,
    subject: Text,
    /// Absent where the section says `html: ""`; the same for text.
    html: Option<Text>,
    text: Option<Text>,
    threading: Option<Threading>,
    renderer: Renderer,
}

impl Email {
    pub(crate) fn decode(node: &Node<'_>, index: usize, context: &Context<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        let relay = Relay::decode(&fields, context.smtp);
        let to = fields.required("to").and_then(|n| address_list(&n, context));
        let from = match (fields.get("from"), &context.smtp.from) {
            (Some(node), _) => address_list(&node, context),
            (None, Some(default)) => context.templates.text(default).map_err(|e| node.problem(e)).ok(),
            (None, None) => {
                node.problem("from is missing; give from, or smtp_from in global");
                None
            }
        };
        let html = body(&fields, "html", |source| context.templates.html(source));
        let text = body(&fields, "text", |source| context.templates.text(source));
        let subject = context.templates.text(r#"{{ template "email.default.subject" . }}"#);
        let out = Self {
            index,
            send_resolved: fields.bool("send_resolved").unwrap_or(false),
            relay: relay?,
            to: to?,
            from: from?,
            headers: headers(&fields, context),
            subject: subject.map_err(|e| node.problem(e)).ok()?,
            html: html?,
            text: text?,
            threading: fields.get("threading").map_or(Some(Threading::default()), |n| Threading::decode(&n)),
            renderer: context.renderer("email"),
        };
        if out.html.is_none() && out.text.is_none() {
            node.problem("html and text are both empty; give one of them");
        }
        fields.finish();
        Some(out)
    }

    fn draft(&self, notification: &Notification) -> Result<Draft, SendError> {
        let data = data(notification, notification.alerts.len());
        let fill = |text: &Text, plain: &dyn Fn() -> String| self.renderer.fill(text, &data, plain);
        // An address cannot be replaced by a plain text: an empty one is refused with advice.
        let none = || String::new();
        let from: Mailbox = fill(&self.from, &none).trim().parse().map_err(|e| bad_address("from", &e))?;
        let to: Mailboxes = fill(&self.to, &none).trim().parse().map_err(|e| bad_address("to", &e))?;
        let mut headers = vec![("Subject".to_owned(), fill(&self.subject, &|| notification.plain_title()))];
        for (name, text) in &self.headers {
            headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
            let plain =
                || if name.eq_ignore_ascii_case("subject") { notification.plain_title() } else { String::new() };
            headers.push((name.clone(), fill(text, &plain)));
        }
        Ok(Draft {
            from,
            to,
            headers,
            text: self.text.as_ref().map(|t| fill(t, &|| notification.plain_text())),
            html: self.html.as_ref().map(|t| fill(t, &|| as_html(&notification.plain_text()))),
            id: notification.identity(&format!("email/{}", self.index)),
            thread: self.threading.as_ref().map(|t| t.id(notification)),
        })
    }
}

fn bad_address(key: &str, error: &dyn std::fmt::Display) -> SendError {
    SendError::permanent(format!("{key} is not a list of mail addresses: {error}; correct it or its template"))
}

/// A template, or addresses that can be checked now.
fn address_list(node: &Node<'_>, context: &Context<'_>) -> Option<Text> {
    let written = node.text()?;
    if !written.contains("{{") && written.trim().parse::<Mailboxes>().map_or(true, |l| l.iter().next().is_none()) {
        node.problem(format!("{written:?} is not a list of mail addresses; write for example ops@example.com"));
        return None;
    }
    context.text_of(node)
}

/// Nothing given is our default, an empty text is no such part.
fn body(
    fields: &Mapping<'_>,
    key: &'static str,
    compile: impl Fn(&str) -> Result<Text, String>,
) -> Option<Option<Text>> {
    let default = format!("{{{{ template \"email.default.{key}\" . }}}}");
    let node = fields.get(key);
    match node.map(|n| n.text()) {
        Some(None) => None,
        Some(Some("")) => Some(None),
        written => {
            let source = written.flatten().unwrap_or(&default);
            compile(source).map(Some).map_err(|e| node.unwrap_or(fields.node()).problem(e)).ok()
        }
    }
}

fn headers(fields: &Mapping<'_>, context: &Context<'_>) -> Vec<(String, Text)> {
    let mut out: Vec<(String, Text)> = Vec::new();
    let Some(section) = fields.get("headers").and_then(|n| n.mapping()) else { return out };
    for (name, key, value) in section.entries() {
        let reserved = ["content-type", "content-transfer-encoding", "mime-version"];
        if HeaderName::new_from_ascii(name.to_owned()).is_err() {
            key.problem(format!("{name:?} is not a mail header; use ASCII letters, digits and dashes"));
        } else if reserved.contains(&name.to_ascii_lowercase().as_str()) {
            key.problem(format!("the header {name:?} is set by Highwater; remove it"));
        } else if out.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
            key.problem(format!("the header {name:?} is given twice; keep one"));
        } else if let Some(text) = context.text_of(&value) {
            out.push((name.to_owned(), text));
        }
    }
    out
}

fn as_html(plain: &str) -> String {
    let escaped = plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<!DOCTYPE html>\n<html><body><pre>{escaped}</pre></body></html>\n")
}

#[async_trait]
impl Integration for Email {
    fn kind(&self) -> &'static str {
        "email"
    }

    fn index(&self) -> usize {
        self.index
    }

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    async fn send(&self, notification: &Notification) -> Result<(), SendError> {
        let draft = self.draft(notification)?;
        let (from, to): (Address, Vec<Address>) =
            (draft.from.email.clone(), draft.to.iter().map(|m| m.email.clone()).collect());
        if to.is_empty() {
            return Err(bad_address("to", &"there is none"));
        }
        self.relay.deliver(from, &to, &draft.build()?).await
    }
}
