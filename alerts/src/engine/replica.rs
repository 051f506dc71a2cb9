//! What two routers compare and exchange of their state: digests and pages of records.

use model::TimestampMs;
use serde::{Deserialize, Serialize};

use super::alert::AlertRecord;
use super::dedup::{LogEntry, LogKey};
use super::silence::SilenceRecord;
use super::state::State;

/// A page ends after so many records or bytes, whichever is first; it holds at least one record.
const PAGE_RECORDS: usize = 1000;
const PAGE_BYTES: usize = 2 << 20;

/// One number per kind of record: equal exactly when two routers hold the same (up to a collision of hashes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digests {
    /// Firing alerts: which, since when, until when.
    pub alerts: u64,
    /// Silences: which, in which version.
    pub silences: u64,
    /// Log entries: which, of when.
    pub log: u64,
}

/// Records of all kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Records {
    /// Alerts.
    pub alerts: Vec<AlertRecord>,
    /// Silences.
    pub silences: Vec<SilenceRecord>,
    /// Entries of the notification log.
    pub log: Vec<LogEntry>,
}

impl Records {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.alerts.len() + self.silences.len() + self.log.len()
    }
}

/// Which page is wanted: the one after a record, or the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageRequest {
    /// Alerts after a fingerprint.
    Alerts(Option<u64>),
    /// Silences after an id.
    Silences(Option<String>),
    /// Log entries after a key.
    Log(Option<LogKey>),
}

impl PageRequest {
    /// The page after `page`; `None` where that was the last.
    pub fn next(&self, page: &Page) -> Option<Self> {
        if !page.more {
            return None;
        }
        match self {
            Self::Alerts(_) => page.records.alerts.last().map(|a| Self::Alerts(Some(a.fingerprint()))),
            Self::Silences(_) => page.records.silences.last().map(|s| Self::Silences(Some(s.id.clone()))),
            Self::Log(_) => page.records.log.last().map(|e| Self::Log(Some(e.key.clone()))),
        }
    }
}

/// A page of records of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// The records.
    pub records: Records,
    /// Whether there are more after them.
    pub more: bool,
}

impl State {
    /// The state as three numbers.
    pub fn digests(&self, now: TimestampMs) -> Digests {
        let mut out = Digests::default();
        for alert in self.alerts.iter().filter(|a| !a.resolved_at(now)) {
            let hash = fnv(&[alert.fingerprint(), alert.starts_at.0 as u64, alert.ends_at.0 as u64], "");
            out.alerts = out.alerts.wrapping_add(hash);
        }
        for silence in self.silences.iter() {
            out.silences = out.silences.wrapping_add(fnv(&[silence.updated_at.0 as u64], &silence.id));
        }
        for entry in self.log.iter().filter(|e| e.expires_at > now) {
            let key = &entry.key;
            let name = format!("{}\u{0}{}\u{0}{}", key.group_key, key.receiver, key.integration);
            out.log = out.log.wrapping_add(fnv(&[key.index as u64, entry.timestamp.0 as u64], &name));
        }
        out
    }

    /// A page of records.
    pub fn page(&self, request: &PageRequest) -> Page {
        let mut page = Page::default();
        let mut bytes = 0;
        let mut room = |count: usize, size: usize| {
            bytes += size;
            count == 0 || (count < PAGE_RECORDS && bytes <= PAGE_BYTES)
        };
        match request {
            PageRequest::Alerts(after) => {
                for (_, alert) in self.alerts.after(*after) {
                    page.more = !room(page.records.alerts.len(), alert.size_bytes());
                    if page.more {
                        break;
                    }
                    page.records.alerts.push(AlertRecord::clone(alert));
                }
            }
            PageRequest::Silences(after) => {
                for silence in self.silences.after(after.as_deref().unwrap_or("")) {
                    let size = silence.comment.len() + silence.matchers.iter().map(|m| m.value.len()).sum::<usize>();
                    page.more = !room(page.records.silences.len(), size);
                    if page.more {
                        break;
                    }
                    page.records.silences.push(silence.clone());
                }
            }
            PageRequest::Log(after) => {
                for entry in self.log.after(after.as_ref()) {
                    let size = entry.key.group_key.len() + 20 * (entry.firing.len() + entry.resolved.len());
                    page.more = !room(page.records.log.len(), size);
                    if page.more {
                        break;
                    }
                    page.records.log.push(entry.clone());
                }
            }
        }
        page
    }

    /// Takes over records of another router; what is malformed or does not fit is left out. Returns how many were news.
    pub fn merge(&mut self, records: Records, now: TimestampMs) -> usize {
        let mut news = 0;
        for alert in records.alerts.into_iter().filter(|a| a.validate().is_ok()) {
            match self.receive(alert, now) {
                Ok(stored) => news += usize::from(stored != super::alert::Stored::Unchanged),
                Err(refused) => tracing::warn!(reason = refused.reason(), "an alert of a peer is not taken: {refused}"),
            }
        }
        news += records.silences.into_iter().filter(|s| self.silences.merge(s.clone(), now)).count();
        news += records.log.into_iter().filter(|e| self.log.merge(e.clone(), now)).count();
        news
    }
}

/// FNV-1a 64. Both routers of a pair must come to the same number, whatever they were built with.
fn fnv(numbers: &[u64], text: &str) -> u64 {
    let bytes = numbers.iter().flat_map(|n| n.to_be_bytes()).chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
#[path = "replica_tests.rs"]
mod tests;
