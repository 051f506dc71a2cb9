//! The fleet: a configuration, its names, and the faults so far.

use std::sync::Arc;

use model::TimestampMs;
use parking_lot::RwLock;

use crate::cluster::{ClusterView, cluster_seed, cluster_shape};
use crate::config::{FleetConfig, FleetConfigError};
use crate::fault::{Fault, FaultError, FaultLog, FaultRequest};
use crate::pages;
use crate::timeline::Timeline;
use crate::topology::{ClusterRef, Component, Metacluster, Target, TargetGroup, Topology};

/// A simulated fleet; clones share their faults.
#[derive(Debug, Clone)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: FleetConfig,
    topology: Topology,
    faults: RwLock<FaultLog>,
}

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// No such target.
    #[error("unknown {field} {name:?}; {known}")]
    UnknownTarget {
        /// Which part of the path names it.
        field: &'static str,
        /// The name.
        name: String,
        /// What there is instead.
        known: String,
    },
    /// A fault keeps the target from answering.
    #[error("unreachable: {0}")]
    Unreachable(&'static str),
}

impl Fleet {
    /// Builds a fleet.
    ///
    /// # Errors
    /// A configuration that is out of bounds.
    pub fn new(config: FleetConfig) -> Result<Self, FleetConfigError> {
        config.validate()?;
        let topology = Topology::new(&config);
        Ok(Self(Arc::new(Inner { config, topology, faults: RwLock::default() })))
    }

    /// What the fleet was built from.
    pub fn config(&self) -> &FleetConfig {
        &self.0.config
    }

    /// The metaclusters, region by region.
    pub fn metaclusters(&self) -> &[Metacluster] {
        &self.0.topology.metaclusters
    }

    /// The names of a metacluster's clusters, its own first; none for an unknown one.
    pub fn clusters(&self, metacluster: &str) -> Vec<String> {
        let topology = &self.0.topology;
        let clusters = topology.metacluster(metacluster).map(|m| topology.clusters(m));
        clusters.into_iter().flatten().map(|c| topology.cluster_name(c)).collect()
    }

    /// The targets of a metacluster; none for an unknown one.
    pub fn targets(&self, metacluster: &str) -> Vec<Target> {
        let topology = &self.0.topology;
        let clusters = topology.metacluster(metacluster).map(|m| topology.clusters(m));
        clusters.into_iter().flatten().flat_map(|c| topology.targets(c)).collect()
    }

    /// The path under which [`Fleet::router`] serves a target.
    pub fn path(&self, target: &Target) -> String {
        self.0.topology.path(target)
    }

    /// The targets of a metacluster as a Prometheus file_sd document, all at one `address` (`host:port`) and told apart
    /// by `__metrics_path__`; empty for an unknown metacluster.
    pub fn file_sd(&self, metacluster: &str, address: &str) -> Vec<TargetGroup> {
        let group =
            |target: &Target| TargetGroup { targets: vec![address.to_owned()], labels: self.0.topology.labels(target) };
        self.targets(metacluster).iter().map(group).collect()
    }

    /// The target of that name.
    ///
    /// # Errors
    /// [`PageError::UnknownTarget`], naming what there is.
    pub fn target(
        &self,
        metacluster: &str,
        cluster: &str,
        node: Option<&str>,
        component: &str,
    ) -> Result<Target, PageError> {
        let topology = &self.0.topology;
        let unknown = |field, name: &str, known| PageError::UnknownTarget { field, name: name.to_owned(), known };
        let at = topology
            .metacluster(metacluster)
            .ok_or_else(|| unknown("metacluster", metacluster, topology.describe_metaclusters()))?;
        let cluster =
            topology.cluster(at, cluster).ok_or_else(|| unknown("cluster", cluster, topology.describe_clusters(at)))?;
        let node_number = match node {
            Some(name) => Some(topology.node(name).ok_or_else(|| unknown("node", name, topology.describe_nodes()))?),
            None => None,
        };
        let candidates = || Component::ALL.into_iter().filter(|c| c.is_per_node() == node.is_some());
        let component = candidates().find(|c| c.as_str() == component).ok_or_else(|| {
            let names: Vec<_> = candidates().map(Component::as_str).collect();
            unknown("component", component, format!("here are {}", names.join(", ")))
        })?;
        Ok(Target { cluster, component, node: node_number })
    }

    /// The page of a target at a time.
    ///
    /// # Errors
    /// [`PageError::Unreachable`] while a fault keeps it from answering.
    pub fn page(&self, target: &Target, now: TimestampMs) -> Result<String, PageError> {
        self.page_by(target, || now)
    }

    /// The page of a target at the time that `clock` says. It is asked while no fault can begin: one that begins later
    /// begins after this page.
    pub(crate) fn page_by(&self, target: &Target, clock: impl FnOnce() -> TimestampMs) -> Result<String, PageError> {
        let view = {
            let faults = self.0.faults.read();
            self.view(&faults, target, clock())
        };
        match view.conditions().unreachable_because(target) {
            Some(reason) => Err(PageError::Unreachable(reason)),
            None => Ok(pages::render(target, &view)),
        }
    }

    fn view(&self, faults: &FaultLog, target: &Target, now: TimestampMs) -> ClusterView<'_> {
        let Inner { config, topology, .. } = &*self.0;
        let ClusterRef { metacluster, cluster } = target.cluster;
        let seed = cluster_seed(config.seed, metacluster, cluster);
        let shape = cluster_shape(seed, topology.longitude(metacluster));
        let faults: Vec<_> = faults.of(target.cluster).collect();
        let timeline = Timeline::new(target, faults.iter().copied(), shape, config.started, now);
        ClusterView::new(config, seed, timeline)
    }

    /// Begins a fault at the time that `clock` says, which is asked while no page is computed.
    ///
    /// # Errors
    /// [`FaultError`], naming what there is.
    pub fn inject(&self, request: &FaultRequest, clock: impl FnOnce() -> TimestampMs) -> Result<Fault, FaultError> {
        let mut faults = self.0.faults.write();
        faults.inject(&self.0.topology, request, clock())
    }

    /// Ends a fault at the time that `clock` says.
    ///
    /// # Errors
    /// [`FaultError::UnknownId`].
    pub fn lift(&self, id: &str, clock: impl FnOnce() -> TimestampMs) -> Result<Fault, FaultError> {
        let mut faults = self.0.faults.write();
        faults.lift(&self.0.topology, id, clock())
    }

    /// Every fault so far, the latest first.
    pub fn faults(&self, now: TimestampMs) -> Vec<Fault> {
        self.0.faults.read().list(&self.0.topology, now)
    }
}
