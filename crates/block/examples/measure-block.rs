//! Measures the block on series like those of a Kubernetes fleet: bytes per sample by section, nanoseconds per sample to
//! write and to read.
//!
//! `cargo run --release -p block --example measure-block -- [SERIES] [SAMPLES] [FOLDER]`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use block::{Block, BlockDraft, BlockWriter, LabelScratch};
use disk::{Disk, RealDisk};
use model::{Column, Labels, SampleBuffer, TimeRange};
use postings::LabelIndex;

const KINDS: [(&str, &str, u8); 20] = [
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
const CLUSTERS: usize = 50;
const START_MS: i64 = 1_700_000_000_000;

/// The labels of series `i` of the load that the benchmarks send.
fn labels(i: usize) -> Labels {
    let (name, job, kind) = KINDS[i % KINDS.len()];
    let cluster = i / KINDS.len() % CLUSTERS;
    let k = i / KINDS.len() / CLUSTERS;
    let mut pairs: Vec<(&str, String)> = vec![
        ("__name__", name.into()),
        ("cluster", format!("c{cluster:05}")),
        ("job", job.into()),
        ("metacluster", format!("cell-{:03}", cluster / 10)),
        ("region", format!("region-{:02}", cluster % 20)),
        ("instance", format!("10.{}.{}.{}:9100", cluster % 250, (k / 12 / 250) % 250, (k / 12) % 250)),
    ];
    match job {
        "kube-apiserver" | "etcd" | "kube-controller-manager" | "kube-scheduler" => {
            pairs.push(("verb", ["GET", "LIST", "WATCH", "POST", "PUT", "PATCH"][k % 6].into()));
            pairs.push(("resource", format!("resource{}", (k / 6) % 40)));
            let bounds = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
            match kind {
                1 => pairs.push(("le", bounds[k % 12].into())),
                _ => pairs.push(("code", ["200", "201", "404", "500"][(k / 3) % 4].into())),
            }
        }
        "node-exporter" => {
            pairs.push(("device", format!("dev{}", k % 12)));
            pairs.push(("mode", ["idle", "user", "system", "iowait"][k % 4].into()));
        }
        _ => {
            let hash = (k as u64).wrapping_mul(2_654_435_761) & 0xffff_ffff;
            pairs.push(("namespace", format!("ns-{}", k % 37)));
            pairs.push(("pod", format!("workload-{}-{hash:x}-{:05x}", k % 97, (k * 31) & 0xf_ffff)));
            pairs.push(("container", format!("container-{}", k % 3)));
            pairs.push(("uid", format!("{:016x}", (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        }
    }
    Labels::from_pairs(pairs)
}

/// The samples of series `i`.
fn samples(i: usize, count: usize, into: &mut SampleBuffer) {
    into.clear();
    let kind = KINDS[i % KINDS.len()].2;
    let mut random = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut value = match kind {
        3 => 1e9 + (i % 1000) as f64 * 4096.0,
        5 => (i % 2) as f64,
        _ => (i % 10_000) as f64,
    };
    let jitter = (i as i64 / KINDS.len() as i64 * 37) % 10_000;
    for step in 0..count {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        match kind {
            0 => value += (random % 50) as f64,
            1 if random.is_multiple_of(3) => value += (random % 7) as f64,
            2 => value = ((random >> 8) % 40) as f64,
            3 if !random.is_multiple_of(4) => value += ((random >> 10) % 65_536) as f64 * 4096.0 - 32_768.0 * 4096.0,
            4 => value += (random % 15_000) as f64 / 1000.0,
            6 if random.is_multiple_of(500) => value += 1.0,
            _ => {}
        }
        value = value.max(0.0);
        into.push(START_MS + step as i64 * 15_000 + jitter, value);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise: usize| arguments.next().map_or(Ok(otherwise), |a| a.parse());
    let (series, count) = (number(100_000)?, number(240)?);
    let folder = arguments.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let path = write(&disk, Path::new(&folder), series, count)?;
    let started = Instant::now();
    let block = Block::open(disk.clone(), &path)?;
    println!("open: {:.3} ms", started.elapsed().as_secs_f64() * 1e3);
    let total = (series * count) as f64;
    println!("{:.4} bytes/sample in all, {} chunks", block.bytes() as f64 / total, block.meta().chunks);
    for (section, bytes) in block.outline() {
        let bytes = bytes as f64;
        println!("  {section:<12} {:.4} bytes/sample, {:.2} bytes/series", bytes / total, bytes / series as f64);
    }
    read(&block, series, count)?;
    disk.remove(&path)?;
    Ok(())
}

fn write(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    series: usize,
    count: usize,
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let mut order: Vec<(Labels, usize)> = (0..series).map(|i| (labels(i), i)).collect();
    order.sort();
    let mut buffer = SampleBuffer::default();
    let draft = BlockDraft { now_ms: START_MS, level: 1, ..BlockDraft::default() };
    let mut writer = BlockWriter::create(disk.clone(), folder, draft)?;
    let mut writing = 0.0;
    for (labels, i) in &order {
        samples(*i, count, &mut buffer);
        let started = Instant::now();
        writer.add(labels, &buffer)?;
        writing += started.elapsed().as_secs_f64();
    }
    let started = Instant::now();
    let meta = writer.finish()?;
    let finishing = started.elapsed().as_secs_f64();
    println!("write: {:.1} ns/sample, and {finishing:.3} s to finish", writing * 1e9 / meta.samples as f64);
    Ok(folder.join(format!("{}.block", meta.id)))
}

fn read(block: &Block, series: usize, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut buffer = SampleBuffer::default();
    let mut best = f64::MAX;
    // The best of several: other work on the machine only ever adds.
    for _ in 0..5 {
        let (started, mut reader) = (Instant::now(), block.reader());
        for ordinal in 0..series as u32 {
            buffer.clear();
            reader.read(ordinal, TimeRange::ALL, Column::Last, &mut buffer)?;
            assert_eq!(buffer.len(), count);
        }
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!("read all in order: {:.1} ns/sample", best * 1e9 / (series * count) as f64);

    let started = Instant::now();
    for at in 0..1000 {
        buffer.clear();
        block.reader().read((at * 7919 % series) as u32, TimeRange::ALL, Column::Last, &mut buffer)?;
    }
    println!("read one, cold: {:.1} us/series", started.elapsed().as_secs_f64() * 1e3);

    let started = Instant::now();
    let mut scratch = LabelScratch::default();
    for ordinal in 0..series as u32 {
        block.labels_into(ordinal, &mut scratch)?;
    }
    println!("labels in order: {:.0} ns/series", started.elapsed().as_secs_f64() * 1e9 / series as f64);

    let started = Instant::now();
    let mut found = Vec::new();
    if let Some(id) = block.value_id("cluster", "c00007") {
        block.postings("cluster", id, &mut found);
    }
    println!("series of one cluster: {} in {:.1} us", found.len(), started.elapsed().as_secs_f64() * 1e6);
    Ok(())
}
