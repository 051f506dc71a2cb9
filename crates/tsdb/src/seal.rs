//! Sealing: everything in memory moves into blocks, and the log begins anew.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use head::{Frozen, Head};

use crate::catalogue::Catalogue;
use crate::options::WINDOW_MS;
use crate::upkeep::Upkeep;
use crate::{Store, StoreError};

/// Samples of a window may arrive this long after its end before it is sealed.
const GRACE_MS: i64 = 5 * 60 * 1000;
/// Memory over budget is sealed at most that often: what cannot be sealed away would make ever smaller blocks.
const MEMORY_SEAL_EVERY: Duration = Duration::from_secs(60);

/// Samples that are in blocks and in memory, as long as somebody reads without those blocks.
pub(crate) struct Unreleased {
    frozen: Frozen,
    readers: Vec<Weak<Catalogue>>,
}

impl Store {
    /// Whether memory is to be sealed now.
    pub(crate) fn is_seal_due(&self, upkeep: &mut Upkeep) -> bool {
        if self.head.samples() == 0 {
            return false;
        }
        if self.head.samples() > self.options.max_head_samples {
            return true;
        }
        let limit = self.options.head.max_memory_bytes.unwrap_or(u64::MAX);
        let recently = upkeep.last_seal.is_some_and(|last| last.elapsed() < MEMORY_SEAL_EVERY);
        if self.head.memory_bytes() >= limit / 8 * 7 && !recently {
            return true;
        }
        let present = self.present();
        let window = present.div_euclid(WINDOW_MS);
        // Only a clock that jumps back makes a window begin again.
        let current = upkeep.window.map_or(window, |known| known.min(window));
        upkeep.window = Some(current);
        present >= current.saturating_add(1).saturating_mul(WINDOW_MS).saturating_add(GRACE_MS)
    }

    /// Moves everything in memory into blocks. At a stop nobody waits for readers of what was sealed before.
    ///
    /// # Errors
    /// When the log or blocks cannot be written: memory and log keep what they have. Or when samples of the last seal are
    /// still being read from memory.
    pub(crate) fn seal(&self, upkeep: &mut Upkeep, closing: bool) -> Result<(), StoreError> {
        let Some(wal) = &self.wal else { return Ok(()) };
        if !closing && !self.release_sealed(upkeep) {
            return Err(StoreError::Busy);
        }
        if self.head.samples() == 0 && !closing {
            return Ok(());
        }
        let unwritten = || std::io::Error::other("records that could not be written to the log come first");
        wal.catch_up().map_err(|error| std::io::Error::other(error.to_string()))?;
        let prepared = self.head.prepare_cut();
        let segment = {
            let mut epoch = self.epoch.write();
            if wal.is_blocked() {
                return Err(unwritten().into());
            }
            let segment = wal.log().rotate()?;
            self.head.cut(prepared);
            *epoch = segment;
            segment
        };
        let frozen = self.head.freeze();
        let blocks = self.write_windows(&frozen)?;
        let newest = frozen.bounds().map(|(_, last)| last.0);
        self.change_catalogue(&[], blocks);
        if let Some(newest) = newest {
            self.sealed_until.fetch_max(newest, Ordering::AcqRel);
        }
        upkeep.window = Some(self.present().div_euclid(WINDOW_MS));
        // Appends that do not know yet that they must look into these blocks come to their end.
        drop(self.epoch.write());
        upkeep.unreleased = Some(Unreleased { frozen, readers: self.lists_being_read() });
        upkeep.last_seal = Some(Instant::now());
        upkeep.removable = Some(segment);
        self.release_sealed(upkeep);
        // Before the segments go that have them too.
        self.families.save(&*self.disk, &self.layout.families)?;
        self.remove_segments(upkeep)
    }

    /// Frees the memory of what was sealed, once nobody reads without the blocks any more. True when nothing is left.
    pub(crate) fn release_sealed(&self, upkeep: &mut Upkeep) -> bool {
        if let Some(unreleased) = &upkeep.unreleased
            && unreleased.readers.iter().any(|list| list.strong_count() > 0)
        {
            return false;
        }
        if let Some(unreleased) = upkeep.unreleased.take() {
            Head::release(&self.head, unreleased.frozen);
        }
        true
    }

    /// Removes the segments whose samples are all in blocks.
    ///
    /// # Errors
    /// What the disk says; it is tried again.
    pub(crate) fn remove_segments(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        let (Some(wal), Some(segment)) = (&self.wal, upkeep.removable) else { return Ok(()) };
        // They stand behind those of the last run, which go first.
        if self.recovery.is_done() {
            wal.log().remove_before(segment)?;
            upkeep.removable = None;
        }
        Ok(())
    }
}
