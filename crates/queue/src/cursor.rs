//! One destination's view of the queue.

use std::sync::Arc;

use model::TimestampMs;

use crate::place::{Next, Place, Segments};
use crate::queue::Inner;
use crate::segment::Totals;
use crate::state::{Found, State};
use crate::{Batch, Position, QueueError, Taken};

/// Which of a destination's two streams a record is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// What comes in now.
    Live,
    /// What the destination fell behind with.
    Backlog,
}

/// Which part of the backlog leaves first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In the order in which it was pushed.
    OldestFirst,
    /// The newest segment first; within it in the order in which it was pushed.
    NewestFirst,
}

/// An amount of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Samples, native histograms included.
    pub samples: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// What a destination does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// In the live lane, in flight included.
    pub live: Amount,
    /// In the backlog, in flight included.
    pub backlog: Amount,
    /// The oldest timestamp of a sample of the backlog, or one before it.
    pub backlog_oldest: Option<TimestampMs>,
    /// The newest, or one after it.
    pub backlog_newest: Option<TimestampMs>,
}

/// Samples that a destination will never get from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Tells gaps of one cursor apart; later ones have higher numbers.
    pub number: u64,
    /// The oldest timestamp in it.
    pub from: TimestampMs,
    /// The newest.
    pub to: TimestampMs,
    /// How many samples were dropped.
    pub samples: u64,
}

/// What the caller wants to hear: that something was pushed. Called by the thread that pushes; must not block.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// One destination's handle of its place in the queue. Any number of threads may use it at once. After
/// [`crate::Queue::retain`] without its destination it finds nothing.
#[derive(Clone)]
pub struct Cursor {
    inner: Arc<Inner>,
    id: u64,
    destination: String,
}

impl Cursor {
    pub(crate) fn new(inner: Arc<Inner>, id: u64, destination: String) -> Self {
        Self { inner, id, destination }
    }

    /// The destination's name.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// The next record of the live lane: one that was put back, else the oldest that was not taken. Reads the disk only
    /// when the destination lags further behind than memory reaches.
    ///
    /// # Errors
    /// When a segment cannot be read; nothing is taken then.
    pub fn next_live(&self) -> Result<Option<Taken>, QueueError> {
        self.next(Lane::Live, Place::next_live)
    }

    /// The next record of the backlog: one that was put back, else the next in `order`. May read the disk.
    ///
    /// # Errors
    /// When a segment cannot be read; nothing is taken then.
    pub fn next_backlog(&self, order: Order) -> Result<Option<Taken>, QueueError> {
        self.next(Lane::Backlog, |place, segments| place.next_backlog(segments, order))
    }

    fn next(&self, lane: Lane, next: impl Fn(&Place, &Segments) -> Next) -> Result<Option<Taken>, QueueError> {
        loop {
            let found = {
                let mut state = self.inner.state.lock();
                if let Some(taken) = state.places.get_mut(&self.id).and_then(|place| place.take_returned(lane)) {
                    return Ok(Some(taken));
                }
                state.take(self.id, lane, &next)
            };
            match found {
                Found::Nothing => return Ok(None),
                Found::Load(number) => self.inner.load(number)?,
                Found::Taken(position, Some(batch)) => return Ok(Some(Taken { position, lane, batch })),
                Found::Taken(position, None) => {
                    if let Some(batch) = self.read(position) {
                        return Ok(Some(Taken { position, lane, batch }));
                    }
                }
            }
        }
    }

    /// Reads a record that was taken. What cannot be read is given up, and counted.
    fn read(&self, position: Position) -> Option<Arc<Batch>> {
        let (loaded, samples) = {
            let state = self.inner.state.lock();
            let segment = state.segments.get(&position.segment);
            let samples = segment.and_then(|s| s.from(position.offset).first()).map_or(0, |r| u64::from(r.samples));
            (segment.and_then(|segment| segment.loaded.clone()), samples)
        };
        let read = loaded.and_then(|loaded| loaded.batch(position.offset, &mut self.inner.decoder.lock()));
        let mut state = self.inner.state.lock();
        let Some((batch, lost)) = read else {
            state.lost(self.id, position, samples, true);
            return None;
        };
        if lost > 0 {
            state.lost(self.id, position, lost, false);
        }
        Some(Arc::new(batch))
    }

