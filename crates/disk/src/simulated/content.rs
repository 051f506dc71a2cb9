//! What a simulated file holds, and what of it is sure to be there after a power loss.

use super::Random;

/// What is written or lost as a unit. Smaller than real sectors, so that small tests see torn records too.
const SECTOR: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// This many bytes survive.
    synced: usize,
    /// How long the file was at most since it was last flushed: after a cut, what was behind it may come back.
    reach: usize,
    /// A flush failed. Later ones succeed, as they do on Linux, and still make nothing durable.
    sync_failed: bool,
}

impl Content {
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.reach = self.reach.max(self.bytes.len());
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.bytes.resize(length, 0);
        self.synced = self.synced.min(length);
        self.reach = self.reach.max(length);
    }

    pub(super) fn sync(&mut self, fails: bool) {
        self.sync_failed |= fails;
        if !self.sync_failed {
            self.synced = self.bytes.len();
            self.reach = self.synced;
        }
    }

    /// What the disk holds when power returns: everything flushed, and of the rest nothing, all of it, its beginning, or
    /// sectors of which some hold zeros or garbage.
    pub(super) fn power_loss(&mut self, random: &mut Random) {
        let (kind, length) = (random.below(4), self.bytes.len());
        let end = match kind {
            0 => self.synced,
            1 => length,
            2 => self.synced + random.below(length - self.synced + 1),
            _ => self.synced + random.below(self.reach.max(length) - self.synced + 1),
        };
        self.bytes.resize(end, 0);
        if kind == 3 {
            let mut from = self.synced;
            while from < end {
                let to = end.min((from / SECTOR + 1) * SECTOR);
                let sector = &mut self.bytes[from..to];
                match random.below(4) {
                    0 => sector.fill(0),
                    1 => sector.iter_mut().for_each(|byte| *byte = random.byte()),
                    _ => {}
                }
                from = to;
            }
        }
        *self = Self { synced: end, reach: end, sync_failed: false, bytes: std::mem::take(&mut self.bytes) };
    }
}
