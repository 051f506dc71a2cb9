//! Damaged files: named, counted, put aside, and never the end of the rest.

use std::path::Path;

use model::{Hints, TimeRange};

use super::support::{HOUR, NOW, World, append, content, everything, put, recovered, try_select};
use crate::OpenError;

/// The only file of a folder of the store.
fn only(world: &World, folder: &str) -> std::path::PathBuf {
    let files = world.files(folder);
    assert_eq!(files.len(), 1, "{files:?}");
    Path::new("store").join(folder).join(&files[0])
}

#[test]
fn a_damaged_record_costs_itself() {
    let world = World::new();
    let store = world.open();
    let segment = only(&world, "wal");
    let length = |world: &World| disk::Disk::read(&world.disk, &segment).expect("is there").len();
    put(&store, &[("a", NOW, 1.0), ("b", NOW, 1.0)]);
    let before = length(&world);
    put(&store, &[("a", NOW + 1, 2.0)]);
    let after = length(&world);
    put(&store, &[("b", NOW + 2, 3.0)]);
    world.disk.kill();
    let middle = before + (after - before) / 2;
    world.disk.damage(&segment, |bytes| bytes[middle + 4] ^= 0x55).expect("is there");
    let store = world.open();
    recovered(&store);
    assert_eq!(everything(&store), content(&[("a", NOW, 1.0), ("b", NOW, 1.0), ("b", NOW + 2, 3.0)]));
    let statistics = store.statistics();
    assert_eq!(statistics.corruptions, 1);
    assert_eq!(statistics.quarantined.len(), 1, "{statistics:?}");
    assert_eq!(world.files("quarantine").len(), 1);
}

#[test]
fn samples_whose_series_is_lost_go_nowhere_else() {
    let world = World::new();
    let store = world.open();
    let segment = only(&world, "wal");
    put(&store, &[("a", NOW, 1.0)]);
    let defined = disk::Disk::read(&world.disk, &segment).expect("is there").len();
    put(&store, &[("a", NOW + 1, 2.0), ("b", NOW + 1, 2.0)]);
    world.disk.kill();
    world.disk.damage(&segment, |bytes| bytes[defined - 1] ^= 1).expect("is there");
    let store = world.open();
    recovered(&store);
    // Without its definition nobody can say whose the second sample of `a` is; that of `b` is whole.
    assert_eq!(everything(&store), content(&[("b", NOW + 1, 2.0)]));
    assert_eq!(store.statistics().corruptions, 2);
}

#[test]
fn a_torn_end_is_what_a_power_loss_leaves() {
    let world = World::new();
    let store = world.open();
    let segment = only(&world, "wal");
    put(&store, &[("a", NOW, 1.0)]);
    put(&store, &[("a", NOW + 1, 2.0)]);
    world.disk.kill();
    world.disk.damage(&segment, |bytes| bytes.truncate(bytes.len() - 3)).expect("is there");
    let store = world.open();
    recovered(&store);
    assert_eq!(everything(&store), content(&[("a", NOW, 1.0)]));
}

#[test]
fn an_unreadable_block_is_put_aside_and_the_rest_goes_on() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a", NOW - 5 * HOUR, 1.0), ("a", NOW, 2.0)]);
    store.close().expect("closes");
    let first = Path::new("store/blocks").join(&world.files("blocks")[0]);
    world.disk.damage(&first, |bytes| bytes.truncate(bytes.len() / 2)).expect("is there");
    let store = world.open();
    assert_eq!(everything(&store).get("a").map(|samples| samples.len()), Some(1));
    let statistics = store.statistics();
    assert_eq!((statistics.blocks, statistics.corruptions, statistics.quarantined.len()), (1, 1, 1));
    assert_eq!(world.files("quarantine").len(), 1);
}

