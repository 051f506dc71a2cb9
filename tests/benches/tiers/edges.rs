//! Many small sources write into one cascade, each once a second a part of its series.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Sizes;
use crate::chain::ours;
use crate::clock;
use crate::load::{Part, Shape};

/// Every series is sent so often.
const INTERVAL: usize = 15;

/// What all sources saw.
#[derive(Default)]
struct Seen {
    samples: u64,
    failed: u64,
    /// Why the last of these did.
    failure: Option<String>,
    /// Of every request.
    seconds: Vec<f64>,
}

/// One source: its name on every request, its series in turn.
async fn source(number: usize, url: String, series: usize, until: Instant, seen: Arc<Mutex<Seen>>) {
    let shape = Shape {
        series,
        steps: 1,
        clusters: 1,
        first_cluster: number,
        batch: series.div_ceil(INTERVAL),
        connections: 1,
    };
    let (mut part, client) = (Part::new(shape, 0), reqwest::Client::new());
    // Spread over the second.
    tokio::time::sleep(Duration::from_micros(number as u64 * 997 % 1_000_000)).await;
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    let mut index = 0;
    while Instant::now() < until {
        clock.tick().await;
        let now = (clock::now() * 1000.0) as i64;
        let body = part.request(now, index % part.requests());
        index += 1;
        let asked = Instant::now();
        let request = client
            .post(&url)
            .header("Content-Type", remote_write::CONTENT_TYPE)
            .header("Content-Encoding", remote_write::CONTENT_ENCODING)
            .header(remote_write::VERSION_HEADER, remote_write::VERSION)
            .header("Highwater-Source", format!("edge/cell-{number}"))
            .header("Highwater-Watermark-Ms", now.to_string());
        let answer = request.body(body).send().await.and_then(reqwest::Response::error_for_status);
        let is_taken = answer.is_ok();
        let mut seen = seen.lock().expect("nobody panicked");
        seen.seconds.push(asked.elapsed().as_secs_f64());
        seen.samples += if is_taken { shape.batch as u64 } else { 0 };
        seen.failed += u64::from(!is_taken);
        seen.failure = answer.err().map(|error| format!("{error:?}")).or(seen.failure.take());
    }
}

/// What a cascade needs for them.
pub async fn run(folder: &Path, sizes: &Sizes) {
    let folder = folder.join("edges");
    std::fs::create_dir_all(&folder).expect("creates a folder");
    let mut chain = ours(&folder, "");
    // The edge's place is taken by the sources.
    chain.tiers[2].start().await;
    chain.tiers[1].start().await;
    let url = format!("http://127.0.0.1:{}/api/v1/write", chain.tiers[1].port);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let begun = Instant::now();
    let until = begun + Duration::from_secs(sizes.seconds);
    let start = |number| source(number, url.clone(), sizes.edge_series, until, seen.clone());
    let all: Vec<_> = (0..sizes.edges).map(|number| tokio::spawn(start(number))).collect();
    for task in all {
        task.await.expect("ends");
    }
    let mut seen = std::mem::take(&mut *seen.lock().expect("nobody panicked"));
    seen.seconds.sort_by(f64::total_cmp);
    let (sent, seconds) = (seen.samples as f64, begun.elapsed().as_secs_f64());
    let [p50, p99] = [0.5, 0.99].map(|q| clock::quantile(&seen.seconds, q) * 1000.0);
    println!("\n{} sources of {} series into one cascade, {seconds:.0} s", sizes.edges, sizes.edge_series);
    println!(
        "  {:.0} samples/s in {:.0} requests/s, {} failed; answered after p50 {p50:.1} ms, p99 {p99:.1} ms",
        sent / seconds,
        seen.seconds.len() as f64 / seconds,
        seen.failed,
    );
    if let Some(failure) = seen.failure {
        println!("  {failure}");
    }
    let stored = chain.tiers[1].value("count({__name__=~\".+\"})").await.unwrap_or_default();
    println!("  {stored:.0} series in the cascade");
    for tier in &chain.tiers[1..] {
        let (cpu, rss) = (tier.process().cpu_seconds(), tier.process().peak_rss_bytes());
        println!(
            "  {:20} {:.2} cores, {:.2} CPU s per million samples, {:.3} CPU ms per request, peak RSS {:.0} MiB ({:.0} KiB per source)",
            tier.name,
            cpu / seconds,
            cpu / sent * 1e6,
            cpu / seconds / sizes.edges as f64 * 1000.0,
            rss / 1048576.0,
            rss / 1024.0 / sizes.edges as f64
        );
    }
}
