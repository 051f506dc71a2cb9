//! What peers tell one another, as JSON (docs/formats/peers.md). The same types write and read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::survey::BySource;

/// Windows of one answer.
pub(crate) const MAX_WINDOWS: i64 = 48;
/// Shards that one request names.
pub(crate) const MAX_PARTS: usize = 256;
/// Samples of one answer.
pub(crate) const MAX_SAMPLES: usize = 250_000;

/// Where the endpoints are.
pub(crate) const STATUS_PATH: &str = "/api/v1/peers";
pub(crate) const DIGEST_PATH: &str = "/api/v1/peers/digest";
pub(crate) const SAMPLES_PATH: &str = "/api/v1/peers/samples";

/// The envelope of every successful answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) status: String,
    pub(crate) data: T,
}

/// Who answers, and what it compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Speaker {
    /// Another one for every start of a process.
    pub(crate) identity: String,
    /// The fingerprint of what is compared.
    pub(crate) scope: String,
    pub(crate) window_ms: i64,
    /// Windows that end later are not settled yet.
    pub(crate) settled_until_ms: i64,
}

/// The answer to a request without shards.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WindowDigests {
    pub(crate) speaker: Speaker,
    /// Oldest first; windows without samples are left out.
    pub(crate) windows: Vec<WindowDigest>,
}

/// One window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WindowDigest {
    pub(crate) start_ms: i64,
    pub(crate) sources: BySource,
}

/// The answer to a request with shards.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShardDigests {
    /// By number; shards without samples are left out.
    pub(crate) shards: BTreeMap<u16, Digest>,
}
