//! The contract of the store, one clause at a time.

use std::path::Path;
use std::time::Duration;

use disk::{Disk, Fault};
use model::{
    Append, AppendError, Batch, Column, Hints, Matcher, MetricKind, MetricMetadata, Queryable, RefusalReason,
    Selection, TimeRange, stale_nan,
};

use super::support::{HOUR, MINUTE, NOW, World, append, content, everything, put, range, recovered, select};
use crate::{OpenError, Store, WalSync};

fn reasons(store: &Store, rows: &[(&str, i64, f64)]) -> Vec<(usize, RefusalReason)> {
    append(store, rows).expect("can be written").refused.iter().map(|r| (r.row, r.reason)).collect()
}

/// Moves everything into blocks and opens the store again.
fn stopped_and_opened(world: &World, store: std::sync::Arc<Store>) -> std::sync::Arc<Store> {
    store.close().expect("closes");
    drop(store);
    world.open()
}

#[test]
fn one_outcome_per_sample_in_memory_and_sealed() {
    let world = World::new();
    let mut store = world.open();
    let rows = [("a", NOW - 3, 3.0), ("a", NOW - 1, 1.0), ("a", NOW - 2, 2.0), ("b", NOW, stale_nan())];
    put(&store, &rows);
    for round in 0..2 {
        let report = append(&store, &rows).expect("can be written");
        assert_eq!((report.appended, report.duplicates, report.refused.len()), (0, 4, 0), "round {round}");
        assert_eq!(reasons(&store, &[("a", NOW - 2, 5.0)]), [(0, RefusalReason::DuplicateTimestamp)]);
        assert_eq!(everything(&store), content(&rows));
        store = stopped_and_opened(&world, store);
        assert_eq!(store.statistics().head_samples, 0);
        assert_eq!(store.statistics().block_samples, 4);
    }
    assert_eq!(store.statistics().recovery.segments, 0);
}

#[test]
fn an_empty_store_accepts_the_past_and_then_counts_retention_from_the_newest() {
    let world = World::with(|options| options.retention = Duration::from_secs(3600));
    let store = world.open();
    put(&store, &[("a", 0, 1.0)]);
    put(&store, &[("a", NOW, 1.0)]);
    use RefusalReason::{OutOfBounds, TooFarInFuture};
    let rows = [
        ("a", NOW - HOUR - 1, 1.0),
        ("a", NOW - HOUR, 1.0),
        ("a", NOW + 10 * MINUTE + 1, 1.0),
        ("a", NOW + 10 * MINUTE, 1.0),
        ("a", -1, 1.0),
    ];
    assert_eq!(reasons(&store, &rows), [(0, OutOfBounds), (2, TooFarInFuture), (4, OutOfBounds)]);
    // The newest one moved the end of retention.
    assert_eq!(reasons(&store, &[("a", NOW - HOUR + 10 * MINUTE - 1, 1.0)]), [(0, OutOfBounds)]);
    // A clock that jumps back refuses what is ahead of it, and nothing else.
    world.at(NOW - 24 * HOUR);
    assert_eq!(reasons(&store, &[("a", NOW + 1, 1.0)]), [(0, TooFarInFuture)]);
    world.at(NOW);
    put(&store, &[("a", NOW + 1, 1.0)]);
}

#[test]
fn a_clock_that_was_ahead_takes_nothing_with_it() {
    let world = World::with(|options| options.retention = Duration::from_secs(24 * 3600));
    let store = world.open();
    put(&store, &[("a", NOW, 1.0)]);
    let store = stopped_and_opened(&world, store);
    // A year ahead, as long as it takes to notice, but not as long as upkeep needs.
    const AHEAD: i64 = 365 * 24 * HOUR;
    world.at(NOW + AHEAD);
    put(&store, &[("a", NOW + AHEAD, 2.0)]);
    world.at(NOW + HOUR);
    store.maintain();
    let mut rows = vec![("a", NOW, 1.0), ("a", NOW + AHEAD, 2.0)];
    for hour in 1..8 {
        let at = NOW + hour * HOUR;
        world.at(at);
        put(&store, &[("a", at, 3.0)]);
        rows.push(("a", at, 3.0));
        store.maintain();
    }
    assert_eq!(everything(&store), content(&rows));
    assert!(store.statistics().seals.done > 2, "windows follow the clock again: {:?}", store.statistics());
}

