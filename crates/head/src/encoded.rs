//! Series by the bytes that came: a 128-bit hash of a sender's encoding of the labels, which is never kept itself.
//!
//! The hash is XXH3 with a secret that this process drew at random, so nobody outside can look for two label sets with
//! one hash; by chance it does not happen.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_128_with_secret;

use crate::table::{Positions, push_gently};

/// Bytes of a secret.
const SECRET_BYTES: usize = 192;

/// The hash of a label set as some sender encodes it.
pub type Key = u128;

/// What makes keys of bytes.
pub struct Keys {
    labels: [u8; SECRET_BYTES],
    context: [u8; SECRET_BYTES],
    own: Key,
}

impl Keys {
    /// Draws the secrets.
    pub fn random() -> Self {
        // The standard library seeds its hash tables from the operating system; keyed hashes of numbers are random bytes.
        let state = RandomState::new();
        let mut counter = 0_u64;
        let mut word = || {
            counter += 1;
            state.hash_one(counter)
        };
        let mut secret = || {
            let mut bytes = [0; SECRET_BYTES];
            bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&word().to_le_bytes()));
            bytes
        };
        let (labels, context) = (secret(), secret());
        Self { labels, context, own: Key::from(word()) << 64 | Key::from(word()) }
    }

    /// What the keys of a context are combined with. It has a secret of its own, so that no bytes cancel it out.
    pub fn context(&self, context: &[u8]) -> Key {
        xxh3_128_with_secret(context, &self.context)
    }

    /// The context of the encoding that label sets have in this process; no sender can name it.
    pub fn own_context(&self) -> Key {
        self.own
    }

    /// The key of a label set.
    #[inline]
    pub fn key(&self, context: Key, labels: &[u8]) -> Key {
        xxh3_128_with_secret(labels, &self.labels) ^ context
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// Keys and the series they stand for, in order of arrival.
#[derive(Debug, Default)]
pub struct Encoded {
    keys: Vec<[u64; 2]>,
    series: Vec<u32>,
    positions: Positions,
    /// How often it was cleared.
    clearings: u64,
}

#[inline]
fn halves(key: Key) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

impl Encoded {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How often it was cleared: positions of before mean nothing now.
    pub(crate) fn clearings(&self) -> u64 {
        self.clearings
    }

    /// The entry at a position.
    pub(crate) fn get(&self, position: usize) -> Option<(Key, u32)> {
        let [low, high] = *self.keys.get(position)?;
        Some((Key::from(high) << 64 | Key::from(low), *self.series.get(position)?))
    }

    /// The series of a key. `guess` is the position to look at first, and becomes that after the one found: senders
    /// repeat the order of their series, and a list is walked faster than a table is searched.
    #[inline]
    pub fn find(&self, key: Key, guess: &mut usize) -> Option<u32> {
        let key = halves(key);
        if self.keys.get(*guess) != Some(&key) {
            let found = self.positions.find(key[0], |at| self.keys.get(at as usize) == Some(&key))?;
            *guess = found as usize;
        }
        let series = self.series.get(*guess).copied();
        *guess += 1;
        series
    }

    /// Adds a key that is not there yet. Forgets everything first when there are more than `limit`.
    pub fn insert(&mut self, key: Key, series: u32, limit: usize) {
        if self.keys.len() >= limit.min(u32::MAX as usize) {
            *self = Self { clearings: self.clearings + 1, ..Self::default() };
        }
        let key = halves(key);
        let keys = &self.keys;
        self.positions.insert(key[0], keys.len() as u32, |at| keys[at as usize][0]);
        push_gently(&mut self.keys, key);
        push_gently(&mut self.series, series);
    }

    /// Bytes of heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<[u64; 2]>() + self.series.capacity() * 4 + self.positions.heap_bytes()
    }
}
