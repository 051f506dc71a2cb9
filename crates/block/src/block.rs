//! An open block.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use disk::{Disk, FileBytes};
use model::TimeRange;
use pco::wrapped::FileDecompressor;

use crate::bytes::Cursor;
use crate::catalog::Catalog;
use crate::error::{BlockError, Malformed};
use crate::format::{HEADER_BYTES, Refusal, Section, SectionKind, VERSION, read_outline, section_name};
use crate::meta::BlockMeta;
use crate::pack::open_format;
use crate::reader::Reader;
use crate::times::TABLE_ENTRY_BYTES;
use crate::tombstones::Tombstones;

/// Bytes of an entry of a table of chunks.
const CHUNK_ENTRY_BYTES: usize = 36;

/// A block that can be read, by any number of threads at once. A handle: cloning copies a pointer. The file stays readable
/// after it was removed from its folder.
///
/// Opening reads the first and the last bytes of the file. Each section is checked when it is used first, each chunk
/// whenever it is read.
#[derive(Clone)]
pub struct Block {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles share.
pub(crate) struct Shared {
    disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) bytes: FileBytes,
    pub(crate) meta: BlockMeta,
    pub(crate) format: FileDecompressor,
    /// Not found in any other index of this process.
    pub(crate) identity: u64,
    pub(crate) sections: Vec<(Section, OnceLock<Result<(), Malformed>>)>,
    catalog: OnceLock<Result<Catalog, BlockError>>,
    /// The first damage that was found by a call that cannot return it.
    pub(crate) fault: OnceLock<BlockError>,
    /// Replaced as a whole: readers keep those they began with.
    tombstones: RwLock<Arc<Tombstones>>,
    /// Held by whoever replaces the tombstones' file.
    deleting: Mutex<()>,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({})", self.shared.path.display())
    }
}

