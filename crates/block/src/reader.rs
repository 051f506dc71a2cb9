//! Reads samples. Holds what was decoded last, so that neighbours are cheap.

use std::ops::Range;
use std::sync::Arc;

use model::{Column, HistogramBuffer, SampleBuffer, TimeRange};

use crate::block::{ChunkEntry, Shared};
use crate::directory::OpenChunk;
use crate::error::{BlockError, Malformed};
use crate::format::Frame;
use crate::histograms::HistogramChunk;
use crate::rollup::{COLUMNS, RollupBuffer, stored_column};
use crate::times::{PageTimes, PatternChunk, Steps};
use crate::tombstones::Tombstones;

/// A reader that passes through gives pages of the file back in parts of this size.
const RELEASE_BYTES: usize = 1 << 20;

/// Reads samples of one block, tombstones already applied. For one thread at a time; a block may have many readers.
pub struct Reader {
    shared: Arc<Shared>,
    tombstones: Arc<Tombstones>,
    columns: [OpenColumn; COLUMNS],
    patterns: OpenPatterns,
    /// The chunk of histograms that was used last, and its number in the table.
    histograms: Option<(usize, HistogramChunk)>,
    /// Counts, while an average is computed.
    spare: Vec<f64>,
    /// Whether what was read will not be read again.
    passing: bool,
}

/// The chunk of a column that was used last.
#[derive(Default)]
struct OpenColumn {
    /// Its number in the table, and where its body begins in the file.
    place: Option<(usize, usize)>,
    /// Whether the body was checked too.
    ready: bool,
    chunk: OpenChunk,
    /// Up to where pages of the file were given back.
    released: usize,
}

