//! What both servers hold: two hours of series of every kind that queries trip over.
//!
//! No sample lies 3 s past a multiple of 5 s, where the left edge of every window of a generated query lies: what
//! Prometheus 3 changed there is shown by cases of its own (`known.rs`).

use model::{Batch, Labels, Row, Sample, TimestampMs, stale_nan};

use super::random::Random;

/// When the data begin, in milliseconds since the epoch: on a whole minute.
pub const START: i64 = 1_700_000_400_000;
/// How long they last, in milliseconds.
pub const LENGTH: i64 = 7_200_000;

const MINUTE: i64 = 60_000;
/// What one request carries.
const REQUEST: i64 = 10 * MINUTE;

/// How far two engines may agree on something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// To 1e-9: the order of additions and the implementation of a function show.
    Rough,
    /// To the last bit, as long as nothing is added up.
    Exact,
    /// Whole numbers whose sums are exact in every order; NaN and the infinities are among them.
    Whole,
}

/// A metric, as the generator knows it.
pub struct Family {
    pub name: &'static str,
    pub labels: &'static [&'static str],
    pub precision: Precision,
    /// Only ever grows, but for resets.
    pub counter: bool,
}

const fn gauge(name: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, labels, precision: Precision::Whole, counter: false }
}

const fn counter(name: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, labels, precision: Precision::Whole, counter: true }
}

pub const FAMILIES: &[Family] = &[
    counter("requests_total", &["job", "instance", "method", "code"]),
    counter("errors_total", &["job", "instance"]),
    counter("steady_total", &["instance"]),
    counter("latency_seconds_bucket", &["instance", "path", "le"]),
    counter("latency_seconds_count", &["instance", "path"]),
    gauge("broken_bucket", &["kind", "le"]),
    gauge("temperature", &["room", "unit"]),
    gauge("queue_length", &["instance", "shard"]),
    gauge("odd", &["kind", "job"]),
    gauge("build_info", &["instance", "version", "branch"]),
    gauge("up", &["job", "instance"]),
    gauge("same", &["a", "b"]),
    gauge("coming", &["phase", "job"]),
    gauge("sparse", &["a"]),
    gauge("lonely", &[]),
    gauge("job:requests:sum", &["job"]),
    gauge("shapes", &["_x", "A1", "quantile", "job"]),
    Family { name: "usage", labels: &["instance", "device"], precision: Precision::Exact, counter: false },
    Family { name: "extreme", labels: &["n"], precision: Precision::Exact, counter: false },
];

/// One series: its samples are in order of time, in milliseconds after [`START`].
struct Series {
    labels: Labels,
    samples: Vec<(i64, f64)>,
}

struct Builder {
    random: Random,
    series: Vec<Series>,
}

impl Builder {
    fn add(&mut self, name: &str, labels: &[(&str, &str)], samples: impl IntoIterator<Item = (i64, f64)>) {
        let labels = Labels::from_pairs([("__name__", name)].iter().chain(labels).copied());
        let aside = |(time, value): (i64, f64)| (if time % 5_000 == 3_000 { time + 1 } else { time }, value);
        self.series.push(Series { labels, samples: samples.into_iter().map(aside).collect() });
    }

    /// Values of `every` so many milliseconds, of which the closure makes what it likes.
    fn each(&mut self, every: i64, mut value: impl FnMut(&mut Random, i64) -> f64) -> Vec<(i64, f64)> {
        (0..LENGTH / every).map(|i| (i * every, value(&mut self.random, i))).collect()
    }

    /// Counts up by 0 to `most` each time, and begins again once in `reset` times (0 is never).
    fn counting(&mut self, every: i64, first: f64, most: i64, reset: usize) -> Vec<(i64, f64)> {
        let mut count = first;
        self.each(every, |random, _| {
            let now = count;
            let again = reset > 0 && random.one_in(reset);
            count = if again { 0.0 } else { count + random.between(0, most) as f64 };
            now
        })
    }
}

/// Counters: rate() of Prometheus 2 and 3 differ where a counter is born with a small number or comes back with one
/// after a gap, so these are born with 0 or with a large one.
fn counters(to: &mut Builder) {
    for (i, job) in ["api", "web", "db"].iter().enumerate() {
        for instance in ["a:9090", "b:9090"] {
            let up = to.each(15_000, |random, _| f64::from(u8::from(!random.one_in(8))));
            to.add("up", &[("job", job), ("instance", instance)], up);
            for (method, code) in [("get", "200"), ("get", "500"), ("post", "200")] {
                let samples = to.counting(15_000, if i == 0 { 0.0 } else { 1e6 }, 9, 90);
                let labels = [("job", *job), ("instance", instance), ("method", method), ("code", code)];
                to.add("requests_total", &labels, samples);
            }
            let mut irregular = to.counting(10_000, 1e5, 3, 0);
            irregular.retain(|_| !to.random.one_in(5));
            irregular.iter_mut().for_each(|(time, _)| *time += to.random.between(0, 2_999));
            to.add("errors_total", &[("job", job), ("instance", instance)], irregular);
        }
        let recorded = to.each(MINUTE, |random, _| random.between(100, 120) as f64);
        to.add("job:requests:sum", &[("job", job)], recorded);
    }
    for instance in ["a:9090", "b:9090", "c:9090"] {
        let samples = to.counting(15_000, 1e7, 40, 0);
        to.add("steady_total", &[("instance", instance)], samples);
    }
}

