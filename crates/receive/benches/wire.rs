//! What a sample costs a receiver, from a request to the store's door, in every message it may come in:
//! `cargo bench -p receive`. As in a live lane: 5,000 Kubernetes-shaped series with one sample each in every request.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use columns::{Form, Message};
use model::{Append, AppendError, AppendReport, Batch, EncodedBatch, Labels, Row, Sample, TimestampMs};
use receive::{ReceiverLimits, ReceiverOptions, Stamp, router};
use remote_write::{Compression, Encoder};
use runtime::{CpuPool, Metrics};
use tower::ServiceExt;

const SERIES: usize = 5_000;
const REQUESTS: usize = 60;
const INTERVAL_MS: i64 = 15_000;
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// Knows every series.
struct Door;

impl Append for Door {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        Ok(AppendReport { appended: batch.rows.len(), ..AppendReport::default() })
    }

    fn append_encoded(&self, batch: &EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
        Ok(AppendReport { appended: batch.rows.len(), ..AppendReport::default() })
    }
}

fn series(i: usize) -> Labels {
    let families = ["container_cpu_usage_seconds_total", "container_memory_rss", "kube_pod_status_phase", "up"];
    let (family, pod) = (families[i % families.len()], i / families.len());
    let mixed = (pod as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Labels::from_pairs([
        ("__name__", family.to_owned()),
        ("cluster", format!("c{:05}", pod % 7)),
        ("container", format!("container-{}", pod % 3)),
        ("instance", format!("10.0.{}.{}:9100", pod / 250, pod % 250)),
        ("job", "kubelet".to_owned()),
        ("namespace", format!("ns-{}", pod % 37)),
        ("pod", format!("workload-{}-{:x}", pod % 97, mixed >> 32)),
        ("uid", format!("{mixed:016x}")),
    ])
}

/// Counters that grow unevenly, gauges that move, and much that never changes.
fn value(i: usize, request: usize) -> f64 {
    let noise = ((i * 31 + request * 17) % 101) as f64;
    match i % 4 {
        0 => (request * 15) as f64 * (0.01 + (i % 50) as f64 / 100.0) + noise / 1000.0,
        1 => (50_000_000 + i * 4096) as f64 + (noise as i64 / 20 * 4096) as f64,
        _ => 1.0,
    }
}

fn rows(labels: &[Labels], request: usize) -> Vec<Row> {
    let at = |i: usize| TimestampMs(1_800_000_000_000 + request as i64 * INTERVAL_MS + (i / 500) as i64 * 37);
    let row = |(i, labels): (usize, &Labels)| Row {
        labels: labels.clone(),
        sample: Sample { timestamp: at(i), value: value(i, request) },
    };
    labels.iter().enumerate().map(row).collect()
}

/// The body of one request in columns; the first announces everything.
fn in_columns(encoder: &mut columns::Encoder, rows: &[Row], is_first: bool) -> Vec<u8> {
    let definitions: Vec<_> = rows.iter().enumerate().map(|(n, row)| (n as u32, row.labels.clone())).collect();
    let numbers: Vec<_> = (0..rows.len() as u32).collect();
    let timestamps: Vec<_> = rows.iter().map(|row| row.sample.timestamp.0).collect();
    let values: Vec<_> = rows.iter().map(|row| row.sample.value).collect();
    let definitions = if is_first { definitions.as_slice() } else { &[] };
    let message =
        Message { definitions, numbers: &numbers, timestamps: &timestamps, values: &values, ..Message::default() };
    encoder.encode(&message, Form::Wire).to_vec()
}

fn bodies(kind: &str, requests: &[Vec<Row>]) -> Vec<Vec<u8>> {
    let (mut encoder, mut columns) = (Encoder::default(), columns::Encoder::default());
    let body = |(nth, rows): (usize, &Vec<Row>)| match kind {
        "1.0 snappy" => encoder.encode(rows, &[]),
        "2.0 snappy" => encoder.encode_v2(rows, &[], &[], Compression::Snappy),
        "2.0 zstd" => encoder.encode_v2(rows, &[], &[], Compression::Zstd),
        _ => in_columns(&mut columns, rows, nth == 0),
    };
    requests.iter().enumerate().map(body).collect()
}

fn main() {
    let labels: Vec<_> = (0..SERIES).map(series).collect();
    let requests: Vec<_> = (0..REQUESTS).map(|request| rows(&labels, request)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    for (kind, content_type, encoding) in [
        ("1.0 snappy", remote_write::CONTENT_TYPE, "snappy"),
        ("2.0 snappy", V2, "snappy"),
        ("2.0 zstd", V2, "zstd"),
        ("columns", columns::CONTENT_TYPE, "identity"),
    ] {
        let bodies = bodies(kind, &requests);
        let steady: usize = bodies.iter().skip(1).map(Vec::len).sum();
        let options = ReceiverOptions {
            sink: Arc::new(Door),
            stamp: Stamp::default(),
            pool: CpuPool::new(1, 1),
            limits: ReceiverLimits::default(),
            sources: Arc::default(),
        };
        let router = router(options, &Metrics::new("bench").expect("registers")).expect("builds");
        let mut best = Duration::MAX;
        for round in 0..10 {
            for (nth, body) in bodies.iter().enumerate().skip(usize::from(round > 0)) {
                let request = Request::post("/api/v1/write")
                    .header("content-type", content_type)
                    .header("content-encoding", encoding)
                    .header("highwater-session", "00112233445566778899aabbccddeeff")
                    .body(Body::from(body.clone()))
                    .expect("is a request");
                let began = Instant::now();
                let answer = runtime.block_on(router.clone().oneshot(request)).expect("answers");
                assert!(answer.status().is_success(), "{kind} {nth}: {}", answer.status());
                best = if nth == 0 { best } else { best.min(began.elapsed()) };
            }
        }
        let per_sample = |amount: f64| amount / SERIES as f64;
        let bytes = per_sample(steady as f64 / (REQUESTS - 1) as f64);
        println!("{kind}: {bytes:.2} bytes and {:.0} ns a sample", per_sample(best.as_nanos() as f64));
    }
}
