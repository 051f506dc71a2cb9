//! Everything a router knows, and every decision that needs no waiting. Time is a parameter; the caller holds the lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::{Labels, TimestampMs};

use super::alert::{AlertRecord, AlertStore, StoreFull, Stored};
use super::dedup::NotificationLog;
use super::group::{GroupId, Groups, Timer};
use super::inhibit::Inhibitor;
use super::order::notification_order;
use super::silence::Silences;
use crate::config::Config;

/// How long a resolved alert is kept, so that a slower peer hears of its end.
const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// What a router holds at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Alerts.
    pub alerts: usize,
    /// Bytes of their text.
    pub alert_bytes: usize,
    /// Aggregation groups.
    pub groups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { alerts: 100_000, alert_bytes: 256 << 20, groups: 100_000 }
    }
}

/// An alert that is not taken for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No room for alerts.
    #[error(transparent)]
    Store(#[from] StoreFull),
    /// No room for groups.
    #[error("there are {0} aggregation groups, as many as there may be; group by fewer labels")]
    Groups(usize),
}

impl Refused {
    /// The value of a `reason` label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(_) => "alert_limit",
            Self::Groups(_) => "group_limit",
        }
    }
}

/// Why an alert is not notified of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suppression {
    /// Ids of active silences.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts that inhibit it.
    pub inhibited_by: Vec<u64>,
}

impl Suppression {
    /// Whether anything keeps it quiet.
    pub fn any(&self) -> bool {
        !self.silenced_by.is_empty() || !self.inhibited_by.is_empty()
    }
}

/// A group that is due, with its alerts as they are now.
#[derive(Debug, Clone)]
pub struct Flush {
    /// The group.
    pub id: GroupId,
    /// Its key.
    pub key: String,
    /// Its alerts, firing and resolved.
    pub alerts: Vec<Arc<AlertRecord>>,
    /// When it was taken.
    pub now: TimestampMs,
    /// The configuration it was made by.
    pub config: Arc<Config>,
}

/// Everything a router knows.
pub struct State {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// All alerts.
    pub alerts: AlertStore,
    /// All silences.
    pub silences: Silences,
    /// What was said to whom.
    pub log: NotificationLog,
    groups: Groups,
    inhibitor: Inhibitor,
    limits: Limits,
    started_at: TimestampMs,
}

impl State {
    /// A router that knows nothing yet.
    pub fn new(config: Arc<Config>, limits: Limits, now: TimestampMs) -> Self {
        Self {
            inhibitor: Inhibitor::new(config.inhibit_rules.clone()),
            config,
            alerts: AlertStore::new(limits.alerts, limits.alert_bytes),
            silences: Silences::default(),
            log: NotificationLog::default(),
            groups: Groups::new(now),
            limits,
            started_at: now,
        }
    }

    /// Takes a report (from a sender, a peer or a snapshot) and puts the alert into its groups.
    ///
    /// # Errors
    /// When there is no room for the alert or for a group it needs; then nothing changes.
    pub fn receive(&mut self, report: AlertRecord, now: TimestampMs) -> Result<Stored, Refused> {
        let fingerprint = report.fingerprint();
        let ids = self.groups_of(&report.labels);
        let new_groups = ids.iter().filter(|id| self.groups.get(id).is_none()).count();
        if new_groups > 0 && self.groups.len() + new_groups > self.limits.groups {
            return Err(Refused::Groups(self.groups.len()));
        }
        let stored = self.alerts.put(report)?;
        self.join(fingerprint, ids, &HashMap::new(), now);
        Ok(stored)
    }

    /// Takes an alert of a snapshot whose end was announced already.
    pub fn restore_settled(&mut self, record: AlertRecord) -> Result<(), Refused> {
        let fingerprint = record.fingerprint();
        self.alerts.put(record)?;
        self.alerts.settle(fingerprint);
        Ok(())
    }

    fn groups_of(&self, labels: &Labels) -> Vec<GroupId> {
        let routes = self.config.routes.matching(labels).into_iter();
        routes.filter_map(|i| Some((i, self.config.routes.get(i)?.options.group_by.labels_of(labels)))).collect()
    }

    fn join(
        &mut self,
        fingerprint: u64,
        ids: Vec<GroupId>,
        timers: &HashMap<(String, String), Timer>,
        now: TimestampMs,
    ) {
        let Some(record) = self.alerts.get(fingerprint) else { return };
        self.inhibitor.add(fingerprint, &record.labels);
        if self.alerts.is_settled(fingerprint) {
            return;
        }
        for id in ids {
            let Some(route) = self.config.routes.get(id.0) else { continue };
            let key = group_key(&route.key, &id.1);
            let timer = timers.get(&(key.clone(), route.options.receiver.clone())).copied();
            let group_wait = route.options.group_wait;
            self.groups.insert(id, || key, (fingerprint, record.starts_at), group_wait, timer, now);
        }
    }

