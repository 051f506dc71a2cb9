//! Alerts as they were reported, and what a later report changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Labels, TimestampMs};
use serde::{Deserialize, Deserializer, Serialize};

/// What one alert may hold, in bytes of names, values and URL together.
pub const MAX_ALERT_BYTES: usize = 64 << 10;

/// One alert, in the form in which routers also store and exchange it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// What identifies it; never empty.
    #[serde(deserialize_with = "labels")]
    pub labels: Labels,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    #[serde(with = "timestamp")]
    pub starts_at: TimestampMs,
    /// When it is over, unless it is reported again.
    #[serde(with = "timestamp")]
    pub ends_at: TimestampMs,
    /// When a router last heard of it.
    #[serde(with = "timestamp")]
    pub updated_at: TimestampMs,
    /// Where it comes from; may be empty.
    pub generator_url: String,
    /// Whether `ends_at` is our guess because the sender gave none.
    pub timeout: bool,
}

/// Milliseconds as a plain number.
pub(crate) mod timestamp {
    use model::TimestampMs;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(at: &TimestampMs, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(at.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimestampMs, D::Error> {
        i64::deserialize(deserializer).map(TimestampMs)
    }
}

pub(crate) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    BTreeMap::<String, String>::deserialize(deserializer).map(Labels::from_pairs)
}

/// A report that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAlert {
    /// Nothing identifies it.
    #[error("at least one label pair required")]
    NoLabels,
    /// It ends before it begins.
    #[error("start time must be before end time")]
    EndsBeforeStart,
    /// A label or annotation name that nobody can mean.
    #[error("invalid {what} name {name:?}; it must not be empty or hold control characters")]
    Name {
        /// `label` or `annotation`.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// Larger than [`MAX_ALERT_BYTES`].
    #[error("the alert has {0} bytes, more than {MAX_ALERT_BYTES}; shorten its annotations")]
    TooLarge(usize),
}

impl AlertRecord {
    /// Its identity.
    pub fn fingerprint(&self) -> u64 {
        self.labels.fingerprint()
    }

    /// Whether it is over.
    pub fn resolved_at(&self, now: TimestampMs) -> bool {
        self.ends_at <= now
    }

    /// Bytes of text it holds.
    pub fn size_bytes(&self) -> usize {
        let annotations: usize = self.annotations.iter().map(|(n, v)| n.len() + v.len()).sum();
        self.labels.size_bytes() + annotations + self.generator_url.len()
    }

    /// Checks what Alertmanager checks of a report, and its size.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), InvalidAlert> {
        if self.ends_at < self.starts_at {
            return Err(InvalidAlert::EndsBeforeStart);
        }
        if self.labels.is_empty() {
            return Err(InvalidAlert::NoLabels);
        }
        // Prometheus 3 allows any text as a name; what no sender can mean is an empty one or control characters.
        let bad = |name: &str| name.is_empty() || name.chars().any(char::is_control);
        if let Some((name, _)) = self.labels.iter().find(|(n, _)| bad(n)) {
            return Err(InvalidAlert::Name { what: "label", name: name.to_owned() });
        }
        if let Some(name) = self.annotations.keys().find(|n| bad(n)) {
            return Err(InvalidAlert::Name { what: "annotation", name: name.clone() });
        }
        let size = self.size_bytes();
        if size > MAX_ALERT_BYTES { Err(InvalidAlert::TooLarge(size)) } else { Ok(()) }
    }

