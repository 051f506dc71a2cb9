//! Redundant centrals: both receive everything, each compares what it holds with the others and fetches what it lacks.
//!
//! A comparison exchanges one [`Digest`] per source and window of time. Where digests stay different, shards of the series
//! are compared, and only those that differ travel. Each side repairs itself and never writes to the other, so what is not
//! wanted is not asked for; appending a sample twice is no change, so nothing has to be remembered but what was compared
//! (docs/formats/peers.md has the exchange).
//!
//! Invariants: only windows that have ended and lie behind the watermark are compared; a difference is repaired when it
//! stood still from one comparison to the next, so queues that are still being emptied come first; samples are appended
//! only when they are exactly those whose digest the peer gave; answers and work are bounded, and one thread reads.
//!
//! Non-goals: what a central makes itself (rule results, its own scrapes) is not compared; deletions are not exchanged;
//! native histograms are not compared yet.

mod cache;
mod client;
mod comparer;
mod config_section;
mod digest;
mod error;
mod metrics;
mod peer;
mod repair;
mod scope;
mod server;
mod shared;
mod survey;
mod wire;

#[cfg(test)]
mod tests;

pub use comparer::{Comparer, ComparerError};
pub use config_section::{PeerConfig, PeersConfig};
pub use digest::{Digest, SeriesHash};
pub use scope::Own;
pub use shared::{Clock, ComparerOptions, Watermark};
