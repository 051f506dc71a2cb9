//! A simulated fleet: regions of metaclusters, each with its customer clusters and their nodes, serving exposition
//! text 0.0.4 under the metric names that node_exporter, the Kubernetes control plane, kube-state-metrics, cAdvisor
//! and etcd really use.
//!
//! Invariants:
//! - A page is a pure function of the seed, the target, the time and the faults. Nothing is stored per series, so a
//!   fleet of any size costs no memory, and a restarted simulator goes on where it was.
//! - Counters are integrals of a rate over time, piecewise between faults: they never fall, and what two pages say
//!   differs by exactly what happened in between.
//! - What pages say agrees: requests by code and the latency histogram count the same requests, pods by phase add up
//!   to the pods, a database in use is not larger than the database, processor modes add up to the time passed.
//! - Faults are remembered while the process lives, because counters integrate over them; their number is bounded.
//!
//! Non-goals: no region or metacluster labels (the tiers stamp those), no OpenMetrics, no native histograms.

mod config;
mod shape;
mod topology;

mod fault;
mod timeline;

mod cluster;
mod histogram;
mod pages;
mod text;

mod fleet;
mod http;

#[cfg(test)]
mod tests;

pub use config::{FleetConfig, FleetConfigError};
pub use fault::{Fault, FaultError, FaultKind, FaultRequest, MAX_FAULTS};
pub use fleet::{Fleet, PageError};
pub use http::CONTENT_TYPE;
pub use topology::{Component, Metacluster, Target, TargetGroup};
