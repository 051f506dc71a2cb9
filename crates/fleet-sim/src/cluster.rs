//! One cluster at one time: what its components agree on. Pages read from here instead of inventing values.

use crate::config::FleetConfig;
use crate::shape::{Shape, mix, unit};
use crate::timeline::{Conditions, Timeline};
use crate::topology::node_name;

/// Processors of every node.
pub(crate) const NODE_CPUS: usize = 2;
/// Memory of every node.
pub(crate) const NODE_MEMORY_BYTES: f64 = 8.0 * 1024.0 * 1024.0 * 1024.0;
/// What the kubelet gives to pods, of processors and of memory.
pub(crate) const ALLOCATABLE_SHARE: f64 = 0.95;
/// How much of that the pods of a node request together.
const REQUESTED_SHARE: f64 = 0.6;
/// How much of what a node does is done by its pods.
const POD_SHARE: f64 = 0.85;

/// Namespace and name of the deployments; pods are dealt to them in turn.
const DEPLOYMENTS: [(&str, &str); 6] = [
    ("shop", "web"),
    ("shop", "cart"),
    ("finance", "billing"),
    ("finance", "ledger"),
    ("data", "ingest"),
    ("data", "search"),
];

/// A cluster, seen from one of its targets.
#[derive(Debug)]
pub(crate) struct ClusterView<'a> {
    config: &'a FleetConfig,
    /// The seed of this cluster.
    seed: u64,
    /// The past of the target.
    pub(crate) timeline: Timeline,
}

/// A pod: a place in the cluster that one pod after another occupies.
#[derive(Debug)]
pub(crate) struct Pod {
    slot: usize,
    /// When it was created, in seconds since the counters were zero.
    pub(crate) created: f64,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) namespace: &'static str,
    /// The name of its deployment and of its container.
    pub(crate) deployment: &'static str,
    /// Where it runs or would run.
    pub(crate) node: usize,
    pub(crate) is_pending: bool,
}

impl<'a> ClusterView<'a> {
    pub(crate) fn new(config: &'a FleetConfig, seed: u64, timeline: Timeline) -> Self {
        Self { config, seed, timeline }
    }

    /// What is wrong now.
    pub(crate) fn conditions(&self) -> &Conditions {
        &self.timeline.conditions
    }

    pub(crate) fn nodes(&self) -> usize {
        self.config.nodes_per_cluster
    }

    pub(crate) fn pods_per_node(&self) -> usize {
        self.config.pods_per_node
    }

    /// A number from 0 to 1 that belongs to this cluster and to `what`, and never changes.
    pub(crate) fn noise(&self, what: &[u64]) -> f64 {
        unit(&[self.seed, mix(what)])
    }

    /// Requests per second to the API server at load 1, those of kubelets first.
    pub(crate) fn request_rate(&self) -> f64 {
        (6.0 + 1.5 * self.nodes() as f64) * (0.8 + 0.4 * self.noise(&[1]))
    }

    /// Pods and jobs started per second at load 1.
    pub(crate) fn scheduling_rate(&self) -> f64 {
        0.05 * self.nodes() as f64 + self.config.pods_replaced_per_minute / 60.0
    }

