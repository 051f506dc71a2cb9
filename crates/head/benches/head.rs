//! Figures of the head on a stream like that of the load generator: Kubernetes-shaped series, one sample of each per step.
//!
//! `cargo bench -p head -- [series] [steps]` prints nanoseconds and bytes; memory is what the operating system says.

use std::hint::black_box;

use head::{Accepted, Bounds, Head, HeadOptions};
use model::{
    DecodeLabels, EncodedBatch, EncodedRow, Labels, Matcher, RefusalReason, Sample, SampleBuffer, StoredSeries,
    TimeRange, TimestampMs,
};
use postings::MatchCache;

const BATCH: usize = 5000;
const CLUSTERS: usize = 50;
const START_MS: i64 = 1_700_000_000_000;
const INTERVAL_MS: i64 = 15_000;

/// Metric, job, and how its values move.
const METRICS: [(&str, &str, u8); 20] = [
    ("apiserver_request_total", "kube-apiserver", 0),
    ("apiserver_request_duration_seconds_bucket", "kube-apiserver", 1),
    ("apiserver_current_inflight_requests", "kube-apiserver", 2),
    ("etcd_disk_wal_fsync_duration_seconds_bucket", "etcd", 1),
    ("etcd_mvcc_db_total_size_in_bytes", "etcd", 3),
    ("container_cpu_usage_seconds_total", "cadvisor", 4),
    ("container_memory_working_set_bytes", "cadvisor", 3),
    ("container_network_receive_bytes_total", "cadvisor", 0),
    ("container_network_transmit_bytes_total", "cadvisor", 0),
    ("kube_pod_status_phase", "kube-state-metrics", 5),
    ("kube_pod_container_resource_requests", "kube-state-metrics", 5),
    ("kube_pod_container_status_restarts_total", "kube-state-metrics", 6),
    ("kube_deployment_status_replicas_available", "kube-state-metrics", 5),
    ("node_cpu_seconds_total", "node-exporter", 4),
    ("node_memory_MemAvailable_bytes", "node-exporter", 3),
    ("node_disk_io_time_seconds_total", "node-exporter", 4),
    ("node_network_receive_bytes_total", "node-exporter", 0),
    ("scheduler_pending_pods", "kube-scheduler", 2),
    ("workqueue_depth", "kube-controller-manager", 2),
    ("rest_client_requests_total", "kube-controller-manager", 0),
];

/// Pairs in the framing of remote write: a tag and a length before each pair, name and value.
struct Wire;

impl DecodeLabels for Wire {
    fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason> {
        let mut pairs = Vec::with_capacity(16);
        let mut rest = encoded;
        while let [10, length, tail @ ..] = rest {
            let (pair, after) = tail.split_at(usize::from(*length));
            let (name, value) = pair[2..].split_at(usize::from(pair[1]));
            let text = |bytes| std::str::from_utf8(bytes).map_err(|_| RefusalReason::InvalidLabels);
            pairs.push((text(name)?, text(&value[2..])?));
            rest = after;
        }
        Labels::from_sorted(pairs.into_iter()).ok_or(RefusalReason::InvalidLabels)
    }
}

