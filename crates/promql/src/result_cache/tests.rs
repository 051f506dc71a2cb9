//! The cache against the engine: over a store that changes, every answer of the one is the other's.

use std::collections::BTreeMap;
use std::sync::Mutex;

use model::{Labels, Matcher, MetricMetadata, SelectError, Selection, StoredSeries, stale_nan};
use proptest::prelude::*;

use super::*;
use crate::EngineOptions;
use crate::testing::storage::MemoryStore;

/// A store that changes, and says so.
#[derive(Default)]
struct Living {
    series: Mutex<BTreeMap<Labels, BTreeMap<i64, f64>>>,
    /// Each change: the time of a sample, or nothing where it may concern any.
    log: Mutex<Vec<Option<i64>>>,
    /// What was read since somebody looked.
    read: Mutex<Vec<TimeRange>>,
}

impl Living {
    fn write(&self, labels: &Labels, at: i64, value: f64) {
        self.series.lock().expect("lock").entry(labels.clone()).or_default().entry(at).or_insert(value);
        self.log.lock().expect("lock").push(Some(at));
    }

    fn delete(&self, labels: &Labels, from: i64, to: i64) {
        if let Some(samples) = self.series.lock().expect("lock").get_mut(labels) {
            samples.retain(|at, _| !(from..=to).contains(at));
        }
        self.log.lock().expect("lock").push(None);
    }

    fn snapshot(&self) -> MemoryStore {
        let mut store = MemoryStore::default();
        for (labels, samples) in &*self.series.lock().expect("lock") {
            let (timestamps, values) = samples.iter().map(|(at, value)| (*at, *value)).unzip();
            store.add(labels.clone(), SampleBuffer { timestamps, values });
        }
        store
    }
}

impl Queryable for Living {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        self.read.lock().expect("lock").push(selection.range);
        self.snapshot().select(selection)
    }

    fn series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<Labels>, SelectError> {
        self.snapshot().series(any_of, range)
    }

    fn label_names(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.snapshot().label_names(any_of, range)
    }

    fn label_values(&self, name: &str, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        self.snapshot().label_values(name, any_of, range)
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        Vec::new()
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }
}

impl Changes for Living {
    fn version(&self) -> Option<Version> {
        Some(Version { changes: self.log.lock().expect("lock").len() as u64, layout: 0 })
    }

    fn changed(&self, since: Version, range: TimeRange) -> Option<Vec<TimeRange>> {
        let log = self.log.lock().expect("lock");
        let mut times = log[since.changes as usize..].iter().copied().collect::<Option<Vec<i64>>>()?;
        times.retain(|at| (range.start.0..=range.end.0).contains(at));
        times.sort_unstable();
        times.dedup();
        Some(times.into_iter().map(|at| TimeRange { start: TimestampMs(at), end: TimestampMs(at) }).collect())
    }
}

const QUERIES: &[&str] = &[
    "m",
    "m offset 20s",
    "m offset -20s",
    "rate(m[40s])",
    "sum(rate(m[40s]))",
    "sum by (a) (m)",
    "sum(max by (a) (m))",
    "avg(sum by (b) (m))",
    "stddev(m)",
    "sum_over_time(m[70s])",
    "avg_over_time(m[70s] offset 10s)",
    "stdvar_over_time(m[70s])",
    "quantile(1.5, m)",
    "quantile_over_time(0.3, m[50s])",
    "topk(2, m)",
    "sum(topk by (a) (1, m))",
    "count_values(\"v\", m)",
    "m > 5",
    "m and on (a) n",
    "m or n",
    "m + on (a, b) n",
    "m * on (a) group_left n",
    "sum(m * on (a) group_left n)",
    "absent(m{a=\"x\"})",
    "absent_over_time(m[15s])",
    "histogram_quantile(0.7, m)",
    "max_over_time(rate(m[30s])[1m:7s])",
    "sum_over_time(sum(m)[1m:10s] offset 15s)",
    "sum_over_time(sum(topk(1, m))[1m:10s])",
    "label_replace(m, \"a\", \"x\", \"\", \"\")",
    "scalar(m{a=\"x\",b=\"0\"}) + time()",
    "m @ end()",
    "m @ 50",
    "-{__name__=~\"m|n\"}",
    "deriv(m[1m]) + predict_linear(m[1m], 10)",
    "sum(sort(m))",
];

#[derive(Debug, Clone)]
enum Action {
    Write { series: usize, at: i64, value: f64 },
    Delete { series: usize, from: i64, to: i64 },
    Ask { query: usize, first: i64, count: i64, step: usize },
}

