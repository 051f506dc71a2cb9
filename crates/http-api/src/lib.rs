//! The Prometheus HTTP API over anything that is [`model::Queryable`]: queries, labels, series, metadata, targets,
//! rules, alerts, status and administration below `/api/v1`, `/federate`, and a status page at `/`.
//!
//! A role hands [`router`] its engine, its store and what it knows of targets, rules and itself ([`TargetsSource`],
//! [`RulesSource`], [`StatusSource`], [`StoreSource`]), and wraps all its routes with [`HttpMetrics::observe`].
//!
//! Invariants: no request panics; bodies and lists of selectors are bounded; whatever reads the store runs on the
//! bounded pool and is refused with 503 when too much waits; a client that leaves cancels its query; answers are
//! written straight into bytes, and large ones while they are sent.
//!
//! Non-goals: receiving samples (`receive`), the endpoints every process has (`runtime`), and Prometheus' own pages.

mod admin;
mod answer;
mod api;
mod cache;
mod caller;
mod compression;
mod cors;
mod endpoints;
mod error;
mod escaping;
mod exemplars;
mod features;
mod federate;
mod fleet;
mod json;
mod language;
mod metrics;
mod numbers;
mod openapi;
mod page;
mod params;
mod query;
mod redact;
mod remote_read;
mod result;
mod rule_list;
mod series;
mod sources;
mod status;
mod stream;
mod targets;
mod time;

#[cfg(test)]
mod tests;

pub use api::{ApiOptions, router};
pub use cors::{CorsError, CorsOrigins};
pub use metrics::HttpMetrics;
pub use remote_read::{RemoteReadLimits, RemoteReadOptions, remote_read_router};
pub use sources::{
    ActiveTarget, Alertmanagers, Cardinality, Count, DroppedTarget, FleetSource, Nothing, RulesSource, RuntimeStatus,
    StatusSource, StoreError, StoreSource, TargetHealth, TargetsSource,
};
