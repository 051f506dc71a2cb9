//! What forwarders count, by destination.

use prometheus::{GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};
use runtime::{Metrics, MetricsError};

#[derive(Clone)]
pub(crate) struct ForwardMetrics {
    pub(crate) sent: IntCounterVec,
    pub(crate) bytes: IntCounterVec,
    pub(crate) retries: IntCounterVec,
    pub(crate) dropped: IntCounterVec,
    pub(crate) exemplars: IntCounterVec,
    pub(crate) exemplars_dropped: IntCounterVec,
    pub(crate) queued: IntGaugeVec,
    pub(crate) capacity: IntGaugeVec,
    pub(crate) oldest: GaugeVec,
    pub(crate) newest_sent: GaugeVec,
    pub(crate) up: IntGaugeVec,
    pub(crate) seconds: HistogramVec,
}

impl ForwardMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let by = &["destination"];
        Ok(Self {
            sent: metrics.counter_vec(
                "highwater_forward_samples_sent_total",
                "Samples a destination has accepted.",
                by,
            )?,
            bytes: metrics.counter_vec(
                "highwater_forward_bytes_sent_total",
                "Bytes of accepted requests, compressed.",
                by,
            )?,
            retries: metrics.counter_vec(
                "highwater_forward_retries_total",
                "Requests that failed and were or will be sent again.",
                by,
            )?,
            dropped: metrics.counter_vec(
                "highwater_forward_samples_dropped_total",
                "Samples a destination will never get, by reason: queue_full, refused, stopped.",
                &["destination", "reason"],
            )?,
            exemplars: metrics.counter_vec(
                "highwater_forward_exemplars_sent_total",
                "Exemplars in requests that a destination has accepted.",
                by,
            )?,
            exemplars_dropped: metrics.counter_vec(
                "highwater_forward_exemplars_dropped_total",
                "Exemplars a destination will never get, because too many waited or it refused their request.",
                by,
            )?,
            queued: metrics.int_gauge_vec(
                "highwater_forward_queue_length",
                "Samples that the destination does not have yet: those that wait and those in a request.",
                by,
            )?,
            capacity: metrics.int_gauge_vec("highwater_forward_queue_capacity", "Samples that may wait.", by)?,
            oldest: metrics.gauge_vec(
                "highwater_forward_oldest_age_seconds",
                "How long ago the first sample that the destination does not have yet was queued.",
                by,
            )?,
            newest_sent: metrics.gauge_vec(
                "highwater_forward_newest_sent_timestamp_seconds",
                "Timestamp of the newest sample a destination has accepted.",
                by,
            )?,
            up: metrics.int_gauge_vec("highwater_forward_destination_up", "Whether the last request succeeded.", by)?,
            seconds: metrics.histogram_vec(
                "highwater_forward_request_duration_seconds",
                "Time from a request to its answer.",
                by,
                &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
            )?,
        })
    }

    /// Forgets a destination that is no longer configured.
    pub(crate) fn forget(&self, name: &str) {
        for gauge in [&self.queued, &self.capacity, &self.up] {
            let _ = gauge.remove_label_values(&[name]);
        }
        for gauge in [&self.oldest, &self.newest_sent] {
            let _ = gauge.remove_label_values(&[name]);
        }
    }
}
