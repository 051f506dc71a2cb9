//! A store's folder, looked at from outside.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use block::{BLOCK_SUFFIX, Block, BlockError};
use disk::{Disk, RealDisk};
use segment_log::{read, segments};

/// The parts of a folder that commands look at (docs/formats/store.md).
const VERSION_FILE: &str = "store.json";
const BLOCKS: &str = "blocks";
const WAL: &str = "wal";
const LOCK: &str = "lock";

/// A folder that holds a store.
#[derive(Debug)]
pub struct StoreFolder {
    path: PathBuf,
}

impl StoreFolder {
    /// Refuses what is no store, so that a mistyped path is not an empty one.
    pub fn find(path: &Path) -> Result<Self> {
        if !path.join(VERSION_FILE).is_file() {
            let hint = if path.join("chunks_head").is_dir() || path.join("wal/00000000").is_file() {
                "it looks like the data folder of a Prometheus, which `highwater tsdb import --from` reads"
            } else {
                "give the folder that a process has as --storage.path"
            };
            bail!("{} holds no store: it has no {VERSION_FILE}; {hint}", path.display());
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of blocks, sorted by name, which is by age.
    pub fn block_paths(&self) -> Result<Vec<PathBuf>> {
        let folder = self.path.join(BLOCKS);
        let entries = RealDisk.list(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let blocks = entries.into_iter().filter(|entry| entry.name.ends_with(BLOCK_SUFFIX));
        Ok(blocks.map(|entry| folder.join(entry.name)).collect())
    }

    /// Every block, or why it cannot be opened. Blocks whose content another one has taken over are left out, and those
    /// that went while we looked.
    pub fn blocks(&self) -> Result<Vec<Result<Block, BlockError>>> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut opened: Vec<Result<Block, BlockError>> = Vec::new();
        for path in self.block_paths()? {
            match Block::open(disk.clone(), &path) {
                Err(_) if !path.exists() => {}
                other => opened.push(other),
            }
        }
        let parents = opened.iter().flatten().flat_map(|block| block.meta().parents.clone());
        let replaced: std::collections::HashSet<String> = parents.collect();
        opened.retain(|block| block.as_ref().map_or(true, |block| !replaced.contains(&block.meta().id)));
        opened
            .sort_by_key(|block| block.as_ref().map_or((i64::MAX, 0), |b| (b.meta().min_time, b.meta().resolution_ms)));
        Ok(opened)
    }

    /// The folder of the write-ahead log.
    pub fn wal(&self) -> PathBuf {
        self.path.join(WAL)
    }

    /// How many bytes the write-ahead log has, with samples that are in no block yet. Zero when it holds no record.
    pub fn wal_bytes(&self) -> u64 {
        let found = segments(&RealDisk, &self.wal()).unwrap_or_default();
        let has_records = |segment| read(&RealDisk, segment).is_ok_and(|reader| reader.records().any(|r| r.is_ok()));
        if found.iter().any(has_records) { found.iter().map(|segment| segment.bytes).sum() } else { 0 }
    }

    /// What the process that has the store wrote of itself; `None` when nobody has it.
    pub fn owner(&self) -> Option<String> {
        let path = self.path.join(LOCK);
        // A shared lock excludes nobody who reads, and is let go at once.
        match File::open(&path).ok()?.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(fs::read_to_string(&path).unwrap_or_default().trim().to_owned()),
            _ => None,
        }
    }
}
