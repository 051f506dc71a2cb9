//! Reads a block: its series in order of labels, with their samples.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use model::{Labels, SampleBuffer, TimeRange, TimestampMs};
use ulid::Ulid;

use crate::chunk_files::{ChunkReader, FLOAT_HISTOGRAM, HISTOGRAM, XOR};
use crate::error::PrometheusError;
use crate::index_reader::IndexReader;
use crate::index_writer::ChunkMeta;
use crate::meta::{BlockMeta, FILE as META};
use crate::tombstones::Tombstones;
use crate::xor::decode_xor;

/// What of a block could not be represented, and was left out. Chunks count where they begin, so that reading a block in
/// spans of time counts each once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Chunks of native histograms.
    pub histogram_chunks: u64,
    /// Samples in them.
    pub histogram_samples: u64,
}

/// A block that is read from front to end, as often as one likes. Its memory: the symbols and a word per series.
#[derive(Debug)]
pub struct BlockReader {
    folder: PathBuf,
    meta: BlockMeta,
    index: IndexReader,
    chunks: ChunkReader,
    tombstones: Tombstones,
    next: usize,
    last: Option<Labels>,
    metas: Vec<ChunkMeta>,
    skipped: Skipped,
}

impl BlockReader {
    /// Opens a block's folder and checks everything but series and chunks, which are checked as they are read.
    ///
    /// # Errors
    /// When a file is missing, damaged, or of a version that is not read.
    pub fn open(folder: &Path) -> Result<Self, PrometheusError> {
        Ok(Self {
            folder: folder.to_owned(),
            meta: BlockMeta::read(folder)?,
            index: IndexReader::open(folder)?,
            chunks: ChunkReader::open(folder)?,
            tombstones: Tombstones::read(folder)?,
            next: 0,
            last: None,
            metas: Vec::new(),
            skipped: Skipped::default(),
        })
    }

    /// What the block says of itself.
    pub fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// How many series it holds.
    pub fn series_count(&self) -> usize {
        self.index.series_count()
    }

    /// What was left out since the block was opened or rewound.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// Goes back to the first series.
    pub fn rewind(&mut self) {
        (self.next, self.last, self.skipped) = (0, None, Skipped::default());
    }

    /// The next series; `samples` holds those of its samples within `range` then, which may be none. `None` after the
    /// last series.
    ///
    /// # Errors
    /// When this series is damaged. The next call goes on after it.
    pub fn next_series(
        &mut self,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Option<Result<Labels, PrometheusError>> {
        samples.clear();
        let reference = self.index.reference(self.next)?;
        self.next += 1;
        let read = self.read(reference, range, samples);
        if read.is_err() {
            samples.clear();
        }
        Some(read)
    }

    fn read(
        &mut self,
        reference: u32,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<Labels, PrometheusError> {
        self.metas.clear();
        let labels = self.index.series(reference, range, &mut self.metas)?;
        if self.last.as_ref().is_some_and(|last| last >= &labels) {
            let what = format!("the series {labels} does not sort after the one before");
            return Err(PrometheusError::corrupt(&self.folder, what));
        }
        self.last = Some(labels.clone());
        for meta in &self.metas {
            let (encoding, data) = self.chunks.read(meta.name)?;
            match encoding {
                XOR => decode_xor(data, samples).ok_or_else(|| damaged(&self.folder, &labels, meta.first))?,
                HISTOGRAM | FLOAT_HISTOGRAM if meta.first < range.start.0 => {}
                HISTOGRAM | FLOAT_HISTOGRAM => {
                    self.skipped.histogram_chunks += 1;
                    let count = data.first_chunk::<2>().map_or(0, |count| u16::from_be_bytes(*count));
                    self.skipped.histogram_samples += u64::from(count);
                }
                other => {
                    let what = format!("a chunk of {labels} has the encoding {other}, which is not known");
                    return Err(PrometheusError::unsupported(&self.folder, what));
                }
            }
        }
        keep_in_order(range, samples);
        self.tombstones.apply(u64::from(reference), samples);
        Ok(labels)
    }
}

fn damaged(folder: &Path, labels: &Labels, from: i64) -> PrometheusError {
    PrometheusError::corrupt(folder, format!("damaged samples of {labels} from {} on", TimestampMs(from)))
}

/// Drops what lies outside `range`. Chunks may overlap where Prometheus took samples late: then samples are sorted, and
/// of two at one time the first stays.
fn keep_in_order(range: TimeRange, samples: &mut SampleBuffer) {
    let inside = |t: &i64| (range.start.0..=range.end.0).contains(t);
    if samples.timestamps.is_sorted_by(|a, b| a < b) {
        let from = samples.timestamps.partition_point(|t| *t < range.start.0);
        let to = samples.timestamps.partition_point(|t| *t <= range.end.0);
        samples.timestamps.truncate(to);
        samples.values.truncate(to);
        samples.timestamps.drain(..from);
        samples.values.drain(..from);
        return;
    }
    let mut pairs: Vec<(i64, f64)> = samples.timestamps.iter().copied().zip(samples.values.iter().copied()).collect();
    pairs.retain(|(t, _)| inside(t));
    pairs.sort_by_key(|(t, _)| *t);
    pairs.dedup_by_key(|(t, _)| *t);
    (samples.timestamps, samples.values) = pairs.into_iter().unzip();
}

/// The blocks of a data folder, oldest first, without those that another block superseded. Folders that hold no
/// description (unfinished ones) are left out.
///
/// # Errors
/// When the folder cannot be listed, or a description cannot be read.
pub fn list_blocks(data: &Path) -> Result<Vec<(PathBuf, BlockMeta)>, PrometheusError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(data).map_err(PrometheusError::io(data))? {
        let path = entry.map_err(PrometheusError::io(data))?.path();
        let is_block = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| Ulid::from_string(n).is_ok());
        if is_block && path.join(META).is_file() {
            let meta = BlockMeta::read(&path)?;
            found.push((path, meta));
        }
    }
    let superseded: HashSet<String> =
        found.iter().flat_map(|(_, meta)| meta.compaction.parents.iter().map(|p| p.ulid.clone())).collect();
    found.retain(|(_, meta)| !superseded.contains(&meta.ulid));
    found.sort_by(|(_, a), (_, b)| (a.min_time, a.max_time, &a.ulid).cmp(&(b.min_time, b.max_time, &b.ulid)));
    Ok(found)
}
