//! What can go wrong with a queue.

use std::io;
use std::path::PathBuf;

use segment_log::LogError;

/// A queue could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The log of records.
    #[error("the queue of samples to be sent: {0}")]
    Log(#[from] LogError),
    /// The file of cursors.
    #[error("the queue of samples to be sent cannot write its cursors: {0}")]
    Cursors(#[source] io::Error),
    /// A segment holds records that a later version wrote.
    #[error(
        "{} holds records of a later version: run the version of highwater that wrote it, or move the file away",
        path.display()
    )]
    NewerVersion {
        /// The segment.
        path: PathBuf,
    },
    /// A row names a series that was forgotten, or never known: ask [`crate::Series::id`] again.
    #[error("series {0} is not known to the queue any more")]
    UnknownSeries(u32),
    /// As many series as a queue may know had rows lately.
    #[error("the queue knows as many series as it may ({0}); forward fewer, or restart after series were removed")]
    TooManySeries(usize),
    /// Columns of unequal lengths, or more in one record than one can hold.
    #[error("a record cannot hold this: {0}")]
    Entry(&'static str),
}
