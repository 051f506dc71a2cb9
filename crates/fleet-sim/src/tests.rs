//! The fleet as a scraper sees it: pages against each other, over time, and under faults.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use model::TimestampMs;
use proptest::prelude::*;
use tower::ServiceExt;

use crate::topology::Component;
use crate::{CONTENT_TYPE, FaultKind, FaultRequest, Fleet, FleetConfig, PageError, Target};

/// A Tuesday in November 2026.
const NOW: TimestampMs = TimestampMs(1_795_000_000_000);
const MINUTE_MS: i64 = 60_000;

fn fleet() -> Fleet {
    Fleet::new(FleetConfig::default()).expect("the default is valid")
}

fn target(fleet: &Fleet, component: &str) -> Target {
    let node = Component::from_name(component).expect("a component").is_per_node().then_some("node-1");
    fleet.target("cell-01", "c-0001", node, component).expect("there is one")
}

/// The samples of a page by what stands before the value.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

fn samples(fleet: &Fleet, component: &str, now: TimestampMs) -> BTreeMap<String, f64> {
    parse(&fleet.page(&target(fleet, component), now).expect("reachable"))
}

/// The sum of the samples whose series begins with `name` and contains every part.
fn sum(samples: &BTreeMap<String, f64>, name: &str, parts: &[&str]) -> f64 {
    let matching = samples.iter().filter(|(series, _)| {
        series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
            && parts.iter().all(|part| series.contains(part))
    });
    let mut found = matching.map(|(_, value)| *value).peekable();
    assert!(found.peek().is_some(), "no {name} with {parts:?}");
    found.sum()
}

fn inject(fleet: &Fleet, kind: FaultKind, now: TimestampMs) -> String {
    let needs = |field: &str, value: &str| kind.required_fields().contains(&field).then(|| value.to_owned());
    let request = FaultRequest {
        kind: kind.as_str().to_owned(),
        metacluster: "cell-01".to_owned(),
        cluster: needs("cluster", "c-0001"),
        node: needs("node", "node-1"),
        component: needs("component", "kube-scheduler"),
        ..FaultRequest::default()
    };
    fleet.inject(&request, || now).expect("a valid fault").id
}

#[test]
fn every_name_of_the_facts_is_there() {
    let histograms = [
        "apiserver_request_sli_duration_seconds",
        "apiserver_flowcontrol_request_wait_duration_seconds",
        "apiserver_client_certificate_expiration_seconds",
        "scheduler_scheduling_attempt_duration_seconds",
        "scheduler_pod_scheduling_sli_duration_seconds",
        "workqueue_queue_duration_seconds",
        "etcd_disk_wal_fsync_duration_seconds",
        "etcd_disk_backend_commit_duration_seconds",
        "etcd_network_peer_round_trip_time_seconds",
    ];
    let plain = "apiserver_request_total apiserver_request_terminations_total apiserver_current_inflight_requests
        apiserver_flowcontrol_rejected_requests_total apiserver_flowcontrol_current_executing_seats
        apiserver_storage_objects scheduler_pending_pods scheduler_schedule_attempts_total workqueue_depth
        workqueue_adds_total rest_client_requests_total etcd_server_has_leader etcd_server_leader_changes_seen_total
        etcd_server_proposals_failed_total etcd_server_quota_backend_bytes etcd_mvcc_db_total_size_in_bytes
        etcd_mvcc_db_total_size_in_use_in_bytes kube_node_status_condition kube_node_status_allocatable
        kube_pod_status_phase kube_pod_container_resource_requests kube_deployment_status_replicas_available
        kube_deployment_status_replicas_unavailable container_cpu_usage_seconds_total
        container_memory_working_set_bytes container_network_receive_bytes_total
        container_network_transmit_bytes_total node_cpu_seconds_total node_memory_MemAvailable_bytes
        node_memory_MemTotal_bytes node_filesystem_avail_bytes node_filesystem_size_bytes
        node_network_receive_bytes_total node_network_transmit_bytes_total node_disk_io_time_seconds_total";
    let fleet = fleet();
    let mut all = BTreeMap::new();
    for component in Component::ALL {
        all.extend(samples(&fleet, component.as_str(), NOW));
    }
    for name in plain.split_whitespace() {
        sum(&all, name, &[]);
    }
    for name in histograms {
        for suffix in ["_bucket", "_sum", "_count"] {
            sum(&all, &format!("{name}{suffix}"), &[]);
        }
    }
}

