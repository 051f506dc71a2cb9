//! Who is sending which notification right now, so that a slow send is not taken for a failed one.
//!
//! A claim is advice, never a lock: it ends by itself, and where routers do not hear each other nobody waits for it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::engine::dedup::LogKey;

/// A claim that is not renewed ends after so long.
pub const CLAIM_LASTS: Duration = Duration::from_secs(15);
const MAX_CLAIMS: usize = 100_000;

/// Claims of this router and of the others.
#[derive(Default)]
pub struct Claims {
    own: HashSet<LogKey>,
    others: HashMap<LogKey, (String, Instant)>,
}

impl Claims {
    /// This router is about to send. False when another one is.
    pub fn begin(&mut self, key: &LogKey, live: &[String], now: Instant) -> bool {
        if self.is_taken(key, live, now) {
            return false;
        }
        self.own.insert(key.clone());
        true
    }

    /// This router no longer is.
    pub fn end(&mut self, key: &LogKey) {
        self.own.remove(key);
    }

    /// Another router is about to send. False when this one is.
    pub fn grant(&mut self, key: LogKey, id: &str, now: Instant) -> bool {
        if self.own.contains(&key) {
            return false;
        }
        if self.others.len() >= MAX_CLAIMS {
            self.others.retain(|_, (_, until)| *until > now);
        }
        if self.others.len() < MAX_CLAIMS {
            self.others.insert(key, (id.to_owned(), now + CLAIM_LASTS));
        }
        true
    }

    /// Another router has sent, or has given up for now.
    pub fn release(&mut self, key: &LogKey, id: &str) {
        if self.others.get(key).is_some_and(|(owner, _)| owner == id) {
            self.others.remove(key);
        }
    }

    /// Whether a live router is sending.
    pub fn is_taken(&self, key: &LogKey, live: &[String], now: Instant) -> bool {
        self.others.get(key).is_some_and(|(id, until)| *until > now && live.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_while_its_owner_lives_and_renews_it() {
        let key = LogKey { group_key: "g".to_owned(), receiver: "r".to_owned(), integration: "w".to_owned(), index: 0 };
        let now = Instant::now();
        let live = ["b".to_owned()];
        let mut claims = Claims::default();
        assert!(claims.grant(key.clone(), "b", now));
        assert!(!claims.begin(&key, &live, now));
        assert!(!claims.is_taken(&key, &[], now), "its owner is gone");
        assert!(!claims.is_taken(&key, &live, now + CLAIM_LASTS), "not renewed");
        claims.release(&key, "c");
        assert!(claims.is_taken(&key, &live, now), "not the owner's word");
        claims.release(&key, "b");
        assert!(claims.begin(&key, &live, now));
        assert!(!claims.grant(key.clone(), "b", now), "we are sending");
        claims.end(&key);
        assert!(claims.grant(key, "b", now));
    }
}
