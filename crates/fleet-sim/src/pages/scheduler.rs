//! kube-scheduler: what waits, what was tried, and how long it took.

use model::MetricKind::{Counter, Gauge, Histogram as HistogramKind};

use crate::cluster::ClusterView;
use crate::histogram::{Histogram, Latency};
use crate::text::Page;
use crate::timeline::Conditions;

const ATTEMPT_BOUNDS: &[f64] = &[0.002, 0.008, 0.032, 0.128, 1.024];
const POD_BOUNDS: &[f64] = &[0.01, 0.08, 0.64, 5.12, 40.96, 327.68];
/// How often a pod that found no node is tried again, per second.
const RETRY_RATE: f64 = 0.1;

pub(super) fn write(page: &mut Page, view: &ClusterView<'_>) {
    let timeline = &view.timeline;
    let rate = view.scheduling_rate();
    // kube_pod_status_phase counts the same pods as Pending.
    let unschedulable = view.pods().filter(|pod| pod.is_pending).count() as f64;
    let mut family = page.family("scheduler_pending_pods", Gauge, "Number of pending pods, by the queue type.");
    for (queue, pods) in [("active", 0.0), ("backoff", 0.0), ("gated", 0.0), ("unschedulable", unschedulable)] {
        family.sample(&[("queue", queue)], pods);
    }

    let is_stuck = |c: &Conditions| c.scheduling_stuck || (0..view.nodes()).any(|node| c.is_node_down(node));
    let refused = timeline.seconds(|c| if is_stuck(c) { RETRY_RATE } else { 0.0005 });
    let failed = timeline.work(|c| rate * c.error_ratio());
    let succeeded = |c: &Conditions| rate * (1.0 - c.error_ratio());
    let took = |c: &Conditions| Latency::new(0.006).slower(if c.etcd_slow || c.apiserver_slow { 20.0 } else { 1.0 });
    let attempts = Histogram::observed(timeline, ATTEMPT_BOUNDS, succeeded, took);
    let profile = |result| [("profile", "default-scheduler"), ("result", result)];
    page.family("scheduler_schedule_attempts_total", Counter, "Number of attempts to schedule pods, by the result.")
        .sample(&profile("scheduled"), attempts.count)
        .sample(&profile("unschedulable"), refused.floor())
        .sample(&profile("error"), failed.floor());
    let help = "Scheduling attempt latency in seconds (scheduling algorithm + binding).";
    page.family("scheduler_scheduling_attempt_duration_seconds", HistogramKind, help)
        .histogram(&profile("scheduled"), &attempts);

    let waited = |c: &Conditions| Latency::new(0.03).slower(if is_stuck(c) { 400.0 } else { 1.0 });
    let pods = Histogram::observed(timeline, POD_BOUNDS, succeeded, waited);
    let help = "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue.";
    page.family("scheduler_pod_scheduling_sli_duration_seconds", HistogramKind, help)
        .histogram(&[("attempts", "1")], &pods);
}
