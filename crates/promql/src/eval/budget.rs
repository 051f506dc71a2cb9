//! What a query may use: samples and bytes held at once, series, and time.
//!
//! Every node claims room before it keeps something. Bytes are counted as they are allocated for numbers and labels, and
//! estimated for what a map or a handle takes beside them. All queries of an engine together draw on one [`Memory`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use model::Labels;

use super::memory::Memory;
use crate::PromqlError;

// Between two looks at the clock: some ten microseconds of work.
const CHECK_EVERY: usize = 4096;
/// Bytes of a value in a column.
const VALUE_BYTES: usize = size_of::<f64>();
/// Bytes of a sample as it is read: a time and a value.
pub(crate) const SAMPLE_BYTES: usize = 16;
/// Bytes of a row beside its labels and values: its vectors, its place in an index.
const ROW_BYTES: usize = 96;
/// Bytes of a group beside its slots: its labels, and the key by which it is found. An estimate.
const GROUP_BYTES: usize = 256;
/// Bytes of a series that a selector chose, with the labels that it builds when they are asked for: an estimate.
const HANDLE_BYTES: usize = 192;
/// Memory is taken from what all queries share in pieces of this size.
const PIECE_BYTES: usize = 256 << 10;

/// What one evaluation may use.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    pub max_samples: usize,
    pub max_bytes: usize,
    pub max_series: usize,
    pub deadline: Option<Instant>,
    pub cancelled: Option<Arc<AtomicBool>>,
}

/// An amount that goes up and down, and how far up it went.
#[derive(Debug, Default)]
struct Gauge {
    now: AtomicUsize,
    peak: AtomicUsize,
}

impl Gauge {
    fn reach(&self, amount: usize) {
        if amount > self.peak.load(Relaxed) {
            self.peak.fetch_max(amount, Relaxed);
        }
    }
}

/// The limits of one evaluation and how much of them is used. Shared by all threads of the evaluation.
#[derive(Debug)]
pub(crate) struct Budget {
    allowed: Allowance,
    memory: Arc<Memory>,
    samples: Gauge,
    bytes: Gauge,
    /// Bytes taken from `memory`, in whole pieces; given back with the budget.
    taken: AtomicUsize,
    series: AtomicUsize,
    read: AtomicUsize,
    since_check: AtomicUsize,
}

/// Samples and bytes that are held; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    budget: &'a Budget,
    samples: usize,
    bytes: usize,
}

/// What a [`Held`] claims, without its budget: to be given back with [`Budget::release`], or with the budget itself.
#[derive(Debug)]
pub(crate) struct Claim {
    samples: usize,
    bytes: usize,
}

impl Budget {
    /// A budget of samples and time alone, for tests.
    #[cfg(test)]
    pub fn new(max_samples: usize, deadline: Option<Instant>, cancelled: Option<Arc<AtomicBool>>) -> Self {
        let (max_bytes, max_series) = (usize::MAX, usize::MAX);
        Self::of(Allowance { max_samples, max_bytes, max_series, deadline, cancelled }, Arc::default())
    }

    pub fn of(allowed: Allowance, memory: Arc<Memory>) -> Self {
        let counter = AtomicUsize::default;
        let (samples, bytes) = (Gauge::default(), Gauge::default());
        let (taken, series, read, since_check) = (counter(), counter(), counter(), counter());
        Self { allowed, memory, samples, bytes, taken, series, read, since_check }
    }

