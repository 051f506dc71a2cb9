//! One destination's place in the queue: what it has, what it has in hand, and which lane the rest is in.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use model::TimestampMs;

use crate::progress::Progress;
use crate::segment::{RecordInfo, Segment, Totals};
use crate::{Amount, Batch, Gap, Lane, Order, Position, Taken, Waiting, Waker};

/// Gaps that are remembered; of more the two oldest become one.
const MAX_GAPS: usize = 64;

pub(crate) type Segments = BTreeMap<u64, Segment>;

/// A record that the destination has in hand.
#[derive(Debug, Clone, Copy)]
struct Flight {
    lane: Lane,
    record: RecordInfo,
}

/// A record that did not arrive.
#[derive(Debug)]
struct Returned {
    flight: Flight,
    batch: Arc<Batch>,
}

/// Where the next record of a lane is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Next {
    /// There is none.
    Nothing,
    /// In this segment, whose records are not known.
    Unknown(u64),
    /// Here.
    At(u64, RecordInfo),
}

pub(crate) struct Place {
    pub(crate) destination: String,
    /// Of segments of which anything was taken.
    pub(crate) progress: BTreeMap<u64, Progress>,
    /// What lies before is backlog, unless it was taken.
    live: Position,
    /// What lies from there on.
    live_waiting: Amount,
    /// What was pushed before this time is not live any more.
    behind: i64,
    in_flight: BTreeMap<Position, Flight>,
    returned: BTreeMap<Position, Returned>,
    /// Oldest first.
    pub(crate) gaps: Vec<Gap>,
    pub(crate) next_gap: u64,
    pub(crate) waker: Option<Waker>,
}

