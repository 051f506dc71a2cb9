//! A bounded queue of samples: when it is full, the oldest go.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::Row;
use parking_lot::Mutex;

#[derive(Default)]
struct Waiting {
    rows: VecDeque<Row>,
    /// When the first row was queued, or became the first.
    since: Option<Instant>,
}

pub(crate) struct Queue {
    capacity: usize,
    waiting: Mutex<Waiting>,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, waiting: Mutex::default() }
    }

    /// Adds rows at the end; returns how many old ones had to go.
    pub(crate) fn push(&self, rows: impl Iterator<Item = Row>) -> usize {
        let mut waiting = self.waiting.lock();
        waiting.rows.extend(rows);
        if waiting.since.is_none() && !waiting.rows.is_empty() {
            waiting.since = Some(Instant::now());
        }
        let excess = waiting.rows.len().saturating_sub(self.capacity);
        waiting.rows.drain(..excess);
        excess
    }

    /// Takes at most `max` rows from the front.
    pub(crate) fn take(&self, max: usize) -> Vec<Row> {
        let mut waiting = self.waiting.lock();
        let count = waiting.rows.len().min(max);
        let rows = waiting.rows.drain(..count).collect();
        waiting.since = (!waiting.rows.is_empty()).then(Instant::now);
        rows
    }

    /// Rows that wait, and how long the first has been first.
    pub(crate) fn state(&self) -> (usize, Duration) {
        let waiting = self.waiting.lock();
        (waiting.rows.len(), waiting.since.map(|s| s.elapsed()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Labels, Sample, TimestampMs};

    fn row(ms: i64) -> Row {
        Row { labels: Labels::empty(), sample: Sample { timestamp: TimestampMs(ms), value: 0.0 } }
    }

    #[test]
    fn the_oldest_go_first() {
        let queue = Queue::new(3);
        assert_eq!(queue.push((0..2).map(row)), 0);
        assert_eq!(queue.push((2..5).map(row)), 2);
        let times: Vec<i64> = queue.take(2).iter().map(|r| r.sample.timestamp.0).collect();
        assert_eq!(times, [2, 3]);
        assert_eq!(queue.state().0, 1);
    }
}
