//! One series in memory: its samples in lanes, each in order of time and compressed as it grows.
//!
//! The live lane takes what is newer than everything; what is older, but in order among itself, as a backfill is, goes to
//! the second lane; what fits neither waits as a stray until there are enough for a chunk. Closed chunks of all kinds lie
//! in one list, whose beginning is what is being sealed at the moment. Native histograms are kept as they came.

use std::sync::Arc;

use model::{EncodedHistogram, HistogramBuffer, SampleBuffer, TimeRange, Value, is_stale};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::codec::{Chunk, Growing};
use crate::histograms::Histograms;

/// Series that share a lock and lie next to one another. Senders repeat the order in which series came, so that one lock
/// serves many of their samples.
const BLOCK: usize = 16;
/// Strays wait in a sorted list until they are so many.
const MAX_STRAYS: usize = 256;
/// When so many chunks of strays lie across one another, they are merged.
const MAX_STRAY_CHUNKS: u32 = 16;

/// What became of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    Stored,
    Duplicate,
    Conflict,
}

/// By how much the memory of series grew; less than nothing where they gave some back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Growth {
    pub(crate) bytes: i64,
    /// Closed chunks.
    pub(crate) chunks: i64,
}

/// A few series behind a lock that is held for a few pushes, or for copying handles.
#[derive(Debug, Default)]
struct Block(Mutex<[State; BLOCK]>);

/// A series. Copies are handles of the same one.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    block: Arc<Block>,
    at: usize,
}

/// Makes series.
#[derive(Debug, Default)]
pub(crate) struct Nursery {
    last: Option<Series>,
}

/// Locks series one after another, and a block only once while they are of the same.
#[derive(Default)]
pub(crate) struct Locks<'a> {
    held: Option<(&'a Block, MutexGuard<'a, [State; BLOCK]>)>,
}

/// A series' samples.
#[derive(Debug, Default)]
pub(crate) struct State {
    live: Growing,
    more: Option<Box<More>>,
    /// The generation in whose log the series is defined; 0 for none.
    pub(crate) defined: u32,
}

/// What not every series has.
#[derive(Debug, Default)]
struct More {
    closed: Vec<Chunk>,
    /// How many of the closed chunks, from the first on, are being sealed.
    frozen: u32,
    /// How many of the others are of strays and not merged yet.
    stray_chunks: u32,
    backfill: Option<Box<Growing>>,
    odd: Option<Box<Odd>>,
}

/// What hardly a series has.
#[derive(Debug, Default)]
struct Odd {
    /// In order of time.
    strays: Vec<(i64, f64)>,
    histograms: Histograms,
}

impl Nursery {
    /// A series without samples.
    pub(crate) fn create(&mut self) -> Series {
        let next = match self.last.take() {
            Some(last) if last.at + 1 < BLOCK => Series { at: last.at + 1, ..last },
            _ => Series { block: Arc::default(), at: 0 },
        };
        self.last = Some(next.clone());
        next
    }
}

impl<'a> Locks<'a> {
    /// The state of a series, locked until the next is asked for.
    #[inline]
    pub(crate) fn of(&mut self, series: &'a Series) -> &mut State {
        let block = &*series.block;
        let held = match self.held.take() {
            Some(held) if std::ptr::eq(held.0, block) => held,
            other => {
                // One at a time, so that nobody waits for one who waits.
                drop(other);
                (block, block.0.lock())
            }
        };
        &mut self.held.insert(held).1[series.at % BLOCK]
    }
}

impl Series {
    /// Bytes of memory of one without samples, its part of the index included.
    pub(crate) const BYTES: usize = size_of::<State>() + size_of::<Self>();

