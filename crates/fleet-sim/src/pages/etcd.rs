//! etcd: the member that leads, one of three.

use model::MetricKind::{Counter, Gauge, Histogram as HistogramKind};

use crate::cluster::ClusterView;
use crate::histogram::{Histogram, Latency};
use crate::shape::Shape;
use crate::text::Page;
use crate::timeline::Conditions;

/// A subset of the powers of two that etcd uses.
const DISK_BOUNDS: &[f64] = &[0.001, 0.004, 0.016, 0.064, 0.256, 0.512, 1.024, 4.096];
const PEER_BOUNDS: &[f64] = &[0.0008, 0.0032, 0.0128, 0.0512, 0.2048, 0.8192];
const QUOTA_BYTES: f64 = 8.0 * 1024.0 * 1024.0 * 1024.0;
const PEERS: [&str; 2] = ["a8266ecf031671f3", "f1a4e0b2c3d49587"];
/// Leader changes per second: one a month, or one a minute while the disks are slow.
const USUAL_LEADER_CHANGES: f64 = 1.0 / (30.0 * 86_400.0);

pub(super) fn write(page: &mut Page, view: &ClusterView<'_>) {
    raft(page, view);
    disk(page, view);
    database(page, view);
}

/// Writes that reach etcd, per second at load 1.
fn write_rate(view: &ClusterView<'_>) -> f64 {
    view.request_rate() * 0.42
}

fn raft(page: &mut Page, view: &ClusterView<'_>) {
    let timeline = &view.timeline;
    let is_slow = |c: &Conditions, yes: f64, no: f64| if c.etcd_slow { yes } else { no };
    page.family("etcd_server_has_leader", Gauge, "Whether or not a leader exists. 1 is existence, 0 is not.")
        .sample(&[], 1.0);
    page.family("etcd_server_is_leader", Gauge, "Whether or not this member is a leader. 1 if is, 0 otherwise.")
        .sample(&[], 1.0);
    let changes = 1.0 + timeline.seconds(|c| is_slow(c, 1.0 / 60.0, USUAL_LEADER_CHANGES)).floor();
    page.family("etcd_server_leader_changes_seen_total", Counter, "The number of leader changes seen.")
        .sample(&[], changes);
    let failed = timeline.work(|c| is_slow(c, 0.2, 1e-5)).floor();
    page.family("etcd_server_proposals_failed_total", Counter, "The total number of failed proposals seen.")
        .sample(&[], failed);
    let rate = write_rate(view);
    page.family("etcd_server_proposals_committed_total", Gauge, "The total number of consensus proposals committed.")
        .sample(&[], timeline.work(|_| rate).floor());
    page.family("etcd_server_proposals_pending", Gauge, "The current number of pending proposals to commit.")
        .sample(&[], is_slow(&timeline.conditions, 40.0, 0.0));
    let mut family = page.family(
        "etcd_network_peer_round_trip_time_seconds",
        HistogramKind,
        "Round-Trip-Time histogram between peers.",
    );
    for peer in PEERS {
        let trip = |c: &Conditions| Latency::new(0.0006).slower(is_slow(c, 30.0, 1.0));
        family.histogram(&[("To", peer)], &Histogram::observed(timeline, PEER_BOUNDS, |_| 0.5, trip));
    }
}

fn disk(page: &mut Page, view: &ClusterView<'_>) {
    let rate = write_rate(view);
    let families = [
        ("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of fsync called by WAL.", 0.0012, 1.0),
        (
            "etcd_disk_backend_commit_duration_seconds",
            "The latency distributions of commit called by backend.",
            0.0025,
            0.4,
        ),
    ];
    for (name, help, median, share) in families {
        let took = |c: &Conditions| Latency::new(median).slower(if c.etcd_slow { 300.0 } else { 1.0 });
        let seen = Histogram::observed(&view.timeline, DISK_BOUNDS, |_| rate * share, took);
        page.family(name, HistogramKind, help).histogram(&[], &seen);
    }
}

fn database(page: &mut Page, view: &ClusterView<'_>) {
    let allocated = match view.conditions().etcd_full {
        true => 0.97 * QUOTA_BYTES,
        false => (0.03 + 0.07 * view.noise(&[20])) * QUOTA_BYTES,
    };
    // Compaction leaves holes: what is in use moves with the load, what is allocated does not shrink.
    let in_use = allocated * (0.6 + 0.35 * view.timeline.load() / Shape::MAX);
    page.family(
        "etcd_mvcc_db_total_size_in_bytes",
        Gauge,
        "Total size of the underlying database physically allocated.",
    )
    .sample(&[], allocated.floor());
    page.family(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        Gauge,
        "Total size of the underlying database logically in use.",
    )
    .sample(&[], in_use.floor());
    page.family("etcd_server_quota_backend_bytes", Gauge, "Current backend storage quota size in bytes.")
        .sample(&[], QUOTA_BYTES);
}
