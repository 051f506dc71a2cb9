//! Writes a block that Prometheus, promtool, Thanos and Mimir read.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};

use model::{Labels, SampleBuffer, TimestampMs};
use ulid::Ulid;
use xxhash_rust::xxh3::Xxh3;

use crate::chunk_files::{ChunkWriter, FOLDER, XOR, sync_folder};
use crate::error::PrometheusError;
use crate::index_writer::{ChunkMeta, FILE as INDEX, IndexBuilder};
use crate::meta::{BlockFile, BlockMeta, BlockStats, Downsample, FILE as META, ThanosMeta};
use crate::tombstones::{FILE as TOMBSTONES, Tombstones};
use crate::xor::encode_xor;

/// Samples of a chunk, as Prometheus cuts them.
pub const CHUNK_SAMPLES: usize = 120;
/// Prometheus and Thanos remove folders with this ending when they start.
const UNFINISHED: &str = "tmp-for-creation";
/// Of an id, what is not its time.
const RANDOM_BITS: u32 = 80;

/// What a block is to say of itself.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Now: the time in the block's id.
    pub created: TimestampMs,
    /// External labels for Thanos; without them there is no `thanos` section.
    pub thanos_labels: Option<BTreeMap<String, String>>,
    /// What made the block, for the `thanos` section.
    pub source: String,
}

/// A block that is being written, in a folder of its own beside where it will stand. Dropped unfinished, it is removed.
pub struct ExportWriter {
    parent: PathBuf,
    folder: PathBuf,
    options: ExportOptions,
    chunks: Option<ChunkWriter>,
    index: IndexBuilder,
    /// Of everything that was added: the same content has the same id but for its time.
    content: Xxh3,
    last: Option<Labels>,
    stats: BlockStats,
    span: Option<(i64, i64)>,
    data: Vec<u8>,
    metas: Vec<ChunkMeta>,
    finished: bool,
}

