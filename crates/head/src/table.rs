//! A hash table of positions: what they are positions of, and how that hashes, only its user knows.

use hashbrown::HashTable;

/// So many tables share the positions, so that none is large and growing one is never a long pause.
const SHARDS: usize = 64;

/// Positions, found by the hash of what lies there.
#[derive(Debug)]
pub(crate) struct Positions {
    shards: Vec<HashTable<u32>>,
}

impl Default for Positions {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| HashTable::new()).collect() }
    }
}

/// Neither the lowest nor the highest bits: those are used within a table.
#[inline]
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

impl Positions {
    /// The position with this hash for which `is` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.shards[shard(hash)].find(hash, |position| is(*position)).copied()
    }

    /// Adds a position that is not there yet; `rehash` hashes those that are.
    pub(crate) fn insert(&mut self, hash: u64, position: u32, rehash: impl Fn(u32) -> u64) {
        self.shards[shard(hash)].insert_unique(hash, position, |position| rehash(*position));
    }

    /// Bytes of heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.shards.iter().map(HashTable::allocation_size).sum()
    }
}

/// Appends to a list that there is one or that there are millions of: grows by a quarter instead of doubling.
#[inline]
pub(crate) fn push_gently<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(3 + list.len() / 4);
    }
    list.push(item);
}
