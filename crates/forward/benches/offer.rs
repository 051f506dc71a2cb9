//! What forwarding costs a row: `cargo bench -p forward`. A store that takes everything for nothing, and 250,000 series
//! whose labels are encoded: what queueing adds to an append, with no destination and with one that selects every second
//! series; then what it takes to send what was queued to a receiver that reads and answers, in each form.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use config::Document;
use disk::RealDisk;
use forward::{ForwardOptions, Forwarder, Ingest, QueueSync, RemoteWriteConfig};
use model::{Append, AppendError, AppendReport, Batch, EncodedBatch, Labels, Sample, TimestampMs};
use remote_write::{DecodeLimits, Format, LabelDecoder, Scratch, decode_rows};
use runtime::{Metrics, Supervisor};

const SERIES: usize = 250_000;
const ROWS_PER_REQUEST: usize = 5_000;
const ROUNDS: usize = 10;

struct TakesAll;

impl Append for TakesAll {
    fn append(&self, _: &Batch) -> Result<AppendReport, AppendError> {
        Ok(AppendReport::default())
    }

    fn append_encoded(&self, _: &EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
        Ok(AppendReport::default())
    }
}

/// One request of a round of scrapes: gauges and counters, as kube-state-metrics and cAdvisor have them.
fn body(request: usize, round: usize) -> Vec<u8> {
    let mut batch = Batch::default();
    for i in request * ROWS_PER_REQUEST..(request + 1) * ROWS_PER_REQUEST {
        let name = ["container_cpu_usage_seconds_total", "kube_pod_container_resource_requests"][i % 2];
        let (cluster, pod) = (format!("c{:05}", i % 50), format!("workload-{}-{:x}", i % 97, i * 2_654_435_761));
        let pairs = [
            ("__name__", name),
            ("cluster", &cluster),
            ("container", "container-1"),
            ("instance", "10.0.0.1:9100"),
            ("job", "kube-state-metrics"),
            ("namespace", "ns-1"),
            ("pod", &pod),
            ("region", "region-1"),
            ("uid", &format!("{:016x}", (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))),
        ];
        let value = (i + round * (i % 7)) as f64;
        let timestamp = TimestampMs(1_800_000_000_000 + round as i64 * 15_000);
        batch.push(Labels::from_pairs(pairs), Sample { timestamp, value });
    }
    remote_write::encode(&batch)
}

/// Appends one round; returns how long that took, without decoding.
fn append(ingest: &Ingest, round: usize) -> Duration {
    let limits = DecodeLimits::default();
    let (decoder, mut scratch) = (LabelDecoder::new(limits, Labels::empty()), Scratch::default());
    let mut spent = Duration::ZERO;
    for request in 0..SERIES / ROWS_PER_REQUEST {
        let body = body(request, round);
        let decoded = decode_rows(&body, Format::default(), &limits, &mut scratch).expect("decodes");
        let began = Instant::now();
        ingest.append_encoded(&decoded.batch(&decoder)).expect("takes samples");
        spent += began.elapsed();
    }
    spent
}

/// Prints what a row costs when its series is new, and at best afterwards, in nanoseconds.
fn measure(what: &str, ingest: &Ingest) {
    let per_row = |round| append(ingest, round).as_nanos() as f64 / SERIES as f64;
    let rounds: Vec<f64> = (0..ROUNDS).map(per_row).collect();
    let best = rounds.iter().skip(1).copied().fold(f64::INFINITY, f64::min);
    println!("{what}: new {:.0} ns, known {best:.0} ns", rounds.first().expect("there are rounds"));
}

/// A forwarder over a folder.
fn forwarder(supervisor: &Supervisor, folder: &Path) -> (Arc<Forwarder>, Metrics) {
    let metrics = Metrics::new("bench").expect("registers");
    let options = ForwardOptions { disk: Arc::new(RealDisk), folder: folder.to_owned(), sync: QueueSync::Off };
    (Arc::new(Forwarder::open(supervisor, &metrics, options).expect("opens")), metrics)
}

fn update(forwarder: &Forwarder, text: &str) {
    let document = Document::parse("c.yml".as_ref(), text).expect("is YAML");
    let configs = RemoteWriteConfig::decode_list(&document.root().items());
    forwarder.update(&configs, &Labels::from_pairs([("zone", "a")])).expect("updates");
}

async fn answer(State(bytes): State<Arc<AtomicU64>>, body: Bytes) -> (StatusCode, [(&'static str, &'static str); 4]) {
    bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    let headers = [
        ("highwater-version", "1"),
        ("highwater-accept", "zstd, columns"),
        ("highwater-lanes", "1"),
        ("x-prometheus-remote-write-samples-written", "0"),
    ];
    (StatusCode::NO_CONTENT, headers)
}

/// A receiver of ours on a thread of its own, and the bytes that it got.
fn receiver() -> (SocketAddr, Arc<AtomicU64>) {
    let bytes = Arc::new(AtomicU64::new(0));
    let (tell, told) = std::sync::mpsc::channel();
    let router = Router::new().route("/", post(answer)).with_state(bytes.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("builds");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
            tell.send(listener.local_addr().expect("has an address")).expect("is heard");
            axum::serve(listener, router).await.expect("serves");
        });
    });
    (told.recv().expect("starts"), bytes)
}

/// CPU time of this thread, in nanoseconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("reads");
    text.split_whitespace().next().and_then(|t| t.parse().ok()).expect("a number")
}

/// Queues rounds and sends them; prints what sending a row takes of the sending thread, and its bytes.
fn send(wire: &str, address: SocketAddr, bytes: &AtomicU64) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("builds");
    let _entered = runtime.enter();
    let supervisor = Supervisor::new();
    let (forwarder, metrics) = forwarder(&supervisor, folder.path());
    update(&forwarder, &format!("[{{name: x, url: 'http://{address}/', queue_config: {{wire: '{wire}'}}}}]"));
    let ingest = Ingest { store: Arc::new(TakesAll), forwarder };
    let mut best = f64::INFINITY;
    let mut per_sample = 0.0;
    for round in 0..4 {
        append(&ingest, round);
        let (before, began, began_wall) = (bytes.load(Ordering::Relaxed), cpu(), Instant::now());
        let sent = format!("highwater_forward_samples_sent_total{{destination=\"x\"}} {}", (round + 1) * SERIES);
        let has_arrived = || String::from_utf8_lossy(&metrics.render()).lines().any(|line| line == sent);
        runtime.block_on(async {
            while !has_arrived() {
                assert!(began_wall.elapsed() < Duration::from_secs(60), "not sent in time");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        best = best.min((cpu() - began) / SERIES as f64);
        per_sample = (bytes.load(Ordering::Relaxed) - before) as f64 / SERIES as f64;
    }
    println!("sent as {wire}: {best:.0} ns of CPU, {per_sample:.2} bytes");
    runtime.block_on(supervisor.stop(Duration::from_secs(10)));
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    // Never driven, so that nothing is sent: what is measured is the appender's part.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("builds");
    {
        let _entered = runtime.enter();
        let supervisor = Supervisor::new();
        let (forwarder, _metrics) = forwarder(&supervisor, folder.path());
        let ingest = Ingest { store: Arc::new(TakesAll), forwarder: forwarder.clone() };
        measure("no destination", &ingest);
        update(&forwarder, "[{url: 'http://127.0.0.1:1/', match: [container_cpu_usage_seconds_total]}]");
        measure("one destination", &ingest);
    }
    let (address, bytes) = receiver();
    for wire in ["1.0", "2.0", "auto"] {
        send(wire, address, &bytes);
    }
}
