//! Recording and alerting rules as Prometheus knows them: rule files, the evaluation of a group, the life of an alert,
//! the templates of its labels and annotations, and what all of it looks like from outside ([`status`]).
//!
//! A [`RuleFile`] holds [`Group`]s; a [`GroupState`] remembers what a group did so far and evaluates it at an instant
//! that the caller names, against a [`model::Queryable`] and into a [`model::Append`]. Each rule is written before the
//! next one is evaluated, so that later rules see what earlier ones recorded.
//!
//! Invariants: a rule that fails changes nothing but its health, neither its alerts nor its series; a template that
//! fails leaves its error in the text, the alert goes out; a series that a rule stops yielding ends with a staleness
//! marker; whatever survives a reload unchanged keeps its state.
//!
//! Non-goals: no timers, no sending, no clock: time is a parameter (the `evaluate` block owns those).

mod alert;
mod carry_over;
mod decode;
mod file;
mod group;
mod restore;
mod rule;
mod run;
pub mod status;
mod template;
mod text;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

pub use alert::AlertToSend;
pub use carry_over::{CarriedOver, carry_over};
pub use file::{GroupDefaults, RuleFile, expand_pattern};
pub use group::{Context, Evaluation, External, GroupState, LateSources, RuleError, RuleFailure};
pub use rule::{AlertSettings, Group, Rule, RuleKind};
pub use template::{Template, TemplateError};
pub use text::rfc3339;
