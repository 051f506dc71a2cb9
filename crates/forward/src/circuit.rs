//! Whether a destination is worth sending to. After a failure nothing goes out for a while; then a single request, the
//! newest there is, finds out whether that has changed.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The longest pause that a destination may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

pub(crate) struct Circuit {
    min: Duration,
    max: Duration,
    /// `None` while all is well.
    open: Option<Open>,
}

struct Open {
    until: Instant,
    /// The pause after the next failure.
    backoff: Duration,
}

impl Circuit {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, open: None }
    }

    /// When a request may go out: now, or after a pause.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        self.open.as_ref().map_or(Duration::ZERO, |open| open.until.saturating_duration_since(now))
    }

    /// Whether one request at a time may go out, to find out.
    pub(crate) fn is_probing(&self) -> bool {
        self.open.is_some()
    }

    /// A request failed. `asked` is the pause that the destination asked for: it may be longer than ours, not shorter.
    /// Returns whether this counts, because none that was sent with it has failed yet.
    pub(crate) fn failed(&mut self, now: Instant, asked: Option<Duration>) -> bool {
        let asked = asked.unwrap_or_default().min(MAX_RETRY_AFTER);
        let backoff = match &mut self.open {
            Some(open) if now < open.until => {
                open.until = open.until.max(now + asked);
                return false;
            }
            Some(open) => open.backoff,
            None => self.min,
        };
        let pause = if asked > backoff { asked } else { jittered(backoff) }.max(asked);
        self.open = Some(Open { until: now + pause, backoff: (backoff * 2).min(self.max) });
        true
    }

    /// A request arrived.
    pub(crate) fn works(&mut self) {
        self.open = None;
    }

    /// Another address is tried: at once.
    pub(crate) fn elsewhere(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.until = now + jittered(self.min);
        }
    }

    /// For metrics: 0 closed, 1 half open, 2 open.
    pub(crate) fn state(&self, now: Instant) -> i64 {
        match &self.open {
            None => 0,
            Some(open) => 1 + i64::from(now < open.until),
        }
    }
}

/// Between half and all of it, so that many senders do not return at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) as u32;
    pause.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_are_random_and_end_with_success() {
        let (min, max) = (Duration::from_millis(100), Duration::from_millis(300));
        let (mut circuit, mut now) = (Circuit::new(min, max), Instant::now());
        assert_eq!((circuit.pause(now), circuit.is_probing()), (Duration::ZERO, false));
        for want in [100, 200, 300, 300] {
            assert!(circuit.failed(now, None));
            assert!(!circuit.failed(now, None), "what was under way is no new finding");
            let pause = circuit.pause(now).as_millis();
            assert!((want / 2..=want).contains(&pause), "{pause} of {want}");
            assert_eq!(circuit.state(now), 2);
            now += max;
            assert_eq!((circuit.pause(now), circuit.is_probing(), circuit.state(now)), (Duration::ZERO, true, 1));
        }
        circuit.works();
        assert_eq!(circuit.state(now), 0);
    }

    #[test]
    fn a_destination_may_ask_for_longer_pauses_within_reason() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let now = Instant::now();
        for (asked, at_least, at_most) in [(0, 50, 100), (7_000, 7_000, 7_000), (u64::MAX, 300_000, 300_000)] {
            let mut circuit = Circuit::new(min, max);
            circuit.failed(now, Some(Duration::from_millis(asked)));
            let pause = circuit.pause(now).as_millis();
            assert!((at_least..=at_most).contains(&pause), "{asked}: {pause}");
        }
    }
}
