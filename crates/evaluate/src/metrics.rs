//! What this block counts of itself, under the names that dashboards for Prometheus know.

use model::RefusalReason;
use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use rules::{Evaluation, Group};
use runtime::{Metrics, MetricsError};

const DURATION_BUCKETS: [f64; 10] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 15.0, 60.0, 120.0];
const GROUP: &[&str] = &["rule_group"];
const ALERTMANAGER: &[&str] = &["alertmanager"];

/// Of all rule groups.
#[derive(Clone)]
pub(crate) struct RuleMetrics {
    last_duration: GaugeVec,
    last_evaluation: GaugeVec,
    last_samples: IntGaugeVec,
    interval: GaugeVec,
    rules: IntGaugeVec,
    iterations: IntCounterVec,
    missed: IntCounterVec,
    evaluations: IntCounterVec,
    failures: IntCounterVec,
    duration: Histogram,
    refused: IntCounterVec,
    held: IntGaugeVec,
    waits: Histogram,
}

impl RuleMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let out = Self {
            last_duration: metrics.gauge_vec(
                "prometheus_rule_group_last_duration_seconds",
                "How long the last evaluation of the group took.",
                GROUP,
            )?,
            last_evaluation: metrics.gauge_vec(
                "prometheus_rule_group_last_evaluation_timestamp_seconds",
                "When the group was last evaluated, in seconds since the epoch.",
                GROUP,
            )?,
            last_samples: metrics.int_gauge_vec(
                "prometheus_rule_group_last_evaluation_samples",
                "Samples that the last evaluation of the group yielded.",
                GROUP,
            )?,
            interval: metrics.gauge_vec("prometheus_rule_group_interval_seconds", "The group's interval.", GROUP)?,
            rules: metrics.int_gauge_vec("prometheus_rule_group_rules", "How many rules the group has.", GROUP)?,
            iterations: metrics.counter_vec(
                "prometheus_rule_group_iterations_total",
                "Evaluations of the group that were due, missed ones included.",
                GROUP,
            )?,
            missed: metrics.counter_vec(
                "prometheus_rule_group_iterations_missed_total",
                "Evaluations of the group that were left out because the one before took too long or no CPU was free.",
                GROUP,
            )?,
            evaluations: metrics.counter_vec("prometheus_rule_evaluations_total", "Evaluations of rules.", GROUP)?,
            failures: metrics.counter_vec(
                "prometheus_rule_evaluation_failures_total",
                "Evaluations of rules that failed.",
                GROUP,
            )?,
            duration: metrics.histogram(
                "prometheus_rule_group_duration_seconds",
                "How long evaluations of groups take.",
                &DURATION_BUCKETS,
            )?,
            refused: metrics.counter_vec(
                "highwater_evaluate_refused_samples_total",
                "Samples of rules that the store did not take.",
                &["reason"],
            )?,
            held: metrics.int_gauge_vec(
                "highwater_rules_held_alerts",
                "Alerts that keep their state because the source that their labels name is late.",
                GROUP,
            )?,
            waits: metrics.histogram(
                "highwater_rules_watermark_wait_seconds",
                "How long evaluations waited until everything before their time was here.",
                &DURATION_BUCKETS,
            )?,
        };
        for reason in RefusalReason::ALL {
            out.refused.with_label_values(&[reason.as_str()]);
        }
        Ok(out)
    }

    /// A group begins: its series exist from the start.
    pub(crate) fn begin(&self, group: &Group) {
        let key = key(group);
        let label = &[key.as_str()];
        self.interval.with_label_values(label).set(group.interval.as_secs_f64());
        self.rules.with_label_values(label).set(i64::try_from(group.rules.len()).unwrap_or(i64::MAX));
        for counter in [&self.iterations, &self.missed, &self.evaluations, &self.failures] {
            counter.with_label_values(label);
        }
    }

    /// A group is gone, and its series with it.
    pub(crate) fn end(&self, group: &Group) {
        let key = key(group);
        let label = &[key.as_str()];
        for gauge in [&self.last_duration, &self.last_evaluation, &self.interval] {
            // Fails only where there is nothing to remove.
            let _ = gauge.remove_label_values(label);
        }
        for gauge in [&self.last_samples, &self.rules, &self.held] {
            let _ = gauge.remove_label_values(label);
        }
        for counter in [&self.iterations, &self.missed, &self.evaluations, &self.failures] {
            let _ = counter.remove_label_values(label);
        }
    }

    pub(crate) fn missed(&self, group: &Group, count: u64) {
        let key = key(group);
        self.iterations.with_label_values(&[&key]).inc_by(count);
        self.missed.with_label_values(&[&key]).inc_by(count);
    }

    /// An evaluation waited for what it is about.
    pub(crate) fn waited(&self, seconds: f64) {
        self.waits.observe(seconds);
    }

    pub(crate) fn evaluated(&self, group: &Group, evaluation: &Evaluation, at_seconds: f64, took_seconds: f64) {
        let key = key(group);
        let label = &[key.as_str()];
        self.iterations.with_label_values(label).inc();
        self.held.with_label_values(label).set(i64::try_from(evaluation.held).unwrap_or(i64::MAX));
        self.evaluations.with_label_values(label).inc_by(evaluation.evaluated as u64);
        self.failures.with_label_values(label).inc_by(evaluation.failures.len() as u64);
        self.last_duration.with_label_values(label).set(took_seconds);
        self.last_evaluation.with_label_values(label).set(at_seconds);
        self.last_samples.with_label_values(label).set(i64::try_from(evaluation.samples).unwrap_or(i64::MAX));
        self.duration.observe(took_seconds);
        for (reason, count) in &evaluation.refused {
            self.refused.with_label_values(&[reason.as_str()]).inc_by(*count as u64);
        }
    }
}

