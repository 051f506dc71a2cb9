//! What can be wrong with a block, and how callers tell it apart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a caller decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The file is damaged: quarantine it, name it, go on without it.
    Corrupt,
    /// The file was written by a newer version: leave it alone.
    NewerVersion,
    /// The operating system failed: try again later.
    Io,
    /// What was asked for makes no sense: series or samples out of order, a series that is not there.
    Invalid,
}

/// A block that cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BlockError {
    /// The content contradicts its checksums or itself.
    #[error(
        "block file {} is damaged at byte {offset}: {what}; restore it from a copy or move it away",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damaged part begins.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The format's version is one that this program does not know.
    #[error(
        "block file {} has format version {found}, this program reads versions up to {supported}; \
         run the newer version that wrote it",
        path.display()
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// The version it has.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// The operating system failed. A [`disk::Disk`] says on which file in its errors.
    #[error("{source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The caller broke the contract of the call.
    #[error("block file {}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What was wrong with the call.
        what: &'static str,
    },
}

impl BlockError {
    /// What to decide by.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Corrupt { .. } => ErrorClass::Corrupt,
            Self::NewerVersion { .. } => ErrorClass::NewerVersion,
            Self::Io { .. } => ErrorClass::Io,
            Self::Invalid { .. } => ErrorClass::Invalid,
        }
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, malformed: Malformed) -> Self {
        Self::Corrupt { path: path.to_owned(), offset, what: malformed.0 }
    }

    pub(crate) fn invalid(path: &Path, what: &'static str) -> Self {
        Self::Invalid { path: path.to_owned(), what }
    }
}

/// Bytes that no writer of this format wrote; becomes [`BlockError::Corrupt`] where the file and the place are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub &'static str);
