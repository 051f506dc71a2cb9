//! The remote-write receiver: `POST /api/v1/write`, versions 1.0 and 2.0 with snappy or zstd from Prometheus and agents,
//! and columns from our own tiers.
//!
//! Invariants: one bad sample never takes its batch with it; 2xx only when every sample is stored, and as durable as the
//! store was asked to make it; what a client claims about sizes is checked before memory is reserved; when decoding
//! cannot keep up, or the bodies under way take all the memory they may, senders hear 429 with `Retry-After` and keep
//! their samples (those that take more than their share first), and so they do (503) when the store cannot write. Every
//! answer says how much was written.
//!
//! Labels are not read here: the store gets them as they came ([`model::EncodedBatch`]), or the number that stands for them
//! in a session of columns, and asks for those it does not know yet.
//!
//! Non-goals: it does not know where samples go ([`model::Append`]), nor who may write what.

mod answer;
mod body;
mod head;
mod metrics;
mod rate;
mod receiver;
mod refusals;
mod scratches;
mod sessions;
mod shares;
mod store;
#[cfg(test)]
mod tests;

pub use receiver::{ReceiverLimits, ReceiverOptions, Stamp, router};
