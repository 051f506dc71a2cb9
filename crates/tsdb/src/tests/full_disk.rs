//! A disk that fills up in the midst of each kind of work: it fails with a word, nothing is lost, and once there is room the
//! work is done and samples are taken.

use std::sync::Arc;
use std::time::Duration;

use disk::Fault;
use model::Matcher;

use super::support::{Content, HOUR, MINUTE, NOW, World, append, everything, put, range};
use crate::{Rollup, Store, StoreError, StoreOptions};

/// How many bytes still fit: from none to nearly all of what the work writes.
const ROOM: [u64; 7] = [0, 1, 40, 300, 800, 2000, 4000];

/// What a kind of work needs, does, and how it is seen to be done.
struct Work {
    /// Said of a store that holds 20 hours of two series in blocks, and an hour in memory.
    options: fn(&mut StoreOptions),
    prepare: fn(&World, &Store),
    run: fn(&Store) -> Result<(), StoreError>,
    is_done: fn(&Store) -> bool,
}

fn filled(options: fn(&mut StoreOptions)) -> (World, Arc<Store>) {
    let mut world = World::with(|options| options.max_block_span = Some(Duration::from_secs(2 * 3600)));
    let store = world.open();
    for minute in 0..20 * 6 {
        let at = NOW - 21 * HOUR + minute * 10 * MINUTE;
        put(&store, &[("a", at, minute as f64), ("b", at, 1.0 / (minute + 1) as f64)]);
    }
    store.close().expect("closes");
    options(&mut world.options);
    let store = world.open();
    put(&store, &[("a", NOW - HOUR, -1.0), ("b", NOW, -2.0), ("c", NOW, -3.0)]);
    (world, store)
}

/// Every sample but those of the series that may be deleted.
fn of_others(store: &Store) -> Content {
    let mut all = everything(store);
    all.remove("b");
    all
}

#[track_caller]
fn check(work: &Work) {
    for room in ROOM {
        let (world, store) = filled(work.options);
        (work.prepare)(&world, &store);
        let before = of_others(&store);
        world.disk.set_fault(Fault::Full { after_bytes: room });
        match (work.run)(&store) {
            Ok(()) => {}
            Err(error) => assert!(error.to_string().contains("no space left"), "{room}: {error}"),
        }
        assert_eq!(of_others(&store), before, "{room}: while the disk is full");
        assert!(room > 0 || !(work.is_done)(&store), "nothing can be written");
        let refused = append(&store, &[("d", NOW, 1.0)]);
        if let Err(error) = &refused {
            assert!(error.to_string().contains("no space left"), "{room}: {error}");
        }
        world.disk.clear_faults();
        put(&store, &[("e", NOW, 1.0)]);
        (0..4).for_each(|_| (work.run)(&store).expect("there is room"));
        assert!((work.is_done)(&store), "{room}: {:?}", store.statistics());
        let mut want = before;
        want.insert("e".to_owned(), [(NOW, 1f64.to_bits())].into());
        let mut found = of_others(&store);
        // Whoever is refused may find it there.
        found.remove("d");
        assert_eq!(found, want, "{room}: afterwards");
        assert!(store.catalogue().all().all(|block| block.verify().is_empty()));
        drop(store);
        world.disk.kill();
        let store = world.open();
        assert!(store.wait_until_replayed(Duration::from_secs(60)));
        let mut found = of_others(&store);
        found.remove("d");
        assert_eq!(found, want, "{room}: after a kill");
    }
}

fn maintain(store: &Store) -> Result<(), StoreError> {
    store.maintain();
    Ok(())
}

fn of_b() -> [Vec<Matcher>; 1] {
    [vec![Matcher::equal("series", "b")]]
}

#[test]
fn a_seal() {
    check(&Work {
        options: |_| {},
        prepare: |world, store| {
            // Two hours and more later memory is due.
            store.maintain();
            world.at(NOW + 3 * HOUR);
            put(store, &[("c", NOW + 3 * HOUR, 1.0)]);
        },
        run: maintain,
        is_done: |store| store.statistics().seals.done > 0,
    });
}

#[test]
fn a_compaction() {
    check(&Work {
        options: |options| options.max_block_span = Some(Duration::from_secs(18 * 3600)),
        prepare: |_, _| {},
        run: maintain,
        is_done: |store| store.statistics().compactions.done > 0,
    });
}

#[test]
fn a_rollup() {
    check(&Work {
        options: |options| {
            let (resolution, after) = (Duration::from_secs(300), Duration::from_secs(2 * 3600));
            options.retention = Duration::from_secs(30 * 3600);
            options.rollups = vec![Rollup { resolution, after, retention: None }];
        },
        prepare: |_, _| {},
        run: maintain,
        is_done: |store| store.statistics().rollups.done > 0,
    });
}

#[test]
fn a_delete() {
    check(&Work {
        options: |_| {},
        prepare: |_, _| {},
        run: |store| store.delete_series(&of_b(), range(0, i64::MAX)),
        is_done: |store| !everything(store).contains_key("b"),
    });
}

#[test]
fn clearing_away_what_was_deleted() {
    check(&Work {
        options: |_| {},
        prepare: |_, store| store.delete_series(&of_b(), range(0, i64::MAX)).expect("deletes"),
        run: Store::clean_tombstones,
        is_done: |store| store.catalogue().raw.iter().all(|block| block.tombstones().is_empty()),
    });
}

#[test]
fn a_snapshot() {
    check(&Work {
        options: |_| {},
        prepare: |_, _| {},
        run: |store| match store.snapshot(std::path::Path::new("copy")) {
            // It is there since the last time.
            Err(StoreError::Io(error)) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        },
        is_done: |store| store.disk.read(std::path::Path::new("copy/store.json")).is_ok(),
    });
}