impl Block {
    /// Opens a block's file, and its tombstones where there are some.
    ///
    /// # Errors
    /// When it cannot be read, is no whole block, or was written by a newer version.
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, BlockError> {
        let bytes = disk.read(path).map_err(|error| BlockError::io(path, error))?;
        let sections = read_outline(&bytes).map_err(|refusal| match refusal {
            Refusal::Newer(found) => BlockError::NewerVersion { path: path.to_owned(), found, supported: VERSION },
            Refusal::Malformed(offset, malformed) => BlockError::corrupt(path, offset, malformed),
        })?;
        let sections: Vec<_> = sections.into_iter().map(|section| (section, OnceLock::new())).collect();
        let meta: BlockMeta = {
            let (offset, json) = checked(&bytes, &sections, SectionKind::Meta as u32)
                .map_err(|(offset, malformed)| BlockError::corrupt(path, offset, malformed))?;
            let malformed = Malformed("its description is not the JSON it should be");
            serde_json::from_slice(json).map_err(|_| BlockError::corrupt(path, offset, malformed))?
        };
        let offset = HEADER_BYTES as u64;
        let too_many = || BlockError::corrupt(path, offset, Malformed("it says to have more series than it can have"));
        // Each series has at least a bit of labels: what is allocated for so many never exceeds the file by far.
        let labels = sections.iter().find(|(section, _)| section.kind == SectionKind::Series as u32);
        let most = labels.map_or(0, |(section, _)| section.range.len() as u64 * 8);
        let series = u32::try_from(meta.series).ok().filter(|_| meta.series <= most).ok_or_else(too_many)?;
        let format = open_format(&bytes[12..14]).map_err(|malformed| BlockError::corrupt(path, 12, malformed))?;
        let tombstones = Tombstones::load(&*disk, path, series)?;
        let shared = Shared {
            disk,
            path: path.to_owned(),
            bytes,
            meta,
            format,
            // 64 bits that nobody can foresee: two indexes of one process never have the same.
            identity: RandomState::new().hash_one(path),
            sections,
            catalog: OnceLock::new(),
            fault: OnceLock::new(),
            tombstones: RwLock::new(Arc::new(tombstones)),
            deleting: Mutex::new(()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it says about itself.
    pub fn meta(&self) -> &BlockMeta {
        &self.shared.meta
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The file that holds its tombstones, if any were written. To be removed after the block's own.
    pub fn tombstones_path(&self) -> PathBuf {
        Tombstones::path_of(&self.shared.path)
    }

    /// The length of its file.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.len() as u64
    }

    /// How many bytes of the file are what: chunks of values and patterns first, then each section by its name.
    pub fn outline(&self) -> Vec<(String, u64)> {
        let sections = self.shared.sections.iter().map(|(section, _)| section);
        let chunks = sections.clone().map(|s| s.range.start).min().unwrap_or(0).saturating_sub(HEADER_BYTES);
        let named = |section: &Section| (section_name(section.kind), section.range.len() as u64);
        [("chunks".to_owned(), chunks as u64)].into_iter().chain(sections.map(named)).collect()
    }

    /// A reader of samples. Keep it for series that are read one after another: neighbours share what has to be decoded.
    pub fn reader(&self) -> Reader {
        Reader::new(self.shared.clone())
    }

    /// The first and the last timestamp of a series, tombstones not considered.
    ///
    /// # Errors
    /// When there is no such series, or the part that describes it is damaged.
    pub fn time_range(&self, ordinal: u32) -> Result<(i64, i64), BlockError> {
        self.reader().time_range(ordinal)
    }

    /// What is deleted now.
    pub fn tombstones(&self) -> Arc<Tombstones> {
        self.shared.tombstones()
    }

    /// Deletes spans of time of series. When this returns, they stay deleted after a power loss; readers that exist go on
    /// with what they began with.
    ///
    /// # Errors
    /// When a series is not there, or the disk does not take the file: nothing is deleted then.
    pub fn delete(&self, deletions: &[(u32, TimeRange)]) -> Result<(), BlockError> {
        let shared = &*self.shared;
        if deletions.iter().any(|&(ordinal, _)| ordinal >= shared.series()) {
            return Err(BlockError::invalid(&shared.path, "a series to delete from is not there"));
        }
        let _deleting = shared.deleting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tombstones = (*shared.tombstones()).clone();
        for &(ordinal, span) in deletions {
            tombstones.add(ordinal, span);
        }
        tombstones.store(&*shared.disk, &shared.path)?;
        *shared.tombstones.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tombstones);
        Ok(())
    }
}

impl Shared {
    /// How many series there are; checked to fit when the block was opened.
    pub(crate) fn series(&self) -> u32 {
        self.meta.series as u32
    }

    pub(crate) fn corrupt(&self, offset: u64, malformed: Malformed) -> BlockError {
        BlockError::corrupt(&self.path, offset, malformed)
    }

    pub(crate) fn tombstones(&self) -> Arc<Tombstones> {
        self.tombstones.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A section, checked when it is asked for first, and where it begins.
    pub(crate) fn section(&self, kind: u32) -> Result<(u64, &[u8]), BlockError> {
        checked(&self.bytes, &self.sections, kind).map_err(|(offset, malformed)| self.corrupt(offset, malformed))
    }

    /// The labels, read when they are asked for first.
    pub(crate) fn catalog(&self) -> Result<&Catalog, BlockError> {
        let read = || {
            let (offset, section) = self.section(SectionKind::Catalog as u32)?;
            Catalog::read(section).map_err(|malformed| self.corrupt(offset, malformed))
        };
        self.catalog.get_or_init(read).as_ref().map_err(BlockError::clone)
    }

    /// Where the chunks of a column are.
    pub(crate) fn chunks(&self, column: usize) -> Result<ChunkTable<'_>, BlockError> {
        self.chunk_table(SectionKind::Chunks as u32 + column as u32)
    }

    /// Where the chunks of histograms are.
    pub(crate) fn histogram_chunks(&self) -> Result<ChunkTable<'_>, BlockError> {
        if self.meta.histograms == 0 {
            return Ok(ChunkTable { bytes: &[] });
        }
        self.chunk_table(SectionKind::Histograms as u32)
    }

    fn chunk_table(&self, kind: u32) -> Result<ChunkTable<'_>, BlockError> {
        let (offset, bytes) = self.section(kind)?;
        if bytes.len().is_multiple_of(CHUNK_ENTRY_BYTES) {
            Ok(ChunkTable { bytes })
        } else {
            Err(self.corrupt(offset, Malformed("a table of chunks is cut short")))
        }
    }

