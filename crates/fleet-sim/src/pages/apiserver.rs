//! kube-apiserver: requests, latency, load shedding, stored objects, certificates.

use model::MetricKind::{Counter, Gauge, Histogram as HistogramKind};

use crate::cluster::ClusterView;
use crate::histogram::{Histogram, Latency};
use crate::text::Page;
use crate::timeline::Conditions;

/// A subset of the real bounds, with those that the usual objectives need: 1 s, 5 s, 30 s.
const REQUEST_BOUNDS: &[f64] = &[0.1, 0.4, 1.0, 5.0, 30.0];
const WAIT_BOUNDS: &[f64] = &[0.005, 0.05, 0.5, 5.0];
/// Days in seconds: 0, 1 d, 7 d, 30 d, 90 d, 360 d.
const CERTIFICATE_BOUNDS: &[f64] = &[0.0, 86_400.0, 604_800.0, 2_592_000.0, 7_776_000.0, 31_104_000.0];

/// One kind of request; `share` is of all requests.
struct Flow {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    success: &'static str,
    failure: &'static str,
    share: f64,
    median_seconds: f64,
}

const fn flow(
    (verb, group, resource, scope): (&'static str, &'static str, &'static str, &'static str),
    (success, failure): (&'static str, &'static str),
    share: f64,
    median_seconds: f64,
) -> Flow {
    Flow { verb, group, resource, scope, success, failure, share, median_seconds }
}

const FLOWS: [Flow; 6] = [
    flow(("GET", "", "pods", "resource"), ("200", "500"), 0.40, 0.004),
    flow(("LIST", "", "pods", "namespace"), ("200", "504"), 0.12, 0.03),
    flow(("PUT", "coordination.k8s.io", "leases", "resource"), ("200", "500"), 0.24, 0.009),
    flow(("POST", "", "pods", "resource"), ("201", "500"), 0.08, 0.014),
    flow(("PATCH", "", "nodes", "resource"), ("200", "503"), 0.08, 0.012),
    flow(("DELETE", "", "pods", "resource"), ("200", "500"), 0.02, 0.014),
];
/// Watches: long-running, therefore outside of the latency objective.
const WATCH_SHARE: f64 = 0.05;
const NOT_FOUND_SHARE: f64 = 0.008;
const CONFLICT_SHARE: f64 = 0.002;
/// Flow schema, priority level, seats at load 1.
const PRIORITY_LEVELS: [(&str, &str, f64); 2] =
    [("service-accounts", "workload-low", 3.0), ("system-leader-election", "leader-election", 1.0)];

impl Flow {
    fn is_write(&self) -> bool {
        !matches!(self.verb, "GET" | "LIST")
    }

    fn latency(&self, conditions: &Conditions) -> Latency {
        let usual = Latency::new(self.median_seconds);
        let by_etcd = match (conditions.etcd_down || conditions.etcd_slow, self.is_write()) {
            (false, _) => 1.0,
            (true, true) => 60.0,
            (true, false) => 3.0,
        };
        usual.slower(if conditions.apiserver_slow { 60.0_f64.max(by_etcd) } else { by_etcd })
    }

    fn request_labels(&self, code: &'static str) -> [(&'static str, &'static str); 7] {
        request_labels([self.verb, self.group, self.resource, self.scope, code])
    }
}

