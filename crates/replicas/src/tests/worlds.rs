//! Pairs of replicas as they happen: phases, jitter, clocks that differ, outages, links that are cut and catch up in either
//! order, requests that mix both, everything again, the process restarted.

use std::collections::BTreeMap;

use model::{TimestampMs, Value};
use proptest::prelude::*;

use super::support::World;

/// What happens to one replica.
#[derive(Debug, Clone)]
struct Fortune {
    phase: i64,
    /// How much its clock is ahead.
    skew: i64,
    lag: i64,
    /// Intervals in which it does not scrape, and in which it scrapes but cannot send.
    down: Vec<(i64, i64)>,
    cut: Vec<(i64, i64)>,
    newest_first: bool,
}

#[derive(Debug, Clone)]
struct Story {
    interval: i64,
    jitter: i64,
    seed: u64,
    replicas: [Fortune; 2],
    /// Requests that arrive together are sent as one of so many.
    together: usize,
    /// After so many requests the process starts again, with nothing held back.
    restart: Option<usize>,
}

/// A sample on its way: when it arrives, whose it is, its time by its replica's clock, its value.
type Sent = (i64, &'static str, i64, f64);

const START: i64 = 1_000_000;
const LENGTH: i64 = 60;

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl Story {
    fn samples(&self) -> Vec<Sent> {
        let mut all = Vec::new();
        for (name, fortune) in ["a", "b"].into_iter().zip(&self.replicas) {
            // Of what was cut off, in order of time: it comes when the link is back, some at a time.
            let mut backlog: Vec<(i64, Sent)> = Vec::new();
            for n in 0..LENGTH {
                if fortune.down.iter().any(|(from, to)| (*from..*to).contains(&n)) {
                    continue;
                }
                let jitter = (mix(self.seed ^ n as u64 ^ fortune.phase as u64) % (2 * self.jitter as u64 + 1)) as i64;
                let truth = START + n * self.interval + fortune.phase + jitter - self.jitter;
                let sample = (truth + fortune.lag, name, truth + fortune.skew, truth as f64);
                match fortune.cut.iter().find(|(from, to)| (*from..*to).contains(&n)) {
                    Some((_, to)) => backlog.push((START + to * self.interval + fortune.phase, sample)),
                    None => all.push(sample),
                }
            }
            let mut since: BTreeMap<i64, Vec<Sent>> = BTreeMap::new();
            backlog.into_iter().for_each(|(back, sample)| since.entry(back).or_default().push(sample));
            for (back, mut samples) in since {
                if fortune.newest_first {
                    let pieces: Vec<Vec<Sent>> = samples.chunks(4).rev().map(<[Sent]>::to_vec).collect();
                    samples = pieces.concat();
                }
                let arrive = |(n, sample): (usize, Sent)| {
                    (back + (n / 4) as i64 * 97 + fortune.lag, sample.1, sample.2, sample.3)
                };
                all.extend(samples.into_iter().enumerate().map(arrive));
            }
        }
        all.sort_by_key(|sent| sent.0);
        all
    }
}

fn fortune(interval: i64) -> impl Strategy<Value = Fortune> {
    let times = || prop::collection::vec((6..LENGTH, 1..20_i64), 0..3);
    let spans = |list: Vec<(i64, i64)>| list.into_iter().map(|(from, len)| (from, from + len)).collect::<Vec<_>>();
    (0..interval, -interval / 5..=interval / 5, 0..interval / 3, times(), times(), any::<bool>()).prop_map(
        move |(phase, skew, lag, down, cut, newest_first)| Fortune {
            phase,
            skew,
            lag,
            down: spans(down),
            cut: spans(cut),
            newest_first,
        },
    )
}

fn story() -> impl Strategy<Value = Story> {
    prop::sample::select(vec![1_000_i64, 15_000, 60_000]).prop_flat_map(|interval| {
        let jitter = prop::sample::select(vec![0, interval / 100]);
        let restart = prop::option::of(20..80_usize);
        (jitter, any::<u64>(), fortune(interval), fortune(interval), 1..4_usize, restart).prop_map(
            move |(jitter, seed, a, b, together, restart)| Story {
                interval,
                jitter,
                seed,
                replicas: [a, b],
                together,
                restart,
            },
        )
    })
}

fn send(world: &World, sent: &[Sent]) {
    world.set(world.now.load(std::sync::atomic::Ordering::Relaxed).max(sent.last().map_or(0, |sent| sent.0)));
    let rows: Vec<_> = sent.iter().map(|(_, name, at, value)| (*name, *at, *value)).collect();
    let report = world.send_values(&rows);
    assert_eq!((report.appended + report.duplicates, report.refused.len()), (rows.len(), 0));
}

/// What must hold of a merged series, whatever happened. `slack`: what estimates of a jittery interval may be off by.
fn check(story: &Story, sent: &[Sent], kept: &BTreeMap<i64, Value>) -> Result<(), TestCaseError> {
    let near = story.interval * 3 / 5;
    let slack = story.jitter * 6 + 2;
    // Of the first samples of all nobody can say yet what is near them.
    let known = START + 2 * story.interval;
    let owner: BTreeMap<(i64, u64), &str> = sent.iter().map(|(_, name, at, v)| ((*at, v.to_bits()), *name)).collect();
    let kept: Vec<(i64, f64)> = kept
        .iter()
        .filter_map(|(at, value)| if let Value::Float(value) = value { Some((*at, *value)) } else { None })
        .collect();
    for pair in kept.windows(2) {
        let [(at, value), (next, later)] = [pair[0], pair[1]];
        let owners = [owner.get(&(at, value.to_bits())), owner.get(&(next, later.to_bits()))];
        prop_assert!(owners.iter().all(Option::is_some), "a sample that nobody sent at {at} or {next}");
        prop_assert!(owners[0] == owners[1] || at < known || next - at >= near - slack, "{at} and {next} are near");
        prop_assert!(later > value || at < known, "the counter falls at {next}");
    }
    for (_, name, at, _) in sent.iter().filter(|sent| sent.2 > known) {
        let place = kept.partition_point(|(kept, _)| kept < at);
        let neighbours = [place.checked_sub(1), Some(place)].into_iter().flatten().filter_map(|n| kept.get(n));
        let nearest = neighbours.map(|(kept, _)| (kept - at).abs()).min();
        prop_assert!(nearest.is_some_and(|d| d <= near + slack), "a hole where {name} had {at}: {nearest:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn one_series_without_a_hole_and_without_a_mix(story in story()) {
        let sent = story.samples();
        let mut world = World::default();
        let mut complete = Vec::new();
        for (n, request) in sent.chunks(story.together).enumerate() {
            if story.restart == Some(n) {
                world.replicas.finish().expect("stores");
                world = World::after(world.memory.clone());
            }
            send(&world, request);
            complete.push((world.inputs.watermark(TimestampMs(i64::MAX)).0, world.memory.points()));
            world.replicas.maintain().expect("stores");
        }
        world.replicas.finish().expect("stores");
        let kept = world.memory.points();
        check(&story, &sent, &kept)?;
        for (n, (complete, by_then)) in complete.iter().enumerate() {
            let mut of_then = sent.iter().take((n + 1) * story.together).map(|sent| sent.2).filter(|at| at <= complete);
            let missing = of_then.find(|at| kept.contains_key(at) && !by_then.contains_key(at));
            prop_assert!(missing.is_none(), "{missing:?} came after everything to {complete} was said to be here");
        }
        // Everything again, to the same process and to one that remembers nothing.
        send(&world, &sent);
        world.replicas.finish().expect("stores");
        check(&story, &sent, &world.memory.points())?;
        if story.jitter == 0 && story.restart.is_none() {
            prop_assert_eq!(&world.memory.points(), &kept);
        }
        let fresh = World::after(world.memory.clone());
        send(&fresh, &sent);
        fresh.replicas.finish().expect("stores");
        check(&story, &sent, &fresh.memory.points())?;
    }
}
