//! Laws that hold for every query: of generated ones on generated data.

use std::collections::BTreeMap;

use model::{Labels, SampleBuffer, TimeRange, TimestampMs};
use proptest::prelude::*;

use super::properties::store;
use super::storage::MemoryStore;
use crate::{Engine, EngineOptions, QueryLimits, SyntaxOptions, Value};

/// A vector as it matters here: labels and value.
type Rows = BTreeMap<String, f64>;

fn engine(helper_threads: usize) -> Engine {
    Engine::new(EngineOptions { syntax: SyntaxOptions::EXPERIMENTAL, helper_threads, ..EngineOptions::default() })
}

/// The answer, or what is wrong with it: two ways to ask the same must fail in the same words.
fn ask(store: &MemoryStore, query: &str, at: i64) -> Result<Value, String> {
    let engine = engine(0);
    let parsed = engine.parse(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    let answer = engine.instant(store, &parsed, TimestampMs(at), &QueryLimits::default());
    answer.map(|result| result.value).map_err(|e| e.to_string())
}

fn rows(store: &MemoryStore, query: &str, at: i64) -> Result<Rows, String> {
    ask(store, query, at).map(|value| match value {
        Value::Vector(samples) => samples.into_iter().map(|s| (s.labels.to_string(), s.sample.value)).collect(),
        Value::Scalar(sample) => [(Labels::empty().to_string(), sample.value)].into(),
        other => panic!("{query}: {other:?}"),
    })
}

/// The samples of every series by time.
fn matrix(value: Value) -> BTreeMap<String, BTreeMap<i64, f64>> {
    let Value::Matrix(series) = value else { panic!("not a matrix: {value:?}") };
    let samples = |s: &SampleBuffer| s.timestamps.iter().copied().zip(s.values.iter().copied()).collect();
    series.iter().map(|s| (s.labels.to_string(), samples(&s.samples))).collect()
}

fn over(store: &MemoryStore, query: &str, start: i64, end: i64, step: i64) -> Result<Value, String> {
    let engine = engine(0);
    let parsed = engine.parse(query).unwrap_or_else(|e| panic!("{query}: {e}"));
    let range = TimeRange { start: TimestampMs(start), end: TimestampMs(end) };
    let answer = engine.range(store, &parsed, range, step, &QueryLimits::default());
    answer.map(|result| result.value).map_err(|e| e.to_string())
}

fn near(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn same(a: &Rows, b: &Rows) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(*a.1, *b.1))
}

fn pick(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(from)
}

const SELECTORS: &[&str] =
    &["m_total", "n_total", "m_total{a=\"x\"}", "m_total{b=~\"0|1\"}", "{__name__=~\"._total\",b!=\"2\"}"];
const OVER_TIME: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "changes",
    "resets",
    "deriv",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "stddev_over_time",
    "mad_over_time",
    "ts_of_max_over_time",
    "absent_over_time",
];
const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "atan2",
    "==",
    "!=",
    ">",
    "<=",
    "> bool",
    "and",
    "or",
    "unless",
    "+ on (a, b, le)",
    "and on (a)",
    "or on (b)",
    "unless ignoring (a)",
    "* on (a) group_left ()",
    "/ ignoring (le) group_right (le)",
];
/// Not `sort`: it acts on instants only, and which elements `limitk` keeps depends on the order.
const AROUND: &[&str] = &[
    "sum(",
    "sum by (a) (",
    "avg without (b) (",
    "min(",
    "max by (le) (",
    "count by (b) (",
    "group(",
    "stddev(",
    "topk(1, ",
    "bottomk by (a) (2, ",
    "quantile(0.4, ",
    "count_values(\"v\", ",
    "limitk(2, ",
    "abs(",
    "floor(",
    "-(",
    "timestamp(",
    "sgn(",
    "absent(",
    "histogram_quantile(0.5, ",
    "clamp_min(5, ",
    "(",
];
const WINDOWS: &[&str] = &["17s", "1m", "95s", "3m"];
const OFFSETS: &[&str] = &["", "", "", " offset 35s", " offset -20s"];

