//! Faults on demand: what can be asked for, and the log of what happened when.

use serde::{Deserialize, Serialize};

use model::TimestampMs;

use crate::topology::{ClusterRef, Component, Topology};

/// How many faults a fleet remembers, ended ones included: counters integrate over all of them.
pub const MAX_FAULTS: usize = 1000;
/// The longest fault, in seconds: a century means "until it is lifted".
const MAX_DURATION_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;
const DEFAULT_ERROR_RATIO: f64 = 0.3;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A node stops: its targets are unreachable, it is not ready, its pods wait for another place.
    NodeDown,
    /// A node runs out of memory.
    NodePressure,
    /// The disks of etcd are slow: fsync, commits and API writes take long, leaders change.
    EtcdSlow,
    /// etcd is gone: its target is unreachable and most API requests fail.
    EtcdDown,
    /// The database of etcd is close to its quota.
    EtcdFull,
    /// The API server answers a share of the requests (`ratio`, or 0.3) with 5xx.
    ApiserverErrors,
    /// The API server is overloaded: it is slow and refuses requests.
    ApiserverSlow,
    /// Clients use certificates that expire within days.
    CertificateExpiring,
    /// A third of the pods find no node.
    SchedulingStuck,
    /// One component is unreachable.
    ComponentGone,
    /// Nothing of the metacluster can be reached.
    CellDark,
}

/// Which fields a kind of fault is described by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Metacluster,
    Cluster,
    Node,
    Component,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::NodeDown,
        Self::NodePressure,
        Self::EtcdSlow,
        Self::EtcdDown,
        Self::EtcdFull,
        Self::ApiserverErrors,
        Self::ApiserverSlow,
        Self::CertificateExpiring,
        Self::SchedulingStuck,
        Self::ComponentGone,
        Self::CellDark,
    ];

    /// The name, as in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NodeDown => "node_down",
            Self::NodePressure => "node_pressure",
            Self::EtcdSlow => "etcd_slow",
            Self::EtcdDown => "etcd_down",
            Self::EtcdFull => "etcd_full",
            Self::ApiserverErrors => "apiserver_errors",
            Self::ApiserverSlow => "apiserver_slow",
            Self::CertificateExpiring => "certificate_expiring",
            Self::SchedulingStuck => "scheduling_stuck",
            Self::ComponentGone => "component_gone",
            Self::CellDark => "cell_dark",
        }
    }

    /// The fields that a request of this kind must have beside `kind` and `metacluster`.
    pub fn required_fields(self) -> &'static [&'static str] {
        match self.scope() {
            Scope::Metacluster => &[],
            Scope::Cluster => &["cluster"],
            Scope::Node => &["cluster", "node"],
            Scope::Component => &["cluster", "component"],
        }
    }

    fn scope(self) -> Scope {
        match self {
            Self::CellDark => Scope::Metacluster,
            Self::NodeDown | Self::NodePressure => Scope::Node,
            Self::ComponentGone => Scope::Component,
            _ => Scope::Cluster,
        }
    }

    fn takes(self, field: &str) -> bool {
        // A component of every node can be gone from one of them.
        self.required_fields().contains(&field)
            || matches!((self, field), (Self::ComponentGone, "node") | (Self::ApiserverErrors, "ratio"))
    }
}

/// A fault as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// One of [`FaultKind::ALL`].
    pub kind: String,
    /// The cell, such as `cell-01`.
    pub metacluster: String,
    /// The cluster, such as `c-0001`; the metacluster's own name means the metacluster itself.
    pub cluster: Option<String>,
    /// The node, such as `node-1`.
    pub node: Option<String>,
    /// The component, such as `kube-scheduler`.
    pub component: Option<String>,
    /// For `apiserver_errors`: the share of requests that fail, above 0 and at most 1.
    pub ratio: Option<f64>,
    /// Until it ends by itself; without it the fault lasts until it is lifted.
    pub duration_seconds: Option<f64>,
}

/// A fault that happened, happens, or is ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// `f-1` and so on.
    pub id: String,
    /// What.
    pub kind: FaultKind,
    /// Where.
    pub metacluster: String,
    /// Where, for all but `cell_dark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Where, for faults of nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Where, for `component_gone`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// How much, for `apiserver_errors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// When it began, milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// When it ends or ended, milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_ms: Option<i64>,
    /// True until it ends.
    pub active: bool,
}

/// Why a fault was not injected or lifted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// No such kind.
    #[error("unknown fault kind {0:?}; there are {kinds}", kinds = FaultKind::ALL.map(FaultKind::as_str).join(", "))]
    UnknownKind(String),
    /// No such metacluster, cluster, node or component.
    #[error("unknown {field} {name:?}; {known}")]
    UnknownTarget {
        /// Which field names it.
        field: &'static str,
        /// The name.
        name: String,
        /// What there is instead.
        known: String,
    },
    /// A field that this kind needs is not there.
    #[error("a fault of kind {kind:?} needs the field {field:?}")]
    MissingField {
        /// The kind.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field that means nothing for this kind.
    #[error("a fault of kind {kind:?} takes no field {field:?}; remove it")]
    UselessField {
        /// The kind.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A number out of range.
    #[error("{field} is {value}; it must be above 0 and at most {max}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// The largest possible value.
        max: f64,
    },
    /// The log is full.
    #[error("{MAX_FAULTS} faults are remembered and counters integrate over all of them; restart the simulator")]
    TooMany,
    /// No such fault.
    #[error("no fault has the id {0:?}; GET /faults lists them")]
    UnknownId(String),
}