/// The pattern that was used last.
#[derive(Default)]
struct OpenPatterns {
    /// The number of its first pattern, where it begins in the file, and itself.
    chunk: Option<(u32, usize, PatternChunk)>,
    number: Option<u32>,
    steps: Vec<i64>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            tombstones: shared.tombstones(),
            shared,
            columns: Default::default(),
            patterns: OpenPatterns::default(),
            histograms: None,
            spare: Vec::new(),
            passing: false,
        }
    }

    /// For reading all series once, in order: what was read stops counting as this process's memory.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// Appends the samples of a series within a range. Of a rollup, `column` says which of its values; raw samples have
    /// only themselves.
    ///
    /// # Errors
    /// When there is no such series, or a chunk of it is damaged: nothing is appended then.
    pub fn read(
        &mut self,
        ordinal: u32,
        range: TimeRange,
        column: Column,
        into: &mut SampleBuffer,
    ) -> Result<(), BlockError> {
        let rollup = self.shared.meta.resolution_ms != 0;
        let from = into.len();
        let stored = if rollup { stored_column(column) } else { 0 };
        let mut read = self.read_column(stored, ordinal, range, Some(&mut into.timestamps), &mut into.values);
        if rollup && column == Column::Average && read.is_ok() {
            let mut counts = std::mem::take(&mut self.spare);
            counts.clear();
            let count = stored_column(Column::Count);
            read = self.read_column(count, ordinal, range, None, &mut counts);
            if read.is_ok() && counts.len() != into.len() - from {
                read = Err(self.shared.corrupt(0, Malformed("the columns of a rollup differ in length")));
            }
            // What is no number keeps its bits: it may be a marker.
            let sums = into.values[from..].iter_mut().zip(&counts).filter(|(sum, _)| !sum.is_nan());
            sums.for_each(|(sum, count)| *sum /= count);
            self.spare = counts;
        }
        if read.is_err() {
            into.timestamps.truncate(from);
            into.values.truncate(from);
        }
        read.map(|()| self.tombstones.apply(ordinal, from, into))
    }

    /// Appends the native histograms of a series within a range.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read_histograms(
        &mut self,
        ordinal: u32,
        range: TimeRange,
        into: &mut HistogramBuffer,
    ) -> Result<(), BlockError> {
        let from = into.len();
        let shared = self.shared.clone();
        let read = self.each_histogram_chunk(ordinal, range, |entry, chunk| {
            let read = chunk.read(ordinal, range, into);
            read.map_err(|malformed| shared.corrupt(entry.place.offset, malformed))
        });
        if read.is_err() {
            into.truncate(from);
        }
        read.map(|()| self.tombstones.apply_to_histograms(ordinal, from, into))
    }

    /// Calls `each` for every chunk that may have histograms of a series within a range.
    fn each_histogram_chunk(
        &mut self,
        ordinal: u32,
        range: TimeRange,
        mut each: impl FnMut(ChunkEntry, &HistogramChunk) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let shared = self.shared.clone();
        let table = shared.histogram_chunks()?;
        for index in table.first_of(ordinal)..table.len() {
            let Some(entry) = table.get(index).filter(|entry| entry.series.0 <= ordinal) else { break };
            if entry.times.1 < range.start.0 || entry.times.0 > range.end.0 {
                continue;
            }
            let corrupt = |malformed| shared.corrupt(entry.place.offset, malformed);
            let held = self.histograms.take().filter(|(at, _)| *at == index).map(|(_, chunk)| chunk);
            let chunk = match held {
                Some(chunk) => chunk,
                None => HistogramChunk::open(shared.chunk_bytes(entry.place)?).map_err(corrupt)?,
            };
            if chunk.series() != Some(entry.series) {
                return Err(corrupt(Malformed("a chunk holds other series than its table says")));
            }
            each(entry, &chunk)?;
            self.histograms = Some((index, chunk));
        }
        Ok(())
    }

    /// Reads what was deleted, too.
    pub(crate) fn ignore_tombstones(&mut self) {
        self.tombstones = Arc::default();
    }

    /// Replaces `into` with the rows of a rolled up series within a range.
    ///
    /// # Errors
    /// As [`Reader::read`], and when the block is not a rollup. What is in `into` then is of no use.
    pub fn read_rollup(&mut self, ordinal: u32, range: TimeRange, into: &mut RollupBuffer) -> Result<(), BlockError> {
        into.clear();
        if self.shared.meta.resolution_ms == 0 {
            return Err(BlockError::invalid(&self.shared.path, "it holds raw samples, not a rollup"));
        }
        let (mut timestamps, mut rows) = (std::mem::take(&mut into.timestamps), 0);
        for (column, values) in into.columns_mut().into_iter().enumerate() {
            let mut samples = SampleBuffer { timestamps, values: std::mem::take(values) };
            samples.clear();
            self.read_column(column, ordinal, range, Some(&mut samples.timestamps), &mut samples.values)?;
            self.tombstones.apply(ordinal, 0, &mut samples);
            if column > 0 && samples.len() != rows {
                return Err(self.shared.corrupt(0, Malformed("the columns of a rollup differ in length")));
            }
            rows = samples.len();
            (timestamps, *values) = (samples.timestamps, samples.values);
        }
        into.timestamps = timestamps;
        Ok(())
    }

    /// The first and the last timestamp of a series, tombstones not considered.
    ///
    /// # Errors
    /// When there is no such series, or the part that describes it is damaged.
    pub fn time_range(&mut self, ordinal: u32) -> Result<(i64, i64), BlockError> {
        let mut range: Option<(i64, i64)> = None;
        self.each_page(0, ordinal, TimeRange::ALL, |column, _, pages| {
            let times = |at: usize| column.chunk.directory.pages[at].times;
            let (first, last) = (times(pages.start).first, times(pages.end - 1).last());
            range = Some(range.map_or((first, last), |known| (known.0, last)));
            Ok(())
        })?;
        self.each_histogram_chunk(ordinal, TimeRange::ALL, |_, chunk| {
            range = [range, chunk.span(ordinal)].into_iter().flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            Ok(())
        })?;
        let nothing = Malformed("a series has no samples");
        range.ok_or_else(|| self.shared.corrupt(0, nothing))
    }

    /// Appends what one column has of a series within a range.
    fn read_column(
        &mut self,
        column: usize,
        ordinal: u32,
        range: TimeRange,
        mut timestamps: Option<&mut Vec<i64>>,
        values: &mut Vec<f64>,
    ) -> Result<(), BlockError> {
        let shared = self.shared.clone();
        let mut patterns = std::mem::take(&mut self.patterns);
        let mut spare = Vec::new();
        let read = self.each_page(column, ordinal, range, |column, entry, pages| {
            let body = column.body(&shared, entry)?;
            for at in pages {
                let times = column.chunk.directory.pages[at].times;
                if times.last() < range.start.0 || times.first > range.end.0 {
                    continue;
                }
                spare.clear();
                let into = timestamps.as_deref_mut().unwrap_or(&mut spare);
                let (from, values_from) = (into.len(), values.len());
                patterns.append(&shared, &times, into)?;
                let decoded = column.chunk.read(at, body, values);
                decoded.map_err(|malformed| shared.corrupt(entry.place.offset, malformed))?;
                let end = into[from..].partition_point(|&t| t <= range.end.0);
                let start = into[from..from + end].partition_point(|&t| t < range.start.0);
                into.truncate(from + end);
                into.drain(from..from + start);
                values.truncate(values_from + end);
                values.drain(values_from..values_from + start);
            }
            Ok(())
        });
        self.patterns = patterns;
        read
    }

    /// Calls `each` for every chunk that has pages of a series within a range, its head read, with the numbers of those.
    fn each_page(
        &mut self,
        column: usize,
        ordinal: u32,
        range: TimeRange,
        mut each: impl FnMut(&mut OpenColumn, ChunkEntry, Range<usize>) -> Result<(), BlockError>,
    ) -> Result<(), BlockError> {
        let shared = self.shared.clone();
        if ordinal >= shared.series() {
            return Err(BlockError::invalid(&shared.path, "there is no such series"));
        }
        let table = shared.chunks(column)?;
        let open = &mut self.columns[column];
        for index in table.first_of(ordinal)..table.len() {
            let Some(entry) = table.get(index).filter(|entry| entry.series.0 <= ordinal) else { break };
            if entry.times.1 < range.start.0 || entry.times.0 > range.end.0 {
                continue;
            }
            open.seek(&shared, index, entry)?;
            if self.passing {
                open.release(&shared, entry.place.offset as usize);
            }
            let pages = &open.chunk.directory.pages;
            let first = pages.partition_point(|page| page.ordinal < ordinal);
            let last = first + pages[first..].partition_point(|page| page.ordinal == ordinal);
            if first < last {
                each(open, entry, first..last)?;
            }
        }
        Ok(())
    }
}

