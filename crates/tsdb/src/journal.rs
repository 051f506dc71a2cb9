//! When which time was written to last, for whoever keeps answers (docs/decisions/009-the-result-cache.md).
//!
//! Two rings of slots, one of short spans of time and one of long ones. A slot stands for all spans whose numbers are equal
//! modulo the ring's length; it knows the version of the last write to any of them, and how many writes are under way. So
//! a slot may tell of a write that was to another span, never the other way round, and a span counts as changed when both
//! rings say so.
//!
//! A write announces itself before it can be read and leaves after, and counts itself in before it takes its version.
//! A reader takes the version before it looks at the slots. So either the write has a later version than the reader, or the
//! reader finds it under way, or everything of it can be read already.

use std::sync::atomic::{AtomicU64, Ordering};

use model::{TimeRange, TimestampMs};

/// Spans of 16 seconds, 18 hours before they repeat.
const SHORT_SHIFT: u32 = 14;
/// Spans of 70 minutes, 198 days before they repeat.
const LONG_SHIFT: u32 = 22;
/// A power of two.
const SLOTS: usize = 4096;

#[derive(Debug, Default)]
struct Slot {
    version: AtomicU64,
    writers: AtomicU64,
}

impl Slot {
    /// The order of the two loads does not matter to correctness, but this one finds a write that ends meanwhile.
    fn changed(&self, since: u64) -> bool {
        self.writers.load(Ordering::Acquire) > 0 || self.version.load(Ordering::Acquire) > since
    }
}

#[derive(Debug)]
struct Ring {
    slots: Box<[Slot]>,
}

impl Ring {
    fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Slot::default()).collect() }
    }

    fn changed(&self, span: i64, since: u64) -> bool {
        self.slots[slot_of(span)].changed(since)
    }
}

fn slot_of(span: i64) -> usize {
    // The ring's length divides 2^64, so wrapping negative numbers keeps neighbours apart.
    span as usize % SLOTS
}

/// Which slots of a ring a write concerns.
struct Marks([u64; SLOTS / 64]);

impl Marks {
    const NONE: Self = Self([0; SLOTS / 64]);

    fn mark(&mut self, span: i64) {
        let slot = slot_of(span);
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit))
    }
}

/// The journal of one store.
#[derive(Debug)]
pub(crate) struct Journal {
    clock: AtomicU64,
    short: Ring,
    long: Ring,
    /// Changes that concern any time: deletions, blocks that come and go.
    everything: Slot,
}

impl Default for Journal {
    fn default() -> Self {
        let (clock, everything) = (AtomicU64::default(), Slot::default());
        Self { clock, short: Ring::new(), long: Ring::new(), everything }
    }
}

/// A write that is under way, until this is dropped.
pub(crate) struct Writing<'j> {
    journal: &'j Journal,
    short: Marks,
    long: Marks,
}

/// A change of anything, until this is dropped.
pub(crate) struct Changing<'j>(&'j Journal);

impl Journal {
    /// How many changes have begun.
    pub(crate) fn version(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    /// Announces samples of these times. To be called before any of them can be read, and kept until all of them can.
    pub(crate) fn write(&self, timestamps: impl Iterator<Item = i64>) -> Writing<'_> {
        let mut writing = Writing { journal: self, short: Marks::NONE, long: Marks::NONE };
        let mut last = None;
        for timestamp in timestamps {
            let span = timestamp >> SHORT_SHIFT;
            // Most batches are of one moment.
            if last != Some(span) {
                writing.short.mark(span);
                writing.long.mark(timestamp >> LONG_SHIFT);
                last = Some(span);
            }
        }
        for slot in writing.slots() {
            slot.writers.fetch_add(1, Ordering::AcqRel);
        }
        let version = self.clock.fetch_add(1, Ordering::AcqRel) + 1;
        for slot in writing.slots() {
            slot.version.fetch_max(version, Ordering::AcqRel);
        }
        writing
    }

    /// Announces a change that may concern any time. To be kept as [`Journal::write`] says.
    pub(crate) fn change_anything(&self) -> Changing<'_> {
        self.everything.writers.fetch_add(1, Ordering::AcqRel);
        let version = self.clock.fetch_add(1, Ordering::AcqRel) + 1;
        self.everything.version.fetch_max(version, Ordering::AcqRel);
        Changing(self)
    }

    /// As [`model::Changes::changed`].
    pub(crate) fn changed(&self, since: u64, range: TimeRange) -> Option<Vec<TimeRange>> {
        if self.everything.changed(since) {
            return None;
        }
        let mut spans: Vec<TimeRange> = Vec::new();
        let (first, last) = (range.start.0 >> LONG_SHIFT, range.end.0 >> LONG_SHIFT);
        if last.saturating_sub(first) >= SLOTS as i64 {
            let quiet = self.long.slots.iter().all(|slot| !slot.changed(since));
            return quiet.then_some(spans);
        }
        for long in (first..=last).filter(|long| self.long.changed(*long, since)) {
            let inside = long << (LONG_SHIFT - SHORT_SHIFT)..(long + 1) << (LONG_SHIFT - SHORT_SHIFT);
            for short in inside.filter(|short| self.short.changed(*short, since)) {
                let start = (short << SHORT_SHIFT).max(range.start.0);
                let end = ((short << SHORT_SHIFT) | ((1 << SHORT_SHIFT) - 1)).min(range.end.0);
                if start > end {
                    continue;
                }
                match spans.last_mut() {
                    Some(before) if before.end.0 + 1 == start => before.end = TimestampMs(end),
                    _ => spans.push(TimeRange { start: TimestampMs(start), end: TimestampMs(end) }),
                }
            }
        }
        Some(spans)
    }
}

