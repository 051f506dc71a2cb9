//! kube-state-metrics: nodes, pods and deployments as the API server knows them.

use model::MetricKind::Gauge;

use crate::cluster::{ALLOCATABLE_SHARE, ClusterView, NODE_CPUS, NODE_MEMORY_BYTES, Pod, node_names};
use crate::text::Page;

const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];
const STATUSES: [&str; 3] = ["true", "false", "unknown"];

pub(super) fn write(page: &mut Page, view: &ClusterView<'_>) {
    let (nodes, pods) = (node_names(view), view.pods().collect::<Vec<_>>());
    node_families(page, view, &nodes);
    pod_families(page, view, &nodes, &pods);
    deployments(page, view, &pods);
}

fn node_families(page: &mut Page, view: &ClusterView<'_>, nodes: &[String]) {
    let mut family = page.family("kube_node_info", Gauge, "Information about a cluster node.");
    for node in nodes {
        family.sample(&[("kubelet_version", view.version().1), ("node", node), ("os_image", "Debian")], 1.0);
    }
    let mut family = page.family("kube_node_status_condition", Gauge, "The condition of a cluster node.");
    for (number, node) in nodes.iter().enumerate() {
        let pressure = view.conditions().is_node_under_pressure(number);
        for (condition, holds) in [("Ready", true), ("MemoryPressure", pressure), ("DiskPressure", false)] {
            // What the control plane does not hear of, it calls unknown.
            let truth = match (view.is_node_ready(number), holds) {
                (false, _) => "unknown",
                (true, true) => "true",
                (true, false) => "false",
            };
            for status in STATUSES {
                let labels = [("condition", condition), ("node", node), ("status", status)];
                family.sample(&labels, if status == truth { 1.0 } else { 0.0 });
            }
        }
    }
    let help = "The allocatable for different resources of a node that are available for scheduling.";
    let mut family = page.family("kube_node_status_allocatable", Gauge, help);
    for node in nodes {
        let resources = [
            ("cpu", "core", NODE_CPUS as f64 * ALLOCATABLE_SHARE),
            ("memory", "byte", (NODE_MEMORY_BYTES * ALLOCATABLE_SHARE).floor()),
            ("pods", "integer", view.pods_per_node() as f64 * 2.0),
        ];
        for (resource, unit, value) in resources {
            family.sample(&[("node", node), ("resource", resource), ("unit", unit)], value);
        }
    }
}

fn pod_families(page: &mut Page, view: &ClusterView<'_>, nodes: &[String], pods: &[Pod]) {
    let node_of = |pod: &Pod| if pod.is_pending { "" } else { nodes[pod.node].as_str() };
    let mut family = page.family("kube_pod_info", Gauge, "Information about pod.");
    for pod in pods {
        let [namespace, name, uid] = identity(pod);
        family.sample(&[("created_by_kind", "ReplicaSet"), namespace, ("node", node_of(pod)), name, uid], 1.0);
    }
    let mut family = page.family("kube_pod_status_phase", Gauge, "The pods current phase.");
    for pod in pods {
        let truth = if pod.is_pending { "Pending" } else { "Running" };
        let [namespace, name, uid] = identity(pod);
        for phase in PHASES {
            family.sample(&[namespace, ("phase", phase), name, uid], if phase == truth { 1.0 } else { 0.0 });
        }
    }
    let help = "The number of requested request resource by a container.";
    let mut family = page.family("kube_pod_container_resource_requests", Gauge, help);
    let (cpu, memory) = view.pod_requests();
    for pod in pods {
        let [namespace, name, uid] = identity(pod);
        let container = ("container", pod.deployment);
        for (resource, unit, value) in [("cpu", "core", cpu), ("memory", "byte", memory)] {
            let node = ("node", node_of(pod));
            family.sample(&[container, namespace, node, name, ("resource", resource), uid, ("unit", unit)], value);
        }
    }
}

fn identity(pod: &Pod) -> [(&'static str, &str); 3] {
    [("namespace", pod.namespace), ("pod", &pod.name), ("uid", &pod.uid)]
}

fn deployments(page: &mut Page, view: &ClusterView<'_>, pods: &[Pod]) {
    let replicas = |deployment: &str, counts: fn(&Pod) -> bool| {
        pods.iter().filter(|pod| pod.deployment == deployment && counts(pod)).count() as f64
    };
    let mut write = |name: &str, help: &str, counts: fn(&Pod) -> bool| {
        let mut family = page.family(name, Gauge, help);
        for (namespace, deployment) in view.deployments() {
            family.sample(&[("deployment", deployment), ("namespace", namespace)], replicas(deployment, counts));
        }
    };
    write("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", |_| true);
    let available = "kube_deployment_status_replicas_available";
    write(available, "The number of available replicas per deployment.", |pod| !pod.is_pending);
    let unavailable = "kube_deployment_status_replicas_unavailable";
    write(unavailable, "The number of unavailable replicas per deployment.", |pod| pod.is_pending);
}
