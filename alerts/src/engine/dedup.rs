//! What was said to whom, and whether something needs saying now.

use std::collections::BTreeMap;
use std::time::Duration;

use model::TimestampMs;
use serde::{Deserialize, Serialize};

use super::alert::timestamp;

/// How long an entry is remembered, at least.
const RETENTION_MS: i64 = 5 * 86_400_000;
/// Entries from further ahead come from a wrong clock and would win over everything.
const MAX_AHEAD_MS: i64 = 600_000;
const MAX_ENTRIES: usize = 500_000;

/// One channel of one receiver for one group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogKey {
    /// The group.
    pub group_key: String,
    /// The receiver's name.
    pub receiver: String,
    /// The integration's kind.
    pub integration: String,
    /// Its place among those of its kind.
    pub index: usize,
}

/// What was last said there. Entries of one key replace each other, the youngest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Where.
    pub key: LogKey,
    /// When.
    #[serde(with = "timestamp")]
    pub timestamp: TimestampMs,
    /// When it may be forgotten.
    #[serde(with = "timestamp")]
    pub expires_at: TimestampMs,
    /// Fingerprints of the alerts that were said to fire, sorted.
    pub firing: Vec<u64>,
    /// Fingerprints of the alerts that were said to be resolved, sorted.
    pub resolved: Vec<u64>,
}

impl LogEntry {
    /// An entry that outlives two repetitions.
    pub fn new(key: LogKey, state: GroupState, now: TimestampMs, repeat_interval: Duration) -> Self {
        let two_repeats = i64::try_from(repeat_interval.as_millis()).unwrap_or(i64::MAX).saturating_mul(2);
        let expires_at = now + two_repeats.max(RETENTION_MS);
        Self { key, timestamp: now, expires_at, firing: state.firing, resolved: state.resolved }
    }
}

/// The alerts of a group as fingerprints, each list sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupState {
    /// Those that fire.
    pub firing: Vec<u64>,
    /// Those that are over.
    pub resolved: Vec<u64>,
}

/// Why a notification is needed, or that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Something fires and nothing was said yet.
    FirstFiring,
    /// Something fires that was not said to.
    NewFiring,
    /// Nothing fires any more, and something was said to.
    AllResolved,
    /// Some of what fired is over, and the channel wants to hear of it.
    SomeResolved,
    /// Nothing changed for `repeat_interval`, and something still fires.
    Repeat,
    /// Nothing needs saying.
    Nothing,
}

impl Reason {
    /// Decides for one channel what `current` means after what was `logged`.
    pub fn decide(
        logged: Option<&LogEntry>,
        current: &GroupState,
        send_resolved: bool,
        repeat_interval: Duration,
        now: TimestampMs,
    ) -> Self {
        let Some(logged) = logged else {
            return if current.firing.is_empty() { Self::Nothing } else { Self::FirstFiring };
        };
        if !is_subset(&current.firing, &logged.firing) {
            return Self::NewFiring;
        }
        if current.firing.is_empty() {
            return if logged.firing.is_empty() { Self::Nothing } else { Self::AllResolved };
        }
        if send_resolved && !is_subset(&current.resolved, &logged.resolved) {
            return Self::SomeResolved;
        }
        let repeat_ms = i64::try_from(repeat_interval.as_millis()).unwrap_or(i64::MAX);
        if logged.timestamp < now - repeat_ms { Self::Repeat } else { Self::Nothing }
    }

    /// Whether something needs saying.
    pub fn is_needed(self) -> bool {
        self != Self::Nothing
    }

    /// For logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstFiring => "first firing",
            Self::NewFiring => "new firing",
            Self::AllResolved => "all resolved",
            Self::SomeResolved => "some resolved",
            Self::Repeat => "repeat",
            Self::Nothing => "nothing",
        }
    }
}

fn is_subset(part: &[u64], whole: &[u64]) -> bool {
    part.iter().all(|f| whole.binary_search(f).is_ok())
}

/// The notification log.
#[derive(Default)]
pub struct NotificationLog {
    entries: BTreeMap<LogKey, LogEntry>,
    revision: u64,
}

impl NotificationLog {
    /// What was last said on a channel.
    pub fn get(&self, key: &LogKey) -> Option<&LogEntry> {
        self.entries.get(key)
    }

    /// Takes over an entry of this or another router, or of a snapshot; true when it was news.
    pub fn merge(&mut self, mut entry: LogEntry, now: TimestampMs) -> bool {
        let known = self.entries.get(&entry.key);
        let stale = known.is_some_and(|k| k.timestamp >= entry.timestamp);
        let refused = known.is_none() && self.entries.len() >= MAX_ENTRIES;
        if stale || refused || entry.expires_at <= now || entry.timestamp > now + MAX_AHEAD_MS {
            return false;
        }
        entry.firing.sort_unstable();
        entry.resolved.sort_unstable();
        self.revision += 1;
        self.entries.insert(entry.key.clone(), entry);
        true
    }

