//! What comparisons count, by peer.

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec};
use runtime::{Metrics, MetricsError};

#[derive(Clone)]
pub(crate) struct PeerMetrics {
    pub(crate) up: IntGaugeVec,
    pub(crate) differing: IntGaugeVec,
    pub(crate) repaired: IntCounterVec,
    pub(crate) conflicts: IntCounterVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) divergence: GaugeVec,
    pub(crate) last: GaugeVec,
    pub(crate) complete: IntGaugeVec,
    pub(crate) digested: IntCounter,
}

impl PeerMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let by = &["peer"];
        Ok(Self {
            up: metrics.int_gauge_vec(
                "highwater_peer_up",
                "Whether the last comparison with the peer came to its end.",
                by,
            )?,
            differing: metrics.int_gauge_vec(
                "highwater_peer_windows_differing",
                "Windows of single sources that differed from the peer's after the last comparison.",
                by,
            )?,
            repaired: metrics.counter_vec(
                "highwater_peer_samples_repaired_total",
                "Samples that were missing here and were fetched from the peer.",
                by,
            )?,
            conflicts: metrics.counter_vec(
                "highwater_peer_conflicts_total",
                "Samples of the peer for which another value is stored here.",
                by,
            )?,
            refused: metrics.counter_vec(
                "highwater_peer_samples_refused_total",
                "Samples of the peer that the store here did not take for another reason.",
                by,
            )?,
            divergence: metrics.gauge_vec(
                "highwater_peer_divergence_seconds",
                "For how long the oldest difference from the peer has persisted; 0 where there is none.",
                by,
            )?,
            last: metrics.gauge_vec(
                "highwater_peer_last_comparison_timestamp_seconds",
                "When a comparison with the peer last came to its end.",
                by,
            )?,
            complete: metrics.int_gauge_vec(
                "highwater_peer_complete",
                "Whether the last comparison found nothing at the peer that is missing here.",
                by,
            )?,
            digested: metrics.counter(
                "highwater_peer_samples_digested_total",
                "Samples that were read for digests of windows, for ourselves or for a peer.",
            )?,
        })
    }

    /// Starts a peer's series, so that none of them is missing before its first event.
    pub(crate) fn begin(&self, peer: &str) {
        for gauge in [&self.up, &self.differing, &self.complete] {
            gauge.with_label_values(&[peer]).set(0);
        }
        for gauge in [&self.divergence, &self.last] {
            gauge.with_label_values(&[peer]).set(0.0);
        }
        for counter in [&self.repaired, &self.conflicts, &self.refused] {
            counter.with_label_values(&[peer]);
        }
    }

    /// Ends a peer's series. Those that are not there have ended already.
    pub(crate) fn end(&self, peer: &str) {
        for gauge in [&self.up, &self.differing, &self.complete] {
            let _ = gauge.remove_label_values(&[peer]);
        }
        for gauge in [&self.divergence, &self.last] {
            let _ = gauge.remove_label_values(&[peer]);
        }
        for counter in [&self.repaired, &self.conflicts, &self.refused] {
            let _ = counter.remove_label_values(&[peer]);
        }
    }
}
