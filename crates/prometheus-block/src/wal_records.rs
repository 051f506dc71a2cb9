//! Records of the write-ahead log: series with the numbers that stand for them, samples, deletions, metadata.

use model::{Labels, MetricKind};

use crate::bytes::Cursor;

/// Kinds of records.
pub(crate) const SERIES: u8 = 1;
pub(crate) const SAMPLES: u8 = 2;
pub(crate) const TOMBSTONES: u8 = 3;
pub(crate) const EXEMPLARS: u8 = 4;
pub(crate) const MMAP_MARKERS: u8 = 5;
pub(crate) const METADATA: u8 = 6;
/// Native histograms, integer and float, and with custom buckets.
pub(crate) const HISTOGRAMS: std::ops::RangeInclusive<u8> = 7..=10;

/// Calls `each` with the number and the labels of every series; `None` when the record is damaged.
#[must_use]
pub(crate) fn series(body: &[u8], mut each: impl FnMut(u64, Labels)) -> Option<()> {
    let mut cursor = Cursor(body);
    let mut pairs = Vec::new();
    while !cursor.is_empty() {
        let reference = cursor.u64()?;
        pairs.clear();
        for _ in 0..cursor.uvarint()? {
            pairs.push((cursor.text()?, cursor.text()?));
        }
        let labels = Labels::from_sorted(pairs.iter().copied());
        each(reference, labels.unwrap_or_else(|| Labels::from_pairs(pairs.iter().copied())));
    }
    Some(())
}

/// Calls `each` with series, timestamp and value of every sample, until it fails.
pub(crate) fn samples<E>(body: &[u8], mut each: impl FnMut(u64, i64, f64) -> Result<(), E>) -> Result<Option<()>, E> {
    let mut cursor = Cursor(body);
    if cursor.is_empty() {
        return Ok(Some(()));
    }
    // Both are what differences count from, not samples themselves.
    let (Some(reference), Some(timestamp)) = (cursor.u64(), cursor.u64()) else { return Ok(None) };
    while !cursor.is_empty() {
        let mut sample = || Some((cursor.varint()?, cursor.varint()?, cursor.u64()?));
        let Some((series, time, bits)) = sample() else { return Ok(None) };
        each(reference.wrapping_add(series as u64), (timestamp as i64).wrapping_add(time), f64::from_bits(bits))?;
    }
    Ok(Some(()))
}

/// Calls `each` with series, first and last instant of every deletion.
#[must_use]
pub(crate) fn tombstones(body: &[u8], mut each: impl FnMut(u64, i64, i64)) -> Option<()> {
    let mut cursor = Cursor(body);
    while !cursor.is_empty() {
        each(cursor.u64()?, cursor.varint()?, cursor.varint()?);
    }
    Some(())
}

/// What was said of a series' metric.
pub(crate) struct Metadata<'a> {
    pub(crate) series: u64,
    pub(crate) kind: MetricKind,
    pub(crate) unit: &'a str,
    pub(crate) help: &'a str,
}

/// Calls `each` with the metadata of every series named.
#[must_use]
pub(crate) fn metadata(body: &[u8], mut each: impl FnMut(Metadata<'_>)) -> Option<()> {
    let mut cursor = Cursor(body);
    while !cursor.is_empty() {
        let mut out = Metadata { series: cursor.uvarint()?, kind: kind(cursor.u8()?), unit: "", help: "" };
        for _ in 0..cursor.uvarint()? {
            match cursor.text()? {
                "UNIT" => out.unit = cursor.text()?,
                "HELP" => out.help = cursor.text()?,
                _ => {
                    cursor.text()?;
                }
            }
        }
        each(out);
    }
    Some(())
}

fn kind(number: u8) -> MetricKind {
    match number {
        1 => MetricKind::Counter,
        2 => MetricKind::Gauge,
        3 => MetricKind::Histogram,
        4 => MetricKind::GaugeHistogram,
        5 => MetricKind::Summary,
        6 => MetricKind::Info,
        7 => MetricKind::StateSet,
        _ => MetricKind::Unknown,
    }
}
