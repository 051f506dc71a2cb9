//! Looks at every byte of a block, and says what is wrong with which.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use model::{Column, HistogramBuffer, SampleBuffer, TimeRange};

use crate::block::{Block, ChunkPlace, ChunkTable, Shared, pattern_entry};
use crate::catalog::{Catalog, Name};
use crate::error::BlockError;
use crate::format::{Frame, HEADER_BYTES, SectionKind, section_name};
use crate::index::{Index, LabelScratch};
use crate::rollup::{COLUMNS, RollupBuffer};
use crate::series::SeriesCursor;
use crate::times::{PatternChunk, TABLE_ENTRY_BYTES};

/// More findings than this are not listed: one bad section makes many.
const FINDINGS: usize = 100;

/// Something that is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, as far as that is known.
    pub offset: u64,
    /// The series that cannot be read or trusted; `None` where it is not one of them.
    pub series: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.path.display(), self.offset, self.what)?;
        self.series.as_ref().map_or(Ok(()), |series| write!(f, " (series {series})"))
    }
}

impl Block {
    /// Checks everything: all checksums, that the file has no byte that nothing knows of, that every sample can be decoded,
    /// all orders and counts, and that index and series say the same. Reads the whole file; memory grows with its series.
    pub fn verify(&self) -> Vec<Damage> {
        let mut verifier = Verifier { block: self, shared: &self.shared, found: Vec::new() };
        verifier.sections();
        verifier.chunks();
        verifier.series();
        // `None` when something prevented it, which is among the findings then.
        let _ = verifier.index();
        verifier.samples();
        verifier.found
    }
}

/// Shapes and values of all series.
#[derive(Default)]
struct AllIds {
    /// The shape of each series, and where its values begin.
    starts: Vec<(u32, usize)>,
    values: Vec<u32>,
}

impl AllIds {
    fn value(&self, catalog: &Catalog, ordinal: u32, name: u32) -> Option<u32> {
        let (shape, start) = *self.starts.get(ordinal as usize)?;
        let at = catalog.shapes.get(shape as usize)?.binary_search(&name).ok()?;
        self.values.get(start + at).copied()
    }
}

struct Verifier<'a> {
    block: &'a Block,
    shared: &'a Shared,
    found: Vec<Damage>,
}

impl<'a> Verifier<'a> {
    fn report(&mut self, offset: u64, series: Option<String>, what: impl Into<String>) {
        let damage = Damage { path: self.shared.path.clone(), offset, series, what: what.into() };
        if self.found.len() < FINDINGS && !self.found.contains(&damage) {
            self.found.push(damage);
        }
    }

