//! The head against a plain model, and its limits one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{
    Append, Batch, Labels, MatchOp, Matcher, MetricMetadata, Queryable, RefusalReason, Sample, SampleBuffer, Selection,
    TimeRange, TimestampMs, stale_nan,
};
use proptest::prelude::*;

use crate::series::Series;
use crate::{Head, HeadOptions};

const NOW: i64 = 1_700_000_000_000;

fn head(options: HeadOptions) -> Head {
    Head::new(options, Arc::new(|| TimestampMs(NOW)))
}

fn batch(rows: &[(&str, i64, f64)]) -> Batch {
    let mut out = Batch::default();
    for (series, timestamp, value) in rows {
        let labels = Labels::from_pairs([("__name__", "m"), ("series", series), ("kind", &series[..1])]);
        out.push(labels, Sample { timestamp: TimestampMs(*timestamp), value: *value });
    }
    out
}

fn read(head: &Head, matchers: &[Matcher], range: TimeRange) -> BTreeMap<String, Vec<(i64, u64)>> {
    let selected = head.select(&Selection { matchers, range }).expect("selects");
    let mut out = BTreeMap::new();
    for series in selected {
        let mut samples = SampleBuffer::default();
        series.read(range, &mut samples).expect("reads");
        let rows = samples.timestamps.into_iter().zip(samples.values.into_iter().map(f64::to_bits)).collect();
        out.insert(series.labels().get("series").unwrap_or("").to_owned(), rows);
    }
    out
}

#[test]
fn keeps_order_and_refuses_contradictions() {
    let head = head(HeadOptions::default());
    let report = head.append(&batch(&[
        ("a", 3, 3.0),
        ("a", 1, 1.0),
        ("a", 2, 2.0),
        ("a", 2, 2.0),
        ("a", 2, 5.0),
        ("a", 4, stale_nan()),
    ]));
    assert_eq!((report.appended, report.duplicates), (4, 1));
    assert_eq!(report.refused.len(), 1);
    assert_eq!((report.refused[0].row, report.refused[0].reason), (4, RefusalReason::DuplicateTimestamp));
    let want = [(1, 1f64.to_bits()), (2, 2f64.to_bits()), (3, 3f64.to_bits()), (4, model::STALE_NAN_BITS)];
    assert_eq!(read(&head, &[], TimeRange::ALL)["a"], want);
    assert_eq!(read(&head, &[], TimeRange { start: TimestampMs(2), end: TimestampMs(3) })["a"], want[1..3]);
    assert!(read(&head, &[], TimeRange { start: TimestampMs(5), end: TimestampMs(9) }).is_empty());
}

#[test]
fn an_empty_store_accepts_the_past_and_then_counts_retention_from_the_newest() {
    let head = head(HeadOptions { retention: Duration::from_secs(60), ..HeadOptions::default() });
    assert_eq!(head.append(&batch(&[("a", 0, 1.0)])).appended, 1);
    assert_eq!(head.append(&batch(&[("a", NOW, 1.0)])).appended, 1);
    let report = head.append(&batch(&[
        ("a", NOW - 60_001, 1.0),
        ("a", NOW - 60_000, 1.0),
        ("a", NOW + 600_001, 1.0),
        ("a", -1, 1.0),
    ]));
    let reasons: Vec<_> = report.refused.iter().map(|r| (r.row, r.reason)).collect();
    use RefusalReason::{OutOfBounds, TooFarInFuture};
    assert_eq!(reasons, [(0, OutOfBounds), (2, TooFarInFuture), (3, OutOfBounds)]);
    head.maintain();
    let statistics = head.statistics();
    assert_eq!((statistics.samples, statistics.dropped_by_retention), (2, 1));
}

#[test]
fn dead_series_leave_the_index() {
    let head = head(HeadOptions { retention: Duration::from_secs(60), ..HeadOptions::default() });
    head.append(&batch(&[("a", NOW - 50_000, 1.0)]));
    head.append(&batch(&[("b", NOW + 50_000, 1.0)]));
    head.maintain();
    assert_eq!(head.statistics().series, 1);
    assert_eq!(head.label_values("series", &[], TimeRange::ALL), Ok(vec!["b".to_owned()]));
}

#[test]
fn new_series_over_the_limit_are_refused_and_known_ones_go_on() {
    let head = head(HeadOptions { max_series: 1, ..HeadOptions::default() });
    let report = head.append(&batch(&[("a", 1, 1.0), ("b", 1, 1.0), ("a", 2, 1.0)]));
    assert_eq!((report.appended, report.refused[0].reason), (2, RefusalReason::SeriesLimit));
}