    /// Where the chunk of patterns with a pattern is, and the number of its first one.
    pub(crate) fn pattern_chunk(&self, number: u32) -> Result<(u32, ChunkPlace), BlockError> {
        let (offset, table) = self.section(SectionKind::Patterns as u32)?;
        let missing = || self.corrupt(offset, Malformed("there is no such pattern"));
        let (mut low, mut high) = (0, table.len() / TABLE_ENTRY_BYTES);
        while low < high {
            let middle = low + (high - low) / 2;
            if pattern_entry(table, middle).map_err(|_| missing())?.0 <= number {
                low = middle + 1
            } else {
                high = middle
            }
        }
        pattern_entry(table, low.checked_sub(1).ok_or_else(missing)?).map_err(|_| missing())
    }

    /// The bytes of a chunk.
    pub(crate) fn chunk_bytes(&self, place: ChunkPlace) -> Result<&[u8], BlockError> {
        let from = usize::try_from(place.offset).ok();
        let bytes = from.and_then(|from| self.bytes.get(from..from.checked_add(place.length as usize)?));
        bytes.ok_or_else(|| self.corrupt(place.offset, Malformed("a chunk lies outside the file")))
    }
}

/// A section of a file whose outline was read.
fn checked<'a>(
    file: &'a [u8],
    sections: &[(Section, OnceLock<Result<(), Malformed>>)],
    kind: u32,
) -> Result<(u64, &'a [u8]), (u64, Malformed)> {
    let Some((section, state)) = sections.iter().find(|(section, _)| section.kind == kind) else {
        return Err((0, Malformed("a section is missing")));
    };
    let bytes = &file[section.range.clone()];
    let check = || {
        if crc32c::crc32c(bytes) == section.crc { Ok(()) } else { Err(Malformed("a section fails its checksum")) }
    };
    let offset = section.range.start as u64;
    state.get_or_init(check).map(|()| (offset, bytes)).map_err(|malformed| (offset, malformed))
}

/// Where a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkPlace {
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// An entry of the table of chunks of patterns: the number of its first pattern, and where it is.
pub(crate) fn pattern_entry(table: &[u8], index: usize) -> Result<(u32, ChunkPlace), Malformed> {
    let mut cursor = Cursor::at(table, index * TABLE_ENTRY_BYTES)?;
    let place = ChunkPlace { offset: cursor.u64()?, length: cursor.u32()? };
    Ok((cursor.u32()?, place))
}

/// Where a chunk of values is, and what is in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkEntry {
    pub(crate) place: ChunkPlace,
    /// The first series and the last.
    pub(crate) series: (u32, u32),
    /// The first timestamp and the last.
    pub(crate) times: (i64, i64),
}

/// The chunks of one column, in order of series and time.
#[derive(Clone, Copy)]
pub(crate) struct ChunkTable<'a> {
    bytes: &'a [u8],
}

impl ChunkTable<'_> {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / CHUNK_ENTRY_BYTES
    }

    /// `None` after the last.
    pub(crate) fn get(&self, index: usize) -> Option<ChunkEntry> {
        let mut cursor = Cursor::at(self.bytes, index.checked_mul(CHUNK_ENTRY_BYTES)?).ok()?;
        let mut entry = || {
            let place = ChunkPlace { offset: cursor.u64()?, length: cursor.u32()? };
            let (series, times) = ((cursor.u32()?, cursor.u32()?), (cursor.i64()?, cursor.i64()?));
            Ok::<_, Malformed>(ChunkEntry { place, series, times })
        };
        entry().ok()
    }

    /// The first chunk that may hold a series.
    pub(crate) fn first_of(&self, ordinal: u32) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(|entry| entry.series.1 < ordinal) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        low
    }
}
