//! A file that is read mostly forwards, in pieces whose sizes are only known while reading.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::PrometheusError;

/// What is read at once.
const WINDOW_BYTES: u64 = 256 << 10;

/// Keeps the neighbourhood of the last read in memory.
#[derive(Debug)]
pub(crate) struct FileWindow {
    path: Arc<Path>,
    file: File,
    length: u64,
    start: u64,
    window: Vec<u8>,
}

impl FileWindow {
    pub(crate) fn open(path: &Path) -> Result<Self, PrometheusError> {
        let file = File::open(path).map_err(PrometheusError::io(path))?;
        let length = file.metadata().map_err(PrometheusError::io(path))?.len();
        Ok(Self { path: Arc::from(path), file, length, start: 0, window: Vec::new() })
    }

    pub(crate) fn path(&self) -> Arc<Path> {
        self.path.clone()
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Exactly `count` bytes from `offset` on.
    pub(crate) fn bytes(&mut self, offset: u64, count: u64) -> Result<&[u8], PrometheusError> {
        let at = self.load(offset, count)?;
        Ok(&self.window[at..at + count as usize])
    }

    /// Up to `count` bytes from `offset` on: fewer where the file ends.
    pub(crate) fn up_to(&mut self, offset: u64, count: u64) -> Result<&[u8], PrometheusError> {
        let there = self.length.saturating_sub(offset).min(count);
        self.bytes(offset, there)
    }

    /// Makes the window hold the bytes, and says where in it.
    fn load(&mut self, offset: u64, count: u64) -> Result<usize, PrometheusError> {
        if offset.checked_add(count).is_none_or(|end| end > self.length) {
            let what = format!("the file ends before {count} bytes at {offset}; it is cut off or damaged");
            return Err(PrometheusError::corrupt(&self.path, what));
        }
        let loaded = self.start..=self.start + self.window.len() as u64;
        if !(loaded.contains(&offset) && loaded.contains(&(offset + count))) {
            // Both are bounded by the file's length.
            let size = count.max(WINDOW_BYTES.min(self.length - offset)) as usize;
            self.window.resize(size, 0);
            self.start = offset;
            let read = self.file.read_exact_at(&mut self.window, offset);
            if read.is_err() {
                self.window.clear();
            }
            read.map_err(PrometheusError::io(&self.path))?;
        }
        Ok((offset - self.start) as usize)
    }
}
