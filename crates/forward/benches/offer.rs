//! What forwarding adds to an append: `cargo bench -p forward`. A store that takes everything for nothing, and 250,000
//! series whose labels are encoded; with no destination, and with one that selects every second series.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use config::Document;
use forward::{Forwarder, Ingest, RemoteWriteConfig};
use model::{Append, AppendError, AppendReport, Batch, EncodedBatch, Labels, Sample, TimestampMs};
use remote_write::{DecodeLimits, LabelDecoder, Scratch, decode_rows};
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

fn body(request: usize) -> Vec<u8> {
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
        batch.push(Labels::from_pairs(pairs), Sample { timestamp: TimestampMs(1_800_000_000_000), value: i as f64 });
    }
    remote_write::encode(&batch)
}

/// Prints what a row costs when its series is new, and at best afterwards, in nanoseconds.
fn measure(what: &str, ingest: &Ingest, bodies: &[Vec<u8>]) {
    let limits = DecodeLimits::default();
    let (decoder, mut scratch) = (LabelDecoder::new(limits, Labels::empty()), Scratch::default());
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut spent = Duration::ZERO;
        for body in bodies {
            let request = decode_rows(body, &limits, &mut scratch).expect("decodes");
            let began = Instant::now();
            ingest.append_encoded(&request.batch(&decoder)).expect("takes samples");
            spent += began.elapsed();
        }
        rounds.push(spent.as_nanos() as f64 / SERIES as f64);
    }
    let best = rounds.iter().skip(1).copied().fold(f64::INFINITY, f64::min);
    println!("{what}: new {:.0} ns, known {best:.0} ns", rounds.first().expect("there are rounds"));
}

fn main() {
    let bodies: Vec<Vec<u8>> = (0..SERIES / ROWS_PER_REQUEST).map(body).collect();
    // Never driven, so that nothing is sent: what is measured is the appender's part.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("builds");
    let _entered = runtime.enter();
    let (supervisor, metrics) = (Supervisor::new(), Metrics::new("bench").expect("registers"));
    let forwarder = Arc::new(Forwarder::new(&supervisor, &metrics).expect("builds"));
    let ingest = Ingest { store: Arc::new(TakesAll), forwarder: forwarder.clone() };
    measure("no destination", &ingest, &bodies);
    let text = "[{url: 'http://127.0.0.1:1/', match: [container_cpu_usage_seconds_total]}]";
    let document = Document::parse("c.yml".as_ref(), text).expect("is YAML");
    let configs = RemoteWriteConfig::decode_list(&document.root().items());
    forwarder.update(&configs, &Labels::from_pairs([("zone", "a")])).expect("updates");
    measure("one destination", &ingest, &bodies);
}