#[test]
fn a_block_of_a_newer_version_keeps_the_store_from_opening() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a", NOW, 1.0)]);
    store.close().expect("closes");
    let block = only(&world, "blocks");
    // Whatever the position of the version is: the block crate says when it is a newer one.
    let error = (0..64).find_map(|at| {
        let original = disk::Disk::read(&world.disk, &block).expect("is there").to_vec();
        world.disk.damage(&block, |bytes| bytes[at] = bytes[at].wrapping_add(1)).expect("is there");
        let newer = match world.try_open() {
            Err(error) => Some(error),
            Ok(store) => {
                store.close().expect("closes");
                None
            }
        };
        let path = if newer.is_some() { block.clone() } else { world_quarantine(&world) };
        world.disk.damage(&path, |bytes| *bytes = original).expect("is there");
        if newer.is_none() {
            disk::Disk::rename(&world.disk, &path, &block).expect("is there");
        }
        newer
    });
    let error = error.expect("one of the first bytes is the version");
    assert!(matches!(&error, OpenError::Block(_)), "{error}");
    assert!(error.to_string().contains("version"), "{error}");
    assert_eq!(world.files("quarantine").len(), 0);
    assert_eq!(everything(&world.open()), content(&[("a", NOW, 1.0)]));
}

fn world_quarantine(world: &World) -> std::path::PathBuf {
    only(world, "quarantine")
}

#[test]
fn whatever_byte_is_damaged_the_store_opens_and_accepts() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a", NOW - 5 * HOUR, 1.0), ("b", NOW - 5 * HOUR, 2.0)]);
    store.close().expect("closes");
    let block = only(&world, "blocks");
    let original = disk::Disk::read(&world.disk, &block).expect("is there").to_vec();
    let want = content(&[("a", NOW - 5 * HOUR, 1.0), ("b", NOW - 5 * HOUR, 2.0)]);
    for at in (0..original.len()).step_by(7) {
        world.disk.damage(&block, |bytes| bytes[at] ^= 0x10).expect("is there");
        if let Ok(store) = world.try_open() {
            // What is read is what was written, or an error, or in quarantine.
            if store.statistics().blocks == 1
                && let Ok(found) = try_select(&store, &[], TimeRange::ALL, Hints::default())
            {
                assert_eq!(found, want, "byte {at}");
            }
            append(&store, &[("c", NOW, 1.0)]).expect("can be written");
        }
        world.disk.kill();
        let aside = Path::new("store/quarantine").join(block.file_name().expect("has a name"));
        let _ = disk::Disk::rename(&world.disk, &aside, &block);
        world.disk.damage(&block, |bytes| bytes.clone_from(&original)).expect("is there");
        for segment in world.files("wal") {
            disk::Disk::remove(&world.disk, &Path::new("store/wal").join(segment)).expect("is there");
        }
    }
}

#[test]
fn damage_that_a_query_meets_is_named_counted_once_and_answered() {
    let world = World::new();
    let store = world.open();
    put(&store, &[("a", NOW, 1.25), ("a", NOW + 7, 2.5), ("a", NOW + 15, -1.0)]);
    assert!(put_histogram(&store).is_ok());
    store.close().expect("closes");
    let block = only(&world, "blocks");
    let name = block.display().to_string();
    // The first chunk begins behind 16 bytes of header, and its body behind its head.
    world.disk.damage(&block, |bytes| bytes[16 + 4] ^= 1).expect("is there");
    let store = world.open();
    for _ in 0..3 {
        let error = try_select(&store, &[], TimeRange::ALL, Hints::default()).expect_err("is damaged");
        assert!(error.to_string().contains(&name), "{error}");
    }
    let statistics = store.statistics();
    assert_eq!((statistics.corruptions, statistics.blocks), (1, 1));
    // Where nothing is damaged nothing fails.
    let matchers = [model::Matcher::equal("series", "b")];
    assert_eq!(try_select(&store, &matchers, TimeRange::ALL, Hints::default()), Ok(content(&[])));
}

fn put_histogram(store: &crate::Store) -> Result<model::AppendReport, model::AppendError> {
    let histogram = model::EncodedHistogram::new(&[1, 2, 3]).expect("is short enough");
    let labels = super::support::labels("b");
    model::Append::append_histograms(
        store,
        &[model::HistogramRow { labels, timestamp: model::TimestampMs(NOW), histogram }],
    )
}