#[test]
fn a_cluster_has_as_many_series_as_the_demo_can_carry() {
    let fleet = fleet();
    let of_cluster = |t: &&Target| fleet.path(t).contains("/c-0001/");
    let targets = fleet.targets("cell-01");
    let pages = targets.iter().filter(of_cluster).map(|t| fleet.page(t, NOW).expect("reachable"));
    let series: usize = pages.map(|page| parse(&page).len()).sum();
    assert!((300..=500).contains(&series), "{series}");
}

/// Every bucket counts at least what the one before counts, the last one counts everything, and the sum lies between
/// what the buckets allow.
fn assert_histograms_are_coherent(page: &str) {
    let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let samples = parse(page);
    for (series, count) in &samples {
        let Some((name, rest)) = series.split_once("_bucket{") else { continue };
        let (labels, bound) = rest.rsplit_once("le=\"").expect("a bound");
        let labels = labels.trim_end_matches(',');
        let bound = bound.trim_end_matches("\"}").parse().expect("a number");
        let key =
            |suffix| if labels.is_empty() { format!("{name}{suffix}") } else { format!("{name}{suffix}{{{labels}}}") };
        buckets.entry(format!("{} {}", key("_count"), key("_sum"))).or_default().push((bound, *count));
    }
    for (names, mut series) in buckets {
        series.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (count, total) = names.split_once(' ').expect("two names");
        let (mut previous, mut least, mut most) = ((0.0, 0.0), 0.0, 0.0);
        for (bound, cumulative) in &series {
            assert!(*cumulative >= previous.1, "{names} at {bound}");
            least += previous.0 * (cumulative - previous.1);
            most += if *bound == f64::INFINITY { previous.0 * 1e4 } else { *bound } * (cumulative - previous.1);
            previous = (*bound, *cumulative);
        }
        assert_eq!(previous, (f64::INFINITY, samples[count]), "{count}");
        assert!(least <= samples[total] * 1.001 + 1.0, "{total}: {least} {}", samples[total]);
        assert!(most >= samples[total] * 0.999 - 1.0, "{total}: {most} {}", samples[total]);
    }
}

#[test]
fn what_a_bucket_gains_the_next_one_gains_too() {
    let fleet = fleet();
    for seconds in 1..50 {
        let (before, after) = (NOW, NOW + seconds * 1700);
        let gained = |bound: &str| {
            let parts = ["PUT", &format!("le=\"{bound}\"")];
            let count = |now| {
                sum(&samples(&fleet, "kube-apiserver", now), "apiserver_request_sli_duration_seconds_bucket", &parts)
            };
            count(after) - count(before)
        };
        let gains: Vec<f64> = ["0.1", "0.4", "1", "5", "30", "+Inf"].map(gained).into();
        assert!(gains.is_sorted(), "{gains:?}");
    }
}

#[test]
fn requests_by_code_and_by_duration_are_the_same_requests() {
    let fleet = fleet();
    inject(&fleet, FaultKind::ApiserverErrors, NOW);
    let page = samples(&fleet, "kube-apiserver", NOW + 5 * MINUTE_MS);
    for (verb, resource, codes) in [("GET", "pods", ["200", "500"]), ("PATCH", "nodes", ["200", "503"])] {
        let labels = [format!("resource=\"{resource}\""), format!("verb=\"{verb}\"")];
        let labels = [labels[0].as_str(), labels[1].as_str()];
        let by_code: f64 = codes
            .iter()
            .map(|code| sum(&page, "apiserver_request_total", &[labels[0], labels[1], &format!("code=\"{code}\"")]))
            .sum();
        assert_eq!(sum(&page, "apiserver_request_sli_duration_seconds_count", &labels), by_code, "{verb}");
    }
}

