//! No query holds more than it may, and none goes on when nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use model::{TimeRange, TimestampMs};

use super::watched::Watched;
use crate::{Engine, EngineOptions, ErrorClass, PromqlError, QueryLimits, QueryResult};

const SERIES: usize = 2000;

/// Queries that hold about as much as there are series, each in a place of its own.
const HEAVY: &[&str] = &[
    "x",
    "x * 2",
    "rate(x[5m])",
    "sum by (s) (x)",
    "avg by (s) (x)",
    "max by (s) (rate(x[5m]))",
    "quantile by (a) (0.5, x)",
    "count_values(\"value\", x)",
    "topk by (a) (1000, x)",
    "x + on (s) y",
    "y - ignoring (a) group_left x",
    "x or y",
    "x and on (s) y",
    "label_replace(x, \"new\", \"$1\", \"s\", \"(.*)\")",
    "sort_desc(x)",
    "max_over_time(sum by (s) (x)[5m:1m])",
    "sum by (s) (x) + sum by (s) (x)",
];

fn store() -> Watched {
    let mut store = Watched::default();
    store.add("x", SERIES, 60);
    store.add("y", SERIES, 60);
    store
}

fn engine(options: EngineOptions) -> Engine {
    Engine::new(EngineOptions { helper_threads: 0, ..options })
}

fn ask(engine: &Engine, store: &Watched, query: &str, limits: &QueryLimits) -> Result<QueryResult, PromqlError> {
    let parsed = engine.parse(query).expect(query);
    if query.starts_with("sort") {
        return engine.instant(store, &parsed, TimestampMs(3_000_000), limits);
    }
    let range = TimeRange { start: TimestampMs(1_200_000), end: TimestampMs(3_000_000) };
    engine.range(store, &parsed, range, 60_000, limits)
}

#[test]
fn heavy_queries_meet_the_limit_of_memory() {
    let store = store();
    let free = engine(EngineOptions::default());
    // Listing 2000 series takes 384 kB; one column, a group and the like take little.
    for max_memory_bytes in [100_000, 460_000] {
        let tight = engine(EngineOptions { max_memory_bytes, ..EngineOptions::default() });
        for query in HEAVY {
            let needed = ask(&free, &store, query, &QueryLimits::default()).expect(query).stats.peak_bytes;
            assert!(needed > 460_000, "{query} needs {needed} bytes");
            let error = ask(&tight, &store, query, &QueryLimits::default()).expect_err(query);
            assert_eq!(error, PromqlError::TooMuchMemory { limit: max_memory_bytes }, "{query}");
            assert_eq!(error.class(), ErrorClass::Execution);
            assert!(error.to_string().contains("--query.max-memory"), "{error}");
            assert_eq!(tight.memory_used(), 0, "{query}");
        }
        assert_eq!(ask(&tight, &store, "1 + 1", &QueryLimits::default()).map(|_| ()), Ok(()));
    }
    assert!(ask(&free, &store, "sum(x)", &QueryLimits::default()).expect("fits").stats.peak_bytes < 460_000);
    assert_eq!(free.memory_used(), 0);
}

#[test]
fn answers_count_as_memory_until_they_are_dropped() {
    let store = store();
    let max_memory_total_bytes = 4 << 20;
    let engine = engine(EngineOptions { max_memory_total_bytes, ..EngineOptions::default() });
    let mut answers = Vec::new();
    let error = loop {
        match ask(&engine, &store, "x", &QueryLimits::default()) {
            Ok(answer) => answers.push(answer),
            Err(error) => break error,
        }
        assert!(answers.len() < 10, "an answer is more than 2000 series of 31 samples of 16 bytes");
    };
    assert_eq!(error, PromqlError::TooMuchMemoryInAll { limit: max_memory_total_bytes });
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert!(engine.memory_used() > SERIES * 31 * 16);
    answers.clear();
    assert_eq!(engine.memory_used(), 0);
    assert!(ask(&engine, &store, "x", &QueryLimits::default()).is_ok());
}

#[test]
fn series_are_limited_over_all_selectors() {
    let store = store();
    let engine = engine(EngineOptions { max_series: 3 * SERIES, ..EngineOptions::default() });
    let outcome = |query| ask(&engine, &store, query, &QueryLimits::default()).map(|_| ());
    assert_eq!(outcome("sum(x) + sum(y)"), Ok(()));
    let hinted = store.hints.lock().expect("nobody panicked").max_series;
    assert_eq!(hinted.map(|most| most.get()), Some(2 * SERIES + 1));
    let refused = Err(PromqlError::TooManySeries { limit: 3 * SERIES });
    assert_eq!(outcome("sum(x) + sum(y) + sum({a!=\"\"})"), refused);
}

#[test]
fn samples_are_limited_in_prometheus_words() {
    let store = store();
    let engine = engine(EngineOptions { max_samples: 1000, ..EngineOptions::default() });
    let error = ask(&engine, &store, "x", &QueryLimits::default()).expect_err("is too much");
    assert_eq!(error.to_string(), "query processing would load too many samples into memory in query execution");
    assert_eq!(error.class(), ErrorClass::Execution);
}

#[test]
fn every_phase_notices_that_the_client_has_left() {
    let engine = engine(EngineOptions::default());
    let mut store = store();
    for query in HEAVY {
        store.on_read = None;
        store.reads();
        assert_eq!(ask(&engine, &store, query, &QueryLimits::default()).map(|_| ()), Ok(()), "{query}");
        let all = store.reads();
        // While it reads, and when it has read everything and joins, sorts and collects.
        for leaves_at in [1, all / 2, all] {
            let left = Arc::new(AtomicBool::new(false));
            let sets = left.clone();
            store.on_read = Some(Arc::new(move |number| {
                sets.fetch_or(number == leaves_at, Relaxed);
            }));
            let limits = QueryLimits { cancelled: Some(left), ..QueryLimits::default() };
            let error = ask(&engine, &store, query, &limits).expect_err(query);
            assert_eq!(error.to_string(), "query was canceled in expression evaluation", "{query} at {leaves_at}");
            let more = store.reads() - leaves_at;
            assert!(more * 30 < 40_000, "{query} read {more} series more");
        }
    }
}

#[test]
fn a_query_that_is_late_does_not_begin() {
    let store = store();
    let limits = QueryLimits { deadline: Some(Instant::now()), ..QueryLimits::default() };
    let error = ask(&engine(EngineOptions::default()), &store, "x", &limits).expect_err("is late");
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
    assert_eq!(store.selects(), 0);
}