impl ExportWriter {
    /// Begins a block in `parent`, which is created where it is missing.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn create(parent: &Path, options: ExportOptions) -> Result<Self, PrometheusError> {
        std::fs::create_dir_all(parent).map_err(PrometheusError::io(parent))?;
        let random = (u128::from(RandomState::new().hash_one(0)) << 64) | u128::from(RandomState::new().hash_one(1));
        let id = Ulid::from_parts(time_of(&options), random & random_mask());
        let folder = parent.join(format!("{id}.{UNFINISHED}"));
        std::fs::create_dir(&folder).map_err(PrometheusError::io(&folder))?;
        let mut content = Xxh3::new();
        for (name, value) in options.thanos_labels.iter().flatten() {
            [name, value].into_iter().for_each(|part| digest(&mut content, part.as_bytes()));
        }
        let mut out = Self {
            parent: parent.to_owned(),
            folder,
            options,
            chunks: None,
            index: IndexBuilder::default(),
            content,
            last: None,
            stats: BlockStats::default(),
            span: None,
            data: Vec::new(),
            metas: Vec::new(),
            finished: false,
        };
        out.chunks = Some(ChunkWriter::create(&out.folder)?);
        Ok(out)
    }

    /// Adds a series, after all that sort before it, with its samples in order of time. One without samples is left out.
    ///
    /// # Errors
    /// When series or samples are not in order, when two have the same labels, or when the disk refuses.
    pub fn add(&mut self, labels: &Labels, samples: &SampleBuffer) -> Result<(), PrometheusError> {
        let (Some(first), Some(last)) = (samples.timestamps.first(), samples.timestamps.last()) else { return Ok(()) };
        if self.last.as_ref().is_some_and(|before| before >= labels) {
            return Err(PrometheusError::Unordered(format!("the series {labels} does not sort after the one before")));
        }
        if !samples.timestamps.is_sorted_by(|a, b| a < b) {
            return Err(PrometheusError::Unordered(format!("the samples of {labels} are not in order of time")));
        }
        digest(&mut self.content, &[]);
        for (name, value) in labels.iter() {
            [name, value].into_iter().for_each(|part| digest(&mut self.content, part.as_bytes()));
        }
        self.metas.clear();
        let pieces = samples.timestamps.chunks(CHUNK_SAMPLES).zip(samples.values.chunks(CHUNK_SAMPLES));
        for (timestamps, values) in pieces {
            self.data.clear();
            encode_xor(timestamps, values, &mut self.data);
            digest(&mut self.content, &self.data);
            let (Some(chunks), [first, ..], [.., last]) = (&mut self.chunks, timestamps, timestamps) else { continue };
            let name = chunks.add(XOR, &self.data)?;
            self.metas.push(ChunkMeta { first: *first, last: *last, name });
        }
        self.index.add(labels, &self.metas);
        self.stats.num_samples += samples.len() as u64;
        self.stats.num_chunks += self.metas.len() as u64;
        self.stats.num_series += 1;
        self.span = Some(self.span.map_or((*first, *last), |(a, b)| (a.min(*first), b.max(*last))));
        self.last = Some(labels.clone());
        Ok(())
    }

    /// How many series there are so far.
    pub fn series_count(&self) -> usize {
        self.index.len()
    }

    /// The last sixteen characters of the block's id as it stands: a hash of what was added. A block with the same ones
    /// in its id holds the same.
    pub fn content_id(&self) -> String {
        Ulid::from_parts(0, self.content.digest128() & random_mask()).to_string().split_off(10)
    }

    /// Completes the block, makes it durable and gives it its name; `None` when it holds nothing. What it says of itself
    /// is returned with the folder.
    ///
    /// # Errors
    /// What the operating system says. Nothing is left behind then.
    pub fn finish(mut self) -> Result<Option<(BlockMeta, PathBuf)>, PrometheusError> {
        let (Some((first, last)), Some(chunks)) = (self.span, self.chunks.take()) else { return Ok(None) };
        let id = Ulid::from_parts(time_of(&self.options), self.content.digest128() & random_mask());
        let mut meta = BlockMeta::new(id, first, last.saturating_add(1), self.stats);
        let chunk_files = chunks.finish()?;
        let index_bytes = std::mem::take(&mut self.index).write(&self.folder)?;
        self.write_durably(TOMBSTONES, &Tombstones::empty_file())?;
        if let Some(labels) = self.options.thanos_labels.take() {
            meta.thanos = Some(thanos_section(labels, self.options.source.clone(), &chunk_files, index_bytes));
        }
        let path = self.folder.join(META);
        let text = serde_json::to_vec_pretty(&meta)
            .map_err(|error| PrometheusError::corrupt(&path, format!("cannot be written: {error}")))?;
        self.write_durably(META, &text)?;
        sync_folder(&self.folder)?;
        let place = self.parent.join(id.to_string());
        std::fs::rename(&self.folder, &place).map_err(PrometheusError::io(&place))?;
        self.finished = true;
        sync_folder(&self.parent)?;
        Ok(Some((meta, place)))
    }

    fn write_durably(&self, name: &str, bytes: &[u8]) -> Result<(), PrometheusError> {
        let path = self.folder.join(name);
        let write = || {
            let mut file = File::create_new(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(PrometheusError::io(&path))
    }
}

impl Drop for ExportWriter {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: Prometheus removes such folders too.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn time_of(options: &ExportOptions) -> u64 {
    u64::try_from(options.created.0).unwrap_or(0)
}

fn random_mask() -> u128 {
    (1 << RANDOM_BITS) - 1
}

/// Lengths go in too, so that parts cannot shift.
fn digest(content: &mut Xxh3, part: &[u8]) {
    content.update(&(part.len() as u64).to_le_bytes());
    content.update(part);
}

fn thanos_section(
    labels: BTreeMap<String, String>,
    source: String,
    chunk_files: &[(String, u64)],
    index_bytes: u64,
) -> ThanosMeta {
    let mut files: Vec<BlockFile> = chunk_files
        .iter()
        .map(|(name, size)| BlockFile { rel_path: format!("{FOLDER}/{name}"), size_bytes: *size })
        .collect();
    files.push(BlockFile { rel_path: INDEX.to_owned(), size_bytes: index_bytes });
    files.push(BlockFile { rel_path: META.to_owned(), size_bytes: 0 });
    ThanosMeta {
        version: 1,
        labels,
        downsample: Downsample { resolution: 0 },
        source,
        segment_files: chunk_files.iter().map(|(name, _)| name.clone()).collect(),
        files,
    }
}
