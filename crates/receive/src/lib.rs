//! The remote-write receiver: `POST /api/v1/write`, version 1.0, from Prometheus, agents and our own tiers.
//!
//! Invariants: one bad sample never takes its batch with it; 2xx only when every sample is stored, and as durable as the
//! store was asked to make it; what a client claims about sizes is checked before memory is reserved; when decoding
//! cannot keep up, or the bodies under way take all the memory they may, senders hear 429 with `Retry-After` and keep
//! their samples, and so they do (503) when the store cannot write.
//!
//! Labels are not read here: the store gets them as they came ([`model::EncodedBatch`]) and asks for those it does not
//! know yet.
//!
//! Non-goals: it does not know where samples go ([`model::Append`]), nor who may write what.

mod body;
mod metrics;
mod receiver;
mod refusals;
mod scratches;
#[cfg(test)]
mod tests;

pub use receiver::{ReceiverOptions, Stamp, router};