    pub(crate) fn lock(&self) -> MappedMutexGuard<'_, State> {
        MutexGuard::map(self.block.0.lock(), |states| &mut states[self.at % BLOCK])
    }

    /// Adds the samples within `range`, in order.
    pub(crate) fn read(&self, range: TimeRange, into: &mut SampleBuffer) {
        let state = self.lock();
        if state.more.is_none() {
            let chunk = state.copy_live(range);
            drop(state);
            return chunk.iter().for_each(|chunk| chunk.read(range, into));
        }
        let (chunks, strays) = state.copy(range);
        drop(state);
        read_merged(chunks, strays, range, into);
    }

    /// Adds the newest sample within `range`, or all of them where that has to be looked for.
    pub(crate) fn read_newest(&self, range: TimeRange, into: &mut SampleBuffer) {
        let newest = self.lock().live.newest();
        match newest.filter(|(timestamp, _)| (range.start.0..=range.end.0).contains(timestamp)) {
            Some((timestamp, value)) => into.push(timestamp, value),
            None => self.read(range, into),
        }
    }

    /// Adds the histograms within `range`, in order.
    pub(crate) fn read_histograms(&self, range: TimeRange, into: &mut HistogramBuffer) {
        if let Some(histograms) = self.lock().histograms() {
            histograms.read(range, into);
        }
    }

    /// Adds the first `count` histograms of those that were frozen.
    pub(crate) fn read_frozen_histograms(&self, count: u32, into: &mut HistogramBuffer) {
        if let Some(histograms) = self.lock().histograms() {
            histograms.read_frozen(count, into);
        }
    }

    /// Adds the first `count` closed chunks: those that were frozen.
    pub(crate) fn read_frozen(&self, count: u32, into: &mut SampleBuffer) {
        let state = self.lock();
        let frozen =
            state.more.as_ref().map_or(&[][..], |m| m.closed.get(..m.frozen.min(count) as usize).unwrap_or(&[]));
        let chunks = frozen.to_vec();
        drop(state);
        read_merged(chunks, Vec::new(), TimeRange::ALL, into);
    }
}

impl State {
    /// Adds a sample. `grown` is changed by what the series' memory grew.
    #[inline]
    pub(crate) fn push(&mut self, timestamp: i64, value: f64, grown: &mut Growth) -> Pushed {
        if timestamp > self.live.last() {
            let before = self.live.heap_bytes();
            if self.live.push(timestamp, value) {
                grown.bytes += self.live.heap_bytes() as i64 - before as i64;
                return Pushed::Stored;
            }
        }
        self.push_otherwise(timestamp, value, grown)
    }

    #[cold]
    fn push_otherwise(&mut self, timestamp: i64, value: f64, grown: &mut Growth) -> Pushed {
        if timestamp <= self.live.last()
            && let Some(known) = self.find(timestamp)
        {
            return if known == Value::Float(value) { Pushed::Duplicate } else { Pushed::Conflict };
        }
        let before = self.footprint();
        let more = self.more.get_or_insert_default();
        if timestamp > self.live.last() {
            append(&mut self.live, &mut more.closed, timestamp, value);
        } else if more.backfill.as_ref().is_none_or(|lane| timestamp > lane.last()) {
            append(more.backfill.get_or_insert_default(), &mut more.closed, timestamp, value);
        } else {
            more.add_stray(timestamp, value);
        }
        self.add_growth(before, grown);
        Pushed::Stored
    }

    /// Adds a histogram. From then on the live lane takes nothing, as if it had seen the end of time: every further sample
    /// of this series goes the slower way, on which histograms of its time are looked for.
    #[cold]
    pub(crate) fn push_histogram(&mut self, timestamp: i64, histogram: EncodedHistogram, grown: &mut Growth) -> Pushed {
        let wanted = Value::Histogram(histogram);
        match (self.find(timestamp), wanted) {
            (Some(known), wanted) if known == wanted => return Pushed::Duplicate,
            (None, Value::Histogram(histogram)) => {
                let before = self.footprint();
                let more = self.more.get_or_insert_default();
                if !self.live.is_empty() {
                    more.closed.push(self.live.close());
                }
                self.live.shut();
                more.odd.get_or_insert_default().histograms.insert(timestamp, histogram);
                self.add_growth(before, grown);
            }
            _ => return Pushed::Conflict,
        }
        Pushed::Stored
    }

    fn histograms(&self) -> Option<&Histograms> {
        self.more.as_ref()?.odd.as_ref().map(|odd| &odd.histograms)
    }

    /// What there is at exactly one time.
    fn find(&self, timestamp: i64) -> Option<Value> {
        let histogram = self.histograms().and_then(|histograms| histograms.find(timestamp)).cloned();
        histogram.map(Value::Histogram).or_else(|| self.find_float(timestamp).map(Value::Float))
    }

