//! What an operator asks for: deleting, clearing away what was deleted, and a copy of everything.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use block::Block;
use disk::write_whole;
use model::{Matcher, TimeRange};

use crate::layout::Layout;
use crate::upkeep::Upkeep;
use crate::{Store, StoreError};

/// How long administration waits for the replay of the last run's log.
const WAIT_FOR_REPLAY: Duration = Duration::from_secs(60);
/// How long it waits for readers of what was sealed before, and how often it looks.
const WAIT_FOR_READERS: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

impl Store {
    /// Runs with upkeep stopped; long upkeep gives up its turn.
    fn administrate<T>(&self, work: impl FnOnce(&mut Upkeep) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.wal.is_none() {
            return Err(StoreError::ReadOnly);
        }
        if !self.recovery.wait(WAIT_FOR_REPLAY) {
            return Err(StoreError::Replaying);
        }
        self.urgent.fetch_add(1, Ordering::AcqRel);
        let mut upkeep = self.upkeep.lock();
        self.urgent.fetch_sub(1, Ordering::AcqRel);
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        work(&mut upkeep)
    }

    /// Moves everything that is in memory into blocks.
    fn seal_everything(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        let deadline = std::time::Instant::now() + WAIT_FOR_READERS;
        while !self.release_sealed(upkeep) {
            if std::time::Instant::now() > deadline {
                return Err(StoreError::Busy);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.seal_recovered()?;
        self.counters.seals.measure(|| self.seal(upkeep, false))?;
        // Otherwise a crash would bring back what is deleted now.
        if upkeep.removable.is_some() { Err(StoreError::Replaying) } else { Ok(()) }
    }

    /// Deletes the samples within a range of the series that satisfy any of the matcher lists (of all series where there is
    /// none). Readers that exist go on with what they began with. Samples that arrive meanwhile may stay.
    ///
    /// # Errors
    /// When the disk does not take it: a part may be deleted then. It is safe to try again.
    pub fn delete_series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<(), StoreError> {
        let everything = [Vec::new()];
        let any_of = if any_of.is_empty() { &everything } else { any_of };
        self.administrate(|upkeep| {
            self.seal_everything(upkeep)?;
            let _changing = self.journal.change_anything();
            let catalogue = self.catalogue();
            for block in catalogue.all().filter(|block| crate::catalogue::overlaps(block.meta(), range)) {
                let mut deletions = Vec::new();
                for matchers in any_of {
                    let mut ordinals = Vec::new();
                    block.check_index()?;
                    postings::select(block, matchers, &self.match_cache, &mut ordinals);
                    block.check_index()?;
                    deletions.extend(ordinals.into_iter().map(|ordinal| (ordinal, range)));
                }
                if !deletions.is_empty() {
                    block.delete(&deletions)?;
                }
            }
            drop(catalogue);
            // Appends that still see what was there come to their end before it is forgotten.
            drop(self.epoch.write());
            self.sealed_cache.clear();
            Ok(())
        })
    }

    /// Rewrites the blocks from which something was deleted, so that it is gone from the disk too. Rollups keep their
    /// tombstones: their rows are few.
    ///
    /// # Errors
    /// When the disk does not take it. It is safe to try again.
    pub fn clean_tombstones(&self) -> Result<(), StoreError> {
        self.administrate(|upkeep| {
            let raw = self.catalogue().raw.clone();
            for block in raw.iter().filter(|block| !block.tombstones().is_empty()) {
                self.rewrite(upkeep, std::slice::from_ref(block))?;
            }
            self.collect_garbage(upkeep)
        })
    }

    /// Copies everything that is stored now into a folder that is no store yet; what is there can be opened as one.
    ///
    /// # Errors
    /// When the folder holds a store, or the disk does not take the copy: nothing of it is left then, as far as the disk
    /// goes.
    pub fn snapshot(&self, into: &Path) -> Result<(), StoreError> {
        let layout = Layout::new(into);
        self.administrate(|upkeep| {
            if layout.holds_a_store(&*self.disk)? {
                let text = format!("{} holds a store already; choose another folder", into.display());
                return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, text).into());
            }
            self.seal_everything(upkeep)?;
            self.families.save(&*self.disk, &self.layout.families)?;
            let mut copied = Vec::new();
            let outcome = self.copy_to(&layout, &mut copied);
            if outcome.is_err() {
                // Its room may be what is missing.
                copied.iter().for_each(|path| drop(self.disk.remove(path)));
            }
            outcome
        })
    }

    /// Copies everything that is in blocks, and lists the files that it made.
    fn copy_to(&self, layout: &Layout, copied: &mut Vec<PathBuf>) -> Result<(), StoreError> {
        let blocks: Vec<Block> = self.catalogue().all().cloned().collect();
        self.disk.create_folder(&layout.blocks)?;
        let files = blocks.iter().flat_map(|block| [block.path().to_owned(), block.tombstones_path()]);
        let copies = files.map(|from| {
            let to = layout.blocks.join(from.file_name().unwrap_or_default());
            (from, to)
        });
        for (from, to) in copies.chain([(self.layout.families.clone(), layout.families.clone())]) {
            match self.disk.read(&from) {
                Ok(bytes) => {
                    write_whole(&*self.disk, &to, &bytes)?;
                    copied.push(to);
                }
                // Few blocks have tombstones.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Last: without it the copy is not whole.
        Ok(layout.write_version(&*self.disk, (self.clock)().0)?)
    }
}