#[test]
fn the_sample_budget_drops_the_oldest() {
    let head = head(HeadOptions { max_samples: 100, ..HeadOptions::default() });
    for t in 0..200 {
        head.append(&batch(&[("a", NOW - 200 + t, t as f64)]));
    }
    head.maintain();
    let statistics = head.statistics();
    assert!(statistics.samples <= 100 && statistics.samples > 50, "{statistics:?}");
    assert_eq!(statistics.bounds.map(|b| b.1), Some(TimestampMs(NOW - 1)));
    assert_eq!(statistics.dropped_by_budget + statistics.samples, 200);
}

#[test]
fn columns_keep_little_unused_memory() {
    let series = Series::new(Labels::empty());
    for t in 0..10_000 {
        series.push(Sample { timestamp: TimestampMs(t), value: 0.0 });
        let (length, capacity) = series.room();
        assert!(capacity <= length + length / 8 + 8, "{capacity} for {length}");
    }
}

/// Writers, upkeep and readers at once: nothing that was stored is lost but by retention or budget, and counts agree.
#[test]
fn counts_agree_whatever_runs_at_once() {
    const SERIES: i64 = 40;
    const SAMPLES: i64 = 400;
    let options = HeadOptions { retention: Duration::from_secs(60), max_series: 1_000, max_samples: 2_000 };
    let head = head(options);
    let names: Vec<String> = (0..SERIES).map(|n| format!("{}{n}", ["a", "b"][n as usize % 2])).collect();
    let running = std::sync::atomic::AtomicUsize::new(2);
    std::thread::scope(|scope| {
        for writer in 0..2usize {
            let (head, names, running) = (&head, &names, &running);
            scope.spawn(move || {
                // A second a sample: series die by retention and are created again all the time.
                for t in 0..SAMPLES {
                    let born = (t / 70) as usize * 4;
                    let alive = names.iter().cycle().skip(writer + born).step_by(2).take(10);
                    let rows: Vec<(&str, i64, f64)> =
                        alive.map(|name| (name.as_str(), NOW - (SAMPLES - t) * 1_000, t as f64)).collect();
                    let report = head.append(&batch(&rows));
                    assert!(report.refused.iter().all(|r| r.reason == RefusalReason::OutOfBounds), "{report:?}");
                }
                running.fetch_sub(1, std::sync::atomic::Ordering::Release);
            });
        }
        while running.load(std::sync::atomic::Ordering::Acquire) > 0 {
            head.maintain();
            let statistics = head.statistics();
            assert!(statistics.samples <= 2 * 10 * SAMPLES as u64, "{statistics:?}");
        }
    });
    head.maintain();
    let statistics = head.statistics();
    let found: usize = read(&head, &[], TimeRange::ALL).values().map(Vec::len).sum();
    assert_eq!(found as u64, statistics.samples);
    assert_eq!(
        statistics.appended,
        statistics.samples + statistics.dropped_by_retention + statistics.dropped_by_budget
    );
}

#[test]
fn metadata_is_kept_by_family() {
    let head = head(HeadOptions::default());
    let entry = MetricMetadata { family: "m".into(), help: "h".into(), ..MetricMetadata::default() };
    head.append(&Batch { metadata: vec![entry.clone()], ..Batch::default() });
    assert_eq!(head.metadata(), [entry]);
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual), Just(MatchOp::Regex), Just(MatchOp::NotRegex)];
    let name = prop_oneof![Just("series"), Just("kind"), Just("none")];
    let value = prop_oneof![Just(""), Just("a"), Just("b1"), Just("a|b1"), Just("a.*"), Just(".*"), Just(".+")];
    (op, name, value).prop_map(|(op, name, value)| Matcher::new(op, name, value).expect("compiles"))
}

proptest! {
    #[test]
    fn agrees_with_a_plain_model(
        rows in prop::collection::vec(("[ab][0-3]?", 0i64..30, 0u8..3), 0..80),
        matchers in prop::collection::vec(any_matcher(), 0..3),
        start in 0i64..30, length in 0i64..30,
    ) {
        let head = head(HeadOptions::default());
        let mut plain: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
        for (series, timestamp, value) in &rows {
            head.append(&batch(&[(series, *timestamp, f64::from(*value))]));
            plain.entry(series.clone()).or_default().entry(*timestamp).or_insert(f64::from(*value));
        }
        let range = TimeRange { start: TimestampMs(start), end: TimestampMs(start + length) };
        let want: BTreeMap<_, _> = plain
            .into_iter()
            .filter(|(series, _)| {
                let labels = Labels::from_pairs([("series", series.as_str()), ("kind", &series[..1])]);
                model::matches_all(&matchers, &labels)
            })
            .map(|(series, samples)| {
                let inside = samples.range(start..=start + length).map(|(t, v)| (*t, v.to_bits()));
                (series, inside.collect::<Vec<_>>())
            })
            .filter(|(_, samples)| !samples.is_empty())
            .collect();
        let mut found = read(&head, &matchers, range);
        found.retain(|_, samples| !samples.is_empty());
        prop_assert_eq!(found, want);
    }
}
