//! The content of a file.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::mapping::Mapping;

/// The bytes of a file as they were when it was opened: mapped, or in memory. Cloning copies a pointer; the bytes stay
/// readable after the file was removed.
#[derive(Clone)]
pub struct FileBytes(Source);

#[derive(Clone)]
enum Source {
    Mapped(Arc<Mapping>),
    Memory(Arc<[u8]>),
}

impl FileBytes {
    pub(crate) fn mapped(mapping: Mapping) -> Self {
        Self(Source::Mapped(Arc::new(mapping)))
    }

    /// Says that a range will not be read again soon: its pages stop counting as this process's memory. Reading it
    /// nevertheless is fine, it comes from the file again. For readers that pass through large files once.
    pub fn release(&self, range: Range<usize>) {
        if let Source::Mapped(mapping) = &self.0 {
            // Advice: where the system does not take it, the pages stay until it needs them for something else.
            let _ = mapping.release(range);
        }
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Mapped(mapping) => mapping.bytes(),
            Source::Memory(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Source::Memory(bytes.into()))
    }
}

impl From<&[u8]> for FileBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(Source::Memory(bytes.into()))
    }
}

impl Default for FileBytes {
    /// Those of an empty file.
    fn default() -> Self {
        Self::from(Vec::new())
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBytes({} bytes)", self.len())
    }
}
