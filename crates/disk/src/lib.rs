//! The filesystem behind a trait, so that what is claimed about durability can be tested: [`RealDisk`] is the machine's,
//! [`SimulatedDisk`] forgets on a simulated power loss whatever was not flushed, and tears what was being written.
//!
//! The contract that both keep, and that callers rely on:
//! - bytes written are readable at once by this machine, and survive the death of the process;
//! - bytes survive a power loss only after [`OpenFile::sync`] of the file *and* [`Disk::sync_folder`] of the folder that
//!   names it; until then any suffix of them may be missing or damaged;
//! - a rename is atomic, and survives a power loss after `sync_folder` of the folder; a file that is renamed before it was
//!   synced may be empty afterwards;
//! - a removal may be undone by a power loss until `sync_folder`;
//! - a file whose sync failed must be written anew: a later sync of it may succeed and still prove nothing.
//!
//! Paths are those of the operating system; the simulated disk treats them as plain names and knows no symbolic links.

mod bytes;
mod mapping;
mod real;
mod simulated;
#[cfg(test)]
mod tests;
mod whole;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use bytes::FileBytes;
pub use real::RealDisk;
pub use simulated::{Fault, SimulatedDisk};
pub use whole::write_whole;

/// A file that is being written. Bytes go to its end.
pub trait OpenFile: Send + Sync + Debug {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// What the operating system says; a part of the bytes may have been written.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was appended so far survive a power loss. May run beside `append`.
    ///
    /// # Errors
    /// What the operating system says. What is on the disk is unknown then, whatever a later call says.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file to `bytes` bytes: after a failed append, to what was written whole. Who has read the file meanwhile
    /// must not look behind that.
    ///
    /// # Errors
    /// What the operating system says.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
}

/// A file in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name within the folder.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Released when dropped.
pub trait Lock: Send + Sync + Debug {}

/// A filesystem. Errors are those of the operating system and name the path.
pub trait Disk: Send + Sync + Debug {
    /// Creates a file that is not there yet.
    ///
    /// # Errors
    /// `AlreadyExists` when it is there.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>>;

    /// The whole content of a file, mapped where the filesystem can. Files are never changed once they are read, except
    /// that a log may still grow; what is returned does not grow with it.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    fn read(&self, path: &Path) -> io::Result<FileBytes>;

    /// Makes the content of a file survive a power loss that an earlier process wrote: as [`OpenFile::sync`].
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, replacing what has it.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. What is mapped stays readable.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The files (not the folders) of a folder, sorted by name. Those whose names are not UTF-8 are none of ours.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;

    /// Creates a folder and its parents, which survive a power loss when this returns; one that is there is fine.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a folder survive a power loss.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Locks a file (created where missing) against other processes and other locks of this one, and writes `owner` into it.
    ///
    /// # Errors
    /// `WouldBlock` when somebody else holds it; the message names what that owner wrote.
    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Lock>>;
}
