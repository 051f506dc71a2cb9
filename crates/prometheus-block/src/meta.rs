//! `meta.json`: what a block says of itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::PrometheusError;

pub(crate) const FILE: &str = "meta.json";
const VERSION: u64 = 1;
/// More than any block's list of sources takes.
const MAX_BYTES: u64 = 64 << 20;

/// A block's description. Unknown fields are ignored when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// Its id, which is also the name of its folder.
    pub ulid: String,
    /// No sample is older, in milliseconds.
    pub min_time: i64,
    /// Every sample is older than this, in milliseconds.
    pub max_time: i64,
    /// How much it holds.
    #[serde(default)]
    pub stats: BlockStats,
    /// What it was made of.
    #[serde(default)]
    pub compaction: Compaction,
    /// Of the description itself: 1.
    pub version: u64,
    /// What Thanos wants to know; absent in Prometheus' own blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thanos: Option<ThanosMeta>,
}

/// How much a block holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    /// Samples, histograms included.
    pub num_samples: u64,
    /// Series.
    pub num_series: u64,
    /// Chunks.
    pub num_chunks: u64,
    /// Deleted ranges.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a block was made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Compaction {
    /// 1 for a block that was cut from a head.
    pub level: u64,
    /// The blocks of level 1 that are in it.
    pub sources: Vec<String>,
    /// The blocks that were merged into it, and that are superseded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// Remarks, of which [`Compaction::is_late`] is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl Compaction {
    /// Whether the block was made of samples that came out of order.
    pub(crate) fn is_late(&self) -> bool {
        self.hints.iter().any(|hint| hint == "from-out-of-order")
    }
}

/// A block that was merged into another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parent {
    /// Its id.
    pub ulid: String,
    /// Its first instant.
    pub min_time: i64,
    /// The instant after its last.
    pub max_time: i64,
}

/// The `thanos` section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThanosMeta {
    /// Of the section: 1.
    pub version: u64,
    /// External labels: which source the block is from. Thanos needs at least one.
    pub labels: BTreeMap<String, String>,
    /// Resolution of the samples.
    pub downsample: Downsample,
    /// What made the block.
    pub source: String,
    /// Names of the files in `chunks/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub segment_files: Vec<String>,
    /// Every file with its size, so that Thanos need not list them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<BlockFile>,
}

/// Resolution of a block's samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Downsample {
    /// Milliseconds; 0 for raw samples.
    pub resolution: i64,
}

/// A file of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockFile {
    /// Its path within the block.
    pub rel_path: String,
    /// Its size; absent for `meta.json` itself.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: u64,
}

impl BlockMeta {
    /// Reads and checks the description in a block's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, PrometheusError> {
        let path = folder.join(FILE);
        let length = std::fs::metadata(&path).map_err(PrometheusError::io(&path))?.len();
        if length > MAX_BYTES {
            return Err(PrometheusError::corrupt(&path, format!("{length} bytes are too many for a description")));
        }
        let text = std::fs::read(&path).map_err(PrometheusError::io(&path))?;
        let meta: Self = serde_json::from_slice(&text)
            .map_err(|error| PrometheusError::corrupt(&path, format!("not a block's description: {error}")))?;
        if meta.version != VERSION {
            let what = format!("version {} of the description is not read, only {VERSION}", meta.version);
            return Err(PrometheusError::unsupported(&path, what));
        }
        if meta.max_time < meta.min_time {
            return Err(PrometheusError::corrupt(&path, "maxTime lies before minTime"));
        }
        Ok(meta)
    }

    /// The description of a block of level 1.
    pub(crate) fn new(ulid: Ulid, min_time: i64, max_time: i64, stats: BlockStats) -> Self {
        let name = ulid.to_string();
        Self {
            ulid: name.clone(),
            min_time,
            max_time,
            stats,
            compaction: Compaction { level: 1, sources: vec![name], ..Compaction::default() },
            version: VERSION,
            thanos: None,
        }
    }
}