    /// Claims room for values: so many slots of columns.
    pub fn hold(&self, samples: usize) -> Result<Held<'_>, PromqlError> {
        let mut held = Held { budget: self, samples: 0, bytes: 0 };
        held.add(samples)?;
        Ok(held)
    }

    /// Accounts for work on so many samples; now and then looks whether it is still wanted.
    pub fn work(&self, samples: usize) -> Result<(), PromqlError> {
        let work = samples.saturating_add(16);
        let done = self.since_check.fetch_add(work, Relaxed).saturating_add(work);
        if done < CHECK_EVERY {
            return Ok(());
        }
        self.since_check.store(0, Relaxed);
        self.check()
    }

    /// Whether the samples of one series fit, which are held only until the next series is read.
    pub fn fits(&self, samples: usize) -> Result<(), PromqlError> {
        self.raise_samples(self.samples.now.load(Relaxed).saturating_add(samples))?;
        self.raise_bytes(self.bytes.now.load(Relaxed).saturating_add(samples.saturating_mul(SAMPLE_BYTES)))
    }

    /// Accounts for samples read from so many series.
    pub fn read(&self, samples: usize, series: usize) -> Result<(), PromqlError> {
        self.read.fetch_add(samples, Relaxed);
        self.work(samples.saturating_add(series.saturating_mul(16)))
    }

    /// How many more series a selector may choose, so that a store need not list more.
    pub fn series_left(&self) -> usize {
        let by_count = self.allowed.max_series.saturating_sub(self.series.load(Relaxed));
        let by_bytes = self.allowed.max_bytes.saturating_sub(self.bytes.now.load(Relaxed)) / HANDLE_BYTES;
        by_count.min(by_bytes)
    }

    /// Why a selector may not choose more than [`Budget::series_left`].
    pub fn too_many_series(&self) -> PromqlError {
        let Allowance { max_series, max_bytes, .. } = self.allowed;
        if max_series.saturating_sub(self.series.load(Relaxed)) <= self.series_left() {
            PromqlError::TooManySeries { limit: max_series }
        } else {
            PromqlError::TooMuchMemory { limit: max_bytes }
        }
    }

    /// Claims room for what a selector chose.
    pub fn select(&self, series: usize) -> Result<Held<'_>, PromqlError> {
        let selected = self.series.fetch_add(series, Relaxed).saturating_add(series);
        if selected > self.allowed.max_series {
            return Err(PromqlError::TooManySeries { limit: self.allowed.max_series });
        }
        let mut held = self.hold(0)?;
        held.add_bytes(series.saturating_mul(HANDLE_BYTES))?;
        Ok(held)
    }

    /// Gives back what a claim holds.
    pub fn release(&self, claim: Claim) {
        drop(Held { budget: self, samples: claim.samples, bytes: claim.bytes });
    }

    /// Whether the answer is still wanted.
    pub fn check(&self) -> Result<(), PromqlError> {
        if self.allowed.cancelled.as_ref().is_some_and(|c| c.load(Relaxed)) {
            return Err(PromqlError::Canceled);
        }
        if self.allowed.deadline.is_some_and(|d| Instant::now() >= d) {
            return Err(PromqlError::Timeout);
        }
        Ok(())
    }

    pub fn samples_read(&self) -> u64 {
        self.read.load(Relaxed) as u64
    }

    pub fn peak_samples(&self) -> u64 {
        self.samples.peak.load(Relaxed) as u64
    }

    pub fn peak_bytes(&self) -> u64 {
        self.bytes.peak.load(Relaxed) as u64
    }

    fn raise_samples(&self, held: usize) -> Result<(), PromqlError> {
        if held > self.allowed.max_samples {
            return Err(PromqlError::TooManySamples);
        }
        self.samples.reach(held);
        Ok(())
    }

    fn raise_bytes(&self, held: usize) -> Result<(), PromqlError> {
        if held > self.allowed.max_bytes {
            return Err(PromqlError::TooMuchMemory { limit: self.allowed.max_bytes });
        }
        self.bytes.reach(held);
        self.take(held)
    }

    /// Takes from the memory of all queries what `held` needs beyond what was taken.
    fn take(&self, held: usize) -> Result<(), PromqlError> {
        let mut before = self.taken.load(Relaxed);
        while held > before {
            let wanted = held.div_ceil(PIECE_BYTES).saturating_mul(PIECE_BYTES);
            match self.taken.compare_exchange_weak(before, wanted, Relaxed, Relaxed) {
                Ok(_) => return self.memory.take(wanted - before),
                Err(now) => before = now,
            }
        }
        Ok(())
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.memory.give_back(self.taken.load(Relaxed));
    }
}

