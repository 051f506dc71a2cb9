//! Common parts of a query are evaluated once, and that changes nothing else.

use model::{TimeRange, TimestampMs};

use super::watched::Watched;
use crate::{Engine, EngineOptions, QueryLimits, QueryResult, QueryStatsWanted, Value};

/// A query, how often it asks the store, and the same query written so that nothing in it is equal (no series has `z`).
const CASES: &[(&str, usize, &str)] = &[
    ("sum(x) / (sum(x) + sum(y))", 2, "sum(x) / (sum(x{z=\"\"}) + sum(y))"),
    (
        "sum(rate(x_total[5m])) / (sum(rate(x_total[5m])) + sum(rate(y[5m] offset 1m)))",
        2,
        "sum(rate(x_total[5m])) / (sum(rate(x_total{z=\"\"}[5m])) + sum(rate(y[5m] offset 1m)))",
    ),
    ("sum by (a) (x) - avg by (a) (x)", 2, "sum by (a) (x) - avg by (a) (x)"),
    ("x + x", 2, "x + x{z=\"\"}"),
    ("sum(x) + sum(x offset 1m)", 2, "sum(x) + sum(x offset 1m)"),
    ("sum(x) + sum(x) * sum(x) ^ sum(x)", 1, "sum(x) + sum(x{z=\"\"}) * sum(x{z=~\"\"}) ^ sum(x{z!~\".+\"})"),
    ("max(sum by (a) (x)) - min(sum by (a) (x))", 1, "max(sum by (a) (x)) - min(sum by (a) (x{z=\"\"}))"),
    (
        "sum by (a) (x) > on () group_left () (max(sum by (a) (x)) - max(sum by (a) (x)))",
        1,
        "sum by (a) (x) > on () group_left () (max(sum by (a) (x{z=\"\"})) - max(sum by (a) (x{z=~\"\"})))",
    ),
    (
        "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x)[5m:1m])",
        1,
        "max_over_time(sum(x)[5m:1m]) - min_over_time(sum(x{z=\"\"})[5m:1m])",
    ),
    ("max_over_time(sum(x)[5m:1m]) - sum(x)", 2, "max_over_time(sum(x)[5m:1m]) - sum(x{z=\"\"})"),
    (
        "x * scalar(y{s=\"000001\"}) + scalar(y{s=\"000001\"})",
        2,
        "x * scalar(y{s=\"000001\"}) + scalar(y{s=\"000001\",z=\"\"})",
    ),
    ("sum(x > 1e9) or sum(x > 1e9) or vector(1)", 1, "sum(x > 1e9) or sum(x{z=\"\"} > 1e9) or vector(1)"),
    ("topk(2, x) and topk(2, x)", 1, "topk(2, x) and topk(2, x{z=\"\"})"),
    ("sum(x @ end()) + sum(x @ end())", 1, "sum(x @ end()) + sum(x{z=\"\"} @ end())"),
    ("sum(x @ end()) + sum(x @ start())", 2, "sum(x @ end()) + sum(x @ start())"),
];

fn store() -> Watched {
    let mut store = Watched::default();
    for name in ["x", "y", "x_total"] {
        store.add(name, 30, 60);
    }
    store
}

fn ask(engine: &Engine, store: &Watched, query: &str) -> QueryResult {
    ask_until(1_500_000, engine, store, query)
}

fn ask_until(end_ms: i64, engine: &Engine, store: &Watched, query: &str) -> QueryResult {
    let parsed = engine.parse(query).expect(query);
    let range = TimeRange { start: TimestampMs(1_200_000), end: TimestampMs(end_ms) };
    let limits = QueryLimits { stats: QueryStatsWanted::PerStep, ..QueryLimits::default() };
    engine.range(store, &parsed, range, 60_000, &limits).expect(query)
}

fn shown(result: &QueryResult) -> String {
    let Value::Matrix(series) = &result.value else { panic!("a range query answers a matrix") };
    series.iter().map(|s| format!("{} {:?}\n", s.labels, s.samples.values)).collect()
}

#[test]
fn what_is_equal_is_read_once_and_answers_and_counts_stay() {
    let (engine, store) = (Engine::new(EngineOptions::default()), store());
    for (query, selects, unequal) in CASES {
        store.selects();
        let shared = ask(&engine, &store, query);
        assert_eq!(store.selects(), *selects, "{query}");
        let apart = ask(&engine, &store, unequal);
        assert!(store.selects() >= *selects);
        assert!(!shown(&shared).is_empty(), "{query}");
        assert_eq!(shown(&shared), shown(&apart), "{query}");
        assert_eq!(shared.stats.queryable_samples, apart.stats.queryable_samples, "{query}");
        assert_eq!(shared.stats.queryable_per_step, apart.stats.queryable_per_step, "{query}");
    }
}

#[test]
fn what_is_remarked_on_is_evaluated_where_it_stands() {
    let (engine, store) = (Engine::new(EngineOptions::default()), store());
    let result = ask(&engine, &store, "sum(rate(x[5m])) + sum(rate(x[5m]))");
    assert_eq!((store.selects(), result.infos.is_empty()), (2, false));
}

#[test]
fn what_does_not_fit_twice_is_evaluated_again() {
    let store = store();
    let query = "max(sum by (s) (x)) - min(sum by (s) (x))";
    let ample = ask_until(3_400_000, &Engine::new(EngineOptions::default()), &store, query);
    assert_eq!(store.selects(), 1);
    let max_memory_bytes = ample.stats.peak_bytes as usize - 1;
    let tight = Engine::new(EngineOptions { max_memory_bytes, ..EngineOptions::default() });
    let result = ask_until(3_400_000, &tight, &store, query);
    assert_eq!((store.selects(), shown(&result)), (2, shown(&ample)));
}

#[test]
fn samples_count_as_in_prometheus() {
    let (engine, store) = (Engine::new(EngineOptions::default()), store());
    for (query, want) in [
        ("x", vec![30; 6]),
        ("timestamp(x)", vec![30; 6]),
        ("sum(x) + count(y)", vec![60; 6]),
        ("sum_over_time(x{s=\"000000\"}[2m])", vec![2; 6]),
        ("sum_over_time(x{s=\"000000\"}[2m] @ 300)", vec![2; 6]),
        ("max_over_time(x{s=\"000000\"}[10m:2m])", vec![5; 6]),
        ("absent_over_time(x[5m])", vec![150; 6]),
        ("x offset 25m", vec![0, 0, 0, 0, 0, 30]),
        ("1 + time()", vec![0; 6]),
    ] {
        let stats = ask(&engine, &store, query).stats;
        let steps: Vec<u64> = stats.queryable_per_step.expect("was asked for").iter().map(|(_, n)| *n).collect();
        assert_eq!((steps, stats.queryable_samples), (want.clone(), Some(want.iter().sum())), "{query}");
    }
    let query = engine.parse("max_over_time(x[5m])").expect("parses");
    for (stats, want) in [(QueryStatsWanted::None, None), (QueryStatsWanted::Total, Some(30 * 5))] {
        let limits = QueryLimits { stats, ..QueryLimits::default() };
        let result = engine.instant(&store, &query, TimestampMs(1_200_000), &limits).expect("is answered");
        assert_eq!((result.stats.queryable_samples, result.stats.queryable_per_step), (want, None));
    }
}
