//! How far a destination has come in one segment.

use crate::intervals::Intervals;
use crate::segment::{RecordInfo, Segment, Totals};

#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// What was delivered.
    pub(crate) done: Intervals,
    /// That, and what the destination has in hand or put back.
    pub(crate) taken: Intervals,
    pub(crate) done_totals: Totals,
    pub(crate) taken_totals: Totals,
    /// The smallest timestamp of what was not delivered, or one before it.
    oldest: Option<i64>,
    /// Whether the record with that timestamp was delivered since.
    is_stale: bool,
}

impl Progress {
    /// Where `done` was delivered of a segment, and its records are known.
    pub(crate) fn restored(done: Intervals, segment: &Segment) -> Self {
        let mut progress = Self { taken: done.clone(), done, ..Self::default() };
        progress.recount(segment);
        progress
    }

    /// Counts again: the segment's records are known now, and may be fewer than they were.
    pub(crate) fn recount(&mut self, segment: &Segment) {
        let totals = |within: &Intervals| {
            let mut totals = Totals::default();
            segment.records.iter().filter(|record| within.contains(record.offset)).for_each(|r| totals += r.totals());
            totals
        };
        (self.done_totals, self.taken_totals) = (totals(&self.done), totals(&self.taken));
        self.is_stale = true;
        self.oldest(segment);
    }

    pub(crate) fn take(&mut self, record: &RecordInfo) {
        self.taken.insert(record.offset, record.end());
        self.taken_totals += record.totals();
    }

    /// What was taken is there to be taken again.
    pub(crate) fn untake(&mut self, record: &RecordInfo) {
        self.taken.remove(record.offset, record.end());
        self.taken_totals -= record.totals();
    }

    /// What was taken is delivered.
    pub(crate) fn deliver(&mut self, record: &RecordInfo) {
        self.done.insert(record.offset, record.end());
        self.done_totals += record.totals();
        self.is_stale |= self.oldest.is_none_or(|oldest| record.min <= oldest);
    }

    /// A record was added to the segment.
    pub(crate) fn added(&mut self, record: &RecordInfo) {
        self.oldest = self.oldest.map(|oldest| oldest.min(record.min));
    }

    /// The first record from `offset` on that was not taken.
    pub(crate) fn next(&self, segment: &Segment, mut offset: u64) -> Option<RecordInfo> {
        loop {
            let record = segment.from(self.taken.first_outside(offset)).first()?;
            if !self.taken.contains(record.offset) {
                return Some(*record);
            }
            offset = record.end();
        }
    }

    /// The smallest timestamp of what was not delivered. There is something.
    pub(crate) fn oldest(&mut self, segment: &Segment) -> i64 {
        if (self.is_stale || self.oldest.is_none()) && segment.is_known {
            let (mut oldest, mut at) = (i64::MAX, self.done.first_outside(0));
            loop {
                let gap_end = self.done.next_start(at);
                let in_gap = segment.from(at).iter().take_while(|record| record.offset < gap_end);
                oldest = in_gap.map(|record| record.min).fold(oldest, i64::min);
                if gap_end == u64::MAX {
                    break;
                }
                at = self.done.first_outside(gap_end);
            }
            (self.oldest, self.is_stale) = (Some(oldest), false);
        }
        self.oldest.unwrap_or(segment.min).max(segment.min)
    }
}