fn gauges(to: &mut Builder) {
    for (i, room) in ["hall", "attic", "cellar"].iter().enumerate() {
        for unit in ["celsius", "kelvin"] {
            let base = if unit == "kelvin" { 273 } else { 0 };
            let samples = to.each(20_000, |random, _| (base + random.between(-20, 40)) as f64);
            to.add("temperature", &[("room", room), ("unit", unit)], samples);
        }
        // Longer apart than the lookback, about as long, and shorter.
        let samples = to.each([MINUTE, 4 * MINUTE, 10 * MINUTE][i], |random, _| random.between(0, 5) as f64);
        to.add("sparse", &[("a", ["x", "y", "z"][i])], samples);
    }
    for instance in ["a:9090", "b:9090", "c:9090"] {
        for shard in ["0", "1"] {
            let mut samples = to.each(15_000, |random, _| random.between(0, 3) as f64);
            let from = to.random.between(0, LENGTH / 2);
            let length = to.random.between(MINUTE, 20 * MINUTE);
            samples.retain(|(time, _)| !(from..from + length).contains(time));
            to.add("queue_length", &[("instance", instance), ("shard", shard)], samples);
        }
        for device in ["sda", "sdb"] {
            let samples = to.each(30_000, |random, _| random.between(0, 1000) as f64 / 1000.0);
            to.add("usage", &[("instance", instance), ("device", device)], samples);
        }
        let (version, branch) = if instance == "c:9090" { ("2.1", "") } else { ("1.9", "main") };
        let ones = to.each(MINUTE, |_, _| 1.0);
        to.add("build_info", &[("instance", instance), ("version", version), ("branch", branch)], ones);
    }
    for (a, b) in [("x", "0"), ("x", "1"), ("x", "2"), ("y", "0"), ("y", "1"), ("z", "")] {
        let samples = to.each(30_000, |_, i| (i % 4) as f64);
        to.add("same", &[("a", a), ("b", b)], samples);
    }
    let samples = to.each(15_000, |_, i| (i % 13) as f64);
    to.add("lonely", &[], samples);
}

/// Values that arithmetic stumbles over, and labels that text does.
fn oddities(to: &mut Builder) {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, 1.0, -1.0, 1000.0];
    for (kind, job, values) in [
        ("nan", "api", &odd[..1]),
        ("inf", "api", &odd[1..2]),
        ("inf", "web", &odd[2..3]),
        ("inf", "db", &odd[1..3]),
        ("zero", "api", &odd[3..4]),
        ("mixed", "api", &odd[..]),
        ("mixed", "db", &odd[..]),
    ] {
        let samples = to.each(30_000, |random, _| values[random.below(values.len())]);
        to.add("odd", &[("kind", kind), ("job", job)], samples);
    }
    let extremes = [1e300, 1.5e308, f64::MAX, 1e-300, 1e-307, 1e17, 123_456_789.125];
    // All of one sign: whether a sum overflows on its way hangs on the order otherwise.
    for (n, value) in extremes.iter().enumerate() {
        let samples = to.each(MINUTE, |random, _| value / random.between(1, 2) as f64);
        to.add("extreme", &[("n", &n.to_string())], samples);
    }
    let shapes: [&[(&str, &str)]; 7] = [
        &[("_x", "é"), ("job", "api")],
        &[("A1", "quote\"d"), ("quantile", "0.5")],
        &[("A1", "back\\slash"), ("quantile", "0.9")],
        &[("A1", "a.b|c(d)"), ("_x", "{}")],
        &[("_x", "日本"), ("A1", " "), ("job", "web"), ("quantile", "x")],
        &[("A1", "1"), ("_x", "1"), ("job", "1"), ("quantile", "1")],
        &[("job", "$1${1}%s")],
    ];
    for (i, labels) in shapes.iter().enumerate() {
        let samples = to.each(MINUTE, |random, _| (i as i64 * 10 + random.between(0, 9)) as f64);
        to.add("shapes", labels, samples);
    }
    to.add("lines", &[("text", "one\ntwo")], [(0, 1.0), (MINUTE, 2.0)]);
}

