//! How samples leave memory.
//!
//! A *cut* begins a new generation: whatever is appended after it is defined anew in a new log. A *freeze* takes hold of
//! everything that was appended before it and keeps it readable while it is written into blocks; *release* forgets that.
//! The order is `prepare_cut`, `cut`, `freeze`, (blocks), `release`. A freeze after the cut may take hold of a little
//! more than what the old log has, never of less. Where blocks cannot be written, the frozen samples stay, and the next
//! freeze takes hold of them again.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{HistogramBuffer, Labels, SampleBuffer, TimestampMs};

use crate::catalog::{Catalog, SLICE};
use crate::head::{Head, Span, join};
use crate::index::Index;
use crate::order::Order;
use crate::series::{Growth, Locks, Series};

/// Indices up to so many series are made anew as soon as one is idle.
const SMALL: usize = 10_000;

/// The index of the next generation, as far as it could be made before the cut.
#[derive(Debug)]
pub struct Prepared {
    before: Arc<Catalog>,
    /// `None` where the old index stays: too few series are idle to be worth a new one.
    fresh: Option<Fresh>,
}

#[derive(Debug)]
struct Fresh {
    index: Index,
    order: Order,
    /// The new number of each series, by its old one; `None` for idle series.
    numbers: Vec<Option<u32>>,
    /// How many encoded label sets were taken over, and of which filling of their table.
    encodings: (usize, u64),
}

impl Fresh {
    /// Takes series over: of an index that changes no more meanwhile than it grows.
    fn take_series(&mut self, old: &Index, series: Range<usize>, idle_too: bool) {
        for number in series {
            let known = self.numbers.get(number).is_some_and(Option::is_some);
            let Some(series) = old.series().get(number) else { continue };
            if known || (!idle_too && series.lock().is_empty()) {
                self.set_number(number, None);
                continue;
            }
            let labels = || old.pairs_of(number as u32).iter().map(|pair| old.pairs.text(*pair));
            // Label sets of one index differ, so it is not there.
            let found = self.index.find(labels());
            let created = found.or_else(|| self.index.create(labels(), Some(series.clone())));
            self.set_number(number, created);
        }
    }

    fn set_number(&mut self, old: usize, new: Option<u32>) {
        match self.numbers.get_mut(old) {
            Some(known) => *known = known.or(new),
            None => self.numbers.push(new),
        }
    }

    /// Takes over encoded label sets of series that are still there.
    fn take_encodings(&mut self, old: &Index, range: Range<usize>) {
        if old.encoded.clearings() != self.encodings.1 {
            return;
        }
        for (key, series) in range.clone().filter_map(|at| old.encoded.get(at)) {
            if let Some(Some(number)) = self.numbers.get(series as usize) {
                self.index.remember(key, *number);
            }
        }
        self.encodings.0 = range.end;
    }
}

/// Everything that was in memory when it was frozen, series in label order.
#[derive(Debug)]
pub struct Frozen {
    catalog: Arc<Catalog>,
    series: Vec<FrozenEntry>,
    span: Option<Span>,
    samples: u64,
    /// Which freeze it was.
    serial: u64,
}

#[derive(Debug, Clone, Copy)]
struct FrozenEntry {
    reference: u32,
    chunks: u32,
    histograms: u32,
    first: i64,
    last: i64,
}

/// One frozen series.
#[derive(Debug)]
pub struct FrozenSeries<'a> {
    catalog: &'a Catalog,
    entry: FrozenEntry,
}

impl Frozen {
    /// How many series have frozen samples.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// True when nothing was in memory.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// How many samples are frozen.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The times of the first and the last frozen sample.
    pub fn bounds(&self) -> Option<(TimestampMs, TimestampMs)> {
        self.span.map(|(first, last)| (TimestampMs(first), TimestampMs(last)))
    }

    /// The frozen series in label order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = FrozenSeries<'_>> {
        self.series.iter().map(|entry| FrozenSeries { catalog: &self.catalog, entry: *entry })
    }
}

fn series_of(catalog: &Catalog, reference: u32) -> Option<Series> {
    catalog.index.read().series().get(reference as usize).cloned()
}

impl FrozenSeries<'_> {
    /// Its labels.
    pub fn labels(&self) -> Labels {
        self.catalog.index.read().labels(self.entry.reference)
    }

    /// The times of its first and its last frozen sample.
    pub fn bounds(&self) -> (TimestampMs, TimestampMs) {
        (TimestampMs(self.entry.first), TimestampMs(self.entry.last))
    }

    /// Adds its frozen samples to the end of `into`, in order of time. None are left once they were released.
    pub fn read(&self, into: &mut SampleBuffer) {
        if let Some(series) = series_of(self.catalog, self.entry.reference) {
            series.read_frozen(self.entry.chunks, into);
        }
    }

    /// The same for its histograms.
    pub fn read_histograms(&self, into: &mut HistogramBuffer) {
        // Few have any, and then nothing has to be looked for.
        if self.entry.histograms > 0
            && let Some(series) = series_of(self.catalog, self.entry.reference)
        {
            series.read_frozen_histograms(self.entry.histograms, into);
        }
    }
}

