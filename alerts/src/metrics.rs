//! Metrics under the names that Alertmanager's dashboards know; what only we have begins with `highwater_alerts_`.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use runtime::{Metrics, MetricsError};

use crate::engine::silence::SilenceState;
use crate::shared::Core;

/// The version of the contract that clients such as karma choose their behaviour by.
pub const CONTRACT_VERSION: &str = "0.28.0";

/// Why a notification failed, as Alertmanager names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// The service refused it; trying again would not help.
    Client,
    /// The service, or the way to it, kept failing.
    Server,
    /// Time ran out during an attempt.
    Deadline,
}

impl FailureReason {
    const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Deadline];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "clientError",
            Self::Server => "serverError",
            Self::Deadline => "contextDeadlineExceeded",
        }
    }
}

/// What the API counts.
#[derive(Clone)]
pub struct ApiMetrics {
    /// Valid alerts by status.
    pub received: IntCounterVec,
    /// Invalid alerts.
    pub invalid: IntCounterVec,
    /// Alerts refused for want of room, by reason.
    pub refused: IntCounterVec,
}

/// What the pipeline counts, by integration.
#[derive(Clone)]
pub struct NotificationMetrics {
    /// Notifications that were needed.
    pub notifications: IntCounterVec,
    /// Notifications that could not be delivered before the next flush, by reason.
    pub failed: IntCounterVec,
    /// Attempts.
    pub requests: IntCounterVec,
    /// Attempts that failed.
    pub requests_failed: IntCounterVec,
    /// Seconds an attempt took.
    pub latency: HistogramVec,
    /// Alerts kept quiet, by reason.
    pub suppressed: IntCounterVec,
}

impl NotificationMetrics {
    /// Makes the series of an integration exist before its first notification.
    pub fn announce(&self, integration: &str) {
        for counter in [&self.notifications, &self.requests, &self.requests_failed] {
            counter.with_label_values(&[integration]);
        }
        for reason in FailureReason::ALL {
            self.failed.with_label_values(&[integration, reason.as_str()]);
        }
    }
}

/// What the cluster counts.
#[derive(Clone)]
pub struct ClusterMetrics {
    /// Whether there may be peers.
    pub enabled: IntGauge,
    /// Live routers, this one included.
    pub members: IntGauge,
    /// Configured peers that are not alive.
    pub failed_peers: IntGauge,
    /// How many routers come before this one.
    pub position: IntGauge,
    /// Our clock minus that of the peer heard last.
    pub clock_skew: Gauge,
    /// Pushes by result.
    pub pushes: IntCounterVec,
    /// Records fetched from peers that were news.
    pub pulled_records: IntCounter,
}

/// All metrics of the role.
pub struct RouterMetrics {
    /// Of the API.
    pub api: ApiMetrics,
    /// Of the pipeline.
    pub notifications: NotificationMetrics,
    /// Of the cluster.
    pub cluster: ClusterMetrics,
    /// Snapshot files that were not readable and were put aside.
    pub quarantined: IntCounter,
    /// Snapshots that could not be written.
    pub snapshot_failures: IntCounter,
    /// Whether the last reload succeeded.
    pub reload_successful: IntGauge,
    /// When the configuration was last loaded, in seconds since the epoch.
    pub reload_seconds: Gauge,
}

impl RouterMetrics {
    /// Registers everything that does not look at the state.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        build_info(metrics)?;
        let reload_successful = metrics.int_gauge(
            "alertmanager_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful.",
        )?;
        reload_successful.set(1);
        let reload_seconds = metrics.gauge(
            "alertmanager_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload.",
        )?;
        reload_seconds.set(runtime::now().as_seconds());
        Ok(Self {
            api: api(metrics)?,
            notifications: notifications(metrics)?,
            cluster: cluster(metrics)?,
            quarantined: metrics.counter(
                "highwater_alerts_quarantined_files_total",
                "Snapshot files that could not be read and were renamed.",
            )?,
            snapshot_failures: metrics
                .counter("highwater_alerts_snapshot_failures_total", "Snapshots that could not be written.")?,
            reload_successful,
            reload_seconds,
        })
    }
}

fn build_info(metrics: &Metrics) -> Result<(), MetricsError> {
    let labels = ["branch", "goarch", "goos", "goversion", "revision", "tags", "version"];
    let info = metrics.int_gauge_vec(
        "alertmanager_build_info",
        "The version of Alertmanager whose contract this router keeps; the revision names Highwater.",
        &labels,
    )?;
    let revision = concat!("highwater-", env!("CARGO_PKG_VERSION"));
    let values =
        ["highwater", std::env::consts::ARCH, std::env::consts::OS, "rust", revision, "unknown", CONTRACT_VERSION];
    info.with_label_values(&values).set(1);
    Ok(())
}

