//! The result cache over the real store: whatever happens to the samples, its answers are those of the engine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use disk::SimulatedDisk;
use model::{Append, Batch, Labels, MatchOp, Matcher, Sample, TimeRange, TimestampMs, stale_nan};
use promql::{Engine, EngineOptions, QueryLimits, QueryResult, ResultCache, Value};
use tsdb::{Rollup, Store, StoreOptions, WalSync};

const NOW: i64 = 1_767_225_600_000;
const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

const QUERIES: &[&str] = &[
    "m",
    "sum by (kind) (rate(m[5m]))",
    "avg_over_time(m[2h])",
    "sum(increase(m[1h] offset 10m))",
    "topk(2, max_over_time(m[30m]))",
    "m > 20 or absent(m{kind=\"x\"})",
    "max_over_time(sum(m)[1h:5m])",
    "quantile(2, m)",
];

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 >> 1).unwrap_or_default() % limit
    }
}

fn labels(series: i64) -> Labels {
    let kind = if series % 2 == 0 { "x" } else { "y" };
    Labels::from_pairs([("__name__", "m"), ("kind", kind), ("series", &series.to_string())])
}

fn open(clock: &Arc<AtomicI64>, options: StoreOptions) -> Arc<Store> {
    let clock = clock.clone();
    let now = move || TimestampMs(clock.load(Ordering::Relaxed));
    Store::open(Arc::new(SimulatedDisk::new(1)), Path::new("store"), options, Arc::new(now)).expect("opens")
}

fn span(start: i64, end: i64) -> TimeRange {
    TimeRange { start: TimestampMs(start), end: TimestampMs(end) }
}

/// Bit for bit.
fn shown(result: QueryResult) -> String {
    let Value::Matrix(series) = &result.value else { panic!("no matrix") };
    let bit = |value: &f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    let bits = |values: &[f64]| values.iter().map(bit).collect::<Vec<_>>();
    let series: Vec<_> = series
        .iter()
        .map(|one| (one.labels.to_string(), one.samples.timestamps.clone(), bits(&one.samples.values)))
        .collect();
    format!("{series:?} {:?} {:?}", result.warnings, result.infos)
}

/// One thing that happens to a store.
fn happen(store: &Store, clock: &AtomicI64, dice: &mut Dice) {
    let now = clock.load(Ordering::Relaxed);
    let mut batch = Batch::default();
    let mut add = |series: i64, at: i64, value: f64| {
        batch.push(labels(series), Sample { timestamp: TimestampMs(at), value });
    };
    match dice.below(100) {
        0..60 => {
            let next = now + (dice.below(40) + 1) * 15 * SECOND;
            clock.store(next, Ordering::Relaxed);
            for series in 0..6 {
                if dice.below(8) == 0 {
                    continue;
                }
                let value = if dice.below(30) == 0 { stale_nan() } else { (next / MINUTE % 50 + series) as f64 / 7.0 };
                add(series, next, value);
            }
        }
        60..80 => {
            // What an outage held back, in order.
            let (series, from) = (dice.below(6), now - dice.below(6 * HOUR));
            (0..dice.below(30)).for_each(|at| add(series, from + at * 15 * SECOND, at as f64));
        }
        80..84 => add(dice.below(9), now - dice.below(40 * HOUR), 1.0),
        84..97 => store.maintain(),
        97 => {
            let matcher = Matcher::new(MatchOp::Equal, "series", dice.below(6).to_string()).expect("is valid");
            let from = now - dice.below(10 * HOUR);
            store.delete_series(&[vec![matcher]], span(from, from + HOUR)).expect("deletes");
        }
        98 => store.clean_tombstones().expect("cleans"),
        _ => {}
    }
    store.append(&batch).expect("can be written");
}

#[test]
fn every_answer_is_that_of_the_engine() {
    let rollup = Rollup { resolution: Duration::from_secs(300), after: Duration::from_secs(3 * 3600), retention: None };
    for (seed, rollups) in [(1, vec![]), (2, vec![rollup.clone()]), (3, vec![rollup])] {
        let clock = Arc::new(AtomicI64::new(NOW));
        let retention = Duration::from_secs(24 * 3600);
        let options = StoreOptions { wal_sync: WalSync::Off, retention, rollups, ..StoreOptions::default() };
        let store = open(&clock, options);
        let (engine, cache) = (Engine::new(EngineOptions::default()), ResultCache::new(8 << 20));
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
        for _ in 0..500 {
            happen(&store, &clock, &mut dice);
            if dice.below(2) > 0 {
                continue;
            }
            let text = QUERIES[dice.below(QUERIES.len() as i64) as usize];
            let (length, step) =
                [(HOUR, 15 * SECOND), (6 * HOUR, MINUTE), (30 * HOUR, 30 * MINUTE)][dice.below(3) as usize];
            let end = clock.load(Ordering::Relaxed) / step * step;
            let (range, query) = (span(end - length, end), engine.parse(text).expect("parses"));
            let limits = QueryLimits::default();
            let cached = cache.range(&engine, &*store, &query, range, step, &limits).expect("answers");
            let plain = engine.range(&*store, &query, range, step, &limits).expect("answers");
            assert_eq!(shown(cached), shown(plain), "{text} with seed {seed}");
        }
        let statistics = cache.statistics();
        assert!(statistics.partial_hits + statistics.hits > 10, "the cache is of no use: {statistics:?}");
        store.close().expect("closes");
    }
}

/// At every moment of an append the cache sees what another reader saw before it, and no more than one behind it.
#[test]
fn beside_appends_time_only_goes_forward() {
    let clock = Arc::new(AtomicI64::new(NOW));
    let store = open(&clock, StoreOptions { wal_sync: WalSync::Off, ..StoreOptions::default() });
    let (engine, cache) = (Engine::new(EngineOptions::default()), ResultCache::new(8 << 20));
    let query = engine.parse("sum(count_over_time(m[5m]))").expect("parses");
    let (range, limits) = (span(NOW - HOUR, NOW), QueryLimits::default());
    let counts = |result: QueryResult| -> Vec<f64> {
        let Value::Matrix(series) = result.value else { panic!("no matrix") };
        let mut counts = vec![0.0; 61];
        for one in &series {
            for (at, value) in one.samples.timestamps.iter().zip(&one.samples.values) {
                counts[usize::try_from((at - range.start.0) / MINUTE).expect("is a step")] = *value;
            }
        }
        counts
    };
    let plain = || counts(engine.range(&*store, &query, range, MINUTE, &limits).expect("answers"));
    let cached = || counts(cache.range(&engine, &*store, &query, range, MINUTE, &limits).expect("answers"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(7);
            for at in 0..400 {
                let mut batch = Batch::default();
                for series in 0..50 {
                    let timestamp = TimestampMs(NOW - dice.below(20) * MINUTE - at);
                    batch.push(labels(series), Sample { timestamp, value: 1.0 });
                }
                store.append(&batch).expect("can be written");
            }
            done.store(true, Ordering::Release);
        });
        loop {
            let last = done.load(Ordering::Acquire);
            let (before, between, after) = (plain(), cached(), plain());
            for ((before, between), after) in before.iter().zip(&between).zip(&after) {
                assert!(before <= between && between <= after, "{before} {between} {after}");
            }
            if last {
                assert_eq!(before, between);
                break;
            }
        }
    });
    assert!(cache.statistics().reused_steps > 0, "{:?}", cache.statistics());
}
