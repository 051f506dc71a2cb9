//! What a peer has yet to hear of: names of records, so that a record that changes twice travels once.

use std::collections::HashSet;

use crate::engine::dedup::LogKey;

/// Beyond this the rest is dropped: the digests will differ, and the peer fetches everything.
const MAX_NOTES: usize = 50_000;

/// Names of records that changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outbox {
    /// Fingerprints.
    pub alerts: HashSet<u64>,
    /// Ids.
    pub silences: HashSet<String>,
    /// Keys.
    pub log: HashSet<LogKey>,
}

impl Outbox {
    /// An alert changed.
    pub fn alert(&mut self, fingerprint: u64) {
        if self.alerts.len() < MAX_NOTES {
            self.alerts.insert(fingerprint);
        }
    }

    /// A silence changed.
    pub fn silence(&mut self, id: &str) {
        if self.silences.len() < MAX_NOTES {
            self.silences.insert(id.to_owned());
        }
    }

    /// Something was said.
    pub fn log(&mut self, key: &LogKey) {
        if self.log.len() < MAX_NOTES {
            self.log.insert(key.clone());
        }
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.silences.is_empty() && self.log.is_empty()
    }

    /// Adds another outbox.
    pub fn absorb(&mut self, other: Self) {
        other.alerts.into_iter().for_each(|f| self.alert(f));
        other.silences.iter().for_each(|id| self.silence(id));
        other.log.iter().for_each(|key| self.log(key));
    }

    /// Splits off a part that fits a message.
    pub fn take_batch(&mut self, records: usize) -> Self {
        // The log first: it is what keeps a peer from saying the same again.
        let log = take_some(&mut self.log, records);
        let silences = take_some(&mut self.silences, records - log.len());
        let alerts = take_some(&mut self.alerts, records - log.len() - silences.len());
        Self { alerts, silences, log }
    }
}

fn take_some<T: Clone + Eq + std::hash::Hash>(set: &mut HashSet<T>, n: usize) -> HashSet<T> {
    if n >= set.len() {
        return std::mem::take(set);
    }
    let taken: HashSet<T> = set.iter().take(n).cloned().collect();
    set.retain(|item| !taken.contains(item));
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_travels_first_and_nothing_is_lost() {
        let mut outbox = Outbox::default();
        (0..5).for_each(|f| outbox.alert(f));
        outbox.silence("s");
        let key = LogKey { group_key: "g".to_owned(), receiver: "r".to_owned(), integration: "w".to_owned(), index: 0 };
        outbox.log(&key);
        let all = outbox.clone();
        let first = outbox.take_batch(3);
        assert_eq!((first.log.len(), first.silences.len(), first.alerts.len()), (1, 1, 1));
        let mut back = outbox.take_batch(100);
        assert!(outbox.is_empty());
        back.absorb(first);
        assert_eq!(back, all);
    }
}
