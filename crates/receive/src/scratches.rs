//! Memory for decoding, handed from one request to the next.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

/// What one very large request needed is not kept for the others.
const KEEP_BYTES: usize = 8 << 20;

/// Memory for one request at a time.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) remote_write: remote_write::Scratch,
    pub(crate) columns: columns::Decoder,
    /// Numbers of series as the store is given them.
    pub(crate) numbers: Vec<[u8; 4]>,
}

impl Scratch {
    fn size_bytes(&self) -> usize {
        self.remote_write.size_bytes() + self.columns.size_bytes() + self.numbers.capacity() * 4
    }
}

/// Scratches that nobody uses at the moment: as many as there were requests at once, which the pool bounds.
#[derive(Clone, Default)]
pub(crate) struct Scratches(Arc<Mutex<Vec<Scratch>>>);

/// A scratch on loan.
pub(crate) struct Borrowed<'a> {
    scratch: Scratch,
    home: &'a Scratches,
}

impl Scratches {
    pub(crate) fn take(&self) -> Borrowed<'_> {
        let scratch = self.0.lock().pop().unwrap_or_default();
        Borrowed { scratch, home: self }
    }
}

impl Deref for Borrowed<'_> {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.scratch
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Scratch {
        &mut self.scratch
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        if self.scratch.size_bytes() <= KEEP_BYTES {
            self.home.0.lock().push(std::mem::take(&mut self.scratch));
        }
    }
}
