//! Finding out what an earlier process left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use disk::Disk;
use model::TimestampMs;
use segment_log::{Log, segments};

use crate::load::Files;
use crate::place::{Place, Segments};
use crate::progress::Progress;
use crate::queue::Inner;
use crate::saved::{self, Saved, SavedCursor};
use crate::segment::Segment;
use crate::state::{Memory, State};
use crate::{Gap, Opened, Options, Position, QueueError};

/// Numbers that are passed over at most: more were never lost at once.
const MAX_PASSED: u64 = 10_000;

pub(crate) fn open(
    disk: Arc<dyn Disk>,
    folder: &Path,
    options: Options,
    now: i64,
) -> Result<(Inner, Opened), QueueError> {
    disk.create_folder(folder).map_err(segment_log::LogError::from)?;
    let files = Files::new(Arc::clone(&disk), folder);
    let mut opened = Opened::default();
    let saved = Saved::read(&*disk, folder)?.unwrap_or_else(|reason| {
        opened.cursors_lost = Some(reason);
        // Kept for people; it would be written over.
        let _ = disk.rename(&saved::path(folder), &folder.join("cursors.damaged"));
        Saved::default()
    });
    let mut found = Segments::new();
    for info in segments(&*disk, folder)? {
        let (segment, mut damages) = files.scan(&info)?;
        opened.damages.append(&mut damages);
        opened.segments += usize::from(segment.totals.records > 0);
        opened.samples += segment.totals.samples;
        found.insert(info.number, segment);
    }
    let newest = found.values().map(|segment| segment.last_arrived).max().filter(|arrived| *arrived > i64::MIN);
    let last_pushed = saved.last_pushed_ms.max(newest);
    opened.last_pushed = last_pushed.map(TimestampMs);

    let log = Log::create(disk, folder, segment_log::Options { segment_bytes: u64::MAX })?;
    // What is saved of a segment that a power loss took must not be taken for true of another one of its number.
    let highest = saved.highest_segment();
    let mut passed = 0;
    while log.segment() <= highest && passed < MAX_PASSED {
        // A number is never given twice, also when this fails.
        let _ = log.rotate();
        passed += 1;
    }
    let live = Position { segment: log.segment(), offset: 0 };
    let places: BTreeMap<u64, Place> = saved
        .cursors
        .into_iter()
        .map(|cursor| restored(cursor, live, &found))
        .zip(1..)
        .map(|(p, id)| (id, p))
        .collect();
    found.values_mut().for_each(Segment::unload);
    let state = State {
        segments: found,
        next_place: places.len() as u64 + 1,
        places,
        memory: Memory::default(),
        memory_limit: options.memory_bytes,
        full_segment_bytes: options.segment_bytes,
        max_bytes: options.max_bytes,
        max_age_ms: options.max_age_ms,
        keep_ms: options.keep_ms,
        is_short: false,
        last_pushed,
        dropped: Vec::new(),
        sources: BTreeSet::new(),
        is_changed: false,
        must_save: false,
        is_settled: false,
        from_the_beginning: opened.cursors_lost.is_some(),
    };
    Ok((Inner::new(files, log, options, state, now), opened))
}

/// A destination where it was. All that it did not get before is backlog.
fn restored(cursor: SavedCursor, live: Position, segments: &Segments) -> Place {
    let mut place = Place::new(cursor.destination, live);
    for (number, done) in cursor.delivered {
        if let Some(segment) = segments.get(&number) {
            place.progress.insert(number, Progress::restored(done, segment));
        }
    }
    let gap = |(number, from, to, samples)| Gap { number, from: TimestampMs(from), to: TimestampMs(to), samples };
    place.gaps = cursor.gaps.into_iter().map(gap).collect();
    place.next_gap = cursor.next_gap;
    place
}