#[test]
fn whole_blocks_go_when_their_time_is_over() {
    let world = World::with(|options| options.retention = Duration::from_secs(6 * 3600));
    let store = world.open();
    for hour in 0..12 {
        world.at(NOW + hour * HOUR);
        put(&store, &[("a", NOW + hour * HOUR, hour as f64)]);
        store.maintain();
    }
    (0..5).for_each(|_| store.maintain());
    let found: Vec<i64> = everything(&store)["a"].keys().map(|at| (at - NOW) / HOUR).collect();
    assert!(found.first().is_some_and(|hour| (4..=5).contains(hour)), "{found:?}");
    assert_eq!(found.last(), Some(&11));
    assert!(store.statistics().removals.done > 0);
}

#[test]
fn the_oldest_blocks_go_when_bytes_run_out() {
    let world = World::with(|options| options.retention_bytes = Some(1));
    let store = world.open();
    for hour in 0..6 {
        world.at(NOW + hour * 2 * HOUR);
        put(&store, &[("a", NOW + hour * 2 * HOUR, 1.0)]);
        store.maintain();
    }
    (0..5).for_each(|_| store.maintain());
    // What is in memory takes no bytes on disk, and nothing newer goes before something older.
    let found: Vec<i64> = everything(&store)["a"].keys().map(|at| (at - NOW) / HOUR).collect();
    assert_eq!(found.last(), Some(&10));
    assert!(found.len() < 6, "{found:?}");
    assert_eq!(found, (6 - found.len() as i64..6).map(|n| n * 2).collect::<Vec<_>>());
}

#[test]
fn windows_are_sealed_and_joined() {
    let world = World::with(|options| options.max_head_samples = 5);
    let store = world.open();
    let mut rows = Vec::new();
    for minute in 0..14 * 60 {
        let at = NOW + minute * MINUTE;
        world.at(at);
        rows.push(("a", at, minute as f64));
        put(&store, &[("a", at, minute as f64)]);
        store.maintain();
    }
    (0..50).for_each(|_| store.maintain());
    assert_eq!(everything(&store), content(&rows));
    let statistics = store.statistics();
    assert!(statistics.blocks <= 8, "{statistics:?}");
    assert!(statistics.compactions.done > 0 && statistics.seals.done > 100, "{statistics:?}");
    // Parts that were joined are gone from the disk too.
    assert_eq!(world.files("blocks").len() as u64, statistics.blocks);
    assert!(world.files("wal").len() <= 2, "{:?}", world.files("wal"));
}

#[test]
fn a_killed_store_has_everything_and_tells_the_same_outcomes() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a", NOW, 1.0), ("b", NOW + 1, 2.0)]);
    world.disk.kill();
    let store = world.open();
    // At once, and of what is being replayed too.
    put(&store, &[("c", NOW + 2, 3.0)]);
    let report = append(&store, &[("a", NOW, 1.0), ("b", NOW + 1, 7.0)]).expect("can be written");
    assert_eq!((report.appended, report.duplicates), (0, 1));
    assert_eq!(report.refused[0].reason, RefusalReason::DuplicateTimestamp);
    let want = content(&[("a", NOW, 1.0), ("b", NOW + 1, 2.0), ("c", NOW + 2, 3.0)]);
    assert_eq!(everything(&store), want);
    recovered(&store);
    assert_eq!(everything(&store), want);
    assert_eq!(store.statistics().recovery.samples, 2);
}