    /// What is known after two reports about the same labels, in whatever order they came.
    ///
    /// Reports of overlapping spans are about one span: it began with the earlier start, and the younger report says
    /// when it ends, except that a guessed end never shortens one that a sender named. Otherwise the younger report
    /// stands alone: the alert fires again.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let (older, younger) = if other.age_key() < self.age_key() { (other, self) } else { (self, other) };
        let mut out = younger.clone();
        if !older.overlaps(younger) {
            return out;
        }
        out.starts_at = older.starts_at.min(younger.starts_at);
        let over = |a: &Self| a.resolved_at(younger.updated_at);
        let keep_older_end = match (over(younger), over(older)) {
            (true, true) => older.ends_at > younger.ends_at,
            (true, false) => false,
            (false, _) => older.ends_at > younger.ends_at && !older.timeout,
        };
        if keep_older_end {
            out.ends_at = older.ends_at;
            out.timeout = older.timeout;
        }
        out
    }

    /// The order of reports: by time, and of two at the same time the one that knows more comes last, so that routers
    /// which merge in different orders agree.
    fn age_key(&self) -> impl Ord + '_ {
        (self.updated_at, !self.timeout, self.ends_at, self.starts_at, &self.annotations, &self.generator_url)
    }

    fn overlaps(&self, younger: &Self) -> bool {
        self.starts_at <= younger.ends_at && younger.starts_at <= self.ends_at
    }
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// The alert was not known.
    New,
    /// It changed or was confirmed.
    Updated,
    /// What is known is younger or the same.
    Unchanged,
}

struct Slot {
    record: Arc<AlertRecord>,
    settled: bool,
}

/// All alerts of a router by fingerprint, bounded in number and bytes.
pub struct AlertStore {
    slots: BTreeMap<u64, Slot>,
    bytes: usize,
    revision: u64,
    max_alerts: usize,
    max_bytes: usize,
}

/// The store is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the router holds as many alerts as it may ({0}); it takes no new ones until some are resolved")]
pub struct StoreFull(usize);

impl AlertStore {
    /// An empty store.
    pub fn new(max_alerts: usize, max_bytes: usize) -> Self {
        Self { slots: BTreeMap::new(), bytes: 0, revision: 0, max_alerts, max_bytes }
    }

    /// Merges a report into what is known.
    ///
    /// # Errors
    /// When it is new or larger than before and there is no room.
    pub fn put(&mut self, report: AlertRecord) -> Result<Stored, StoreFull> {
        let fingerprint = report.fingerprint();
        let known = self.slots.get(&fingerprint);
        let merged = known.map_or_else(|| report.clone(), |slot| slot.record.merged(&report));
        if known.is_some_and(|slot| *slot.record == merged) {
            return Ok(Stored::Unchanged);
        }
        let before = known.map_or(0, |slot| slot.record.size_bytes());
        let bytes = self.bytes - before + merged.size_bytes();
        let too_many = known.is_none() && self.slots.len() >= self.max_alerts;
        if too_many || (bytes > self.max_bytes && bytes > self.bytes) {
            return Err(StoreFull(self.slots.len()));
        }
        self.bytes = bytes;
        self.revision += 1;
        let new = known.is_none();
        // Prometheus repeats the end of an alert for 15 minutes: the same end is not announced again.
        let same_span = |k: &Slot| k.record.starts_at == merged.starts_at && k.record.ends_at == merged.ends_at;
        let settled = known.is_some_and(|k| k.settled && same_span(k));
        self.slots.insert(fingerprint, Slot { record: Arc::new(merged), settled });
        Ok(if new { Stored::New } else { Stored::Updated })
    }

    /// One alert.
    pub fn get(&self, fingerprint: u64) -> Option<&Arc<AlertRecord>> {
        self.slots.get(&fingerprint).map(|s| &s.record)
    }

