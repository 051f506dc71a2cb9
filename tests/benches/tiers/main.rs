//! `make bench-tiers`: samples on their way from edge to central. A simulated metacluster is scraped by an edge; everything
//! travels to a cascade and on to a central. Beside it, where it is installed, a chain of three Prometheus servers that
//! pull /federate. Then central stays away, an hour of the past is written at the edge, and central comes back. At
//! last many small sources write into one cascade.
//!
//! `make bench-tiers BENCH_ARGS="--clusters 100 --seconds 60 --edges 1000"` changes the sizes.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

mod catch_up;
mod chain;
mod clock;
mod edges;
#[path = "../table/load.rs"]
mod load;
#[path = "../common/process.rs"]
mod process;

use std::path::Path;
use std::time::Duration;

use chain::{Chain, federated, ours};
use process::{Process, free_port, highwater};

/// How big everything is.
pub struct Sizes {
    /// Customer clusters of the scraped metacluster.
    clusters: usize,
    /// Length of a watch.
    seconds: u64,
    /// Series of the hour that is caught up.
    backlog_series: usize,
    /// Sources of one cascade.
    edges: usize,
    /// Series of each.
    edge_series: usize,
}

fn sizes() -> Sizes {
    let mut out = Sizes { clusters: 100, seconds: 60, backlog_series: 5_000, edges: 1_000, edge_series: 120 };
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    for pair in arguments.chunks(2) {
        let number: usize =
            pair.get(1).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{} needs a number", pair[0]));
        match pair[0].as_str() {
            "--clusters" => out.clusters = number,
            "--seconds" => out.seconds = number as u64,
            "--backlog-series" => out.backlog_series = number,
            "--edges" => out.edges = number,
            "--edge-series" => out.edge_series = number,
            other => panic!("unknown argument {other}"),
        }
    }
    out
}

/// Starts the simulator. Returns it and the scrape section for it and the clock.
async fn targets(folder: &Path, clusters: usize) -> (Process, String) {
    let (port, files) = (free_port(), folder.join("targets"));
    let arguments = [
        "simulate".to_owned(),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--regions=eu".to_owned(),
        "--metaclusters=1".to_owned(),
        format!("--clusters={clusters}"),
        format!("--targets={}", files.display()),
    ];
    let simulator = Process::start(&highwater(), &arguments);
    while std::fs::read_dir(&files).map_or(0, Iterator::count) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let clock = clock::job(clock::serve().await);
    let files = files.display();
    let scrape =
        format!("scrape_configs:\n{clock}- job_name: fleet\n  file_sd_configs: [{{files: ['{files}/*.json']}}]\n");
    (simulator, scrape)
}

/// What a chain costs while nothing is wrong.
async fn steady(chain: &mut Chain, seconds: u64) {
    chain.start().await;
    // Every series has been announced everywhere, and the slowest chain shows its first samples.
    tokio::time::sleep(Duration::from_secs(if chain.name == "highwater" { 15 } else { 45 })).await;
    let (mut cpu, mut sent, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let ours = chain.name == "highwater";
    for tier in &chain.tiers {
        tier.process().forget_peak();
        cpu.push(tier.process().cpu_seconds());
        if ours {
            sent.push(tier.metric("highwater_forward_samples_sent_total", "").await);
            bytes.push(tier.metric("highwater_forward_bytes_sent_total", "").await);
        }
    }
    let delays = clock::watch(chain.central(), Duration::from_secs(seconds)).await;
    println!("\n{}, {seconds} s", chain.name);
    let (p50, p99) = (clock::quantile(&delays, 0.5), clock::quantile(&delays, 0.99));
    println!("  sample visible at central after p50 {p50:.2} s, p99 {p99:.2} s ({} samples seen)", delays.len());
    let scraped = chain.tiers[0].value("sum(scrape_samples_scraped) / 5").await.unwrap_or(f64::NAN) * seconds as f64;
    for (i, tier) in chain.tiers.iter().enumerate() {
        let used = (tier.process().cpu_seconds() - cpu[i]) / scraped * 1e6;
        let rss = tier.process().peak_rss_bytes() / 1048576.0;
        print!("  {:20} {used:6.2} CPU s per million samples, peak RSS {rss:.0} MiB", tier.name);
        if ours && i < 2 {
            let sent = tier.metric("highwater_forward_samples_sent_total", "").await - sent[i];
            let bytes = tier.metric("highwater_forward_bytes_sent_total", "").await - bytes[i];
            print!(", {:.2} bytes on the wire per sample ({:.0} samples/s)", bytes / sent, sent / seconds as f64);
        }
        println!();
    }
}

async fn run(sizes: Sizes) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_simulator, scrape) = targets(folder.path(), sizes.clusters).await;
    let mut own = ours(folder.path(), &scrape);
    steady(&mut own, sizes.seconds).await;
    catch_up::run(&mut own, &sizes).await;
    drop(own);
    if let Some(mut peer) = federated(folder.path(), &scrape) {
        steady(&mut peer, sizes.seconds).await;
    }
    edges::run(folder.path(), &sizes).await;
}

fn main() {
    runtime::install_tls();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(sizes()));
}
