//! The newest samples in memory: every series, an index over their labels, and what was appended since it was last
//! sealed, compressed as it arrives.
//!
//! Invariants: a series holds one value per time, bit for bit as it came; label sets are compared in full before bytes
//! are taken for a series; a read sees every sample whose append returned before it began; what is frozen stays readable
//! until it is released.
//!
//! Who may run at once: everything, except that [`Head::cut`] runs while no append does. The index is locked for the
//! look-ups of a few thousand rows, or the creation of a few series; a series for one push, or for copying handles.
//!
//! Non-goals: no I/O, no clock, no threads, no knowledge of blocks (what is sealed already is asked of the caller).

mod append;
mod append_histograms;
mod catalog;
mod codec;
mod encoded;
mod head;
mod histograms;
mod index;
mod order;
mod pairs;
mod read;
mod seal;
mod series;
mod statistics;
mod table;
#[cfg(test)]
mod tests;

pub use append::{Accepted, Bounds};
pub use append_histograms::AcceptedHistograms;
pub use encoded::{Encoded, Key, Keys};
pub use head::{Head, HeadOptions, SeriesRef};
pub use read::HeadSeries;
pub use seal::{Frozen, FrozenSeries, Prepared};
pub use statistics::Cardinality;
