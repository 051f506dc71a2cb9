//! Who is in the fleet, by name and by number, and which targets that makes.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::config::FleetConfig;

/// What is scraped; its name is the `job` label, the last part of the path, and the `component` of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// The API server.
    KubeApiserver,
    /// The controller manager.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// kube-state-metrics.
    KubeStateMetrics,
    /// etcd, the member that leads.
    Etcd,
    /// cAdvisor, one per node.
    Cadvisor,
    /// node_exporter, one per node.
    NodeExporter,
}

impl Component {
    /// Every component, those of a whole cluster first.
    pub const ALL: [Self; 7] = [
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::KubeStateMetrics,
        Self::Etcd,
        Self::Cadvisor,
        Self::NodeExporter,
    ];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::KubeStateMetrics => "kube-state-metrics",
            Self::Etcd => "etcd",
            Self::Cadvisor => "cadvisor",
            Self::NodeExporter => "node-exporter",
        }
    }

    /// The component of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == name)
    }

    /// True where every node has one of its own.
    pub fn is_per_node(self) -> bool {
        matches!(self, Self::Cadvisor | Self::NodeExporter)
    }

    /// The port that the real one listens on; part of the `instance` label.
    fn port(self) -> u16 {
        match self {
            Self::KubeApiserver => 6443,
            Self::KubeControllerManager => 10257,
            Self::KubeScheduler => 10259,
            Self::KubeStateMetrics => 8080,
            Self::Etcd => 2381,
            Self::Cadvisor => 10250,
            Self::NodeExporter => 9100,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A cell: its name and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metacluster {
    /// `cell-01` and so on, counted over the whole fleet.
    pub name: String,
    /// The region that holds it.
    pub region: String,
}

/// One cluster. Number 0 is the metacluster itself, customer clusters count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClusterRef {
    pub(crate) metacluster: usize,
    pub(crate) cluster: usize,
}

/// One thing to scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    pub(crate) cluster: ClusterRef,
    pub(crate) component: Component,
    /// Counted from 0; `None` for components of a whole cluster.
    pub(crate) node: Option<usize>,
}

/// One entry of a Prometheus file_sd document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetGroup {
    /// Addresses, here always the one of the simulator.
    pub targets: Vec<String>,
    /// Labels, `__metrics_path__` among them.
    pub labels: BTreeMap<String, String>,
}

/// Names and numbers of everything in the fleet.
#[derive(Debug)]
pub(crate) struct Topology {
    pub(crate) metaclusters: Vec<Metacluster>,
    regions: usize,
    clusters: usize,
    nodes: usize,
}

impl Topology {
    pub(crate) fn new(config: &FleetConfig) -> Self {
        let regions = config.regions.iter().flat_map(|r| std::iter::repeat_n(r, config.metaclusters_per_region));
        let metaclusters = regions
            .enumerate()
            .map(|(at, region)| Metacluster { name: format!("cell-{:02}", at + 1), region: region.clone() })
            .collect();
        Self {
            metaclusters,
            regions: config.regions.len(),
            clusters: config.clusters_per_metacluster,
            nodes: config.nodes_per_cluster,
        }
    }

    pub(crate) fn metacluster(&self, name: &str) -> Option<usize> {
        self.metaclusters.iter().position(|m| m.name == name)
    }

    /// Where in the day a metacluster's region is, from 0 to 1.
    pub(crate) fn longitude(&self, metacluster: usize) -> f64 {
        let per_region = self.metaclusters.len() / self.regions;
        (metacluster / per_region) as f64 / self.regions as f64
    }

    /// Cluster names are unique in the whole fleet, as cluster ids are; the metacluster's own cluster has its name.
    pub(crate) fn cluster_name(&self, cluster: ClusterRef) -> String {
        match cluster.cluster {
            0 => self.metaclusters[cluster.metacluster].name.clone(),
            number => format!("c-{:04}", cluster.metacluster * self.clusters + number),
        }
    }

    pub(crate) fn cluster(&self, metacluster: usize, name: &str) -> Option<ClusterRef> {
        let first = metacluster * self.clusters;
        let number = match name.strip_prefix("c-") {
            Some(digits) => {
                digits.parse::<usize>().ok()?.checked_sub(first).filter(|n| (1..=self.clusters).contains(n))?
            }
            None => 0,
        };
        let found = ClusterRef { metacluster, cluster: number };
        // Only the one notation that cluster_name writes: "c-1" and "c-+001" are no names.
        (self.cluster_name(found) == name).then_some(found)
    }

    pub(crate) fn node(&self, name: &str) -> Option<usize> {
        let number: usize = name.strip_prefix("node-")?.parse().ok()?;
        (1..=self.nodes).contains(&number).then(|| number - 1).filter(|&n| node_name(n) == name)
    }

    /// The clusters of a metacluster, its own first.
    pub(crate) fn clusters(&self, metacluster: usize) -> impl Iterator<Item = ClusterRef> + use<> {
        (0..=self.clusters).map(move |cluster| ClusterRef { metacluster, cluster })
    }

