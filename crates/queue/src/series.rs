//! Which series have which numbers. A number is never given twice; a series that had no rows for a while is forgotten
//! once nothing holds a batch with it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};

use model::Labels;
use parking_lot::MutexGuard;

use crate::{QueueError, SeriesId};

/// Series that are known at once.
const MAX_SERIES: usize = 4_000_000;
/// Idle series are looked for this often.
const GENERATION_MS: i64 = 5 * 60_000;
/// A series without rows for so many generations, or one less, is forgotten.
const IDLE_GENERATIONS: u64 = 4;
/// Numbers of one page.
const PAGE: usize = 256;

/// Keeps the series of a generation from being forgotten.
pub(crate) type Pin = Arc<()>;

#[derive(Debug)]
struct Known {
    labels: Labels,
    /// The generation in which it last had rows.
    used: u64,
    /// The segment that says which labels it has; zero is none.
    defined_in: u64,
}

#[derive(Debug)]
pub(crate) struct Table {
    by_key: HashMap<u128, u32, BuildHasherDefault<KeyHasher>>,
    by_labels: HashMap<Labels, u32>,
    /// Pages whose series are all forgotten take no memory.
    pages: Vec<Vec<Option<Known>>>,
    next: u32,
    generation: u64,
    began: i64,
    pin: Pin,
    /// Pins of earlier generations, oldest first.
    pins: VecDeque<(u64, Weak<()>)>,
}

impl Table {
    pub(crate) fn new(now: i64) -> Self {
        Self {
            by_key: HashMap::default(),
            by_labels: HashMap::new(),
            pages: Vec::new(),
            next: 0,
            generation: IDLE_GENERATIONS,
            began: now,
            pin: Pin::default(),
            pins: VecDeque::new(),
        }
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Known> {
        self.pages.get_mut(id as usize / PAGE)?.get_mut(id as usize % PAGE)?.as_mut()
    }

    fn get(&self, id: u32) -> Option<&Known> {
        self.pages.get(id as usize / PAGE)?.get(id as usize % PAGE)?.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_labels.len()
    }

    /// What keeps the series used now.
    pub(crate) fn pin(&self) -> Pin {
        Arc::clone(&self.pin)
    }

    /// The number of a series; it counts as used.
    pub(crate) fn intern(&mut self, labels: Labels) -> Result<SeriesId, QueueError> {
        let generation = self.generation;
        if let Some(id) = self.by_labels.get(&labels).copied() {
            if let Some(known) = self.get_mut(id) {
                known.used = generation;
            }
            return Ok(SeriesId(id));
        }
        if self.by_labels.len() >= MAX_SERIES || self.next == u32::MAX {
            return Err(QueueError::TooManySeries(MAX_SERIES));
        }
        let id = self.next;
        self.next += 1;
        if id as usize / PAGE == self.pages.len() {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        self.pages[id as usize / PAGE].push(Some(Known { labels: labels.clone(), used: generation, defined_in: 0 }));
        self.by_labels.insert(labels, id);
        Ok(SeriesId(id))
    }

    /// Notes that a record of `segment` uses a series. The labels, where the segment does not define it yet.
    #[inline]
    pub(crate) fn use_in(&mut self, id: u32, segment: u64) -> Result<Option<Labels>, QueueError> {
        let generation = self.generation;
        let known = self.get_mut(id).ok_or(QueueError::UnknownSeries(id))?;
        known.used = generation;
        if known.defined_in == segment {
            return Ok(None);
        }
        known.defined_in = segment;
        Ok(Some(known.labels.clone()))
    }

    /// The segment does not define these after all.
    pub(crate) fn undefine(&mut self, definitions: &[(u32, Labels)]) {
        for (id, _) in definitions {
            if let Some(known) = self.get_mut(*id) {
                known.defined_in = 0;
            }
        }
    }

    /// Forgets idle series. Call it now and then.
    pub(crate) fn forget_idle(&mut self, now: i64) {
        if (0..GENERATION_MS).contains(&now.saturating_sub(self.began)) {
            return;
        }
        self.began = now;
        let pin = std::mem::take(&mut self.pin);
        self.pins.push_back((self.generation, Arc::downgrade(&pin)));
        drop(pin);
        self.generation += 1;
        while self.pins.front().is_some_and(|(_, pin)| pin.strong_count() == 0) {
            self.pins.pop_front();
        }
        let pinned = self.pins.front().map_or(u64::MAX, |(generation, _)| *generation);
        let keep_from = (self.generation - IDLE_GENERATIONS + 1).min(pinned);
        let Self { pages, by_labels, by_key, .. } = self;
        for page in pages.iter_mut() {
            for place in page.iter_mut() {
                if let Some(known) = place.take_if(|known| known.used < keep_from) {
                    by_labels.remove(&known.labels);
                }
            }
            if page.len() == PAGE && page.iter().all(Option::is_none) {
                *page = Vec::new();
            }
        }
        let is_known = |id: u32| {
            let page = pages.get(id as usize / PAGE);
            page.and_then(|page| page.get(id as usize % PAGE)).is_some_and(Option::is_some)
        };
        by_key.retain(|_, id| is_known(*id));
    }
}

/// The series of a queue, locked: hold it for one batch, and not while calling anything else of the queue.
pub struct Series<'a> {
    pub(crate) table: MutexGuard<'a, Table>,
}

impl Series<'_> {
    /// The number of a series. `key` is a hash that the caller knows it by: equal keys are equal series, and several keys
    /// may lead to one series. `labels` is asked when the key is not known.
    ///
    /// # Errors
    /// [`QueueError::TooManySeries`].
    pub fn id(&mut self, key: u128, labels: impl FnOnce() -> Labels) -> Result<SeriesId, QueueError> {
        if let Some(id) = self.table.by_key.get(&key).copied()
            && self.keep(SeriesId(id))
        {
            return Ok(SeriesId(id));
        }
        let id = self.table.intern(labels())?;
        self.table.by_key.insert(key, id.0);
        Ok(id)
    }

