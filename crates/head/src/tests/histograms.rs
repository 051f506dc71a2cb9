//! Native histograms among samples: one value per time and series, whichever of the two it is.

use std::collections::BTreeMap;

use model::{
    EncodedHistogram, HistogramBuffer, HistogramRow, Labels, RefusalReason, StoredSeries, TimeRange, TimestampMs, Value,
};
use postings::MatchCache;
use proptest::prelude::*;

use super::{OPEN, batch, labels, options, samples_of};
use crate::{Accepted, AcceptedHistograms, Bounds, Frozen, Head};

fn histogram(byte: u8) -> EncodedHistogram {
    EncodedHistogram::new(&[1, byte]).expect("is short enough")
}

fn row(series: usize, timestamp: i64, byte: u8) -> HistogramRow {
    HistogramRow { labels: labels(series), timestamp: TimestampMs(timestamp), histogram: histogram(byte) }
}

#[derive(Debug, Clone)]
enum Operation {
    /// Series, time and value: a histogram if it is above 9.
    Append(usize, i64, u8),
    Freeze,
    Release,
    Cut,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => (0..3usize, 0..40i64, 8..12u8).prop_map(|(s, t, v)| Operation::Append(s, t, v)),
        1 => Just(Operation::Freeze),
        1 => Just(Operation::Release),
        1 => Just(Operation::Cut),
    ]
}

type Content = BTreeMap<(Labels, i64), u8>;

/// Of every series both kinds by time, as the model has them.
fn content(head: &Head, range: TimeRange) -> Content {
    let mut out = Content::new();
    for series in head.select(&[], range, &MatchCache::new(1 << 20)) {
        let mut own = HistogramBuffer::default();
        series.read_histograms(range, &mut own).expect("memory can be read");
        assert!(own.timestamps.is_sorted_by(|a, b| a < b));
        let histograms = own.iter().map(|(at, histogram)| (at, histogram.as_bytes()[1]));
        let floats = samples_of(&series, range).into_iter().map(|(at, bits)| (at, f64::from_bits(bits) as u8));
        for (at, value) in histograms.chain(floats) {
            assert_eq!(out.insert((series.labels().clone(), at), value), None, "two values at {at}");
        }
    }
    out
}

fn frozen_content(frozen: &Frozen) -> Content {
    let mut out = Content::new();
    for series in frozen.iter() {
        let (mut samples, mut histograms) = (model::SampleBuffer::default(), HistogramBuffer::default());
        series.read(&mut samples);
        series.read_histograms(&mut histograms);
        let floats = samples.timestamps.iter().zip(&samples.values).map(|(at, value)| (*at, *value as u8));
        let all = histograms.iter().map(|(at, histogram)| (at, histogram.as_bytes()[1])).chain(floats);
        out.extend(all.map(|(at, value)| ((series.labels(), at), value)));
    }
    out
}

