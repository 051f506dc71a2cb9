//! kube-controller-manager: its work queues and its requests to the API server.

use model::MetricKind::{Counter, Gauge, Histogram as HistogramKind};

use crate::cluster::ClusterView;
use crate::histogram::{Histogram, Latency};
use crate::text::Page;
use crate::timeline::Conditions;

const QUEUE_BOUNDS: &[f64] = &[0.001, 0.01, 0.1, 1.0, 10.0];
/// Name of the queue, additions per second at load 1.
const QUEUES: [(&str, f64); 3] = [("deployment", 0.4), ("replicaset", 0.6), ("node_lifecycle_controller", 0.3)];
/// Method, code, requests per second at load 1.
const REQUESTS: [(&str, &str, f64); 3] = [("GET", "200", 2.0), ("PUT", "200", 1.0), ("POST", "201", 0.3)];

/// How much slower work gets done while the API server or etcd are in trouble.
fn delay(conditions: &Conditions) -> f64 {
    if conditions.etcd_down || conditions.apiserver_slow || conditions.error_ratio() >= 0.2 {
        500.0
    } else if conditions.etcd_slow {
        50.0
    } else {
        1.0
    }
}

pub(super) fn write(page: &mut Page, view: &ClusterView<'_>) {
    let timeline = &view.timeline;
    let mut family = page.family("workqueue_depth", Gauge, "Current depth of workqueue.");
    for (name, rate) in QUEUES {
        // Little's law: what is waiting is what arrives times how long it waits.
        let waiting = rate * timeline.load() * wait(view.conditions()).mean();
        family.sample(&[("name", name)], waiting.round());
    }
    let mut family = page.family("workqueue_adds_total", Counter, "Total number of adds handled by workqueue.");
    for (name, rate) in QUEUES {
        family.sample(&[("name", name)], timeline.work(|_| rate).floor());
    }
    let help = "How long in seconds an item stays in workqueue before being requested.";
    let mut family = page.family("workqueue_queue_duration_seconds", HistogramKind, help);
    for (name, rate) in QUEUES {
        family.histogram(&[("name", name)], &Histogram::observed(timeline, QUEUE_BOUNDS, |_| rate, wait));
    }
    let help = "Number of HTTP requests, partitioned by status code, method, and host.";
    let mut family = page.family("rest_client_requests_total", Counter, help);
    let labels = |method, code| [("code", code), ("host", "apiserver:6443"), ("method", method)];
    for (method, code, rate) in REQUESTS {
        family.sample(&labels(method, code), timeline.work(|c| rate * (1.0 - c.error_ratio())).floor());
    }
    let total: f64 = REQUESTS.iter().map(|(_, _, rate)| rate).sum();
    family.sample(&labels("GET", "500"), timeline.work(|c| total * c.error_ratio()).floor());
}

fn wait(conditions: &Conditions) -> Latency {
    Latency::new(0.02).slower(delay(conditions))
}