#[test]
fn a_full_disk_refuses_everything_until_there_is_room() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a", NOW, 1.0)]);
    world.disk.set_fault(Fault::Full { after_bytes: 10 });
    let error = append(&store, &[("a", NOW + 1, 2.0)]).expect_err("is full");
    assert!(matches!(&error, AppendError::Unwritable(reason) if reason.contains("wal")), "{error}");
    // Nothing of it touches memory any more.
    assert!(append(&store, &[("b", NOW + 1, 2.0)]).is_err());
    assert!(store.statistics().wal.blocked);
    store.maintain();
    assert!(!everything(&store).contains_key("b"));
    world.disk.clear_faults();
    // The sample that was in memory already is a duplicate by now, and acknowledged only because it is in the log.
    assert_eq!(append(&store, &[("a", NOW + 1, 2.0)]).expect("has room").duplicates, 1);
    world.disk.kill();
    let store = world.open();
    assert_eq!(everything(&store), content(&[("a", NOW, 1.0), ("a", NOW + 1, 2.0)]));
}

#[test]
fn what_a_full_disk_kept_from_being_sealed_is_sealed_later() {
    let world = World::with(|options| options.max_head_samples = 1);
    let store = world.open();
    put(&store, &[("a", NOW, 1.0), ("a", NOW + 1, 1.0)]);
    world.disk.set_fault(Fault::Full { after_bytes: 0 });
    store.maintain();
    let statistics = store.statistics();
    assert_eq!((statistics.blocks, statistics.head_samples), (0, 2));
    assert!(statistics.seals.failed > 0);
    world.disk.clear_faults();
    store.maintain();
    store.maintain();
    assert_eq!((store.statistics().blocks, store.statistics().head_samples), (1, 0));
    assert_eq!(everything(&store), content(&[("a", NOW, 1.0), ("a", NOW + 1, 1.0)]));
}

#[test]
fn a_request_that_must_reach_the_disk_is_told_when_it_did() {
    let world = World::with(|options| options.wal_sync = WalSync::Each);
    let store = world.open();
    let (sender, receiver) = std::sync::mpsc::channel();
    let wait = |commit| {
        let sender = sender.clone();
        store.when_durable(commit, Box::new(move |outcome| sender.send(outcome).expect("is awaited")));
        receiver.recv_timeout(Duration::from_secs(60)).expect("answers")
    };
    let report = append(&store, &[("a", NOW, 1.0)]).expect("can be written");
    assert_eq!(wait(report.commit), Ok(()));
    world.disk.set_fault(Fault::FailSync);
    let report = append(&store, &[("a", NOW + 1, 1.0)]).expect("can be written");
    assert!(matches!(wait(report.commit), Err(AppendError::Unwritable(_))));
    world.disk.clear_faults();
    let report = append(&store, &[("a", NOW + 1, 1.0)]).expect("can be written");
    assert_eq!((report.duplicates, wait(report.commit)), (1, Ok(())));
    world.disk.power_loss();
    assert_eq!(everything(&world.open()), content(&[("a", NOW, 1.0), ("a", NOW + 1, 1.0)]));
}

#[test]
fn a_folder_has_one_owner() {
    let world = World::new();
    let store = world.open();
    let error = world.try_open().expect_err("is locked");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    store.close().expect("closes");
    assert_eq!(append(&store, &[("a", NOW, 1.0)]), Err(AppendError::Closed));
    world.open();
}

#[test]
fn a_reader_changes_nothing() {
    let mut world = World::new();
    world.options.read_only = true;
    assert!(matches!(world.try_open(), Err(OpenError::NotAStore { .. })));
    world.options.read_only = false;
    let store = world.open();
    put(&store, &[("a", NOW, 1.0)]);
    let store = stopped_and_opened(&world, store);
    put(&store, &[("a", NOW + 1, 2.0)]);
    let before = (world.files("blocks"), world.files("wal"));
    world.options.read_only = true;
    // Beside the owner, and without the right to write anything.
    world.disk.set_fault(Fault::ReadOnly);
    let reader = world.open();
    assert_eq!(everything(&reader), content(&[("a", NOW, 1.0), ("a", NOW + 1, 2.0)]));
    assert!(matches!(append(&reader, &[("a", NOW + 2, 2.0)]), Err(AppendError::Unwritable(_))));
    reader.maintain();
    assert!(reader.delete_series(&[], TimeRange::ALL).is_err());
    reader.close().expect("closes");
    assert_eq!((world.files("blocks"), world.files("wal")), before);
}

