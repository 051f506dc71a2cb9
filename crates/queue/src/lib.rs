//! The durable queue: what was stored and is still to be sent, once on disk for all destinations
//! (docs/decisions/010-delivery.md, docs/formats/queue.md).
//!
//! What holds, as far as the disk keeps the contract of the `disk` crate:
//! - a record that was pushed survives the death of the process, and a power loss after [`Queue::sync`];
//! - every destination gets every record that was pushed while it had a [`Cursor`], at least once, unless the record was
//!   dropped for lack of room or age; what was dropped is counted by destination and source and kept as a [`Gap`];
//! - a destination gets again after a crash only what it confirmed since the last [`Queue::save`];
//! - within a lane records leave in the order in which they were pushed; newest first, segment by segment;
//! - numbers of series are never given twice within a process.
//!
//! Memory is bounded: the newest records stay in it up to a limit, older ones are read from their segment.
//! Non-goals: what a destination wants of a record, how it is sent, when to try again, clocks.

mod batch;
mod budget;
mod cursor;
mod error;
mod intervals;
mod load;
mod open;
mod options;
mod place;
mod progress;
mod queue;
mod recent;
mod record;
mod saved;
mod segment;
mod series;
mod state;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Entry, Position, Pushed, SeriesId, Taken};
pub use columns::{ExemplarEntry, HistogramEntry};
pub use cursor::{Amount, Cursor, Gap, Lane, Order, Waiting, Waker};
pub use error::QueueError;
pub use options::{Dropped, Maintained, Opened, Options, QueueState};
pub use queue::Queue;
pub use series::Series;
