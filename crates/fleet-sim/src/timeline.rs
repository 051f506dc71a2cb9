//! What a target has been through: the time since the counters were zero, cut where conditions changed.

use model::TimestampMs;

use crate::fault::{Entry, FaultKind};
use crate::shape::Shape;
use crate::topology::{Component, Target};

/// The share of requests that fail when nothing is wrong.
const USUAL_ERROR_RATIO: f64 = 0.0001;

/// What is wrong with a cluster at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Conditions {
    pub(crate) dark: bool,
    pub(crate) etcd_slow: bool,
    pub(crate) etcd_down: bool,
    pub(crate) etcd_full: bool,
    pub(crate) apiserver_slow: bool,
    pub(crate) certificate_expiring: bool,
    pub(crate) scheduling_stuck: bool,
    injected_error_ratio: f64,
    gone: Vec<(Component, Option<usize>)>,
    nodes_down: Vec<usize>,
    nodes_under_pressure: Vec<usize>,
}

impl Conditions {
    fn at<'a>(faults: impl Iterator<Item = &'a Entry>, time: TimestampMs) -> Self {
        let mut conditions = Self::default();
        for fault in faults.filter(|fault| fault.is_active(time)) {
            match fault.kind {
                FaultKind::NodeDown => conditions.nodes_down.extend(fault.node),
                FaultKind::NodePressure => conditions.nodes_under_pressure.extend(fault.node),
                FaultKind::EtcdSlow => conditions.etcd_slow = true,
                FaultKind::EtcdDown => conditions.etcd_down = true,
                FaultKind::EtcdFull => conditions.etcd_full = true,
                FaultKind::ApiserverErrors => {
                    conditions.injected_error_ratio = conditions.injected_error_ratio.max(fault.ratio);
                }
                FaultKind::ApiserverSlow => conditions.apiserver_slow = true,
                FaultKind::CertificateExpiring => conditions.certificate_expiring = true,
                FaultKind::SchedulingStuck => conditions.scheduling_stuck = true,
                FaultKind::ComponentGone => conditions.gone.extend(fault.component.map(|c| (c, fault.node))),
                FaultKind::CellDark => conditions.dark = true,
            }
        }
        conditions
    }

    /// The share of API requests that are answered with 5xx.
    pub(crate) fn error_ratio(&self) -> f64 {
        let by_etcd = match (self.etcd_down, self.etcd_slow) {
            (true, _) => 0.6,
            (false, true) => 0.004,
            (false, false) => USUAL_ERROR_RATIO,
        };
        by_etcd.max(self.injected_error_ratio)
    }

    pub(crate) fn is_node_down(&self, node: usize) -> bool {
        self.nodes_down.contains(&node)
    }

    pub(crate) fn is_node_under_pressure(&self, node: usize) -> bool {
        self.nodes_under_pressure.contains(&node)
    }

    /// Whether a target's process runs at all: if not, its counters stand still.
    fn runs(&self, target: &Target) -> bool {
        !(target.node.is_some_and(|node| self.is_node_down(node))
            || (target.component == Component::Etcd && self.etcd_down)
            || self.gone.iter().any(|(c, node)| *c == target.component && (node.is_none() || *node == target.node)))
    }

    /// Why a target does not answer, if it does not.
    pub(crate) fn unreachable_because(&self, target: &Target) -> Option<&'static str> {
        match (self.dark, self.runs(target)) {
            (true, _) => Some("the metacluster is dark"),
            (false, false) => Some("the target is down"),
            (false, true) => None,
        }
    }
}

#[derive(Debug)]
struct Segment {
    from: f64,
    to: f64,
    /// The integral of the load's shape, zero where the target did not run.
    work: f64,
    /// The time the target ran.
    seconds: f64,
    conditions: Conditions,
}

/// The past of one target, up to now. Times are in seconds since the counters were zero.
#[derive(Debug)]
pub(crate) struct Timeline {
    segments: Vec<Segment>,
    shape: Shape,
    /// The time of the page.
    pub(crate) now: f64,
    /// What is wrong now.
    pub(crate) conditions: Conditions,
}

impl Timeline {
    pub(crate) fn new<'a>(
        target: &Target,
        faults: impl Iterator<Item = &'a Entry> + Clone,
        shape: Shape,
        started: TimestampMs,
        now: TimestampMs,
    ) -> Self {
        let now = now.max(started);
        let mut cuts: Vec<TimestampMs> = faults.clone().flat_map(|fault| [fault.started, fault.ends]).collect();
        cuts.retain(|cut| *cut > started && *cut < now);
        cuts.extend([started, now]);
        cuts.sort_unstable();
        cuts.dedup();
        let seconds_of = |time: TimestampMs| (time - started) as f64 / 1000.0;
        let segments = cuts
            .windows(2)
            .map(|cut| {
                let (from, to) = (seconds_of(cut[0]), seconds_of(cut[1]));
                let conditions = Conditions::at(faults.clone(), cut[0]);
                let runs = if conditions.runs(target) { 1.0 } else { 0.0 };
                Segment { from, to, work: runs * shape.integral(from, to), seconds: runs * (to - from), conditions }
            })
            .collect();
        Self { segments, shape, now: seconds_of(now), conditions: Conditions::at(faults, now) }
    }

    /// The load now, around 1.
    pub(crate) fn load(&self) -> f64 {
        self.shape.at(self.now)
    }

    /// Pieces of the past with one set of conditions each, and the work done in them.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (f64, &Conditions)> {
        self.segments.iter().map(|s| (s.work, &s.conditions))
    }

    /// How much has been done that grows with the load: the integral of `rate` (per second at load 1) times the load.
    pub(crate) fn work(&self, rate: impl Fn(&Conditions) -> f64) -> f64 {
        self.segments.iter().map(|s| rate(&s.conditions) * s.work).sum()
    }

    /// The same, counted only from a time on.
    pub(crate) fn work_since(&self, start: f64, rate: impl Fn(&Conditions) -> f64) -> f64 {
        let clipped = |s: &Segment| match s.work {
            0.0 => 0.0,
            whole if s.from >= start => whole,
            _ => self.shape.integral(start, s.to),
        };
        self.segments.iter().filter(|s| s.to > start).map(|s| rate(&s.conditions) * clipped(s)).sum()
    }

    /// What grows with time alone: the integral of `rate` per second.
    pub(crate) fn seconds(&self, rate: impl Fn(&Conditions) -> f64) -> f64 {
        self.segments.iter().map(|s| rate(&s.conditions) * s.seconds).sum()
    }
}
