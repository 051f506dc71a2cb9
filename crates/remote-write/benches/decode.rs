//! What a sample costs on its way from the body of a request to a row: `cargo bench -p remote-write`. The requests are
//! of the kind that the load generator of `make bench` sends: 5,000 Kubernetes-shaped series of one sample each.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use model::{DecodeLabels, Labels, Row, Sample, TimestampMs};
use remote_write::{Compression, DecodeLimits, Encoder, Format, LabelDecoder, Message, Scratch, decode_rows};

const SERIES: usize = 5_000;
const REQUESTS: usize = 40;
const ROUNDS: usize = 25;
/// Neighbours are of different families, as in a scrape of many exporters; two shapes of label sets take turns.
const FAMILIES: [(&str, &str); 10] = [
    ("apiserver_request_total", "kube-apiserver"),
    ("container_memory_working_set_bytes", "cadvisor"),
    ("etcd_disk_wal_fsync_duration_seconds_bucket", "etcd"),
    ("container_network_receive_bytes_total", "cadvisor"),
    ("apiserver_current_inflight_requests", "kube-apiserver"),
    ("kube_pod_container_resource_requests", "kube-state-metrics"),
    ("scheduler_pending_pods", "kube-scheduler"),
    ("kube_deployment_status_replicas_available", "kube-state-metrics"),
    ("workqueue_depth", "kube-controller-manager"),
    ("kube_pod_container_status_restarts_total", "kube-state-metrics"),
];

fn series(i: usize) -> Labels {
    let (family, job) = FAMILIES[i % FAMILIES.len()];
    let (cluster, k) = (i / FAMILIES.len() % 50, i / FAMILIES.len() / 50);
    let mut pairs = vec![
        ("__name__", family.to_owned()),
        ("cluster", format!("c{cluster:05}")),
        ("instance", format!("10.{cluster}.{}.{}:9100", k / 250 % 250, k % 250)),
        ("job", job.to_owned()),
        ("metacluster", format!("cell-{:03}", cluster / 10)),
        ("region", format!("region-{:02}", cluster % 20)),
    ];
    if i.is_multiple_of(2) {
        let (code, resource) = (format!("{}", 200 + k % 4), format!("resource{}", k % 40));
        pairs.extend([("code", code), ("verb", "LIST".to_owned()), ("resource", resource)]);
    } else {
        let mixed = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (namespace, container) = (format!("ns-{}", k % 37), format!("container-{}", k % 3));
        let pod = format!("workload-{}-{:x}-{:05x}", k % 97, mixed >> 32, (k * 31) & 0xfffff);
        pairs.extend([
            ("namespace", namespace),
            ("pod", pod),
            ("container", container),
            ("uid", format!("{mixed:016x}")),
        ]);
    }
    Labels::from_pairs(pairs)
}

/// Requests as bodies of every format.
fn rows(n: usize) -> Vec<Row> {
    let row = |i| Row {
        labels: series(i),
        sample: Sample { timestamp: TimestampMs(1_800_000_000_000 + i as i64 % 10_000), value: (i * 37) as f64 },
    };
    (n * SERIES..(n + 1) * SERIES).map(row).collect()
}

fn encoded(encoder: &mut Encoder, format: Format, rows: &[Row]) -> Vec<u8> {
    match format.message {
        Message::V1 => encoder.encode(rows, &[]),
        Message::V2 => encoder.encode_v2(rows, &[], &[], format.compression),
    }
}

/// Prints the fastest of all rounds, in nanoseconds for each sample.
fn measure(what: &str, mut round: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        round();
        best = best.min(began.elapsed());
    }
    println!("{what}: {:.1} ns", best.as_nanos() as f64 / (REQUESTS * SERIES) as f64);
}

fn main() {
    let requests: Vec<_> = (0..REQUESTS).map(rows).collect();
    for (message, compression) in
        [(Message::V1, Compression::Snappy), (Message::V2, Compression::Snappy), (Message::V2, Compression::Zstd)]
    {
        run(Format { message, compression }, &requests);
    }
}

fn run(format: Format, requests: &[Vec<Row>]) {
    println!("{} with {}", format.message.as_str(), format.compression.as_str());
    let mut encoder = Encoder::default();
    let plain: usize = requests
        .iter()
        .map(|rows| {
            encoded(&mut encoder, format, rows);
            encoder.uncompressed_bytes()
        })
        .sum();
    let bodies: Vec<_> = requests.iter().map(|rows| encoded(&mut encoder, format, rows)).collect();
    let wire: usize = bodies.iter().map(Vec::len).sum();
    let each = |bytes: usize| bytes as f64 / (REQUESTS * SERIES) as f64;
    println!("  bytes of a sample: {:.1} compressed, {:.1} plain", each(wire), each(plain));
    measure("  rows to body", || {
        for rows in requests {
            black_box(encoded(&mut encoder, format, rows).len());
        }
    });
    let limits = DecodeLimits::default();
    let decoder = LabelDecoder::new(limits, Labels::from_pairs([("region", "eu")]));
    let mut scratch = Scratch::default();
    if format.compression == Compression::Snappy {
        let mut message = vec![0; plain];
        measure("  snappy alone", || {
            for body in &bodies {
                snap::raw::Decoder::new().decompress(body, &mut message).expect("is snappy");
                black_box(&message);
            }
        });
    }
    measure("  body to rows", || {
        for body in &bodies {
            black_box(decode_rows(body, format, &limits, &mut scratch).expect("decodes").rows.len());
        }
    });
    measure("  body to rows to labels", || {
        for body in &bodies {
            let request = decode_rows(body, format, &limits, &mut scratch).expect("decodes");
            request.rows.iter().for_each(|row| drop(black_box(decoder.decode(row.labels))));
        }
    });
}