fn api(metrics: &Metrics) -> Result<ApiMetrics, MetricsError> {
    let received = metrics.counter_vec(
        "alertmanager_alerts_received_total",
        "The total number of received alerts.",
        &["status", "version"],
    )?;
    for status in ["firing", "resolved"] {
        received.with_label_values(&[status, "v2"]);
    }
    let invalid = metrics.counter_vec(
        "alertmanager_alerts_invalid_total",
        "The total number of received alerts that were invalid.",
        &["version"],
    )?;
    invalid.with_label_values(&["v2"]);
    let refused = metrics.counter_vec(
        "highwater_alerts_refused_total",
        "Alerts that were not taken because the router holds as much as it may.",
        &["reason"],
    )?;
    for reason in ["alert_limit", "group_limit"] {
        refused.with_label_values(&[reason]);
    }
    Ok(ApiMetrics { received, invalid, refused })
}

fn notifications(metrics: &Metrics) -> Result<NotificationMetrics, MetricsError> {
    let by_integration =
        |name: &str, help: &str| metrics.counter_vec(&format!("alertmanager_{name}"), help, &["integration"]);
    Ok(NotificationMetrics {
        notifications: by_integration("notifications_total", "The total number of attempted notifications.")?,
        failed: metrics.counter_vec(
            "alertmanager_notifications_failed_total",
            "The total number of failed notifications.",
            &["integration", "reason"],
        )?,
        requests: by_integration(
            "notification_requests_total",
            "The total number of attempted notification requests.",
        )?,
        requests_failed: by_integration(
            "notification_requests_failed_total",
            "The total number of failed notification requests.",
        )?,
        latency: metrics.histogram_vec(
            "alertmanager_notification_latency_seconds",
            "The latency of notifications in seconds.",
            &["integration"],
            &[1.0, 5.0, 10.0, 15.0, 20.0],
        )?,
        suppressed: metrics.counter_vec(
            "alertmanager_notifications_suppressed_total",
            "The total number of notifications suppressed for being silenced, inhibited, or outside of time intervals.",
            &["reason"],
        )?,
    })
}

fn cluster(metrics: &Metrics) -> Result<ClusterMetrics, MetricsError> {
    Ok(ClusterMetrics {
        enabled: metrics.int_gauge("alertmanager_cluster_enabled", "Whether clustering is enabled.")?,
        members: metrics
            .int_gauge("alertmanager_cluster_members", "Number indicating current number of members in cluster.")?,
        failed_peers: metrics
            .int_gauge("alertmanager_cluster_failed_peers", "Number indicating the current number of failed peers.")?,
        position: metrics
            .int_gauge("alertmanager_peer_position", "Position the Alertmanager instance believes it's in.")?,
        clock_skew: metrics.gauge(
            "highwater_alerts_cluster_clock_skew_seconds",
            "This router's clock minus that of the peer heard last.",
        )?,
        pushes: metrics.counter_vec(
            "highwater_alerts_cluster_pushes_total",
            "Messages to peers by result.",
            &["result"],
        )?,
        pulled_records: metrics.counter(
            "highwater_alerts_cluster_pulled_records_total",
            "Records that were missing here and were fetched from a peer.",
        )?,
    })
}

/// Gauges of the state, computed when they are asked for.
pub struct StateCollector {
    core: Arc<Core>,
    alerts: IntGaugeVec,
    silences: IntGaugeVec,
    groups: IntGauge,
}

impl StateCollector {
    /// A collector for the registry.
    ///
    /// # Errors
    /// When a metric is malformed.
    pub fn new(core: Arc<Core>) -> Result<Self, MetricsError> {
        let vec = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["state"]);
        Ok(Self {
            core,
            alerts: vec("alertmanager_alerts", "How many alerts by state.")?,
            silences: vec("alertmanager_silences", "How many silences by state.")?,
            groups: IntGauge::new(
                "alertmanager_dispatcher_aggregation_groups",
                "Number of active aggregation groups.",
            )?,
        })
    }

    fn update(&self) {
        let now = runtime::now();
        let state = self.core.state.lock();
        let (mut active, mut suppressed) = (0, 0);
        for alert in state.alerts.iter().filter(|a| !a.resolved_at(now)) {
            let quiet = state.suppression(&alert.labels, now).any();
            *(if quiet { &mut suppressed } else { &mut active }) += 1;
        }
        // Every alert is routed when it arrives, so none is ever unprocessed.
        for (name, count) in [("active", active), ("suppressed", suppressed), ("unprocessed", 0)] {
            self.alerts.with_label_values(&[name]).set(count);
        }
        for silence_state in SilenceState::ALL {
            let count = state.silences.iter().filter(|s| s.state(now) == silence_state).count();
            self.silences.with_label_values(&[silence_state.as_str()]).set(count as i64);
        }
        self.groups.set(state.group_count() as i64);
    }
}

impl Collector for StateCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.alerts.desc(), self.silences.desc(), self.groups.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.update();
        [self.alerts.collect(), self.silences.collect(), self.groups.collect()].concat()
    }
}
