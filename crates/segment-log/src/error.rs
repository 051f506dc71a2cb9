//! What can go wrong with a log.

use std::io;
use std::path::PathBuf;

/// A log could not be written or read. Damage within a segment is none: see [`crate::Damage`].
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// What the disk said; it names the path.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// More than [`crate::MAX_RECORD_BYTES`]. Nothing was written.
    #[error("a record of {bytes} bytes is larger than the {limit} that a log takes; write it in parts")]
    TooLarge {
        /// Bytes of its payload.
        bytes: usize,
        /// [`crate::MAX_RECORD_BYTES`].
        limit: usize,
    },
    /// The segment takes no more records: it was closed by a failed write or flush. Nothing was written.
    #[error("segment {0} takes no more records; begin another")]
    Moved(u64),
    /// The segment is fine, but this program is too old for it.
    #[error(
        "{} has version {found} of the log's format and this program knows versions up to {known}: run the version of \
         highwater that wrote it, or move the file away",
        path.display()
    )]
    NewerVersion {
        /// The segment.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// [`crate::VERSION`].
        known: u32,
    },
    /// A flush failed, and what was to be flushed cannot be read any more: it may be missing after a power loss. Syncs
    /// say so until [`crate::Log::remove_before`] removes the segment.
    #[error("{} could not be flushed and holds damage at offset {offset}: seal what it logged, or check the disk", path.display())]
    Lost {
        /// The segment.
        path: PathBuf,
        /// Where the first record begins that cannot be read.
        offset: u64,
    },
}
