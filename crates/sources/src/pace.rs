//! How fast something comes, and how late it usually is.

use std::time::Duration;

use model::TimestampMs;

/// Over which time rates are averaged.
const AVERAGED_MS: f64 = 60_000.0;
/// Lags that differ by less are the same.
const SAME_LAG_MS: i64 = 10_000;
/// A lag that stayed the same for this long is the usual one.
const USUAL_AFTER_MS: i64 = 5 * 60_000;

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Events per second, averaged over the last minute or so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    began: TimestampMs,
    at: TimestampMs,
    weighed: f64,
}

impl Rate {
    pub(crate) fn new(now: TimestampMs) -> Self {
        Self { began: now, at: now, weighed: 0.0 }
    }

    pub(crate) fn add(&mut self, count: u64, now: TimestampMs) {
        self.weighed = self.weighed * self.left(now) + count as f64;
        self.at = self.at.max(now);
    }

    pub(crate) fn per_second(&self, now: TimestampMs) -> f64 {
        // What is younger than the average has had less time to add up; nothing is younger than a second.
        let age_ms = (now - self.began).max(1000) as f64;
        let span_ms = AVERAGED_MS * (1.0 - (-age_ms / AVERAGED_MS).exp());
        self.weighed * self.left(now) * 1000.0 / span_ms
    }

    /// The share of the past that still counts.
    fn left(&self, now: TimestampMs) -> f64 {
        (-((now - self.at).max(0) as f64) / AVERAGED_MS).exp()
    }
}

/// How late a source is, and how late it usually is: a clock that stands five minutes back makes it late forever, which
/// is no reason to distrust it anew with every evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lateness {
    pub(crate) usual_ms: i64,
    steady_ms: i64,
    since: TimestampMs,
}

impl Lateness {
    pub(crate) fn new(usual_ms: i64, now: TimestampMs) -> Self {
        Self { usual_ms: usual_ms.max(0), steady_ms: usual_ms, since: now }
    }

    pub(crate) fn observe(&mut self, lag_ms: i64, now: TimestampMs) {
        self.usual_ms = self.usual_ms.min(lag_ms).max(0);
        if (lag_ms.saturating_sub(self.steady_ms)).saturating_abs() > SAME_LAG_MS {
            (self.steady_ms, self.since) = (lag_ms, now);
        } else if now - self.since >= USUAL_AFTER_MS {
            self.usual_ms = self.steady_ms.max(0);
        }
    }

    /// How much later than usual.
    pub(crate) fn beyond_ms(&self, lag_ms: i64) -> i64 {
        lag_ms.saturating_sub(self.usual_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_from_the_start() {
        for seconds in [1, 10, 60, 600] {
            let mut rate = Rate::new(TimestampMs(0));
            (1..=seconds).for_each(|s| rate.add(100, TimestampMs(s * 1000)));
            let got = rate.per_second(TimestampMs(seconds * 1000));
            assert!((98.0..103.0).contains(&got), "{got} after {seconds} s");
        }
        let mut rate = Rate::new(TimestampMs(0));
        rate.add(1000, TimestampMs(0));
        assert!(rate.per_second(TimestampMs(600_000)) < 0.01);
        rate.add(1, TimestampMs(-5));
        assert!(rate.per_second(TimestampMs(i64::MIN)).is_finite());
    }

    #[test]
    fn a_lag_becomes_usual_when_it_stays_and_not_when_it_grows() {
        let second = |s: i64| TimestampMs(s * 1000);
        let mut skewed = Lateness::new(0, second(0));
        (0..400).for_each(|s| skewed.observe(300_000 + s % 3, second(s)));
        assert!(skewed.beyond_ms(301_000) <= 1000);
        skewed.observe(2000, second(401));
        assert_eq!(skewed.usual_ms, 2000, "it was set right");
        let mut stuck = Lateness::new(1000, second(0));
        (0..4000).for_each(|s| stuck.observe(s * 1000, second(s)));
        assert_eq!(stuck.usual_ms, 0);
    }
}
