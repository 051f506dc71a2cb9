//! One merged series: which replica is listened to, and what the others brought meanwhile.
//!
//! Staleness markers. A marker of the elected replica says either that the target is gone or that this replica lost it.
//! Only the other replicas know which, so it waits while one of them is alive for the series: the next sample of another
//! one takes over at once, without the patience that silence needs, and the marker is dropped; when the others end the
//! series too, or stay silent for three intervals, it is written. A marker of another replica is held back like its
//! samples, and goes where they go.

use model::{Value, is_stale};

use crate::interval::Interval;
use crate::options::Statistics;
use crate::spans::{NOBODY, Place, Replica, Spans};

/// Replicas of one series that are followed at once.
const MAX_LANES: usize = 8;
/// Samples of one replica that are held back: with more it is elected.
const MAX_HELD: usize = 16;
/// So many of the newest samples that the store has tell the interval, and so few distances do not.
const LEARN_FROM: usize = 32;
const LEARN_AT_LEAST: usize = 4;
/// How long a sample is held back at most, by the clock: three intervals within these bounds.
const MIN_HOLD_MS: i64 = 5_000;
const MAX_HOLD_MS: i64 = 300_000;
/// A series is forgotten when nothing came for so long, and for eight intervals.
const IDLE_MS: i64 = 900_000;

/// A sample that is offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) replica: Replica,
    /// Milliseconds since the epoch.
    pub(crate) at: i64,
    pub(crate) value: &'a Value,
    /// When it arrived.
    pub(crate) now_ms: i64,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is to be stored.
    Kept,
    /// Another replica's sample is near, or it is held back: nothing to do now.
    Taken,
    /// The store has to be asked about this time first; then it is to be offered again.
    Unknown(i64, i64),
}

/// What was held back and is to be stored now.
pub(crate) type Released = Vec<(i64, Value)>;

#[derive(Debug)]
struct Held {
    at: i64,
    value: Value,
}

/// What one replica brought.
#[derive(Debug)]
struct Lane {
    replica: Replica,
    /// Its last sample to come, and its newest.
    last: i64,
    newest: i64,
    /// The distance between its newest two; zero when unknown.
    distance: i64,
    /// Whether its newest is a staleness marker.
    has_ended: bool,
    held_since_ms: i64,
    /// In order of time, all newer than what is kept when they came.
    held: Vec<Held>,
}

impl Lane {
    fn new(replica: Replica) -> Self {
        let (last, newest) = (i64::MIN, i64::MIN);
        Self { replica, last, newest, distance: 0, has_ended: false, held_since_ms: 0, held: Vec::new() }
    }

    /// Notes that a sample came.
    #[inline]
    fn follow(&mut self, at: i64, is_marker: bool) {
        self.last = at;
        if at <= self.newest {
            return;
        }
        if self.newest > i64::MIN {
            self.distance = at.saturating_sub(self.newest);
        }
        self.newest = at;
        self.has_ended = is_marker;
    }

    fn hold(&mut self, offer: Offer<'_>) -> bool {
        let Err(place) = self.held.binary_search_by_key(&offer.at, |held| held.at) else { return false };
        if self.held.is_empty() {
            self.held_since_ms = offer.now_ms;
        }
        self.held.reserve_exact(1);
        self.held.insert(place, Held { at: offer.at, value: offer.value.clone() });
        true
    }
}

/// A marker of the elected replica that waits for what the others say.
#[derive(Debug)]
struct Ending {
    at: i64,
    since_ms: i64,
}

/// One merged series.
#[derive(Debug, Default)]
pub(crate) struct Series {
    spans: Spans,
    interval: Interval,
    lanes: Vec<Lane>,
    ending: Option<Ending>,
    touched_ms: i64,
}

fn is_marker(value: &Value) -> bool {
    matches!(value, Value::Float(value) if is_stale(*value))
}

impl Series {
    /// Decides about a sample. What is to be stored as well, before it, is added to `released`.
    pub(crate) fn offer(&mut self, offer: Offer<'_>, released: &mut Released, counts: &mut Statistics) -> Fate {
        self.touched_ms = offer.now_ms;
        let lane = self.lane(offer.replica);
        let seen = offer.at.saturating_sub(self.lanes[lane].last).saturating_abs();
        let near = self.interval.near_ms(if self.lanes[lane].last == i64::MIN { 0 } else { seen });
        match self.spans.newest() {
            Some((newest, owner)) if offer.at > newest => {
                if owner == offer.replica {
                    self.elected(lane, offer, near, released, counts)
                } else if owner == NOBODY {
                    self.successor(lane, offer, near, released, counts)
                } else {
                    self.other(lane, offer, near, released, counts)
                }
            }
            newest => self.late(lane, offer, near, newest.is_some(), counts),
        }
    }