impl Head {
    /// Makes the index of the next generation, without the series that have no sample in memory. Takes long where there
    /// are many series, beside appends and reads.
    pub fn prepare_cut(&self) -> Prepared {
        let before = self.catalog();
        let count = before.index.read().len();
        let mut idle = 0;
        for start in (0..count).step_by(SLICE) {
            let index = before.index.read();
            let mut locks = Locks::default();
            let slice = index.series().iter().take(count).skip(start).take(SLICE);
            idle += slice.filter(|series| locks.of(series).is_empty()).count();
        }
        let crowded = count >= self.options.max_series / 8 * 7;
        if idle == 0 || (count > SMALL && idle < count / 8 && !crowded) {
            return Prepared { before, fresh: None };
        }
        let encoded = before.index.read().encoded.clearings();
        let index = Index::default();
        let numbers = Vec::with_capacity(count);
        let mut fresh = Fresh { index, order: Order::default(), numbers, encodings: (0, encoded) };
        for start in (0..count).step_by(SLICE) {
            fresh.take_series(&before.index.read(), start..count.min(start + SLICE), false);
        }
        let encodings = before.index.read().encoded.len();
        for start in (0..encodings).step_by(SLICE) {
            fresh.take_encodings(&before.index.read(), start..encodings.min(start + SLICE));
        }
        fresh.order = before.order().renumbered(&fresh.numbers);
        Prepared { before, fresh: Some(fresh) }
    }

    /// Begins the next generation: every [`SeriesRef`](crate::SeriesRef) of before is void, and every series has to be defined anew.
    ///
    /// The caller guarantees that no append runs meanwhile. Reads may.
    pub fn cut(&self, prepared: Prepared) {
        let Prepared { before, fresh } = prepared;
        if let Some(mut fresh) = fresh
            && Arc::ptr_eq(&before, &self.catalog())
        {
            let old = before.index.read();
            // Some have come to life since, others are new.
            let prepared = fresh.numbers.len();
            fresh.take_series(&old, 0..prepared, false);
            fresh.take_series(&old, prepared..old.len(), true);
            let encodings = fresh.encodings.0;
            fresh.take_encodings(&old, encodings..old.encoded.len());
            let gone = old.len().saturating_sub(fresh.index.len());
            self.removed.fetch_add(gone as u64, Ordering::Relaxed);
            drop(old);
            let catalog = Arc::new(Catalog::new(fresh.index, fresh.order));
            *self.catalog.write() = catalog.clone();
            self.measure(&catalog);
        }
        // Zero is left out: it means a series that no log defines.
        let next = self.generation().checked_add(1).unwrap_or(1);
        self.generation.store(next, Ordering::Release);
    }

    /// Takes hold of everything in memory, to be written into blocks. It stays readable, and duplicates of it are
    /// recognised. Runs beside appends: what they add meanwhile is frozen or not.
    pub fn freeze(&self) -> Frozen {
        let catalog = self.catalog();
        let serial = {
            let mut spans = self.spans.lock();
            spans.frozen = join(spans.frozen, spans.fresh.take());
            spans.freezes += 1;
            spans.freezes
        };
        let count = catalog.index.read().len();
        let order = catalog.order_of(count);
        let mut entries = Vec::new();
        let (mut span, mut samples, mut grown) = (None, 0, Growth::default());
        for start in (0..count).step_by(SLICE) {
            let slice: Vec<Series> =
                catalog.index.read().series().iter().take(count).skip(start).take(SLICE).cloned().collect();
            for (number, series) in (start..).zip(slice) {
                let Some(part) = series.lock().freeze(&mut grown) else { continue };
                span = join(span, Some((part.first, part.last)));
                samples += part.samples as u64;
                let crate::series::Frozen { chunks, histograms, first, last, .. } = part;
                entries.push(FrozenEntry { reference: number as u32, chunks, histograms, first, last });
            }
        }
        self.grow(grown);
        entries.sort_unstable_by_key(|entry| order.rank(entry.reference));
        Frozen { catalog, series: entries, span, samples, serial }
    }

    /// Forgets what was frozen: after the blocks that hold it are visible, and when nobody reads without them any more.
    pub fn release(&self, frozen: Frozen) {
        let (mut grown, mut samples) = (Growth::default(), 0);
        for entry in &frozen.series {
            if let Some(series) = series_of(&frozen.catalog, entry.reference) {
                samples += series.lock().release(entry.chunks, entry.histograms, &mut grown);
            }
        }
        self.samples.fetch_sub(samples as i64, Ordering::Relaxed);
        self.grow(grown);
        let mut spans = self.spans.lock();
        if spans.freezes == frozen.serial {
            spans.frozen = None;
        }
    }
}