impl<'j> Writing<'j> {
    fn slots<'w>(&'w self) -> impl Iterator<Item = &'j Slot> + use<'j, 'w> {
        let of = |ring: &'j Ring, marks: &'w Marks| marks.iter().map(|slot| &ring.slots[slot]);
        of(&self.journal.short, &self.short).chain(of(&self.journal.long, &self.long))
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for slot in self.slots() {
            slot.writers.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.everything.writers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange { start: TimestampMs(start), end: TimestampMs(end) }
    }

    fn holds(spans: &[TimeRange], timestamp: i64) -> bool {
        spans.iter().any(|span| (span.start.0..=span.end.0).contains(&timestamp))
    }

    #[test]
    fn only_what_was_written_changed() {
        let journal = Journal::default();
        let (minute, hour) = (60_000, 3_600_000);
        let now = 1_700_000_000_000;
        let before = journal.version();
        drop(journal.write([now, now + 1, now - 20 * hour].into_iter()));
        let after = journal.version();
        let all = range(now - 30 * hour, now + hour);
        let spans = journal.changed(before, all).expect("only samples");
        assert_eq!(spans.len(), 2, "{spans:?}");
        assert!(holds(&spans, now) && holds(&spans, now - 20 * hour) && !holds(&spans, now - minute));
        assert!(spans.iter().all(|span| span.end - span.start < 1 << SHORT_SHIFT));
        assert_eq!(journal.changed(after, all), Some(Vec::new()));
        assert_eq!(journal.changed(before, range(now - hour, now - minute)), Some(Vec::new()));
        assert_eq!(journal.changed(before, range(i64::MIN, i64::MAX)), None);
        assert_eq!(journal.changed(after, range(i64::MIN, i64::MAX)), Some(Vec::new()));
    }

    #[test]
    fn what_is_under_way_is_told() {
        let journal = Journal::default();
        let now = 1_700_000_000_000;
        let writing = journal.write([now].into_iter());
        assert!(holds(&journal.changed(journal.version(), range(now, now)).expect("only samples"), now));
        drop(writing);
        assert_eq!(journal.changed(journal.version(), range(now, now)), Some(Vec::new()));
        let changing = journal.change_anything();
        assert_eq!(journal.changed(journal.version(), range(0, 0)), None);
        drop(changing);
        assert_eq!(journal.changed(journal.version(), range(0, 0)), Some(Vec::new()));
        assert_eq!(journal.changed(journal.version() - 1, range(0, 0)), None);
    }

    proptest! {
        #[test]
        fn no_write_is_missed(
            writes in prop::collection::vec(prop::collection::vec(-40i64..40, 1..20), 1..12),
            scale in prop::sample::select(vec![1i64, 1000, 16_384, 100_000, 4_194_304, 1 << 33, 1 << 56]),
            look in 0usize..12,
        ) {
            let journal = Journal::default();
            let mut versions = Vec::new();
            for write in &writes {
                versions.push(journal.version());
                drop(journal.write(write.iter().map(|at| at * scale)));
            }
            let since = look.min(writes.len() - 1);
            let all = range(-40 * scale, 40 * scale);
            if let Some(spans) = journal.changed(versions[since], all) {
                for at in writes[since..].iter().flatten() {
                    prop_assert!(holds(&spans, at * scale), "{} is missing in {:?}", at * scale, spans);
                }
                prop_assert!(spans.windows(2).all(|pair| pair[0].end.0 + 1 < pair[1].start.0));
            }
        }

        #[test]
        fn many_writers_at_once(threads in prop::collection::vec(prop::collection::vec(0i64..2_000_000, 1..200), 2..4)) {
            let journal = Journal::default();
            std::thread::scope(|scope| {
                for times in &threads {
                    scope.spawn(|| times.iter().for_each(|at| drop(journal.write([*at].into_iter()))));
                }
            });
            let spans = journal.changed(0, range(0, 2_000_000)).expect("only samples");
            for at in threads.iter().flatten() {
                prop_assert!(holds(&spans, *at));
            }
            prop_assert_eq!(journal.changed(journal.version(), range(0, 2_000_000)), Some(Vec::new()));
        }
    }
}