fn action() -> impl Strategy<Value = Action> {
    let value = prop_oneof![
        12 => -10.0..10.0f64,
        4 => (0u32..9).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-0.0),
        2 => Just(stale_nan()),
    ];
    prop_oneof![
        30 => (0usize..8, 0i64..300, value)
            .prop_map(|(series, at, value)| Action::Write { series, at: at * 1000, value }),
        1 => (0usize..8, 0i64..300, 0i64..100)
            .prop_map(|(series, from, width)| Action::Delete { series, from: from * 1000, to: (from + width) * 1000 }),
        20 => (0usize..3, 0i64..20, 0i64..20, 0usize..2)
            .prop_map(|(query, first, count, step)| Action::Ask { query, first, count, step }),
    ]
}

fn all_series() -> Vec<Labels> {
    let names = (0..8).map(|at| {
        let (name, a, b) = (["m", "n"][at / 6], ["x", "y"][at % 2], (at / 2 % 3).to_string());
        Labels::from_pairs([("__name__", name), ("a", a), ("b", &b), ("le", ["1", "+Inf"][at % 2])])
    });
    names.collect()
}

/// Every bit, but for numbers that are none: of those nobody sees more.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}

/// Bit for bit what an answer says.
fn shown(result: Result<QueryResult, PromqlError>) -> Result<String, String> {
    let result = result.map_err(|error| error.to_string())?;
    let Value::Matrix(series) = &result.value else { return Err("no matrix".to_owned()) };
    let series: Vec<_> = series
        .iter()
        .map(|one| {
            let values: Vec<u64> = one.samples.values.iter().map(|value| bits(*value)).collect();
            (one.labels.to_string(), one.samples.timestamps.clone(), values)
        })
        .collect();
    Ok(format!("{series:?} {:?} {:?}", result.warnings, result.infos))
}

fn range(start: i64, count: i64, step: i64) -> TimeRange {
    TimeRange { start: TimestampMs(start), end: TimestampMs(start + count * step) }
}

fn engine() -> Engine {
    Engine::new(EngineOptions { lookback: std::time::Duration::from_secs(25), ..EngineOptions::default() })
}

proptest! {
    #[test]
    fn every_answer_is_that_of_the_engine(
        chosen in prop::collection::vec(0..QUERIES.len(), 3),
        actions in prop::collection::vec(action(), 1..120),
        bytes in prop_oneof![Just(1u64 << 20), Just(20_000), Just(500)],
    ) {
        let (store, engine, cache) = (Living::default(), engine(), ResultCache::new(bytes));
        let series = all_series();
        for action in actions {
            match action {
                Action::Write { series: at, at: time, value } => store.write(&series[at], time, value),
                Action::Delete { series: at, from, to } => store.delete(&series[at], from, to),
                Action::Ask { query, first, count, step } => {
                    let text = QUERIES[chosen[query]];
                    let step = [10_000, 7000][step];
                    let (range, query) = (range(first * step, count, step), engine.parse(text).expect(text));
                    let limits = QueryLimits::default();
                    let cached = shown(cache.range(&engine, &store, &query, range, step, &limits));
                    let plain = shown(engine.range(&store, &query, range, step, &limits));
                    prop_assert_eq!(cached, plain, "{}", text);
                }
            }
        }
    }

    #[test]
    fn nothing_is_read_beyond_the_reach(first in 0i64..50, count in 1i64..20, step in 1i64..30) {
        let (store, engine) = (Living::default(), engine());
        all_series().iter().for_each(|labels| store.write(labels, 1000, 1.0));
        for text in QUERIES {
            let query = engine.parse(text).expect(text);
            let Some(reach) = query.plan().and_then(|plan| dependence::reach(plan, 25_000)) else { continue };
            store.read.lock().expect("lock").clear();
            let step = step * 1000;
            // Some refuse this data.
            let _ = engine.range(&store, &query, range(first * step, count, step), step, &QueryLimits::default());
            let allowed = reach.of(&Grid { start: first * step, step, count: count as usize + 1 });
            for read in &*store.read.lock().expect("lock") {
                prop_assert!(allowed.start <= read.start && read.end <= allowed.end, "{}: {:?}", text, read);
            }
        }
    }
}

/// Numbers whose sum depends on the order in which they are added.
fn odd_number(seed: i64) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 11) as f64) / 1e3_f64.powi((mixed % 7) as i32)
}

