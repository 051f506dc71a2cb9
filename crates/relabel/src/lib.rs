//! Prometheus relabelling: rules that rewrite, keep or drop label sets. Used for targets, for scraped samples, for what
//! is forwarded and for alerts.
//!
//! Invariants: a rule that decoded without a problem can be applied to any label set and neither fails nor panics;
//! regular expressions are anchored at both ends and `.` matches everything.
//!
//! Non-goals: dropping labels that begin with `__` afterwards; that is the caller's, who knows which ones it needs.

mod apply;
mod pattern;
mod rule;

pub use apply::apply;
pub use rule::{Action, RelabelRule};

#[cfg(test)]
mod tests;
