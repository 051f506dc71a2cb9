//! Remote write up: every stored sample that a destination's `match` selects is queued, sent in order, and tried again
//! until the destination has it or refuses it for good.
//!
//! Invariants: a queue never holds more than its capacity (the oldest samples go first, counted); samples of a series
//! leave in the order in which they came; a failed request is retried with growing pauses, and its samples stay first;
//! what a destination refuses (4xx but 429) is counted and logged with the destination's own words, never retried.
//!
//! Non-goals for now: queues live in memory, so what is unsent when the process dies is lost (docs/decisions/005).

mod config_section;
mod delivery;
mod destination;
mod exemplars;
mod families;
mod forwarder;
mod metrics;
mod outgoing;
mod queue;
mod sender;
mod series_key;
#[cfg(test)]
mod tests;

pub use config_section::{MetadataConfig, QueueConfig, RemoteWriteConfig};
pub use forwarder::{ForwardError, Forwarder, Ingest};