    /// All entries in order of keys.
    pub fn iter(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.values()
    }

    /// Entries after a key (all, where there is none), in order.
    pub fn after(&self, key: Option<&LogKey>) -> impl Iterator<Item = &LogEntry> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = key.map_or(Unbounded, Excluded);
        self.entries.range((from, Unbounded)).map(|(_, e)| e)
    }

    /// Forgets what expired.
    pub fn collect_garbage(&mut self, now: TimestampMs) {
        let before = self.entries.len();
        self.entries.retain(|_, e| e.expires_at > now);
        self.revision += u64::from(before != self.entries.len());
    }

    /// A number that changes whenever anything does.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group_key: &str) -> LogKey {
        LogKey {
            group_key: group_key.to_owned(),
            receiver: "r".to_owned(),
            integration: "webhook".to_owned(),
            index: 0,
        }
    }

    fn state(firing: &[u64], resolved: &[u64]) -> GroupState {
        GroupState { firing: firing.to_vec(), resolved: resolved.to_vec() }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn every_reason() {
        let logged = |firing: &[u64], resolved: &[u64]| {
            Some(LogEntry::new(key("g"), state(firing, resolved), TimestampMs(0), HOUR))
        };
        let hour = 3_600_000;
        let cases = [
            (None, state(&[1], &[]), true, 1, Reason::FirstFiring),
            (None, state(&[1], &[2]), true, 1, Reason::FirstFiring),
            (None, state(&[], &[1]), true, 1, Reason::Nothing),
            (None, state(&[], &[]), true, 1, Reason::Nothing),
            (logged(&[1], &[]), state(&[1], &[]), true, 1, Reason::Nothing),
            (logged(&[1], &[]), state(&[1], &[]), true, hour, Reason::Nothing),
            (logged(&[1], &[]), state(&[1], &[]), true, hour + 1, Reason::Repeat),
            (logged(&[1, 2], &[]), state(&[1], &[]), true, 1, Reason::Nothing),
            (logged(&[1], &[]), state(&[1, 2], &[]), true, 1, Reason::NewFiring),
            (logged(&[], &[1]), state(&[1], &[]), true, 1, Reason::NewFiring),
            (logged(&[1, 2], &[]), state(&[1], &[2]), true, 1, Reason::SomeResolved),
            (logged(&[1, 2], &[]), state(&[1], &[2]), false, 1, Reason::Nothing),
            (logged(&[1, 2], &[]), state(&[1], &[2]), false, hour + 1, Reason::Repeat),
            (logged(&[1], &[2]), state(&[1], &[2]), true, 1, Reason::Nothing),
            (logged(&[1], &[]), state(&[], &[1]), true, 1, Reason::AllResolved),
            (logged(&[1], &[]), state(&[], &[1]), false, 1, Reason::AllResolved),
            (logged(&[], &[1]), state(&[], &[1]), true, hour + 1, Reason::Nothing),
        ];
        for (logged, current, send_resolved, now, want) in cases {
            let reason = Reason::decide(logged.as_ref(), &current, send_resolved, HOUR, TimestampMs(now));
            assert_eq!(reason, want, "{logged:?} {current:?} send_resolved={send_resolved} now={now}");
        }
    }

    #[test]
    fn the_youngest_entry_wins_and_expires() {
        let mut log = NotificationLog::default();
        let now = TimestampMs(1000);
        let entry = |at: i64, firing: &[u64]| LogEntry::new(key("g"), state(firing, &[]), TimestampMs(at), HOUR);
        assert!(log.merge(entry(900, &[2, 1]), now));
        assert!(!log.merge(entry(900, &[3]), now));
        assert!(!log.merge(entry(800, &[3]), now));
        assert!(log.merge(entry(950, &[5, 4]), now));
        assert!(!log.merge(entry(1000 + MAX_AHEAD_MS + 1, &[6]), now));
        assert_eq!(log.get(&key("g")).map(|e| e.firing.clone()), Some(vec![4, 5]));
        log.collect_garbage(TimestampMs(950 + RETENTION_MS));
        assert_eq!(log.iter().count(), 0);
    }

    #[test]
    fn pages_follow_each_other() {
        let mut log = NotificationLog::default();
        for name in ["a", "b", "c"] {
            log.merge(LogEntry::new(key(name), state(&[1], &[]), TimestampMs(1), HOUR), TimestampMs(1));
        }
        let after: Vec<_> = log.after(Some(&key("a"))).map(|e| e.key.group_key.as_str()).collect();
        assert_eq!(after, ["b", "c"]);
    }
}
