//! What a target's raw series mean: text to labels, found without hashing as long as a target keeps its order.

use hashbrown::{DefaultHashBuilder, HashTable};
use model::Labels;
use std::hash::BuildHasher;

/// One raw series that the target showed.
#[derive(Debug)]
pub(crate) struct Entry {
    raw: Box<str>,
    /// `None` where a relabel rule dropped it.
    pub(crate) labels: Option<Labels>,
    /// The last explicit timestamp in the scrape that is being read.
    pub(crate) timestamp_ms: Option<i64>,
    /// The scrape that showed it last.
    seen_in: u32,
    /// Whether a sample of the scrape being read is to be ended by a marker.
    pub(crate) is_tracked: bool,
    /// Whether the store holds a sample of it that no marker has ended yet.
    is_live: bool,
}

/// Every raw series of a target's last scrapes, in the order the target showed them.
#[derive(Debug, Default)]
pub(crate) struct SeriesCache {
    entries: Vec<Entry>,
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
    scrape: u32,
    /// Where the next line is if the target keeps its order.
    expected: usize,
    /// Live series whose raw text is forgotten.
    orphans: Vec<Labels>,
}

impl SeriesCache {
    /// Begins a scrape.
    pub(crate) fn begin(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
        self.expected = 0;
    }

    /// Finds the place of a raw series.
    #[inline]
    pub(crate) fn find(&mut self, raw: &str) -> Option<usize> {
        let is_here = |at: usize| self.entries.get(at).is_some_and(|e| &*e.raw == raw);
        let found = if is_here(self.expected) {
            Some(self.expected)
        } else {
            let hash = self.hasher.hash_one(raw);
            self.index.find(hash, |at| is_here(*at)).copied()
        };
        if let Some(at) = found {
            self.expected = at + 1;
        }
        found
    }

    /// Adds a raw series that is not there yet.
    pub(crate) fn insert(&mut self, raw: &str, labels: Option<Labels>) -> usize {
        let at = self.entries.len();
        self.entries.push(Entry {
            raw: raw.into(),
            labels,
            timestamp_ms: None,
            seen_in: self.scrape.wrapping_sub(1),
            is_tracked: false,
            is_live: false,
        });
        let hash = self.hasher.hash_one(raw);
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash_of = |at: &usize| entries.get(*at).map_or(0, |e| hasher.hash_one(&*e.raw));
        self.index.insert_unique(hash, at, hash_of);
        at
    }

    /// Marks an entry as seen; false when this scrape showed it before.
    #[inline]
    pub(crate) fn see(&mut self, at: usize) -> (bool, &mut Entry) {
        let entry = &mut self.entries[at];
        let is_first = entry.seen_in != self.scrape;
        entry.seen_in = self.scrape;
        if is_first {
            entry.timestamp_ms = None;
        }
        (is_first, entry)
    }

    /// Ends a scrape that is stored whole: hands out the series that it no longer shows and forgets them.
    pub(crate) fn commit(&mut self, mut vanished: impl FnMut(Labels)) {
        let scrape = self.scrape;
        let mut gone: Vec<Labels> = std::mem::take(&mut self.orphans);
        let is_shorter = self.entries.iter().any(|e| e.seen_in != scrape);
        if is_shorter {
            gone.extend(
                self.entries.iter_mut().filter(|e| e.seen_in != scrape && e.is_live).filter_map(|e| e.labels.take()),
            );
        }
        if !gone.is_empty() {
            // A series may have come back under another text (its labels in another order, or after a reload).
            let has_come = |e: &&Entry| e.seen_in == scrape && !e.is_live;
            let come: hashbrown::HashSet<&Labels> =
                self.entries.iter().filter(has_come).filter_map(|e| e.labels.as_ref()).collect();
            gone.into_iter().filter(|labels| !come.contains(labels)).for_each(&mut vanished);
        }
        if is_shorter {
            self.entries.retain(|e| e.seen_in == scrape);
            self.index.clear();
            let (entries, hasher) = (&self.entries, &self.hasher);
            let hash_of = |at: &usize| entries.get(*at).map_or(0, |e| hasher.hash_one(&*e.raw));
            for at in 0..entries.len() {
                self.index.insert_unique(hash_of(&at), at, hash_of);
            }
        }
        for entry in &mut self.entries {
            entry.is_live = entry.is_tracked;
        }
    }

    /// Ends a scrape that failed, or the target: hands out every live series. The texts stay known.
    pub(crate) fn end_all(&mut self, mut ended: impl FnMut(Labels)) {
        self.orphans.drain(..).for_each(&mut ended);
        for entry in &mut self.entries {
            if std::mem::take(&mut entry.is_live) {
                entry.labels.iter().cloned().for_each(&mut ended);
            }
        }
    }

    /// Forgets what texts mean, because the rules have changed. Live series stay to be ended if they do not come back.
    pub(crate) fn forget(&mut self) {
        self.orphans.extend(self.entries.drain(..).filter(|e| e.is_live).filter_map(|e| e.labels));
        self.index.clear();
    }

    /// How many raw series are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