/// One entry of the log, by number instead of by name.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: FaultKind,
    metacluster: usize,
    cluster: Option<ClusterRef>,
    pub(crate) node: Option<usize>,
    pub(crate) component: Option<Component>,
    pub(crate) ratio: f64,
    pub(crate) started: TimestampMs,
    pub(crate) ends: TimestampMs,
}

impl Entry {
    fn concerns(&self, cluster: ClusterRef) -> bool {
        self.metacluster == cluster.metacluster && self.cluster.is_none_or(|c| c == cluster)
    }

    pub(crate) fn is_active(&self, now: TimestampMs) -> bool {
        self.started <= now && now < self.ends
    }
}

/// Everything that was asked for, in order; never shortened.
#[derive(Debug, Default)]
pub(crate) struct FaultLog(Vec<Entry>);

impl FaultLog {
    /// Adds a fault that begins now.
    pub(crate) fn inject(
        &mut self,
        topology: &Topology,
        request: &FaultRequest,
        now: TimestampMs,
    ) -> Result<Fault, FaultError> {
        let entry = resolve(topology, request, now)?;
        if self.0.len() >= MAX_FAULTS {
            return Err(FaultError::TooMany);
        }
        self.0.push(entry);
        Ok(self.describe(topology, self.0.len() - 1, now))
    }

    /// Ends a fault now; one that ended before stays as it is.
    pub(crate) fn lift(&mut self, topology: &Topology, id: &str, now: TimestampMs) -> Result<Fault, FaultError> {
        let at = (0..self.0.len()).find(|&at| id_of(at) == id).ok_or_else(|| FaultError::UnknownId(id.to_owned()))?;
        self.0[at].ends = self.0[at].ends.min(now.max(self.0[at].started));
        Ok(self.describe(topology, at, now))
    }

    /// Every fault, the latest first.
    pub(crate) fn list(&self, topology: &Topology, now: TimestampMs) -> Vec<Fault> {
        (0..self.0.len()).rev().map(|at| self.describe(topology, at, now)).collect()
    }

    /// The faults that concern a cluster.
    pub(crate) fn of(&self, cluster: ClusterRef) -> impl Iterator<Item = &Entry> {
        self.0.iter().filter(move |entry| entry.concerns(cluster))
    }

    fn describe(&self, topology: &Topology, at: usize, now: TimestampMs) -> Fault {
        let entry = &self.0[at];
        Fault {
            id: id_of(at),
            kind: entry.kind,
            metacluster: topology.metaclusters[entry.metacluster].name.clone(),
            cluster: entry.cluster.map(|c| topology.cluster_name(c)),
            node: entry.node.map(crate::topology::node_name),
            component: entry.component.map(|c| c.to_string()),
            ratio: (entry.kind == FaultKind::ApiserverErrors).then_some(entry.ratio),
            started_ms: entry.started.0,
            ends_ms: (entry.ends != TimestampMs::MAX).then_some(entry.ends.0),
            active: entry.is_active(now),
        }
    }
}

fn id_of(at: usize) -> String {
    format!("f-{}", at + 1)
}

/// Checks a request against the fleet.
fn resolve(topology: &Topology, request: &FaultRequest, now: TimestampMs) -> Result<Entry, FaultError> {
    let kind = FaultKind::ALL
        .into_iter()
        .find(|k| k.as_str() == request.kind)
        .ok_or_else(|| FaultError::UnknownKind(request.kind.clone()))?;
    check_fields(kind, request)?;
    let unknown = |field, name: &str, known| FaultError::UnknownTarget { field, name: name.to_owned(), known };
    let metacluster = topology
        .metacluster(&request.metacluster)
        .ok_or_else(|| unknown("metacluster", &request.metacluster, topology.describe_metaclusters()))?;
    let cluster = request.cluster.as_deref().map(|name| {
        topology
            .cluster(metacluster, name)
            .ok_or_else(|| unknown("cluster", name, topology.describe_clusters(metacluster)))
    });
    let node = request
        .node
        .as_deref()
        .map(|name| topology.node(name).ok_or_else(|| unknown("node", name, topology.describe_nodes())));
    let component = request.component.as_deref().map(|name| {
        let known = || format!("there are {}", Component::ALL.map(Component::as_str).join(", "));
        Component::from_name(name).ok_or_else(|| unknown("component", name, known()))
    });
    let (cluster, node, component) = (cluster.transpose()?, node.transpose()?, component.transpose()?);
    if node.is_some() && component.is_some_and(|c| !c.is_per_node()) {
        return Err(FaultError::UselessField { kind: kind.as_str(), field: "node" });
    }
    let ends = match request.duration_seconds {
        Some(seconds) => now + (positive("duration_seconds", seconds, MAX_DURATION_SECONDS)? * 1000.0).ceil() as i64,
        None => TimestampMs::MAX,
    };
    let ratio = positive("ratio", request.ratio.unwrap_or(DEFAULT_ERROR_RATIO), 1.0)?;
    Ok(Entry { kind, metacluster, cluster, node, component, ratio, started: now, ends })
}

