//! Records in numbered files: [`Log`] appends them, [`read`] gets them back after the process or the machine died.
//!
//! What holds, as far as the disk keeps the contract of the `disk` crate:
//! - a record that was appended survives the death of the process; one that was appended before a successful
//!   [`Log::sync`] survives a power loss;
//! - records are read in the order they were appended, and nothing is read that was not appended;
//! - whatever cannot be read is named by segment, offset and length, and costs the records it touches, no other;
//! - an old segment is never written to.
//!
//! After a flush that failed, a segment is written anew as a whole before anything in it counts as durable.
//! Non-goals: what records mean, which of them are still needed, reading what is being written. The bytes are described in
//! docs/formats/segment-log.md.

mod error;
mod files;
mod format;
#[cfg(test)]
mod fuzz;
mod log;
mod quarantine;
mod read;
mod record;
mod state;
#[cfg(test)]
mod tests;

pub use error::LogError;
pub use files::{SegmentInfo, segments};
pub use format::{MAX_RECORD_BYTES, VERSION};
pub use log::{Appended, Log, Options};
pub use quarantine::quarantine;
pub use read::{Damage, DamageKind, Reader, Records, read};
pub use record::Record;
