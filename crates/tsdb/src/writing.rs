//! From memory into blocks: one per window of two hours.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::atomic::Ordering;

use block::{BLOCK_SUFFIX, Block, BlockDraft, BlockError, BlockWriter};
use head::Frozen;
use model::{HistogramBuffer, Labels, SampleBuffer};

use crate::options::WINDOW_MS;
use crate::presence::PresenceBuilder;
use crate::{Store, StoreError};

/// So many windows are written at once; each takes memory for an index.
const WINDOWS_AT_ONCE: i64 = 8;

impl Store {
    /// A time to name the next block by: later than that of every other.
    pub(crate) fn next_block_ms(&self) -> i64 {
        let now = (self.clock)().0;
        let later = |last: i64| Some(now.max(last + 1));
        // The closure always gives a value, so this is the one before.
        let last = self.last_block_ms.fetch_update(Ordering::AcqRel, Ordering::Acquire, later).unwrap_or(0);
        now.max(last + 1)
    }

    pub(crate) fn new_block(
        &self,
        level: u32,
        resolution_ms: i64,
        parents: Vec<String>,
    ) -> Result<BlockWriter, BlockError> {
        let draft = BlockDraft { now_ms: self.next_block_ms(), level, resolution_ms, parents };
        BlockWriter::create(self.disk.clone(), &self.layout.blocks, draft)
    }

    /// Gives a block its name and opens it.
    pub(crate) fn finish_block(&self, writer: BlockWriter) -> Result<Block, BlockError> {
        let meta = writer.finish()?;
        Block::open(self.disk.clone(), &self.layout.blocks.join(format!("{}{BLOCK_SUFFIX}", meta.id)))
    }

    /// Writes what is frozen, one block per window that has samples. All of them are written, or none stays.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub(crate) fn write_windows(&self, frozen: &Frozen) -> Result<Vec<Block>, StoreError> {
        let mut blocks = Vec::new();
        let mut from = frozen.bounds().map(|(first, _)| first.0);
        while let Some(start) = from {
            match self.write_some_windows(frozen, start, &mut blocks) {
                Ok(next) => from = next,
                Err(error) => {
                    // They would be harmless: the same samples come again.
                    blocks.iter().for_each(|block: &Block| drop(self.disk.remove(block.path())));
                    return Err(error.into());
                }
            }
        }
        Ok(blocks)
    }

    /// Writes the windows that begin with the one of `from`. Returns the first sample behind them.
    fn write_some_windows(
        &self,
        frozen: &Frozen,
        from: i64,
        blocks: &mut Vec<Block>,
    ) -> Result<Option<i64>, BlockError> {
        let first = from.div_euclid(WINDOW_MS);
        let end = first.saturating_add(WINDOWS_AT_ONCE).saturating_mul(WINDOW_MS);
        let mut windows = Windows { store: self, writers: BTreeMap::new() };
        let (mut samples, mut histograms) = (SampleBuffer::default(), HistogramBuffer::default());
        let mut next: Option<i64> = None;
        for series in frozen.iter() {
            let (oldest, newest) = series.bounds();
            if newest.0 < from {
                continue;
            }
            let mut behind = oldest.0;
            if oldest.0 < end {
                samples.clear();
                histograms.clear();
                series.read(&mut samples);
                series.read_histograms(&mut histograms);
                let rest = windows.add(&series.labels(), &samples, &histograms, from..end)?;
                let Some(rest) = rest else { continue };
                behind = rest;
            }
            next = Some(next.map_or(behind, |known| known.min(behind)));
        }
        for (writer, presence) in windows.writers.into_values() {
            let block = self.finish_block(writer)?;
            self.sealed_cache.know(&block, presence.finish());
            blocks.push(block);
        }
        Ok(next)
    }
}

/// Blocks being written side by side.
struct Windows<'a> {
    store: &'a Store,
    writers: BTreeMap<i64, (BlockWriter, PresenceBuilder)>,
}

impl Windows<'_> {
    /// Gives each window within `range` its part of a series. Returns the first time behind.
    fn add(
        &mut self,
        labels: &Labels,
        samples: &SampleBuffer,
        histograms: &HistogramBuffer,
        range: Range<i64>,
    ) -> Result<Option<i64>, BlockError> {
        let place = |times: &[i64], at: i64| times.partition_point(|time| *time < at);
        // Where the next window begins in either list.
        let mut next = (place(&samples.timestamps, range.start), place(&histograms.timestamps, range.start));
        loop {
            let times = [samples.timestamps.get(next.0), histograms.timestamps.get(next.1)];
            let Some(&first) = times.into_iter().flatten().min() else { return Ok(None) };
            if first >= range.end {
                return Ok(Some(first));
            }
            let window = first.div_euclid(WINDOW_MS);
            let end = window.saturating_add(1).saturating_mul(WINDOW_MS);
            let stop = (place(&samples.timestamps, end), place(&histograms.timestamps, end));
            self.add_to(window, labels, (samples, next.0..stop.0), (histograms, next.1..stop.1))?;
            next = stop;
        }
    }

    fn add_to(
        &mut self,
        window: i64,
        labels: &Labels,
        samples: (&SampleBuffer, Range<usize>),
        histograms: (&HistogramBuffer, Range<usize>),
    ) -> Result<(), BlockError> {
        let (writer, presence) = match self.writers.entry(window) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let presence = PresenceBuilder::new(window.saturating_mul(WINDOW_MS));
                free.insert((self.store.new_block(1, 0, Vec::new())?, presence))
            }
        };
        let (samples, range) = samples;
        presence.add(labels, &samples.timestamps[range.clone()]);
        let mut some_samples = SampleBuffer::default();
        let samples = if range.len() == samples.len() {
            samples
        } else {
            some_samples.timestamps.extend_from_slice(&samples.timestamps[range.clone()]);
            some_samples.values.extend_from_slice(&samples.values[range]);
            &some_samples
        };
        let (histograms, range) = histograms;
        presence.add(labels, &histograms.timestamps[range.clone()]);
        let mut some_histograms = HistogramBuffer::default();
        let histograms = if range.len() == histograms.len() {
            histograms
        } else {
            some_histograms.timestamps.extend_from_slice(&histograms.timestamps[range.clone()]);
            some_histograms.histograms.extend_from_slice(&histograms.histograms[range]);
            &some_histograms
        };
        writer.add_with_histograms(labels, samples, histograms)
    }
}
