//! What all threads share: segments, destinations, and the newest records.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::place::{Next, Place, Segments};
use crate::record::Header;
use crate::saved::{Saved, SavedCursor};
use crate::segment::{RecordInfo, Segment};
use crate::{Batch, Dropped, Lane, Position, Waker};

/// Sources that dropped samples are counted by.
const MAX_SOURCES: usize = 1000;

/// The newest records, oldest first.
#[derive(Default)]
pub(crate) struct Memory {
    records: VecDeque<(Position, Arc<Batch>)>,
    pub(crate) bytes: usize,
}

impl Memory {
    fn push(&mut self, position: Position, batch: Arc<Batch>, limit: usize) {
        self.bytes += batch.size_bytes();
        self.records.push_back((position, batch));
        while self.bytes > limit && self.pop() {}
    }

    fn pop(&mut self) -> bool {
        let oldest = self.records.pop_front();
        if let Some((_, batch)) = &oldest {
            self.bytes = self.bytes.saturating_sub(batch.size_bytes());
        }
        oldest.is_some()
    }

    pub(crate) fn get(&self, position: Position) -> Option<Arc<Batch>> {
        let at = self.records.binary_search_by_key(&position, |(at, _)| *at).ok()?;
        self.records.get(at).map(|(_, batch)| Arc::clone(batch))
    }

    /// Lets the oldest go as long as they are not wanted.
    fn trim(&mut self, mut wanted: impl FnMut(Position, &Batch) -> bool) {
        while self.records.front().is_some_and(|(position, batch)| !wanted(*position, batch)) {
            self.pop();
        }
    }
}

/// What a lane has next.
pub(crate) enum Found {
    Nothing,
    /// A segment has to be read first.
    Load(u64),
    /// It is taken; its content is here, or in the segment.
    Taken(Position, Option<Arc<Batch>>),
}

pub(crate) struct State {
    pub(crate) segments: Segments,
    /// Destinations by the number of their cursor.
    pub(crate) places: BTreeMap<u64, Place>,
    pub(crate) next_place: u64,
    pub(crate) memory: Memory,
    pub(crate) memory_limit: usize,
    /// What a segment may hold, where the budget is large enough for that.
    pub(crate) full_segment_bytes: u64,
    pub(crate) max_bytes: u64,
    pub(crate) max_age_ms: i64,
    pub(crate) keep_ms: i64,
    /// Whether the disk has refused something since the last record: what nobody needs makes room.
    pub(crate) is_short: bool,
    pub(crate) last_pushed: Option<i64>,
    /// Dropped since anybody asked.
    pub(crate) dropped: Vec<Dropped>,
    pub(crate) sources: BTreeSet<String>,
    /// Whether what is saved is not what is true.
    pub(crate) is_changed: bool,
    /// Whether that must be mended before anything is pushed: a destination is new, and what is pushed is for it too.
    pub(crate) must_save: bool,
    /// Whether the destinations are those that there are, so that what none of them wants may go.
    pub(crate) is_settled: bool,
    /// Whether destinations that are not known get all that is there.
    pub(crate) from_the_beginning: bool,
}

impl State {
    /// Notes a record that was written, and keeps it in memory. Returns who wants to hear of it.
    pub(crate) fn pushed(&mut self, segment: u64, header: &Header, record: RecordInfo, batch: Batch) -> Vec<Waker> {
        self.segment_opened(segment);
        self.is_short = false;
        if let Some(open) = self.segments.get_mut(&segment) {
            open.add(header, record);
        }
        self.last_pushed = self.last_pushed.max(Some(header.arrived));
        self.places.values_mut().for_each(|place| place.added(segment, &record));
        let position = Position { segment, offset: record.offset };
        self.memory.push(position, Arc::new(batch), self.memory_limit);
        self.places.values().filter_map(|place| place.waker.clone()).collect()
    }

