//! Up to when everything that was acknowledged is stored: no watermark passes what is held back.

use model::{AppendError, TimestampMs};

use super::support::World;

/// The second up to which nothing is held back.
fn complete(world: &World) -> i64 {
    world.inputs.watermark(TimestampMs(999_000)).0.div_euclid(1_000)
}

fn after(story: &str) -> World {
    let world = World::default();
    for word in story.split_whitespace() {
        let (replica, rest) = word.split_at(1);
        let at = rest.trim_end_matches('!').parse::<i64>().expect("is a number") * 1_000;
        let value = if rest.ends_with('!') { model::stale_nan() } else { at as f64 };
        world.send_values(&[(replica, at, value)]);
    }
    world
}

#[test]
fn what_is_held_back_is_not_complete_until_it_is_covered_or_stored() {
    let steady = "a100 b108 a110 b118 a120";
    for (then, want) in [
        ("", 998),
        ("b128", 127),
        ("b128 a130", 998),
        // Until it is listened to.
        ("b128 b138", 998),
        ("a130!", 129),
        ("a130! b138", 998),
        ("a130! b138!", 998),
        ("b128! a130!", 998),
        // Newer than what ends its series, and older than what will go on with it.
        ("b128 b128!", 127),
    ] {
        let world = after(&format!("{steady} {then}"));
        assert_eq!(complete(&world), want, "{then}");
        world.replicas.finish().expect("stores");
        assert_eq!((complete(&world), world.inputs.registered()), (998, 0), "{then}");
    }
}

#[test]
fn what_was_released_is_not_complete_while_the_store_cannot_write() {
    let world = after("a100 b108 a110 b118 a120 b128");
    *world.memory.fails.lock() = Some(AppendError::Unwritable("full".to_owned()));
    world.set(900_000);
    assert!(world.replicas.maintain().is_err() && world.replicas.maintain().is_err());
    assert_eq!((complete(&world), world.memory.points().contains_key(&128_000)), (127, false));
    *world.memory.fails.lock() = None;
    world.replicas.maintain().expect("stores");
    assert_eq!((complete(&world), world.memory.points().contains_key(&128_000)), (998, true));
    // A series that is forgotten holds nothing.
    world.set(9_000_000);
    world.replicas.maintain().expect("stores");
    assert_eq!((world.replicas.statistics().series, world.inputs.registered()), (0, 0));
}
