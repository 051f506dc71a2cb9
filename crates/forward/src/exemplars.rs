//! Exemplars that wait for the next request with samples: few, and the oldest go when they are too many. Those of a
//! request are sent as often as it is; a destination that stops or is replaced forgets what waits.

use std::collections::VecDeque;

use model::ExemplarRow;
use parking_lot::Mutex;

/// More do not wait.
const CAPACITY: usize = 10_000;

#[derive(Default)]
pub(crate) struct WaitingExemplars(Mutex<VecDeque<ExemplarRow>>);

impl WaitingExemplars {
    /// Adds some; returns how many old ones had to go.
    pub(crate) fn push(&self, rows: impl Iterator<Item = ExemplarRow>) -> usize {
        let mut waiting = self.0.lock();
        waiting.extend(rows);
        let excess = waiting.len().saturating_sub(CAPACITY);
        waiting.drain(..excess);
        excess
    }

    /// What the next request should carry. Those of one series follow one another, in the order they came.
    pub(crate) fn take(&self, max: usize) -> Vec<ExemplarRow> {
        let mut waiting = self.0.lock();
        let count = waiting.len().min(max);
        let mut taken: Vec<ExemplarRow> = waiting.drain(..count).collect();
        taken.sort_by(|a, b| a.series.cmp(&b.series));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Exemplar, Labels, TimestampMs};

    #[test]
    fn the_oldest_go_first_and_series_stay_together() {
        let row = |n: i64| ExemplarRow {
            series: Labels::from_pairs([("__name__", if n % 2 == 0 { "even" } else { "odd" })]),
            exemplar: Exemplar { labels: Labels::empty(), value: 0.0, timestamp: TimestampMs(n) },
        };
        let waiting = WaitingExemplars::default();
        assert_eq!(waiting.push((0..3).map(row)), 0);
        assert_eq!(waiting.push((3..CAPACITY as i64 + 2).map(row)), 2);
        let taken: Vec<i64> = waiting.take(4).iter().map(|r| r.exemplar.timestamp.0).collect();
        assert_eq!(taken, [2, 4, 3, 5]);
        assert_eq!(waiting.take(usize::MAX).len(), CAPACITY - 4);
        assert_eq!(waiting.take(1), []);
    }
}
