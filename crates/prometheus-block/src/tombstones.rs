//! `tombstones`: ranges of samples that were deleted from a block and are still in its chunks.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use model::SampleBuffer;

use crate::bytes::Cursor;
use crate::error::PrometheusError;

pub(crate) const FILE: &str = "tombstones";
const MAGIC: u32 = 0x0130_BA30;
const VERSION: u8 = 1;

/// Deleted ranges by series, both ends included.
#[derive(Debug, Default)]
pub(crate) struct Tombstones(HashMap<u64, Vec<(i64, i64)>>);

impl Tombstones {
    /// Reads a block's file; one that is missing deletes nothing.
    pub(crate) fn read(folder: &Path) -> Result<Self, PrometheusError> {
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            other => other.map_err(PrometheusError::io(&path))?,
        };
        let corrupt = |what: &str| PrometheusError::corrupt(&path, what);
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| corrupt("the file ends too early"))?;
        let mut cursor = Cursor(body);
        if cursor.u32() != Some(MAGIC) {
            return Err(corrupt("not a file of tombstones"));
        }
        if cursor.u8() != Some(VERSION) {
            return Err(PrometheusError::unsupported(&path, "only version 1 of tombstones is read"));
        }
        if crc32c::crc32c(cursor.0) != u32::from_be_bytes(*checksum) {
            return Err(corrupt("the checksum does not fit"));
        }
        let mut out = Self::default();
        while !cursor.is_empty() {
            let mut stone = || Some((cursor.uvarint()?, cursor.varint()?, cursor.varint()?));
            let (series, first, last) = stone().ok_or_else(|| corrupt("the file ends too early"))?;
            out.add(series, first, last);
        }
        Ok(out)
    }

    /// Bytes of a file without tombstones.
    pub(crate) fn empty_file() -> Vec<u8> {
        let mut out = MAGIC.to_be_bytes().to_vec();
        out.push(VERSION);
        out.extend_from_slice(&crc32c::crc32c(&[]).to_be_bytes());
        out
    }

    pub(crate) fn add(&mut self, series: u64, first: i64, last: i64) {
        self.0.entry(series).or_default().push((first, last));
    }

    /// Whether a sample was deleted.
    pub(crate) fn covers(&self, series: u64, timestamp: i64) -> bool {
        !self.0.is_empty() && self.0.get(&series).is_some_and(|r| r.iter().any(|(a, b)| (*a..=*b).contains(&timestamp)))
    }

    /// Takes deleted samples of a series out.
    pub(crate) fn apply(&self, series: u64, samples: &mut SampleBuffer) {
        if !self.0.contains_key(&series) {
            return;
        }
        let mut kept = SampleBuffer::default();
        for (timestamp, value) in samples.timestamps.iter().zip(&samples.values) {
            if !self.covers(series, *timestamp) {
                kept.push(*timestamp, *value);
            }
        }
        *samples = kept;
    }
}
