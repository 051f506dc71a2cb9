//! How many samples a query looked at, counted as Prometheus counts them: a selector's sample at each step, and at each
//! step all samples of a window, however many windows share them. Counted only where somebody asked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::range::Windows;
use super::steps::is_absent;

/// The counts of one evaluation. Shared by all threads of it.
#[derive(Debug)]
pub(crate) struct SampleCounts {
    /// Steps of the query.
    count: usize,
    total: AtomicU64,
    /// Empty where only the total is asked for.
    per_step: Vec<AtomicU64>,
}

/// What was counted until some moment, or between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub total: u64,
    pub per_step: Vec<u64>,
}

impl SampleCounts {
    pub fn new(count: usize, each_step: bool) -> Self {
        let slots = if each_step { count } else { 0 };
        Self { count, total: AtomicU64::new(0), per_step: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    fn add(&self, step: usize, samples: u64) {
        if samples > 0 {
            self.total.fetch_add(samples, Relaxed);
            if let Some(slot) = self.per_step.get(step) {
                slot.fetch_add(samples, Relaxed);
            }
        }
    }

    /// The values of an instant selector's series.
    pub fn column(&self, column: &[f64]) {
        for (step, _) in column.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            self.add(step, 1);
        }
    }

    /// The windows of one series. A single one that `@` pins counts at every step.
    pub fn windows(&self, timestamps: &[i64], windows: Windows) {
        let (mut from, mut to) = (0, 0);
        for step in 0..windows.ends.count {
            let end = windows.ends.at(step);
            let start = end.saturating_sub(windows.range_ms);
            while to < timestamps.len() && timestamps[to] <= end {
                to += 1;
            }
            while from < to && timestamps[from] <= start {
                from += 1;
            }
            let samples = (to - from) as u64;
            if windows.ends.count == 1 {
                (0..self.count).for_each(|step| self.add(step, samples));
            } else {
                self.add(step, samples);
            }
        }
    }

    /// What was counted so far.
    pub fn counted(&self) -> Counted {
        let per_step = self.per_step.iter().map(|slot| slot.load(Relaxed)).collect();
        Counted { total: self.total.load(Relaxed), per_step }
    }

    /// What was counted since `before`.
    pub fn since(&self, before: &Counted) -> Counted {
        let Counted { total, mut per_step } = self.counted();
        per_step.iter_mut().zip(&before.per_step).for_each(|(now, before)| *now -= before);
        Counted { total: total - before.total, per_step }
    }

    /// Counts once more what was counted before: rows that are used twice.
    pub fn again(&self, counted: &Counted) {
        self.total.fetch_add(counted.total, Relaxed);
        self.per_step.iter().zip(&counted.per_step).for_each(|(slot, more)| {
            slot.fetch_add(*more, Relaxed);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Steps, absent};

    #[test]
    fn windows_count_what_they_share_and_selectors_what_is_there() {
        let counts = SampleCounts::new(3, true);
        counts.column(&[1.0, absent(), 2.0]);
        let ends = Steps { start: 20, step: 10, count: 3 };
        counts.windows(&[10, 15, 20, 25, 40], Windows { ends, range_ms: 20, eval: ends });
        assert_eq!(counts.counted(), Counted { total: 10, per_step: vec![4, 3, 3] });
        let before = counts.counted();
        let pinned = Steps { count: 1, ..ends };
        counts.windows(&[10, 15, 20, 25, 40], Windows { ends: pinned, range_ms: 20, eval: pinned });
        let once = Counted { total: 9, per_step: vec![3, 3, 3] };
        assert_eq!(counts.since(&before), once);
        counts.again(&once);
        assert_eq!(counts.counted().total, 28);
    }
}
