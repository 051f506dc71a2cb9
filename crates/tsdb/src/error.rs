//! What can go wrong with a store as a whole.

use std::io;
use std::path::PathBuf;

use block::BlockError;
use segment_log::LogError;

/// A store that cannot be opened. Nothing was changed but, at most, folders created.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process or another part of this one has it.
    #[error("{owner}; a store has one owner: stop the other one or choose another folder")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// What the disk said, with the path and what the owner wrote.
        owner: String,
    },
    /// A newer version wrote it.
    #[error(
        "{} has version {version} and this program knows versions up to {known}; run the newer version that wrote it",
        path.display()
    )]
    NewerVersion {
        /// The version file.
        path: PathBuf,
        /// The version it names.
        version: u32,
        /// The newest version known here.
        known: u32,
    },
    /// The version file does not say what it should.
    #[error(
        "{} is not a version file of a store ({reason}); choose another folder, or move the file away if the folder is a store's",
        path.display()
    )]
    VersionFile {
        /// The version file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing to read.
    #[error("{} is not there, so this is not the folder of a store; choose another one", path.display())]
    NotAStore {
        /// The version file.
        path: PathBuf,
    },
    /// An option that makes no sense.
    #[error("{0}")]
    Option(String),
    /// A block that must not be put aside: it is from a newer version, or the disk fails.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The same for the write-ahead log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The disk does not let us.
    #[error("{}: {error}; check the rights and the disk", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

/// Work on a store that failed. It is safe to try again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A block could not be read or written.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The write-ahead log could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another file could not be.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store was opened for reading only.
    #[error("the store was opened for reading only")]
    ReadOnly,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// What the last run logged could not be replayed in time.
    #[error("the log of the last run is still being replayed, try again later")]
    Replaying,
    /// Work was given up because something more urgent, as a stop, came up.
    #[error("given up because the store is being closed")]
    Interrupted,
    /// Samples in memory could not be sealed because a query still reads what was sealed before.
    #[error("queries still read what was sealed before, try again later")]
    Busy,
}
