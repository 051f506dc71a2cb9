//! Who the other routers are and which of them live. Synchronous; time is a parameter.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::outbox::Outbox;
use crate::engine::replica::Digests;

/// More are not admitted: every router waits for all before it.
const MAX_MEMBERS: usize = 16;
/// A router that was only heard of is forgotten when it was silent for so long; it announces itself again.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Digests may differ for a moment while news travel; after so many heartbeats in a row they are a gap.
const MISMATCHES_ARE_A_GAP: u32 = 3;

/// Kinds of records whose digests differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gaps {
    /// Alerts differ.
    pub alerts: bool,
    /// Silences differ.
    pub silences: bool,
    /// The notification logs differ.
    pub log: bool,
}

impl Gaps {
    /// Everything is to be fetched.
    pub const ALL: Self = Self { alerts: true, silences: true, log: true };

    fn between(a: &Digests, b: &Digests) -> Self {
        Self { alerts: a.alerts != b.alerts, silences: a.silences != b.silences, log: a.log != b.log }
    }

    fn any(self) -> bool {
        self.alerts || self.silences || self.log
    }
}

#[derive(Debug, Default)]
struct Member {
    address: String,
    configured: bool,
    id: Option<String>,
    last_seen: Option<Instant>,
    is_self: bool,
    mismatches: u32,
    pull_not_before: Option<Instant>,
    pull_pause: Duration,
    outbox: Outbox,
}

/// A live router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its identity.
    pub id: String,
    /// Where it is reached.
    pub address: String,
}

/// All other routers.
pub struct Members {
    own_id: String,
    dead_after: Duration,
    members: Vec<Member>,
}

impl Members {
    /// The configured peers, none heard of yet. A router is dead when it was silent for `dead_after`.
    pub fn new(own_id: String, configured: &[String], dead_after: Duration) -> Self {
        let member = |address: &String| Member { address: address.clone(), configured: true, ..Member::default() };
        Self { own_id, dead_after, members: configured.iter().take(MAX_MEMBERS).map(member).collect() }
    }

    /// Addresses to send heartbeats to.
    pub fn addresses(&self) -> Vec<String> {
        self.members.iter().filter(|m| !m.is_self).map(|m| m.address.clone()).collect()
    }

    /// Takes note of a sign of life. `address` is the one that answered, or the one a caller says it has. True when
    /// the router was not alive before.
    pub fn heard(&mut self, id: &str, address: &str, now: Instant) -> bool {
        if id == self.own_id {
            if let Some(member) = self.members.iter_mut().find(|m| m.address == address) {
                member.is_self = true;
            }
            return false;
        }
        let was_alive = self.live(now).iter().any(|p| p.id == id);
        let by_id = self.members.iter().position(|m| m.id.as_deref() == Some(id));
        let by_address = self.members.iter().position(|m| m.address == address);
        let at = match (by_id, by_address) {
            // The same router under its configured and its announced address: the configured one stays.
            (Some(a), Some(b)) if a != b => {
                let (keep, gone) = if self.members.get(b).is_some_and(|m| m.configured) { (b, a) } else { (a, b) };
                if let Some(member) = self.members.get_mut(gone) {
                    member.id = None;
                    member.last_seen = None;
                }
                keep
            }
            (Some(a), _) => a,
            (None, Some(b)) => b,
            (None, None) if self.members.len() < MAX_MEMBERS => {
                self.members.push(Member { address: address.to_owned(), ..Member::default() });
                self.members.len() - 1
            }
            (None, None) => return false,
        };
        if let Some(member) = self.members.get_mut(at) {
            member.id = Some(id.to_owned());
            member.last_seen = Some(now);
        }
        self.members.retain(|m| m.configured || m.last_seen.is_some());
        !was_alive
    }

    /// Takes note of addresses that a live router knows.
    pub fn heard_of(&mut self, addresses: &[String], now: Instant) {
        for address in addresses.iter().take(MAX_MEMBERS) {
            let known = self.members.iter().any(|m| m.address == *address);
            if !known && self.members.len() < MAX_MEMBERS && address.len() < 256 {
                // `last_seen` without an id: kept for a while, but not alive.
                let member = Member { address: address.clone(), last_seen: Some(now), ..Member::default() };
                self.members.push(member);
            }
        }
    }