    /// Keeps a number that was given earlier from being forgotten; false when it is. Cheaper than [`Series::id`].
    pub fn keep(&mut self, id: SeriesId) -> bool {
        let generation = self.table.generation;
        self.table.get_mut(id.0).map(|known| known.used = generation).is_some()
    }

    /// The labels of a series. Known at least as long as something holds a batch with it.
    pub fn labels(&self, id: SeriesId) -> Option<&Labels> {
        self.table.get(id.0).map(|known| &known.labels)
    }
}

/// Keys are hashes already, and numbers of series become some.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64 ^ (key >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name)])
    }

    #[test]
    fn idle_series_are_forgotten_unless_somebody_holds_them() {
        let mut table = Table::new(0);
        let held = table.intern(labels("held")).expect("fits");
        let pin = table.pin();
        let mut now = 0;
        let mut pass = |table: &mut Table, busy: &str, generations: u64| {
            for _ in 0..generations {
                now += GENERATION_MS;
                table.forget_idle(now);
                table.intern(labels(busy)).expect("fits");
            }
        };
        pass(&mut table, "busy", 1);
        let idle = table.intern(labels("idle")).expect("fits");
        pass(&mut table, "busy", 10);
        // What is younger than the pin stays with it.
        assert!(table.get(held.0).is_some() && table.get(idle.0).is_some());
        drop(pin);
        pass(&mut table, "busy", 1);
        assert!(table.get(held.0).is_none() && table.get(idle.0).is_none());
        assert_eq!(table.len(), 1);
        assert_ne!(table.intern(labels("held")).expect("fits"), held, "numbers are not given twice");
    }

    #[test]
    fn keys_lead_to_series() {
        let table = parking_lot::Mutex::new(Table::new(0));
        let mut series = Series { table: table.lock() };
        let a = series.id(1, || labels("a")).expect("fits");
        assert_eq!(series.id(2, || labels("a")).expect("fits"), a);
        assert_eq!(series.id(1, || unreachable!("is known")).expect("fits"), a);
        assert_eq!(series.labels(a), Some(&labels("a")));
        assert!(series.keep(a) && !series.keep(SeriesId(7)));
    }
}