    /// A segment of so many bytes is full. A budget holds eight at least: with fewer, dropping the oldest drops most of it.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.full_segment_bytes.clamp(1, 1 << 30).min((self.max_bytes / 8).max(4096))
    }

    /// From now on this segment takes records, and no other.
    pub(crate) fn segment_opened(&mut self, number: u64) {
        if !self.segments.get(&number).is_some_and(|segment| segment.is_open) {
            self.segments.values_mut().for_each(|segment| segment.is_open = false);
            self.segments.insert(number, Segment::empty(true));
        }
    }

    /// Takes what is next in a lane.
    pub(crate) fn take(&mut self, place: u64, lane: Lane, next: impl Fn(&Place, &Segments) -> Next) -> Found {
        let Some(place) = self.places.get_mut(&place) else { return Found::Nothing };
        let (number, record) = match next(place, &self.segments) {
            Next::Nothing => return Found::Nothing,
            Next::Unknown(number) => return Found::Load(number),
            Next::At(number, record) => (number, record),
        };
        let position = Position { segment: number, offset: record.offset };
        let batch = self.memory.get(position);
        if let Some(segment) = self.segments.get_mut(&number) {
            if batch.is_none() && segment.loaded.is_none() {
                return Found::Load(number);
            }
            segment.is_used = true;
        }
        Found::Taken(place.take(number, record, lane), batch)
    }

    pub(crate) fn delivered(&mut self, place: u64, position: Position) {
        let Some(found) = self.places.get_mut(&place) else { return };
        self.is_changed |= found.delivered(position);
        let Self { memory, places, .. } = self;
        memory.trim(|position, _| !places.values().all(|place| place.has(position)));
    }

    /// Lets go of records in memory that were pushed before this time: they are on disk too.
    pub(crate) fn forget_old_records(&mut self, before: i64) {
        self.memory.trim(|_, batch| batch.arrived.0 >= before);
    }

    /// Samples of a record are lost to one destination: all of them, or those whose series nothing defines any more.
    pub(crate) fn lost(&mut self, place: u64, position: Position, samples: u64, all: bool) {
        let times = self.segments.get(&position.segment).map_or((0, 0), |segment| (segment.min, segment.max));
        let Some(found) = self.places.get_mut(&place) else { return };
        if all {
            found.delivered(position);
        }
        found.lose(times.0, times.1, samples);
        let destination = found.destination.clone();
        self.drop_samples(destination, String::new(), "damaged", samples);
        self.is_changed = true;
    }

    /// Counts samples that a destination does not get.
    pub(crate) fn drop_samples(&mut self, destination: String, source: String, reason: &'static str, samples: u64) {
        let is_named = source.is_empty() || self.sources.contains(&source) || self.sources.len() < MAX_SOURCES;
        let source = if is_named { source } else { "other".to_owned() };
        self.sources.insert(source.clone());
        let same = |dropped: &&mut Dropped| {
            dropped.destination == destination && dropped.source == source && dropped.reason == reason
        };
        match self.dropped.iter_mut().find(same) {
            Some(dropped) => dropped.samples += samples,
            None => self.dropped.push(Dropped { destination, source, reason, samples }),
        }
    }

    /// Closed segments that every destination has, with nothing that was pushed after `before`.
    pub(crate) fn finished(&self, before: i64) -> Vec<u64> {
        let finished = |number: u64, segment: &Segment| {
            !segment.is_open
                && segment.last_arrived <= before
                && self.places.values().all(|place| place.has_all_of(number, segment))
        };
        let all = self.segments.iter().filter(|(number, segment)| self.is_settled && finished(**number, segment));
        all.map(|(number, _)| *number).collect()
    }

    /// Forgets a segment that is gone, or about to go.
    pub(crate) fn forget_segment(&mut self, number: u64) {
        let Some(segment) = self.segments.remove(&number) else { return };
        self.places.values_mut().for_each(|place| place.forget_segment(number, &segment));
        let known = &self.segments;
        self.memory.trim(|position, _| known.contains_key(&position.segment));
    }

    /// A segment that should be there is not.
    pub(crate) fn vanished(&mut self, number: u64) {
        let Some(segment) = self.segments.get(&number) else { return };
        let (totals, min, max) = (segment.totals, segment.min, segment.max);
        let mut lost = Vec::new();
        for place in self.places.values_mut() {
            let left = place.untaken(number, totals);
            place.lose(min, max, left.samples);
            lost.push((place.destination.clone(), left.samples));
        }
        for (destination, samples) in lost.into_iter().filter(|(_, samples)| *samples > 0) {
            self.drop_samples(destination, String::new(), "damaged", samples);
        }
        self.forget_segment(number);
        self.is_changed = true;
    }

    /// Forgets the records of segments that nobody reads.
    pub(crate) fn unload_idle(&mut self) {
        let Self { segments, places, memory, .. } = self;
        for (number, segment) in segments.iter_mut().filter(|(_, segment)| !segment.is_open && segment.is_known) {
            let in_memory = memory.records.front().is_some_and(|(position, _)| position.segment <= *number);
            let is_used = std::mem::take(&mut segment.is_used);
            if !in_memory && !is_used && !places.values().any(|place| place.is_within(*number)) {
                segment.unload();
            }
        }
    }

    pub(crate) fn to_save(&self) -> Saved {
        let cursor = |place: &Place| SavedCursor {
            destination: place.destination.clone(),
            next_gap: place.next_gap,
            gaps: place.gaps.iter().map(|gap| (gap.number, gap.from.0, gap.to.0, gap.samples)).collect(),
            delivered: place
                .progress
                .iter()
                .filter(|(_, progress)| !progress.done.is_empty())
                .map(|(number, progress)| (*number, progress.done.clone()))
                .collect(),
        };
        Saved::new(self.last_pushed, self.places.values().map(cursor).collect())
    }
}
