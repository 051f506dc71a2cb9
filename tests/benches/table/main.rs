//! `make bench`: one remote-write stream and a few queries against `highwater central` and, where they are installed,
//! Debian's prometheus and victoria-metrics, one after another on this machine. Prints one table; quote its ratios, not
//! its absolute figures. CPU is that of the server's process alone.
//!
//! `make bench BENCH_ARGS="--series 500000 --steps 80"` changes the stream.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

mod load;
#[path = "../common/process.rs"]
mod process;
mod server;
mod together;

use std::thread;
use std::time::Duration;

use load::{STEP_MS, Shape};
use server::{Server, servers};
use together::{Costs, Latency, together};

/// How often each query is asked; the median counts.
const REPEAT: usize = 5;

/// Name, expression, range in seconds (0: instant).
const QUERIES: [(&str, &str, i64); 7] = [
    ("instant selector, one cluster", r#"container_memory_working_set_bytes{cluster="c00003"}"#, 0),
    ("instant sum by cluster of rate", "sum by (cluster) (rate(container_cpu_usage_seconds_total[5m]))", 0),
    ("sum by cluster of rate, 1 h / 15 s", "sum by (cluster) (rate(apiserver_request_total[5m]))", 3600),
    (
        "p99 by cluster, 1 h / 60 s",
        "histogram_quantile(0.99, sum by (le, cluster) (rate(apiserver_request_duration_seconds_bucket[5m])))",
        3600,
    ),
    ("one cluster raw, 1 h / 15 s", r#"rate(node_cpu_seconds_total{cluster="c00007"}[5m])"#, 3600),
    ("count of all series", r#"count({__name__=~".+"})"#, 0),
    HEAVIEST,
];
/// Reads the most samples.
const HEAVIEST: (&str, &str, i64) =
    ("sum by cluster of everything, 1 h / 15 s", r#"sum by (cluster) ({__name__=~".+"})"#, 3600);

/// What was seen of one server.
struct Measured {
    name: &'static str,
    cpu_per_million: f64,
    samples_per_second: f64,
    rss_per_series: f64,
    disk_per_sample: f64,
    stop_seconds: f64,
    /// After kill -9 and after an orderly stop: seconds to the first answer, and until all series answer.
    restarts: [(f64, f64); 2],
    /// Median milliseconds and number of result series of each query.
    queries: Vec<(f64, usize)>,
    /// Bytes that the heaviest query took at its peak, over what the server had before.
    heaviest_bytes: f64,
    /// What writing and asking cost, each alone and both together; of ours.
    together: Option<(Costs, Costs)>,
}

async fn measure(mut server: Server, shape: Shape, start_ms: i64) -> Measured {
    let end = (start_ms + (shape.steps as i64 - 1) * STEP_MS) / 1000 + 10;
    server.start().await;
    let before = server.process().cpu_seconds();
    let seconds = server.load(shape, start_ms).await;
    // What a server puts off still counts, and the peers show fresh samples only after a flush.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let cpu = server.process().cpu_seconds() - before;
    let rss = server.process().peak_rss_bytes();
    let mut queries = Vec::new();
    let mut heaviest_bytes = 0.0;
    for query @ (_, expression, range) in QUERIES {
        let mut times = Vec::new();
        let mut found = 0;
        let before = server.process().forget_peak();
        for _ in 0..REPEAT {
            let answer = server.ask(expression, end, range).await.expect("the server answers");
            found = answer.series;
            times.push(answer.ms);
        }
        times.sort_by(f64::total_cmp);
        queries.push((times[REPEAT / 2], found));
        if query == HEAVIEST {
            heaviest_bytes = server.process().peak_rss_bytes() - before;
        }
    }
    let everything = "count by (__name__, cluster) ({__name__=~\".+\"})";
    let all = server.ask(everything, end, 0).await.expect("the server answers").series;
    let next_ms = start_ms + shape.steps as i64 * STEP_MS;
    let together = match server.name {
        "highwater" => {
            let queries = QUERIES.map(|(_, query, range)| (query, range));
            let both = || together(&server, shape, next_ms, &queries[..3]);
            Some(thread::scope(|scope| scope.spawn(both).join().expect("measures to the end")))
        }
        _ => None,
    };
    server.end("KILL");
    let first = server.start().await;
    let killed = (first, first + server.complete(everything, end, all).await);
    let stop_seconds = server.end("TERM");
    let disk = server.disk_bytes();
    let first = server.start().await;
    let clean = (first, first + server.complete(everything, end, all).await);
    server.end("TERM");
    Measured {
        name: server.name,
        cpu_per_million: cpu / shape.samples() * 1e6,
        samples_per_second: shape.samples() / seconds,
        rss_per_series: rss / shape.series as f64,
        disk_per_sample: disk / shape.samples(),
        stop_seconds,
        restarts: [killed, clean],
        queries,
        heaviest_bytes,
        together,
    }
}

fn print(shape: Shape, all: &[Measured]) {
    println!(
        "\n{} series x {} steps of {} s by remote write 1.0, {} samples a request, {} connections, {} clusters",
        shape.series,
        shape.steps,
        STEP_MS / 1000,
        shape.batch,
        shape.connections,
        shape.clusters
    );
    print!("{:46}", "");
    all.iter().for_each(|m| print!("{:>22}", m.name));
    println!();
    let row = |label: &str, value: &dyn Fn(&Measured) -> f64, digits: usize| {
        print!("{label:46}");
        let own = value(&all[0]);
        for (i, measured) in all.iter().enumerate() {
            let ratio = if i == 0 { String::new() } else { format!(" ({:.2}x)", value(measured) / own) };
            print!("{:>22}", format!("{:.digits$}{ratio}", value(measured)));
        }
        println!();
    };
    row("server CPU s per million samples", &|m| m.cpu_per_million, 2);
    row("samples/s, wall clock", &|m| m.samples_per_second, 0);
    row("peak RSS, bytes per series, all included", &|m| m.rss_per_series, 0);
    row("disk after a stop, bytes per sample", &|m| m.disk_per_sample, 3);
    row("orderly stop, s", &|m| m.stop_seconds, 2);
    row("restart after kill -9: first answer, s", &|m| m.restarts[0].0, 2);
    row("restart after kill -9: complete answer, s", &|m| m.restarts[0].1, 2);
    row("restart after a stop: first answer, s", &|m| m.restarts[1].0, 2);
    row("restart after a stop: complete answer, s", &|m| m.restarts[1].1, 2);
    for (i, (name, _, _)) in QUERIES.iter().enumerate() {
        row(&format!("{name}, ms"), &|m| m.queries[i].0, 1);
        let counts: Vec<usize> = all.iter().map(|m| m.queries[i].1).collect();
        if counts.iter().any(|c| *c != counts[0]) {
            println!("  result series differ: {counts:?}");
        }
    }
    row("memory at the peak of the last, MiB on top", &|m| m.heaviest_bytes / 1048576.0, 1);
    println!("In brackets: the peer's figure divided by ours.");
    if let Some((alone, both)) = all[0].together {
        print_together(alone, both);
    }
}

fn print_together(alone: Costs, both: Costs) {
    println!("100,000 samples/s and 20 queries/s, ours; ms alone and together:");
    let row = |name: &str, before: Latency, after: Latency| {
        let change =
            |before: f64, after: f64| format!("{before:.2} -> {after:.2} ({:+.0}%)", (after / before - 1.0) * 100.0);
        println!(
            "  {name}: mean {}, p50 {}, p99 {}, {:.1}/s -> {:.1}/s",
            change(before.mean, after.mean),
            change(before.p50, after.p50),
            change(before.p99, after.p99),
            before.per_second,
            after.per_second
        );
    };
    row("write of 2,000 samples", alone.write, both.write);
    row("query", alone.query, both.query);
    println!("  server CPU s: {:.2} one after the other, {:.2} together", alone.cpu_seconds, both.cpu_seconds);
}

/// `--series N --steps N --clusters N --batch N --connections N`
fn shape() -> Shape {
    let mut shape = Shape { series: 100_000, steps: 240, clusters: 50, first_cluster: 0, batch: 5_000, connections: 2 };
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    for pair in arguments.chunks(2) {
        let number = pair.get(1).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{} needs a number", pair[0]));
        match pair[0].as_str() {
            "--series" => shape.series = number,
            "--steps" => shape.steps = number,
            "--clusters" => shape.clusters = number,
            "--batch" => shape.batch = number,
            "--connections" => shape.connections = number,
            other => panic!("unknown argument {other}"),
        }
    }
    shape
}

fn main() {
    runtime::install_tls();
    let (shape, folder) = (shape(), tempfile::tempdir().expect("a temporary folder"));
    let start_ms = (runtime::now().0 / STEP_MS - shape.steps as i64) * STEP_MS;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let all: Vec<Measured> =
        servers(folder.path()).into_iter().map(|s| runtime.block_on(measure(s, shape, start_ms))).collect();
    print(shape, &all);
}
