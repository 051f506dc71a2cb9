//! cAdvisor: what the containers of one node use.

use model::MetricKind::{Counter, Gauge};

use crate::cluster::{ClusterView, Pod};
use crate::text::{Family, Page};

pub(super) fn write(page: &mut Page, view: &ClusterView<'_>, node: usize) {
    let timeline = &view.timeline;
    let pods: Vec<(Pod, String)> = view
        .pods_of_node(node)
        .filter(|pod| !pod.is_pending)
        .map(|pod| {
            let id = format!("/kubepods/burstable/pod{}", pod.uid);
            (pod, id)
        })
        .collect();
    let mut family =
        page.family("container_cpu_usage_seconds_total", Counter, "Cumulative cpu time consumed in seconds.");
    for (pod, id) in &pods {
        let rate = view.pod_cpu(pod);
        let [container, id, namespace, name] = container_labels(pod, id);
        let used = timeline.work_since(pod.created, |_| rate);
        family.fraction(&[container, ("cpu", "total"), id, namespace, name], used);
    }
    let mut family = page.family("container_memory_working_set_bytes", Gauge, "Current working set in bytes.");
    for (pod, id) in &pods {
        family.sample(&container_labels(pod, id), view.pod_memory_bytes(pod).floor());
    }
    let received = page.family("container_network_receive_bytes_total", Counter, "Cumulative count of bytes received.");
    network(received, view, &pods, |traffic| traffic.0);
    let sent = page.family("container_network_transmit_bytes_total", Counter, "Cumulative count of bytes transmitted.");
    network(sent, view, &pods, |traffic| traffic.1);
}

/// The network of a pod belongs to none of its containers.
fn network(mut family: Family<'_>, view: &ClusterView<'_>, pods: &[(Pod, String)], direction: fn((f64, f64)) -> f64) {
    for (pod, id) in pods {
        let rate = direction(view.pod_traffic(pod));
        let bytes = view.timeline.work_since(pod.created, |_| rate).floor();
        let [_, id, namespace, pod] = container_labels(pod, id);
        family.sample(&[id, ("interface", "eth0"), namespace, pod], bytes);
    }
}

fn container_labels<'a>(pod: &'a Pod, id: &'a str) -> [(&'static str, &'a str); 4] {
    [("container", pod.deployment), ("id", id), ("namespace", pod.namespace), ("pod", &pod.name)]
}