impl Held<'_> {
    /// Claims room for more slots of columns.
    pub fn add(&mut self, samples: usize) -> Result<(), PromqlError> {
        let budget = self.budget;
        // One claim beyond the limit ends the query, so the counter cannot wrap.
        if samples > budget.allowed.max_samples {
            return Err(PromqlError::TooManySamples);
        }
        let held = budget.samples.now.fetch_add(samples, Relaxed) + samples;
        self.samples += samples;
        budget.raise_samples(held)?;
        self.add_bytes(samples.saturating_mul(VALUE_BYTES))
    }

    /// Claims room for bytes that are no values.
    pub fn add_bytes(&mut self, bytes: usize) -> Result<(), PromqlError> {
        let budget = self.budget;
        if bytes > budget.allowed.max_bytes {
            return Err(PromqlError::TooMuchMemory { limit: budget.allowed.max_bytes });
        }
        let held = budget.bytes.now.fetch_add(bytes, Relaxed).saturating_add(bytes);
        self.bytes += bytes;
        budget.raise_bytes(held)
    }

    /// Claims room for a group with so many slots.
    pub fn add_group(&mut self, slots: usize) -> Result<(), PromqlError> {
        self.add(slots)?;
        self.add_bytes(GROUP_BYTES)
    }

    /// Claims room for a row's labels, with what keeping a row takes.
    pub fn add_labels(&mut self, labels: &Labels) -> Result<(), PromqlError> {
        self.add_bytes(labels.size_bytes().saturating_add(ROW_BYTES))
    }

    /// The claim alone, for what outlives the borrow of the budget.
    pub fn into_claim(mut self) -> Claim {
        let (samples, bytes) = (std::mem::take(&mut self.samples), std::mem::take(&mut self.bytes));
        Claim { samples, bytes }
    }

    /// The bytes that are held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Accounts for work, as [`Budget::work`].
    pub fn work(&self, samples: usize) -> Result<(), PromqlError> {
        self.budget.work(samples)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.samples.now.fetch_sub(self.samples, Relaxed);
        self.budget.bytes.now.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(max_bytes: usize, max_series: usize, memory: &Arc<Memory>) -> Budget {
        let max_samples = usize::MAX;
        Budget::of(Allowance { max_samples, max_bytes, max_series, deadline: None, cancelled: None }, memory.clone())
    }

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(10, None, None);
        drop(budget.hold(8).expect("fits"));
        let mut held = budget.hold(6).expect("fits");
        assert_eq!(budget.fits(5), Err(PromqlError::TooManySamples));
        assert_eq!(held.add(5), Err(PromqlError::TooManySamples));
        drop(held);
        assert!(budget.hold(usize::MAX).is_err());
        assert!(budget.hold(10).is_ok());
        assert_eq!(budget.read(5, 1), Ok(()));
        assert_eq!((budget.peak_samples(), budget.samples_read()), (10, 5));
    }

    #[test]
    fn bytes_are_limited_too() {
        let memory = Arc::default();
        let budget = limited(1000, usize::MAX, &memory);
        let too_much = PromqlError::TooMuchMemory { limit: 1000 };
        assert_eq!(budget.hold(126).map(|_| ()), Err(too_much.clone()));
        assert_eq!(budget.fits(63), Err(too_much.clone()));
        let mut held = budget.hold(100).expect("fits");
        let labels = Labels::from_pairs([("a", "b".repeat(50))]);
        assert_eq!(held.add_labels(&labels), Ok(()));
        assert_eq!(held.add_labels(&labels), Err(too_much.clone()));
        drop(held);
        assert_eq!(budget.series_left(), 5);
        assert_eq!(budget.select(6).map(|_| ()), Err(too_much));
        assert!(budget.hold(125).is_ok());
        assert_eq!(budget.peak_bytes(), 1000);
    }

    #[test]
    fn series_are_counted_over_all_selectors() {
        let budget = limited(usize::MAX, 10, &Arc::default());
        drop(budget.select(6).expect("fits"));
        assert_eq!(budget.series_left(), 4);
        assert_eq!(budget.select(5).map(|_| ()), Err(PromqlError::TooManySeries { limit: 10 }));
    }

    #[test]
    fn all_queries_share_one_memory() {
        let memory = Arc::new(Memory::new(3 * PIECE_BYTES));
        let (first, second) = (limited(usize::MAX, 9, &memory), limited(usize::MAX, 9, &memory));
        let held = first.hold(2 * PIECE_BYTES / VALUE_BYTES).expect("fits");
        assert!(second.hold(1).is_ok());
        let refused = second.hold(2 * PIECE_BYTES / VALUE_BYTES).map(|_| ());
        assert_eq!(refused, Err(PromqlError::TooMuchMemoryInAll { limit: 3 * PIECE_BYTES }));
        drop(held);
        drop((first, second));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn notices_that_nobody_waits() {
        let cancelled = Arc::new(AtomicBool::new(false));
        let budget = Budget::new(10, Some(Instant::now()), Some(cancelled.clone()));
        assert_eq!(budget.work(1), Ok(()));
        assert_eq!(budget.work(CHECK_EVERY), Err(PromqlError::Timeout));
        cancelled.store(true, Relaxed);
        assert_eq!(budget.work(CHECK_EVERY), Err(PromqlError::Canceled));
    }
}
