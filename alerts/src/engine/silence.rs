//! Silences: matchers that keep alerts quiet for a span of time.

use std::collections::BTreeMap;

use model::{Labels, MatchOp, Matcher, TimestampMs, matches_all};
use serde::{Deserialize, Serialize};

use super::alert::timestamp;

/// How long a silence is remembered after its end.
pub const RETENTION_MS: i64 = 5 * 86_400_000;
const MAX_SILENCES: usize = 10_000;
const MAX_SILENCE_BYTES: usize = 64 << 10;

/// One matcher as the API writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceMatcher {
    /// The label.
    pub name: String,
    /// What it is compared with.
    pub value: String,
    /// Whether the value is a regular expression.
    pub is_regex: bool,
    /// Whether the comparison must hold (the default) or must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl SilenceMatcher {
    fn op(&self) -> MatchOp {
        match (self.is_regex, self.is_equal) {
            (false, true) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (true, false) => MatchOp::NotRegex,
        }
    }

    fn compile(&self) -> Result<Matcher, String> {
        Matcher::new(self.op(), &self.name, &self.value).map_err(|e| e.to_string())
    }

    /// Whether it is written like `matcher`.
    pub fn is_same_as(&self, matcher: &Matcher) -> bool {
        self.name == matcher.name() && self.value == matcher.value() && self.op() == matcher.op()
    }
}

/// One silence, in the form in which routers also store and exchange it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceRecord {
    /// A UUID.
    pub id: String,
    /// All of them must hold.
    pub matchers: Vec<SilenceMatcher>,
    /// From when.
    #[serde(with = "timestamp")]
    pub starts_at: TimestampMs,
    /// Until when.
    #[serde(with = "timestamp")]
    pub ends_at: TimestampMs,
    /// When it was last changed; of two versions the younger counts.
    #[serde(with = "timestamp")]
    pub updated_at: TimestampMs,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Whether a silence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SilenceState {
    /// It holds now.
    Active,
    /// It will.
    Pending,
    /// It did.
    Expired,
}

impl SilenceState {
    /// Every state, in the order in which silences are listed.
    pub const ALL: [Self; 3] = [Self::Active, Self::Pending, Self::Expired];

    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }
}

impl SilenceRecord {
    /// Its state at an instant.
    pub fn state(&self, now: TimestampMs) -> SilenceState {
        if now < self.starts_at {
            SilenceState::Pending
        } else if now < self.ends_at {
            SilenceState::Active
        } else {
            SilenceState::Expired
        }
    }

    fn compile(&self) -> Result<Vec<Matcher>, SilenceError> {
        let invalid = |reason: String| SilenceError::Invalid(reason);
        let bytes: usize = self.matchers.iter().map(|m| m.name.len() + m.value.len()).sum();
        if bytes + self.comment.len() + self.created_by.len() > MAX_SILENCE_BYTES {
            return Err(invalid(format!("the silence is larger than {MAX_SILENCE_BYTES} bytes; shorten it")));
        }
        if self.matchers.is_empty() {
            return Err(invalid("at least one matcher required".to_owned()));
        }
        if let Some(m) = self.matchers.iter().find(|m| m.name.is_empty()) {
            return Err(invalid(format!("a matcher for {:?} has no label name", m.value)));
        }
        if self.ends_at <= self.starts_at {
            return Err(invalid("start time must be before end time".to_owned()));
        }
        let compiled =
            self.matchers.iter().map(SilenceMatcher::compile).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        if compiled.iter().all(|m| m.matches("")) {
            return Err(invalid("at least one matcher must not match the empty string".to_owned()));
        }
        Ok(compiled)
    }
}

/// Why a silence was not made, changed or ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// There is none with this id.
    #[error("silence not found")]
    NotFound,
    /// What is asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// There are as many as there may be.
    #[error("there are {0} silences, as many as there may be; expire some, they are forgotten five days later")]
    TooMany(usize),
}

struct Slot {
    record: SilenceRecord,
    matchers: Vec<Matcher>,
}

/// All silences of a router.
#[derive(Default)]
pub struct Silences {
    slots: BTreeMap<String, Slot>,
    revision: u64,
}