    /// All alerts in order of fingerprints.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<AlertRecord>> {
        self.slots.values().map(|s| &s.record)
    }

    /// Alerts after a fingerprint (all, where there is none), in order.
    pub fn after(&self, fingerprint: Option<u64>) -> impl Iterator<Item = (u64, &Arc<AlertRecord>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = fingerprint.map_or(Unbounded, Excluded);
        self.slots.range((from, Unbounded)).map(|(f, s)| (*f, &s.record))
    }

    /// Remembers that the end of an alert was announced wherever it had to be; a report of another span forgets that.
    pub fn settle(&mut self, fingerprint: u64) {
        if let Some(slot) = self.slots.get_mut(&fingerprint) {
            slot.settled = true;
            self.revision += 1;
        }
    }

    /// Whether that is so.
    pub fn is_settled(&self, fingerprint: u64) -> bool {
        self.slots.get(&fingerprint).is_some_and(|s| s.settled)
    }

    /// Removes an alert.
    pub fn remove(&mut self, fingerprint: u64) {
        if let Some(slot) = self.slots.remove(&fingerprint) {
            self.bytes -= slot.record.size_bytes();
            self.revision += 1;
        }
    }

    /// A number that changes whenever anything does.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(starts_at: i64, ends_at: i64, updated_at: i64, timeout: bool) -> AlertRecord {
        AlertRecord {
            labels: Labels::from_pairs([("alertname", "a")]),
            annotations: BTreeMap::new(),
            starts_at: TimestampMs(starts_at),
            ends_at: TimestampMs(ends_at),
            updated_at: TimestampMs(updated_at),
            generator_url: String::new(),
            timeout,
        }
    }

    #[test]
    fn later_reports_merge() {
        let cases = [
            ("a renewal moves the end", (10, 100, 20, false), (10, 160, 80, false), (10, 160)),
            ("the earlier start stays", (10, 100, 20, false), (50, 160, 80, false), (10, 160)),
            ("a resolve ends it", (10, 300, 20, false), (10, 80, 80, false), (10, 80)),
            ("the later of two ends stays", (10, 70, 75, false), (10, 60, 80, false), (10, 70)),
            ("a named end is not shortened", (10, 300, 20, false), (10, 160, 80, false), (10, 300)),
            ("a guessed end is", (10, 300, 20, true), (10, 160, 80, false), (10, 160)),
            ("a new span stands alone", (10, 40, 20, false), (70, 160, 80, false), (70, 160)),
        ];
        for (what, older, younger, (starts_at, ends_at)) in cases {
            let older = record(older.0, older.1, older.2, older.3);
            let younger = record(younger.0, younger.1, younger.2, younger.3);
            let merged = older.merged(&younger);
            assert_eq!((merged.starts_at.0, merged.ends_at.0), (starts_at, ends_at), "{what}");
            assert_eq!(merged, younger.merged(&older), "{what}: the order of arrival does not count");
        }
    }

    proptest! {
        #[test]
        fn routers_that_merge_in_any_order_agree(
            a in (0i64..5, 0i64..5, 0i64..3, any::<bool>()),
            b in (0i64..5, 0i64..5, 0i64..3, any::<bool>()),
        ) {
            let make = |(start, span, updated, timeout): (i64, i64, i64, bool)| record(start, start + span, updated, timeout);
            let (a, b) = (make(a), make(b));
            let merged = a.merged(&b);
            prop_assert_eq!(&merged, &b.merged(&a));
            prop_assert_eq!(&merged, &merged.merged(&b));
            prop_assert_eq!(&merged, &merged.merged(&a));
        }
    }

    #[test]
    fn a_full_store_refuses_new_alerts_only() {
        let mut store = AlertStore::new(1, 1 << 20);
        assert_eq!(store.put(record(1, 10, 1, false)), Ok(Stored::New));
        let other = AlertRecord { labels: Labels::from_pairs([("alertname", "b")]), ..record(1, 10, 1, false) };
        assert!(store.put(other.clone()).is_err());
        assert_eq!(store.put(record(1, 20, 2, false)), Ok(Stored::Updated));
        assert_eq!(store.put(record(1, 10, 1, false)), Ok(Stored::Unchanged));
        store.remove(other.fingerprint());
        store.remove(record(1, 1, 1, false).fingerprint());
        assert_eq!((store.slots.len(), store.bytes), (0, 0));
    }

    #[test]
    fn invalid_reports_are_named() {
        let good = record(10, 20, 10, false);
        assert_eq!(good.validate(), Ok(()));
        let cases = [
            AlertRecord { labels: Labels::empty(), ..good.clone() },
            AlertRecord { ends_at: TimestampMs(5), ..good.clone() },
            AlertRecord { labels: Labels::from_pairs([("a\n", "x")]), ..good.clone() },
            AlertRecord { annotations: BTreeMap::from([(String::new(), String::new())]), ..good.clone() },
            AlertRecord { generator_url: "x".repeat(MAX_ALERT_BYTES + 1), ..good },
        ];
        for case in cases {
            assert!(case.validate().is_err(), "{case:?}");
        }
    }
}