    fn find_float(&self, timestamp: i64) -> Option<f64> {
        let lane = |lane: &Growing| {
            let within = !lane.is_empty() && lane.first() <= timestamp && timestamp <= lane.last();
            within.then(|| lane.to_chunk().find(timestamp)).flatten()
        };
        lane(&self.live).or_else(|| {
            let more = self.more.as_ref()?;
            if let Ok(at) = more.strays().binary_search_by_key(&timestamp, |(t, _)| *t) {
                return Some(more.strays()[at].1);
            }
            let closed = || more.closed.iter().filter(|c| c.first() <= timestamp && timestamp <= c.last());
            more.backfill.as_deref().and_then(lane).or_else(|| closed().find_map(|c| c.find(timestamp)))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.more.as_ref().is_none_or(|more| more.is_empty())
    }

    /// Whether it may have samples within `range`: only a gap makes that wrong.
    #[inline]
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        self.live.last() >= range.start.0 && self.first().is_some_and(|first| first <= range.end.0)
    }

    /// Whether its newest sample within `range` is no staleness marker.
    #[inline]
    pub(crate) fn is_live(&self, range: TimeRange) -> bool {
        match self.live.newest() {
            Some((timestamp, value)) if timestamp <= range.end.0 => timestamp >= range.start.0 && !is_stale(value),
            _ => self.overlaps(range) && self.is_live_as_read(range),
        }
    }

    #[cold]
    fn is_live_as_read(&self, range: TimeRange) -> bool {
        let (chunks, strays) = self.copy(range);
        let mut samples = SampleBuffer::default();
        read_merged(chunks, strays, range, &mut samples);
        samples.values.last().is_some_and(|value| !is_stale(*value))
    }

    /// Everything that overlaps `range`, to be read without the lock.
    fn copy(&self, range: TimeRange) -> (Vec<Chunk>, Vec<(i64, f64)>) {
        let (mut chunks, mut strays) = (Vec::new(), Vec::new());
        if let Some(more) = &self.more {
            chunks.reserve_exact(more.closed.len() + 2);
            chunks.extend(more.closed.iter().filter(|c| c.overlaps(range)).cloned());
            strays.extend(more.strays().iter().filter(|(t, _)| (range.start.0..=range.end.0).contains(t)));
            chunks.extend(more.backfill.as_deref().filter(|lane| !lane.is_empty()).map(Growing::to_chunk));
        }
        chunks.extend(self.copy_live(range));
        (chunks, strays)
    }

    fn copy_live(&self, range: TimeRange) -> Option<Chunk> {
        let overlaps = self.live.first() <= range.end.0 && self.live.last() >= range.start.0;
        (overlaps && !self.live.is_empty()).then(|| self.live.to_chunk())
    }

    /// Closes everything and marks it as being sealed. Returns how much that is, and its time.
    pub(crate) fn freeze(&mut self, grown: &mut Growth) -> Option<Frozen> {
        if self.is_empty() {
            return None;
        }
        let before = self.footprint();
        let more = self.more.get_or_insert_default();
        // Usually there is only what the live lane holds.
        more.closed.reserve_exact(1);
        more.close_strays();
        if let Some(lane) = more.backfill.take_if(|lane| !lane.is_empty()).as_deref_mut() {
            more.closed.push(lane.close());
        }
        if !self.live.is_empty() {
            more.closed.push(self.live.close());
        }
        more.stray_chunks = 0;
        more.backfill = None;
        more.frozen = more.closed.len() as u32;
        let histograms = more.odd.as_mut().map(|odd| &mut odd.histograms);
        let (histograms, span) = histograms.map_or((0, None), |h| (h.freeze(), h.span()));
        let chunks = more.closed.iter().map(|chunk| (chunk.first(), chunk.last()));
        let (first, last) = chunks.chain(span).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        let samples = more.closed.iter().map(Chunk::len).sum::<usize>() + histograms as usize;
        let frozen = Frozen { chunks: more.frozen, histograms, first, last, samples };
        self.add_growth(before, grown);
        Some(frozen)
    }

    /// Forgets the first so many chunks and histograms, as far as they are frozen. Returns how many samples that were.
    pub(crate) fn release(&mut self, chunks: u32, histograms: u32, grown: &mut Growth) -> usize {
        let before = self.footprint();
        let Some(more) = &mut self.more else { return 0 };
        let gone = more.frozen.min(chunks);
        more.frozen -= gone;
        let chunks = more.closed.drain(..(gone as usize).min(more.closed.len()));
        let mut samples: usize = chunks.map(|chunk| chunk.len()).sum();
        more.closed.shrink_to_fit();
        if let Some(odd) = &mut more.odd {
            samples += odd.histograms.release(histograms);
        }
        more.odd.take_if(|odd| odd.is_empty());
        if more.is_empty() {
            self.more = None;
        }
        if self.is_empty() {
            // Whatever comes next is in order again.
            self.live = Growing::default();
        }
        self.add_growth(before, grown);
        samples
    }

    /// Time of the first sample.
    #[inline]
    fn first(&self) -> Option<i64> {
        let live = (!self.live.is_empty()).then(|| self.live.first());
        let Some(more) = &self.more else { return live };
        let backfill = more.backfill.as_ref().filter(|lane| !lane.is_empty()).map(|lane| lane.first());
        let stray = more.strays().first().map(|(t, _)| *t);
        let histogram = self.histograms().and_then(Histograms::span).map(|(first, _)| first);
        more.closed.iter().map(Chunk::first).chain(live).chain(backfill).chain(stray).chain(histogram).min()
    }

    /// What it holds.
    fn footprint(&self) -> Growth {
        let chunks = self.more.as_ref().map_or(0, |more| more.closed.len());
        Growth { bytes: self.heap_bytes() as i64, chunks: chunks as i64 }
    }

    fn add_growth(&self, before: Growth, grown: &mut Growth) {
        let now = self.footprint();
        grown.bytes += now.bytes - before.bytes;
        grown.chunks += now.chunks - before.chunks;
    }

    fn heap_bytes(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            let chunks: usize = more.closed.iter().map(Chunk::size_bytes).sum();
            let list = more.closed.capacity() * size_of::<Chunk>();
            let backfill = more.backfill.as_ref().map_or(0, |lane| size_of::<Growing>() + lane.heap_bytes());
            size_of::<More>() + chunks + list + backfill + more.odd.as_ref().map_or(0, |odd| odd.heap_bytes())
        });
        more + self.live.heap_bytes()
    }
}