#[test]
fn pages_agree_with_each_other() {
    let fleet = fleet();
    for fault in [None, Some(FaultKind::NodeDown), Some(FaultKind::SchedulingStuck)] {
        let id = fault.map(|kind| inject(&fleet, kind, NOW));
        let now = NOW + MINUTE_MS;
        let (state, scheduler) = (samples(&fleet, "kube-state-metrics", now), samples(&fleet, "kube-scheduler", now));
        let pods = sum(&state, "kube_pod_info", &[]);
        assert_eq!(pods, 12.0);
        assert_eq!(sum(&state, "kube_pod_status_phase", &[]), pods);
        let pending = sum(&state, "kube_pod_status_phase", &["phase=\"Pending\""]);
        assert_eq!(pending > 0.0, fault.is_some());
        assert_eq!(sum(&scheduler, "scheduler_pending_pods", &[]), pending);
        assert_eq!(sum(&state, "kube_deployment_status_replicas_unavailable", &[]), pending);
        assert_eq!(sum(&state, "kube_deployment_status_replicas_available", &[]), pods - pending);
        for resource in ["cpu", "memory"] {
            let resource = format!("resource=\"{resource}\"");
            let requested = sum(&state, "kube_pod_container_resource_requests", &[&resource]);
            let share = requested / sum(&state, "kube_node_status_allocatable", &[&resource]);
            assert!((0.5..0.65).contains(&share), "{resource} {share}");
        }
        id.map(|id| fleet.lift(&id, || now).expect("known"));
    }
    let etcd = samples(&fleet, "etcd", NOW);
    let (size, in_use) = ("etcd_mvcc_db_total_size_in_bytes", "etcd_mvcc_db_total_size_in_use_in_bytes");
    assert!(sum(&etcd, in_use, &[]) <= sum(&etcd, size, &[]));
    assert!(sum(&etcd, size, &[]) < sum(&etcd, "etcd_server_quota_backend_bytes", &[]));
}

#[test]
fn a_node_does_what_its_pods_do_and_a_little_more() {
    let fleet = fleet();
    let (node, pods) = (samples(&fleet, "node-exporter", NOW), samples(&fleet, "cadvisor", NOW));
    let later = (samples(&fleet, "node-exporter", NOW + MINUTE_MS), samples(&fleet, "cadvisor", NOW + MINUTE_MS));
    let cpu = |s: &_, mode: &str| sum(s, "node_cpu_seconds_total", &[mode]);
    let passed = cpu(&later.0, "") - cpu(&node, "");
    assert!((passed - 2.0 * 60.0).abs() < 1e-3, "{passed}");
    let busy = passed - (cpu(&later.0, "idle") - cpu(&node, "idle")) - (cpu(&later.0, "iowait") - cpu(&node, "iowait"));
    let of_pods: f64 = (later.1.iter())
        .filter(|(series, _)| series.starts_with("container_cpu_usage_seconds_total"))
        .map(|(series, seconds)| seconds - pods.get(series).copied().unwrap_or(0.0))
        .sum();
    assert!(of_pods > 0.5 * busy && of_pods < busy, "{of_pods} {busy}");
    let memory = |name| sum(&node, name, &[]);
    let used = memory("node_memory_MemTotal_bytes") - memory("node_memory_MemAvailable_bytes");
    let working_set = sum(&pods, "container_memory_working_set_bytes", &[]);
    assert!(working_set > 0.5 * used && working_set < used, "{working_set} {used}");
}

#[test]
fn load_follows_the_day() {
    let fleet = fleet();
    let requests = |hour: i64| {
        let at = TimestampMs(NOW.0 - NOW.0 % 86_400_000 + hour * 60 * MINUTE_MS);
        let count = |now| sum(&samples(&fleet, "kube-apiserver", now), "apiserver_request_total", &[]);
        count(at + 10 * MINUTE_MS) - count(at)
    };
    let (afternoon, night) = (requests(14), requests(2));
    assert!(afternoon > 2.0 * night, "{afternoon} {night}");
}

