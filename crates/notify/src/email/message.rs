//! What a mail looks like: headers, threading, the parts.

use config::Node;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart, header};
use sha2::{Digest, Sha256};

use crate::notification::hex;
use crate::template::rfc3339;
use crate::{Notification, SendError};

/// Which mails a mail program shows as one thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Threading {
    /// A new thread each day (UTC) instead of one for ever.
    daily: bool,
}

impl Threading {
    /// `None` where threading is switched off.
    pub(crate) fn decode(node: &Node<'_>) -> Option<Self> {
        let fields = node.mapping()?;
        let enabled = fields.bool("enabled").unwrap_or(true);
        let by_date = fields.get("thread_by_date").and_then(|n| {
            n.parse(|written| match written {
                "daily" => Ok(true),
                "none" => Ok(false),
                _ => Err(format!("unknown value {written:?}; use daily or none")),
            })
        });
        fields.finish();
        enabled.then_some(Self { daily: by_date.unwrap_or(false) })
    }

    /// The left part of the thread's id: all mails of a group refer to it, none has it.
    pub(crate) fn id(self, notification: &Notification) -> String {
        let mut hash = Sha256::new();
        hash.update(&notification.group_key);
        if self.daily {
            hash.update(rfc3339(notification.now).split('T').next().unwrap_or_default());
        }
        format!("{}.thread", hex(&hash.finalize()[..16]))
    }
}

/// One mail, its templates filled.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) from: Mailbox,
    pub(crate) to: Mailboxes,
    /// Subject and what the section adds; later ones win over what we set.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: Option<String>,
    pub(crate) html: Option<String>,
    /// The same for two routers that say the same.
    pub(crate) id: String,
    pub(crate) thread: Option<String>,
}

impl Draft {
    /// The mail as it goes over the wire.
    pub(crate) fn build(self) -> Result<Vec<u8>, SendError> {
        let domain = self.from.email.domain().to_owned();
        let mut builder = Message::builder()
            .from(self.from)
            .header(header::To::from(self.to))
            .message_id(Some(format!("<{}@{domain}>", self.id)));
        if let Some(thread) = &self.thread {
            let thread = format!("<{thread}@{domain}>");
            builder = builder.in_reply_to(thread.clone()).references(thread);
        }
        let built = match (self.text, self.html) {
            // The last part is the one that a mail program prefers.
            (Some(text), Some(html)) => builder.multipart(MultiPart::alternative_plain_html(text, html)),
            (None, Some(html)) => builder.singlepart(SinglePart::html(html)),
            (text, None) => builder.singlepart(SinglePart::plain(text.unwrap_or_default())),
        };
        let mut message = built.map_err(|e| SendError::permanent(format!("cannot build the mail: {e}")))?;
        for (name, value) in self.headers {
            let name = HeaderName::new_from_ascii(name)
                .map_err(|e| SendError::permanent(format!("cannot build the mail: {e}")))?;
            // Line breaks would begin another header.
            let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            message.headers_mut().insert_raw(HeaderValue::new(name, value.trim().to_owned()));
        }
        Ok(message.formatted())
    }
}
