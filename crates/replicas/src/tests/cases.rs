//! Two replicas of one counter, told sample by sample.

use std::sync::atomic::Ordering;

use super::support::World;

/// Sends each sample in a request of its own; returns the times that are stored.
fn stored(samples: &[(&str, i64)]) -> Vec<i64> {
    let world = World::default();
    for sample in samples {
        let report = world.send(&[*sample]);
        assert_eq!(report.appended + report.duplicates, 1, "{sample:?} is taken");
    }
    world.memory.times()
}

/// Samples of a replica every 10 seconds.
fn every_ten(replica: &'static str, times: std::ops::RangeInclusive<i64>) -> Vec<(&'static str, i64)> {
    times.step_by(10).map(|second| (replica, second * 1_000)).collect()
}

fn seconds(times: &[i64]) -> Vec<i64> {
    times.iter().map(|at| at / 1_000).collect()
}

fn in_order(lists: &[Vec<(&'static str, i64)>]) -> Vec<(&'static str, i64)> {
    let mut all = lists.concat();
    all.sort_by_key(|(_, at)| *at);
    all
}

#[test]
fn one_replica_is_listened_to_as_long_as_it_speaks() {
    let samples = in_order(&[every_ten("a", 100..=200), every_ten("b", 103..=203)]);
    assert_eq!(seconds(&stored(&samples)), (100..=200).step_by(10).collect::<Vec<_>>());
}

#[test]
fn a_switch_leaves_no_hole_whatever_the_phase() {
    for phase in 0..10 {
        let samples = in_order(&[every_ten("a", 100..=150), every_ten("b", 100 + phase..=200 + phase)]);
        let times = seconds(&stored(&samples));
        let first = times.iter().find(|at| **at > 150).expect("goes on");
        assert!((156..=166).contains(first), "phase {phase}: {times:?}");
        assert!(times.windows(2).all(|pair| (6..=16).contains(&(pair[1] - pair[0]))), "phase {phase}: {times:?}");
        assert_eq!(*times.last().expect("has some"), 200 + phase, "phase {phase}");
    }
}

#[test]
fn who_was_elected_stays_when_the_other_comes_back() {
    let a = [every_ten("a", 100..=130), every_ten("a", 200..=250)].concat();
    let times = seconds(&stored(&in_order(&[a, every_ten("b", 105..=245)])));
    assert_eq!(times, [vec![100, 110, 120, 130], (145..=245).step_by(10).collect()].concat());
}

#[test]
fn one_missed_scrape_is_filled_by_the_other() {
    let mut samples = in_order(&[every_ten("a", 100..=200), every_ten("b", 104..=204)]);
    samples.retain(|sample| *sample != ("a", 150_000));
    let times = seconds(&stored(&samples));
    assert_eq!(
        times,
        [100, 110, 120, 130, 140, 150, 160, 170, 180, 190, 200].map(|at| if at == 150 { 154 } else { at })
    );
}

#[test]
fn another_interval_is_no_silence() {
    // From every 10 to every 60 seconds, half an interval apart.
    let slow = |replica, from| (from..=from + 900).step_by(60).map(|second: i64| (replica, second * 1_000)).collect();
    let a = [every_ten("a", 100..=150), slow("a", 210)].concat();
    let b = [every_ten("b", 105..=155), slow("b", 180)].concat();
    let times = seconds(&stored(&in_order(&[a, b])));
    let apart = times.windows(2).filter(|pair| pair[1] - pair[0] < 30).count();
    assert!(apart <= 14 && times.windows(2).all(|pair| pair[1] - pair[0] <= 96), "{times:?}");
    let steady: Vec<i64> = times.iter().rev().take(5).map(|at| at % 60).collect();
    assert!(steady.iter().all(|phase| *phase == steady[0]), "{times:?}");
}

#[test]
fn a_series_of_one_replica_is_never_thinned_out() {
    // Irregular, a burst of old samples, and everything again.
    let times = [100, 110, 120, 121, 122, 190, 191, 300, 90, 91, 92, 155, 156, 305];
    let samples: Vec<_> = times.iter().map(|at| ("a", at * 1_000)).collect();
    let twice = [samples.clone(), samples].concat();
    let mut want = times.to_vec();
    want.sort_unstable();
    assert_eq!(seconds(&stored(&twice)), want);
}

#[test]
fn the_past_is_filled_once_by_whoever_brings_it_first() {
    for newest_first in [false, true] {
        let world = World::default();
        world.send(&in_order(&[every_ten("a", 10_000..=10_050), every_ten("b", 10_003..=10_053)]));
        let mut a = every_ten("a", 6_400..=9_990);
        let mut b = every_ten("b", 6_403..=9_993);
        if newest_first {
            a.reverse();
            b.reverse();
        }
        // In turn, some of each in one request.
        for (some_of_a, some_of_b) in a.chunks(7).zip(b.chunks(5)) {
            world.send(&[some_of_a, some_of_b].concat());
        }
        let left: Vec<_> = b.iter().copied().skip(5 * a.len().div_ceil(7)).collect();
        left.chunks(5).for_each(|some| drop(world.send(some)));
        let times = seconds(&world.memory.times());
        assert!(times.windows(2).all(|pair| (6..=17).contains(&(pair[1] - pair[0]))), "{newest_first}: {times:?}");
        assert!(world.memory.reads.load(Ordering::Relaxed) < 30, "the store is not asked for every request");
        let before = world.memory.points();
        world.send(&[a, b].concat());
        assert_eq!(world.memory.points(), before, "nothing changes when all of it comes again");
    }
}

#[test]
fn after_a_restart_the_store_tells_what_there_is() {
    let first = World::default();
    first.send(&in_order(&[every_ten("a", 100..=200), every_ten("b", 103..=203)]));
    let second = World::after(first.memory.clone());
    // The other replica first: what it brings is near what is stored.
    second.send(&every_ten("b", 103..=203));
    assert_eq!(seconds(&second.memory.times()), (100..=200).step_by(10).collect::<Vec<_>>());
    second.send(&in_order(&[every_ten("a", 210..=300), every_ten("b", 213..=303)]));
    let times = seconds(&second.memory.times());
    assert!(times.windows(2).all(|pair| (6..=16).contains(&(pair[1] - pair[0]))), "{times:?}");
    assert_eq!(second.replicas.statistics().series, 1);
}

#[test]
fn a_young_series_loses_nothing_when_the_process_is_killed() {
    for stored in 1..6 {
        let samples: Vec<_> = (0..20).map(|n| ("a", 100_000 + n * 1_000)).collect();
        let first = World::default();
        first.send(&samples[..stored]);
        let second = World::after(first.memory.clone());
        // The last request was not acknowledged, or its answer was lost.
        second.send(&samples[stored - 1..10]);
        samples[10..].iter().for_each(|sample| drop(second.send(&[*sample])));
        assert_eq!(second.memory.times().len(), 20, "{stored}");
    }
}

#[test]
fn what_was_stored_before_a_restart_passes_again() {
    // It may have been stored and not forwarded when the process was killed: its sender comes again.
    let samples = in_order(&[every_ten("a", 100..=200), every_ten("b", 104..=204)]);
    let first = World::default();
    first.send(&samples);
    let second = World::after(first.memory.clone());
    second.send(&every_ten("b", 104..=204));
    second.memory.offered.store(0, Ordering::Relaxed);
    second.send(&every_ten("a", 100..=200));
    assert_eq!(second.memory.offered.load(Ordering::Relaxed), 11);
    assert_eq!(seconds(&second.memory.times()), (100..=200).step_by(10).collect::<Vec<_>>());
}

#[test]
fn what_nobody_decides_is_stored_after_three_intervals() {
    let world = World::default();
    world.send(&in_order(&[every_ten("a", 100..=130), every_ten("b", 108..=138)]));
    assert_eq!(seconds(&world.memory.times()), [100, 110, 120, 130]);
    world.set(160_000);
    world.replicas.maintain().expect("stores");
    assert_eq!(seconds(&world.memory.times()), [100, 110, 120, 130], "the elected one may be late");
    world.set(170_000);
    world.replicas.maintain().expect("stores");
    assert_eq!(seconds(&world.memory.times()), [100, 110, 120, 130, 138]);
}

#[test]
fn nothing_is_held_back_when_the_process_ends() {
    let world = World::default();
    world.send(&in_order(&[every_ten("a", 100..=130), every_ten("b", 108..=138)]));
    world.send(&[("c", 145_000)]);
    world.replicas.finish().expect("stores");
    assert_eq!(seconds(&world.memory.times()), [100, 110, 120, 130, 138, 145]);
}

#[test]
fn a_clock_far_ahead_decides_nothing() {
    let world = World::default();
    world.send(&every_ten("a", 100..=150));
    world.set(150_000);
    let future = [("b", 150_000 + 601_000)];
    let rows: Vec<_> = future.iter().map(|(replica, at)| (*replica, *at, -1.0)).collect();
    let labels = b"__name__=up\ninstance=i\nreplica=b";
    let sample = model::Sample { timestamp: model::TimestampMs(rows[0].1), value: -1.0 };
    let batch = model::EncodedBatch {
        rows: &[model::EncodedRow { labels, sample }],
        context: b"lines",
        decoder: &super::support::Lines { is_spelled: true },
        metadata: &[],
    };
    let report = model::Append::append_encoded(&world.replicas, &batch).expect("answers");
    assert_eq!(report.refused.len(), 1);
    world.send(&every_ten("a", 160..=200));
    assert_eq!(seconds(&world.memory.times()), (100..=200).step_by(10).collect::<Vec<_>>());
}