    /// A router says that it stops.
    pub fn left(&mut self, id: &str) {
        for member in self.members.iter_mut().filter(|m| m.id.as_deref() == Some(id)) {
            member.id = None;
            member.last_seen = None;
            member.outbox = Outbox::default();
        }
        self.members.retain(|m| m.configured || m.last_seen.is_some());
    }

    /// The routers that live, each once, in order of identity.
    pub fn live(&self, now: Instant) -> Vec<Peer> {
        let alive = |m: &&Member| self.is_alive(m, now);
        let mut peers: Vec<_> = self
            .members
            .iter()
            .filter(alive)
            .filter_map(|m| Some(Peer { id: m.id.clone()?, address: m.address.clone() }))
            .collect();
        peers.sort_by(|a, b| a.id.cmp(&b.id));
        peers.dedup_by(|a, b| a.id == b.id);
        peers
    }

    fn is_alive(&self, member: &Member, now: Instant) -> bool {
        let recent = member.last_seen.is_some_and(|seen| now.saturating_duration_since(seen) < self.dead_after);
        recent && member.id.as_ref().is_some_and(|id| *id != self.own_id)
    }

    /// How many live routers come before this one.
    pub fn position(&self, now: Instant) -> usize {
        self.live(now).iter().filter(|p| p.id < self.own_id).count()
    }

    /// How many configured routers are not alive.
    pub fn failed(&self, now: Instant) -> usize {
        self.members.iter().filter(|m| m.configured && !m.is_self && !self.is_alive(m, now)).count()
    }

    /// Compares a router's digests with ours. Returns what to fetch from it, once a difference has lasted; while it
    /// lasts longer the pause between fetches grows.
    pub fn compare(&mut self, id: &str, theirs: &Digests, ours: &Digests, now: Instant) -> Option<Gaps> {
        let member = self.members.iter_mut().find(|m| m.id.as_deref() == Some(id))?;
        let gaps = Gaps::between(theirs, ours);
        if !gaps.any() {
            member.mismatches = 0;
            member.pull_pause = Duration::ZERO;
            member.pull_not_before = None;
            return None;
        }
        member.mismatches += 1;
        if member.mismatches < MISMATCHES_ARE_A_GAP || member.pull_not_before.is_some_and(|t| now < t) {
            return None;
        }
        member.pull_pause = (member.pull_pause * 2).clamp(Duration::from_secs(5), Duration::from_secs(300));
        member.pull_not_before = Some(now + member.pull_pause);
        Some(gaps)
    }

    /// Something changed that every live router must hear of.
    pub fn post(&mut self, now: Instant, note: impl Fn(&mut Outbox)) {
        let live: HashSet<String> = self.live(now).into_iter().map(|p| p.address).collect();
        for member in &mut self.members {
            if live.contains(&member.address) {
                note(&mut member.outbox);
            }
        }
    }

    /// Puts back what could not be delivered.
    pub fn restore(&mut self, address: &str, outbox: Outbox) {
        if let Some(member) = self.members.iter_mut().find(|m| m.address == address) {
            member.outbox.absorb(outbox);
        }
    }

    /// Takes what waits for live routers. What waits for dead ones is dropped: they fetch everything when they return.
    pub fn take_outboxes(&mut self, now: Instant) -> Vec<(Peer, Outbox)> {
        let live = self.live(now);
        let mut out = Vec::new();
        for member in &mut self.members {
            let outbox = std::mem::take(&mut member.outbox);
            if let Some(peer) = live.iter().find(|p| p.address == member.address).filter(|_| !outbox.is_empty()) {
                out.push((peer.clone(), outbox));
            }
        }
        out
    }