#[test]
fn pods_are_replaced_one_after_the_other() {
    let fleet = fleet();
    let uids = |now| -> std::collections::BTreeSet<String> {
        samples(&fleet, "kube-state-metrics", now).into_keys().filter(|s| s.starts_with("kube_pod_info")).collect()
    };
    let (before, after) = (uids(NOW), uids(NOW + 8 * MINUTE_MS));
    assert_eq!((before.len(), after.len()), (12, 12));
    let kept = before.intersection(&after).count();
    assert!((7..=9).contains(&kept), "0.5 a minute for 8 minutes leaves about 8 of 12, not {kept}");
    assert!(uids(NOW + 30 * MINUTE_MS).is_disjoint(&before));
    assert_eq!(uids(NOW), before, "the same time has the same pods");
}

/// What a fault does to one series: the component, the series, and the least factor between the minute before and the
/// minute after.
#[test]
fn faults_change_rates_from_their_start() {
    let cases: [(FaultKind, &str, &str, &[&str], f64); 7] = [
        (FaultKind::ApiserverErrors, "kube-apiserver", "apiserver_request_total", &["code=\"5"], 10.0),
        (FaultKind::EtcdDown, "kube-apiserver", "apiserver_request_total", &["code=\"5"], 10.0),
        (FaultKind::EtcdSlow, "etcd", "etcd_disk_wal_fsync_duration_seconds_sum", &[], 20.0),
        (FaultKind::EtcdSlow, "kube-apiserver", "apiserver_request_sli_duration_seconds_sum", &["PUT"], 20.0),
        (FaultKind::ApiserverSlow, "kube-apiserver", "apiserver_flowcontrol_rejected_requests_total", &[], 10.0),
        (FaultKind::NodeDown, "kube-scheduler", "scheduler_schedule_attempts_total", &["unschedulable"], 3.0),
        (
            FaultKind::CertificateExpiring,
            "kube-apiserver",
            "apiserver_client_certificate_expiration_seconds_bucket",
            &["le=\"604800\""],
            100.0,
        ),
    ];
    for (kind, component, name, parts, factor) in cases {
        let fleet = fleet();
        let value = |now| sum(&samples(&fleet, component, now), name, parts);
        let (before, start) = (value(NOW - 5 * MINUTE_MS), value(NOW));
        inject(&fleet, kind, NOW);
        let (at_start, after) = (value(NOW), value(NOW + 5 * MINUTE_MS));
        assert_eq!(start, at_start, "{kind:?} changes {name} only from now on");
        let (usual, faulty) = (start - before, after - at_start);
        assert!(faulty > factor * usual.max(0.1), "{kind:?} {name}: {usual} {faulty}");
    }
}

#[test]
fn faults_change_states() {
    type Case = (FaultKind, &'static str, &'static str, &'static [&'static str], f64, f64);
    let cases: [Case; 4] = [
        (
            FaultKind::NodeDown,
            "kube-state-metrics",
            "kube_node_status_condition",
            &["Ready", "node-1", "true"],
            1.0,
            0.0,
        ),
        (
            FaultKind::NodePressure,
            "kube-state-metrics",
            "kube_node_status_condition",
            &["MemoryP", "node-1", "true"],
            0.0,
            1.0,
        ),
        (FaultKind::SchedulingStuck, "kube-scheduler", "scheduler_pending_pods", &["unschedulable"], 0.0, 6.0),
        (FaultKind::EtcdFull, "etcd", "etcd_server_quota_backend_bytes", &[], 8_589_934_592.0, 8_589_934_592.0),
    ];
    for (kind, component, name, parts, before, during) in cases {
        let fleet = fleet();
        let value = |now| sum(&samples(&fleet, component, now), name, parts);
        assert_eq!(value(NOW), before, "{kind:?}");
        let id = inject(&fleet, kind, NOW);
        assert_eq!(value(NOW + 1000), during, "{kind:?}");
        fleet.lift(&id, || NOW + 2000).expect("known");
        assert_eq!(value(NOW + 2000), before, "{kind:?}");
    }
    let fleet = fleet();
    let filled = |now| {
        let etcd = samples(&fleet, "etcd", now);
        sum(&etcd, "etcd_mvcc_db_total_size_in_bytes", &[]) / sum(&etcd, "etcd_server_quota_backend_bytes", &[])
    };
    assert!(filled(NOW) < 0.2);
    inject(&fleet, FaultKind::EtcdFull, NOW);
    assert!((0.95..1.0).contains(&filled(NOW)));
}