impl OpenColumn {
    /// Reads the head of a chunk, if it is not the one that was used last.
    fn seek(&mut self, shared: &Shared, index: usize, entry: ChunkEntry) -> Result<(), BlockError> {
        if self.place.as_ref().is_some_and(|(last, _)| *last == index) {
            return Ok(());
        }
        (self.place, self.ready) = (None, false);
        let bytes = shared.chunk_bytes(entry.place)?;
        let corrupt = |malformed| shared.corrupt(entry.place.offset, malformed);
        let frame = Frame::open(bytes).map_err(corrupt)?;
        self.chunk.directory.read(&frame).map_err(corrupt)?;
        let pages = &self.chunk.directory.pages;
        if pages.first().map(|page| page.ordinal) != Some(entry.series.0)
            || pages.last().map(|page| page.ordinal) != Some(entry.series.1)
        {
            return Err(corrupt(Malformed("a chunk holds other series than its table says")));
        }
        // Within the file, so it fits.
        let end = entry.place.offset as usize + bytes.len();
        self.place = Some((index, end - frame.body_bytes()));
        Ok(())
    }

    /// Gives back what lies before the chunk that is read now.
    fn release(&mut self, shared: &Shared, at: usize) {
        if at >= self.released.saturating_add(RELEASE_BYTES) {
            shared.bytes.release(self.released..at);
            self.released = at;
        }
    }

    /// The body of the chunk, checked when it is asked for first.
    fn body<'s>(&mut self, shared: &'s Shared, entry: ChunkEntry) -> Result<&'s [u8], BlockError> {
        let corrupt = |malformed| shared.corrupt(entry.place.offset, malformed);
        if !self.ready {
            let frame = Frame::open(shared.chunk_bytes(entry.place)?).map_err(corrupt)?;
            self.chunk.open(&frame, &shared.format).map_err(corrupt)?;
            self.ready = true;
        }
        // With what follows it in the file.
        let from = self.place.as_ref().map_or(0, |(_, body)| *body);
        Ok(&shared.bytes[from..])
    }
}

impl OpenPatterns {
    /// Appends the timestamps of a page.
    fn append(&mut self, shared: &Shared, times: &PageTimes, into: &mut Vec<i64>) -> Result<(), BlockError> {
        match times.steps {
            Steps::Regular(interval) => {
                let mut next = times.first;
                into.extend((0..times.count).map(|_| {
                    let timestamp = next;
                    next = next.wrapping_add(interval as i64);
                    timestamp
                }));
            }
            Steps::Pattern(number) => {
                self.load(shared, number)?;
                let mut last = times.first;
                into.push(last);
                into.extend(self.steps.iter().map(|step| {
                    last = last.wrapping_add(*step);
                    last
                }));
                if self.steps.len() + 1 != times.count as usize || last != times.last() {
                    return Err(shared.corrupt(0, Malformed("a pattern does not fit its page")));
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, shared: &Shared, number: u32) -> Result<(), BlockError> {
        if self.number == Some(number) {
            return Ok(());
        }
        self.number = None;
        let held = self
            .chunk
            .as_ref()
            .is_some_and(|(first, _, chunk)| number.checked_sub(*first).is_some_and(|at| (at as usize) < chunk.len()));
        if !held {
            let (first, place) = shared.pattern_chunk(number)?;
            let bytes = shared.chunk_bytes(place)?;
            let chunk = PatternChunk::open(bytes, &shared.format)
                .map_err(|malformed| shared.corrupt(place.offset, malformed))?;
            // Within the file, so it fits.
            self.chunk = Some((first, place.offset as usize, chunk));
        }
        if let Some((first, from, chunk)) = &mut self.chunk {
            let at = (number - *first) as usize;
            let read = chunk.read(&shared.bytes[*from..], at, &mut self.steps);
            read.map_err(|malformed| shared.corrupt(*from as u64, malformed))?;
            self.number = Some(number);
        }
        Ok(())
    }
}