impl Silences {
    /// Makes a silence (where the id is empty) or changes one, as Alertmanager does: what would rewrite the past
    /// (other matchers, another start of an active one, anything of an expired one) ends the old silence and makes a
    /// new one with `fresh_id`. Returns the id in force and every id that changed.
    ///
    /// # Errors
    /// When the id is unknown, the silence is invalid or ends in the past, or there are too many.
    pub fn set(
        &mut self,
        mut wanted: SilenceRecord,
        fresh_id: String,
        now: TimestampMs,
    ) -> Result<(String, Vec<String>), SilenceError> {
        if wanted.ends_at < now {
            return Err(SilenceError::Invalid("end time can't be in the past".to_owned()));
        }
        let known = match wanted.id.as_str() {
            "" => None,
            id => Some(&self.slots.get(id).ok_or(SilenceError::NotFound)?.record),
        };
        wanted.updated_at = now;
        if known.is_some_and(|known| may_change(known, &wanted, now)) {
            let matchers = wanted.compile()?;
            let id = wanted.id.clone();
            self.revision += 1;
            self.slots.insert(id.clone(), Slot { record: wanted, matchers });
            return Ok((id.clone(), vec![id]));
        }
        let replaced = known.filter(|k| k.state(now) != SilenceState::Expired).map(|k| k.id.clone());
        wanted.id.clone_from(&fresh_id);
        wanted.starts_at = wanted.starts_at.max(now);
        let matchers = wanted.compile()?;
        if self.slots.len() >= MAX_SILENCES {
            return Err(SilenceError::TooMany(MAX_SILENCES));
        }
        let mut changed = vec![fresh_id.clone()];
        if let Some(old) = replaced {
            self.expire(&old, now)?;
            changed.push(old);
        }
        self.revision += 1;
        self.slots.insert(fresh_id.clone(), Slot { record: wanted, matchers });
        Ok((fresh_id, changed))
    }

    /// Ends a silence now; one that has ended stays as it is.
    ///
    /// # Errors
    /// When the id is unknown.
    pub fn expire(&mut self, id: &str, now: TimestampMs) -> Result<(), SilenceError> {
        let record = &mut self.slots.get_mut(id).ok_or(SilenceError::NotFound)?.record;
        match record.state(now) {
            SilenceState::Expired => return Ok(()),
            SilenceState::Active => {}
            SilenceState::Pending => record.starts_at = now,
        }
        record.ends_at = now;
        record.updated_at = now;
        self.revision += 1;
        Ok(())
    }

    /// Takes over what another router, or a snapshot, says; true when it was news.
    pub fn merge(&mut self, record: SilenceRecord, now: TimestampMs) -> bool {
        let known = self.slots.get(&record.id);
        let stale = known.is_some_and(|k| k.record.updated_at >= record.updated_at);
        let forgotten = record.ends_at + RETENTION_MS < now;
        let refused = known.is_none() && self.slots.len() >= MAX_SILENCES;
        if stale || forgotten || refused || record.id.is_empty() || record.id.len() > 64 {
            return false;
        }
        // A pending silence that was ended has no span left; everything else about it was checked when it was made.
        let span = SilenceRecord { ends_at: record.ends_at.max(record.starts_at + 1), ..record.clone() };
        let Ok(matchers) = span.compile() else { return false };
        self.revision += 1;
        self.slots.insert(record.id.clone(), Slot { record, matchers });
        true
    }

    /// The ids of the active silences that match.
    pub fn silenced_by(&self, labels: &Labels, now: TimestampMs) -> Vec<String> {
        let holds = |s: &&Slot| s.record.state(now) == SilenceState::Active && matches_all(&s.matchers, labels);
        self.slots.values().filter(holds).map(|s| s.record.id.clone()).collect()
    }

    /// One silence.
    pub fn get(&self, id: &str) -> Option<&SilenceRecord> {
        self.slots.get(id).map(|s| &s.record)
    }

    /// All silences in order of ids.
    pub fn iter(&self) -> impl Iterator<Item = &SilenceRecord> {
        self.slots.values().map(|s| &s.record)
    }

    /// Silences after an id (all, where it is empty), in order.
    pub fn after<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a SilenceRecord> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.slots.range::<str, _>((Excluded(id), Unbounded)).map(|(_, s)| &s.record)
    }

    /// Forgets what ended long ago.
    pub fn collect_garbage(&mut self, now: TimestampMs) {
        let before = self.slots.len();
        self.slots.retain(|_, s| s.record.ends_at + RETENTION_MS >= now);
        self.revision += u64::from(before != self.slots.len());
    }

    /// A number that changes whenever anything does.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