fn encoded_labels(i: usize) -> Vec<u8> {
    let (name, job, kind) = METRICS[i % METRICS.len()];
    let (cluster, k) = (i / METRICS.len() % CLUSTERS, i / METRICS.len() / CLUSTERS);
    let mut labels: Vec<(&str, String)> = vec![
        ("__name__", name.into()),
        ("cluster", format!("c{cluster:05}")),
        ("job", job.into()),
        ("metacluster", format!("cell-{:03}", cluster / 10)),
        ("region", format!("region-{:02}", cluster % 20)),
        ("instance", format!("10.{}.{}.{}:9100", cluster % 250, k / 3000 % 250, k / 12 % 250)),
    ];
    match job {
        "cadvisor" | "kube-state-metrics" => {
            labels.push(("namespace", format!("ns-{}", k % 37)));
            labels.push((
                "pod",
                format!("workload-{}-{:08x}-{:05x}", k % 97, k as u32 as u64 * 2_654_435_761 % (1 << 32), k * 31),
            ));
            labels.push(("container", format!("container-{}", k % 3)));
            labels.push(("uid", format!("{:016x}", (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        }
        "node-exporter" => {
            labels.push(("device", format!("dev{}", k % 12)));
            labels.push(("mode", ["idle", "user", "system", "iowait"][k % 4].into()));
        }
        _ => {
            labels.push(("verb", ["GET", "LIST", "WATCH", "POST", "PUT", "PATCH"][k % 6].into()));
            labels.push(("resource", format!("resource{}", k / 6 % 40)));
            let (name, value) =
                if kind == 1 { ("le", format!("0.{}", k % 12)) } else { ("code", format!("{}", 200 + k / 3 % 4)) };
            labels.push((name, value));
        }
    }
    labels.sort();
    let mut out = Vec::new();
    for (name, value) in &labels {
        out.extend([10, (name.len() + value.len() + 4) as u8, 10, name.len() as u8]);
        out.extend(name.bytes());
        out.extend([18, value.len() as u8]);
        out.extend(value.bytes());
    }
    out
}

struct Source {
    labels: Vec<u8>,
    kind: u8,
    random: u64,
    value: f64,
    offset_ms: i64,
}

impl Source {
    fn new(i: usize) -> Self {
        let kind = METRICS[i % METRICS.len()].2;
        let value = match kind {
            3 => 1e9 + (i % 1000) as f64 * 4096.0,
            5 => (i % 2) as f64,
            _ => (i % 10_000) as f64,
        };
        let random = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Self { labels: encoded_labels(i), kind, random, value, offset_ms: (i / METRICS.len()) as i64 * 37 % 10_000 }
    }

    fn next(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let r = self.random;
        match self.kind {
            0 => self.value += (r % 50) as f64,
            1 if r.is_multiple_of(3) => self.value += (r % 7) as f64,
            2 => self.value = (r >> 8) as f64 % 40.0,
            3 if !r.is_multiple_of(4) => self.value += ((r >> 10) % 65536) as f64 * 4096.0 - 32768.0 * 4096.0,
            4 => self.value += (r % 15_000) as f64 / 1000.0,
            6 if r.is_multiple_of(500) => self.value += 1.0,
            _ => {}
        }
        self.value = self.value.max(0.0);
        self.value
    }
}

/// Bytes of memory that this process occupies.
fn resident_bytes() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|p| p.parse::<f64>().ok()).unwrap_or(0.0) * 4096.0
}

fn options() -> HeadOptions {
    HeadOptions {
        max_series: usize::MAX,
        max_series_per_source: None,
        source_label: "source".into(),
        max_labels: 64,
        max_label_name_bytes: 1024,
        max_label_value_bytes: 4096,
        max_memory_bytes: None,
    }
}

/// Nanoseconds of processor time that this thread has used: others share the machine.
fn processor_ns() -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    spent.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

fn timed<T>(what: &str, per: usize, run: impl FnOnce() -> T) -> T {
    let start = processor_ns();
    let out = run();
    let seconds = (processor_ns() - start) / 1e9;
    println!("{what:<44} {:>9.1} ms {:>9.1} ns each", seconds * 1e3, seconds * 1e9 / per.max(1) as f64);
    out
}

/// Appends one step of all sources; returns the seconds spent appending.
fn step(head: &Head, sources: &mut [Source], step: usize, accepted: &mut Accepted) -> f64 {
    let bounds = Bounds { oldest_ms: 0, newest_ms: i64::MAX, sealed_until_ms: 0, sealed: &|_, _| None };
    let mut seconds = 0.0;
    for chunk in sources.chunks_mut(BATCH) {
        let samples: Vec<Sample> = chunk
            .iter_mut()
            .map(|s| Sample {
                timestamp: TimestampMs(START_MS + step as i64 * INTERVAL_MS + s.offset_ms),
                value: s.next(),
            })
            .collect();
        // A request's labels lie one after another, as in a body that was just decompressed.
        let body = chunk.iter().map(|s| &s.labels[..]).collect::<Vec<_>>().concat();
        let mut at = 0;
        let row = |(source, sample): (&Source, Sample)| {
            let start = at;
            at += source.labels.len();
            (start..at, sample)
        };
        let places: Vec<_> = chunk.iter().zip(samples).map(row).collect();
        let rows: Vec<_> =
            places.into_iter().map(|(place, sample)| EncodedRow { labels: &body[place], sample }).collect();
        let batch = EncodedBatch { rows: &rows, context: b"bench", decoder: &Wire, metadata: &[] };
        let start = processor_ns();
        let report = head.append(&batch, &bounds, accepted);
        seconds += (processor_ns() - start) / 1e9;
        assert_eq!(report.appended, rows.len());
        head.mark_defined(&accepted.undefined);
    }
    seconds
}

fn fill(series: usize, steps: usize) -> (Head, Vec<Source>) {
    let mut sources: Vec<Source> = (0..series).map(Source::new).collect();
    let before = resident_bytes();
    let head = Head::new(options());
    let mut accepted = Accepted::default();
    let mut known = 0.0;
    for at in 0..steps {
        let seconds = step(&head, &mut sources, at, &mut accepted);
        if at == 0 {
            println!("{:<44} {:>24.1} ns each", "append, new series", seconds * 1e9 / series as f64);
            println!(
                "{:<44} {:>24.1} bytes",
                "memory per series, one sample",
                (resident_bytes() - before) / series as f64
            );
            println!("{:<44} {:>24.1} bytes", "  by its own account", head.memory_bytes() as f64 / series as f64);
        } else {
            known += seconds;
        }
    }
    let samples = series * (steps - 1).max(1);
    println!("{:<44} {:>24.1} ns each", "append, known series", known * 1e9 / samples as f64);
    println!("{:<44} {:>24.1} bytes", "memory per series", (resident_bytes() - before) / series as f64);
    println!("{:<44} {:>24.1} bytes", "  by its own account", head.memory_bytes() as f64 / series as f64);
    (head, sources)
}

fn read_all(selected: &[impl StoredSeries]) -> usize {
    let mut buffer = SampleBuffer::default();
    let mut samples = 0;
    for series in selected {
        buffer.clear();
        assert!(series.read(TimeRange::ALL, &mut buffer).is_ok());
        samples += black_box(&buffer).len();
    }
    samples
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let series = numbers.first().copied().unwrap_or(100_000);
    let steps = numbers.get(1).copied().unwrap_or(80);
    let cache = MatchCache::new(1 << 20);
    let (head, mut sources) = fill(series, steps);
    timed("order of all", series, || head.refresh_order());
    let all = timed("select all", series, || head.select(&[], TimeRange::ALL, &cache));
    assert_eq!(all.len(), series);
    let matchers = [Matcher::equal("__name__", "container_cpu_usage_seconds_total")];
    let some = timed("select a metric", series / 20, || head.select(&matchers, TimeRange::ALL, &cache));
    timed("read all", series * steps, || assert_eq!(read_all(&all), series * steps));
    timed("read seconds counters", some.len() * steps, || read_all(&some));
    timed("labels of all", series, || all.iter().map(|s| s.labels().len()).sum::<usize>());
    drop((all, some));

    let replayed = Head::new(options());
    let labels: Vec<Labels> = sources.iter().filter_map(|s| Wire.decode(&s.labels).ok()).collect();
    let refs: Vec<_> =
        timed("restore series", series, || labels.iter().map(|labels| replayed.restore(labels)).collect());
    drop(labels);
    let times = |step: usize| -> Vec<i64> {
        sources.iter().map(|s| START_MS + step as i64 * INTERVAL_MS + s.offset_ms).collect()
    };
    let columns: Vec<_> = (0..8).map(|step| (times(step), vec![step as f64; series])).collect();
    timed("restore samples", series * 8, || {
        columns.iter().map(|(times, values)| replayed.restore_samples(&refs, times, values)).sum::<usize>()
    });
    drop((replayed, columns));

    let prepared = timed("prepare a cut", series, || head.prepare_cut());
    timed("cut", series, || head.cut(prepared));
    let frozen = timed("freeze", series, || head.freeze());
    println!("{:<44} {:>24.1} bytes", "frozen, by its own account", head.memory_bytes() as f64 / series as f64);
    step(&head, &mut sources, steps, &mut Accepted::default());
    let mut buffer = SampleBuffer::default();
    timed("read frozen", series * steps, || {
        for series in frozen.iter() {
            buffer.clear();
            series.read(&mut buffer);
            black_box(&buffer);
        }
    });
    timed("release", series, || head.release(frozen));
    println!("{:<44} {:>24.1} bytes", "released, by its own account", head.memory_bytes() as f64 / series as f64);
}
