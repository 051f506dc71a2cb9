//! Exemplars as a store keeps them: what it refuses, and what a restart leaves.

use std::path::Path;

use disk::Disk;
use model::{
    Append, Exemplar, ExemplarQueryable, ExemplarRefusalReason as Reason, ExemplarRow, Labels, TimeRange, TimestampMs,
};

use crate::Store;
use crate::tests::support::{MINUTE, NOW, World};

fn row(series: &str, at: i64, trace: &str) -> ExemplarRow {
    let labels = Labels::from_pairs([("trace_id", trace)]);
    ExemplarRow {
        series: Labels::from_pairs([("__name__", "m"), ("series", series)]),
        exemplar: Exemplar { labels, value: 0.5, timestamp: TimestampMs(at) },
    }
}

fn put(store: &Store, rows: &[ExemplarRow]) {
    let report = store.append_exemplars(rows).expect("is open");
    assert_eq!((report.appended, report.refused), (rows.len(), vec![]));
}

/// The times of all, by series.
fn times(store: &Store) -> Vec<(String, Vec<i64>)> {
    let found = store.exemplars(&[Vec::new()], TimeRange::ALL);
    let name = |labels: &Labels| labels.get("series").unwrap_or("").to_owned();
    found.iter().map(|f| (name(&f.series), f.exemplars.iter().map(|e| e.timestamp.0 - NOW).collect())).collect()
}

fn of(series: &str, times: &[i64]) -> (String, Vec<i64>) {
    (series.to_owned(), times.to_vec())
}

#[test]
fn each_is_stored_known_or_refused_for_a_reason() {
    let world = World::with(|options| options.head.max_labels = 3);
    let store = world.open();
    let crowded = ["a", "b", "c", "d"].map(|name| (name, "x"));
    let rows = [
        row("a", NOW, "1"),
        row("a", NOW, "1"),
        row("a", NOW - 1, "2"),
        // 8 characters of the name and 120 more, each of two bytes.
        row("a", NOW + 1, &"ü".repeat(120)),
        row("a", NOW + 2, &"x".repeat(121)),
        row("a", NOW + 10 * MINUTE, "3"),
        row("a", NOW + 10 * MINUTE + 1, "4"),
        ExemplarRow { series: Labels::from_pairs(crowded), ..row("", NOW, "") },
        // No labels at all are fine.
        row("b", NOW, ""),
    ];
    let report = store.append_exemplars(&rows).expect("is open");
    let refused: Vec<_> = report.refused.iter().map(|r| (r.row, r.reason)).collect();
    let want = [(2, Reason::OutOfOrder), (4, Reason::LabelsTooLong), (6, Reason::TooFarInFuture)];
    assert_eq!(refused, [&want[..], &[(7, Reason::InvalidLabels)]].concat());
    assert_eq!((report.appended, report.duplicates), (4, 1));
    assert_eq!(times(&store), [of("a", &[0, 1, 10 * MINUTE]), of("b", &[0])]);
    let statistics = store.statistics().exemplars;
    assert_eq!((statistics.appended, statistics.out_of_order), (4, 1));
    assert_eq!((statistics.stored, statistics.series, statistics.capacity), (4, 2, 100_000));
    assert_eq!(statistics.oldest, Some(TimestampMs(NOW)));
    assert!(statistics.bytes > 500, "{statistics:?}");
}

#[test]
fn zero_keeps_none_and_a_reload_may_change_that() {
    let world = World::with(|options| options.max_exemplars = 0);
    let store = world.open();
    let report = store.append_exemplars(&[row("a", NOW, "1")]).expect("is open");
    assert_eq!(report.refused.iter().map(|r| r.reason).collect::<Vec<_>>(), [Reason::Disabled]);
    store.set_max_exemplars(2);
    put(&store, &[row("a", NOW, "1"), row("b", NOW + 1, "2"), row("a", NOW + 2, "3")]);
    assert_eq!(times(&store), [of("a", &[2]), of("b", &[1])]);
    store.set_max_exemplars(1);
    assert_eq!(times(&store), [of("a", &[2])]);
    store.close().expect("closes");
    assert_eq!(store.append_exemplars(&[row("a", NOW, "1")]), Err(model::AppendError::Closed));
}

#[test]
fn they_survive_a_stop_and_a_kill() {
    let world = World::with(|options| options.max_exemplars = 3);
    let mut want = vec![of("a", &[0]), of("b", &[1])];
    let store = world.open();
    put(&store, &[row("a", NOW, "1"), row("b", NOW + 1, "2")]);
    store.close().expect("closes");
    drop(store);
    let store = world.open();
    assert_eq!(times(&store), want);
    put(&store, &[row("b", NOW + 2, "3"), row("b", NOW + 3, "4")]);
    drop(store);
    world.disk.kill();
    want = vec![of("b", &[1, 2, 3])];
    // However often: what counts is written again, the rest goes.
    for _ in 0..3 {
        let store = world.open();
        assert_eq!(times(&store), want);
        assert_eq!(world.files("exemplars").len(), 1);
        // Whoever replays may hold the store for a moment longer, and with it the folder.
        world.disk.kill();
    }
    let store = world.open();
    let again = store.append_exemplars(&[row("b", NOW + 3, "4")]).expect("is open");
    assert_eq!((again.appended, again.duplicates), (0, 1));
}

#[test]
fn the_log_is_as_long_as_two_rings() {
    let world = World::with(|options| options.max_exemplars = 10);
    let store = world.open();
    let size = || {
        let paths = world.files("exemplars").into_iter().map(|name| Path::new("store/exemplars").join(name));
        paths.map(|path| world.disk.read(&path).expect("is there").len()).sum::<usize>()
    };
    put(&store, &[row("a", NOW, "0")]);
    let one = size();
    for at in 1..500 {
        put(&store, &[row("a", NOW + at, "0")]);
        assert!(size() <= 22 * one, "after {at}: {}", size());
    }
    drop(store);
    world.disk.kill();
    assert_eq!(times(&world.open()), [of("a", &(490..500).collect::<Vec<_>>())]);
}

#[test]
fn damage_costs_itself() {
    let world = World::new();
    let store = world.open();
    let segment = || Path::new("store/exemplars").join(&world.files("exemplars")[0]);
    put(&store, &[row("a", NOW, "1")]);
    let before = world.disk.read(&segment()).expect("is there").len();
    put(&store, &[row("a", NOW + 1, "2")]);
    put(&store, &[row("a", NOW + 2, "3")]);
    drop(store);
    world.disk.kill();
    world.disk.damage(&segment(), |bytes| bytes[before + 20] ^= 1).expect("is there");
    let store = world.open();
    assert_eq!(times(&store), [of("a", &[0, 2])]);
    let statistics = store.statistics();
    assert_eq!((statistics.corruptions, statistics.quarantined.len()), (1, 1), "{statistics:?}");
}

#[test]
fn whoever_only_reads_changes_nothing() {
    let mut world = World::new();
    put(&world.open(), &[row("a", NOW, "1")]);
    let before = world.files("exemplars");
    world.options.read_only = true;
    let store = world.open();
    assert_eq!(times(&store), [of("a", &[0])]);
    assert_eq!(world.files("exemplars"), before);
}