/// What of a series is frozen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frozen {
    pub(crate) chunks: u32,
    pub(crate) histograms: u32,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) samples: usize,
}

impl More {
    fn is_empty(&self) -> bool {
        self.closed.is_empty()
            && self.backfill.as_ref().is_none_or(|lane| lane.is_empty())
            && self.odd.as_ref().is_none_or(|odd| odd.is_empty())
    }

    fn strays(&self) -> &[(i64, f64)] {
        self.odd.as_ref().map_or(&[], |odd| &odd.strays)
    }

    fn add_stray(&mut self, timestamp: i64, value: f64) {
        let strays = &mut self.odd.get_or_insert_default().strays;
        let at = strays.partition_point(|(t, _)| *t < timestamp);
        strays.insert(at, (timestamp, value));
        if strays.len() < MAX_STRAYS {
            return;
        }
        self.close_strays();
        self.stray_chunks += 1;
        if self.stray_chunks >= MAX_STRAY_CHUNKS {
            self.stray_chunks = 0;
            let unmerged = self.closed.split_off((self.frozen as usize).min(self.closed.len()));
            let mut merged = SampleBuffer::default();
            read_merged(unmerged, Vec::new(), TimeRange::ALL, &mut merged);
            close_all(merged.timestamps.into_iter().zip(merged.values), &mut self.closed);
        }
    }

    fn close_strays(&mut self) {
        if let Some(odd) = &mut self.odd {
            close_all(std::mem::take(&mut odd.strays).into_iter(), &mut self.closed);
        }
        self.odd.take_if(|odd| odd.is_empty());
    }
}

impl Odd {
    fn is_empty(&self) -> bool {
        self.strays.is_empty() && self.histograms.is_empty()
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.strays.capacity() * size_of::<(i64, f64)>() + self.histograms.heap_bytes()
    }
}

fn close_all(samples: impl Iterator<Item = (i64, f64)>, closed: &mut Vec<Chunk>) {
    let mut lane = Growing::default();
    for (timestamp, value) in samples {
        append(&mut lane, closed, timestamp, value);
    }
    if !lane.is_empty() {
        closed.push(lane.close());
    }
}

/// Appends to a lane, which is closed first where it must be.
fn append(lane: &mut Growing, closed: &mut Vec<Chunk>, timestamp: i64, value: f64) {
    if !lane.push(timestamp, value) {
        if closed.len() == closed.capacity() {
            closed.reserve_exact(1 + closed.len() / 4);
        }
        closed.push(lane.close());
        lane.push(timestamp, value);
    }
}

/// Appends what chunks and strays hold within `range`, in order of time, each time once.
fn read_merged(mut chunks: Vec<Chunk>, strays: Vec<(i64, f64)>, range: TimeRange, into: &mut SampleBuffer) {
    chunks.sort_unstable_by_key(Chunk::first);
    if strays.is_empty() && chunks.windows(2).all(|pair| pair[0].last() < pair[1].first()) {
        chunks.iter().for_each(|chunk| chunk.read(range, into));
        return;
    }
    let mut all = SampleBuffer::default();
    chunks.iter().for_each(|chunk| chunk.read(range, &mut all));
    let mut pairs: Vec<(i64, f64)> = all.timestamps.into_iter().zip(all.values).chain(strays).collect();
    // Stable, and fast on what consists of sorted runs.
    pairs.sort_by_key(|(timestamp, _)| *timestamp);
    pairs.dedup_by_key(|(timestamp, _)| *timestamp);
    pairs.into_iter().for_each(|(timestamp, value)| into.push(timestamp, value));
}
