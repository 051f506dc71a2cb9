//! Samples in columns: series by number, times and values each together. One codec for the records of the durable queue
//! and for requests between tiers; docs/formats/columns.md has every byte.
//!
//! Invariants: values and timestamps come back bit for bit, rows in the order they were given; what a message claims
//! about sizes is checked against [`Limits`] before memory is taken for it; a message needs nothing but the definitions of
//! the numbers it uses. Rows in order of number, and of time within a number, come out smallest.
//!
//! Non-goals: who announced which number to whom. Sessions are the business of sender and receiver.

mod decode;
mod definitions;
mod encode;
mod extras;
mod limits;
mod message;
mod numbers;
mod sections;
#[cfg(test)]
mod tests;
mod values;

pub use decode::{Decoded, Decoder};
pub use definitions::{Definitions, LabelsFault};
pub use encode::{Encoder, Form};
pub use limits::{DecodeError, Limits};
pub use message::{ExemplarEntry, HistogramEntry, Message};

/// The first byte of a message: the version of its format.
pub const VERSION: u8 = 1;
/// `Content-Type` of a request that is such a message.
pub const CONTENT_TYPE: &str = "application/vnd.highwater.columns";