#[test]
fn what_is_down_does_not_answer() {
    let cases: [(FaultKind, &[&str]); 4] = [
        (FaultKind::NodeDown, &["cadvisor", "node-exporter"]),
        (FaultKind::EtcdDown, &["etcd"]),
        (FaultKind::ComponentGone, &["kube-scheduler"]),
        (FaultKind::CellDark, &Component::ALL.map(Component::as_str)),
    ];
    for (kind, silent) in cases {
        let fleet = fleet();
        inject(&fleet, kind, NOW);
        for component in Component::ALL.map(Component::as_str) {
            let page = fleet.page(&target(&fleet, component), NOW);
            assert_eq!(
                matches!(page, Err(PageError::Unreachable(_))),
                silent.contains(&component),
                "{kind:?} {component}"
            );
        }
        let elsewhere = fleet.target("cell-02", "c-0011", None, "kube-scheduler").expect("there is one");
        assert!(fleet.page(&elsewhere, NOW).is_ok());
    }
}

/// True for series that only grow.
fn is_counter(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or(series);
    ["_total", "_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix))
}

/// Something that happens to the fleet, and how many milliseconds later the next page is asked for.
#[derive(Debug, Clone)]
enum Event {
    Nothing,
    Inject(usize, Option<f64>),
    Lift(usize),
}

fn events() -> impl Strategy<Value = Vec<(Event, i64)>> {
    let event = prop_oneof![
        Just(Event::Nothing),
        (0..FaultKind::ALL.len(), prop::option::of(0.5f64..100.0))
            .prop_map(|(kind, seconds)| Event::Inject(kind, seconds)),
        (0usize..8).prop_map(Event::Lift),
    ];
    prop::collection::vec((event, prop_oneof![1i64..50, 1000i64..100_000]), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn counters_never_fall(seed in any::<u64>(), events in events()) {
        let fleet = Fleet::new(FleetConfig { seed, ..FleetConfig::default() }).expect("valid");
        let mut now = NOW;
        let mut last: BTreeMap<(&str, String), f64> = BTreeMap::new();
        for (event, ms) in events {
            match event {
                Event::Nothing => {}
                Event::Inject(kind, duration_seconds) => {
                    let id = inject(&fleet, FaultKind::ALL[kind], now);
                    if let Some(seconds) = duration_seconds {
                        fleet.lift(&id, || now + (seconds * 1000.0) as i64).expect("known");
                    }
                }
                Event::Lift(at) => drop(fleet.lift(&format!("f-{}", at + 1), || now)),
            }
            for later in [now, now + ms] {
                for component in Component::ALL.map(Component::as_str) {
                    let Ok(page) = fleet.page(&target(&fleet, component), later) else { continue };
                    assert_histograms_are_coherent(&page);
                    for (series, value) in parse(&page).into_iter().filter(|(series, _)| is_counter(series)) {
                        let before = last.insert((component, series.clone()), value);
                        prop_assert!(before.is_none_or(|b| b <= value), "{series} fell from {before:?} to {value}");
                    }
                }
            }
            now = now + ms + 1;
        }
    }

    #[test]
    fn any_time_has_a_page(ms in any::<i64>()) {
        let fleet = fleet();
        for component in Component::ALL.map(Component::as_str) {
            let page = fleet.page(&target(&fleet, component), TimestampMs(ms)).expect("reachable");
            prop_assert!(parse(&page).values().all(|value| value.is_finite() && *value >= 0.0));
        }
    }
}

async fn call(fleet: &Fleet, method: &str, path: &str, body: &str) -> (StatusCode, String, String) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).expect("a request");
    let response = fleet.router().oneshot(request).await.expect("infallible");
    let content_type = response.headers().get("content-type").map(|v| v.to_str().expect("text").to_owned());
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, content_type.unwrap_or_default(), String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn every_target_of_file_sd_is_served() {
    let fleet = fleet();
    let groups = fleet.file_sd("cell-02", "127.0.0.1:1234");
    assert_eq!(groups.len(), 11 * 11);
    assert_eq!(groups[0].targets, ["127.0.0.1:1234"]);
    for group in groups {
        let (status, content_type, _) = call(&fleet, "GET", &group.labels["__metrics_path__"], "").await;
        assert_eq!((status, content_type.as_str()), (StatusCode::OK, CONTENT_TYPE));
    }
    assert!(fleet.file_sd("cell-99", "127.0.0.1:1234").is_empty());
}

#[tokio::test]
async fn faults_travel_over_http() {
    let fleet = fleet();
    let page = "/metacluster/cell-01/cluster/c-0001/etcd";
    let body = r#"{"kind":"etcd_down","metacluster":"cell-01","cluster":"c-0001","duration_seconds":3600}"#;
    let (status, _, answer) = call(&fleet, "POST", "/faults", body).await;
    assert_eq!(status, StatusCode::CREATED);
    let fault: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((&fault["id"], &fault["kind"], &fault["active"]), (&"f-1".into(), &"etcd_down".into(), &true.into()));
    assert_eq!(call(&fleet, "GET", page, "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let (_, _, list) = call(&fleet, "GET", "/faults", "").await;
    assert!(list.contains("\"id\":\"f-1\""), "{list}");
    assert_eq!(call(&fleet, "DELETE", "/faults/f-1", "").await.0, StatusCode::OK);
    assert_eq!(call(&fleet, "GET", page, "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let fleet = fleet();
    let cases = [
        ("POST", "/faults", "{", StatusCode::BAD_REQUEST, "not a fault"),
        (
            "POST",
            "/faults",
            r#"{"kind":"cell_dark","metacluster":"cell-01","x":1}"#,
            StatusCode::BAD_REQUEST,
            "unknown field `x`",
        ),
        ("POST", "/faults", r#"{"kind":"flood","metacluster":"cell-01"}"#, StatusCode::BAD_REQUEST, "node_down"),
        ("POST", "/faults", r#"{"kind":"cell_dark","metacluster":"m"}"#, StatusCode::BAD_REQUEST, "cell-01 to cell-06"),
        ("DELETE", "/faults/f-9", "", StatusCode::NOT_FOUND, "f-9"),
        ("GET", "/metacluster/cell-01/cluster/c-0099/etcd", "", StatusCode::NOT_FOUND, "c-0001 to c-0010"),
        ("GET", "/metacluster/cell-01/cluster/c-0001/cadvisor", "", StatusCode::NOT_FOUND, "kube-apiserver"),
        (
            "GET",
            "/metacluster/cell-01/cluster/c-0001/node/node-9/cadvisor",
            "",
            StatusCode::NOT_FOUND,
            "node-1 to node-3",
        ),
        ("GET", "/nowhere", "", StatusCode::NOT_FOUND, "GET /"),
    ];
    for (method, path, body, expected, part) in cases {
        let (status, _, answer) = call(&fleet, method, path, body).await;
        assert_eq!(status, expected, "{method} {path} {body}");
        assert!(answer.contains(part), "{method} {path} {body}: {answer}");
    }
    let (status, _, _) = call(&fleet, "POST", "/faults", &" ".repeat(100_000)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_front_page_lists_what_is_there() {
    let (status, _, body) = call(&fleet(), "GET", "/", "").await;
    assert_eq!(status, StatusCode::OK);
    let listing: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(listing["metaclusters"].as_array().map(Vec::len), Some(6));
    assert_eq!(listing["metaclusters"][1]["clusters"][1], "c-0011");
    assert_eq!(listing["fault_kinds"].as_array().map(Vec::len), Some(FaultKind::ALL.len()));
}