fn may_change(known: &SilenceRecord, wanted: &SilenceRecord, now: TimestampMs) -> bool {
    known.matchers == wanted.matchers
        && match known.state(now) {
            // Clients send back the start they read, which some cut to seconds.
            SilenceState::Active => known.starts_at.0.div_euclid(1000) == wanted.starts_at.0.div_euclid(1000),
            SilenceState::Pending => wanted.starts_at >= now,
            SilenceState::Expired => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(id: &str, value: &str, starts_at: i64, ends_at: i64) -> SilenceRecord {
        let matcher = SilenceMatcher { name: "a".to_owned(), value: value.to_owned(), is_regex: false, is_equal: true };
        SilenceRecord {
            id: id.to_owned(),
            matchers: vec![matcher],
            starts_at: TimestampMs(starts_at),
            ends_at: TimestampMs(ends_at),
            updated_at: TimestampMs(0),
            created_by: "me".to_owned(),
            comment: "why".to_owned(),
        }
    }

    fn made() -> Silences {
        let mut silences = Silences::default();
        let (id, _) =
            silences.set(silence("", "x", 0, 100_000), "one".to_owned(), TimestampMs(1000)).expect("is valid");
        assert_eq!(id, "one");
        silences
    }

    #[test]
    fn a_silence_holds_for_its_span() {
        let silences = made();
        let labels = Labels::from_pairs([("a", "x")]);
        assert_eq!(silences.silenced_by(&labels, TimestampMs(999)), Vec::<String>::new());
        assert_eq!(silences.silenced_by(&labels, TimestampMs(1000)), ["one"]);
        assert_eq!(silences.silenced_by(&labels, TimestampMs(100_000)), Vec::<String>::new());
        assert_eq!(silences.silenced_by(&Labels::from_pairs([("a", "y")]), TimestampMs(2000)), Vec::<String>::new());
    }

    #[test]
    fn what_would_rewrite_the_past_makes_a_new_one() {
        let now = TimestampMs(2000);
        let cases = [
            ("a later end", silence("one", "x", 1000, 200_000), "one"),
            ("other matchers", silence("one", "y", 1000, 100_000), "two"),
            ("another start", silence("one", "x", 5000, 100_000), "two"),
        ];
        for (what, wanted, want) in cases {
            let mut silences = made();
            let (id, _) = silences.set(wanted, "two".to_owned(), now).expect("is valid");
            assert_eq!(id, want, "{what}");
            let expired = silences.get("one").expect("stays").state(now) == SilenceState::Expired;
            assert_eq!(expired, want == "two", "{what}");
        }
        let mut silences = made();
        silences.expire("one", now).expect("exists");
        let again = silences.set(silence("one", "x", 1000, 200_000), "two".to_owned(), TimestampMs(3000));
        assert_eq!(again.expect("is valid").0, "two");
    }

    #[test]
    fn nonsense_is_refused() {
        let everything =
            SilenceMatcher { name: "a".to_owned(), value: ".*".to_owned(), is_regex: true, is_equal: true };
        let broken = SilenceMatcher { value: "[".to_owned(), ..everything.clone() };
        let cases = [
            (silence("", "x", 0, 500), "in the past"),
            (silence("", "x", 9000, 8000), "start time must be before"),
            (silence("", "", 0, 9000), "empty string"),
            (SilenceRecord { matchers: vec![], ..silence("", "x", 0, 9000) }, "at least one matcher required"),
            (SilenceRecord { matchers: vec![everything], ..silence("", "x", 0, 9000) }, "empty string"),
            (SilenceRecord { matchers: vec![broken], ..silence("", "x", 0, 9000) }, "regular expression"),
            (SilenceRecord { comment: "x".repeat(MAX_SILENCE_BYTES), ..silence("", "x", 0, 9000) }, "larger than"),
            (silence("none", "x", 0, 9000), "not found"),
        ];
        for (wanted, reason) in cases {
            let error = made().set(wanted, "two".to_owned(), TimestampMs(1000)).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_younger_version_wins_and_the_old_are_forgotten() {
        let mut silences = made();
        let now = TimestampMs(5000);
        let younger = SilenceRecord { updated_at: TimestampMs(4000), ..silence("one", "x", 1000, 4000) };
        assert!(silences.merge(younger.clone(), now));
        assert!(!silences.merge(younger, now));
        assert!(!silences.merge(silence("one", "x", 1000, 9000), now));
        let pending_ended = SilenceRecord { updated_at: now, ..silence("p", "x", 5000, 5000) };
        assert!(silences.merge(pending_ended, now));
        silences.collect_garbage(TimestampMs(5000 + RETENTION_MS + 1));
        assert_eq!(silences.iter().count(), 0);
    }
}
