//! The one place where memory is mapped.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Mmap, UncheckedAdvice};

/// A file's bytes, mapped read-only and shared.
#[derive(Debug)]
pub(crate) struct Mapping(Mmap);

impl Mapping {
    /// Maps the whole file, which must not be empty.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: a mapping is a `&[u8]`, so nobody may change the bytes while it lives. Our files are written once, by
        // appending, under a lock that keeps other processes of ours away, and are mapped after that; a log that still
        // grows only gains bytes behind the mapped ones. What this cannot rule out: somebody else who writes into the
        // file (we may then read either bytes, and checksums name the damage) or cuts it (reading behind the new end
        // raises SIGBUS and ends the process). `OpenFile::truncate` is the only cut of ours; it takes what a failed
        // append left behind, which nobody maps.
        Ok(Self(unsafe { Mmap::map(file)? }))
    }

    /// The mapped bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the pages of a range back to the operating system.
    pub(crate) fn release(&self, range: Range<usize>) -> io::Result<()> {
        if range.is_empty() || range.end > self.0.len() {
            return Ok(());
        }
        // SAFETY: the advice loses what is in private or anonymous pages. These are pages of a file, shared and never
        // written to: the next access reads the same bytes from the file again.
        unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) }
    }
}
