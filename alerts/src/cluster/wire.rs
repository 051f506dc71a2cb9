//! The messages between routers: JSON over HTTP POST. `docs/formats/alert-cluster.md` describes them.

use model::TimestampMs;
use serde::{Deserialize, Serialize};

use crate::engine::alert::timestamp;
use crate::engine::dedup::LogKey;
use crate::engine::replica::{Digests, Records};

/// Path of a heartbeat; request and answer are a [`Heartbeat`].
pub const HEARTBEAT: &str = "/cluster/v1/heartbeat";
/// Path of a push; the request is a [`Push`], the answer a [`PushAnswer`].
pub const PUSH: &str = "/cluster/v1/push";
/// Path of a pull; the request is a `PageRequest`, the answer a `Page`.
pub const PULL: &str = "/cluster/v1/pull";
/// Larger bodies are refused on both sides.
pub const MAX_BODY_BYTES: usize = 8 << 20;

/// Who is there and what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The router's identity, new with every start; earlier starts sort first.
    pub id: String,
    /// Where its peers reach it.
    pub address: String,
    /// Its clock, so that peers notice when clocks disagree.
    #[serde(with = "timestamp")]
    pub now: TimestampMs,
    /// What it holds.
    pub digests: Digests,
    /// Addresses of the live routers it knows.
    pub peers: Vec<String>,
    /// Whether it is stopping.
    pub leaving: bool,
}

/// News of one router for another. Repeating it changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Push {
    /// The sender's identity.
    pub id: String,
    /// What changed.
    pub records: Records,
    /// Notifications the sender is about to send.
    pub claims: Vec<LogKey>,
    /// Notifications it has given up sending for now.
    pub released: Vec<LogKey>,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PushAnswer {
    /// Claims that the receiver does not grant, since it is sending there itself.
    pub refused: Vec<LogKey>,
}
