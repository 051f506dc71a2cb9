//! What a series has at one time in blocks, asked for samples that come late: sealed ones must be recognised when they come
//! again, and contradictions refused.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use block::{Block, BlockError};
use head::Head;
use model::{Column, HistogramBuffer, Labels, Matcher, SampleBuffer, StoredSeries, TimeRange, TimestampMs, Value};
use moka::sync::Cache;
use postings::MatchCache;

use crate::Store;
use crate::catalogue::Catalogue;
use crate::presence::{Presence, hash_of};

/// What decoded series may take: a sender that repeats an hour of a few thousand series decodes each once.
const CACHE_BYTES: u64 = 32 << 20;
/// What knowledge of times may take: 2.8 million runs.
const PRESENCE_BYTES: usize = 64 << 20;
/// What an entry occupies beside its samples, roughly.
const ENTRY_BYTES: usize = 250;

/// A block and a series in it.
type Key = (Arc<str>, u32);

/// Which times blocks have, by block.
type Presences = HashMap<String, Arc<Presence>>;

/// The samples of series of blocks that were looked at last, and which times the youngest blocks have.
pub(crate) struct SealedCache {
    entries: Cache<Key, Arc<SampleBuffer>>,
    presences: ArcSwap<Presences>,
}

impl Default for SealedCache {
    fn default() -> Self {
        let weigher =
            |_: &Key, samples: &Arc<SampleBuffer>| u32::try_from(ENTRY_BYTES + samples.len() * 16).unwrap_or(u32::MAX);
        let entries = Cache::builder().max_capacity(CACHE_BYTES).weigher(weigher).build();
        Self { entries, presences: ArcSwap::default() }
    }
}

impl SealedCache {
    /// Forgets everything: something was deleted from blocks.
    pub(crate) fn clear(&self) {
        self.entries.invalidate_all();
    }

    /// Keeps what is known of a block that was just written; what is known of the oldest goes when it gets too much.
    pub(crate) fn know(&self, block: &Block, presence: Option<Presence>) {
        let Some(presence) = presence.map(Arc::new) else { return };
        self.presences.rcu(|known| {
            let mut known = Presences::clone(known);
            known.insert(block.meta().id.clone(), presence.clone());
            // Names ascend in time.
            while known.values().map(|presence| presence.size_bytes()).sum::<usize>() > PRESENCE_BYTES {
                let Some(oldest) = known.keys().min().cloned() else { break };
                known.remove(&oldest);
            }
            known
        });
    }

    /// Forgets what is known of blocks that are no more.
    pub(crate) fn forget(&self, blocks: &[String]) {
        if blocks.is_empty() {
            return;
        }
        self.presences.rcu(|known| {
            let mut known = Presences::clone(known);
            known.retain(|id, _| !blocks.contains(id));
            known
        });
    }

    fn value(&self, block: &Block, series: u32, timestamp: i64) -> Result<Option<Value>, BlockError> {
        if let Some(value) = self.float(block, series, timestamp)? {
            return Ok(Some(Value::Float(value)));
        }
        if block.meta().histograms == 0 {
            return Ok(None);
        }
        let (at, mut found) = (TimestampMs(timestamp), HistogramBuffer::default());
        block.reader().read_histograms(series, TimeRange { start: at, end: at }, &mut found)?;
        Ok(found.histograms.pop().map(Value::Histogram))
    }

    fn float(&self, block: &Block, series: u32, timestamp: i64) -> Result<Option<f64>, BlockError> {
        let key: Key = (block.meta().id.as_str().into(), series);
        let samples = match self.entries.get(&key) {
            Some(samples) => samples,
            None => {
                let mut samples = SampleBuffer::default();
                block.reader().read(series, TimeRange::ALL, Column::Last, &mut samples)?;
                let samples = Arc::new(samples);
                self.entries.insert(key, samples.clone());
                samples
            }
        };
        Ok(samples.timestamps.binary_search(&timestamp).ok().map(|at| samples.values[at]))
    }
}

/// Everything that was sealed or recovered, at one moment.
pub(crate) struct Sealed {
    recovered: Option<Arc<Head>>,
    catalogue: Arc<Catalogue>,
    presences: Arc<Presences>,
}

fn recovered_value(head: &Head, cache: &MatchCache, labels: &Labels, at: TimeRange) -> Option<Value> {
    let matchers: Vec<Matcher> = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
    let found = head.select(&matchers, at, cache);
    // Others may have the same labels and more.
    let series = found.iter().find(|series| series.labels() == labels)?;
    let (mut samples, mut histograms) = (SampleBuffer::default(), HistogramBuffer::default());
    // Memory is always readable.
    series.read(at, &mut samples).ok()?;
    series.read_histograms(at, &mut histograms).ok()?;
    let histogram = histograms.histograms.pop().map(Value::Histogram);
    samples.values.first().copied().map(Value::Float).or(histogram)
}

impl Store {
    pub(crate) fn sealed(&self) -> Sealed {
        // In this order: what leaves the one is in the other before.
        let recovered = self.recovery.head();
        Sealed { recovered, catalogue: self.catalogue(), presences: self.sealed_cache.presences.load_full() }
    }

    /// What a series has at exactly one time, in blocks or in what was recovered. What is damaged is taken for
    /// missing: a sample that is stored twice is read once.
    pub(crate) fn sealed_value(&self, sealed: &Sealed, labels: &Labels, timestamp: i64) -> Option<Value> {
        let at = TimeRange { start: TimestampMs(timestamp), end: TimestampMs(timestamp) };
        let recovered = sealed.recovered.as_deref();
        if let Some(value) = recovered.and_then(|head| recovered_value(head, &self.match_cache, labels, at)) {
            return Some(value);
        }
        let hash = hash_of(labels);
        let may_have =
            |block: &&Block| sealed.presences.get(&block.meta().id).is_none_or(|known| known.may_have(hash, timestamp));
        sealed.catalogue.within(0, at).filter(may_have).find_map(|block| {
            let found = block.find(labels).and_then(|series| match series {
                Some(series) => self.sealed_cache.value(block, series, timestamp),
                None => Ok(None),
            });
            found.unwrap_or_else(|error| {
                self.damages.name(&error);
                None
            })
        })
    }
}
