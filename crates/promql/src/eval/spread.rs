//! The columns of many series, computed on several threads where that pays, and handed on in the order of the series.
//!
//! The series are cut into chunks. Whoever is free takes the next chunk; the caller's thread sends finished chunks up the
//! plan, in order, and computes when the one it needs next is nobody's yet. Nobody runs further ahead than a few chunks,
//! so what lies between is small, and an answer is the same whatever the number of threads.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use model::{SampleBuffer, StoredSeries, TimeRange};

use super::budget::Budget;
use super::vectors::Scratch;
use crate::PromqlError;

/// Slots in a chunk's columns: they stay in a core's cache.
const CHUNK_SLOTS: usize = 32_768;
const CHUNK_ROWS: usize = 1024;
/// Chunks that may be finished, or begun, and not sent yet.
const AHEAD: usize = 8;
/// Series times slots from which a thread is worth its start: about a millisecond of work.
const WORTH_A_THREAD: usize = 200_000;
/// What reading a series costs beside its slots and samples, in slots.
const SERIES_SLOTS: usize = 30;
/// How often series usually have samples: a guess that only decides about threads.
const USUAL_INTERVAL_MS: i64 = 15_000;
/// Samples after which a long chunk accounts for its work.
const ACCOUNT_EVERY: usize = 50_000;

/// Makes a column of one series' samples. Runs on any thread.
pub(super) type Fill<'f> = dyn Fn(&mut SampleBuffer, &mut Scratch, &mut [f64]) + Sync + 'f;

/// Where columns go: series that have no sample in the range are left out.
pub(super) type Each<'e> = dyn FnMut(&dyn StoredSeries, &mut [f64]) -> Result<(), PromqlError> + 'e;

/// The threads that all queries of an engine may start together, beside the one that each of them runs on.
#[derive(Debug)]
pub(crate) struct Helpers {
    free: AtomicUsize,
}

impl Helpers {
    pub fn new(count: usize) -> Self {
        Self { free: AtomicUsize::new(count) }
    }

    /// One for every core but the caller's.
    pub fn for_this_machine() -> usize {
        thread::available_parallelism().map_or(0, |cores| cores.get() - 1)
    }

    /// Takes as many as are free, at most `wanted`.
    fn claim(&self, wanted: usize) -> Claim<'_> {
        let take = |free: usize| Some(free - wanted.min(free));
        let before = self.free.fetch_update(Relaxed, Relaxed, take).unwrap_or_else(|unchanged| unchanged);
        Claim { helpers: self, count: wanted.min(before) }
    }
}

struct Claim<'h> {
    helpers: &'h Helpers,
    count: usize,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.helpers.free.fetch_add(self.count, Relaxed);
    }
}

/// What is to be done.
pub(super) struct Work<'w> {
    pub budget: &'w Budget,
    pub series: &'w [Box<dyn StoredSeries>],
    pub range: TimeRange,
    /// Slots of a column; the caller holds one column's worth of the budget.
    pub slots: NonZero<usize>,
    /// Whether `fill` looks at the newest sample only.
    pub newest_only: bool,
    pub fill: &'w Fill<'w>,
}

/// Columns of neighbouring series. Reused.
#[derive(Debug, Default)]
struct Chunk {
    /// Which series have a column.
    rows: Vec<usize>,
    columns: Vec<f64>,
}

#[derive(Default)]
struct State {
    /// The first chunk that nobody has begun.
    next: usize,
    /// How many chunks were sent.
    sent: usize,
    finished: BTreeMap<usize, Result<Chunk, PromqlError>>,
    spare: Vec<Chunk>,
    /// Nobody needs more: the query failed, or a thread panicked.
    over: bool,
}