/// Instant vectors without `@`.
fn vector() -> impl Strategy<Value = String> {
    let selector = (pick(SELECTORS), pick(OFFSETS)).prop_map(|(selector, offset)| format!("{selector}{offset}"));
    let window = (pick(OVER_TIME), pick(SELECTORS), pick(WINDOWS), pick(OFFSETS))
        .prop_map(|(function, selector, window, offset)| format!("{function}({selector}[{window}]{offset})"));
    let leaf = prop_oneof![selector, window];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            2 => (pick(AROUND), inner.clone()).prop_map(|(around, inner)| match around {
                // The only one whose vector comes first.
                "clamp_min(5, " => format!("clamp_min({inner}, 5)"),
                around => format!("{around}{inner})"),
            }),
            2 => (inner.clone(), pick(OPERATORS), inner.clone()).prop_map(|(a, op, b)| format!("({a}) {op} ({b})")),
            1 => (inner.clone(), pick(&["+ 1", "* -2", "> 10", "== bool 3", "% 7"])).prop_map(|(a, b)| format!("({a}) {b}")),
            1 => (pick(OVER_TIME), inner, pick(&["1m:15s", "2m:7s", "50s:1m"])).prop_map(|(f, a, w)| format!("{f}(({a})[{w}])")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_range_is_its_instants(store in store(), query in vector(), start in 0i64..300_000, step in 1_000i64..40_000) {
        let end = start + 8 * step;
        let instants: Result<Vec<_>, String> =
            (0..=8).map(|i| rows(&store, &query, start + i * step).map(|r| (start + i * step, r))).collect();
        let range = over(&store, &query, start, end, step).map(matrix);
        match (instants, range) {
            (Ok(instants), Ok(range)) => {
                for (at, here) in instants {
                    let there: Rows = range.iter().filter_map(|(l, s)| Some((l.clone(), *s.get(&at)?))).collect();
                    prop_assert!(same(&here, &there), "{} at {}: {:?} over a range, {:?}", query, at, there, here);
                }
            }
            // One bad step is enough, and several may be bad in different ways.
            (a, b) => prop_assert_eq!(a.is_err(), b.is_err(), "{}: {:?} {:?}", query, a, b),
        }
    }

    #[test]
    fn a_subquery_is_a_range(store in store(), query in vector(), at in 0i64..600_000, step in 1i64..40, window in 1i64..200) {
        let subquery = ask(&store, &format!("({query})[{window}s:{step}s]"), at).map(matrix);
        let first = ((at - window * 1_000).div_euclid(step * 1_000) + 1) * step * 1_000;
        if first > at {
            prop_assert_eq!(subquery.map(|m| m.len()), Ok(0), "{}", query);
            return Ok(());
        }
        // The end of a range need not be one of its steps.
        let range = over(&store, &query, first, at, step * 1_000).map(matrix);
        prop_assert_eq!(format!("{subquery:?}"), format!("{range:?}"), "{}", query);
    }

    #[test]
    fn an_offset_is_another_time(store in store(), at in 0i64..400_000, by in -100i64..100, function in pick(OVER_TIME)) {
        for (moved, plain) in [
            (format!("m_total offset {by}s"), "m_total".to_owned()),
            (format!("{function}(m_total[1m] offset {by}s)"), format!("{function}(m_total[1m])")),
            (format!("{function}((-m_total)[1m:10s] offset {by}s)"), format!("{function}((-m_total)[1m:10s])")),
        ] {
            let (moved_rows, plain_rows) = (rows(&store, &moved, at), rows(&store, &plain, at - by * 1_000));
            prop_assert_eq!(format!("{moved_rows:?}"), format!("{plain_rows:?}"), "{} at {}", moved, at);
        }
    }

    #[test]
    fn at_is_always_the_same_time(store in store(), at in 0i64..400, when in 0i64..600_000, function in pick(OVER_TIME)) {
        for (held, plain) in [
            (format!("m_total @ {at}"), "m_total".to_owned()),
            (format!("{function}(m_total[1m] @ {at})"), format!("{function}(m_total[1m])")),
            (format!("{function}((-m_total)[1m:10s] @ {at})"), format!("{function}((-m_total)[1m:10s])")),
            (format!("{function}(m_total[1m] offset 7s @ {})", at + 7), format!("{function}(m_total[1m])")),
        ] {
            let want = rows(&store, &plain, at * 1_000);
            let here = rows(&store, &held, when);
            prop_assert_eq!(format!("{here:?}"), format!("{want:?}"), "{} at {}", held, when);
            let range = over(&store, &held, when, when + 50_000, 25_000).map(matrix).expect(&held);
            for (labels, samples) in range {
                let value = want.as_ref().expect(&plain)[&labels];
                prop_assert!(samples.len() == 3 && samples.values().all(|v| near(*v, value)), "{}", held);
            }
        }
    }

    #[test]
    fn windows_add_up(store in store(), at in 100_000i64..500_000, first in 1i64..90, second in 1i64..90) {
        let whole = first + second;
        for (function, join) in [("sum", "+"), ("count", "+")] {
            let parts = format!(
                "({function}_over_time(m_total[{first}s]) {join} {function}_over_time(m_total[{second}s] offset {first}s)) \
                 or {function}_over_time(m_total[{first}s]) or {function}_over_time(m_total[{second}s] offset {first}s)"
            );
            let (a, b) = (rows(&store, &parts, at), rows(&store, &format!("{function}_over_time(m_total[{whole}s])"), at));
            // Infinities of both signs make NaN in one order and in every other.
            prop_assert!(same(&a.expect("adds"), &b.expect("adds")), "{}", parts);
        }
    }

    #[test]
    fn sets_and_groups_take_apart_and_put_together(store in store(), query in vector(), at in 0i64..600_000) {
        let Ok(whole) = rows(&store, &query, at) else { return Ok(()) };
        for again in [
            format!("(({query}) and on () vector(1)) or (({query}) unless on () vector(1))"),
            format!("({query}) unless on () nothing"),
            format!("last_over_time(({query})[1ms:1ms])"),
            format!("label_replace({query}, \"new\", \"\", \"\", \"\")"),
            format!("({query}) @ end()").replace(" @ end()", ""),
        ] {
            let again_rows = rows(&store, &again, at);
            prop_assert!(again_rows.as_ref().is_ok_and(|a| same(a, &whole)), "{}: {:?}, not {:?}", again, again_rows, whole);
        }
        let counted: f64 = rows(&store, &format!("count by (a) ({query})"), at).expect("counts").values().sum();
        prop_assert_eq!(counted as usize, whole.len(), "{}", query);
        for part in rows(&store, &format!("topk(2, {query})"), at).expect("chooses") {
            prop_assert!(whole.get(&part.0).is_some_and(|v| near(*v, part.1)), "{}", query);
        }
    }
}

#[test]
fn answers_do_not_depend_on_threads() {
    let mut store = MemoryStore::default();
    for series in 0..200 {
        let mut samples = SampleBuffer::default();
        (0..300).for_each(|i| samples.push(i * 15_000, ((i * 7 + series) % 31) as f64 / 10.0));
        let labels = [("__name__", "m_total"), ("i", &format!("{series:03}")), ("a", &(series % 3).to_string())];
        store.add(Labels::from_pairs(labels), samples);
    }
    let range = TimeRange { start: TimestampMs(0), end: TimestampMs(4_000_000) };
    for query in
        ["sum by (a) (rate(m_total[5m]))", "avg(m_total)", "stddev by (a) (m_total)", "topk(3, m_total)", "m_total * 2"]
    {
        let answer = |threads| {
            let engine = engine(threads);
            let parsed = engine.parse(query).expect(query);
            let result = engine.range(&store, &parsed, range, 2_000, &QueryLimits::default()).expect(query);
            format!("{:?}", matrix(result.value))
        };
        assert!(answer(0) == answer(3), "{query}");
    }
}
