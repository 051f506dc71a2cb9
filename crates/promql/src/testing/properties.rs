//! Properties of the engine on generated data and generated queries.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use model::{Labels, SampleBuffer, TimeRange, TimestampMs, stale_nan};
use proptest::prelude::*;

use super::storage::MemoryStore;
use crate::{
    Engine, EngineOptions, ErrorClass, PromqlError, QueryLimits, QueryResult, SyntaxOptions, Value, ValueType,
};

fn engine() -> Engine {
    Engine::new(EngineOptions { syntax: SyntaxOptions::EXPERIMENTAL, ..EngineOptions::default() })
}

fn instant(store: &MemoryStore, query: &str, at: i64) -> Result<QueryResult, PromqlError> {
    let engine = engine();
    engine.instant(store, &*engine.parse(query)?, TimestampMs(at), &QueryLimits::default())
}

fn range(store: &MemoryStore, query: &str, start: i64, end: i64, step: i64) -> Result<QueryResult, PromqlError> {
    let engine = engine();
    let range = TimeRange { start: TimestampMs(start), end: TimestampMs(end) };
    engine.range(store, &*engine.parse(query)?, range, step, &QueryLimits::default())
}

/// Values that matter: small whole numbers (counters with resets), and the odd ones.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => (0u32..50).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        2 => Just(stale_nan()),
        2 => -10.0..10.0f64,
    ]
}

/// Irregular samples: gaps of 1 to 40 seconds.
fn samples() -> impl Strategy<Value = SampleBuffer> {
    prop::collection::vec((1_000i64..40_000, value()), 0..60).prop_map(|steps| {
        let (mut buffer, mut time) = (SampleBuffer::default(), 0);
        for (gap, value) in steps {
            time += gap;
            buffer.push(time, value);
        }
        buffer
    })
}

pub(super) fn store() -> impl Strategy<Value = MemoryStore> {
    prop::collection::vec(samples(), 6).prop_map(|all| {
        let mut store = MemoryStore::default();
        for (at, samples) in all.into_iter().enumerate() {
            let (name, le) = (["m_total", "n_total"][at / 4], ["1", "2", "+Inf"][at % 3]);
            let (a, b) = (["x", "y"][at % 2], format!("{}", at / 2));
            store.add(Labels::from_pairs([("__name__", name), ("a", a), ("b", &b), ("le", le)]), samples);
        }
        store
    })
}

