//! Writes a block: chunks as they fill, the index at the end, a rename when all of it is on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::{Disk, OpenFile};
use model::{HistogramBuffer, Labels, METRIC_NAME, SampleBuffer};

use crate::chunk::{ChunkBuilder, Extent};
use crate::error::BlockError;
use crate::format::{Section, SectionKind, footer, header};
use crate::histograms::HistogramChunk;
use crate::indexer::Indexer;
use crate::meta::{BlockDraft, BlockMeta, new_id};
use crate::pack::format_header;
use crate::rollup::{COLUMNS, RollupBuffer};
use crate::times::{MAX_PAGE_SAMPLES, PatternWriter};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// The end of the name of a block's file.
pub const BLOCK_SUFFIX: &str = ".block";

/// Writes one block. Dropped without [`BlockWriter::finish`], it leaves nothing behind.
///
/// Series are added in strictly ascending order of labels, each with its samples in strictly ascending order of time; all
/// of them either raw or rolled up, as the draft's resolution says. Memory grows with the series and their label values,
/// not with samples.
pub struct BlockWriter {
    out: Output,
    meta: BlockMeta,
    indexer: Indexer,
    patterns: PatternWriter,
    pattern_table: Vec<u8>,
    /// Raw samples have one column; rollups have [`COLUMNS`].
    columns: Vec<Column>,
    histograms: HistogramChunk,
    histogram_table: Vec<u8>,
    /// After an error nothing more is taken.
    failed: bool,
}

/// Chunks of one column, and where they are.
#[derive(Default)]
struct Column {
    builder: ChunkBuilder,
    table: Vec<u8>,
}

