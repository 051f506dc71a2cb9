//! Sets of series, and the evaluation of matchers over any index: the head's, which grows in memory, and a block's,
//! which lies in a file.
//!
//! Invariants: a set is a strictly ascending list of [`SeriesOrdinal`]s; what [`select`] answers is what
//! [`Matcher::matches`](model::Matcher::matches) says of every series, and estimates only decide how it gets there.
//!
//! Non-goals: no I/O, no label sets (an index knows its own), no samples.

mod bitmap;
mod cache;
mod index;
mod select;
mod sets;

pub use cache::MatchCache;
pub use index::{LabelIndex, SeriesOrdinal};
pub use select::select;
pub use sets::{intersect, subtract, union};

#[cfg(test)]
mod tests;
