//! Bytes and nanoseconds of a sample: `cargo bench -p columns`. Values are those of a Kubernetes cluster's exporters by
//! kind: states, counts, histogram buckets, bytes, seconds.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use columns::{Decoder, Encoder, Form, Limits, Message};
use model::Labels;

const ROWS: usize = 5_000;
const MESSAGES: usize = 20;
const ROUNDS: usize = 25;

struct Rows {
    numbers: Vec<u32>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

fn mixed(n: usize) -> u64 {
    let mixed = (n as u64 ^ (n as u64 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The value of a series at a tick of 15 seconds.
fn value(series: usize, tick: usize) -> f64 {
    let own = mixed(series);
    let (rate, jitter) = (own >> 40 & 0x3f, mixed(series * 1_000_003 + tick));
    match series % 20 {
        // States, information, ready replicas: kube-state-metrics.
        0..=6 => f64::from(u8::from(own.is_multiple_of(8))),
        7 => (own % 12) as f64,
        // Buckets and counts of requests.
        8..=11 => ((own & 0xffff) + rate * tick as u64 + (jitter & 7)) as f64,
        12 => ((own & 0xff_ffff) + rate * 40 * tick as u64) as f64,
        // Bytes in pages, and on a network.
        13 | 14 => (((own & 0xf_ffff) + (jitter & 0x3f)) * 4096) as f64,
        15 => ((own & 0xff_ffff_ffff) + rate * 100_000 * tick as u64 + (jitter & 0xffff)) as f64,
        // Seconds of processors to the nanosecond, and of a process to the centisecond.
        16 => ((own & 0xff_ffff_ffff) + rate * 150_000_000 * tick as u64 + (jitter & 0xff_ffff)) as f64 / 1e9,
        17 => ((own & 0xff_ffff) + rate * tick as u64) as f64 / 100.0,
        // Sums of latencies: every bit counts.
        18 => ((own & 0xffff) as f64 + tick as f64 * rate as f64) * 0.017_345_612_345,
        _ => f64::NAN,
    }
}

/// One sample of each of so many series, as a scrape or a live request has them.
fn live(message: usize) -> Rows {
    let series = |n: usize| message * ROWS + n;
    Rows {
        numbers: (0..ROWS).map(|n| series(n) as u32).collect(),
        timestamps: (0..ROWS).map(|n| 1_800_000_000_000 + mixed(series(n) / 400) as i64 % 15_000).collect(),
        values: (0..ROWS).map(|n| value(series(n), 100)).collect(),
    }
}

/// Fifty samples of each of a hundred series.
fn backlog(message: usize) -> Rows {
    let (series, tick) = (|n: usize| message * (ROWS / 50) + n / 50, |n: usize| n % 50);
    let time = |n: usize| 1_800_000_000_000 + mixed(series(n) / 400) as i64 % 15_000 + tick(n) as i64 * 15_000;
    Rows {
        numbers: (0..ROWS).map(|n| series(n) as u32).collect(),
        timestamps: (0..ROWS).map(time).collect(),
        values: (0..ROWS).map(|n| value(series(n), 100 + tick(n))).collect(),
    }
}

/// The fastest of all rounds, in nanoseconds for each sample.
fn measure(mut round: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        round();
        best = best.min(began.elapsed());
    }
    best.as_nanos() as f64 / (MESSAGES * ROWS) as f64
}

fn run(what: &str, rows: &[Rows], form: Form) {
    let (mut encoder, mut decoder, limits) = (Encoder::default(), Decoder::default(), Limits::default());
    let message = |rows: &'_ Rows| -> Vec<u8> {
        let Rows { numbers, timestamps, values } = rows;
        Encoder::default().encode(&Message { numbers, timestamps, values, ..Message::default() }, form).to_vec()
    };
    let bodies: Vec<Vec<u8>> = rows.iter().map(message).collect();
    let bytes: usize = bodies.iter().map(Vec::len).sum();
    let encoding = measure(|| {
        for Rows { numbers, timestamps, values } in rows {
            black_box(encoder.encode(&Message { numbers, timestamps, values, ..Message::default() }, form).len());
        }
    });
    let decoding = measure(|| {
        for body in &bodies {
            black_box(decoder.decode(body, &limits).expect("decodes").values.len());
        }
    });
    let each = bytes as f64 / (MESSAGES * ROWS) as f64;
    println!("{what}: {each:.2} bytes, encoding {encoding:.1} ns, decoding {decoding:.1} ns a sample");
}

fn definitions() {
    let labels = |n: usize| {
        let (pod, container) = (n / 20, n % 3);
        Labels::from_pairs([
            ("__name__", format!("container_metric_number_{}_total", n % 20)),
            ("cluster", "c00017".to_owned()),
            ("container", format!("container-{container}")),
            ("instance", format!("10.4.{}.{}:10250", pod / 50 % 250, pod % 7)),
            ("job", "cadvisor".to_owned()),
            ("metacluster", "cell-001".to_owned()),
            ("namespace", format!("ns-{}", pod % 37)),
            ("pod", format!("workload-{}-{:x}-{:05x}", pod % 97, mixed(pod) >> 32, (pod * 31) & 0xfffff)),
            ("uid", format!("{:016x}", mixed(pod))),
        ])
    };
    let definitions: Vec<(u32, Labels)> = (0..ROWS).map(|n| (n as u32, labels(n))).collect();
    for form in [Form::Wire, Form::Stored] {
        let mut encoder = Encoder::default();
        let message = Message { definitions: &definitions, ..Message::default() };
        let body = encoder.encode(&message, form).to_vec();
        let encode = || {
            black_box(encoder.encode(&message, form).len());
        };
        let encoding = measure(encode) * MESSAGES as f64;
        let (mut decoder, limits) = (Decoder::default(), Limits::default());
        let decoding = measure(|| {
            black_box(decoder.decode(&body, &limits).expect("decodes").definitions.count());
        }) * MESSAGES as f64;
        let each = body.len() as f64 / ROWS as f64;
        println!(
            "definitions, {form:?}: {each:.1} bytes, encoding {encoding:.0} ns, decoding {decoding:.0} ns a series"
        );
    }
}

fn main() {
    let (live, backlog): (Vec<Rows>, Vec<Rows>) =
        ((0..MESSAGES).map(live).collect(), (0..MESSAGES).map(backlog).collect());
    for form in [Form::Wire, Form::Stored] {
        run(&format!("live, {form:?}"), &live, form);
        run(&format!("backlog, {form:?}"), &backlog, form);
    }
    definitions();
}