impl BlockWriter {
    /// Begins a block in a folder.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(disk: Arc<dyn Disk>, folder: &Path, draft: BlockDraft) -> Result<Self, BlockError> {
        let id = new_id(draft.now_ms);
        let path = folder.join(format!("{id}{BLOCK_SUFFIX}"));
        let columns = if draft.resolution_ms == 0 { 1 } else { COLUMNS };
        let pco_version = format_header().map_err(|malformed| BlockError::corrupt(&path, 0, malformed))?;
        Ok(Self {
            out: Output::create(disk, path, header(pco_version))?,
            meta: BlockMeta {
                id,
                min_time: i64::MAX,
                max_time: i64::MIN,
                series: 0,
                samples: 0,
                histograms: 0,
                chunks: 0,
                level: draft.level,
                resolution_ms: draft.resolution_ms,
                parents: draft.parents,
                created_ms: draft.now_ms,
            },
            indexer: Indexer::default(),
            patterns: PatternWriter::new(),
            pattern_table: Vec::new(),
            columns: (0..columns).map(|_| Column::default()).collect(),
            histograms: HistogramChunk::default(),
            histogram_table: Vec::new(),
            failed: false,
        })
    }

    /// Adds a series of raw samples; one without samples is left out.
    ///
    /// # Errors
    /// When series or samples are out of order, or the disk does not take them. Nothing more can be added then.
    pub fn add(&mut self, labels: &Labels, samples: &SampleBuffer) -> Result<(), BlockError> {
        self.add_with_histograms(labels, samples, &HistogramBuffer::default())
    }

    /// Adds a series of raw samples and native histograms; one that has neither is left out.
    ///
    /// # Errors
    /// As [`BlockWriter::add`].
    pub fn add_with_histograms(
        &mut self,
        labels: &Labels,
        samples: &SampleBuffer,
        histograms: &HistogramBuffer,
    ) -> Result<(), BlockError> {
        self.add_columns(labels, &samples.timestamps, &[&samples.values], histograms)
    }

    /// Adds a series of a rollup; one without rows is left out.
    ///
    /// # Errors
    /// As [`BlockWriter::add`].
    pub fn add_rollup(&mut self, labels: &Labels, rows: &RollupBuffer) -> Result<(), BlockError> {
        self.add_columns(labels, &rows.timestamps, &rows.columns(), &HistogramBuffer::default())
    }

    fn add_columns(
        &mut self,
        labels: &Labels,
        timestamps: &[i64],
        columns: &[&Vec<f64>],
        histograms: &HistogramBuffer,
    ) -> Result<(), BlockError> {
        if columns.len() != self.columns.len() {
            return Err(self.out.invalid("raw samples and rollups do not share a block"));
        }
        if self.failed {
            return Err(self.out.invalid("writing it failed before"));
        }
        let differ = histograms.timestamps.len() != histograms.histograms.len();
        if differ || columns.iter().any(|column| column.len() != timestamps.len()) {
            return Err(self.out.invalid("timestamps and values differ in number"));
        }
        if !timestamps.is_sorted_by(|a, b| a < b) || !histograms.timestamps.is_sorted_by(|a, b| a < b) {
            return Err(self.out.invalid("samples are not in strictly ascending order of time"));
        }
        if self.indexer.series() > 0 && self.indexer.last() >= labels {
            return Err(self.out.invalid("series are not in strictly ascending order of labels"));
        }
        let ends = |times: &[i64]| times.first().copied().zip(times.last().copied());
        let spans = [ends(timestamps), ends(&histograms.timestamps)];
        if spans == [None, None] {
            return Ok(());
        }
        self.failed = true;
        self.add_checked(labels, timestamps, columns, histograms)?;
        self.failed = false;
        for (first, last) in spans.into_iter().flatten() {
            self.meta.min_time = self.meta.min_time.min(first);
            self.meta.max_time = self.meta.max_time.max(last);
        }
        self.meta.series += 1;
        self.meta.samples += timestamps.len() as u64;
        self.meta.histograms += histograms.len() as u64;
        Ok(())
    }

    fn add_checked(
        &mut self,
        labels: &Labels,
        timestamps: &[i64],
        columns: &[&Vec<f64>],
        histograms: &HistogramBuffer,
    ) -> Result<(), BlockError> {
        let metric = labels.get(METRIC_NAME);
        let changes = self.indexer.series() > 0 && self.indexer.last().get(METRIC_NAME) != metric;
        let ordinal = self.indexer.push(labels).map_err(|malformed| self.out.invalid(malformed.0))?;
        // Pages of about the same length, none above the limit.
        let pages = timestamps.len().div_ceil(MAX_PAGE_SAMPLES);
        for page in 0..pages {
            let range = timestamps.len() * page / pages..timestamps.len() * (page + 1) / pages;
            let times = self.patterns.describe(&timestamps[range.clone()]);
            for (column, values) in columns.iter().enumerate() {
                if self.columns[column].builder.is_full(ordinal, range.len(), changes && page == 0) {
                    self.flush(column)?;
                }
                self.columns[column].builder.push(ordinal, times, &values[range.clone()]);
            }
            if self.patterns.is_full() {
                self.flush_patterns()?;
            }
        }
        for (timestamp, histogram) in histograms.iter() {
            if self.histograms.is_full() {
                self.flush_histograms()?;
            }
            self.histograms.push(ordinal, timestamp, histogram);
        }
        Ok(())
    }

    /// Writes the chunk of a column, if there is one.
    fn flush(&mut self, column: usize) -> Result<(), BlockError> {
        let Column { builder, table } = &mut self.columns[column];
        let (offset, from) = (self.out.offset, self.out.pending.len());
        let extent = builder.finish(&mut self.out.pending).map_err(|malformed| self.out.invalid(malformed.0))?;
        if let Some(extent) = extent {
            list(table, offset, self.out.pending.len() - from, extent);
            self.meta.chunks += 1;
            self.out.wrote(from)?;
        }
        Ok(())
    }

    /// Writes the chunk of histograms, if there is one.
    fn flush_histograms(&mut self) -> Result<(), BlockError> {
        let (offset, from) = (self.out.offset, self.out.pending.len());
        let extent =
            self.histograms.finish(&mut self.out.pending).map_err(|malformed| self.out.invalid(malformed.0))?;
        if let Some(extent) = extent {
            list(&mut self.histogram_table, offset, self.out.pending.len() - from, extent);
            self.meta.chunks += 1;
            self.out.wrote(from)?;
        }
        Ok(())
    }

    fn flush_patterns(&mut self) -> Result<(), BlockError> {
        let chunk = self.patterns.take().map_err(|malformed| self.out.invalid(malformed.0))?;
        if let Some((first, bytes)) = chunk {
            self.pattern_table.extend_from_slice(&self.out.offset.to_le_bytes());
            self.pattern_table.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            self.pattern_table.extend_from_slice(&first.to_le_bytes());
            self.out.append(&bytes)?;
        }
        Ok(())
    }

    /// Writes what is left, flushes the file, and gives it its name. When this returns, the block survives a power loss.
    ///
    /// # Errors
    /// When there are no series, a series was refused by the disk before, or the disk fails now. Nothing is left behind,
    /// unless only flushing the folder failed.
    pub fn finish(mut self) -> Result<BlockMeta, BlockError> {
        if self.failed || self.meta.series == 0 {
            return Err(self.out.invalid("a block needs at least one series, and every write to have succeeded"));
        }
        for column in 0..self.columns.len() {
            self.flush(column)?;
        }
        self.flush_patterns()?;
        self.flush_histograms()?;
        let index = self.indexer.finish().map_err(|malformed| self.out.invalid(malformed.0))?;
        // Plain data: there is nothing in it that JSON could not hold.
        let meta = serde_json::to_vec(&self.meta).map_err(|_| self.out.invalid("its description is not JSON"))?;
        let mut sections = Vec::new();
        for (kind, bytes) in [
            (SectionKind::Values, &index.values),
            (SectionKind::Postings, &index.postings),
            (SectionKind::Series, &index.series),
            (SectionKind::Catalog, &index.catalog),
            (SectionKind::Patterns, &self.pattern_table),
            (SectionKind::Meta, &meta),
        ] {
            sections.push(self.out.section(kind as u32, bytes)?);
        }
        for (number, column) in self.columns.iter().enumerate() {
            sections.push(self.out.section(SectionKind::Chunks as u32 + number as u32, &column.table)?);
        }
        if !self.histogram_table.is_empty() {
            sections.push(self.out.section(SectionKind::Histograms as u32, &self.histogram_table)?);
        }
        let footer = footer(&self.out.header, &sections);
        self.out.append(&footer)?;
        self.out.publish()?;
        Ok(self.meta)
    }
}

