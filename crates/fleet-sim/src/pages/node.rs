//! node_exporter: processors, memory, disk and network of one node.

use model::MetricKind::{Counter, Gauge};

use crate::cluster::{ClusterView, NODE_CPUS, NODE_MEMORY_BYTES};
use crate::shape::DAY_SECONDS;
use crate::text::Page;

const DISK_BYTES: f64 = 100e9;
const IO_WAIT_SHARE: f64 = 0.01;

pub(super) fn write(page: &mut Page, view: &ClusterView<'_>, node: usize) {
    processors(page, view, node);
    memory(page, view, node);
    disk(page, view, node);
    network(page, view, node);
}

/// The modes of a processor add up to the time that passed.
fn processors(page: &mut Page, view: &ClusterView<'_>, node: usize) {
    let timeline = &view.timeline;
    let busy_share = view.busy_share(node);
    let busy = timeline.work(|_| busy_share);
    let waited = timeline.seconds(|_| IO_WAIT_SHARE);
    let idle = timeline.seconds(|_| 1.0) - busy - waited;
    let mut family = page.family("node_cpu_seconds_total", Counter, "Seconds the CPUs spent in each mode.");
    for cpu in 0..NODE_CPUS {
        let cpu = cpu.to_string();
        for (mode, seconds) in [("idle", idle), ("iowait", waited), ("system", busy * 0.2), ("user", busy * 0.8)] {
            family.fraction(&[("cpu", &cpu), ("mode", mode)], seconds);
        }
    }
    page.family("node_load1", Gauge, "1m load average.")
        .fraction(&[], NODE_CPUS as f64 * view.busy_share(node) * timeline.load());
}

fn memory(page: &mut Page, view: &ClusterView<'_>, node: usize) {
    let available = NODE_MEMORY_BYTES * (1.0 - view.memory_share(node));
    page.family("node_memory_MemAvailable_bytes", Gauge, "Memory information field MemAvailable_bytes.")
        .sample(&[], available.floor());
    page.family("node_memory_MemTotal_bytes", Gauge, "Memory information field MemTotal_bytes.")
        .sample(&[], NODE_MEMORY_BYTES);
}

fn disk(page: &mut Page, view: &ClusterView<'_>, node: usize) {
    let labels = [("device", "/dev/vda1"), ("fstype", "ext4"), ("mountpoint", "/")];
    // Fills for a week, then somebody cleans up.
    let week = (view.timeline.now / (7.0 * DAY_SECONDS) + view.noise(&[30, node as u64])).fract();
    let used = 0.3 + 0.2 * view.noise(&[31, node as u64]) + 0.15 * week;
    page.family("node_filesystem_avail_bytes", Gauge, "Filesystem space available to non-root users in bytes.")
        .sample(&labels, (DISK_BYTES * (1.0 - used)).floor());
    page.family("node_filesystem_size_bytes", Gauge, "Filesystem size in bytes.").sample(&labels, DISK_BYTES);
    let busy = 0.05 + 0.1 * view.noise(&[32, node as u64]);
    page.family("node_disk_io_time_seconds_total", Counter, "Total seconds spent doing I/Os.")
        .fraction(&[("device", "vda")], view.timeline.work(|_| busy));
}

fn network(page: &mut Page, view: &ClusterView<'_>, node: usize) {
    let (received, sent) = view.node_traffic(node);
    page.family("node_network_receive_bytes_total", Counter, "Network device statistic receive_bytes.")
        .sample(&[("device", "eth0")], view.timeline.work(|_| received).floor());
    page.family("node_network_transmit_bytes_total", Counter, "Network device statistic transmit_bytes.")
        .sample(&[("device", "eth0")], view.timeline.work(|_| sent).floor());
}
