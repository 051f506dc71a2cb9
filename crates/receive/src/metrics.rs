//! What the receiver counts.

use model::{ExemplarRefusalReason, RefusalReason};
use prometheus::{Histogram, IntCounter, IntCounterVec};
use runtime::{Metrics, MetricsError};

#[derive(Clone)]
pub(crate) struct ReceiveMetrics {
    pub(crate) requests: IntCounterVec,
    pub(crate) appended: IntCounter,
    pub(crate) duplicates: IntCounter,
    pub(crate) refused: IntCounterVec,
    pub(crate) exemplars: IntCounter,
    pub(crate) exemplars_refused: IntCounterVec,
    pub(crate) bytes: IntCounter,
    pub(crate) unsupported: IntCounterVec,
    pub(crate) seconds: Histogram,
}

impl ReceiveMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let refused = metrics.counter_vec(
            "highwater_receive_samples_refused_total",
            "Samples that were not stored, by reason.",
            &["reason"],
        )?;
        for reason in RefusalReason::ALL {
            refused.with_label_values(&[reason.as_str()]);
        }
        let exemplars_refused = metrics.counter_vec(
            "highwater_receive_exemplars_refused_total",
            "Exemplars that were not stored, by reason.",
            &["reason"],
        )?;
        for reason in ExemplarRefusalReason::ALL {
            exemplars_refused.with_label_values(&[reason.as_str()]);
        }
        Ok(Self {
            requests: metrics.counter_vec(
                "highwater_receive_requests_total",
                "Remote-write requests, by HTTP status of the answer.",
                &["code"],
            )?,
            appended: metrics.counter("highwater_receive_samples_total", "Samples received and stored.")?,
            duplicates: metrics.counter(
                "highwater_receive_samples_duplicate_total",
                "Samples received again with the value that is already stored.",
            )?,
            refused,
            exemplars: metrics.counter("highwater_receive_exemplars_total", "Exemplars received and stored.")?,
            exemplars_refused,
            bytes: metrics.counter("highwater_receive_bytes_total", "Bytes of request bodies, compressed.")?,
            unsupported: metrics.counter_vec(
                "highwater_receive_unsupported_total",
                "Items of a kind that is not stored yet, by kind.",
                &["kind"],
            )?,
            seconds: metrics.histogram(
                "highwater_receive_request_duration_seconds",
                "Time from a whole request body to its answer.",
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5],
            )?,
        })
    }
}