/// Adds a chunk to a table.
fn list(table: &mut Vec<u8>, offset: u64, length: usize, Extent { series, times }: Extent) {
    table.extend_from_slice(&offset.to_le_bytes());
    table.extend_from_slice(&(length as u32).to_le_bytes());
    table.extend_from_slice(&series.0.to_le_bytes());
    table.extend_from_slice(&series.1.to_le_bytes());
    table.extend_from_slice(&times.0.to_le_bytes());
    table.extend_from_slice(&times.1.to_le_bytes());
}

/// The file being written.
struct Output {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    temporary: PathBuf,
    file: Arc<dyn OpenFile>,
    header: [u8; crate::format::HEADER_BYTES],
    pending: Vec<u8>,
    /// Where the next byte goes.
    offset: u64,
    published: bool,
}

impl Output {
    fn create(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        header: [u8; crate::format::HEADER_BYTES],
    ) -> Result<Self, BlockError> {
        let mut temporary = path.clone().into_os_string();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = disk.create(&temporary).map_err(|error| BlockError::io(&temporary, error))?;
        let (pending, offset) = (header.to_vec(), header.len() as u64);
        Ok(Self { disk, path, temporary, file, header, pending, offset, published: false })
    }

    fn invalid(&self, what: &'static str) -> BlockError {
        BlockError::invalid(&self.path, what)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        let from = self.pending.len();
        self.pending.extend_from_slice(bytes);
        self.wrote(from)
    }

    /// Counts what was put into `pending` from there on, and hands it to the file now and then.
    fn wrote(&mut self, from: usize) -> Result<(), BlockError> {
        self.offset += (self.pending.len() - from) as u64;
        if self.pending.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), BlockError> {
        self.file.append(&self.pending).map_err(|error| BlockError::io(&self.temporary, error))?;
        self.pending.clear();
        Ok(())
    }

    fn section(&mut self, kind: u32, bytes: &[u8]) -> Result<Section, BlockError> {
        let invalid = |_| self.invalid("it does not fit this machine's memory");
        let start = usize::try_from(self.offset).map_err(invalid)?;
        self.append(bytes)?;
        Ok(Section { kind, crc: crc32c::crc32c(bytes), range: start..start + bytes.len() })
    }

    fn publish(&mut self) -> Result<(), BlockError> {
        self.write()?;
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| BlockError::io(&path, error)
        };
        self.file.sync().map_err(io(&self.temporary))?;
        self.disk.rename(&self.temporary, &self.path).map_err(io(&self.path))?;
        self.published = true;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        self.disk.sync_folder(folder).map_err(io(folder))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed by whoever opens the folder next: its name says that it is half done.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}
