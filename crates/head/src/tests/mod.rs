//! The head as its users see it: against a plain model, with many at once, and its limits one by one.

mod concurrency;
mod histograms;
mod limits;
mod model_test;
mod reading;

use model::{Batch, DecodeLabels, EncodedBatch, EncodedRow, Labels, RefusalReason, Sample, TimestampMs};
use model::{SampleBuffer, StoredSeries, TimeRange};

use crate::{Accepted, Bounds, Head, HeadOptions, HeadSeries};

/// No limits to speak of.
pub(crate) fn options() -> HeadOptions {
    HeadOptions {
        max_series: usize::MAX,
        max_series_per_source: None,
        source_label: "source".into(),
        max_labels: 32,
        max_label_name_bytes: 64,
        max_label_value_bytes: 64,
        max_memory_bytes: None,
    }
}

pub(crate) fn labels(series: usize) -> Labels {
    let text = series.to_string();
    let parity = if series.is_multiple_of(2) { "even" } else { "odd" };
    // Label sets of different lengths, of which some begin others.
    match series % 3 {
        0 => Labels::from_pairs([("__name__", "m"), ("parity", parity), ("series", &text)]),
        1 => Labels::from_pairs([("__name__", "n"), ("series", &text)]),
        _ => Labels::from_pairs([("__name__", "m"), ("parity", parity), ("series", &text), ("zone", parity)]),
    }
}

/// An encoding in which a label set has many forms: its text, and then whatever.
pub(crate) struct Spoken;

pub(crate) fn spoken(labels: &Labels, accent: u8) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels.iter() {
        out.extend_from_slice(format!("{name}={value};").as_bytes());
    }
    out.push(accent);
    out
}

impl DecodeLabels for Spoken {
    fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason> {
        let text = encoded.split_last().and_then(|(_, text)| std::str::from_utf8(text).ok());
        let pairs = text.ok_or(RefusalReason::InvalidLabels)?.split_terminator(';').map(|pair| pair.split_once('='));
        let pairs: Option<Vec<_>> = pairs.collect();
        Labels::from_sorted(pairs.ok_or(RefusalReason::InvalidLabels)?.into_iter()).ok_or(RefusalReason::InvalidLabels)
    }
}

/// Everything is within bounds, and nothing was ever sealed.
pub(crate) const OPEN: Bounds<'static> =
    Bounds { oldest_ms: i64::MIN, newest_ms: i64::MAX, sealed_until_ms: i64::MIN, sealed: &|_, _| None };

pub(crate) fn sample(timestamp: i64, value: f64) -> Sample {
    Sample { timestamp: TimestampMs(timestamp), value }
}

pub(crate) fn batch(rows: &[(usize, i64, f64)]) -> Batch {
    let mut out = Batch::default();
    rows.iter().for_each(|(series, timestamp, value)| out.push(labels(*series), sample(*timestamp, *value)));
    out
}

/// Appends rows as a sender with an accent encodes them; returns what was accepted besides.
pub(crate) fn append(
    head: &Head,
    rows: &[(usize, i64, f64)],
    accent: u8,
    bounds: &Bounds<'_>,
) -> (model::AppendReport, Accepted) {
    let mut accepted = Accepted::default();
    let bytes: Vec<Vec<u8>> = rows.iter().map(|(series, ..)| spoken(&labels(*series), accent)).collect();
    let encoded: Vec<_> = rows
        .iter()
        .zip(&bytes)
        .map(|((_, timestamp, value), labels)| EncodedRow { labels, sample: sample(*timestamp, *value) })
        .collect();
    let batch = EncodedBatch { rows: &encoded, context: b"spoken", decoder: &Spoken, metadata: &[] };
    let report = head.append(&batch, bounds, &mut accepted);
    (report, accepted)
}

pub(crate) fn samples_of(series: &impl StoredSeries, range: TimeRange) -> Vec<(i64, u64)> {
    let mut buffer = SampleBuffer::default();
    series.read(range, &mut buffer).expect("memory can be read");
    buffer.timestamps.into_iter().zip(buffer.values.into_iter().map(f64::to_bits)).collect()
}

pub(crate) fn names(selected: &[HeadSeries]) -> Vec<Labels> {
    selected.iter().map(|series| series.labels().clone()).collect()
}
