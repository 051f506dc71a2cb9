//! What has to be done now and then: sealing, joining, retention, and trying again what failed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use block::Block;

use crate::options::as_ms;
use crate::seal::Unreleased;
use crate::{Store, StoreError};

/// The longest pause after work that failed again and again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What upkeep remembers from one round to the next.
#[derive(Default)]
pub(crate) struct Upkeep {
    pub(crate) unreleased: Option<Unreleased>,
    /// Segments before this one are of no use any more.
    pub(crate) removable: Option<u64>,
    /// The window of the newest sample when memory was sealed last.
    pub(crate) window: Option<i64>,
    pub(crate) last_seal: Option<Instant>,
    /// Files that are to be removed.
    pub(crate) garbage: Vec<PathBuf>,
    seals: Attempts,
    blocks: Attempts,
    removals: Attempts,
    /// Up to where rollups of each resolution were made by this process, though they may have no row there.
    pub(crate) rolled_until: BTreeMap<i64, i64>,
    /// Blocks of late samples that were rolled up by this process, by resolution.
    pub(crate) rolled_late: BTreeSet<(i64, String)>,
    /// Blocks in which damage was met: they are not joined with others.
    pub(crate) damaged: BTreeSet<String>,
}

/// How often something failed, and when to try again.
#[derive(Default)]
struct Attempts {
    failed: u32,
    next: Option<Instant>,
}

impl Attempts {
    fn is_time(&self) -> bool {
        self.next.is_none_or(|next| Instant::now() >= next)
    }

    /// The first failure is tried again at once, later ones after ever longer pauses.
    fn note(&mut self, what: &str, outcome: Result<(), StoreError>) {
        match outcome {
            Ok(()) | Err(StoreError::Busy | StoreError::Interrupted) => *self = Self::default(),
            Err(error) => {
                let pause = Duration::from_secs(1 << self.failed.min(5)).min(LONGEST_PAUSE);
                self.next = (self.failed > 0).then(|| Instant::now() + pause);
                self.failed += 1;
                tracing::error!(%error, what, "the store's upkeep failed, trying again");
            }
        }
    }
}

impl Store {
    /// Does what is due: seals memory, joins blocks (one step), removes what retention no longer covers, tries again what
    /// failed. Call it about every second, from one thread; a step may take long, appends and reads go on beside it.
    /// Failures are logged, counted and tried again.
    pub fn maintain(&self) {
        let upkeep = &mut *self.upkeep.lock();
        let Some(wal) = &self.wal else { return };
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        // What is still in the way is told to whoever appends.
        let _ = wal.catch_up();
        if upkeep.seals.is_time() {
            let recovered = self.seal_recovered();
            let outcome = recovered.and_then(|()| self.seal_if_due(upkeep)).and_then(|()| self.remove_segments(upkeep));
            upkeep.seals.note("seal", outcome);
        }
        self.head.refresh_order();
        if upkeep.blocks.is_time() {
            let outcome = self.tend_blocks(upkeep);
            upkeep.blocks.note("blocks", outcome);
        }
        if upkeep.removals.is_time() {
            let outcome = self.collect_garbage(upkeep);
            upkeep.removals.note("removal", outcome);
        }
    }

    pub(crate) fn seal_if_due(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        if !self.release_sealed(upkeep) || !self.is_seal_due(upkeep) {
            return Ok(());
        }
        self.counters.seals.measure(|| self.seal(upkeep, false))
    }

    /// Rollups come first, since they need what retention takes and tell late samples by blocks that were not joined yet.
    fn tend_blocks(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        if !self.make_rollup(upkeep)? {
            self.compact(upkeep)?;
        }
        self.enforce_retention(upkeep);
        Ok(())
    }

    /// Between two series of long work: whatever is more urgent is done, or the work is given up.
    pub(crate) fn pause(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        if self.urgent.load(Ordering::Acquire) > 0 || self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Interrupted);
        }
        if upkeep.seals.is_time() {
            let outcome = self.seal_if_due(upkeep);
            upkeep.seals.note("seal", outcome);
        }
        Ok(())
    }

    /// Drops blocks that are too old, or too many.
    fn enforce_retention(&self, upkeep: &mut Upkeep) {
        let newest = self.present();
        let catalogue = self.catalogue();
        let expired = |block: &&Block| {
            let rollup = self.options.rollups.iter().find(|r| as_ms(r.resolution) == block.meta().resolution_ms);
            let retention = match rollup {
                Some(rollup) => rollup.retention,
                None => Some(self.options.retention),
            };
            retention.is_some_and(|retention| block.meta().max_time < newest.saturating_sub(as_ms(retention)))
        };
        let mut gone: Vec<Block> = catalogue.all().filter(expired).cloned().collect();
        self.counters.time_retentions.add(u64::from(!gone.is_empty()));
        if let Some(limit) = self.options.retention_bytes {
            let mut left: Vec<&Block> = catalogue.all().filter(|block| !expired(block)).collect();
            left.sort_by_key(|block| block.meta().max_time);
            let mut bytes: u64 = left.iter().map(|block| block.bytes()).sum();
            self.counters.size_retentions.add(u64::from(bytes > limit));
            for block in left {
                if bytes <= limit {
                    break;
                }
                bytes -= block.bytes();
                gone.push(block.clone());
            }
        }
        drop(catalogue);
        for block in &gone {
            let meta = block.meta();
            tracing::info!(block = meta.id, from = meta.min_time, to = meta.max_time, "retention removes a block");
        }
        self.replace_blocks(upkeep, &gone, Vec::new());
    }

    /// Takes blocks out of the list, others in, and has the files of the former removed.
    pub(crate) fn replace_blocks(&self, upkeep: &mut Upkeep, gone: &[Block], fresh: Vec<Block>) {
        if gone.is_empty() && fresh.is_empty() {
            return;
        }
        let ids: Vec<String> = gone.iter().map(|block| block.meta().id.clone()).collect();
        self.change_catalogue(&ids, fresh);
        for block in gone {
            upkeep.garbage.push(block.path().to_owned());
            upkeep.garbage.push(block.tombstones_path());
        }
    }

    /// Removes files that are to be removed, in order; what cannot be stays for the next time.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn collect_garbage(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        if upkeep.garbage.is_empty() {
            return Ok(());
        }
        self.counters.removals.measure(|| {
            for path in &upkeep.garbage {
                match self.disk.remove(path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
            }
            self.disk.sync_folder(&self.layout.blocks)?;
            upkeep.garbage.clear();
            Ok(())
        })
    }
}