const QUERIES: &[&str] = &[
    "m_total",
    "m_total offset 30s",
    "m_total @ 200",
    "timestamp(m_total)",
    "rate(m_total[1m])",
    "increase(m_total[95s])",
    "delta(m_total[2m] offset 10s)",
    "irate(m_total[1m])",
    "idelta(m_total[1m])",
    "changes(m_total[3m])",
    "resets(m_total[3m])",
    "deriv(m_total[2m])",
    "predict_linear(m_total[2m], 60)",
    "predict_linear(m_total[2m] @ 300, 60)",
    "sum_over_time(m_total[100s])",
    "avg_over_time(m_total[100s])",
    "min_over_time(m_total[100s])",
    "max_over_time(m_total[100s])",
    "count_over_time(m_total[100s])",
    "last_over_time(m_total[100s])",
    "first_over_time(m_total[100s])",
    "present_over_time(m_total[10s])",
    "absent_over_time(m_total[10s])",
    "quantile_over_time(0.3, m_total[100s])",
    "stddev_over_time(m_total[100s])",
    "mad_over_time(m_total[100s])",
    "ts_of_max_over_time(m_total[100s])",
    "ts_of_min_over_time(m_total[100s])",
    "double_exponential_smoothing(m_total[100s], 0.3, 0.4)",
    "sum by (a) (m_total)",
    "avg without (b, le) (m_total)",
    "min(m_total)",
    "count by (b) (rate(m_total[1m]))",
    "stddev(m_total)",
    "topk(2, m_total)",
    "bottomk by (a) (1, m_total)",
    "quantile(0.7, m_total)",
    "count_values(\"v\", m_total)",
    "m_total > 20",
    "m_total > bool 20",
    "-m_total",
    "m_total and on (a) n_total",
    "m_total unless on (a) n_total",
    "m_total or on (b) n_total",
    "m_total / on (b) group_left sum by (b) (m_total)",
    "absent(m_total{a=\"x\"})",
    "histogram_quantile(0.5, sum by (le) (m_total))",
    "max_over_time(rate(m_total[1m])[2m:20s])",
    "sum_over_time(sum(m_total)[3m:])",
    "label_replace(m_total, \"c\", \"$1\", \"b\", \"(.).*\")",
    "scalar(sum(m_total))",
    "vector(time())",
    "abs({__name__=~\".+\", b=\"0\"})",
    "limitk(2, m_total)",
    "limitk by (a) (1, m_total > 3)",
    "limit_ratio(0.5, m_total)",
    "limit_ratio(-0.5, m_total)",
    "histogram_fraction(0, 1.5, sum by (le) (m_total))",
    "histogram_quantiles(sum by (le) (m_total), \"q\", 0.1, 0.9)",
    "histogram_count(m_total)",
    "sort_by_label(m_total, \"b\")",
    "m_total - on (a, b, le) n_total",
    "m_total + on (b) group_left fill (0) sum by (b) (n_total)",
    "m_total > fill_left (1) fill_right (2) m_total offset 1m",
    "rate(m_total[1m] anchored)",
    "increase(m_total[1m] smoothed)",
    "delta(m_total[95s] smoothed offset 10s)",
    "changes(m_total[2m] anchored)",
    "resets(m_total[2m] anchored)",
    "m_total smoothed",
    "info(m_total, {__name__=\"n_total\"})",
    "vector(min_of(time(), 100))",
];

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-7 * (1.0 + a.abs().max(b.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_range_is_its_instants(store in store(), step in 1_000i64..70_000, offset in 0i64..60_000) {
        for query in QUERIES {
            let (start, end) = (offset, offset + 12 * step);
            let Value::Matrix(series) = range(&store, query, start, end, step).expect(query).value else {
                panic!("{query} is not a matrix");
            };
            let mut seen = 0;
            for at in (start..=end).step_by(step as usize) {
                let samples = match instant(&store, query, at).expect(query).value {
                    Value::Vector(samples) => samples.into_iter().map(|s| (s.labels, s.sample.value)).collect(),
                    Value::Scalar(sample) => vec![(Labels::empty(), sample.value)],
                    other => panic!("{query}: {other:?}"),
                };
                for (labels, value) in samples {
                    let row = series.iter().find(|s| s.labels == labels);
                    let row = row.unwrap_or_else(|| panic!("{query}: {labels} is missing"));
                    let found = row.samples.timestamps.binary_search(&at).map(|i| row.samples.values[i]);
                    prop_assert!(found.is_ok_and(|v| same(v, value)), "{query} at {at}: {found:?}, not {value}");
                    seen += 1;
                }
            }
            let total: usize = series.iter().map(|s| s.samples.len()).sum();
            prop_assert_eq!(total, seen, "{} has samples that no instant has", query);
        }
    }

    #[test]
    fn a_sum_is_the_sum_of_its_parts(store in store(), at in 0i64..600_000) {
        let sum_of = |query: &str| match instant(&store, query, at).expect(query).value {
            Value::Vector(samples) => samples.iter().map(|s| s.sample.value).sum::<f64>(),
            other => panic!("{query}: {other:?}"),
        };
        for inner in ["m_total", "increase(m_total[2m])"] {
            let parts = sum_of(inner);
            let wholes = [
                format!("sum({inner})"),
                format!("sum by (a) ({inner})"),
                format!("sum(sum without (a) ({inner}))"),
                format!("sum(avg by (a) ({inner}) * count by (a) ({inner}))"),
            ];
            for whole in wholes {
                prop_assert!(same(sum_of(&whole), parts), "{}", whole);
            }
        }
    }

    #[test]
    fn topk_and_bottomk_share_the_rows(store in store(), at in 0i64..600_000, k in 0usize..8) {
        let rows = |query: &str| match instant(&store, query, at).expect(query).value {
            Value::Vector(samples) => samples.len(),
            other => panic!("{query}: {other:?}"),
        };
        let all = rows("m_total");
        prop_assert_eq!(rows(&format!("topk({k}, m_total)")), k.min(all));
        prop_assert_eq!(rows(&format!("m_total unless topk({k}, m_total)")), all - k.min(all));
    }

    #[test]
    fn no_query_and_no_time_panics(
        parts in prop::collection::vec(prop::sample::select(vec![
            "m_total", "n_total", "(", ")", "sum", "rate", "[1m]", "[5m:1s]", "offset 1m", "@ 9e15", "+", "-", "^",
            "and", "or", "1", "1e308", "topk", ",", "by (a)", "on (a)", "group_left", "histogram_quantile", "NaN",
            "quantile_over_time", "> bool", "\"x\"", "time()", "year", "vector", "round", "label_join", "{a=\"x\"}",
        ]), 1..14),
        at in prop_oneof![Just(i64::MIN), Just(i64::MAX), 0i64..600_000],
        store in store(),
    ) {
        let query = parts.join(" ");
        let _ = instant(&store, &query, at);
        let _ = range(&store, &query, at, at.saturating_add(10_000), 999);
    }
}

#[test]
fn extreme_times_do_not_overflow() {
    let mut store = MemoryStore::default();
    let mut samples = SampleBuffer::default();
    samples.push(i64::MIN, 1.0);
    samples.push(0, 2.0);
    samples.push(i64::MAX, 3.0);
    store.add(Labels::from_pairs([("__name__", "m_total")]), samples);
    for query in QUERIES.iter().chain(&["m_total offset 292y", "m_total offset -292y", "rate(m_total[292y])"]) {
        for at in [i64::MIN, -1, 0, i64::MAX] {
            let _ = instant(&store, query, at);
            let _ = range(&store, query, at, at.saturating_add(1_000), 10);
            let _ = range(&store, query, i64::MIN, i64::MAX, i64::MAX / 4);
        }
    }
}

#[test]
fn deep_queries_fit_a_small_stack() {
    let run = || {
        let store = MemoryStore::default();
        let deep = [
            format!("{}1{}", "(".repeat(250), ")".repeat(250)),
            format!("{}vector(1){}", "-(".repeat(120), ")".repeat(120)),
            vec!["vector(1)"; 120].join(" + "),
            vec!["vector(1)"; 120].join(" or "),
            format!("{}vector(1){}", "sum(".repeat(240), ")".repeat(240)),
            format!("{}vector(1){}", "max_over_time(".repeat(80), "[1m:1m])".repeat(80)),
        ];
        for query in &deep {
            let result = instant(&store, query, 0).map(|r| r.value.value_type());
            assert!(result.is_ok(), "{}: {result:?}", &query[..40]);
        }
        for open in ["(", "sum(", "-(", "abs(", "["] {
            assert!(instant(&store, &open.repeat(10_000), 0).is_err());
        }
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).expect("thread");
    thread.join().expect("the stack is large enough");
}

#[test]
fn limits_hold() {
    let mut store = MemoryStore::default();
    for series in 0..10 {
        let mut samples = SampleBuffer::default();
        (0..1000).for_each(|i| samples.push(i * 1000, i as f64));
        store.add(Labels::from_pairs([("__name__", "m"), ("i", &series.to_string())]), samples);
    }
    let engine = engine();
    let query = engine.parse("sum(rate(m[5m]))").expect("parses");
    let all = TimeRange { start: TimestampMs(0), end: TimestampMs(1_000_000) };
    let ask = |query, step, limits: &QueryLimits| {
        engine.range(&store, query, all, step, limits).map(|r| r.stats.samples_read)
    };
    let none = QueryLimits::default();
    assert_eq!(ask(&query, 10_000, &none), Ok(10_000));
    let few = QueryLimits { max_samples: Some(900), ..QueryLimits::default() };
    assert_eq!(ask(&query, 10_000, &few), Err(PromqlError::TooManySamples));
    let late = QueryLimits { deadline: Some(Instant::now()), ..QueryLimits::default() };
    assert_eq!(ask(&query, 10_000, &late), Err(PromqlError::Timeout));
    let cancelled = QueryLimits { cancelled: Some(Arc::new(AtomicBool::new(true))), ..QueryLimits::default() };
    assert_eq!(ask(&query, 10_000, &cancelled), Err(PromqlError::Canceled));
    assert_eq!(ask(&query, 0, &none).expect_err("no step").class(), ErrorClass::BadData);
    let error = ask(&query, 10, &none).expect_err("too many points");
    assert!(error.to_string().contains("exceeded maximum resolution of 11,000 points per timeseries"), "{error}");
    let matrix = engine.parse("m[5m]").expect("parses");
    let error = ask(&matrix, 10_000, &none).expect_err("no matrix over a range");
    assert!(error.to_string().contains(r#"invalid expression type "range vector" for range query"#), "{error}");
    let huge = engine.parse("sum_over_time(vector(1)[50y:1ms])").expect("parses");
    assert!(matches!(ask(&huge, 10_000, &none), Err(PromqlError::TooManySamples)));
    let short = QueryLimits { lookback: Some(Duration::from_millis(500)), ..QueryLimits::default() };
    let query = engine.parse("m").expect("parses");
    let count = |at, limits| match engine.instant(&store, &query, TimestampMs(at), limits).expect("answers").value {
        Value::Vector(samples) => samples.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((count(1_499, &short), count(1_500, &short), count(1_500, &none)), (10, 0, 10));
}

#[test]
fn a_query_tells_about_itself() {
    let engine = engine();
    let query = engine.parse(" sum(rate(a{b='c'}[5m]))by(d)/ignoring(e)f").expect("parses");
    assert_eq!(query.text(), " sum(rate(a{b='c'}[5m]))by(d)/ignoring(e)f");
    assert_eq!(query.to_promql(), r#"sum by (d) (rate(a{b="c"}[5m])) / ignoring (e) f"#);
    assert_eq!(query.value_type(), ValueType::Vector);
    let shown: Vec<Vec<String>> =
        query.selectors().iter().map(|s| s.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(shown, [vec![r#"b="c""#, r#"__name__="a""#], vec![r#"__name__="f""#]]);
    assert!(Arc::ptr_eq(&query, &engine.parse(query.text()).expect("cached")));
    for (text, value_type) in
        [("1", ValueType::Scalar), ("\"a\"", ValueType::String), ("a[5m]", ValueType::Matrix), ("a", ValueType::Vector)]
    {
        assert_eq!(engine.parse(text).expect("parses").value_type(), value_type);
    }
}

#[test]
fn engines_and_queries_are_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    let engine = engine();
    shared(&engine);
    shared(&engine.parse("label_replace(a, \"b\", \"$1\", \"c\", \"(.*)\")").expect("parses"));
}

#[test]
fn what_is_not_there_is_named() {
    let engine = engine();
    for (query, named) in
        [("integral(m[5m])", r#"function "integral""#), ("sum(start_timestamp(m))", r#"function "start_timestamp""#)]
    {
        match engine.parse(query) {
            Err(error @ PromqlError::Unsupported { .. }) => {
                assert!(error.to_string().contains(named), "{query}: {error}");
                assert_eq!(error.class(), ErrorClass::BadData);
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}