impl Amount {
    fn of(record: &RecordInfo) -> Self {
        Self { samples: u64::from(record.samples), bytes: u64::from(record.bytes) }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Amount {
    /// Saturates: segments that rot hold less than they did.
    fn sub_assign(&mut self, other: Self) {
        self.samples = self.samples.saturating_sub(other.samples);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

impl Place {
    /// A destination whose live lane begins at `live`; all before it is backlog.
    pub(crate) fn new(destination: String, live: Position) -> Self {
        Self {
            destination,
            progress: BTreeMap::new(),
            live,
            live_waiting: Amount::default(),
            behind: i64::MIN,
            in_flight: BTreeMap::new(),
            returned: BTreeMap::new(),
            gaps: Vec::new(),
            next_gap: 1,
            waker: None,
        }
    }

    /// Wants nothing of what is there.
    pub(crate) fn skip_all(&mut self, segments: &Segments) {
        for (number, segment) in segments {
            let progress = self.progress.entry(*number).or_default();
            // Records end where the next begin, so one interval is all of them, and none that is still to come.
            let end = segment.records.last().map_or(u64::MAX, RecordInfo::end);
            let end = if segment.is_open { end } else { u64::MAX };
            if segment.totals.records > 0 {
                progress.done.insert(0, end);
                progress.taken.insert(0, end);
                (progress.done_totals, progress.taken_totals) = (segment.totals, segment.totals);
            }
        }
    }

    pub(crate) fn added(&mut self, segment: u64, record: &RecordInfo) {
        self.live_waiting += Amount::of(record);
        if let Some(progress) = self.progress.get_mut(&segment) {
            progress.added(record);
        }
    }

    pub(crate) fn next_live(&self, segments: &Segments) -> Next {
        for (number, segment) in segments.range(self.live.segment..) {
            let offset = if *number == self.live.segment { self.live.offset } else { 0 };
            if !segment.is_known {
                return Next::Unknown(*number);
            }
            if let Some(record) = self.next_in(*number, segment, offset) {
                return Next::At(*number, record);
            }
        }
        Next::Nothing
    }

    fn next_in(&self, number: u64, segment: &Segment, offset: u64) -> Option<RecordInfo> {
        match self.progress.get(&number) {
            Some(progress) => progress.next(segment, offset),
            None => segment.from(offset).first().copied(),
        }
    }

    pub(crate) fn next_backlog(&self, segments: &Segments, order: Order) -> Next {
        let mut range = segments.range(..=self.live.segment);
        loop {
            let next = if order == Order::OldestFirst { range.next() } else { range.next_back() };
            let Some((number, segment)) = next else { return Next::Nothing };
            let limit = if *number == self.live.segment { self.live.offset } else { u64::MAX };
            let all_taken = self.progress.get(number).is_some_and(|p| p.taken_totals.records >= segment.totals.records);
            if limit == 0 || all_taken || segment.totals.records == 0 {
                continue;
            }
            if !segment.is_known {
                return Next::Unknown(*number);
            }
            if let Some(record) = self.next_in(*number, segment, 0).filter(|record| record.offset < limit) {
                return Next::At(*number, record);
            }
        }
    }

    /// Puts a record into the destination's hand.
    pub(crate) fn take(&mut self, segment: u64, record: RecordInfo, lane: Lane) -> Position {
        let position = Position { segment, offset: record.offset };
        self.progress.entry(segment).or_default().take(&record);
        if lane == Lane::Live {
            self.live = Position { segment, offset: record.end() };
            self.live_waiting -= Amount::of(&record);
        }
        self.in_flight.insert(position, Flight { lane, record });
        position
    }

    /// The first of a lane's records that were put back.
    pub(crate) fn take_returned(&mut self, lane: Lane) -> Option<Taken> {
        let position = *self.returned.iter().find(|(_, returned)| returned.flight.lane == lane)?.0;
        let Returned { flight, batch } = self.returned.remove(&position)?;
        self.in_flight.insert(position, flight);
        Some(Taken { position, lane, batch })
    }

    /// False when the destination did not have it in hand.
    pub(crate) fn delivered(&mut self, position: Position) -> bool {
        let returned = self.returned.remove(&position).map(|returned| returned.flight);
        let Some(flight) = self.in_flight.remove(&position).or(returned) else { return false };
        // Of a segment that was dropped meanwhile there is no progress.
        if let Some(progress) = self.progress.get_mut(&position.segment) {
            progress.deliver(&flight.record);
        }
        true
    }

    pub(crate) fn put_back(&mut self, taken: Taken) {
        let Some(mut flight) = self.in_flight.remove(&taken.position) else { return };
        if flight.record.arrived < self.behind {
            flight.lane = Lane::Backlog;
        }
        self.returned.insert(taken.position, Returned { flight, batch: taken.batch });
    }

    /// What was put back is waiting again, in the backlog, as if it had never been taken: so it leaves in order.
    pub(crate) fn forget_returned(&mut self) {
        self.returned.retain(|position, returned| {
            let progress = self.progress.get_mut(&position.segment);
            progress.map(|progress| progress.untake(&returned.flight.record)).is_none()
        });
    }

    /// The same with what the destination has in hand. Of segments that were dropped meanwhile that is lost.
    pub(crate) fn forget_in_flight(&mut self) {
        self.forget_returned();
        for (position, flight) in std::mem::take(&mut self.in_flight) {
            match self.progress.get_mut(&position.segment) {
                Some(progress) => progress.untake(&flight.record),
                None => self.lose(flight.record.min, flight.record.min, u64::from(flight.record.samples)),
            }
        }
    }

    pub(crate) fn fall_behind(&mut self, segments: &Segments, before: i64) -> u64 {
        self.behind = self.behind.max(before);
        let mut moved = Amount::default();
        for returned in self.returned.values_mut() {
            if returned.flight.lane == Lane::Live && returned.flight.record.arrived < before {
                returned.flight.lane = Lane::Backlog;
                moved.samples += u64::from(returned.flight.record.samples);
            }
        }
        let mut passed = Amount::default();
        for (number, segment) in segments.range(self.live.segment..) {
            let offset = if *number == self.live.segment { self.live.offset } else { 0 };
            if segment.is_known {
                let records = segment.from(offset);
                let late = records.iter().take_while(|record| record.arrived < before).count();
                for record in &records[..late] {
                    passed += Amount::of(record);
                    self.live = Position { segment: *number, offset: record.end() };
                }
                if late < records.len() {
                    break;
                }
            } else if segment.first_arrived < before {
                passed += Amount { samples: segment.totals.samples, bytes: segment.totals.bytes };
                self.live = Position { segment: *number, offset: u64::MAX };
            } else {
                break;
            }
        }
        self.live_waiting -= passed;
        moved.samples + passed.samples
    }

    /// What was taken of the live lane and not delivered.
    fn live_flights(&self) -> impl Iterator<Item = &RecordInfo> {
        self.flights().filter(|flight| flight.lane == Lane::Live).map(|flight| &flight.record)
    }

    fn flights(&self) -> impl Iterator<Item = &Flight> {
        self.in_flight.values().chain(self.returned.values().map(|returned| &returned.flight))
    }

    pub(crate) fn oldest_live_arrival(&self, segments: &Segments) -> Option<TimestampMs> {
        let waiting = match self.next_live(segments) {
            Next::Nothing => None,
            Next::Unknown(number) => segments.get(&number).map(|segment| segment.first_arrived),
            Next::At(_, record) => Some(record.arrived),
        };
        self.live_flights().map(|record| record.arrived).chain(waiting).min().map(TimestampMs)
    }

    /// Segments with anything that was not delivered, and how much that is.
    fn undelivered<'a>(&self, segments: &'a Segments) -> impl Iterator<Item = (u64, &'a Segment, Amount)> {
        segments.iter().filter_map(|(number, segment)| {
            let mut left = segment.totals;
            if let Some(progress) = self.progress.get(number) {
                left -= progress.done_totals;
            }
            (left.records > 0).then_some((*number, segment, Amount { samples: left.samples, bytes: left.bytes }))
        })
    }

    /// What was not taken of a segment that holds so much.
    pub(crate) fn untaken(&self, number: u64, mut totals: Totals) -> Totals {
        if let Some(progress) = self.progress.get(&number) {
            totals -= progress.taken_totals;
        }
        totals
    }

    pub(crate) fn has_all_of(&self, number: u64, segment: &Segment) -> bool {
        let done = self.progress.get(&number).map_or(0, |progress| progress.done_totals.records);
        done >= segment.totals.records
    }

    pub(crate) fn has(&self, position: Position) -> bool {
        self.progress.get(&position.segment).is_some_and(|progress| progress.done.contains(position.offset))
    }

    pub(crate) fn waiting(&mut self, segments: &Segments) -> Waiting {
        let mut waiting = Waiting { live: self.live_waiting, ..Waiting::default() };
        self.live_flights().for_each(|record| waiting.live += Amount::of(record));
        let mut newest = None;
        let live_segment = self.live.segment;
        for (number, segment, amount) in self.undelivered(segments) {
            waiting.backlog += amount;
            if number <= live_segment {
                newest = newest.max(Some(segment.max));
            }
        }
        waiting.backlog -= waiting.live;
        if waiting.backlog.samples > 0 {
            waiting.backlog_newest = newest.map(TimestampMs);
            waiting.backlog_oldest = self.oldest_undelivered(segments);
        }
        waiting
    }

    pub(crate) fn oldest_undelivered(&mut self, segments: &Segments) -> Option<TimestampMs> {
        // Also of segments that were dropped meanwhile.
        let flying = self.flights().map(|flight| flight.record.min).min();
        let with_rest: Vec<(u64, &Segment)> = self.undelivered(segments).map(|(n, segment, _)| (n, segment)).collect();
        let waiting = with_rest.into_iter().map(|(number, segment)| match self.progress.get_mut(&number) {
            Some(progress) => progress.oldest(segment),
            None => segment.min,
        });
        waiting.chain(flying).min().map(TimestampMs)
    }

    /// Whether anything of a segment is in use here that reading it again does not tell.
    pub(crate) fn is_within(&self, number: u64) -> bool {
        (self.live.segment == number && self.live.offset > 0)
            || self.in_flight.keys().any(|position| position.segment == number)
    }

    /// Forgets a segment that is gone; `samples` of what was live and waiting went with it.
    pub(crate) fn forget_segment(&mut self, number: u64, segment: &Segment) {
        let taken = self.progress.remove(&number);
        if number < self.live.segment {
            return;
        }
        let offset = if number == self.live.segment { self.live.offset } else { 0 };
        if segment.is_known {
            let is_taken = |record: &RecordInfo| taken.as_ref().is_some_and(|p| p.taken.contains(record.offset));
            for record in segment.from(offset).iter().filter(|record| !is_taken(record)) {
                self.live_waiting -= Amount::of(record);
            }
        } else if offset == 0 {
            self.live_waiting -= Amount { samples: segment.totals.samples, bytes: segment.totals.bytes };
        }
    }

    /// Notes samples that the destination will not get.
    pub(crate) fn lose(&mut self, from: i64, to: i64, samples: u64) {
        if samples == 0 {
            return;
        }
        let number = self.next_gap;
        self.next_gap += 1;
        self.gaps.push(Gap { number, from: TimestampMs(from), to: TimestampMs(to), samples });
        if self.gaps.len() > MAX_GAPS {
            let oldest = self.gaps.remove(0);
            let next = &mut self.gaps[0];
            (next.from, next.to) = (next.from.min(oldest.from), next.to.max(oldest.to));
            next.samples += oldest.samples;
        }
    }
}
