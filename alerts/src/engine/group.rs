//! Aggregation groups: which alerts stand together, and when each group is looked at.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use model::{Labels, TimestampMs};

/// A group: the index of its route and the labels its alerts agree on.
pub type GroupId = (usize, Labels);

/// One group.
#[derive(Debug, Clone)]
pub struct Group {
    /// `{route matchers}:{group labels}`, its name in notifications and in the log.
    pub key: String,
    /// Fingerprints of its alerts.
    pub members: BTreeSet<u64>,
    created: TimestampMs,
    due: TimestampMs,
    flushed: bool,
    in_flight: bool,
}

/// When a group that a new configuration makes again is next due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    due: TimestampMs,
    flushed: bool,
}

/// All groups. A group is either in flight (being looked at) or in the order of due times, never both.
pub struct Groups {
    groups: HashMap<GroupId, Group>,
    order: BTreeSet<(TimestampMs, GroupId)>,
    started_at: TimestampMs,
}

impl Groups {
    /// No groups. Alerts older than `started_at` (when the router began to know anything) do not make a group due
    /// earlier than alerts from then: what inhibits them may not have been heard yet.
    pub fn new(started_at: TimestampMs) -> Self {
        Self { groups: HashMap::new(), order: BTreeSet::new(), started_at }
    }

    /// Puts an alert that fires since `since` into its group. A new group is due after `group_wait`, sooner if the
    /// alert has waited already, or when `timer` of its predecessor says.
    pub fn insert(
        &mut self,
        id: GroupId,
        key: impl FnOnce() -> String,
        (fingerprint, since): (u64, TimestampMs),
        group_wait: Duration,
        timer: Option<Timer>,
        now: TimestampMs,
    ) {
        let wait = millis(group_wait);
        let group = self.groups.entry(id.clone()).or_insert_with(|| {
            let timer = timer.unwrap_or(Timer { due: now + wait, flushed: false });
            let members = BTreeSet::new();
            Group { key: key(), members, created: now, due: timer.due, flushed: timer.flushed, in_flight: false }
        });
        let new = group.members.is_empty() && !group.in_flight;
        group.members.insert(fingerprint);
        let before = group.due;
        if !group.flushed {
            let waited = since.max(self.started_at) + wait;
            group.due = group.due.min(waited.max(now)).min(group.created + wait);
        }
        if group.in_flight || (!new && before == group.due) {
            return;
        }
        self.order.remove(&(before, id.clone()));
        self.order.insert((group.due, id));
    }

    /// When the next group is due.
    pub fn next_due(&self) -> Option<TimestampMs> {
        self.order.first().map(|(due, _)| *due)
    }

    /// Takes the groups that are due; each is in flight until [`Groups::finish`]. `interval_of` gives the
    /// `group_interval` of a route.
    pub fn take_due(&mut self, now: TimestampMs, interval_of: impl Fn(usize) -> Duration) -> Vec<GroupId> {
        let mut taken = Vec::new();
        while self.order.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, id)) = self.order.pop_first() else { break };
            if let Some(group) = self.groups.get_mut(&id) {
                group.due = now + millis(interval_of(id.0));
                group.flushed = true;
                group.in_flight = true;
                taken.push(id);
            }
        }
        taken
    }

    /// Puts a group back into the order, without the alerts that are `done`. A group without alerts is gone.
    pub fn finish(&mut self, id: &GroupId, done: &[u64]) {
        let Some(group) = self.groups.get_mut(id) else { return };
        for fingerprint in done {
            group.members.remove(fingerprint);
        }
        group.in_flight = false;
        if group.members.is_empty() {
            self.groups.remove(id);
        } else {
            self.order.insert((group.due, id.clone()));
        }
    }

    /// One group.
    pub fn get(&self, id: &GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    /// All groups, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.groups.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// The timers by group key and whatever else `name` makes of an id, for the groups of a new configuration.
    pub fn timers<K: std::hash::Hash + Eq>(&self, name: impl Fn(&GroupId, &Group) -> K) -> HashMap<K, Timer> {
        self.groups.iter().map(|(id, g)| (name(id, g), Timer { due: g.due, flushed: g.flushed })).collect()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(30);
    const INTERVAL: Duration = Duration::from_millis(300);

    fn id() -> GroupId {
        (0, Labels::from_pairs([("a", "1")]))
    }

    fn insert(groups: &mut Groups, fingerprint: u64, since: i64, now: i64) {
        groups.insert(id(), || "key".to_owned(), (fingerprint, TimestampMs(since)), WAIT, None, TimestampMs(now));
    }

    fn take(groups: &mut Groups, now: i64) -> usize {
        groups.take_due(TimestampMs(now), |_| INTERVAL).len()
    }

    #[test]
    fn waits_first_and_then_keeps_its_interval() {
        let mut groups = Groups::new(TimestampMs(0));
        insert(&mut groups, 1, 1000, 1000);
        insert(&mut groups, 2, 1020, 1020);
        assert_eq!(take(&mut groups, 1029), 0);
        assert_eq!(take(&mut groups, 1030), 1);
        groups.finish(&id(), &[]);
        assert_eq!(groups.next_due(), Some(TimestampMs(1330)));
        insert(&mut groups, 3, 1100, 1100);
        assert_eq!(groups.next_due(), Some(TimestampMs(1330)), "a new alert does not hurry a flushed group");
    }

    #[test]
    fn an_alert_that_waited_elsewhere_is_due_at_once() {
        let cases = [
            (0, 900, 1000, "long since", 1000),
            (0, 980, 1000, "partly", 1010),
            (0, 2000, 1000, "starts later", 1030),
            (990, 100, 1000, "older than we", 1020),
        ];
        for (started_at, since, now, what, due) in cases {
            let mut groups = Groups::new(TimestampMs(started_at));
            insert(&mut groups, 1, since, now);
            assert_eq!(groups.next_due(), Some(TimestampMs(due)), "{what}");
        }
    }

    #[test]
    fn a_group_in_flight_is_not_taken_again_until_it_lands() {
        let mut groups = Groups::new(TimestampMs(0));
        insert(&mut groups, 1, 1000, 1000);
        assert_eq!(take(&mut groups, 1030), 1);
        insert(&mut groups, 2, 1100, 1100);
        assert_eq!(take(&mut groups, 5000), 0);
        groups.finish(&id(), &[1]);
        assert_eq!(take(&mut groups, 5000), 1, "what came meanwhile is due at once");
        groups.finish(&id(), &[2]);
        assert_eq!((groups.len(), groups.next_due()), (0, None));
    }

    #[test]
    fn a_successor_keeps_the_timer() {
        let mut groups = Groups::new(TimestampMs(0));
        insert(&mut groups, 1, 1000, 1000);
        assert_eq!(take(&mut groups, 1030), 1);
        let timers = groups.timers(|_, g| g.key.clone());
        let mut next = Groups::new(TimestampMs(0));
        let timer = timers.get("key").copied();
        next.insert(id(), || "key".to_owned(), (1, TimestampMs(1000)), WAIT, timer, TimestampMs(1100));
        assert_eq!(next.next_due(), Some(TimestampMs(1330)));
    }
}
