//! Rollups through the store: made when it is time, read when a query may, right for what PromQL does with them.

use std::time::Duration;

use model::{Column, Hints, STALE_NAN_BITS, stale_nan};

use super::support::{HOUR, MINUTE, NOW, World, put, range, select};
use crate::{Rollup, Store};

const FIVE: i64 = 5 * MINUTE;

fn world() -> World {
    World::with(|options| {
        options.retention = Duration::from_secs(48 * 3600);
        options.rollups = vec![Rollup {
            resolution: Duration::from_secs(300),
            after: Duration::from_secs(2 * 3600),
            retention: None,
        }];
    })
}

/// A counter that restarts, a minute a sample, over so many hours.
fn fill(world: &World, store: &Store, from: i64, hours: i64) {
    for minute in 0..hours * 60 {
        let at = from + minute * MINUTE;
        world.at(at);
        put(store, &[("a", at, (minute % 777) as f64)]);
        if minute % 60 == 0 {
            store.maintain();
        }
    }
    (0..40).for_each(|_| store.maintain());
}

fn hints(column: Column) -> Hints {
    Hints { column, rollups: true, step_ms: HOUR, window_ms: HOUR, ..Hints::default() }
}

fn column(store: &Store, column: Column, from: i64, to: i64) -> Vec<(i64, f64)> {
    let found = select(store, &[], range(from, to), hints(column));
    found.get("a").map(|a| a.iter().map(|(at, bits)| (*at, f64::from_bits(*bits))).collect()).unwrap_or_default()
}

#[test]
fn rows_stand_for_raw_samples_where_the_step_allows() {
    let world = world();
    let store = world.open();
    fill(&world, &store, NOW, 36);
    let statistics = store.statistics();
    assert!(statistics.rollup_blocks > 0 && statistics.rollups.failed == 0, "{statistics:?}");
    let (from, to) = (NOW + HOUR + 1, NOW + 5 * HOUR);
    let count = column(&store, Column::Count, from, to);
    assert_eq!(count.len() as i64, 4 * HOUR / FIVE, "{count:?}");
    assert_eq!(count.iter().map(|c| c.1).sum::<f64>(), 240.0);
    assert!(count.iter().all(|(at, _)| at % FIVE == 0));
    let minutes = || (from / MINUTE + 1..=to / MINUTE).map(|m| ((m - NOW / MINUTE) % 777) as f64);
    let sum: f64 = column(&store, Column::Sum, from, to).iter().map(|s| s.1).sum();
    assert_eq!(sum, minutes().sum::<f64>());
    let max = column(&store, Column::Max, from, to).into_iter().map(|s| s.1).fold(f64::NEG_INFINITY, f64::max);
    assert_eq!(max, minutes().fold(f64::NEG_INFINITY, f64::max));
    // Raw samples count one each, so a range that begins in a rollup and ends in memory adds up too.
    let all = column(&store, Column::Count, NOW, NOW + 36 * HOUR);
    assert_eq!(all.iter().map(|c| c.1).sum::<f64>(), 36.0 * 60.0);
    assert!(all.len() < 36 * 60);
    // Without leave, and for finer steps, there are only raw samples.
    let raw = select(&store, &[], range(from, to), Hints { rollups: false, ..hints(Column::Last) });
    assert_eq!(raw["a"].len(), 240);
    let fine = select(&store, &[], range(from, to), Hints { step_ms: MINUTE, ..hints(Column::Last) });
    assert_eq!(fine["a"].len(), 240);
}

#[test]
fn late_samples_find_their_way_into_rollups() {
    let world = world();
    let store = world.open();
    fill(&world, &store, NOW, 36);
    let before: f64 = column(&store, Column::Count, NOW, NOW + 36 * HOUR).iter().map(|c| c.1).sum();
    put(&store, &[("a", NOW + 2 * HOUR + 1, 1.0), ("a", NOW + 2 * HOUR + 2, stale_nan())]);
    fill(&world, &store, NOW + 36 * HOUR, 3);
    let after: f64 = column(&store, Column::Count, NOW, NOW + 36 * HOUR)
        .iter()
        .filter(|c| c.1.to_bits() != STALE_NAN_BITS)
        .map(|c| c.1)
        .sum();
    assert_eq!(after, before + 2.0, "one that is late, and the first of the hours that were added");
    let marker = column(&store, Column::Average, NOW + 2 * HOUR + 2, NOW + 2 * HOUR + 2);
    assert_eq!(marker.iter().map(|m| m.1.to_bits()).collect::<Vec<_>>(), [STALE_NAN_BITS]);
}

#[test]
fn rollups_outlive_raw_samples() {
    let world = world();
    let store = world.open();
    fill(&world, &store, NOW, 24 * 5);
    let oldest_raw = store.catalogue().raw.iter().map(|b| b.meta().min_time).min().expect("there are some");
    assert!(oldest_raw > NOW + 24 * HOUR, "raw samples went by retention");
    // Whatever the step, where raw samples are gone there are rows.
    let fine = Hints { step_ms: MINUTE, ..hints(Column::Last) };
    let found = select(&store, &[], range(NOW, NOW + 12 * HOUR), fine);
    assert_eq!(found["a"].len() as i64, 12 * HOUR / FIVE + 1, "both ends are windows' ends");
    // The whole history adds up, and it is still there after a restart.
    let total = |store: &Store| column(store, Column::Count, NOW, NOW + 200 * HOUR).iter().map(|c| c.1).sum::<f64>();
    assert_eq!(total(&store), 24.0 * 5.0 * 60.0);
    let names = model::Queryable::label_values(&*store, "series", &[], range(NOW, NOW + HOUR));
    assert_eq!(names, Ok(vec!["a".to_owned()]));
    store.close().expect("closes");
    assert_eq!(total(&world.open()), 24.0 * 5.0 * 60.0);
}
