//! A bounded queue of samples: when it is full, the oldest go.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::Row;
use parking_lot::Mutex;

/// Samples that arrive within this time share the moment of their arrival.
const ARRIVAL_GRAIN: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Waiting {
    rows: VecDeque<Row>,
    /// When how many of the rows came, in their order.
    arrivals: VecDeque<(Instant, usize)>,
    /// What was taken and not yet delivered: how many, and when the first of them came.
    in_flight: Option<(usize, Instant)>,
}

#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
}

/// What is in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct QueueState {
    /// Rows that can be taken.
    pub(crate) waiting: usize,
    /// How long ago the first of them came.
    pub(crate) waiting_since: Duration,
    /// Rows that no destination has yet: those that wait, and those in a request.
    pub(crate) unsent: usize,
    /// How long ago the first of those came.
    pub(crate) unsent_since: Duration,
}

impl Queue {
    /// Adds rows at the end; returns how many old ones had to go so that no more than `capacity` wait.
    pub(crate) fn push(&self, rows: impl Iterator<Item = Row>, capacity: usize) -> usize {
        let mut waiting = self.waiting.lock();
        let before = waiting.rows.len();
        waiting.rows.extend(rows);
        let count = waiting.rows.len() - before;
        if count > 0 {
            let now = Instant::now();
            match waiting.arrivals.back_mut() {
                Some((at, rows)) if now.duration_since(*at) < ARRIVAL_GRAIN => *rows += count,
                _ => waiting.arrivals.push_back((now, count)),
            }
        }
        let excess = waiting.rows.len().saturating_sub(capacity);
        waiting.rows.drain(..excess);
        waiting.forget_arrivals(excess);
        excess
    }

    /// Takes at most `max` rows from the front; they count as unsent until [`Queue::delivered`].
    pub(crate) fn take(&self, max: usize) -> Vec<Row> {
        let mut waiting = self.waiting.lock();
        let count = waiting.rows.len().min(max);
        waiting.in_flight = waiting.arrivals.front().filter(|_| count > 0).map(|(at, _)| (count, *at));
        waiting.forget_arrivals(count);
        waiting.rows.drain(..count).collect()
    }

    /// What was taken last has arrived, or is given up.
    pub(crate) fn delivered(&self) {
        self.waiting.lock().in_flight = None;
    }

    /// Puts what was taken last back to the front.
    pub(crate) fn put_back(&self, rows: Vec<Row>) {
        let mut waiting = self.waiting.lock();
        if let Some((count, since)) = waiting.in_flight.take() {
            waiting.arrivals.push_front((since, count));
            for row in rows.into_iter().rev() {
                waiting.rows.push_front(row);
            }
        }
    }

    pub(crate) fn state(&self) -> QueueState {
        let waiting = self.waiting.lock();
        let (in_flight, flying_since) = waiting.in_flight.map_or((0, None), |(rows, at)| (rows, Some(at)));
        let waiting_since = waiting.arrivals.front().map(|(at, _)| *at);
        let age = |at: Option<Instant>| at.map(|at| at.elapsed()).unwrap_or_default();
        QueueState {
            waiting: waiting.rows.len(),
            waiting_since: age(waiting_since),
            unsent: waiting.rows.len() + in_flight,
            unsent_since: age(flying_since.or(waiting_since)),
        }
    }
}

impl Waiting {
    fn forget_arrivals(&mut self, mut rows: usize) {
        while let Some((_, first)) = self.arrivals.front_mut() {
            if *first > rows {
                *first -= rows;
                return;
            }
            rows -= *first;
            self.arrivals.pop_front();
        }
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
        let queue = Queue::default();
        assert_eq!(queue.push((0..2).map(row), 3), 0);
        assert_eq!(queue.push((2..5).map(row), 3), 2);
        let take = |max| queue.take(max).iter().map(|r| r.sample.timestamp.0).collect::<Vec<i64>>();
        assert_eq!(take(2), [2, 3]);
        queue.put_back((2..4).map(row).collect());
        assert_eq!((queue.state().waiting, queue.state().unsent), (3, 3));
        assert_eq!(take(2), [2, 3]);
        assert_eq!((queue.state().waiting, queue.state().unsent), (1, 3));
        queue.delivered();
        assert_eq!((queue.state().waiting, queue.state().unsent), (1, 1));
    }

    #[test]
    fn what_stays_behind_keeps_its_age() {
        let queue = Queue::default();
        queue.push((0..4).map(row), 10);
        let begun = Instant::now();
        while begun.elapsed() < 2 * ARRIVAL_GRAIN {
            std::thread::yield_now();
        }
        queue.push((4..6).map(row), 10);
        assert_eq!(queue.take(1).len(), 1);
        queue.delivered();
        assert!(queue.state().waiting_since >= 2 * ARRIVAL_GRAIN);
        assert_eq!(queue.take(3).len(), 3);
        let state = queue.state();
        assert!(state.unsent_since >= 2 * ARRIVAL_GRAIN && state.waiting_since < state.unsent_since, "{state:?}");
        assert_eq!(queue.take(9).len(), 2);
        queue.delivered();
        assert_eq!(queue.state(), QueueState::default());
    }
}
