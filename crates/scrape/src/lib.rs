//! Scraping: finds targets (static and from files), relabels them, fetches each on a schedule of its own and hands
//! every scrape to a store as one batch.
//!
//! The flow, in order of modules: a [`ScrapeConfig`] (of `scrape_configs`, or of `federate_configs`) becomes a pool; its `discovery` yields addresses, `target` makes
//! targets of them, a `target_loop` per target runs `fetch` on its `schedule`, and `ingest` turns the body into rows,
//! by a `cache` from raw text to labels that `resolve` fills.
//!
//! Invariants: a scrape is all or nothing; whatever was written of a series is ended by a staleness marker when the
//! series, its target or the scrape goes away, except on shutdown and while the store takes nothing; a target keeps its offset within the interval over
//! reloads and restarts; bodies, batches and lists of dropped targets are bounded.
//!
//! Non-goals: OpenMetrics, protobuf and service discovery beyond static lists and files.

mod federate_config;
mod scrape_config;

mod discovery;
mod file_discovery;
mod target;

mod fetch;
mod schedule;

mod cache;
mod ingest;
mod resolve;

mod manager;
mod metrics;
mod outage;
mod pool;
mod status;
mod target_loop;

pub use manager::{ScrapeManager, ScrapeOptions, StartError};
pub use scrape_config::ScrapeConfig;
pub use status::{DroppedTarget, Health, TargetStatus, Targets};

#[cfg(test)]
mod tests;