    /// What the store has within a time that was [`Fate::Unknown`].
    pub(crate) fn learn(&mut self, from: i64, to: i64, times: &[i64]) {
        if self.interval.estimate_ms().is_none() {
            let newest = &times[times.len().saturating_sub(LEARN_FROM)..];
            let mut distances: Vec<i64> = newest.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
            distances.sort_unstable();
            match distances.get(distances.len() / 2) {
                // Few samples may be all that outages left.
                Some(_) if distances.len() < LEARN_AT_LEAST => self.interval.suppose(distances[0]),
                // Twice, so that one odd distance that follows changes nothing.
                Some(median) => (0..2).for_each(|_| self.interval.observe(*median)),
                None => {}
            }
        }
        self.spans.learn(from, to, times, self.interval.near_ms(0));
    }

    #[inline]
    fn lane(&mut self, replica: Replica) -> usize {
        match self.lanes.iter().position(|lane| lane.replica == replica) {
            Some(lane) => lane,
            None => self.new_lane(replica),
        }
    }

    /// Beyond the limit a replica takes the place of the one that holds nothing back, or else was silent for longest.
    #[cold]
    fn new_lane(&mut self, replica: Replica) -> usize {
        if self.lanes.len() < MAX_LANES {
            self.lanes.reserve_exact(2_usize.saturating_sub(self.lanes.len()));
            self.lanes.push(Lane::new(replica));
            return self.lanes.len() - 1;
        }
        let owner = self.spans.newest().map(|(_, owner)| owner);
        let others = self.lanes.iter().enumerate().filter(|(_, lane)| Some(lane.replica) != owner);
        let oldest = others.min_by_key(|(_, lane)| (!lane.held.is_empty(), lane.newest)).map_or(0, |(at, _)| at);
        self.lanes[oldest] = Lane::new(replica);
        oldest
    }

    /// A sample of the elected replica, newer than all.
    #[inline]
    fn elected(
        &mut self,
        lane: usize,
        offer: Offer<'_>,
        near: i64,
        released: &mut Released,
        counts: &mut Statistics,
    ) -> Fate {
        if is_marker(offer.value) {
            return self.end(lane, offer, near, released, counts);
        }
        self.keep(lane, offer.at, near, false);
        self.ending = None;
        self.release(released, counts);
        Fate::Kept
    }

    /// Notes a sample that is newer than all and is kept.
    #[inline]
    fn keep(&mut self, lane: usize, at: i64, near: i64, was_followed: bool) {
        let lane = &mut self.lanes[lane];
        let distance =
            if lane.newest == i64::MIN || was_followed { lane.distance } else { at.saturating_sub(lane.newest) };
        if !was_followed {
            lane.follow(at, false);
        }
        self.interval.observe(distance);
        self.spans.add(at, lane.replica, near);
    }

    /// The elected replica ends the series.
    #[cold]
    fn end(
        &mut self,
        lane: usize,
        offer: Offer<'_>,
        near: i64,
        released: &mut Released,
        counts: &mut Statistics,
    ) -> Fate {
        self.lanes[lane].follow(offer.at, true);
        let newest = self.spans.newest().map_or(i64::MIN, |(newest, _)| newest);
        let goes_on = |held: &Held| !is_marker(&held.value) && held.at.saturating_sub(newest) >= near;
        if let Some(other) = self.lanes.iter().position(|other| other.held.iter().any(goes_on)) {
            self.switch(other, near, released, counts);
            counts.dropped_covered += 1;
            return Fate::Taken;
        }
        if !self.is_alive_elsewhere(offer.replica, offer.at) {
            self.ending = None;
            // What the others had to say of this end is said.
            counts.dropped_covered += self.drop_held();
            return Fate::Kept;
        }
        let since_ms = self.ending.as_ref().map_or(offer.now_ms, |ending| ending.since_ms);
        self.ending = Some(Ending { at: offer.at, since_ms });
        counts.held_back += 1;
        Fate::Taken
    }

