//! Queries: the parser and its printer, the engine over a small store, and requests to read.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use model::{
    Labels, Matcher, MetricMetadata, Queryable, SampleBuffer, SelectError, Selection, StoredSeries, TimeRange,
    TimestampMs, matches_all, stale_nan,
};
use promql::{Engine, EngineOptions, QueryLimits, SyntaxOptions};

const SEEDS: [&str; 16] = [
    "sum by (a) (rate(b_total{c=~\"d.*\",e!=\"f\"}[5m] offset 1h)) / on (a) group_left (g) h > bool 1e3",
    "histogram_quantile(0.99, sum by (le) (rate(m_bucket[1m]))) and m_total unless on (a) n_total",
    "label_replace(m_total, \"a\", \"$1-${2}\", \"b\", \"(.*)(?P<x>[a-z]+)\") or label_join(m_total, \"c\", \",\", \"a\", \"b\")",
    "max_over_time(deriv(m_total[5m])[1h:1m] @ end() offset -5m) ^ -2 % 3 atan2 pi()",
    "topk(3, {__name__=~\"m.*\"}) or absent({\"quoted name\", a=\"b\"}) or bottomk without (b) (1, n_total)",
    "quantile_over_time(0.3, m_total[2m]) - predict_linear(m_total[1m:10s], 60) @ 300",
    "count_values(\"v\", m_total) + ignoring (v) group_right sum by (v) (m_total)",
    "limitk(1, m_total) + fill_left (0) fill_right (1e3) limit_ratio(-0.5, n_total)",
    "rate(m_total[step() * 2 + max_of(1m, range() / 4)] smoothed) or m_total anchored[5m]",
    "info(m_total, {data=~\".+\", __name__=\"target_info\"})",
    "sort_by_label(double_exponential_smoothing(m_total[2m], 0.5, 0.1), \"a\") # a comment",
    "mad_over_time(m_total[3m]) > bool on () scalar(ts_of_max_over_time(n_total[1h])) == time() - 0x1F",
    "days_in_month(vector(1.7e9)) * hour(m_total @ start()) + -timestamp(m_total offset 1d2h3m4s5ms)",
    "histogram_quantiles(m_bucket, \"q\", 0.1, 0.9) or histogram_fraction(0, 0.5, m_bucket)",
    "changes(m_total[1m]) + resets(m_total[1m]) + idelta(m_total[1m]) + irate(m_total[1m]) + delta(m_total[1m])",
    "\"a string\\x41\\u00e9\"",
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    SEEDS.map(|query| query.as_bytes().to_vec()).to_vec()
}

