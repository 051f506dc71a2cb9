//! The time series store: what is appended is in memory and in a write-ahead log before it is acknowledged, moves into
//! immutable blocks every two hours of samples (a *seal*), and is read back merged, in label order.
//!
//! Invariants:
//! - a sample whose append returned is readable from then on, survives the death of the process, and a power loss as far as
//!   [`WalSync`] promises; it is stored once, and another value at its time is refused;
//! - every file is whole or not there; damage is named, counted and put aside, and costs nothing but itself;
//! - retention counts from the newest stored sample, never from the clock, and takes whole blocks;
//! - whatever fails for lack of space is tried again, and until the log can be written nothing is accepted.
//!
//! Who may run at once: any number of appends and reads, one of each upkeep ([`Store::maintain`] and the administrative
//! calls take turns). Locks are taken in the order upkeep, epoch, catalogue, and those of the parts below. An append holds
//! the epoch for reading; only the cut of a seal takes it for writing, for the time of a file's creation. A read holds no lock
//! of the store: it takes the head first and the list of blocks second, so that what moves from one to the other is seen
//! at least once, and reading it twice is the same as once.
//!
//! Non-goals: no network, no asynchronous code, no clock of its own.

mod admin;
mod append;
mod catalogue;
mod compaction;
mod damages;
mod durability;
mod error;
mod exemplars;
mod families;
mod histograms;
mod journal;
mod layers;
mod layout;
mod merge;
mod options;
mod plan;
mod presence;
mod read;
mod record;
mod recovery;
mod replay;
mod rollup;
mod rows;
mod seal;
mod sealed;
mod statistics;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod wal;
mod writing;

pub use error::{OpenError, StoreError};
pub use head::HeadOptions;
pub use options::{Clock, Rollup, StoreOptions, WalSync};
pub use record::{RecordError, check_wal_record};
pub use statistics::{
    Cardinality, ExemplarStatistics, RecoveryStatistics, StoreStatistics, SyncStatistics, WalStatistics, WorkStatistics,
};
pub use store::Store;