    /// A short sentence of the clusters there are.
    pub(crate) fn describe_clusters(&self, metacluster: usize) -> String {
        let name = &self.metaclusters[metacluster].name;
        match self.clusters {
            0 => format!("{name} holds only itself"),
            count => {
                let at = |cluster| self.cluster_name(ClusterRef { metacluster, cluster });
                format!("{name} holds {} to {}, and itself as {name}", at(1), at(count))
            }
        }
    }

    /// A short sentence of the metaclusters there are.
    pub(crate) fn describe_metaclusters(&self) -> String {
        match (self.metaclusters.first(), self.metaclusters.last()) {
            (Some(first), Some(last)) => format!("there are {} to {}", first.name, last.name),
            _ => "there are none".to_owned(),
        }
    }

    /// A short sentence of the nodes there are.
    pub(crate) fn describe_nodes(&self) -> String {
        format!("every cluster has {} to {}", node_name(0), node_name(self.nodes - 1))
    }

    pub(crate) fn targets(&self, cluster: ClusterRef) -> impl Iterator<Item = Target> + use<> {
        let nodes = self.nodes;
        Component::ALL.into_iter().flat_map(move |component| {
            let nodes = if component.is_per_node() { nodes } else { 1 };
            let node = move |n| component.is_per_node().then_some(n);
            (0..nodes).map(move |n| Target { cluster, component, node: node(n) })
        })
    }

    pub(crate) fn path(&self, target: &Target) -> String {
        let metacluster = &self.metaclusters[target.cluster.metacluster].name;
        let cluster = self.cluster_name(target.cluster);
        let component = target.component;
        match target.node {
            Some(n) => format!("/metacluster/{metacluster}/cluster/{cluster}/node/{}/{component}", node_name(n)),
            None => format!("/metacluster/{metacluster}/cluster/{cluster}/{component}"),
        }
    }

    /// The labels that a target's series get at the edge. Region and metacluster are not among them.
    pub(crate) fn labels(&self, target: &Target) -> BTreeMap<String, String> {
        let cluster = self.cluster_name(target.cluster);
        let port = target.component.port();
        let mut labels = BTreeMap::from([
            ("__metrics_path__".to_owned(), self.path(target)),
            ("job".to_owned(), target.component.to_string()),
        ]);
        match target.node {
            Some(n) => {
                labels.insert("node".to_owned(), node_name(n));
                labels.insert("instance".to_owned(), format!("{}.{cluster}:{port}", node_name(n)));
            }
            None => {
                labels.insert("instance".to_owned(), format!("{cluster}:{port}"));
            }
        }
        labels.insert("cluster".to_owned(), cluster);
        labels
    }
}

/// `node-1` and so on.
pub(crate) fn node_name(node: usize) -> String {
    format!("node-{}", node + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        let topology = Topology::new(&FleetConfig::default());
        assert_eq!(topology.metaclusters.len(), 6);
        let mut seen = std::collections::BTreeSet::new();
        for metacluster in 0..6 {
            for cluster in topology.clusters(metacluster) {
                let name = topology.cluster_name(cluster);
                assert_eq!(topology.cluster(metacluster, &name), Some(cluster), "{name}");
                assert!(seen.insert(name));
            }
        }
        assert_eq!(seen.len(), 66);
        for (metacluster, name) in [(0, "c-0011"), (0, "c-1"), (1, "c-0001"), (0, "cell-02"), (0, ""), (0, "c-+001")] {
            assert_eq!(topology.cluster(metacluster, name), None, "{name}");
        }
        assert_eq!(topology.node("node-3"), Some(2));
        for name in ["node-0", "node-4", "node-01", "node-", "3"] {
            assert_eq!(topology.node(name), None, "{name}");
        }
    }

    #[test]
    fn targets_have_paths_and_labels_of_their_own() {
        let topology = Topology::new(&FleetConfig::default());
        let cluster = ClusterRef { metacluster: 0, cluster: 1 };
        let targets: Vec<_> = topology.targets(cluster).collect();
        assert_eq!(targets.len(), 5 + 2 * 3);
        assert_eq!(topology.path(&targets[0]), "/metacluster/cell-01/cluster/c-0001/kube-apiserver");
        let labels = topology.labels(&targets[10]);
        assert_eq!(labels["__metrics_path__"], "/metacluster/cell-01/cluster/c-0001/node/node-3/node-exporter");
        assert_eq!(labels["instance"], "node-3.c-0001:9100");
        assert_eq!(labels["node"], "node-3");
        assert!(!labels.contains_key("metacluster") && !labels.contains_key("region"));
    }

    #[test]
    fn regions_are_spread_around_the_globe() {
        let topology = Topology::new(&FleetConfig::default());
        let longitudes: Vec<_> = (0..6).map(|m| (topology.longitude(m) * 3.0).round()).collect();
        assert_eq!(longitudes, [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    }
}
