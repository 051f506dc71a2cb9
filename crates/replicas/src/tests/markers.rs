//! Staleness markers: of a target that is gone, and of a replica that lost it.

use super::support::World;

/// `a100` is a sample, `a120!` a marker, of replica a at that second; each comes in a request of its own.
fn world(story: &str) -> World {
    let world = World::default();
    for word in story.split_whitespace() {
        let (replica, rest) = word.split_at(1);
        let at = rest.trim_end_matches('!').parse::<i64>().expect("is a number") * 1_000;
        let value = if rest.ends_with('!') { model::stale_nan() } else { at as f64 };
        world.send_values(&[(replica, at, value)]);
    }
    world
}

/// The seconds that are stored; markers are below zero.
fn stored(world: &World) -> Vec<i64> {
    let mut times: Vec<i64> = world.memory.times().iter().map(|at| at / 1_000).collect();
    times.sort_unstable_by_key(|at| at.abs());
    times
}

#[test]
fn markers_go_where_their_samples_go() {
    let steady = "a100 b104 a110 b114 a120 b124 a130 b134";
    let cases: [(&str, &str, &[i64]); 8] = [
        ("the only replica", "a100 a110 a120!", &[100, 110, -120]),
        ("both end", "a140! b144!", &[100, 110, 120, 130, -140]),
        ("both end, the other one first", "b144! a140!", &[100, 110, 120, 130, -140]),
        ("only the elected one lost it", "a140! b144 b154 b164", &[100, 110, 120, 130, 144, 154, 164]),
        ("only the other one lost it", "a140 b144! a150 a160", &[100, 110, 120, 130, 140, 150, 160]),
        ("the elected one finds it again", "a140! a150 a160", &[100, 110, 120, 130, 150, 160]),
        ("the other ends it after it took over", "a140! b144 b154 b164!", &[100, 110, 120, 130, 144, 154, -164]),
        ("gone for good, then back", "a140! b144! a200 b204 a210", &[100, 110, 120, 130, -140, 200, 210]),
    ];
    for (name, story, want) in cases {
        let story = if name == "the only replica" { story.to_owned() } else { format!("{steady} {story}") };
        assert_eq!(stored(&world(&story)), want, "{name}");
    }
}

#[test]
fn a_marker_is_written_when_the_other_stays_silent() {
    let world = world("a100 b104 a110 b114 a120 b124 a130 b134 a140!");
    assert_eq!(stored(&world), [100, 110, 120, 130]);
    world.set(160_000);
    world.replicas.maintain().expect("stores");
    assert_eq!(stored(&world), [100, 110, 120, 130]);
    world.set(171_000);
    world.replicas.maintain().expect("stores");
    assert_eq!(stored(&world), [100, 110, 120, 130, -140]);
}

#[test]
fn a_marker_of_the_past_does_not_end_what_another_filled() {
    let world = world("a100 a110 a120 a130 a140 b144 b154 b164");
    world.send_values(&[("b", 114_000, model::stale_nan())]);
    world.send_values(&[("a", 125_000, model::stale_nan())]);
    assert_eq!(stored(&world), [100, 110, 120, -125, 130, 140, 154, 164], "its own it may end");
}

#[test]
fn a_marker_is_idempotent() {
    let world = world("a100 b104 a110 b114 a120 b124 a130 b134 a140! a140! b144! b144! a140!");
    assert_eq!(stored(&world), [100, 110, 120, 130, -140]);
}