    /// When the next group is due.
    pub fn next_due(&self) -> Option<TimestampMs> {
        self.groups.next_due()
    }

    /// Takes the groups that are due.
    pub fn take_due(&mut self, now: TimestampMs) -> Vec<Flush> {
        let config = self.config.clone();
        let interval =
            |route: usize| config.routes.get(route).map_or_else(Default::default, |r| r.options.group_interval);
        let taken = self.groups.take_due(now, interval);
        taken.into_iter().filter_map(|id| self.flush_of(id, now)).collect()
    }

    fn flush_of(&self, id: GroupId, now: TimestampMs) -> Option<Flush> {
        let group = self.groups.get(&id)?;
        let mut alerts: Vec<_> = group.members.iter().filter_map(|f| self.alerts.get(*f)).cloned().collect();
        alerts.sort_by(|a, b| notification_order(&a.labels, &b.labels));
        Some(Flush { key: group.key.clone(), id, alerts, now, config: self.config.clone() })
    }

    /// Ends a flush. After a successful one, the alerts that were over when it began leave the group, unless they
    /// fire again; they are settled once no group waits for them.
    pub fn finish(&mut self, flush: &Flush, success: bool) {
        if !Arc::ptr_eq(&flush.config, &self.config) {
            // The groups were made again meanwhile; their next flush sees what this one logged.
            return;
        }
        let unchanged = |a: &&Arc<AlertRecord>| {
            self.alerts.get(a.fingerprint()).is_none_or(|now| now.ends_at == a.ends_at && now.starts_at == a.starts_at)
        };
        let over = flush.alerts.iter().filter(|a| success && a.resolved_at(flush.now)).filter(unchanged);
        let done: Vec<_> = over.map(|a| (a.fingerprint(), a.clone())).collect();
        let fingerprints: Vec<u64> = done.iter().map(|(f, _)| *f).collect();
        self.groups.finish(&flush.id, &fingerprints);
        for (fingerprint, alert) in done {
            let waits = |id: &GroupId| self.groups.get(id).is_some_and(|g| g.members.contains(&fingerprint));
            if !self.groups_of(&alert.labels).iter().any(waits) {
                self.alerts.settle(fingerprint);
            }
        }
    }

    /// What keeps an alert quiet.
    pub fn suppression(&self, labels: &Labels, now: TimestampMs) -> Suppression {
        Suppression {
            silenced_by: self.silences.silenced_by(labels, now),
            inhibited_by: self.inhibited_by(labels, now),
        }
    }

    /// The alerts that inhibit one with these labels.
    pub fn inhibited_by(&self, labels: &Labels, now: TimestampMs) -> Vec<u64> {
        self.inhibitor.inhibited_by(labels, &self.alerts, now)
    }

    /// The groups as they are, each with its receiver's name, labels and alerts.
    pub fn groups(&self, now: TimestampMs) -> Vec<Flush> {
        self.groups.iter().filter_map(|(id, _)| self.flush_of(id.clone(), now)).collect()
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Puts a new configuration in force: alerts, silences and log stay, groups are made again and keep their timers
    /// where key and receiver are the same.
    pub fn reconfigure(&mut self, config: Arc<Config>, now: TimestampMs) {
        let old = self.config.clone();
        let timers = self.groups.timers(|id, group| {
            let receiver = old.routes.get(id.0).map_or_else(String::new, |r| r.options.receiver.clone());
            (group.key.clone(), receiver)
        });
        self.inhibitor = Inhibitor::new(config.inhibit_rules.clone());
        self.groups = Groups::new(self.started_at);
        self.config = config;
        let all: Vec<_> = self.alerts.after(None).map(|(f, r)| (f, r.labels.clone())).collect();
        for (fingerprint, labels) in all {
            let ids = self.groups_of(&labels);
            self.join(fingerprint, ids, &timers, now);
        }
    }

    /// Forgets alerts that ended a while ago and wait in no group, expired silences and log entries.
    pub fn collect_garbage(&mut self, now: TimestampMs) {
        self.silences.collect_garbage(now);
        self.log.collect_garbage(now);
        let waiting: HashSet<u64> = self.groups.iter().flat_map(|(_, g)| g.members.iter().copied()).collect();
        let gone: Vec<_> = self
            .alerts
            .after(None)
            .filter(|(f, r)| r.resolved_at(now - RESOLVED_RETENTION_MS) && !waiting.contains(f))
            .map(|(f, r)| (f, r.labels.clone()))
            .collect();
        for (fingerprint, labels) in gone {
            self.inhibitor.remove(fingerprint, &labels);
            self.alerts.remove(fingerprint);
        }
    }
}

/// `{route matchers}:{a="b", c="d"}`.
fn group_key(route_key: &str, labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
    format!("{route_key}:{{{}}}", pairs.join(", "))
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
