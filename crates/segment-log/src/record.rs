//! A record that is being built.

use std::io;
use std::ops::{Deref, DerefMut};

use crate::format::{FRAME_HEADER, Identity};

/// The payload of a record, in a buffer that leaves room before it for the frame's header: appending it to a log is one
/// write and copies nothing. Reads as the bytes of the payload; grows by [`Record::push`], [`Record::extend_from_slice`],
/// `Extend` and `io::Write`. Keeps its memory when cleared, so it is worth using again.
#[derive(Debug, Clone)]
pub struct Record {
    /// Never shorter than the room.
    bytes: Vec<u8>,
}

impl Record {
    /// An empty one.
    pub fn new() -> Self {
        Self { bytes: vec![0; FRAME_HEADER] }
    }

    /// Forgets the payload.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets the payload from byte `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(FRAME_HEADER.saturating_add(length));
    }

    /// Adds one byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Adds bytes.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for so many bytes more.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// How many bytes are allocated, for accounting.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The whole frame for this place of a segment. The payload is at most [`crate::MAX_RECORD_BYTES`] long.
    pub(crate) fn frame(&mut self, identity: Identity, offset: u64, checksum: u32) -> &[u8] {
        let header = identity.frame_header(offset, self.len() as u32, checksum);
        self.bytes[..FRAME_HEADER].copy_from_slice(&header);
        &self.bytes
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Record {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[FRAME_HEADER..]
    }
}

impl DerefMut for Record {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[FRAME_HEADER..]
    }
}

impl Extend<u8> for Record {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.bytes.extend(bytes);
    }
}

impl io::Write for Record {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
