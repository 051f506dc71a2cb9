//! Native histograms through every stage that samples go through.

use std::collections::BTreeMap;

use model::{
    Append, AppendReport, EncodedHistogram, Hints, HistogramBuffer, HistogramRow, Matcher, Queryable, RefusalReason,
    SampleBuffer, Selection, TimeRange, TimestampMs,
};
use proptest::prelude::*;

use super::support::{HOUR, MINUTE, NOW, World, append, content, everything, labels, put, range, recovered};
use crate::Store;

type Content = BTreeMap<(String, i64), u8>;

fn rows(rows: &[(&str, i64, u8)]) -> Vec<HistogramRow> {
    let row = |(series, at, byte): &(&str, i64, u8)| HistogramRow {
        labels: labels(series),
        timestamp: TimestampMs(*at),
        histogram: EncodedHistogram::new(&[1, *byte]).expect("is short enough"),
    };
    rows.iter().map(row).collect()
}

fn put_histograms(store: &Store, wanted: &[(&str, i64, u8)]) -> AppendReport {
    store.append_histograms(&rows(wanted)).expect("can be written")
}

#[track_caller]
fn histograms(store: &Store, range: TimeRange) -> Content {
    let mut out = Content::new();
    let selection = Selection { matchers: &[], range, hints: Hints::default() };
    for series in store.select(&selection).expect("selects") {
        let (mut found, mut samples) = (HistogramBuffer::default(), SampleBuffer::default());
        series.read_histograms(range, &mut found).expect("reads");
        series.read(range, &mut samples).expect("reads");
        assert!(found.timestamps.is_sorted_by(|a, b| a < b), "{:?}", found.timestamps);
        assert!(found.timestamps.iter().all(|at| !samples.timestamps.contains(at)), "two values at one time");
        let name = series.labels().get("series").unwrap_or("").to_owned();
        out.extend(found.iter().map(|(at, histogram)| ((name.clone(), at), histogram.as_bytes()[1])));
    }
    out
}

fn wanted(rows: &[(&str, i64, u8)]) -> Content {
    rows.iter().map(|(series, at, byte)| (((*series).to_owned(), *at), *byte)).collect()
}

#[test]
fn survive_a_kill_a_seal_a_stop_and_joining() {
    let world = World::with(|options| options.max_block_span = Some(std::time::Duration::from_secs(18 * 3600)));
    let mut store = world.open();
    let mut all = Vec::new();
    let mut floats = Vec::new();
    for hour in -9..0 {
        let at = NOW + hour * HOUR;
        let now = [("a", at, 1), ("only", at, 2), ("a", at + MINUTE, hour.unsigned_abs() as u8)];
        assert_eq!(put_histograms(&store, &now).appended, 3);
        assert_eq!(put_histograms(&store, &now).duplicates, 3);
        put(&store, &[("a", at + 2 * MINUTE, 1.5), ("b", at, 1.0)]);
        all.extend(now);
        floats.extend([("a", at + 2 * MINUTE, 1.5), ("b", at, 1.0)]);
        match hour {
            -8 | -4 => {
                world.disk.kill();
                store = world.open();
                recovered(&store);
            }
            -6 | -3 => {
                store.close().expect("closes");
                store = world.open();
            }
            _ => {}
        }
        assert_eq!(histograms(&store, TimeRange::ALL), wanted(&all), "{hour}");
    }
    for _ in 0..10 {
        store.maintain();
    }
    let statistics = store.statistics();
    assert!(statistics.compactions.done > 0, "{statistics:?}");
    assert_eq!(histograms(&store, TimeRange::ALL), wanted(&all));
    assert_eq!(everything(&store), content(&floats));
    let part = range(NOW - 5 * HOUR, NOW - 4 * HOUR);
    all.retain(|(_, at, _)| (part.start.0..=part.end.0).contains(at));
    assert_eq!(histograms(&store, part), wanted(&all));
    assert!(store.catalogue().all().all(|block| block.verify().is_empty()));
}

