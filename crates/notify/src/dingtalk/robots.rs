//! How often each robot may speak. DingTalk blocks a robot for ten minutes that sends more than 20 messages a minute.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

const PER_WINDOW: usize = 20;
/// A little more than a minute, since requests do not travel equally fast.
const WINDOW: Duration = Duration::from_secs(61);

/// Counts the messages of every robot of this process; receivers that share a robot share its count, also over
/// reloads. Robots are told apart by the hash of their token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Robots(Arc<Mutex<HashMap<[u8; 32], Robot>>>);

#[derive(Debug, Default)]
struct Robot {
    sent: VecDeque<Instant>,
    blocked_until: Option<Instant>,
}

impl Robot {
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        while self.sent.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW) {
            self.sent.pop_front();
        }
        let of_window = self.sent.front().filter(|_| self.sent.len() >= PER_WINDOW).map(|at| *at + WINDOW);
        let until = of_window.max(self.blocked_until)?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }
}

impl Robots {
    /// Counts one message of the robot.
    ///
    /// # Errors
    /// With the time to wait when it has to be held back.
    pub(crate) fn admit(&self, token: &str, now: Instant) -> Result<(), Duration> {
        let mut robots = self.0.lock();
        // Robots that are no longer heard of do not stay.
        robots.retain(|_, robot| robot.wait(now).is_some() || !robot.sent.is_empty());
        let robot = robots.entry(Sha256::digest(token).into()).or_default();
        match robot.wait(now) {
            Some(wait) => Err(wait),
            None => {
                robot.sent.push_back(now);
                Ok(())
            }
        }
    }

    /// Holds the robot back until then, because DingTalk said so.
    pub(crate) fn block(&self, token: &str, until: Instant) {
        self.0.lock().entry(Sha256::digest(token).into()).or_default().blocked_until = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_a_minute_and_not_one_more() {
        let (robots, start) = (Robots::default(), Instant::now());
        let second = |s| start + Duration::from_secs(s);
        for n in 0..20 {
            assert_eq!(robots.admit("a", second(n)), Ok(()));
        }
        assert_eq!(robots.admit("a", second(20)), Err(Duration::from_secs(41)));
        assert_eq!(robots.admit("b", second(20)), Ok(()));
        assert_eq!(robots.admit("a", second(61)), Ok(()));
        assert_eq!(robots.admit("a", second(61)), Err(Duration::from_secs(1)));
    }

    #[test]
    fn a_block_holds_and_ends() {
        let (robots, start) = (Robots::default(), Instant::now());
        robots.block("a", start + Duration::from_secs(600));
        assert_eq!(robots.admit("a", start + Duration::from_secs(100)), Err(Duration::from_secs(500)));
        assert_eq!(robots.admit("a", start + Duration::from_secs(600)), Ok(()));
        assert_eq!(robots.admit("b", start + Duration::from_secs(3600)), Ok(()));
        assert_eq!(robots.0.lock().len(), 1);
    }
}