fn check_fields(kind: FaultKind, request: &FaultRequest) -> Result<(), FaultError> {
    let given = [
        ("cluster", request.cluster.is_some()),
        ("node", request.node.is_some()),
        ("component", request.component.is_some()),
        ("ratio", request.ratio.is_some()),
    ];
    for (field, is_given) in given {
        if is_given && !kind.takes(field) {
            return Err(FaultError::UselessField { kind: kind.as_str(), field });
        }
        if !is_given && kind.required_fields().contains(&field) {
            return Err(FaultError::MissingField { kind: kind.as_str(), field });
        }
    }
    Ok(())
}

fn positive(field: &'static str, value: f64, max: f64) -> Result<f64, FaultError> {
    if value > 0.0 && value <= max { Ok(value) } else { Err(FaultError::OutOfRange { field, value, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FleetConfig;

    const NOW: TimestampMs = TimestampMs(1_800_000_000_000);

    fn request(json: &str) -> FaultRequest {
        serde_json::from_str(json).expect("valid JSON")
    }

    #[test]
    fn refusals_name_what_exists() {
        let topology = Topology::new(&FleetConfig::default());
        let cases = [
            (r#"{"kind":"fire","metacluster":"cell-01"}"#, "etcd_slow"),
            (r#"{"kind":"cell_dark","metacluster":"cell-99"}"#, "there are cell-01 to cell-06"),
            (r#"{"kind":"etcd_slow","metacluster":"cell-02","cluster":"c-0001"}"#, "c-0011 to c-0020"),
            (r#"{"kind":"node_down","metacluster":"cell-01","cluster":"c-0001","node":"node-9"}"#, "node-1 to node-3"),
            (
                r#"{"kind":"component_gone","metacluster":"cell-01","cluster":"c-0001","component":"x"}"#,
                "kube-scheduler",
            ),
            (r#"{"kind":"etcd_slow","metacluster":"cell-01"}"#, "needs the field \"cluster\""),
            (r#"{"kind":"cell_dark","metacluster":"cell-01","cluster":"c-0001"}"#, "takes no field \"cluster\""),
            (
                r#"{"kind":"component_gone","metacluster":"cell-01","cluster":"c-0001","component":"etcd","node":"node-1"}"#,
                "takes no field \"node\"",
            ),
            (r#"{"kind":"cell_dark","metacluster":"cell-01","duration_seconds":0}"#, "duration_seconds is 0"),
            (r#"{"kind":"apiserver_errors","metacluster":"cell-01","cluster":"c-0001","ratio":1.5}"#, "ratio is 1.5"),
        ];
        for (json, part) in cases {
            let mut log = FaultLog::default();
            let error = log.inject(&topology, &request(json), NOW).expect_err(json).to_string();
            assert!(error.contains(part), "{json}: {error}");
            assert!(log.list(&topology, NOW).is_empty());
        }
    }

    #[test]
    fn faults_end_by_themselves_or_are_lifted() {
        let topology = Topology::new(&FleetConfig::default());
        let mut log = FaultLog::default();
        let json = r#"{"kind":"cell_dark","metacluster":"cell-01","duration_seconds":10}"#;
        let fault = log.inject(&topology, &request(json), NOW).expect("valid");
        assert_eq!((fault.id.as_str(), fault.active, fault.ends_ms), ("f-1", true, Some(NOW.0 + 10_000)));
        assert!(!log.list(&topology, NOW + 10_000)[0].active);
        let lifted = log.lift(&topology, "f-1", NOW + 4000).expect("known");
        assert_eq!((lifted.active, lifted.ends_ms), (false, Some(NOW.0 + 4000)));
        assert_eq!(log.lift(&topology, "f-1", NOW + 5000).expect("known").ends_ms, Some(NOW.0 + 4000));
        assert_eq!(log.lift(&topology, "f-2", NOW), Err(FaultError::UnknownId("f-2".to_owned())));
    }

    #[test]
    fn the_log_is_bounded() {
        let topology = Topology::new(&FleetConfig::default());
        let mut log = FaultLog::default();
        let dark = request(r#"{"kind":"cell_dark","metacluster":"cell-01"}"#);
        for _ in 0..MAX_FAULTS {
            log.inject(&topology, &dark, NOW).expect("room");
        }
        assert_eq!(log.inject(&topology, &dark, NOW), Err(FaultError::TooMany));
    }
}
