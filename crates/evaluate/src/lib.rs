//! Rules at work in a process: groups on their timers ([`RuleManager`]), and the alerts they raise on their way to
//! Alertmanager or `highwater alerts` ([`Notifier`]). [`EvaluationConfig`] is the part of the configuration that says so.
//!
//! Invariants: a group that takes long delays no other group, an alert router that does not answer delays no other
//! router; every queue is bounded and what is dropped is counted; what a reload does not change goes on undisturbed.
//!
//! Who may run at once: each group has one task and evaluates on the CPU pool, each router has one task and one queue;
//! reloads come one after the other.
//!
//! Non-goals: it does not retry an alert that could not be posted. The rule sends it again (after a minute, or its
//! interval where that is longer) for as long as it matters, as in Prometheus.

mod config;
mod endpoints;
mod group_task;
mod manager;
mod metrics;
mod notifier;
mod queue;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{EvaluationConfig, LoadedRules};
pub use endpoints::{AlertingConfig, Alertmanagers};
pub use manager::{RuleManager, RuleManagerOptions};
pub use notifier::{Notifier, NotifierError};
