//! What a head refuses.

use std::cell::Cell;

use model::{Batch, DecodeLabels, EncodedBatch, EncodedRow, Labels, RefusalReason, TimestampMs, Value};

use super::{OPEN, Spoken, append, batch, labels, options, sample, spoken};
use crate::{Accepted, Bounds, Head, HeadOptions};

fn reasons(head: &Head, batch: &Batch) -> Vec<(usize, RefusalReason)> {
    let report = head.append_batch(batch, &OPEN, &mut Accepted::default());
    report.refused.iter().map(|r| (r.row, r.reason)).collect()
}

#[test]
fn known_series_go_on_when_there_are_enough() {
    let head = Head::new(HeadOptions { max_series: 2, ..options() });
    let refused = reasons(&head, &batch(&[(0, 1, 1.0), (1, 1, 1.0), (2, 1, 1.0), (0, 2, 1.0), (2, 2, 1.0)]));
    assert_eq!(refused, [(2, RefusalReason::SeriesLimit), (4, RefusalReason::SeriesLimit)]);
    assert_eq!(head.series(), 2);
    // Another encoding of a known series makes no new one.
    let (report, _) = append(&head, &[(0, 3, 1.0), (3, 3, 1.0)], 0, &OPEN);
    assert_eq!((report.appended, report.refused.len()), (1, 1));
    // Idle ones make room.
    let frozen = head.freeze();
    head.release(frozen);
    let prepared = head.prepare_cut();
    head.cut(prepared);
    assert_eq!(reasons(&head, &batch(&[(2, 5, 1.0)])), []);
}

#[test]
fn one_source_does_not_take_the_room_of_others() {
    let head = Head::new(HeadOptions { max_series_per_source: Some(2), ..options() });
    let mut rows = Batch::default();
    for (source, name) in [("a", "x"), ("a", "y"), ("a", "z"), ("b", "x"), ("", "x"), ("", "y"), ("", "z")] {
        rows.push(Labels::from_pairs([("source", source), ("__name__", name)]), sample(1, 1.0));
    }
    assert_eq!(reasons(&head, &rows), [(2, RefusalReason::SourceSeriesLimit)]);
}

#[test]
fn memory_is_a_limit_for_new_series_only() {
    let head = Head::new(HeadOptions { max_memory_bytes: Some(200_000), ..options() });
    let rows: Vec<_> = (0..5000).map(|series| (series, 1, 1.0)).collect();
    let refused = reasons(&head, &batch(&rows));
    let taken = rows.len() - refused.len();
    assert!((100..4000).contains(&taken), "{taken} series");
    assert!(refused.iter().all(|(_, reason)| *reason == RefusalReason::MemoryLimit));
    assert!(head.memory_bytes() < 400_000, "{} bytes", head.memory_bytes());
    assert_eq!(reasons(&head, &batch(&[(0, 2, 2.0)])), []);
}

#[test]
fn label_sets_have_limits() {
    let head = Head::new(HeadOptions { max_labels: 3, ..options() });
    let long = "x".repeat(65);
    let mut rows = Batch::default();
    let sets = [
        vec![("a", "1"), ("b", "1"), ("c", "1")],
        vec![("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")],
        vec![("a", &long[1..])],
        vec![("a", &long[..])],
        vec![(&long[1..], "1")],
        vec![(&long[..], "1")],
    ];
    sets.into_iter().for_each(|set| rows.push(Labels::from_pairs(set), sample(1, 1.0)));
    let invalid = |row| (row, RefusalReason::InvalidLabels);
    assert_eq!(reasons(&head, &rows), [invalid(1), invalid(3), invalid(5)]);
}