fn append(head: &Head, series: usize, at: i64, value: u8, sealed: &Content) -> (usize, usize, usize) {
    let look = |labels: &Labels, at: TimestampMs| {
        let known = sealed.get(&(labels.clone(), at.0)).copied()?;
        Some(if known > 9 { Value::Histogram(histogram(known)) } else { Value::Float(f64::from(known)) })
    };
    let bounds = Bounds { sealed_until_ms: i64::MAX, sealed: &look, ..OPEN };
    let report = if value > 9 {
        let mut accepted = AcceptedHistograms::default();
        let report = head.append_histograms(&[row(series, at, value)], &bounds, &mut accepted);
        assert_eq!(accepted.rows.len(), report.appended);
        head.mark_defined(&accepted.undefined);
        report
    } else {
        let mut accepted = Accepted::default();
        head.append_batch(&batch(&[(series, at, f64::from(value))]), &bounds, &mut accepted)
    };
    (report.appended, report.duplicates, report.refused.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_series_has_one_value_per_time(operations in prop::collection::vec(operation(), 1..120), from in 0..40i64, to in 0..40i64) {
        let head = Head::new(options());
        let (mut memory, mut sealed) = (Content::new(), Content::new());
        let mut frozen: Option<Frozen> = None;
        for operation in operations {
            match operation {
                Operation::Append(series, at, value) => {
                    let key = (labels(series), at);
                    let known = memory.get(&key).or_else(|| sealed.get(&key)).copied();
                    let want = match known {
                        None => (1, 0, 0),
                        Some(known) if known == value => (0, 1, 0),
                        Some(_) => (0, 0, 1),
                    };
                    prop_assert_eq!(append(&head, series, at, value, &sealed), want);
                    if known.is_none() {
                        memory.insert(key, value);
                    }
                }
                Operation::Freeze => {
                    let all = head.freeze();
                    prop_assert_eq!(all.samples(), memory.len() as u64);
                    prop_assert_eq!(frozen_content(&all), memory.clone());
                    frozen = Some(all);
                }
                Operation::Release => if let Some(all) = frozen.take() {
                    for (key, value) in frozen_content(&all) {
                        memory.remove(&key);
                        sealed.insert(key, value);
                    }
                    head.release(all);
                },
                Operation::Cut => head.cut(head.prepare_cut()),
            }
            prop_assert_eq!(content(&head, TimeRange::ALL), memory.clone());
            prop_assert_eq!(head.samples(), memory.len() as u64);
        }
        let range = TimeRange { start: TimestampMs(from.min(to)), end: TimestampMs(from.max(to)) };
        let within: Content = memory.into_iter().filter(|((_, at), _)| (range.start.0..=range.end.0).contains(at)).collect();
        prop_assert_eq!(content(&head, range), within);
        drop(frozen.take());
        head.release(head.freeze());
        prop_assert_eq!((head.samples(), head.bounds()), (0, None));
        let prepared = head.prepare_cut();
        head.cut(prepared);
        prop_assert_eq!(head.series(), 0);
    }

    #[test]
    fn a_replay_restores_them(rows in prop::collection::btree_map((0..4usize, 0..50i64), 0..3u8, 0..60)) {
        let (head, replayed) = (Head::new(options()), Head::new(options()));
        let mut accepted = AcceptedHistograms::default();
        let rows: Vec<_> = rows.into_iter().map(|((series, at), byte)| row(series, at, byte)).collect();
        prop_assert_eq!(head.append_histograms(&rows, &OPEN, &mut accepted).appended, rows.len());
        let restored = accepted.rows.iter().map(|(s, at, h)| (replayed.restore(&head.labels(*s)), *at, h.clone()));
        let restored: Vec<_> = restored.collect();
        prop_assert_eq!(replayed.restore_histograms(&restored), rows.len());
        prop_assert_eq!(replayed.restore_histograms(&restored), 0);
        prop_assert_eq!(content(&replayed, TimeRange::ALL), content(&head, TimeRange::ALL));
        prop_assert_eq!(replayed.bounds(), head.bounds());
    }
}

#[test]
fn limits_are_those_of_samples() {
    let head = Head::new(crate::HeadOptions { max_series: 1, ..options() });
    let bounds = Bounds { oldest_ms: 10, newest_ms: 20, ..OPEN };
    let mut accepted = AcceptedHistograms::default();
    let rows = [row(0, 9, 1), row(0, 10, 1), row(0, 21, 1), row(1, 10, 1), row(0, 20, 1)];
    let report = head.append_histograms(&rows, &bounds, &mut accepted);
    let refused: Vec<_> = report.refused.iter().map(|r| (r.row, r.reason)).collect();
    let want = [(0, RefusalReason::OutOfBounds), (2, RefusalReason::TooFarInFuture), (3, RefusalReason::SeriesLimit)];
    assert_eq!((report.appended, refused), (2, want.to_vec()));
    assert_eq!(accepted.undefined.len(), 1);
    let before = head.memory_bytes();
    head.release(head.freeze());
    assert!(head.memory_bytes() < before);
}
