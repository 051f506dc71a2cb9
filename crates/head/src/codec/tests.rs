//! Round trips, bit for bit, and how small they are.

use model::{SampleBuffer, TimeRange, TimestampMs};
use proptest::prelude::*;

use super::{Chunk, Growing};

/// Chunks of samples in order of time, and the samples read back.
fn chunks_of(samples: &[(i64, f64)]) -> Vec<Chunk> {
    let (mut lane, mut chunks) = (Growing::default(), Vec::new());
    for (timestamp, value) in samples {
        if !lane.push(*timestamp, *value) {
            chunks.push(lane.close());
            assert!(lane.push(*timestamp, *value), "an empty chunk takes every sample");
        }
        // A value that was written out has to be looked up.
        if let Some((at, newest)) = lane.newest() {
            assert_eq!((at, newest.to_bits()), (*timestamp, value.to_bits()));
        }
    }
    if !lane.is_empty() {
        chunks.push(lane.close());
    }
    chunks
}

fn read(chunks: &[Chunk], range: TimeRange) -> Vec<(i64, u64)> {
    let mut out = SampleBuffer::default();
    chunks.iter().for_each(|chunk| chunk.read(range, &mut out));
    out.timestamps.into_iter().zip(out.values.into_iter().map(f64::to_bits)).collect()
}

fn bits(samples: &[(i64, f64)]) -> Vec<(i64, u64)> {
    samples.iter().map(|(timestamp, value)| (*timestamp, value.to_bits())).collect()
}

/// Bytes per sample of what is read back as it was.
fn cost(samples: &[(i64, f64)]) -> f64 {
    let chunks = chunks_of(samples);
    assert_eq!(read(&chunks, TimeRange::ALL), bits(samples));
    assert_eq!(chunks.iter().map(Chunk::len).sum::<usize>(), samples.len());
    chunks.iter().map(Chunk::size_bytes).sum::<usize>() as f64 / samples.len() as f64
}

/// One sample every 15 s of what `next` makes of a random number and the value before.
fn stream(first: f64, mut next: impl FnMut(u64, f64) -> f64) -> Vec<(i64, f64)> {
    let (mut random, mut value) = (0x9E37_79B9_7F4A_7C15_u64, first);
    let mut sample = |at: i64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        value = next(random, value);
        (1_700_000_000_000 + at * 15_000, value)
    };
    (0..1000_i64).map(&mut sample).collect()
}

#[test]
fn streams_of_every_kind_are_small() {
    let integer_counter = |r: u64, v: f64| v + (r % 50) as f64;
    let bucket = |r: u64, v: f64| if r.is_multiple_of(3) { v + (r % 7) as f64 } else { v };
    let pages = |r: u64, v: f64| v + ((r >> 10) % 65536) as f64 * 4096.0;
    let seconds = |r: u64, v: f64| v + (r % 15_000) as f64 / 1000.0;
    let decimal = |r: u64, _: f64| (r >> 8) as f64 % 100_000.0 / 100.0;
    let noise = |r: u64, v: f64| v + (r as f64).sqrt() * 1e-7;
    let cases = [
        ("constant", stream(17.5, |_, v| v), 0.6),
        ("integer counter", stream(1e6, integer_counter), 1.4),
        ("bucket", stream(12.0, bucket), 1.0),
        ("small gauge", stream(0.0, |r, _| (r >> 8) as f64 % 40.0), 1.5),
        ("bytes in pages", stream(1e9, pages), 2.6),
        ("seconds counter", stream(1234.0, seconds), 3.1),
        ("two decimals", stream(0.0, decimal), 2.9),
        ("anything", stream(1.0, noise), 8.5),
    ];
    for (name, samples, limit) in cases {
        let cost = cost(&samples);
        assert!(cost <= limit, "{name}: {cost} bytes per sample, at most {limit} were expected");
    }
}

#[test]
fn odd_values_among_tame_ones_cost_little() {
    let with = |odd: f64| {
        stream(5.0, |r, v| {
            if r.is_multiple_of(100) {
                odd
            } else if v.is_normal() {
                v + 1.0
            } else {
                1.0
            }
        })
    };
    for odd in [model::stale_nan(), f64::NAN, f64::INFINITY, -0.0, f64::from_bits(0xfff8_dead_beef_0001), 0.1 + 0.2] {
        let cost = cost(&with(odd));
        assert!(cost < 2.0, "{odd}: {cost} bytes per sample");
    }
}

#[test]
fn wild_times_are_kept() {
    let times = [i64::MIN, -1, 0, 1, 1000, 16_000, 31_000, 31_001, i64::from(u32::MAX) + 31_001, 1 << 60, i64::MAX];
    let samples: Vec<(i64, f64)> = times.iter().map(|t| (*t, *t as f64)).collect();
    cost(&samples);
}

#[test]
fn a_chunk_is_searched_by_time() {
    let samples = stream(0.0, |r, _| r as f64);
    for chunk in chunks_of(&samples) {
        let (first, last) = (chunk.first(), chunk.last());
        assert_eq!(chunk.find(first - 1), None);
        assert_eq!(chunk.find(first + 1), None);
        assert_eq!(chunk.find(last + 1), None);
        let of = |t: i64| samples.iter().find(|(timestamp, _)| *timestamp == t).map(|(_, value)| *value);
        assert_eq!((chunk.find(first), chunk.find(last)), (of(first), of(last)));
    }
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..100i32).prop_map(f64::from),
        4 => (0..1_000_000i64).prop_map(|m| m as f64 / 1000.0),
        2 => (0..1_000_000i64, 1..20i64).prop_map(|(m, n)| (0..n).fold(m as f64 / 100.0, |sum, _| sum + 0.001)),
        1 => any::<i64>().prop_map(|m| m as f64),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324,
            -9_223_372_036_854_775_808.0, 9_007_199_254_740_993.0, f64::from_bits(model::STALE_NAN_BITS),
            f64::from_bits(1 << 63 | 1), f64::from_bits(u64::MAX),
        ]),
    ]
}

fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => Just(15_000i64),
        5 => 14_900..15_100i64,
        2 => 1..100_000i64,
        1 => 1..1i64 << 40,
    ]
}

proptest! {
    #[test]
    fn every_sample_comes_back_as_it_was(
        start in -1_000_000_000_000i64..2_000_000_000_000,
        // Runs of one kind of value, as series have them, after one another.
        runs in prop::collection::vec((value(), 0..60usize, -5..5i32, gap()), 1..12),
        single in prop::collection::vec((value(), gap()), 0..120),
        from in 0.0..1.0f64,
        to in 0.0..1.0f64,
    ) {
        let (mut samples, mut timestamp) = (Vec::new(), start);
        let mut push = |gap: i64, value: f64| {
            timestamp += gap;
            samples.push((timestamp, value));
        };
        for (first, length, slope, gap) in runs {
            (0..length).for_each(|at| push(gap, first + at as f64 * f64::from(slope)));
        }
        single.into_iter().for_each(|(value, gap)| push(gap, value));
        let chunks = chunks_of(&samples);
        prop_assert_eq!(read(&chunks, TimeRange::ALL), bits(&samples));
        let span = (timestamp - start) as f64;
        let range = TimeRange {
            start: TimestampMs(start + (span * from) as i64),
            end: TimestampMs(start + (span * to) as i64),
        };
        samples.retain(|(t, _)| range.start.0 <= *t && *t <= range.end.0);
        prop_assert_eq!(read(&chunks, range), bits(&samples));
    }
}