fn request_labels([verb, group, resource, scope, code]: [&'static str; 5]) -> [(&'static str, &'static str); 7] {
    [
        ("code", code),
        ("component", "apiserver"),
        ("group", group),
        ("resource", resource),
        ("scope", scope),
        ("verb", verb),
        ("version", "v1"),
    ]
}

/// Requests that are refused, per second and priority level.
fn refusal_rate(conditions: &Conditions) -> f64 {
    if conditions.apiserver_slow { 2.0 } else { 0.002 }
}

pub(super) fn write(page: &mut Page, view: &ClusterView<'_>) {
    info(page, view);
    requests(page, view);
    latency(page, view);
    load(page, view);
    flow_control(page, view);
    objects(page, view);
    certificates(page, view);
}

fn info(page: &mut Page, view: &ClusterView<'_>) {
    let (minor, version) = view.version();
    page.family("kubernetes_build_info", Gauge, "A metric with a constant 1 value labelled by version and platform.")
        .sample(&[("git_version", version), ("major", "1"), ("minor", minor), ("platform", "linux/amd64")], 1.0);
}

fn requests(page: &mut Page, view: &ClusterView<'_>) {
    let (timeline, rate) = (&view.timeline, view.request_rate());
    let mut family =
        page.family("apiserver_request_total", Counter, "Counter of apiserver requests broken out by code.");
    for flow in &FLOWS {
        let (served, failed) = served_and_failed(view, flow);
        family.sample(&flow.request_labels(flow.success), served.count);
        family.sample(&flow.request_labels(flow.failure), failed.count);
    }
    let others = [
        (["WATCH", "", "pods", "cluster", "200"], WATCH_SHARE),
        (["GET", "", "pods", "resource", "404"], NOT_FOUND_SHARE),
        (["PUT", "coordination.k8s.io", "leases", "resource", "409"], CONFLICT_SHARE),
    ];
    for (labels, share) in others {
        family.sample(&request_labels(labels), timeline.work(|_| rate * share).floor());
    }
    let refused: f64 = PRIORITY_LEVELS.iter().map(|_| timeline.work(refusal_rate).floor()).sum();
    family.sample(&request_labels(["GET", "", "pods", "resource", "429"]), refused);
}

/// The requests of a flow that were served and those that failed, by their duration: the one source for both families
/// that count them.
fn served_and_failed(view: &ClusterView<'_>, flow: &Flow) -> (Histogram, Histogram) {
    let rate = view.request_rate() * flow.share;
    let part = |share: fn(&Conditions) -> f64| {
        Histogram::observed(&view.timeline, REQUEST_BOUNDS, |c| rate * share(c), |c| flow.latency(c))
    };
    (part(|c| 1.0 - c.error_ratio()), part(Conditions::error_ratio))
}

fn latency(page: &mut Page, view: &ClusterView<'_>) {
    let help = "Response latency without the time spent in webhooks and in priority and fairness queues, in seconds.";
    let mut family = page.family("apiserver_request_sli_duration_seconds", HistogramKind, help);
    for flow in &FLOWS {
        let (served, failed) = served_and_failed(view, flow);
        family.histogram(&flow.request_labels("")[1..], &served.plus(&failed));
    }
}

fn load(page: &mut Page, view: &ClusterView<'_>) {
    let conditions = view.conditions();
    let inflight = |write: bool| {
        let flows = FLOWS.iter().filter(|f| f.is_write() == write);
        let busy: f64 = flows.map(|f| view.request_rate() * f.share * f.latency(conditions).mean()).sum();
        (busy * view.timeline.load()).ceil()
    };
    page.family(
        "apiserver_current_inflight_requests",
        Gauge,
        "Maximal number of requests served at once, last second.",
    )
    .sample(&[("request_kind", "mutating")], inflight(true))
    .sample(&[("request_kind", "readOnly")], inflight(false));
    let terminated = view.timeline.work(|c| if c.apiserver_slow || c.etcd_down { 0.5 } else { 0.0001 });
    page.family("apiserver_request_terminations_total", Counter, "Requests that apiserver terminated in self-defence.")
        .sample(&request_labels(["LIST", "", "pods", "namespace", "504"]), terminated.floor());
}

fn flow_control(page: &mut Page, view: &ClusterView<'_>) {
    let timeline = &view.timeline;
    let labels =
        |(schema, level, _): (&'static str, &'static str, f64)| [("flow_schema", schema), ("priority_level", level)];
    let help = "Requests rejected by API Priority and Fairness.";
    let mut family = page.family("apiserver_flowcontrol_rejected_requests_total", Counter, help);
    for level in PRIORITY_LEVELS {
        let [schema, level] = labels(level);
        family.sample(&[schema, level, ("reason", "queue-full")], timeline.work(refusal_rate).floor());
    }
    let help = "Concurrency (number of seats) occupied by the currently executing requests.";
    let mut family = page.family("apiserver_flowcontrol_current_executing_seats", Gauge, help);
    let crowd = if view.conditions().apiserver_slow { 20.0 } else { 1.0 };
    for level in PRIORITY_LEVELS {
        family.sample(&labels(level), (level.2 * crowd * timeline.load()).ceil());
    }
    let help = "Length of time a request spent waiting in its queue.";
    let mut family = page.family("apiserver_flowcontrol_request_wait_duration_seconds", HistogramKind, help);
    for level in PRIORITY_LEVELS {
        let rate = view.request_rate() * 0.4;
        let wait = |c: &Conditions| Latency::new(0.001).slower(if c.apiserver_slow { 2000.0 } else { 1.0 });
        let waited = Histogram::observed(timeline, WAIT_BOUNDS, |_| rate, wait);
        let [schema, level] = labels(level);
        family.histogram(&[("execute", "true"), schema, level], &waited);
    }
}

fn objects(page: &mut Page, view: &ClusterView<'_>) {
    let (nodes, pods) = (view.nodes() as f64, (view.nodes() * view.pods_per_node()) as f64);
    page.family(
        "apiserver_storage_objects",
        Gauge,
        "Number of stored objects at the time of last check split by kind.",
    )
    .sample(&[("resource", "pods")], pods)
    .sample(&[("resource", "nodes")], nodes)
    .sample(&[("resource", "leases.coordination.k8s.io")], nodes + 2.0)
    .sample(&[("resource", "deployments.apps")], view.deployments().len() as f64)
    .sample(&[("resource", "events")], (pods * 4.0 * view.timeline.load()).round());
}

fn certificates(page: &mut Page, view: &ClusterView<'_>) {
    let help = "Distribution of the remaining lifetime on the certificate used to authenticate a request.";
    let days = 86_400.0;
    let usual = Latency { median: 200.0 * days, steepness: 12.0 };
    let expiring = Latency { median: 3.0 * days, steepness: 12.0 };
    let lifetime = |c: &Conditions| if c.certificate_expiring { expiring } else { usual };
    let rate = view.request_rate() * 0.5;
    let seen = Histogram::observed(&view.timeline, CERTIFICATE_BOUNDS, |_| rate, lifetime);
    page.family("apiserver_client_certificate_expiration_seconds", HistogramKind, help).histogram(&[], &seen);
}