#[test]
fn what_a_newer_version_wrote_is_left_alone() {
    let world = World::new();
    world.open().close().expect("closes");
    let path = Path::new("store/store.json");
    world
        .disk
        .damage(path, |bytes| {
            let text = String::from_utf8(bytes.clone()).expect("is text").replace("\"version\":1", "\"version\":2");
            *bytes = text.into_bytes();
        })
        .expect("is there");
    let error = world.try_open().expect_err("is too new");
    assert!(matches!(error, OpenError::NewerVersion { version: 2, .. }), "{error}");
    world.disk.damage(path, |bytes| bytes.truncate(5)).expect("is there");
    assert!(matches!(world.try_open(), Err(OpenError::VersionFile { .. })));
}

#[test]
fn a_disk_that_cannot_be_written_is_named() {
    let world = World::new();
    world.disk.set_fault(Fault::ReadOnly);
    let error = world.try_open().expect_err("cannot be opened");
    assert!(error.to_string().contains("store"), "{error}");
}

#[test]
fn metadata_survives_kills_and_stops() {
    let entry = |family: &str, help: &str| MetricMetadata {
        family: family.into(),
        kind: MetricKind::Counter,
        help: help.into(),
        unit: "s".into(),
    };
    let world = World::new();
    let store = world.open();
    let told = |entries: Vec<MetricMetadata>| Batch { metadata: entries, ..Batch::default() };
    store.append(&told(vec![entry("a", "old"), entry("b", "b")])).expect("can be written");
    let store = stopped_and_opened(&world, store);
    store.append(&told(vec![entry("a", "new")])).expect("can be written");
    world.disk.kill();
    let store = world.open();
    recovered(&store);
    assert_eq!(store.metadata(), [entry("a", "new"), entry("b", "b")]);
}

#[test]
fn names_and_values_come_from_memory_and_blocks() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a1", NOW - 5 * HOUR, 1.0), ("b1", NOW - 5 * HOUR, 1.0)]);
    let store = stopped_and_opened(&world, store);
    put(&store, &[("a2", NOW, 1.0)]);
    let all = TimeRange::ALL;
    assert_eq!(store.label_names(&[], all), Ok(vec!["__name__".into(), "kind".into(), "series".into()]));
    assert_eq!(store.label_values("series", &[], all), Ok(vec!["a1".into(), "a2".into(), "b1".into()]));
    assert_eq!(store.label_values("series", &[], range(NOW - HOUR, NOW)), Ok(vec!["a2".into()]));
    assert_eq!(store.label_values("none", &[], all), Ok(vec![]));
    let of_kind = |kind: &str| vec![Matcher::equal("kind", kind)];
    assert_eq!(store.label_values("series", &[of_kind("a")], all), Ok(vec!["a1".into(), "a2".into()]));
    assert_eq!(store.label_names(&[of_kind("c")], all), Ok(vec![]));
    let series = store.series(&[of_kind("a"), of_kind("b"), of_kind("a")], all).expect("selects");
    let names: Vec<_> = series.iter().map(|l| l.get("series").unwrap_or("")).collect();
    assert_eq!(names, ["a1", "a2", "b1"]);
    let series = store.series(&[of_kind("a")], range(NOW - HOUR, NOW)).expect("selects");
    assert_eq!(series.len(), 1);
    let shape = store.cardinality(1);
    assert_eq!((shape.series, shape.series_by_metric), (1, vec![("m".to_owned(), 1)]));
}