struct Shared<'w> {
    work: &'w Work<'w>,
    chunk_rows: usize,
    chunks: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Work<'_> {
    /// Computes every column and sends it to `each`.
    pub fn run(&self, helpers: &Helpers, each: &mut Each<'_>) -> Result<(), PromqlError> {
        let slots = self.slots.get();
        let chunk_rows = (CHUNK_SLOTS / slots).clamp(1, CHUNK_ROWS);
        let chunks = self.series.len().div_ceil(chunk_rows);
        let samples = self.range.end.0.saturating_sub(self.range.start.0) / USUAL_INTERVAL_MS;
        let samples = usize::try_from(samples).unwrap_or(0).min(10_000);
        let effort = self.series.len().saturating_mul(slots.saturating_add(SERIES_SLOTS + samples));
        // Very long columns are held one at a time: that is all the budget knows of.
        let wanted = if slots > CHUNK_SLOTS { 0 } else { (effort / WORTH_A_THREAD).min(chunks.saturating_sub(1)) };
        let claim = helpers.claim(wanted);
        let shared = Shared { work: self, chunk_rows, chunks, state: Mutex::default(), changed: Condvar::new() };
        thread::scope(|scope| {
            for _ in 0..claim.count {
                // Where the system gives no thread, the others do the work.
                let _ = thread::Builder::new().name("query".to_owned()).spawn_scoped(scope, || shared.help());
            }
            let _over = OverOnDrop(&shared);
            shared.send_all(each)
        })
    }

    /// Reads the series of one chunk. The columns of what has samples end up one after the other.
    fn compute(&self, rows: std::ops::Range<usize>, chunk: &mut Chunk, local: &mut Local) -> Result<(), PromqlError> {
        let slots = self.slots.get();
        chunk.rows.clear();
        chunk.columns.resize(rows.len() * slots, 0.0);
        let mut columns = chunk.columns.chunks_exact_mut(slots);
        // Counters are shared between threads, so they are not touched for every series.
        let (mut samples, mut unaccounted, mut most) = (0, 0, 0);
        for (row, series) in self.series[rows.clone()].iter().enumerate() {
            local.samples.clear();
            match self.newest_only {
                true => series.read_newest(self.range, &mut local.samples)?,
                false => series.read(self.range, &mut local.samples)?,
            }
            let read = local.samples.len();
            if read > most {
                most = read;
                self.budget.fits(read)?;
            }
            (samples, unaccounted) = (samples + read, unaccounted + 1);
            if samples > ACCOUNT_EVERY {
                self.budget.read(samples, unaccounted)?;
                (samples, unaccounted) = (0, 0);
            }
            if read > 0
                && let Some(column) = columns.next()
            {
                (self.fill)(&mut local.samples, &mut local.scratch, column);
                chunk.rows.push(rows.start + row);
            }
        }
        self.budget.read(samples, unaccounted)
    }
}

/// What a thread reuses from series to series.
#[derive(Default)]
struct Local {
    samples: SampleBuffer,
    scratch: Scratch,
}

impl<'w> Shared<'w> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, but for want of memory.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, state: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk that nobody has begun, unless it is too far ahead.
    fn begin(&self, state: &mut State) -> Option<(usize, Chunk)> {
        let at = state.next;
        if at >= self.chunks || at >= state.sent + AHEAD {
            return None;
        }
        state.next += 1;
        Some((at, state.spare.pop().unwrap_or_default()))
    }

    fn compute(&self, at: usize, mut chunk: Chunk, local: &mut Local) -> Result<Chunk, PromqlError> {
        let start = at * self.chunk_rows;
        let rows = start..(start + self.chunk_rows).min(self.work.series.len());
        self.work.compute(rows, &mut chunk, local)?;
        Ok(chunk)
    }

    /// What a helping thread does until all chunks are begun.
    fn help(&self) {
        let _over = OverOnPanic(self);
        let mut local = Local::default();
        let mut state = self.lock();
        while !state.over && state.next < self.chunks {
            let Some((at, chunk)) = self.begin(&mut state) else {
                state = self.wait(state);
                continue;
            };
            drop(state);
            let done = self.compute(at, chunk, &mut local);
            state = self.lock();
            state.finished.insert(at, done);
            self.changed.notify_all();
        }
    }

    /// What the caller's thread does: sends chunk after chunk, and computes while the next one is not there.
    fn send_all(&self, each: &mut Each<'_>) -> Result<(), PromqlError> {
        let mut local = Local::default();
        let slots = self.work.slots.get();
        for at in 0..self.chunks {
            let mut chunk = self.obtain(at, &mut local)?;
            for (row, column) in chunk.rows.iter().zip(chunk.columns.chunks_exact_mut(slots)) {
                each(self.work.series[*row].as_ref(), column)?;
            }
            let mut state = self.lock();
            state.sent = at + 1;
            state.spare.push(chunk);
            drop(state);
            self.changed.notify_all();
        }
        Ok(())
    }

    fn obtain(&self, wanted: usize, local: &mut Local) -> Result<Chunk, PromqlError> {
        let mut state = self.lock();
        loop {
            if let Some(done) = state.finished.remove(&wanted) {
                return done;
            }
            if state.over {
                // A helper panicked; the scope passes that on.
                return Err(PromqlError::Canceled);
            }
            let Some((at, chunk)) = self.begin(&mut state) else {
                state = self.wait(state);
                continue;
            };
            drop(state);
            let done = self.compute(at, chunk, local);
            if at == wanted {
                return done;
            }
            state = self.lock();
            state.finished.insert(at, done);
        }
    }
}

