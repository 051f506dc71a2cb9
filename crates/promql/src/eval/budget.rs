//! What a query may use: samples held at once, and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use crate::PromqlError;

// Between two looks at the clock: some ten microseconds of work.
const CHECK_EVERY: usize = 4096;

/// The limits of one evaluation and how much of them is used. Shared by all threads of the evaluation.
#[derive(Debug)]
pub(crate) struct Budget {
    max_samples: usize,
    deadline: Option<Instant>,
    cancelled: Option<Arc<AtomicBool>>,
    held: AtomicUsize,
    peak: AtomicUsize,
    read: AtomicUsize,
    since_check: AtomicUsize,
}

/// Samples that are held; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    budget: &'a Budget,
    samples: usize,
}

impl Budget {
    pub fn new(max_samples: usize, deadline: Option<Instant>, cancelled: Option<Arc<AtomicBool>>) -> Self {
        let counter = AtomicUsize::default;
        let (held, peak, read, since_check) = (counter(), counter(), counter(), counter());
        Self { max_samples, deadline, cancelled, held, peak, read, since_check }
    }

    /// Claims room for samples.
    pub fn hold(&self, samples: usize) -> Result<Held<'_>, PromqlError> {
        let mut held = Held { budget: self, samples: 0 };
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
        self.raise(self.held.load(Relaxed).saturating_add(samples))
    }

    /// Accounts for samples read from so many series.
    pub fn read(&self, samples: usize, series: usize) -> Result<(), PromqlError> {
        self.read.fetch_add(samples, Relaxed);
        self.work(samples.saturating_add(series.saturating_mul(16)))
    }

    /// Whether the answer is still wanted.
    pub fn check(&self) -> Result<(), PromqlError> {
        if self.cancelled.as_ref().is_some_and(|c| c.load(Relaxed)) {
            return Err(PromqlError::Canceled);
        }
        if self.deadline.is_some_and(|d| Instant::now() >= d) {
            return Err(PromqlError::Timeout);
        }
        Ok(())
    }

    pub fn samples_read(&self) -> u64 {
        self.read.load(Relaxed) as u64
    }

    pub fn peak(&self) -> u64 {
        self.peak.load(Relaxed) as u64
    }

    fn raise(&self, held: usize) -> Result<(), PromqlError> {
        if held > self.max_samples {
            return Err(PromqlError::TooManySamples { limit: self.max_samples });
        }
        if held > self.peak.load(Relaxed) {
            self.peak.fetch_max(held, Relaxed);
        }
        Ok(())
    }
}

impl Held<'_> {
    /// Claims room for more.
    pub fn add(&mut self, samples: usize) -> Result<(), PromqlError> {
        let budget = self.budget;
        // One claim beyond the limit ends the query, so the counter cannot wrap.
        if samples > budget.max_samples {
            return Err(PromqlError::TooManySamples { limit: budget.max_samples });
        }
        let held = budget.held.fetch_add(samples, Relaxed) + samples;
        self.samples += samples;
        budget.raise(held)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.samples, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::new(10, None, None);
        drop(budget.hold(8).expect("fits"));
        let mut held = budget.hold(6).expect("fits");
        assert_eq!(budget.fits(5), Err(PromqlError::TooManySamples { limit: 10 }));
        assert_eq!(held.add(5), Err(PromqlError::TooManySamples { limit: 10 }));
        drop(held);
        assert!(budget.hold(usize::MAX).is_err());
        assert!(budget.hold(10).is_ok());
        assert_eq!(budget.read(5, 1), Ok(()));
        assert_eq!((budget.peak(), budget.samples_read()), (10, 5));
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