    /// Passes a result on, or its error to the findings.
    fn note<T>(&mut self, result: Result<T, BlockError>, series: impl FnOnce() -> Option<String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(BlockError::Corrupt { offset, what, .. }) => {
                self.report(offset, series(), what);
                None
            }
            Err(error) => {
                self.report(0, series(), error.to_string());
                None
            }
        }
    }

    fn sections(&mut self) {
        let shared = self.shared;
        for (section, _) in &shared.sections {
            if let Err(error) = shared.section(section.kind) {
                self.note::<()>(Err(error), || None);
                let (start, name) = (section.range.start as u64, section_name(section.kind));
                self.report(start, None, format!("the section of {name} is damaged"));
            }
        }
    }

    /// The columns that a block of this kind has.
    fn columns(&self) -> usize {
        if self.shared.meta.resolution_ms == 0 { 1 } else { COLUMNS }
    }

    /// Chunks lie side by side from the header to the first section, and every head and body has its checksum.
    fn chunks(&mut self) {
        let shared = self.shared;
        let mut places: Vec<Range<u64>> = Vec::new();
        let mut chunks = 0;
        let columns = (0..self.columns()).map(|column| shared.chunks(column));
        let tables: Vec<Result<ChunkTable<'_>, BlockError>> = columns.chain([shared.histogram_chunks()]).collect();
        for table in tables {
            let Some(table) = self.note(table, || None) else { return };
            chunks += table.len() as u64;
            let mut last = None;
            for entry in (0..table.len()).map_while(|index| table.get(index)) {
                places.push(entry.place.offset..entry.place.offset.saturating_add(u64::from(entry.place.length)));
                if last.is_some_and(|last| last > entry.series.0) || entry.series.0 > entry.series.1 {
                    self.report(entry.place.offset, None, "chunks are not in order of series");
                }
                last = Some(entry.series.1);
                self.frame(entry.place);
            }
        }
        if chunks != shared.meta.chunks {
            self.report(0, None, "it has another number of chunks than it says");
        }
        let Some((_, table)) = self.note(shared.section(SectionKind::Patterns as u32), || None) else { return };
        let mut next = 0;
        for index in 0..table.len().div_ceil(TABLE_ENTRY_BYTES) {
            let entry = pattern_entry(table, index).map_err(|malformed| shared.corrupt(0, malformed));
            let Some((first, place)) = self.note(entry, || None) else { return };
            places.push(place.offset..place.offset.saturating_add(u64::from(place.length)));
            if first != next {
                self.report(place.offset, None, "patterns are not numbered one after another");
            }
            next = first.saturating_add(self.patterns(place));
        }
        places.sort_unstable_by_key(|place| place.start);
        let mut at = HEADER_BYTES as u64;
        for place in places {
            if place.start != at {
                self.report(at, None, "chunks overlap, or bytes between them belong to nothing");
            }
            at = place.end;
        }
        if shared.sections.iter().map(|(section, _)| section.range.start as u64).min() != Some(at) {
            self.report(at, None, "bytes after the last chunk belong to nothing");
        }
    }

    /// Checks both checksums of a chunk.
    fn frame(&mut self, place: ChunkPlace) {
        let shared = self.shared;
        let corrupt = |malformed| shared.corrupt(place.offset, malformed);
        let check = || {
            let frame = Frame::open(shared.chunk_bytes(place)?).map_err(corrupt)?;
            frame.body().map(|_| ()).map_err(corrupt)
        };
        self.note(check(), || None);
    }

    /// Decodes all patterns of a chunk and returns how many there are.
    fn patterns(&mut self, place: ChunkPlace) -> u32 {
        let shared = self.shared;
        let corrupt = |malformed| shared.corrupt(place.offset, malformed);
        let decode = || {
            let bytes = shared.chunk_bytes(place)?;
            let mut chunk = PatternChunk::open(bytes, &shared.format).map_err(corrupt)?;
            let mut steps = Vec::new();
            for index in 0..chunk.len() {
                chunk.read(bytes, index, &mut steps).map_err(corrupt)?;
            }
            Ok(chunk.len() as u32)
        };
        self.note(decode(), || None).unwrap_or(0)
    }

    /// The labels of all series can be read and ascend.
    fn series(&mut self) {
        let shared = self.shared;
        let (mut last, mut scratch) = (None, LabelScratch::default());
        for ordinal in 0..shared.series() {
            let read = self.block.labels_into(ordinal, &mut scratch);
            if self.note(read, || Some(format!("number {ordinal}"))).is_none() {
                return;
            }
            let Some(labels) = scratch.labels() else {
                self.report(0, Some(format!("number {ordinal}")), "the labels of a series are not in order");
                return;
            };
            if last.is_some_and(|last| last >= labels) {
                self.report(0, Some(labels.to_string()), "series are not in order of their labels");
            }
            last = Some(labels);
        }
    }

    /// The lists of all values name exactly the series that have them. `None` when they cannot be read.
    fn index(&mut self) -> Option<()> {
        let index = self.note(self.shared.index(), || None)?;
        let ids = self.all_ids(&index)?;
        let (mut listed, mut list) = (0, Vec::new());
        for (number, name) in index.catalog.names.iter().enumerate() {
            let mut series = 0;
            for value in 0..name.values {
                list.clear();
                self.note(index.list(name, value, &mut list), || None)?;
                series += list.len();
                let has = |ordinal: &u32| ids.value(index.catalog, *ordinal, number as u32) == Some(value);
                if list.is_empty() || !list.iter().all(has) {
                    self.report(
                        0,
                        None,
                        format!("the series of a value of label {:?} are not those that have it", name.text),
                    );
                }
            }
            listed += series;
            if series != name.series as usize {
                self.report(0, None, format!("label {:?} has another number of series than it says", name.text));
            }
            self.symbols(&index, name);
        }
        if listed != ids.values.len() {
            self.report(0, None, "some series are not listed under all their labels");
        }
        Some(())
    }

    /// The labels of all series as numbers.
    fn all_ids(&mut self, index: &Index<'_>) -> Option<AllIds> {
        let (mut all, mut cursor) = (AllIds::default(), SeriesCursor::default());
        for ordinal in 0..self.shared.series() {
            let read = index.ids(&mut cursor, ordinal);
            let series = self.note(read, || Some(format!("number {ordinal}")))?;
            all.starts.push((series.shape, all.values.len()));
            all.values.extend_from_slice(&series.values);
        }
        Some(all)
    }

    /// The values of a label ascend, and there are as many as it says.
    fn symbols(&mut self, index: &Index<'_>, name: &Name) {
        let (mut count, mut ascend, mut last) = (0, true, String::new());
        let mut look = |_, text: &str| {
            ascend &= *last < *text;
            text.clone_into(&mut last);
            count += 1;
            true
        };
        let read = index.symbols(name).each("", &mut look).map_err(|malformed| index.value_error(malformed));
        if self.note(read, || None).is_some() && (!ascend || count != name.values) {
            self.report(0, None, format!("the values of label {:?} are not in order", name.text));
        }
    }

    /// Every sample can be decoded, timestamps ascend and lie where the block says, and there are as many as it says.
    fn samples(&mut self) {
        let shared = self.shared;
        let (mut reader, mut samples, mut rows) =
            (self.block.reader().passing(), SampleBuffer::default(), RollupBuffer::default());
        reader.ignore_tombstones();
        let mut histograms = HistogramBuffer::default();
        let (mut total, mut first, mut last, mut whole) = ((0, 0), i64::MAX, i64::MIN, true);
        for ordinal in 0..shared.series() {
            samples.clear();
            histograms.clear();
            let read = if shared.meta.resolution_ms == 0 {
                reader.read(ordinal, TimeRange::ALL, Column::Last, &mut samples)
            } else {
                reader.read_rollup(ordinal, TimeRange::ALL, &mut rows).map(|()| {
                    std::mem::swap(&mut samples.timestamps, &mut rows.timestamps);
                })
            };
            let name =
                || Some(self.block.labels(ordinal).map_or_else(|_| format!("number {ordinal}"), |l| l.to_string()));
            let read = read.and_then(|()| reader.read_histograms(ordinal, TimeRange::ALL, &mut histograms));
            if self.note(read, name).is_none() {
                whole = false;
                continue;
            }
            let columns = [&samples.timestamps, &histograms.timestamps];
            if columns.iter().all(|times| times.is_empty())
                || columns.iter().any(|times| !times.is_sorted_by(|a, b| a < b))
            {
                self.report(0, name(), "its timestamps do not ascend, or it has none");
            }
            total = (total.0 + samples.timestamps.len() as u64, total.1 + histograms.len() as u64);
            for times in columns {
                first = first.min(times.first().copied().unwrap_or(first));
                last = last.max(times.last().copied().unwrap_or(last));
            }
        }
        let meta = &shared.meta;
        let told = ((meta.samples, meta.histograms), meta.min_time, meta.max_time);
        if whole && (total, first, last) != told {
            self.report(0, None, "it has other samples than it says");
        }
    }
}
