//! What two stores compare instead of samples: how many there are, and a checksum that no order, block or process changes.

use std::ops::AddAssign;

use model::Labels;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_128;

/// The most parts that the series of a source are divided into.
pub(crate) const MAX_SHARDS: u16 = 4096;

/// Count and checksum of a set of samples. The checksum is the sum modulo 2^128 of the hash of every sample, so sets can be
/// added up in any order, and parts add up to their whole (docs/formats/peers.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// How many samples.
    pub samples: u64,
    /// The sum of their hashes; 32 hexadecimal digits on the wire, which no JSON reader takes for a float.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub checksum: u128,
}

fn to_hex<S: Serializer>(checksum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{checksum:032x}"))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_plain = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = if is_plain { u128::from_str_radix(&text, 16).ok() } else { None };
    number.ok_or_else(|| serde::de::Error::custom("a checksum is 32 hexadecimal digits"))
}

impl Digest {
    /// Adds one sample; every bit of its value counts.
    pub fn add(&mut self, series: SeriesHash, timestamp_ms: i64, value: f64) {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&series.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&timestamp_ms.to_le_bytes());
        bytes[24..].copy_from_slice(&value.to_bits().to_le_bytes());
        self.samples += 1;
        self.checksum = self.checksum.wrapping_add(xxh3_128(&bytes));
    }

    /// True for the digest of nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.checksum = self.checksum.wrapping_add(other.checksum);
    }
}

/// The hash of a series' labels, the same in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesHash(u128);

impl SeriesHash {
    /// XXH3-128 over `name 0xFF value 0xFF` of every label in order of names; `scratch` is there to be used again.
    pub fn of(labels: &Labels, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        for (name, value) in labels.iter() {
            for part in [name, value] {
                scratch.extend_from_slice(part.as_bytes());
                scratch.push(0xff);
            }
        }
        Self(xxh3_128(scratch))
    }

    /// Which part of `shards` the series belongs to: the highest bits of its hash.
    pub(crate) fn shard(self, shards: Shards) -> u16 {
        let bits = shards.0.trailing_zeros();
        // At most 12 bits are left; of none, none.
        self.0.checked_shr(128 - bits).map_or(0, |high| high as u16)
    }
}

/// Into how many parts series are divided: a power of two up to [`MAX_SHARDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shards(u16);

impl Shards {
    /// Everything is one part.
    pub(crate) const ONE: Self = Self(1);
    /// What a window is divided into first, and what is still too much then.
    pub(crate) const FEW: Self = Self(64);
    pub(crate) const MANY: Self = Self(MAX_SHARDS);

    pub(crate) fn new(count: u16) -> Option<Self> {
        (count.is_power_of_two() && count <= MAX_SHARDS).then_some(Self(count))
    }

    pub(crate) fn count(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(name: &str) -> SeriesHash {
        SeriesHash::of(&Labels::from_pairs([("__name__", name)]), &mut Vec::new())
    }

    #[test]
    fn the_hash_is_a_public_one() {
        // xxhsum -H2 over the bytes that docs/formats/peers.md names.
        assert_eq!(hash("up").0, xxh3_128(b"__name__\xffup\xff"));
        let mut digest = Digest::default();
        digest.add(SeriesHash(1), 2, 3.0);
        let bytes = [&1u128.to_le_bytes()[..], &2i64.to_le_bytes(), &3f64.to_le_bytes()].concat();
        assert_eq!(digest, Digest { samples: 1, checksum: xxh3_128(&bytes) });
    }

    #[test]
    fn every_bit_counts() {
        let of = |series: &str, at, value| {
            let mut digest = Digest::default();
            digest.add(hash(series), at, value);
            digest
        };
        let one = of("a", 1, 0.0);
        let quiet = f64::from_bits(f64::NAN.to_bits() ^ 1);
        for other in [of("b", 1, 0.0), of("a", 2, 0.0), of("a", 1, -0.0)] {
            assert_ne!(one, other);
        }
        assert_ne!(of("a", 1, model::stale_nan()), of("a", 1, f64::NAN));
        assert_ne!(of("a", 1, quiet), of("a", 1, f64::NAN));
    }

    #[test]
    fn shards_divide_and_refine() {
        for name in ["a", "b", "c", "d"] {
            let hash = hash(name);
            assert_eq!(hash.shard(Shards::ONE), 0);
            assert_eq!(hash.shard(Shards::MANY) / 64, hash.shard(Shards::FEW));
        }
        assert!(Shards::new(0).is_none() && Shards::new(3).is_none() && Shards::new(8192).is_none());
        assert_eq!(Shards::new(2), Some(Shards(2)));
    }

    #[test]
    fn digests_survive_json_and_others_are_refused() {
        let digest = Digest { samples: 7, checksum: u128::MAX - 1 };
        let text = serde_json::to_string(&digest).expect("is JSON");
        assert_eq!(text, r#"{"samples":7,"checksum":"fffffffffffffffffffffffffffffffe"}"#);
        assert_eq!(serde_json::from_str::<Digest>(&text).expect("reads"), digest);
        for bad in ["1", "+0000000000000000000000000000001", "0000000000000000000000000000000g", ""] {
            let text = format!(r#"{{"samples":1,"checksum":"{bad}"}}"#);
            assert!(serde_json::from_str::<Digest>(&text).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn neither_order_nor_parts_matter(
            samples in prop::collection::vec((0..9u8, any::<i64>(), any::<u64>()), 0..60),
            turn in any::<prop::sample::Index>(),
        ) {
            let of = |samples: &[(u8, i64, u64)]| {
                let mut digest = Digest::default();
                samples.iter().for_each(|(s, at, bits)| digest.add(hash(&s.to_string()), *at, f64::from_bits(*bits)));
                digest
            };
            let whole = of(&samples);
            let mut turned = samples.clone();
            let middle = if samples.is_empty() { 0 } else { turn.index(samples.len()) };
            turned.rotate_left(middle);
            turned.reverse();
            prop_assert_eq!(of(&turned), whole);
            let mut sum = of(&samples[..middle]);
            sum += of(&samples[middle..]);
            prop_assert_eq!(sum, whole);
        }
    }
}