/// Series that begin and end, with staleness markers and without.
fn comings_and_goings(to: &mut Builder) {
    for (phase, from, until) in
        [("early", 0, LENGTH / 3), ("middle", LENGTH / 4, LENGTH / 2), ("late", LENGTH / 2, LENGTH)]
    {
        for job in ["api", "web"] {
            let mut samples = to.each(15_000, |random, _| random.between(0, 20) as f64);
            samples.retain(|(time, _)| (from..until).contains(time));
            if job == "api" {
                samples.push((until, stale_nan()));
            }
            to.add("coming", &[("phase", phase), ("job", job)], samples);
        }
    }
    let flicker = to.each(15_000, |random, i| if random.one_in(4) { stale_nan() } else { i as f64 });
    to.add("coming", &[("phase", "flicker"), ("job", "db")], flicker);
}

/// Buckets as they should be, and as exporters and federation break them.
fn histograms(to: &mut Builder) {
    let bounds = ["0.1", "0.5", "1", "2.5", "+Inf"];
    for (instance, path) in [("a:9090", "/"), ("a:9090", "/x"), ("b:9090", "/"), ("c:9090", "/")] {
        let mut counts = [0.0; 5];
        let mut rows: Vec<Vec<(i64, f64)>> = vec![Vec::new(); 5];
        for time in (0..LENGTH).step_by(15_000) {
            let again = to.random.one_in(200);
            let mut seen = 0.0;
            for (count, row) in counts.iter_mut().zip(&mut rows) {
                row.push((time, *count));
                seen += to.random.between(0, 4) as f64;
                *count = if again { 0.0 } else { *count + seen };
            }
        }
        to.add("latency_seconds_count", &[("instance", instance), ("path", path)], rows[4].clone());
        for (le, row) in bounds.iter().zip(rows) {
            to.add("latency_seconds_bucket", &[("instance", instance), ("path", path), ("le", le)], row);
        }
    }
    let broken: [(&str, &[(&str, f64)]); 11] = [
        ("falling", &[("1", 10.0), ("2", 7.0), ("3", 12.0), ("+Inf", 11.0)]),
        ("open", &[("1", 3.0), ("2", 5.0)]),
        ("only inf", &[("+Inf", 5.0)]),
        ("empty", &[("1", 0.0), ("2", 0.0), ("+Inf", 0.0)]),
        ("negative", &[("-2", 1.0), ("-1", 3.0), ("0", 4.0), ("2", 9.0), ("+Inf", 9.0)]),
        ("all below zero", &[("-2", 4.0), ("-1", 5.0), ("+Inf", 5.0)]),
        ("not a number", &[("1", f64::NAN), ("2", 2.0), ("+Inf", 4.0)]),
        ("bad bound", &[("one", 1.0), ("", 2.0), ("1", 3.0), ("+Inf", 4.0)]),
        ("twice", &[("1", 3.0), ("1.0", 4.0), ("2", 9.0), ("+Inf", 10.0), ("Inf", 2.0)]),
        ("all in the last", &[("1", 0.0), ("2", 0.0), ("+Inf", 7.0)]),
        ("infinite", &[("1", 1.0), ("2", f64::INFINITY), ("+Inf", f64::INFINITY)]),
    ];
    for (kind, buckets) in broken {
        for (le, count) in buckets {
            let samples = to.each(MINUTE, |_, _| *count);
            to.add("broken_bucket", &[("kind", kind), ("le", le)], samples);
        }
    }
}

/// Everything, as requests in order of time.
pub fn batches() -> Vec<Batch> {
    let mut all = Builder { random: Random::new(1), series: Vec::new() };
    counters(&mut all);
    gauges(&mut all);
    oddities(&mut all);
    comings_and_goings(&mut all);
    histograms(&mut all);
    all.series.sort_by(|a, b| a.labels.cmp(&b.labels));
    // Prometheus reads series in the order in which it met them, and that shows where values are equal: a marker for
    // each, long before everything, makes it the order of their labels.
    let met = |series: &Series| row(series, -30 * MINUTE, stale_nan());
    let mut out = vec![Batch { rows: all.series.iter().map(met).collect(), ..Batch::default() }];
    for from in (0..LENGTH + REQUEST).step_by(REQUEST as usize) {
        let mut batch = Batch::default();
        for series in &all.series {
            let here = series.samples.iter().filter(|(time, _)| (from..from + REQUEST).contains(time));
            batch.rows.extend(here.map(|(time, value)| row(series, *time, *value)));
        }
        out.push(batch);
    }
    out
}

fn row(series: &Series, time: i64, value: f64) -> Row {
    Row { labels: series.labels.clone(), sample: Sample { timestamp: TimestampMs(START + time), value } }
}
