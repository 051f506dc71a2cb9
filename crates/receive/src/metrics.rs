//! What the receiver counts.

use std::collections::HashSet;
use std::sync::Arc;

use model::{ExemplarRefusalReason, RefusalReason};
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use runtime::{Metrics, MetricsError};
use sources::SourceName;

use crate::head::Head;

/// Sources that metrics name one by one; further ones are counted together.
const MAX_NAMED: usize = 1_000;

#[derive(Clone)]
pub(crate) struct ReceiveMetrics {
    pub(crate) requests: IntCounterVec,
    messages: IntCounterVec,
    throttled: IntCounterVec,
    /// Sources that have a metric of their own.
    named: Arc<Mutex<HashSet<SourceName>>>,
    pub(crate) histograms: IntCounter,
    pub(crate) sessions: IntGauge,
    pub(crate) session_bytes: IntGauge,
    pub(crate) evicted: IntCounter,
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
        let refused = by_reason(
            metrics,
            "highwater_receive_samples_refused_total",
            "Samples that were not stored, by reason.",
            &RefusalReason::ALL.map(RefusalReason::as_str),
        )?;
        let exemplars_refused = by_reason(
            metrics,
            "highwater_receive_exemplars_refused_total",
            "Exemplars that were not stored, by reason.",
            &ExemplarRefusalReason::ALL.map(ExemplarRefusalReason::as_str),
        )?;
        Ok(Self {
            requests: metrics.counter_vec(
                "highwater_receive_requests_total",
                "Remote-write requests, by HTTP status of the answer.",
                &["code"],
            )?,
            messages: metrics.counter_vec(
                "highwater_receive_messages_total",
                "Remote-write requests, by message (1.0, 2.0, columns), encoding, and the lane they were sent in.",
                &["message", "encoding", "lane"],
            )?,
            throttled: metrics.counter_vec(
                "highwater_receive_throttled_total",
                "Requests that were answered 429, by source and by what it took more of than its share.",
                &["source", "reason"],
            )?,
            named: Arc::default(),
            histograms: metrics
                .counter("highwater_receive_histograms_total", "Native histograms received and stored.")?,
            sessions: metrics.int_gauge("highwater_receive_sessions", "Sessions of columns that are remembered.")?,
            session_bytes: metrics.int_gauge("highwater_receive_session_bytes", "What these remember, in bytes.")?,
            evicted: metrics.counter(
                "highwater_receive_sessions_evicted_total",
                "Sessions of columns that were forgotten for lack of room.",
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
                "Items of a kind that is not stored yet, while their samples are, by kind.",
                &["kind"],
            )?,
            seconds: metrics.histogram(
                "highwater_receive_request_duration_seconds",
                "Time from a whole request body to its answer.",
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5],
            )?,
        })
    }

    /// Counts a request by its kind.
    pub(crate) fn message(&self, head: &Head) {
        let (message, encoding) = head.kind.as_strs();
        self.messages.with_label_values(&[message, encoding, head.lane()]).inc();
    }

    /// Counts a request that had to wait for others.
    pub(crate) fn throttled(&self, source: &SourceName, why: &str) {
        let mut named = self.named.lock();
        let is_named = named.contains(source) || (named.len() < MAX_NAMED && named.insert(source.clone()));
        let source = if is_named { source.to_string() } else { "other".to_owned() };
        self.throttled.with_label_values(&[&source, why]).inc();
    }
}

/// A counter whose reasons are there from the start.
fn by_reason(metrics: &Metrics, name: &str, help: &str, reasons: &[&str]) -> Result<IntCounterVec, MetricsError> {
    let counter = metrics.counter_vec(name, help, &["reason"])?;
    for reason in reasons {
        counter.with_label_values(&[*reason]);
    }
    Ok(counter)
}
