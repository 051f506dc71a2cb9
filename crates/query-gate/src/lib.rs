//! What stands around the query engine of a process: a gate that lets a bounded number of queries in, fairly
//! ([`QueryGate`]), and an observer that is told of every one ([`QueryWatch`]): metrics under Prometheus' names, the list
//! of running queries that a crash leaves behind, the query log, slow queries.
//!
//! Invariants: rules and people each have a share of the gate that the other cannot take; among people the turn goes from
//! address to address, and within an address from dashboard to dashboard; the queue is bounded, and when it is full the
//! one who waits with most queries gives way.
//!
//! Non-goals: it neither parses nor evaluates, and it knows nothing of HTTP.

mod active;
mod gate;
mod metrics;
mod query_log;
mod queue;
mod watch;

pub use gate::{GateError, GateOptions, Pass, QueryGate, Turn};
pub use queue::Caller;
pub use watch::QueryWatch;
