//! The stream: Kubernetes-shaped series whose values move as real ones do, the same for every server.

use model::{Labels, Row, Sample, TimestampMs};
use remote_write::Encoder;

/// Between two samples of a series.
pub const STEP_MS: i64 = 15_000;

/// How big the stream is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub series: usize,
    pub steps: usize,
    pub clusters: usize,
    /// The number of the first.
    pub first_cluster: usize,
    pub batch: usize,
    pub connections: usize,
}

impl Shape {
    pub fn samples(&self) -> f64 {
        (self.series * self.steps) as f64
    }
}

/// How the values of a family move.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A counter of events.
    Counter,
    /// A counter that stands still most of the time.
    Bucket,
    /// A small number that jumps.
    Gauge,
    /// Bytes in pages.
    Bytes,
    /// Seconds, summed up in thousandths.
    Seconds,
    Constant,
    /// A counter of what hardly ever happens.
    Rare,
}

/// Family, job and kind.
const FAMILIES: [(&str, &str, Kind); 20] = [
    ("apiserver_request_total", "apiserver", Kind::Counter),
    ("apiserver_request_duration_seconds_bucket", "apiserver", Kind::Bucket),
    ("apiserver_current_inflight_requests", "apiserver", Kind::Gauge),
    ("etcd_disk_wal_fsync_duration_seconds_bucket", "etcd", Kind::Bucket),
    ("etcd_mvcc_db_total_size_in_bytes", "etcd", Kind::Bytes),
    ("container_cpu_usage_seconds_total", "cadvisor", Kind::Seconds),
    ("container_memory_working_set_bytes", "cadvisor", Kind::Bytes),
    ("container_network_receive_bytes_total", "cadvisor", Kind::Counter),
    ("container_network_transmit_bytes_total", "cadvisor", Kind::Counter),
    ("kube_pod_status_phase", "kube-state-metrics", Kind::Constant),
    ("kube_pod_container_resource_requests", "kube-state-metrics", Kind::Constant),
    ("kube_pod_container_status_restarts_total", "kube-state-metrics", Kind::Rare),
    ("kube_deployment_status_replicas_available", "kube-state-metrics", Kind::Constant),
    ("node_cpu_seconds_total", "node", Kind::Seconds),
    ("node_memory_MemAvailable_bytes", "node", Kind::Bytes),
    ("node_disk_io_time_seconds_total", "node", Kind::Seconds),
    ("node_network_receive_bytes_total", "node", Kind::Counter),
    ("scheduler_pending_pods", "scheduler", Kind::Gauge),
    ("workqueue_depth", "controller-manager", Kind::Gauge),
    ("rest_client_requests_total", "controller-manager", Kind::Counter),
];
const BOUNDS: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];

struct Series {
    labels: Labels,
    kind: Kind,
    random: u64,
    value: f64,
    /// Targets are not scraped at the same moment.
    offset_ms: i64,
}

impl Series {
    fn new(i: usize, shape: Shape) -> Self {
        let clusters = shape.clusters;
        let (family, job, kind) = FAMILIES[i % FAMILIES.len()];
        let cluster = shape.first_cluster + i / FAMILIES.len() % clusters;
        let k = i / FAMILIES.len() / clusters;
        let mut pairs = vec![
            ("__name__", family.to_owned()),
            ("cluster", format!("c{cluster:05}")),
            ("metacluster", format!("cell-{:03}", cluster / 10)),
            ("region", format!("region-{:02}", cluster % 20)),
            ("job", job.to_owned()),
            ("instance", format!("10.{}.{}.{}:9100", cluster % 250, k / 12 / 250 % 250, k / 12 % 250)),
        ];
        match job {
            "cadvisor" | "kube-state-metrics" => {
                pairs.push(("namespace", format!("ns-{}", k % 37)));
                pairs.push(("pod", format!("workload-{}-{:08x}", k % 97, k.wrapping_mul(2_654_435_761) & 0xffff_ffff)));
                pairs.push(("container", format!("container-{}", k % 3)));
                pairs.push(("uid", format!("{:016x}", i.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
            }
            "node" => {
                pairs.push(("device", format!("dev{}", k % 12)));
                pairs.push(("mode", ["idle", "user", "system", "iowait"][k % 4].to_owned()));
            }
            _ => {
                pairs.push(("verb", ["GET", "LIST", "WATCH", "POST", "PUT", "PATCH"][k % 6].to_owned()));
                pairs.push(("resource", format!("resource{}", k / 6 % 40)));
                match kind {
                    Kind::Bucket => pairs.push(("le", BOUNDS[k % BOUNDS.len()].to_owned())),
                    _ => pairs.push(("code", ["200", "201", "404", "500"][k / 3 % 4].to_owned())),
                }
            }
        }
        let value = match kind {
            Kind::Bytes => 1e9 + (i % 1000) as f64 * 4096.0,
            Kind::Constant => (i % 2) as f64,
            _ => (i % 10_000) as f64,
        };
        let random = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let offset_ms = (i / FAMILIES.len() * 37 % 10_000) as i64;
        Self { labels: Labels::from_pairs(pairs), kind, random, value, offset_ms }
    }

    fn next(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let r = self.random;
        match self.kind {
            Kind::Counter => self.value += (r % 50) as f64,
            Kind::Bucket if r.is_multiple_of(3) => self.value += (r % 7) as f64,
            Kind::Gauge => self.value = (r >> 8) as f64 % 40.0,
            Kind::Bytes if !r.is_multiple_of(4) => {
                self.value = (self.value + ((r >> 10) % 65_536) as f64 * 4096.0 - 32_768.0 * 4096.0).max(0.0);
            }
            Kind::Seconds => self.value += (r % 15_000) as f64 / 1000.0,
            Kind::Rare if r.is_multiple_of(500) => self.value += 1.0,
            _ => {}
        }
        self.value
    }
}

/// What one connection sends: every `connections`-th series, so that each series stays in order.
pub struct Part {
    shape: Shape,
    series: Vec<Series>,
    encoder: Encoder,
}

impl Part {
    pub fn new(shape: Shape, connection: usize) -> Self {
        let own = (connection..shape.series).step_by(shape.connections);
        Self { shape, series: own.map(|i| Series::new(i, shape)).collect(), encoder: Encoder::default() }
    }

    /// How many requests a step takes.
    pub fn requests(&self) -> usize {
        self.series.len().div_ceil(self.shape.batch)
    }

    /// The body of one request of a step that began at `at_ms`.
    pub fn request(&mut self, at_ms: i64, index: usize) -> Vec<u8> {
        let from = index * self.shape.batch;
        let until = (from + self.shape.batch).min(self.series.len());
        let row = |series: &mut Series| Row {
            sample: Sample { timestamp: TimestampMs(at_ms + series.offset_ms), value: series.next() },
            labels: series.labels.clone(),
        };
        let rows: Vec<Row> = self.series[from..until].iter_mut().map(row).collect();
        self.encoder.encode(&rows, &[])
    }
}
