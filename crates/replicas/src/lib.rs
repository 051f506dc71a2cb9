//! Samples of several replicas become one series: a decorator of [`model::Append`] between the receiver and the store.
//!
//! Two replicas of an edge scrape the same targets and send the same series, told apart by a label (`replica`). Here the
//! label is taken off, and of each merged series one replica is listened to at a time: per series, not per sender, so it
//! does not matter how samples are spread over requests, nor how many tiers they pass.
//!
//! Invariants, with *near* for 0.6 intervals of a series:
//! - samples that are kept of different replicas are not near one another, so a counter that both scraped does not fall as
//!   long as their clocks differ by less than that;
//! - every sample is kept, or a sample that is kept is near it: no hole where a replica had something;
//! - samples of the replica that supplied a stretch of time always pass: nothing is thinned out;
//! - what comes again changes nothing; a replica's label never goes further;
//! - what is held back is registered ([`sources::Inputs`]) until it is stored or covered, so no watermark passes it.
//!
//! How: the replica that brought the newest sample is *elected*. The newer samples of the others are held back, a few per
//! series, until the elected one's pass them by (then they are covered), or are more than 1.5 intervals behind them:
//! then the other one is elected, and what was held back goes in. Samples from before the newest are stored where the
//! series has none near them ([`spans`]); what is not remembered is asked of the store.
//!
//! Who may run at once: everything. One lock is held while the rows of a request are decided, never while labels are
//! decoded, the store is read or samples are stored.
//!
//! Non-goals: no agreement with another process; no values are compared, clocks of replicas that differ by more than 0.6
//! intervals can make a counter fall once where the replica changes. What is held back is in memory only: a process that
//! is killed while the elected replica is gone for good loses the last 1.5 intervals of what it held
//! (docs/decisions/010-delivery.md, "Replicas").

mod decide;
mod held;
mod interval;
mod memo;
mod names;
mod options;
mod past;
mod replicas;
mod rows;
mod series;
mod spans;
#[cfg(test)]
mod tests;
mod tracked;

pub use options::{Clock, ReplicasOptions, Statistics};
pub use replicas::Replicas;
