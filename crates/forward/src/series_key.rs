//! Short names for series, under which destinations remember what they decided about them.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use model::Labels;
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// 128 bits of a hash that nobody outside can compute: two series never share one, by chance or on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeriesKey(u128);

impl SeriesKey {
    /// The key as a number.
    pub(crate) fn as_u128(self) -> u128 {
        self.0
    }
}

impl Hash for SeriesKey {
    /// The key is a hash already.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 as u64);
    }
}

/// A map by series.
pub(crate) type SeriesMap<V> = std::collections::HashMap<SeriesKey, V, BuildHasherDefault<AsIs>>;

/// Takes the key for its own hash.
#[derive(Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Makes keys, by a secret of this process.
pub(crate) struct SeriesKeys {
    secret: [u8; 192],
}

impl Default for SeriesKeys {
    fn default() -> Self {
        let (random, mut secret) = (RandomState::new(), [0; 192]);
        for (i, part) in secret.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&random.hash_one(i).to_le_bytes());
        }
        Self { secret }
    }
}

impl SeriesKeys {
    /// Of a label set.
    pub(crate) fn of_labels(&self, labels: &Labels) -> SeriesKey {
        let mut folded = Folded { secret: &self.secret, state: 0 };
        labels.hash(&mut folded);
        SeriesKey(folded.state)
    }

    /// Keys of series whose labels are encoded, in one context.
    pub(crate) fn encoded(&self, context: &[u8]) -> impl Fn(&[u8]) -> SeriesKey {
        let context = xxh3_128_with_secret(context, &self.secret).rotate_left(1);
        move |labels| SeriesKey(context ^ xxh3_128_with_secret(labels, &self.secret))
    }
}

/// Folds what a value feeds to a hasher into 128 bits.
struct Folded<'a> {
    secret: &'a [u8; 192],
    state: u128,
}

impl Hasher for Folded<'_> {
    fn finish(&self) -> u64 {
        self.state as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        self.state = self.state.rotate_left(1) ^ xxh3_128_with_secret(bytes, self.secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_series_contexts_and_kinds_apart() {
        let keys = SeriesKeys::default();
        let labels = |value: &str| Labels::from_pairs([("__name__", "up"), ("job", value)]);
        let mut all = vec![
            keys.of_labels(&labels("a")),
            keys.of_labels(&labels("b")),
            keys.encoded(b"")(b""),
            keys.encoded(b"")(b"a"),
            keys.encoded(b"a")(b""),
            keys.encoded(b"a")(b"a"),
            SeriesKeys::default().of_labels(&labels("a")),
        ];
        assert_eq!(all[0], keys.of_labels(&labels("a")));
        assert_eq!(all[5], keys.encoded(b"a")(b"a"));
        all.sort_unstable_by_key(|key| key.0);
        all.dedup();
        assert_eq!(all.len(), 7);
    }
}