    /// Forgets routers that nobody configured and that have long been silent.
    pub fn forget_silent(&mut self, now: Instant) {
        let silent = |m: &Member| m.last_seen.is_none_or(|seen| now.saturating_duration_since(seen) > FORGET_AFTER);
        self.members.retain(|m| m.configured || !silent(m));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(configured: &[&str]) -> Members {
        let configured: Vec<_> = configured.iter().map(|c| (*c).to_owned()).collect();
        Members::new("m".to_owned(), &configured, Duration::from_secs(5))
    }

    #[test]
    fn position_is_the_rank_among_the_living() {
        let start = Instant::now();
        let mut members = members(&["a:1", "z:1"]);
        assert_eq!((members.position(start), members.failed(start)), (0, 2));
        assert!(members.heard("a", "a:1", start));
        assert!(!members.heard("a", "a:1", start));
        members.heard("z", "z:1", start);
        assert_eq!((members.position(start), members.failed(start)), (1, 0));
        let later = start + Duration::from_secs(6);
        members.heard("z", "z:1", later);
        assert_eq!((members.position(later), members.failed(later)), (0, 1));
        members.left("z");
        assert_eq!(members.live(later), []);
    }

    #[test]
    fn one_router_with_two_addresses_counts_once() {
        let now = Instant::now();
        let mut members = members(&["name:1"]);
        members.heard("a", "10.0.0.1:1", now);
        assert_eq!(members.addresses().len(), 2);
        members.heard("a", "name:1", now);
        assert_eq!(members.live(now), [Peer { id: "a".to_owned(), address: "name:1".to_owned() }]);
        members.heard("a", "10.0.0.1:1", now);
        assert_eq!(members.addresses(), ["name:1"]);
    }

    #[test]
    fn a_restarted_router_takes_the_place_of_its_predecessor() {
        let now = Instant::now();
        let mut members = members(&["a:1"]);
        members.heard("a", "a:1", now);
        assert!(members.heard("q", "a:1", now));
        assert_eq!(members.live(now).iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["q"]);
    }

    #[test]
    fn we_do_not_count_ourselves() {
        let now = Instant::now();
        let mut members = members(&["me:1", "a:1"]);
        members.heard("m", "me:1", now);
        assert_eq!(members.addresses(), ["a:1"]);
        assert_eq!((members.live(now).len(), members.failed(now)), (0, 1));
    }

    #[test]
    fn strangers_are_bounded_and_forgotten() {
        let start = Instant::now();
        let mut members = members(&["a:1"]);
        for n in 0..100 {
            members.heard(&format!("id{n}"), &format!("s{n}:1"), start);
        }
        assert_eq!(members.addresses().len(), MAX_MEMBERS);
        members.forget_silent(start + FORGET_AFTER + Duration::from_secs(1));
        assert_eq!(members.addresses(), ["a:1"]);
    }

    #[test]
    fn only_a_lasting_difference_is_a_gap() {
        let start = Instant::now();
        let mut members = members(&["a:1"]);
        members.heard("a", "a:1", start);
        let (ours, theirs) = (Digests::default(), Digests { log: 1, ..Digests::default() });
        let mut at =
            |second: u64, theirs: &Digests| members.compare("a", theirs, &ours, start + Duration::from_secs(second));
        let gap = Some(Gaps { log: true, ..Gaps::default() });
        let want = [(1, None), (2, None), (3, gap), (4, None), (8, gap), (9, None), (17, None), (18, gap)];
        for (second, want) in want {
            assert_eq!(at(second, &theirs), want, "{second}");
        }
        assert_eq!(at(19, &ours), None);
        assert_eq!(at(20, &theirs), None);
    }

    #[test]
    fn news_wait_for_the_living_only() {
        let now = Instant::now();
        let mut members = members(&["a:1", "b:1"]);
        members.heard("a", "a:1", now);
        members.post(now, |o| o.alert(7));
        let taken = members.take_outboxes(now);
        assert_eq!(taken.len(), 1);
        for (peer, outbox) in taken {
            members.restore(&peer.address, outbox);
        }
        assert_eq!(members.take_outboxes(now).len(), 1);
        assert_eq!(members.take_outboxes(now).len(), 0);
    }
}
