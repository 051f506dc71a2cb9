//! Which blocks there are. A reader takes the list as it is at one moment and holds on to its blocks; changes make a new list.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use block::{BLOCK_SUFFIX, Block, BlockError, BlockMeta, ErrorClass, TOMBSTONES_SUFFIX};
use disk::Disk;
use model::TimeRange;

use crate::layers::Coverage;
use crate::rows::window_end;

/// The blocks at one moment.
#[derive(Default, Clone)]
pub(crate) struct Catalogue {
    /// Raw samples, in order of their first.
    pub(crate) raw: Vec<Block>,
    /// Rollups, in order of resolution and first row.
    pub(crate) rollups: Vec<Block>,
}

pub(crate) fn overlaps(meta: &BlockMeta, range: TimeRange) -> bool {
    meta.min_time <= range.end.0 && meta.max_time >= range.start.0
}

impl Catalogue {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Block> + Clone {
        self.raw.iter().chain(&self.rollups)
    }

    /// The list without some blocks and with some more.
    pub(crate) fn replaced(&self, without: &[String], with: Vec<Block>) -> Self {
        let mut all: Vec<Block> = self.all().filter(|b| !without.contains(&b.meta().id)).cloned().collect();
        all.extend(with);
        Self::of(all)
    }

    pub(crate) fn of(all: Vec<Block>) -> Self {
        let (mut raw, mut rollups): (Vec<_>, Vec<_>) = all.into_iter().partition(|b| b.meta().resolution_ms == 0);
        raw.sort_by(|a, b| (a.meta().min_time, &a.meta().id).cmp(&(b.meta().min_time, &b.meta().id)));
        rollups.sort_by_key(|b| (b.meta().resolution_ms, b.meta().min_time));
        Self { raw, rollups }
    }

    /// The blocks of a resolution (zero: raw) that have something within a range, in order of their first sample.
    pub(crate) fn within(&self, resolution: i64, range: TimeRange) -> impl Iterator<Item = &Block> + Clone {
        let list = if resolution == 0 { &self.raw } else { &self.rollups };
        list.iter().filter(move |b| b.meta().resolution_ms == resolution && overlaps(b.meta(), range))
    }

    /// The time of the newest sample; the end of the newest window where only rollups are left.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.all().map(|b| b.meta().max_time).max()
    }

    /// The newest raw sample.
    pub(crate) fn newest_raw(&self) -> Option<i64> {
        self.raw.iter().map(|b| b.meta().max_time).max()
    }

    /// The oldest sample, or the oldest window of a rollup.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.all().map(|b| b.meta().min_time).min()
    }

    /// The latest time at which one of them was written.
    pub(crate) fn last_created(&self) -> Option<i64> {
        self.all().map(|b| b.meta().created_ms).max()
    }

    /// Which times the rollups have, ascending by resolution.
    pub(crate) fn coverages(&self) -> Vec<Coverage> {
        let mut out: Vec<Coverage> = Vec::new();
        for block in &self.rollups {
            let meta = block.meta();
            let first = window_end(meta.min_time, meta.resolution_ms) - meta.resolution_ms + 1;
            if out.last().is_none_or(|c| c.resolution != meta.resolution_ms) {
                out.push(Coverage { resolution: meta.resolution_ms, spans: Vec::new() });
            }
            let Some(coverage) = out.last_mut() else { continue };
            match coverage.spans.last_mut() {
                Some(span) if first <= span.1.saturating_add(1) => span.1 = span.1.max(meta.max_time),
                _ => coverage.spans.push((first, meta.max_time)),
            }
        }
        out
    }
}

/// What opening a folder of blocks found.
#[derive(Default)]
pub(crate) struct Opened {
    pub(crate) blocks: Vec<Block>,
    /// Files that are damaged, and how.
    pub(crate) damaged: Vec<BlockError>,
    /// Blocks whose content others took over before a crash kept them from being removed.
    pub(crate) replaced: Vec<Block>,
    /// Tombstones of blocks that are gone.
    pub(crate) orphans: Vec<PathBuf>,
}

/// Opens every block of a folder. Changes nothing.
///
/// # Errors
/// When a block is from a newer version, or the disk fails: not when it is damaged.
pub(crate) fn open_all(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Opened, BlockError> {
    let mut opened = Opened::default();
    let entries = match disk.list(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(opened),
        Err(error) => return Err(BlockError::Io { path: folder.to_owned(), source: Arc::new(error) }),
    };
    let ids: BTreeSet<&str> = entries.iter().filter_map(|entry| entry.name.strip_suffix(BLOCK_SUFFIX)).collect();
    for id in &ids {
        match Block::open(disk.clone(), &folder.join(format!("{id}{BLOCK_SUFFIX}"))) {
            Ok(block) => opened.blocks.push(block),
            Err(error) if error.class() == ErrorClass::Corrupt => opened.damaged.push(error),
            // Removed by its owner since the folder was listed; only somebody who looks on can see that.
            Err(BlockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let orphans = entries.iter().filter(|e| e.name.strip_suffix(TOMBSTONES_SUFFIX).is_some_and(|id| !ids.contains(id)));
    opened.orphans = orphans.map(|entry| folder.join(&entry.name)).collect();
    let parents: BTreeSet<&String> = opened.blocks.iter().flat_map(|block| &block.meta().parents).collect();
    let (replaced, blocks) = opened.blocks.iter().cloned().partition(|block| parents.contains(&block.meta().id));
    Ok(Opened { blocks, replaced, ..opened })
}
