//! The head itself: what it may hold, what it holds, and the replay of a log into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use model::{Labels, TimestampMs};
use parking_lot::{Mutex, RwLock};

use crate::append::Scratch;
use crate::catalog::Catalog;
use crate::encoded::Keys;
use crate::index::Index;
use crate::order::Order;
use crate::series::{Growth, Locks, Pushed};

/// What a head may hold. Over a limit new series are refused; known ones go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadOptions {
    /// Series in all.
    pub max_series: usize,
    /// Series with the same value of `source_label`; those without that label are not limited.
    pub max_series_per_source: Option<usize>,
    /// The label that names the source of a series.
    pub source_label: String,
    /// Labels of a series, `__name__` included.
    pub max_labels: usize,
    /// Bytes of a label name.
    pub max_label_name_bytes: usize,
    /// Bytes of a label value.
    pub max_label_value_bytes: usize,
    /// Bytes that [`Head::memory_bytes`] may come to.
    pub max_memory_bytes: Option<u64>,
}

/// A series' number within one generation, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u32);

/// The first and the last time of samples.
pub(crate) type Span = (i64, i64);

/// Time of the samples held: those appended since the last freeze, and those being sealed.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    pub(crate) fresh: Option<Span>,
    pub(crate) frozen: Option<Span>,
    /// How often the head was frozen.
    pub(crate) freezes: u64,
}

/// The newest samples of all series.
#[derive(Debug)]
pub struct Head {
    pub(crate) options: HeadOptions,
    pub(crate) keys: Keys,
    pub(crate) catalog: RwLock<Arc<Catalog>>,
    pub(crate) generation: AtomicU32,
    pub(crate) scratch: Mutex<Vec<Scratch>>,
    pub(crate) spans: Mutex<Spans>,
    pub(crate) samples: AtomicI64,
    /// What series hold, as far as appends, freezes and releases have told.
    sample_bytes: AtomicI64,
    closed_chunks: AtomicI64,
    /// Series of earlier generations that are no more.
    pub(crate) removed: AtomicU64,
    /// What the index holds, and of how many series, as of when it was measured.
    index_bytes: AtomicU64,
    measured: AtomicUsize,
}

pub(crate) fn join(a: Option<Span>, b: Option<Span>) -> Option<Span> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

impl Head {
    /// An empty head.
    pub fn new(options: HeadOptions) -> Self {
        Self {
            options,
            keys: Keys::random(),
            catalog: RwLock::new(Arc::new(Catalog::new(Index::default(), Order::default()))),
            generation: AtomicU32::new(1),
            scratch: Mutex::default(),
            spans: Mutex::default(),
            samples: AtomicI64::new(0),
            sample_bytes: AtomicI64::new(0),
            closed_chunks: AtomicI64::new(0),
            removed: AtomicU64::new(0),
            index_bytes: AtomicU64::new(0),
            measured: AtomicUsize::new(0),
        }
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().clone()
    }

    /// Never 0: that is the generation of series that were never defined.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// The labels of a series of this generation; none for a series that is not there.
    pub fn labels(&self, series: SeriesRef) -> Labels {
        self.catalog().index.read().labels(series.0)
    }

    /// The log of this generation defines these series now.
    pub fn mark_defined(&self, series: &[SeriesRef]) {
        let (catalog, generation) = (self.catalog(), self.generation());
        let index = catalog.index.read();
        let mut locks = Locks::default();
        for series in series.iter().filter_map(|s| index.series().get(s.0 as usize)) {
            locks.of(series).defined = generation;
        }
    }

    /// The series with these labels, created where it is missing. For the replay of a log: there are no limits.
    pub fn restore(&self, labels: &Labels) -> SeriesRef {
        let catalog = self.catalog();
        let mut index = catalog.index.write();
        let known = index.find(labels.iter());
        // A log is of a head that had a number for each of its series, so there is one. Samples of the number given
        // otherwise are ignored, since no series has it.
        let series = known.or_else(|| index.create(labels.iter(), None)).unwrap_or(u32::MAX);
        SeriesRef(series)
    }

    /// Adds a sample of a replayed log. One that contradicts what is there is ignored.
    pub fn restore_sample(&self, series: SeriesRef, timestamp: TimestampMs, value: f64) {
        self.restore_samples(&[series], &[timestamp.0], &[value]);
    }

    /// Adds samples of a replayed log: columns of equal length, times in milliseconds. Those that contradict what is
    /// there, or that belong to no series, are ignored. Returns how many were new.
    pub fn restore_samples(&self, series: &[SeriesRef], timestamps: &[i64], values: &[f64]) -> usize {
        let catalog = self.catalog();
        let index = catalog.index.read();
        let (mut stored, mut grown, mut span) = (0, Growth::default(), (i64::MAX, i64::MIN));
        let mut locks = Locks::default();
        for ((series, timestamp), value) in series.iter().zip(timestamps).zip(values) {
            let Some(series) = index.series().get(series.0 as usize) else { continue };
            if locks.of(series).push(*timestamp, *value, &mut grown) == Pushed::Stored {
                stored += 1;
                span = (span.0.min(*timestamp), span.1.max(*timestamp));
            }
        }
        drop(locks);
        let grew = index.len() != self.measured.load(Ordering::Relaxed);
        drop(index);
        if grew {
            self.measure(&catalog);
        }
        self.count(stored, grown, span);
        stored
    }

    /// Counts what an append or a replay has stored.
    pub(crate) fn count(&self, stored: usize, grown: Growth, span: Span) {
        if stored > 0 {
            self.samples.fetch_add(stored as i64, Ordering::Relaxed);
            let mut spans = self.spans.lock();
            spans.fresh = join(spans.fresh, Some(span));
        }
        self.grow(grown);
    }

    /// Counts memory that series take or give back.
    pub(crate) fn grow(&self, grown: Growth) {
        if grown.bytes != 0 {
            self.sample_bytes.fetch_add(grown.bytes, Ordering::Relaxed);
        }
        if grown.chunks != 0 {
            self.closed_chunks.fetch_add(grown.chunks, Ordering::Relaxed);
        }
    }

    /// Notes how large the index has become.
    pub(crate) fn measure(&self, catalog: &Catalog) {
        let index = catalog.index.read();
        self.index_bytes.store(index.heap_bytes() as u64, Ordering::Relaxed);
        self.measured.store(index.len(), Ordering::Relaxed);
    }

    /// How many series there are, those included that have no samples at the moment.
    pub fn series(&self) -> usize {
        self.catalog().index.read().len()
    }

    /// How many series were removed because they had no samples any more.
    pub fn removed_series(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }

    /// How many chunks of samples there are: those that are closed, and one that grows for each series.
    pub fn chunks(&self) -> u64 {
        u64::try_from(self.closed_chunks.load(Ordering::Relaxed)).unwrap_or(0) + self.series() as u64
    }

    /// How many samples are held.
    pub fn samples(&self) -> u64 {
        u64::try_from(self.samples.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Bytes of memory that series and samples take, nearly: the allocator's share is missing.
    pub fn memory_bytes(&self) -> u64 {
        self.index_bytes.load(Ordering::Relaxed).saturating_add_signed(self.sample_bytes.load(Ordering::Relaxed))
    }

    /// The times of the oldest and of the newest sample held; `None` without samples.
    pub fn bounds(&self) -> Option<(TimestampMs, TimestampMs)> {
        let spans = self.spans.lock();
        join(spans.fresh, spans.frozen).map(|(first, last)| (TimestampMs(first), TimestampMs(last)))
    }
}