    /// The destination has it, or refused it for good. Calling it again does nothing.
    pub fn delivered(&self, position: Position) {
        self.inner.state.lock().delivered(self.id, position);
    }

    /// It did not arrive: it is the next of its lane again, those that were put back in the order of their positions. What
    /// was pushed before the last [`Cursor::fall_behind`] goes to the backlog.
    pub fn put_back(&self, taken: Taken) {
        if let Some(place) = self.inner.state.lock().places.get_mut(&self.id) {
            place.put_back(taken);
        }
    }

    /// What was put back and not taken again goes to the backlog, into its place there: for a destination that gets all in
    /// order from now on.
    pub fn put_in_order(&self) {
        if let Some(place) = self.inner.state.lock().places.get_mut(&self.id) {
            place.forget_returned();
        }
    }

    /// What was pushed before `before` and is in the live lane, but not in flight, becomes backlog. Of segments that have
    /// left memory the whole goes. Returns how many samples that are.
    pub fn fall_behind(&self, before: TimestampMs) -> u64 {
        let State { places, segments, .. } = &mut *self.inner.state.lock();
        places.get_mut(&self.id).map_or(0, |place| place.fall_behind(segments, before.0))
    }

    /// When the oldest record of the live lane was pushed that is not delivered, in flight included.
    pub fn oldest_live_arrival(&self) -> Option<TimestampMs> {
        let state = self.inner.state.lock();
        state.places.get(&self.id)?.oldest_live_arrival(&state.segments)
    }

    /// What is not delivered.
    pub fn waiting(&self) -> Waiting {
        let State { places, segments, .. } = &mut *self.inner.state.lock();
        places.get_mut(&self.id).map(|place| place.waiting(segments)).unwrap_or_default()
    }

    /// The oldest timestamp of anything that is not delivered, in flight included, or one before it; exact for what was
    /// pushed lately. `None` when everything is delivered.
    pub fn oldest_undelivered_timestamp(&self) -> Option<TimestampMs> {
        let State { places, segments, .. } = &mut *self.inner.state.lock();
        places.get_mut(&self.id)?.oldest_undelivered(segments)
    }

    /// What was dropped and not told yet, newest first. They survive restarts.
    pub fn gaps(&self) -> Vec<Gap> {
        let state = self.inner.state.lock();
        state.places.get(&self.id).map(|place| place.gaps.iter().rev().copied().collect()).unwrap_or_default()
    }

    /// The destination heard of these.
    pub fn told(&self, gaps: &[Gap]) {
        let mut state = self.inner.state.lock();
        if let Some(place) = state.places.get_mut(&self.id) {
            // One that grew meanwhile is told again.
            place.gaps.retain(|gap| !gaps.contains(gap));
            state.is_changed = true;
        }
    }

    /// Has `waker` called after every push from now on.
    pub fn wake_with(&self, waker: Waker) {
        if let Some(place) = self.inner.state.lock().places.get_mut(&self.id) {
            place.waker = Some(waker);
        }
    }
}

impl Inner {
    /// Reads a segment so that records can be taken from it.
    pub(crate) fn load(&self, number: u64) -> Result<(), QueueError> {
        let _one_at_a_time = self.loading.lock();
        if self.state.lock().segments.get(&number).is_none_or(|segment| segment.loaded.is_some()) {
            return Ok(());
        }
        self.seal_segment(number);
        let loaded = self.files.load(number, &self.table)?;
        let mut state = self.state.lock();
        let State { segments, places, .. } = &mut *state;
        let (Some((loaded, records)), Some(segment)) = (loaded, segments.get_mut(&number)) else {
            // Somebody removed it meanwhile, or its file.
            state.vanished(number);
            return Ok(());
        };
        // It may hold less than it did.
        let mut totals = Totals::default();
        records.iter().for_each(|record| totals += record.totals());
        if totals != segment.totals || !segment.is_known {
            (segment.records, segment.totals, segment.is_known) = (records, totals, true);
            places.values_mut().filter_map(|place| place.progress.get_mut(&number)).for_each(|p| p.recount(segment));
        }
        segment.loaded = Some(Arc::new(loaded));
        Ok(())
    }
}