#[test]
fn counting_raw_samples_yields_ones() {
    let store = World::new().open();
    put(&store, &[("a", NOW, 5.0), ("a", NOW + 1, stale_nan())]);
    let hints = Hints { column: Column::Count, rollups: true, ..Hints::default() };
    let want = content(&[("a", NOW, 1.0), ("a", NOW + 1, stale_nan())]);
    assert_eq!(select(&store, &[], TimeRange::ALL, hints), want);
    let average = Hints { column: Column::Average, ..hints };
    assert_eq!(select(&store, &[], TimeRange::ALL, average)["a"][&NOW], 5f64.to_bits());
}

#[test]
fn deleted_samples_stay_deleted_and_may_come_again() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a", NOW - 3 * HOUR, 1.0), ("a", NOW, 2.0), ("b", NOW, 3.0)]);
    let of_a = vec![Matcher::equal("series", "a")];
    store.delete_series(&[of_a], range(NOW - HOUR, NOW + HOUR)).expect("deletes");
    let want = content(&[("a", NOW - 3 * HOUR, 1.0), ("b", NOW, 3.0)]);
    assert_eq!(everything(&store), want);
    let store = stopped_and_opened(&world, store);
    assert_eq!(everything(&store), want);
    store.clean_tombstones().expect("cleans");
    assert_eq!(everything(&store), want);
    assert_eq!(store.statistics().block_samples, 2);
    put(&store, &[("a", NOW, 9.0)]);
    assert_eq!(everything(&store)["a"][&NOW], 9f64.to_bits());
}

#[test]
fn a_snapshot_is_a_store_of_its_own() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a", NOW, 1.0)]);
    store.snapshot(Path::new("copy")).expect("copies");
    put(&store, &[("a", NOW + 1, 2.0)]);
    let clock = std::sync::Arc::new(|| model::TimestampMs(NOW));
    let disk = std::sync::Arc::new(world.disk.clone());
    let copy = Store::open(disk, Path::new("copy"), world.options.clone(), clock).expect("opens");
    assert_eq!(everything(&copy), content(&[("a", NOW, 1.0)]));
    assert!(store.snapshot(Path::new("copy")).is_err(), "it is not overwritten");
    assert!(world.disk.list(Path::new("copy/blocks")).is_ok());
}

#[test]
fn live_series_are_counted_without_reading_where_all_is_in_memory() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("ends", NOW, 1.0), ("gone", NOW - 10, 1.0), ("odd", NOW, f64::NAN), ("old", NOW - HOUR, 1.0)]);
    put(&store, &[("ends", NOW + 5, stale_nan()), ("late", NOW, 1.0), ("rough", NOW, 0.1 + 0.2)]);
    put(&store, &[("late", NOW - MINUTE, 2.0), ("rough", NOW + 5, std::f64::consts::PI)]);
    let count = |store: &Store, start: i64, end: i64| {
        let selection = Selection { matchers: &[], range: range(start, end), hints: Hints::default() };
        store.count_live(&selection).expect("selects")
    };
    let as_read = |store: &Store, start: i64, end: i64| {
        let found = select(store, &[], range(start, end), Hints::default());
        let newest = found.values().filter_map(|samples| samples.values().next_back());
        newest.filter(|bits| !model::is_stale(f64::from_bits(**bits))).count()
    };
    for (start, end, want) in [
        (NOW - 5, NOW + 5, 3),
        (NOW - 5, NOW, 4),
        (NOW - 10, NOW, 5),
        (NOW - 2 * HOUR, NOW + HOUR, 5),
        (NOW - MINUTE, NOW - 1, 2),
        (NOW + 6, NOW + HOUR, 0),
    ] {
        assert_eq!((count(&store, start, end), as_read(&store, start, end)), (Some(want), want), "{start} {end}");
    }
    let store = stopped_and_opened(&world, store);
    put(&store, &[("new", NOW + MINUTE, 1.0)]);
    assert_eq!(count(&store, NOW, NOW + MINUTE), None);
    assert_eq!(count(&store, NOW + 6, NOW + MINUTE), Some(1));
}
