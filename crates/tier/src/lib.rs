//! The frame that edge, cascade and central share: configuration, store, forwarding, receiving, rules, scraping, one
//! HTTP server, reload, stop. A role builds a [`Tier`] and starts the parts it is made of, in the order in which they
//! depend on one another; stopping goes the other way round.
//!
//! Invariants: nothing runs before the whole configuration is valid and the address is bound; a failed reload changes
//! nothing; on stop no part outlives what it feeds.

mod app;
mod error;
mod fleet;
mod merging;
mod options;
mod queries;
mod reload;
mod running;
mod settings;
mod sources;
mod store;
mod store_metrics;

pub use ::sources::SourceLimits;
pub use app::{App, Role};
pub use error::BuildError;
pub use http_api::{CorsOrigins, RemoteReadLimits};
pub use options::Options;
pub use receive::{ReceiverLimits, Stamp};
pub use replicas::ReplicasOptions;
pub use running::Tier;
pub use settings::Settings;
