//! Remote write up: every stored sample that a destination's `match` selects is queued on disk, sent, and tried again
//! until the destination has it or refuses it for good (docs/decisions/010-delivery.md).
//!
//! Follow a sample: [`Ingest`] lets the store take it, and `core` puts it into the queue, where any destination selects
//! its series (`admission`). The task of each destination (`delivery`) takes records from its cursor, makes batches of what it wants
//! (`batch`, `outgoing`) and keeps requests under way (`flight`), as many as the receiver can take (`pace`), in the form that it
//! understands (`negotiation`, `slot`), to the address that works (`upstreams`, `circuit`).
//!
//! Invariants: nothing is acknowledged that is not in the queue; what is in the queue leaves it when the destination has
//! it, has refused it, or when the queue is over its budget: counted, logged and told upward. Receivers that do not say that they take
//! samples in any order get those of a series in the order in which they came. One bad sample costs itself.

mod admission;
mod answer;
mod batch;
mod circuit;
mod config_section;
mod core;
mod delivery;
mod destination;
mod families;
mod flight;
mod forwarder;
mod ingest;
mod keeper;
mod line;
mod marker;
mod metrics;
mod negotiation;
mod outgoing;
mod pace;
mod pieces;
mod queue_section;
mod reconcile;
mod series_key;
mod slot;
mod syncer;
#[cfg(test)]
mod tests;
mod upstreams;

pub use config_section::{Choose, MetadataConfig, RemoteWriteConfig};
pub use core::Teller;
pub use forwarder::{ForwardError, ForwardOptions, Forwarder, QueueSync};
pub use ingest::Ingest;
pub use queue_section::{Backfill, Lanes, QueueConfig, Wire};
