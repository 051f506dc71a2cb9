//! What a block says about itself.

use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// What is known of a block before its content is.
#[derive(Debug, Clone, Default)]
pub struct BlockDraft {
    /// The clock, milliseconds since the epoch: becomes part of the block's name.
    pub now_ms: i64,
    /// How often its samples were compacted; 1 for what comes from the head.
    pub level: u32,
    /// Milliseconds that one row stands for; 0 for raw samples.
    pub resolution_ms: i64,
    /// The blocks whose content it replaces.
    pub parents: Vec<String>,
}

/// What a block says about itself; stored in it as JSON. Unknown fields are ignored, so that later versions may add some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMeta {
    /// Its ULID, which is also its file's name.
    pub id: String,
    /// The first timestamp in it, milliseconds since the epoch.
    pub min_time: i64,
    /// The last timestamp in it, inclusive.
    pub max_time: i64,
    /// How many series it has.
    pub series: u64,
    /// How many samples it has, tombstones not considered; in a rollup, how many rows.
    pub samples: u64,
    /// How many native histograms it has, tombstones not considered. They are no samples.
    #[serde(default, skip_serializing_if = "is_none")]
    pub histograms: u64,
    /// How many chunks of values and of histograms it has.
    pub chunks: u64,
    /// How often its samples were compacted; 1 for what comes from the head.
    pub level: u32,
    /// Milliseconds that one row stands for; 0 for raw samples.
    pub resolution_ms: i64,
    /// The blocks whose content it replaces: whoever finds them beside it may remove them.
    #[serde(default)]
    pub parents: Vec<String>,
    /// When it was written.
    pub created_ms: i64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A name that nothing else has: the time, and 80 bits that nobody can foresee.
pub(crate) fn new_id(now_ms: i64) -> String {
    // The keys of a `RandomState` come from the operating system's random numbers, anew for each thread, and differ
    // for each state.
    let random = || u128::from(RandomState::new().hash_one(now_ms));
    Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), (random() << 64) | random()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let (a, b, c) = (new_id(1_000), new_id(1_000), new_id(2_000));
        assert_ne!(a, b);
        assert!(a < c && b < c);
        assert_eq!(a.len(), 26);
    }
}