/// What is printed reads back as the same query.
pub(super) fn parser(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let options = SyntaxOptions::EXPERIMENTAL;
    match promql_syntax::parse(text, options) {
        Ok(expr) => {
            let printed = expr.to_string();
            let again = promql_syntax::parse(&printed, options);
            let again = again.unwrap_or_else(|e| panic!("{text:?} is printed as {printed:?}: {e}"));
            assert_eq!(again.to_string(), printed, "of {text:?}");
            let pretty = promql_syntax::parse(&expr.pretty(), options);
            assert!(pretty.is_ok_and(|p| p.to_string() == printed), "{text:?}: {}", expr.pretty());
            expr.to_json();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = promql_syntax::parse(text, SyntaxOptions::default());
    let _ = promql::parse_selector(text);
}

/// Series of every kind in a vector.
pub(super) struct Store(Vec<(Labels, SampleBuffer)>);

struct Stored(Labels, SampleBuffer);

impl StoredSeries for Stored {
    fn labels(&self) -> &Labels {
        &self.0
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        for (time, value) in self.1.timestamps.iter().zip(&self.1.values) {
            if (range.start.0..=range.end.0).contains(time) {
                into.push(*time, *value);
            }
        }
        Ok(())
    }
}

impl Store {
    pub(super) fn new() -> Self {
        let odd = [f64::NAN, f64::INFINITY, -0.0, stale_nan(), f64::MAX, -1.5];
        let series = |at: usize| {
            let (name, le) = (["m_total", "n_total", "m_bucket"][at / 4], ["0.1", "1", "+Inf", "x"][at % 4]);
            let labels = [("__name__", name), ("a", ["x", "y"][at % 2]), ("b", ["0", "1", "é"][at % 3]), ("le", le)];
            let mut samples = SampleBuffer::default();
            for i in 0..40 {
                let value = if (i + at).is_multiple_of(7) { odd[i % odd.len()] } else { (i * (at + 1) % 50) as f64 };
                samples.push(i as i64 * 15_000 + at as i64, value);
            }
            (Labels::from_pairs(labels), samples)
        };
        let mut all: Vec<_> = (0..12).map(series).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Self(all)
    }

    fn matching(&self, any_of: &[Vec<Matcher>]) -> impl Iterator<Item = &Labels> {
        let is_wanted = move |labels: &&Labels| any_of.is_empty() || any_of.iter().any(|m| matches_all(m, labels));
        self.0.iter().map(|(labels, _)| labels).filter(is_wanted)
    }
}

impl Queryable for Store {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        let wanted = self.0.iter().filter(|(labels, _)| matches_all(selection.matchers, labels));
        Ok(wanted.map(|(l, s)| Box::new(Stored(l.clone(), s.clone())) as Box<dyn StoredSeries>).collect())
    }

    fn series(&self, any_of: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<Labels>, SelectError> {
        Ok(self.matching(any_of).cloned().collect())
    }

    fn label_names(&self, any_of: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        let names = self.matching(any_of).flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned()));
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn label_values(&self, name: &str, any_of: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        let values = self.matching(any_of).filter_map(|labels| labels.get(name).map(str::to_owned));
        Ok(values.collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        Vec::new()
    }
}

struct Fuzzed {
    engine: Engine,
    store: Store,
}

/// An engine whose limits are those of a small store.
pub(super) fn engine() -> Engine {
    Engine::new(EngineOptions {
        max_samples: 100_000,
        max_memory_bytes: 16 << 20,
        max_points: 100,
        max_series: 1000,
        parse_cache_entries: 0,
        helper_threads: 0,
        syntax: SyntaxOptions::EXPERIMENTAL,
        ..EngineOptions::default()
    })
}

thread_local!(static FUZZED: Fuzzed = Fuzzed { engine: engine(), store: Store::new() });

/// A query at an instant, over a range, and at the end of time.
pub(super) fn evaluate(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    FUZZED.with(|Fuzzed { engine, store }| {
        let Ok(query) = engine.parse(text) else { return };
        let deadline = Instant::now().checked_add(Duration::from_secs(2));
        let limits = QueryLimits { deadline, ..QueryLimits::default() };
        for at in [300_000, i64::MAX] {
            let _ = engine.instant(store, &query, TimestampMs(at), &limits);
        }
        for (start, end, step) in [(100_000, 500_000, 40_000), (i64::MIN, i64::MAX, i64::MAX / 4)] {
            let range = TimeRange { start: TimestampMs(start), end: TimestampMs(end) };
            let _ = engine.range(store, &query, range, step, &limits);
        }
    });
}

/// The message without its compression, which would only hide it from the fuzzer.
pub(super) fn remote_read(message: &[u8]) {
    let body = snap::raw::Encoder::new().compress_vec(message).expect("is small");
    if let Ok(request) = remote_write::decode_read_request(&body, 1 << 20) {
        let _ = request.response_type();
    }
}

/// Two queries with matchers and hints (prompb/remote.proto), answered in chunks.
pub(super) fn remote_read_seeds() -> Vec<Vec<u8>> {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let matcher = |kind: u8, name: &str, value: &str| {
        field(3, &[&[1 << 3, kind], field(2, name.as_bytes()).as_slice(), &field(3, value.as_bytes())].concat())
    };
    let times = [1 << 3, 100, 2 << 3, 0xe8, 0x07];
    let hints = field(4, &[&[1 << 3, 15], field(2, b"rate").as_slice(), &times].concat());
    let simple = field(1, &[&times[..], &matcher(0, "__name__", "up"), &hints].concat());
    let patterns = field(1, &[&times[..], &matcher(2, "job", "a|b.*"), &matcher(3, "x", "[")].concat());
    vec![[simple.as_slice(), &patterns, &[2 << 3, 1, 2 << 3, 0]].concat(), simple]
}