/// The value of `rule_group`, as Prometheus writes it.
fn key(group: &Group) -> String {
    format!("{};{}", group.file, group.name)
}

/// Of all alert routers.
#[derive(Clone)]
pub(crate) struct NotifierMetrics {
    sent: IntCounterVec,
    errors: IntCounterVec,
    dropped: IntCounterVec,
    queue_length: IntGaugeVec,
    latency: HistogramVec,
    pub(crate) queue_capacity: IntGauge,
    pub(crate) discovered: Gauge,
}

impl NotifierMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            sent: metrics.counter_vec(
                "prometheus_notifications_sent_total",
                "Alerts that were to be sent to the alert router, failed ones included.",
                ALERTMANAGER,
            )?,
            errors: metrics.counter_vec(
                "prometheus_notifications_errors_total",
                "Alerts that could not be sent to the alert router.",
                ALERTMANAGER,
            )?,
            dropped: metrics.counter_vec(
                "prometheus_notifications_dropped_total",
                "Alerts that were given up: the queue was full or sending failed.",
                ALERTMANAGER,
            )?,
            queue_length: metrics.int_gauge_vec(
                "prometheus_notifications_queue_length",
                "Alerts that wait for the alert router.",
                ALERTMANAGER,
            )?,
            latency: metrics.histogram_vec(
                "prometheus_notifications_latency_seconds",
                "How long posting a batch of alerts takes.",
                ALERTMANAGER,
                &DURATION_BUCKETS,
            )?,
            queue_capacity: metrics
                .int_gauge("prometheus_notifications_queue_capacity", "How many alerts may wait for one router.")?,
            discovered: metrics.gauge(
                "prometheus_notifications_alertmanagers_discovered",
                "How many alert routers alerts are sent to.",
            )?,
        })
    }

    /// Those of one router; they exist from now on.
    pub(crate) fn of(&self, alertmanager: &str) -> EndpointMetrics {
        let label = &[alertmanager];
        EndpointMetrics {
            sent: self.sent.with_label_values(label),
            errors: self.errors.with_label_values(label),
            dropped: self.dropped.with_label_values(label),
            queue_length: self.queue_length.with_label_values(label),
            latency: self.latency.with_label_values(label),
        }
    }

    /// A router is gone.
    pub(crate) fn remove(&self, alertmanager: &str) {
        let label = &[alertmanager];
        for counter in [&self.sent, &self.errors, &self.dropped] {
            let _ = counter.remove_label_values(label);
        }
        let _ = self.queue_length.remove_label_values(label);
        let _ = self.latency.remove_label_values(label);
    }
}

/// Of one alert router.
#[derive(Clone)]
pub(crate) struct EndpointMetrics {
    pub(crate) sent: IntCounter,
    pub(crate) errors: IntCounter,
    pub(crate) dropped: IntCounter,
    pub(crate) queue_length: IntGauge,
    pub(crate) latency: Histogram,
}
