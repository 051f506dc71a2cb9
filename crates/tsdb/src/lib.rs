//! The time series store. For now it is an in-memory head: samples live as long as the process, the retention and the
//! sample budget allow, and nothing is written to disk (docs/decisions/005 says what follows).
//!
//! Invariants: a series holds its samples in strictly ascending order of time; the same sample twice is stored once;
//! another value at a stored timestamp is refused; retention counts from the newest stored sample and
//! is enforced in small steps, so that a read may see samples that are up to 1/64 of it too old; what a read returns
//! includes every sample whose append returned before the read began.
//!
//! Who may run at once: any number of readers and writers. The index lock is held for look-ups and for the creation of
//! series, a series' lock for one push or one copy.

mod head;
mod index;
mod series;
#[cfg(test)]
mod tests;

pub use head::{Clock, Head, HeadOptions, HeadStatistics};