#[test]
fn one_value_per_time_in_memory_and_in_blocks() {
    let world = World::new();
    let store = world.open();
    let check = |store: &Store| {
        let refused = |report: AppendReport| report.refused.iter().map(|r| r.reason).collect::<Vec<_>>();
        let conflict = vec![RefusalReason::DuplicateTimestamp];
        assert_eq!(put_histograms(store, &[("a", NOW, 1)]).duplicates, 1);
        assert_eq!(refused(put_histograms(store, &[("a", NOW, 2)])), conflict);
        assert_eq!(refused(append(store, &[("a", NOW, 2.0)]).expect("can be written")), conflict);
        assert_eq!(refused(put_histograms(store, &[("a", NOW - 1, 2)])), conflict);
        assert_eq!(append(store, &[("a", NOW - 1, 2.0)]).expect("can be written").duplicates, 1);
    };
    assert_eq!(put_histograms(&store, &[("a", NOW, 1)]).appended, 1);
    put(&store, &[("a", NOW - 1, 2.0)]);
    check(&store);
    store.close().expect("closes");
    let store = world.open();
    assert_eq!(store.statistics().head_samples, 0);
    check(&store);
    assert_eq!(store.statistics().head_samples, 0);
    let far = put_histograms(&store, &[("a", NOW + HOUR, 1), ("a", -5, 1)]);
    let reasons: Vec<_> = far.refused.iter().map(|r| r.reason).collect();
    assert_eq!(reasons, [RefusalReason::TooFarInFuture, RefusalReason::OutOfBounds]);
}

#[test]
fn deletes_reach_them() {
    let world = World::new();
    let store = world.open();
    put_histograms(&store, &[("a", NOW, 1), ("a", NOW - HOUR, 2), ("b", NOW, 3)]);
    store.delete_series(&[vec![Matcher::equal("series", "a")]], range(NOW - 1, NOW + 1)).expect("deletes");
    let left = wanted(&[("a", NOW - HOUR, 2), ("b", NOW, 3)]);
    assert_eq!(histograms(&store, TimeRange::ALL), left);
    store.clean_tombstones().expect("rewrites");
    assert_eq!(histograms(&store, TimeRange::ALL), left);
    assert_eq!(store.statistics().blocks, 2);
}

#[test]
fn many_are_split_into_records() {
    let world = World::new();
    let store = world.open();
    let long = |at: i64| HistogramRow {
        labels: labels("long"),
        timestamp: TimestampMs(NOW + at),
        histogram: EncodedHistogram::new(&vec![at as u8 | 1; EncodedHistogram::MAX_BYTES]).expect("is short enough"),
    };
    let all: Vec<HistogramRow> = (0..300).map(|at| long(at % 250 + at / 250 * 1000)).collect();
    assert_eq!(store.append_histograms(&all).expect("can be written").appended, 300);
    world.disk.kill();
    let store = world.open();
    recovered(&store);
    assert_eq!(histograms(&store, TimeRange::ALL).len(), 300);
}

#[derive(Debug, Clone)]
enum Step {
    /// Series, minutes before now, value: a float below 3.
    Append(u8, i64, u8),
    Kill,
    Stop,
    Maintain,
    Clean,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn hold_what_was_acknowledged(steps in prop::collection::vec(prop_oneof![
        12 => (0u8..3, 0i64..600, 0u8..6).prop_map(|(s, m, v)| Step::Append(s, m / 7 * 7, v)),
        1 => Just(Step::Kill),
        1 => Just(Step::Stop),
        2 => Just(Step::Maintain),
        1 => Just(Step::Clean),
    ], 1..70), seed in any::<u64>()) {
        let mut world = World::seeded(seed);
        world.options.max_head_samples = 10;
        let mut store = world.open();
        let mut model = Content::new();
        for step in steps {
            match step {
                Step::Append(series, minutes, value) => {
                    let (name, at) = (format!("s{series}"), NOW - minutes * MINUTE);
                    let known = model.get(&(name.clone(), at)).copied();
                    let report = if value < 3 {
                        append(&store, &[(&name, at, f64::from(value))]).expect("can be written")
                    } else {
                        put_histograms(&store, &[(&name, at, value)])
                    };
                    let outcome = (report.appended, report.duplicates, report.refused.len());
                    prop_assert_eq!(outcome, match known {
                        None => (1, 0, 0),
                        Some(known) if known == value => (0, 1, 0),
                        Some(_) => (0, 0, 1),
                    });
                    model.entry((name, at)).or_insert(value);
                }
                Step::Kill | Step::Stop => {
                    if matches!(step, Step::Stop) {
                        store.close().expect("closes");
                    }
                    world.disk.kill();
                    store = world.open();
                    recovered(&store);
                }
                Step::Maintain => store.maintain(),
                Step::Clean => drop(store.clean_tombstones()),
            }
        }
        let floats: Content = everything(&store)
            .into_iter()
            .flat_map(|(name, samples)| samples.into_iter().map(move |(at, bits)| ((name.clone(), at), f64::from_bits(bits) as u8)))
            .collect();
        let mut found = histograms(&store, TimeRange::ALL);
        found.extend(floats);
        prop_assert_eq!(found, model);
    }
}
