//! How many requests are under way at once. Nobody knows what a receiver can take, so it is tried: one more after as many
//! good answers as are under way, half as many after 429, a failure or a queue that builds up in front of it.
//!
//! The backlog has a share of that, below one request where need be: it grows while live samples arrive within their
//! target and halves when they do not.

use std::time::{Duration, Instant};

/// The smallest share of a backlog: one request under way for a tenth of the time.
const MIN_BACKFILL: f64 = 0.1;
/// Shares are halved at most once in this time: what is under way was sent under the old one.
const SETTLE: Duration = Duration::from_millis(500);
/// An answer that takes this many times as long as the quickest ones, and this much longer, has waited in a queue.
const SLOW: (f64, Duration) = (4.0, Duration::from_millis(200));

pub(crate) struct Pace {
    max: f64,
    /// Requests that may be under way.
    limit: f64,
    /// Of those, requests of the backlog.
    backfill: f64,
    /// How long the quickest answers take; rises slowly, so that it follows a receiver that got slower.
    quickest: Option<Duration>,
    limit_cut: Option<Instant>,
    backfill_cut: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(max_requests: usize) -> Self {
        let max = max_requests.max(1) as f64;
        Self { max, limit: 1.0, backfill: 1.0, quickest: None, limit_cut: None, backfill_cut: None }
    }

    /// Requests that may be under way.
    pub(crate) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Requests of the backlog that may be under way.
    pub(crate) fn backfill(&self) -> usize {
        self.backfill.min(self.limit).max(1.0) as usize
    }

    /// How long the backlog rests after a request that took so long, for a share below one request.
    pub(crate) fn rest(&self, took: Duration) -> Duration {
        took.mul_f64((1.0 / self.backfill.min(1.0) - 1.0).max(0.0))
    }

    /// A request was answered well; `busy` says whether as many were under way as may be.
    pub(crate) fn answered(&mut self, took: Duration, busy: bool, now: Instant) {
        let quickest = self.quickest.map_or(took, |known| took.min(known.mul_f64(1.01)));
        self.quickest = Some(quickest);
        if took > quickest.mul_f64(SLOW.0) && took > quickest + SLOW.1 {
            self.slow_down(now);
        } else if busy {
            self.limit = (self.limit + 1.0 / self.limit).min(self.max);
        }
    }

    /// 429, or a failure.
    pub(crate) fn slow_down(&mut self, now: Instant) {
        if is_due(&mut self.limit_cut, now) {
            self.limit = (self.limit / 2.0).max(1.0);
        }
    }

    /// Live samples have arrived this long after they were queued.
    pub(crate) fn live_arrived(&mut self, after: Duration, target: Duration, now: Instant) {
        if after > target && is_due(&mut self.backfill_cut, now) {
            self.backfill = (self.backfill.min(self.limit) / 2.0).max(MIN_BACKFILL);
        }
    }

    /// A request of the backlog has arrived while live samples were within their target.
    pub(crate) fn backlog_arrived(&mut self) {
        let step = if self.backfill < 1.0 { 0.1 } else { 1.0 / self.backfill };
        self.backfill = (self.backfill + step).min(self.limit.max(1.0));
    }
}

/// Whether the last cut is long enough ago; notes this one.
fn is_due(cut: &mut Option<Instant>, now: Instant) -> bool {
    let due = cut.is_none_or(|at| now.duration_since(at) >= SETTLE);
    if due {
        *cut = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(10);

    #[test]
    fn more_are_tried_while_all_goes_well_and_half_after_429() {
        let (mut pace, mut now) = (Pace::new(50), Instant::now());
        for _ in 0..100 {
            pace.answered(QUICK, true, now);
        }
        let grown = pace.limit();
        assert!((10..20).contains(&grown), "{grown}");
        pace.slow_down(now);
        pace.slow_down(now);
        assert_eq!(pace.limit(), grown / 2, "once for all that were under way");
        now += SETTLE;
        for _ in 0..10 {
            pace.slow_down(now);
            now += SETTLE;
        }
        assert_eq!(pace.limit(), 1);
        pace.answered(QUICK, false, now);
        assert_eq!(pace.limit(), 1, "what nobody needs does not grow");
    }

    #[test]
    fn answers_that_queue_slow_down_and_a_slower_receiver_is_got_used_to() {
        let (mut pace, mut now) = (Pace::new(50), Instant::now());
        for _ in 0..40 {
            pace.answered(QUICK, true, now);
        }
        let before = pace.limit();
        pace.answered(Duration::from_secs(1), true, now);
        assert!(pace.limit() < before);
        for _ in 0..1_000 {
            now += Duration::from_secs(1);
            pace.answered(Duration::from_secs(1), true, now);
        }
        assert!(pace.limit() > before);
    }

    #[test]
    fn the_backlog_gives_way_to_live_samples() {
        let (mut pace, mut now, target) = (Pace::new(50), Instant::now(), Duration::from_secs(2));
        for _ in 0..100 {
            pace.answered(QUICK, true, now);
            pace.backlog_arrived();
        }
        assert!(pace.backfill() > 5);
        assert_eq!(pace.rest(QUICK), Duration::ZERO);
        pace.live_arrived(target, target, now);
        assert!(pace.backfill() > 5);
        for _ in 0..10 {
            pace.live_arrived(target * 2, target, now);
            now += SETTLE;
        }
        assert_eq!((pace.backfill(), pace.rest(QUICK)), (1, QUICK * 9));
        for _ in 0..12 {
            pace.backlog_arrived();
        }
        assert_eq!(pace.rest(QUICK), Duration::ZERO);
    }
}