/// Ends the helpers when the caller returns, however it does.
struct OverOnDrop<'s, 'w>(&'s Shared<'w>);

impl Drop for OverOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}

/// Wakes the caller when a helper dies.
struct OverOnPanic<'s, 'w>(&'s Shared<'w>);

impl Drop for OverOnPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(OverOnDrop(self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Labels, SelectError, TimestampMs};

    use super::*;

    struct One(usize);

    impl StoredSeries for One {
        fn labels(&self) -> &Labels {
            panic!("nobody asks for labels");
        }

        fn read(&self, _: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
            match self.0 {
                usize::MAX => return Err(SelectError::Storage("damaged".to_owned())),
                at if at % 3 == 0 => {}
                at => into.push(1, at as f64),
            }
            Ok(())
        }
    }

    fn run(count: usize, slots: usize, helpers: usize, damaged: Option<usize>) -> Result<Vec<f64>, PromqlError> {
        let budget = Budget::new(1_000_000, None, None);
        let numbers = (0..count).map(|at| if Some(at) == damaged { usize::MAX } else { at });
        let series: Vec<_> = numbers.map(|at| Box::new(One(at)) as Box<dyn StoredSeries>).collect();
        let work = Work {
            budget: &budget,
            series: &series,
            range: TimeRange { start: TimestampMs(0), end: TimestampMs(1) },
            slots: NonZero::new(slots).expect("is not zero"),
            newest_only: helpers == 1,
            fill: &|samples, _, column| column.fill(samples.values[0]),
        };
        let (helpers, mut seen) = (Helpers::new(helpers), Vec::new());
        let done = work.run(&helpers, &mut |_, column| {
            assert!(column.iter().all(|v| *v == column[0]) && column.len() == slots);
            seen.push(column[0]);
            Ok(())
        });
        done.map(|()| seen)
    }

    #[test]
    fn columns_come_in_order_whatever_the_number_of_threads() {
        for (count, slots) in [(0, 1), (1, 1), (5000, 1), (30_000, 40), (3, 100_000)] {
            let want: Vec<f64> = (0..count).filter(|at| at % 3 != 0).map(|at| at as f64).collect();
            for helpers in [0, 1, 3] {
                assert_eq!(run(count, slots, helpers, None), Ok(want.clone()), "{count} {slots} {helpers}");
            }
        }
    }

    #[test]
    fn the_first_damage_ends_the_work() {
        for helpers in [0, 3] {
            let error = run(30_000, 40, helpers, Some(7_000)).expect_err("cannot be read");
            assert_eq!(error.to_string(), "expanding series: storage: damaged");
        }
    }

    #[test]
    fn helpers_are_given_back() {
        let helpers = Helpers::new(3);
        let (first, second) = (helpers.claim(2), helpers.claim(2));
        assert_eq!((first.count, second.count, helpers.claim(1).count), (2, 1, 0));
        drop(first);
        assert_eq!(helpers.claim(5).count, 2);
    }
}
