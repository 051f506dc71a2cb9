//! Which values of a label a pattern picks, remembered: looking at half a million pod names takes as long as many queries
//! do altogether, and dashboards ask the same every few seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Matcher;
use moka::sync::Cache;

use crate::LabelIndex;

/// What an entry occupies beside its bytes, roughly: the cache's own bookkeeping.
const ENTRY_BYTES: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    index: u64,
    name: Box<str>,
    pattern: Box<str>,
}

/// The ids, ascending, of the values on which a pattern and the empty string differ, among the first `seen` of a label.
#[derive(Debug, Clone)]
struct Matched {
    seen: u32,
    ids: Arc<[u32]>,
}

/// Remembers, for every index that is asked, which values of a label a regular expression picks. Bounded by bytes; what
/// was used seldom or long ago goes first, and with it what belongs to indexes that are no more. Shared by all threads.
#[derive(Debug)]
pub struct MatchCache {
    entries: Cache<Key, Matched>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl MatchCache {
    /// An empty cache of at most `max_bytes` bytes.
    pub fn new(max_bytes: u64) -> Self {
        let weigher = |key: &Key, matched: &Matched| {
            let bytes = ENTRY_BYTES + key.name.len() + key.pattern.len() + size_of_val(&*matched.ids);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(max_bytes).weigher(weigher).build();
        Self { entries, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// How often what was remembered sufficed, or had to be extended by new values only.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How often all values of a label had to be looked at.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Bytes that the entries occupy, roughly.
    pub fn size_bytes(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.weighted_size()
    }

    /// The deciding values of a matcher (see [`Matched`]) if they are remembered.
    pub(crate) fn recall<I: LabelIndex + ?Sized>(&self, index: &I, matcher: &Matcher) -> Option<Arc<[u32]>> {
        let (key, count) = key(index, matcher);
        let known = self.entries.get(&key)?;
        let ids = if known.seen >= count { known.ids } else { self.extend(index, matcher, key, count, &known)? };
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(ids)
    }

    /// Looks at all values, and remembers.
    pub(crate) fn find<I: LabelIndex + ?Sized>(&self, index: &I, matcher: &Matcher) -> Arc<[u32]> {
        self.misses.fetch_add(1, Ordering::Relaxed);
        // The count comes first: values that arrive while others are looked at may be found twice, never missed.
        let (key, seen) = key(index, matcher);
        let mut ids = Vec::new();
        // A pattern with a prefix does not match the empty string, so only values that match can differ from it.
        index.values(matcher.name(), matcher.prefix(), &mut collect(matcher, &mut ids));
        self.remember(key, seen, ids)
    }

    fn extend<I: LabelIndex + ?Sized>(
        &self,
        index: &I,
        matcher: &Matcher,
        key: Key,
        count: u32,
        known: &Matched,
    ) -> Option<Arc<[u32]>> {
        let mut ids = known.ids.to_vec();
        let extended = index.values_after(matcher.name(), known.seen, &mut collect(matcher, &mut ids));
        extended.then(|| self.remember(key, count, ids))
    }

    fn remember(&self, key: Key, seen: u32, mut ids: Vec<u32>) -> Arc<[u32]> {
        ids.sort_unstable();
        ids.dedup();
        let ids: Arc<[u32]> = ids.into();
        self.entries.insert(key, Matched { seen, ids: Arc::clone(&ids) });
        ids
    }
}

/// `=~` and `!~` of one pattern differ from the empty string on the same values, so they share an entry. Of plain
/// comparisons only those with the empty string come here, and they pick what `.+` picks.
fn key<I: LabelIndex + ?Sized>(index: &I, matcher: &Matcher) -> (Key, u32) {
    let (index, count) = index.cache_key(matcher.name());
    let pattern = if matcher.is_regex() { matcher.value() } else { ".+" };
    (Key { index, name: matcher.name().into(), pattern: pattern.into() }, count)
}

fn collect<'a>(matcher: &'a Matcher, ids: &'a mut Vec<u32>) -> impl FnMut(u32, &str) -> bool + 'a {
    let empty = matcher.matches_empty();
    move |id, value| {
        if matcher.matches(value) != empty {
            ids.push(id);
        }
        true
    }
}