    /// Every pod of the cluster.
    pub(crate) fn pods(&self) -> impl Iterator<Item = Pod> + '_ {
        (0..self.nodes() * self.pods_per_node()).map(|slot| self.pod(slot))
    }

    /// The pods of one node.
    pub(crate) fn pods_of_node(&self, node: usize) -> impl Iterator<Item = Pod> + '_ {
        (0..self.pods_per_node()).map(move |row| self.pod(row * self.nodes() + node))
    }

    fn pod(&self, slot: usize) -> Pod {
        let (generation, created) = self.generation(slot);
        let (row, node) = (slot / self.nodes(), slot % self.nodes());
        // Shifted from row to row: a deployment must not live on one node.
        let number = (slot + row) % self.deployments().len();
        let (namespace, deployment) = self.deployments()[number];
        let identity = mix(&[self.seed, slot as u64, generation]);
        let replica_set = mix(&[self.seed, number as u64, 7]);
        let conditions = self.conditions();
        Pod {
            slot,
            created,
            name: format!("{deployment}-{:09x}-{:05x}", replica_set >> 28, identity & 0xf_ffff),
            uid: uid(identity),
            namespace,
            deployment,
            node,
            is_pending: conditions.is_node_down(node) || (conditions.scheduling_stuck && row.is_multiple_of(3)),
        }
    }

    /// Which pod occupies a slot, counted from 0, and since when. Slots take turns, so that replacements are spread
    /// evenly over time.
    fn generation(&self, slot: usize) -> (u64, f64) {
        let slots = (self.nodes() * self.pods_per_node()) as f64;
        let life = slots * 60.0 / self.config.pods_replaced_per_minute;
        if !life.is_finite() {
            return (0, 0.0);
        }
        let offset = life * (slot as f64 + self.noise(&[2])) / slots;
        let generation = ((self.timeline.now + offset) / life).floor().max(0.0);
        (generation as u64, (generation * life - offset).max(0.0))
    }

    /// The deployments of this cluster: one for about every four pods.
    pub(crate) fn deployments(&self) -> &'static [(&'static str, &'static str)] {
        let slots = self.nodes() * self.pods_per_node();
        &DEPLOYMENTS[..slots.div_ceil(4).min(DEPLOYMENTS.len())]
    }

    /// The share of a node's processors that is busy at load 1.
    pub(crate) fn busy_share(&self, node: usize) -> f64 {
        0.2 + 0.25 * self.noise(&[3, node as u64])
    }

    /// Processors that a pod uses at load 1.
    pub(crate) fn pod_cpu(&self, pod: &Pod) -> f64 {
        self.busy_share(pod.node) * NODE_CPUS as f64 * POD_SHARE * self.share_of_node(pod.slot)
    }

    /// The share of a node's memory that is used now.
    pub(crate) fn memory_share(&self, node: usize) -> f64 {
        if self.conditions().is_node_under_pressure(node) {
            return 0.97;
        }
        (0.35 + 0.2 * self.noise(&[4, node as u64])) * (0.85 + 0.15 * self.timeline.load())
    }

    /// Bytes that a pod has in memory now.
    pub(crate) fn pod_memory_bytes(&self, pod: &Pod) -> f64 {
        self.memory_share(pod.node) * NODE_MEMORY_BYTES * POD_SHARE * self.share_of_node(pod.slot)
    }

    /// Bytes per second over a node's network at load 1: received, sent.
    pub(crate) fn node_traffic(&self, node: usize) -> (f64, f64) {
        let received = 2e5 + 8e5 * self.noise(&[5, node as u64]);
        (received, received * 0.7)
    }

    /// Bytes per second over a pod's network at load 1: received, sent.
    pub(crate) fn pod_traffic(&self, pod: &Pod) -> (f64, f64) {
        let (received, sent) = self.node_traffic(pod.node);
        let share = POD_SHARE * self.share_of_node(pod.slot);
        (received * share, sent * share)
    }

    /// A pod's part of what the pods of its node do; neighbouring rows even each other out, so that the parts of a node
    /// add up to at most 1.
    fn share_of_node(&self, slot: usize) -> f64 {
        let row = slot / self.nodes();
        let swing = 0.8 * self.noise(&[6, (row / 2) as u64]) - 0.4;
        let is_last_alone = row.is_multiple_of(2) && row + 1 == self.pods_per_node();
        let swing = if is_last_alone { 0.0 } else { swing };
        (if row.is_multiple_of(2) { 1.0 + swing } else { 1.0 - swing }) / self.pods_per_node() as f64
    }

    /// What every pod requests: processors in whole thousandths, memory in whole mebibytes.
    pub(crate) fn pod_requests(&self) -> (f64, f64) {
        let part = ALLOCATABLE_SHARE * REQUESTED_SHARE / self.pods_per_node() as f64;
        let mebibyte = 1024.0 * 1024.0;
        ((NODE_CPUS as f64 * part * 1000.0).floor() / 1000.0, (NODE_MEMORY_BYTES * part / mebibyte).floor() * mebibyte)
    }

    /// Nodes that report to the API server.
    pub(crate) fn is_node_ready(&self, node: usize) -> bool {
        !self.conditions().is_node_down(node)
    }

    /// The version of Kubernetes that the cluster runs.
    pub(crate) fn version(&self) -> (&'static str, &'static str) {
        let versions = [("33", "v1.33.6"), ("34", "v1.34.2"), ("34", "v1.34.3")];
        versions[(self.noise(&[8]) * versions.len() as f64) as usize % versions.len()]
    }
}

/// A UUID with the version and variant bits of a random one.
fn uid(identity: u64) -> String {
    let more = mix(&[identity, 9]);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        identity >> 32,
        (identity >> 16) & 0xffff,
        identity & 0xfff,
        0x8000 | (more >> 50),
        more & 0xffff_ffff_ffff
    )
}

/// The seed of one cluster of a fleet.
pub(crate) fn cluster_seed(seed: u64, metacluster: usize, cluster: usize) -> u64 {
    mix(&[seed, metacluster as u64, cluster as u64])
}

/// The load of a cluster: the day of its region, and waves of its own.
pub(crate) fn cluster_shape(seed: u64, longitude: f64) -> Shape {
    let day = crate::shape::DAY_SECONDS;
    let morning = 8.0 * 3600.0 + 1800.0 * unit(&[seed, 10]);
    Shape::new(morning + longitude * day, 1300.0 * unit(&[seed, 11]))
}

/// The names of a cluster's nodes.
pub(crate) fn node_names(view: &ClusterView<'_>) -> Vec<String> {
    (0..view.nodes()).map(node_name).collect()
}
