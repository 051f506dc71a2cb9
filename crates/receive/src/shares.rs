//! Room that all senders share: bytes of bodies, places in the queue for decoding.
//!
//! While more than half of the room is taken, a source may hold its part of it and no more: with N sources holding
//! something that is one part of N+1, so there is always one left for a newcomer. The first thing a source holds is taken
//! wherever there is room at all. So a source that sends much is refused before others feel it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sources::SourceName;

/// Room of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Shares(Arc<Room>);

#[derive(Debug)]
struct Room {
    total: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Only of those who hold something: requests, which the connections bound.
    by: HashMap<SourceName, One>,
}

#[derive(Debug, Default)]
struct One {
    amount: usize,
    /// Requests that it belongs to.
    requests: usize,
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    room: Arc<Room>,
    source: SourceName,
    amount: usize,
}

impl Shares {
    pub(crate) fn new(total: usize) -> Self {
        Self(Arc::new(Room { total, held: Mutex::default() }))
    }

    /// Begins to hold nothing yet.
    pub(crate) fn open(&self, source: &SourceName) -> Share {
        self.0.held.lock().by.entry(source.clone()).or_default().requests += 1;
        Share { room: self.0.clone(), source: source.clone(), amount: 0 }
    }
}

impl Share {
    /// Takes more, or nothing when there is no room for it.
    #[must_use]
    pub(crate) fn take(&mut self, more: usize) -> bool {
        let total = self.room.total;
        let mut held = self.room.held.lock();
        let all = held.all.saturating_add(more);
        let part = total / (held.by.len() + 1);
        let Some(own) = held.by.get_mut(&self.source) else { return false };
        let is_over = all > total / 2 && own.requests > 1 && own.amount.saturating_add(more) > part;
        if all > total || is_over {
            return false;
        }
        own.amount += more;
        held.all = all;
        self.amount += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.room.held.lock();
        held.all -= self.amount;
        if let Some(own) = held.by.get_mut(&self.source) {
            own.amount -= self.amount;
            own.requests -= 1;
            if own.requests == 0 {
                held.by.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> SourceName {
        SourceName::new("edge", name, "")
    }

    /// One request after another of this source, until one is refused.
    fn fill(shares: &Shares, name: &str, each: usize) -> Vec<Share> {
        std::iter::from_fn(|| {
            let mut share = shares.open(&source(name));
            share.take(each).then_some(share)
        })
        .collect()
    }

    #[test]
    fn who_takes_much_is_refused_while_others_get_through() {
        let shares = Shares::new(100);
        let alone = fill(&shares, "a", 10);
        assert_eq!(alone.len(), 5, "half of all room, while nobody else is there");
        let second = fill(&shares, "b", 10);
        assert_eq!(second.len(), 3, "a third");
        let third = fill(&shares, "c", 10);
        assert_eq!(third.len(), 2, "what is left");
        assert!(fill(&shares, "a", 1).is_empty() && fill(&shares, "d", 1).is_empty(), "all of it is taken");
        drop((alone, second, third));
        assert_eq!(fill(&shares, "a", 10).len(), 5, "all came back");
    }

    #[test]
    fn the_first_one_of_a_source_may_be_large_and_may_grow() {
        let shares = Shares::new(100);
        let mut large = shares.open(&source("a"));
        assert!(large.take(40) && large.take(50), "nobody else is there");
        let mut small = shares.open(&source("b"));
        assert!(small.take(10) && !small.take(1));
        drop(large);
        assert!(small.take(80));
    }
}
