//! `chunks/000001` and so on: chunks one after the other, each with its length, encoding and checksum. A chunk is named
//! by the file's number (from 0) in the upper half of a word and its place in the file in the lower.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::bytes::{Cursor, put_uvarint};
use crate::error::PrometheusError;
use crate::file_window::FileWindow;

pub(crate) const FOLDER: &str = "chunks";
const MAGIC: u32 = 0x85BD_40DD;
const VERSION: u8 = 1;
const HEADER_BYTES: u64 = 8;
/// A file is not made larger.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// Of the length before a chunk: a 32-bit number.
const MAX_LENGTH_BYTES: u64 = 5;

/// Numbers of chunk encodings.
pub(crate) const XOR: u8 = 1;
pub(crate) const HISTOGRAM: u8 = 2;
pub(crate) const FLOAT_HISTOGRAM: u8 = 3;

/// Writes chunks, beginning a new file where one is full.
#[derive(Debug)]
pub(crate) struct ChunkWriter {
    folder: PathBuf,
    /// Name and size of every file; the last one is open.
    files: Vec<(String, u64)>,
    open: Option<BufWriter<File>>,
    head: Vec<u8>,
}

impl ChunkWriter {
    pub(crate) fn create(block: &Path) -> Result<Self, PrometheusError> {
        let folder = block.join(FOLDER);
        std::fs::create_dir(&folder).map_err(PrometheusError::io(&folder))?;
        Ok(Self { folder, files: Vec::new(), open: None, head: Vec::new() })
    }

    /// Writes a chunk and returns its name.
    pub(crate) fn add(&mut self, encoding: u8, data: &[u8]) -> Result<u64, PrometheusError> {
        self.head.clear();
        put_uvarint(&mut self.head, data.len() as u64);
        self.head.push(encoding);
        let bytes = (self.head.len() + data.len() + 4) as u64;
        if self.files.last().is_none_or(|(_, size)| size + bytes > MAX_FILE_BYTES) {
            self.begin_file()?;
        }
        let (Some(out), Some((name, size))) = (&mut self.open, self.files.last_mut()) else {
            return Err(PrometheusError::corrupt(&self.folder, "no file of chunks is open"));
        };
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&[encoding]), data);
        let mut write = || {
            out.write_all(&self.head)?;
            out.write_all(data)?;
            out.write_all(&checksum.to_be_bytes())
        };
        write().map_err(PrometheusError::io(&self.folder.join(name)))?;
        let offset = *size;
        *size += bytes;
        Ok(((self.files.len() as u64 - 1) << 32) | offset)
    }

    fn begin_file(&mut self) -> Result<(), PrometheusError> {
        self.end_file()?;
        let name = format!("{:06}", self.files.len() + 1);
        let path = self.folder.join(&name);
        let mut out = BufWriter::with_capacity(1 << 20, File::create_new(&path).map_err(PrometheusError::io(&path))?);
        let mut header = MAGIC.to_be_bytes().to_vec();
        header.extend_from_slice(&[VERSION, 0, 0, 0]);
        out.write_all(&header).map_err(PrometheusError::io(&path))?;
        self.files.push((name, HEADER_BYTES));
        self.open = Some(out);
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), PrometheusError> {
        let Some(out) = self.open.take() else { return Ok(()) };
        let synced = out.into_inner().map_err(|e| e.into_error()).and_then(|file| file.sync_all());
        synced.map_err(PrometheusError::io(&self.folder))
    }

    /// Makes everything durable; returns names and sizes.
    pub(crate) fn finish(mut self) -> Result<Vec<(String, u64)>, PrometheusError> {
        self.end_file()?;
        sync_folder(&self.folder)?;
        Ok(self.files)
    }
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), PrometheusError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(PrometheusError::io(folder))
}

/// Reads chunks by name.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    folder: PathBuf,
    files: Vec<FileWindow>,
}

impl ChunkReader {
    /// Opens every file of a block's chunks. They are numbered without gaps.
    pub(crate) fn open(block: &Path) -> Result<Self, PrometheusError> {
        let folder = block.join(FOLDER);
        let mut files = Vec::new();
        loop {
            let path = folder.join(format!("{:06}", files.len() + 1));
            if !path.exists() {
                break;
            }
            let mut file = FileWindow::open(&path)?;
            let mut header = Cursor(file.bytes(0, HEADER_BYTES)?);
            if header.u32() != Some(MAGIC) {
                return Err(PrometheusError::corrupt(&path, "not a file of chunks"));
            }
            if header.u8() != Some(VERSION) {
                return Err(PrometheusError::unsupported(&path, "only version 1 of chunks is read"));
            }
            files.push(file);
        }
        Ok(Self { folder, files })
    }

    /// Encoding and data of a chunk whose checksum fits.
    pub(crate) fn read(&mut self, name: u64) -> Result<(u8, &[u8]), PrometheusError> {
        let (number, offset) = (name >> 32, name & u64::from(u32::MAX));
        let found = usize::try_from(number).ok().and_then(|n| self.files.get_mut(n));
        let Some(file) = found else {
            let what = format!("the file {:06} is missing, and with it a chunk at {offset}", number + 1);
            return Err(PrometheusError::corrupt(&self.folder, what));
        };
        let path = file.path();
        let mut cursor = Cursor(file.up_to(offset, MAX_LENGTH_BYTES)?);
        let before = cursor.0.len();
        let length = cursor.uvarint().filter(|l| *l <= u64::from(u32::MAX));
        let length = length.ok_or_else(|| PrometheusError::corrupt(&path, format!("no chunk begins at {offset}")))?;
        let start = offset + (before - cursor.0.len()) as u64;
        // Encoding, data, checksum.
        let whole = file.bytes(start, 1 + length + 4)?;
        match whole.split_last_chunk::<4>() {
            Some((body, checksum)) if crc32c::crc32c(body) == u32::from_be_bytes(*checksum) => {
                let (encoding, data) = body.split_first().unwrap_or((&0, &[]));
                Ok((*encoding, data))
            }
            _ => Err(PrometheusError::corrupt(&path, format!("the checksum of the chunk at {offset} does not fit"))),
        }
    }
}
