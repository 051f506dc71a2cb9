//! One grouped notification, and what can be said of it as a whole.

use std::collections::BTreeMap;

use model::{Labels, TimestampMs};
use sha2::{Digest, Sha256};

/// One alert of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What identifies it.
    pub labels: Labels,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: TimestampMs,
    /// When it was resolved, or when it counts as resolved unless it is heard of again. Shown only once it is resolved.
    pub ends_at: TimestampMs,
    /// Where it comes from; may be empty.
    pub generator_url: String,
    /// Whether it is over.
    pub resolved: bool,
}

impl Alert {
    /// The identity of its labels, as Alertmanager shows it (16 hexadecimal digits).
    pub fn fingerprint(&self) -> u64 {
        self.labels.fingerprint()
    }

    /// `firing` or `resolved`.
    pub fn status(&self) -> &'static str {
        if self.resolved { "resolved" } else { "firing" }
    }
}

/// The alerts of one group for one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The receiver's name.
    pub receiver: String,
    /// Identifies the group among all groups.
    pub group_key: String,
    /// The labels the group was formed by.
    pub group_labels: Labels,
    /// Firing and resolved alerts, in the order in which they are shown.
    pub alerts: Vec<Alert>,
    /// Where people find the router.
    pub external_url: String,
    /// How many alerts of the group are not among `alerts`.
    pub truncated_alerts: u64,
    /// True when the same state was sent before and is said again after `repeat_interval`.
    pub repeat: bool,
    /// When the router decided to send.
    pub now: TimestampMs,
}

/// Two routers that repeat the same state within one slot say the same thing; a later repetition is a new message.
const REPEAT_SLOT_MS: i64 = 60_000;

/// So many alerts are spelled out where a template fails; the template may fail because there are so many.
const MAX_PLAIN_ALERTS: usize = 100;

impl Notification {
    /// `firing` when any alert fires, otherwise `resolved`.
    pub fn status(&self) -> &'static str {
        if self.alerts.iter().any(|a| !a.resolved) { "firing" } else { "resolved" }
    }

    /// The labels that all alerts share.
    pub fn common_labels(&self) -> Labels {
        let Some((first, rest)) = self.alerts.split_first() else { return Labels::empty() };
        Labels::from_pairs(first.labels.iter().filter(|(n, v)| rest.iter().all(|a| a.labels.get(n) == Some(*v))))
    }

    /// The annotations that all alerts share.
    pub fn common_annotations(&self) -> BTreeMap<String, String> {
        let Some((first, rest)) = self.alerts.split_first() else { return BTreeMap::new() };
        let shared = |(name, value): &(&String, &String)| rest.iter().all(|a| a.annotations.get(*name) == Some(*value));
        first.annotations.iter().filter(shared).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// The same notification with the first `count` alerts only; the others count as truncated.
    pub(crate) fn truncated(&self, count: usize) -> Self {
        let mut out = Self { alerts: self.alerts.iter().take(count).cloned().collect(), ..self.without_alerts() };
        out.truncated_alerts += (self.alerts.len() - out.alerts.len()) as u64;
        out
    }

    fn without_alerts(&self) -> Self {
        Self {
            receiver: self.receiver.clone(),
            group_key: self.group_key.clone(),
            group_labels: self.group_labels.clone(),
            alerts: Vec::new(),
            external_url: self.external_url.clone(),
            truncated_alerts: self.truncated_alerts,
            repeat: self.repeat,
            now: self.now,
        }
    }

    /// 32 hexadecimal digits that two routers derive alike from group, receiver and state (which alerts fire or are
    /// resolved, since when, and which repetition it is), and that differ for everything people should hear apart.
    /// `channel` keeps apart the integrations of one receiver.
    pub(crate) fn identity(&self, channel: &str) -> String {
        let mut states: Vec<_> =
            self.alerts.iter().map(|a| (a.fingerprint(), a.resolved, a.starts_at.0.div_euclid(1000))).collect();
        states.sort_unstable();
        let mut hash = Sha256::new();
        for part in [channel, &self.receiver, &self.group_key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        for (fingerprint, resolved, since) in states {
            hash.update(fingerprint.to_be_bytes());
            hash.update([u8::from(resolved)]);
            hash.update(since.to_be_bytes());
        }
        if self.repeat {
            hash.update(self.now.0.div_euclid(REPEAT_SLOT_MS).to_be_bytes());
        }
        hex(&hash.finalize()[..16])
    }

    /// What is sent where a template fails: everything a person needs, in plain text.
    pub(crate) fn plain_text(&self) -> String {
        let mut out = self.plain_title();
        for alert in self.alerts.iter().take(MAX_PLAIN_ALERTS) {
            out.push_str(&format!("\n\n[{}] {}", alert.status(), alert.labels));
            for (name, value) in &alert.annotations {
                out.push_str(&format!("\n{name}: {value}"));
            }
        }
        let more = self.alerts.len().saturating_sub(MAX_PLAIN_ALERTS) as u64 + self.truncated_alerts;
        if more > 0 {
            out.push_str(&format!("\n\nand {more} more alerts"));
        }
        if !self.external_url.is_empty() {
            out.push_str(&format!("\n\n{}", self.external_url));
        }
        out
    }

    /// One line for the same case.
    pub(crate) fn plain_title(&self) -> String {
        let firing = self.alerts.iter().filter(|a| !a.resolved).count();
        let values: Vec<_> = self.group_labels.iter().map(|(_, v)| v).collect();
        let head = if firing > 0 { format!("[FIRING:{firing}]") } else { "[RESOLVED]".to_owned() };
        format!("{head} {}", values.join(" ")).trim_end().to_owned()
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