    /// Forgets what is held back; returns how much it was.
    fn drop_held(&mut self) -> u64 {
        self.lanes.iter_mut().map(|lane| std::mem::take(&mut lane.held).len() as u64).sum()
    }

    /// Whether another replica than the elected one still had the series shortly before a time.
    fn is_alive_elsewhere(&self, elected: Replica, at: i64) -> bool {
        let patience = self.interval.patience_ms(0).unwrap_or_else(|| self.interval.assumed_ms());
        let since = at.saturating_sub(patience);
        self.lanes.iter().any(|lane| lane.replica != elected && !lane.has_ended && lane.newest >= since)
    }

    /// A sample that is newer than what was found in the store: whoever brings it is elected.
    fn successor(
        &mut self,
        lane: usize,
        offer: Offer<'_>,
        near: i64,
        released: &mut Released,
        counts: &mut Statistics,
    ) -> Fate {
        let (newest, _) = self.spans.newest().unwrap_or_default();
        if is_marker(offer.value) {
            self.lanes[lane].follow(offer.at, true);
            return Fate::Kept;
        }
        if offer.at.saturating_sub(newest) < near {
            self.lanes[lane].follow(offer.at, false);
            counts.dropped_covered += 1;
            return Fate::Taken;
        }
        self.elected(lane, offer, near, released, counts)
    }

    /// A sample of a replica that is not elected, newer than all.
    fn other(
        &mut self,
        lane: usize,
        offer: Offer<'_>,
        near: i64,
        released: &mut Released,
        counts: &mut Statistics,
    ) -> Fate {
        let (newest, owner) = self.spans.newest().unwrap_or_default();
        let (behind, marker) = (offer.at.saturating_sub(newest), is_marker(offer.value));
        let of_lane = &mut self.lanes[lane];
        if self.interval.is_learning() && of_lane.newest > i64::MIN {
            self.interval.observe(offer.at.saturating_sub(of_lane.newest));
        }
        of_lane.follow(offer.at, marker);
        if !marker && behind < near && self.interval.estimate_ms().is_some() {
            counts.dropped_covered += 1;
            return Fate::Taken;
        }
        let near = self.interval.near_ms(0);
        let elected_has_ended = self.lanes.iter().any(|lane| lane.replica == owner && lane.has_ended);
        let of_lane = &mut self.lanes[lane];
        let is_overdue = self.interval.patience_ms(of_lane.distance).is_some_and(|patience| behind > patience);
        if is_overdue || (elected_has_ended && !marker && behind >= near) || of_lane.held.len() >= MAX_HELD {
            self.switch(lane, near, released, counts);
            return self.after_switch(lane, offer, near, released, counts);
        }
        if of_lane.hold(offer) {
            counts.held_back += 1;
        }
        if let Some(at) = self.ending.as_ref().map(|ending| ending.at).filter(|_| marker)
            && !self.is_alive_elsewhere(owner, at)
        {
            self.ending = None;
            counts.dropped_covered += self.drop_held();
            released.push((at, Value::Float(model::stale_nan())));
        }
        Fate::Taken
    }

    /// The sample for which its replica was elected.
    fn after_switch(
        &mut self,
        lane: usize,
        offer: Offer<'_>,
        near: i64,
        released: &mut Released,
        counts: &mut Statistics,
    ) -> Fate {
        if is_marker(offer.value) {
            return Fate::Kept;
        }
        let (newest, owner) = self.spans.newest().unwrap_or_default();
        match self.spans.place(offer.at, offer.replica, near) {
            Place::Covered => {
                counts.dropped_covered += 1;
                return Fate::Taken;
            }
            // It came behind newer ones of its replica, which were held back.
            Place::Free | Place::Unknown(..) if offer.at < newest => self.spans.add(offer.at, offer.replica, near),
            Place::Free | Place::Unknown(..) => {
                counts.switches += u64::from(owner != offer.replica);
                self.keep(lane, offer.at, near, true);
            }
            Place::Own => {}
        }
        self.release(released, counts);
        Fate::Kept
    }