#[test]
fn a_value_depends_on_no_other_step() {
    let mut store = MemoryStore::default();
    for series in 0..1500i64 {
        let mut samples = SampleBuffer::default();
        // Some series begin late and some end early, so that parts of a range have other rows.
        for at in (series % 7 * 10)..(120 - series % 5 * 10) {
            samples.push(at * 5000, odd_number(series * 1000 + at));
        }
        let (i, a) = (series.to_string(), (series * 7 % 40).to_string());
        store.add(Labels::from_pairs([("__name__", "m"), ("a", &a), ("i", &i)]), samples);
    }
    let engine = engine();
    let values = |text: &str, first: i64, count: i64| {
        let query = engine.parse(text).expect(text);
        let result = engine.range(&store, &query, range(first * 1000, count, 1000), 1000, &QueryLimits::default());
        let Value::Matrix(series) = result.expect(text).value else { panic!("{text} is no matrix") };
        let mut values = BTreeMap::new();
        for one in series {
            for (at, value) in one.samples.timestamps.iter().zip(&one.samples.values) {
                values.insert((one.labels.to_string(), *at), bits(*value));
            }
        }
        values
    };
    for text in [
        "sum(m)",
        "avg by (a) (m)",
        "sum(sum by (a) (m))",
        "stddev(avg by (a) (m))",
        "sum(rate(m[30s]))",
        "sum by (a) (sum_over_time(m[1m]))",
        "avg(avg_over_time(m[45s]))",
        "max(stddev_over_time(m[50s]))",
    ] {
        let whole = values(text, 0, 600);
        for (first, count) in [(0, 1), (95, 3), (300, 40), (590, 10)] {
            let part = values(text, first, count);
            let within = |at: i64| (first * 1000..=(first + count) * 1000).contains(&at);
            let want: BTreeMap<_, _> =
                whole.iter().filter(|((_, at), _)| within(*at)).map(|(k, v)| (k.clone(), *v)).collect();
            assert!(part == want, "{text} at {first} and {count} more");
        }
    }
}

#[test]
fn a_refresh_evaluates_what_is_new() {
    let (store, engine, cache) = (Living::default(), engine(), ResultCache::new(1 << 20));
    let series = all_series();
    let scrape = |at: i64| series.iter().for_each(|labels| store.write(labels, at * 1000, at as f64));
    (0..60).for_each(|at| scrape(at * 10));
    let query = engine.parse("sum(rate(m[40s]))").expect("parses");
    let ask = |query: &Query, start: i64| {
        let result = cache.range(&engine, &store, query, range(start, 50, 10_000), 10_000, &QueryLimits::default());
        result.expect("answers").stats.samples_read
    };
    let all = ask(&query, 0);
    assert_eq!((ask(&query, 0), cache.statistics().hits), (0, 1));
    scrape(600);
    let new = ask(&query, 100_000);
    let statistics = cache.statistics();
    assert_eq!((statistics.partial_hits, statistics.misses, statistics.entries), (1, 1, 1));
    assert!(new > 0 && new < all / 2, "{new} of {all}");
    assert!(statistics.bytes > 51 * 8 && statistics.reused_steps == 51 + 41, "{statistics:?}");
    // A late sample takes the steps that it is seen at, and a deletion everything.
    store.write(&series[0], 305_000, 1.0);
    assert!(ask(&query, 100_000) > 0);
    assert_eq!(cache.statistics().partial_hits, 2);
    store.delete(&series[1], 0, 1);
    ask(&query, 100_000);
    assert_eq!(cache.statistics().misses, 2);
    let never = engine.parse("m @ end()").expect("parses");
    ask(&never, 0);
    ask(&never, 0);
    assert_eq!(cache.statistics().bypassed, 2);
}

#[test]
fn limits_hold_for_what_is_kept() {
    let (store, engine, cache) = (Living::default(), engine(), ResultCache::new(1 << 20));
    let series = all_series();
    (0..60).for_each(|at| series.iter().for_each(|labels| store.write(labels, at * 10_000, 1.0)));
    let query = engine.parse("m").expect("parses");
    let ask = |limits: &QueryLimits| cache.range(&engine, &store, &query, range(0, 50, 10_000), 10_000, limits).err();
    assert_eq!(ask(&QueryLimits::default()), None);
    let few = QueryLimits { max_samples: Some(50), ..QueryLimits::default() };
    assert_eq!(ask(&few), Some(PromqlError::TooManySamples));
    assert_eq!(ask(&QueryLimits { stats: QueryStatsWanted::Total, ..QueryLimits::default() }), None);
    assert_eq!(cache.statistics().bypassed, 1);
    let tiny = ResultCache::new(100);
    for _ in 0..2 {
        let answer = tiny.range(&engine, &store, &query, range(0, 50, 10_000), 10_000, &QueryLimits::default());
        assert!(answer.is_ok());
    }
    assert_eq!((tiny.statistics().hits, tiny.statistics().entries), (0, 0));
}
