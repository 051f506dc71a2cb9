//! The alert router: receives alerts, groups and routes them, keeps quiet what is silenced or inhibited, and notifies
//! people. Its contract is Alertmanager's: alertmanager.yml, API v2, amtool, karma and Grafana work unchanged.
//!
//! The way of an alert: `api` takes it, `engine` decides (routes, groups, deduplication; synchronous, time is a
//! parameter), `dispatcher` wakes when a group is due, `pipeline` brings it to people through the `notify` block,
//! `cluster` keeps a pair of routers of one mind, `snapshot` keeps the state over restarts.
//!
//! Invariants: what was not delivered is not logged, and what is not logged is tried again; a router that hears no
//! peer notifies (fail open); every collection, body and wait is bounded; no decision looks at a clock.
//!
//! Non-goals: no user interface beyond a status page; no rendering or delivery (that is `notify`).

mod api;
mod app;
mod cluster;
mod config;
mod dispatcher;
mod engine;
mod metrics;
mod pipeline;
mod shared;
mod snapshot;
mod view;

#[cfg(test)]
mod tests;

pub use app::{App, Options, StartError};
pub use config::Config;
