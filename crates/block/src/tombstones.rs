//! What was deleted from a block, in a file beside it, since the block itself never changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use disk::{Disk, write_whole};
use model::{HistogramBuffer, SampleBuffer, TimeRange, TimestampMs};

use crate::bytes::{Cursor, put_varint};
use crate::error::{BlockError, Malformed};

/// The end of the name of a tombstone file; what is before it is that of the block.
pub const TOMBSTONES_SUFFIX: &str = ".tombstones";
const MAGIC: &[u8; 8] = b"HWTOMBS\n";
const VERSION: u32 = 1;

/// Spans of time of which samples are deleted, per series.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tombstones {
    /// Spans ascend and neither touch nor overlap.
    series: BTreeMap<u32, Vec<TimeRange>>,
}

impl Tombstones {
    /// True when nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The deleted spans of a series, ascending.
    pub fn of(&self, ordinal: u32) -> &[TimeRange] {
        self.series.get(&ordinal).map_or(&[], Vec::as_slice)
    }

    /// Every series with its deleted spans.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[TimeRange])> {
        self.series.iter().map(|(&ordinal, spans)| (ordinal, spans.as_slice()))
    }

    /// Adds a span; an empty one changes nothing.
    pub(crate) fn add(&mut self, ordinal: u32, span: TimeRange) {
        if span.start > span.end {
            return;
        }
        let spans = self.series.entry(ordinal).or_default();
        let mut merged = span;
        spans.retain(|old| {
            let apart = old.end + 1 < merged.start || merged.end + 1 < old.start;
            if !apart {
                merged = TimeRange { start: merged.start.min(old.start), end: merged.end.max(old.end) };
            }
            apart
        });
        let at = spans.partition_point(|old| old.start < merged.start);
        spans.insert(at, merged);
    }

    /// Removes the deleted ones of the samples from `from` on.
    pub(crate) fn apply(&self, ordinal: u32, from: usize, samples: &mut SampleBuffer) {
        let spans = self.of(ordinal);
        let mut kept = from;
        for at in from..if spans.is_empty() { from } else { samples.len() } {
            if is_kept(spans, samples.timestamps[at]) {
                samples.timestamps[kept] = samples.timestamps[at];
                samples.values[kept] = samples.values[at];
                kept += 1;
            }
        }
        if !spans.is_empty() {
            samples.timestamps.truncate(kept);
            samples.values.truncate(kept);
        }
    }

    /// Removes the deleted ones of the histograms from `from` on.
    pub(crate) fn apply_to_histograms(&self, ordinal: u32, from: usize, histograms: &mut HistogramBuffer) {
        let spans = self.of(ordinal);
        if spans.is_empty() {
            return;
        }
        let (times, found) = (histograms.timestamps.split_off(from), histograms.histograms.split_off(from));
        let kept = times.into_iter().zip(found).filter(|(timestamp, _)| is_kept(spans, *timestamp));
        kept.for_each(|(timestamp, histogram)| histograms.push(timestamp, histogram));
    }

    /// The file's name for a block's.
    pub(crate) fn path_of(block: &Path) -> PathBuf {
        block.with_extension(&TOMBSTONES_SUFFIX[1..])
    }

    /// Reads the file beside a block of so many series; nothing is deleted where there is none.
    pub(crate) fn load(disk: &dyn Disk, block: &Path, series: u32) -> Result<Self, BlockError> {
        let path = Self::path_of(block);
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(BlockError::io(&path, error)),
        };
        if let Some(version) = bytes.get(8..12).and_then(|v| v.first_chunk().copied()).map(u32::from_le_bytes)
            && bytes.starts_with(MAGIC)
            && version > VERSION
        {
            return Err(BlockError::NewerVersion { path, found: version, supported: VERSION });
        }
        Self::decode(&bytes, series).map_err(|malformed| BlockError::corrupt(&path, 0, malformed))
    }

    /// Replaces the file.
    pub(crate) fn store(&self, disk: &dyn Disk, block: &Path) -> Result<(), BlockError> {
        let path = Self::path_of(block);
        write_whole(disk, &path, &self.encode()).map_err(|error| BlockError::io(&path, error))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        put_varint(&mut out, self.series.len() as u64);
        let mut next = 0;
        for (&ordinal, spans) in &self.series {
            put_varint(&mut out, u64::from(ordinal - next));
            next = ordinal + 1;
            put_varint(&mut out, spans.len() as u64);
            for span in spans {
                out.extend_from_slice(&span.start.0.to_le_bytes());
                out.extend_from_slice(&span.end.0.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], series: u32) -> Result<Self, Malformed> {
        let content_bytes = bytes.len().saturating_sub(4);
        let (content, crc) = bytes.split_at(content_bytes);
        if !content.starts_with(MAGIC) || crc != crc32c::crc32c(content).to_le_bytes() {
            return Err(Malformed("the tombstones fail their checksum"));
        }
        let mut cursor = Cursor::at(content, MAGIC.len())?;
        if cursor.u32()? != VERSION {
            return Err(Malformed("the tombstones have no known version"));
        }
        let mut tombstones = Self::default();
        let mut next = 0u64;
        for _ in 0..cursor.count(series as usize)? {
            let ordinal = next.saturating_add(cursor.varint()?);
            let known = u32::try_from(ordinal).ok().filter(|&o| o < series);
            let known = known.ok_or(Malformed("the tombstones name a series that is not there"))?;
            next = ordinal + 1;
            for _ in 0..cursor.count(content.len())? {
                let (start, end) = (TimestampMs(cursor.i64()?), TimestampMs(cursor.i64()?));
                tombstones.add(known, TimeRange { start, end });
            }
        }
        Ok(tombstones)
    }
}

/// Whether a time lies in none of these spans, which ascend.
#[inline]
fn is_kept(spans: &[TimeRange], timestamp: i64) -> bool {
    let timestamp = TimestampMs(timestamp);
    let span = spans.partition_point(|span| span.end < timestamp);
    spans.get(span).is_none_or(|span| timestamp < span.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: i64, end: i64) -> TimeRange {
        TimeRange { start: TimestampMs(start), end: TimestampMs(end) }
    }

    #[test]
    fn spans_merge() {
        let mut tombstones = Tombstones::default();
        for (start, end) in [(50, 60), (10, 20), (21, 30), (70, 65), (58, 80)] {
            tombstones.add(3, span(start, end));
        }
        assert_eq!(tombstones.of(3), [span(10, 30), span(50, 80)]);
        tombstones.add(3, TimeRange::ALL);
        assert_eq!(tombstones.of(3), [TimeRange::ALL]);
    }

    proptest! {
        #[test]
        fn deleted_samples_are_gone_and_no_others(spans in prop::collection::vec((0i64..50, 0i64..20), 0..6), from in 0usize..10) {
            let mut tombstones = Tombstones::default();
            for &(start, length) in &spans {
                tombstones.add(7, span(start, start + length));
            }
            prop_assert_eq!(Tombstones::decode(&tombstones.encode(), 8), Ok(tombstones.clone()));
            prop_assert!(spans.is_empty() || Tombstones::decode(&tombstones.encode(), 7).is_err());
            let mut samples = SampleBuffer::default();
            (0..70).for_each(|t| samples.push(t, t as f64));
            tombstones.apply(7, from, &mut samples);
            let deleted = |t: &i64| spans.iter().any(|(start, length)| (*start..=start + length).contains(t));
            let want: Vec<i64> = (0..70).filter(|t| *t < from as i64 || !deleted(t)).collect();
            prop_assert_eq!(&samples.timestamps, &want);
            prop_assert!(samples.timestamps.iter().zip(&samples.values).all(|(t, v)| *t as f64 == *v));
        }

        #[test]
        fn any_damage_is_found(at: prop::sample::Index, bit in 0u8..8) {
            let mut tombstones = Tombstones::default();
            tombstones.add(1, span(5, 6));
            tombstones.add(9, span(-5, 6));
            let mut bytes = tombstones.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Tombstones::decode(&bytes, 10).is_err());
            prop_assert!(Tombstones::decode(&bytes[..at], 10).is_err());
        }
    }
}