    /// Listens to another replica: what was held back of it goes in, but for what the last sample is near to.
    #[cold]
    fn switch(&mut self, lane: usize, near: i64, released: &mut Released, counts: &mut Statistics) {
        self.ending = None;
        let replica = self.lanes[lane].replica;
        for held in std::mem::take(&mut self.lanes[lane].held) {
            let (newest, owner) = self.spans.newest().unwrap_or_default();
            let is_near = owner != replica && held.at.saturating_sub(newest) < near;
            if is_marker(&held.value) {
                if owner == replica {
                    released.push((held.at, held.value));
                }
            } else if is_near || held.at <= newest {
                counts.dropped_covered += 1;
            } else {
                counts.switches += u64::from(owner != replica);
                self.spans.add(held.at, replica, near);
                released.push((held.at, held.value));
            }
        }
        self.release(released, counts);
    }

    /// What was held back of the others and is no newer than what is kept now: it is covered, or fills a hole.
    #[inline]
    fn release(&mut self, released: &mut Released, counts: &mut Statistics) {
        if self.lanes.iter().any(|lane| !lane.held.is_empty()) {
            self.release_held(released, counts);
        }
    }

    fn release_held(&mut self, released: &mut Released, counts: &mut Statistics) {
        let Some((newest, _)) = self.spans.newest() else { return };
        let near = self.interval.near_ms(0);
        for lane in &mut self.lanes {
            let passed = lane.held.partition_point(|held| held.at <= newest);
            for held in lane.held.drain(..passed) {
                if !is_marker(&held.value) && self.spans.place(held.at, lane.replica, near) == Place::Free {
                    self.spans.add(held.at, lane.replica, near);
                    released.push((held.at, held.value));
                    counts.filled_late += 1;
                } else {
                    counts.dropped_covered += 1;
                }
            }
        }
    }

    /// A sample no newer than the newest, or of a series of which nothing is known.
    fn late(&mut self, lane: usize, offer: Offer<'_>, near: i64, is_late: bool, counts: &mut Statistics) -> Fate {
        let place = self.spans.place(offer.at, offer.replica, near);
        if let Place::Unknown(from, to) = place {
            return Fate::Unknown(from, to);
        }
        let (marker, of_lane) = (is_marker(offer.value), &mut self.lanes[lane]);
        if self.interval.is_learning() && of_lane.last > i64::MIN {
            self.interval.observe(offer.at.saturating_sub(of_lane.last).saturating_abs());
        }
        of_lane.follow(offer.at, marker);
        match place {
            Place::Free if !marker => {
                self.spans.add(offer.at, offer.replica, near);
                counts.filled_late += u64::from(is_late);
                Fate::Kept
            }
            Place::Covered => {
                counts.dropped_covered += 1;
                Fate::Taken
            }
            Place::Free | Place::Own | Place::Unknown(..) => Fate::Kept,
        }
    }

    /// Releases what has waited for too long by the clock.
    pub(crate) fn settle(&mut self, now_ms: i64, released: &mut Released, counts: &mut Statistics) {
        let wait = self.interval.assumed_ms().saturating_mul(3).clamp(MIN_HOLD_MS, MAX_HOLD_MS);
        let is_due = |since: i64| now_ms.saturating_sub(since) > wait;
        if let Some(ending) = self.ending.take_if(|ending| is_due(ending.since_ms)) {
            released.push((ending.at, Value::Float(model::stale_nan())));
        }
        let due = |lane: &Lane| !lane.held.is_empty() && is_due(lane.held_since_ms);
        while let Some(lane) = self.lanes.iter().position(due) {
            self.switch(lane, self.interval.near_ms(0), released, counts);
        }
    }

    /// Whether nothing has come for so long that it can be forgotten. Nothing may be held back then.
    pub(crate) fn is_idle(&self, now_ms: i64) -> bool {
        let idle = self.interval.assumed_ms().saturating_mul(8).max(IDLE_MS);
        now_ms.saturating_sub(self.touched_ms) > idle
            && self.ending.is_none()
            && self.lanes.iter().all(|lane| lane.held.is_empty())
    }

    /// The earliest sample that is held back.
    #[inline]
    pub(crate) fn held_from(&self) -> Option<i64> {
        let of_lanes = self.lanes.iter().filter_map(|lane| lane.held.first()).map(|held| held.at);
        of_lanes.chain(self.ending.as_ref().map(|ending| ending.at)).min()
    }

    /// 0.6 intervals.
    pub(crate) fn near_ms(&self) -> i64 {
        self.interval.near_ms(0)
    }
}