#[test]
fn what_cannot_be_decoded_is_refused_and_the_rest_is_kept() {
    let head = Head::new(options());
    let good = spoken(&labels(1), 0);
    let row = |labels, timestamp| EncodedRow { labels, sample: sample(timestamp, 1.0) };
    let rows = [row(&good, 1), row(b"nonsense;!", 1), row(b"", 1), row(&good, 2), row(b"b=1;a=1;!", 2)];
    let batch = EncodedBatch { rows: &rows, context: b"", decoder: &Spoken, metadata: &[] };
    let report = head.append(&batch, &OPEN, &mut Accepted::default());
    assert_eq!(report.appended, 2);
    assert_eq!(report.refused.iter().map(|r| r.row).collect::<Vec<_>>(), [1, 2, 4]);
    assert!(report.refused.iter().all(|r| r.reason == RefusalReason::InvalidLabels));
}

#[test]
fn what_is_refused_for_its_time_makes_no_series() {
    let head = Head::new(options());
    let bounds = Bounds { oldest_ms: 10, newest_ms: 20, ..OPEN };
    let rows = batch(&[(0, 9, 1.0), (1, 10, 1.0), (2, 20, 1.0), (3, 21, 1.0)]);
    let report = head.append_batch(&rows, &bounds, &mut Accepted::default());
    let reasons: Vec<_> = report.refused.iter().map(|r| (r.row, r.reason)).collect();
    assert_eq!(reasons, [(0, RefusalReason::OutOfBounds), (3, RefusalReason::TooFarInFuture)]);
    assert_eq!(head.series(), 2);
}

/// Counts how often it is asked.
struct Counting(Cell<usize>);

impl DecodeLabels for Counting {
    fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason> {
        self.0.set(self.0.get() + 1);
        Spoken.decode(encoded)
    }
}

#[test]
fn labels_are_decoded_when_bytes_are_new_in_their_context() {
    let head = Head::new(options());
    let decoder = Counting(Cell::new(0));
    let bytes = spoken(&labels(1), 0);
    let asked = |context: &[u8], timestamp: i64| {
        let rows = [0, 1, 2].map(|i| EncodedRow { labels: &bytes, sample: sample(timestamp + i, 1.0) });
        let batch = EncodedBatch { rows: &rows, context, decoder: &decoder, metadata: &[] };
        let mut accepted = Accepted::default();
        assert_eq!(head.append(&batch, &OPEN, &mut accepted).appended, 3);
        (decoder.0.replace(0), accepted.undefined.len())
    };
    assert_eq!(asked(b"a", 0), (1, 1));
    assert_eq!(asked(b"a", 10), (0, 1));
    assert_eq!(asked(b"b", 20), (1, 1));
    // The bytes of one context are no bytes of another, and not those of the context itself either.
    assert_eq!(asked(&bytes, 30), (1, 1));
    assert_eq!(head.series(), 1);
}

#[test]
fn definitions_are_asked_for_until_the_log_has_them_and_again_after_a_cut() {
    let head = Head::new(options());
    let undefined = |timestamp| append(&head, &[(0, timestamp, 1.0), (0, timestamp + 1, 1.0)], 0, &OPEN).1.undefined;
    let first = undefined(0);
    assert_eq!(first.len(), 1);
    assert_eq!(undefined(10), first);
    head.mark_defined(&first);
    assert_eq!(undefined(20), []);
    let prepared = head.prepare_cut();
    head.cut(prepared);
    assert_eq!(undefined(30).len(), 1);
}

#[test]
fn sealed_samples_are_neither_stored_again_nor_contradicted() {
    let head = Head::new(options());
    let sealed = |l: &Labels, t: TimestampMs| (*l == labels(0) && t.0 % 2 == 0).then_some(Value::Float(5.0));
    let bounds = Bounds { sealed_until_ms: 100, sealed: &sealed, ..OPEN };
    let rows = [(0, 2, 5.0), (0, 4, 6.0), (0, 5, 7.0), (1, 2, 6.0), (0, 102, 6.0)];
    let (report, accepted) = append(&head, &rows, 0, &bounds);
    assert_eq!((report.appended, report.duplicates), (3, 1));
    assert_eq!(report.refused.iter().map(|r| r.row).collect::<Vec<_>>(), [1]);
    let mut times = accepted.timestamps;
    times.sort_unstable();
    assert_eq!(times, [2, 5, 102]);
}
