//! The tier's store: the head, its upkeep, and its metrics.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge};
use runtime::{Metrics, MetricsError, Stop, Supervisor};
use tsdb::{Head, HeadOptions, HeadStatistics};

/// How often the head is tidied and its metrics are read.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Opens the store and keeps it tidy.
///
/// # Errors
/// When its metrics are registered already.
pub(crate) fn open(
    options: HeadOptions,
    supervisor: &Supervisor,
    metrics: &Metrics,
) -> Result<Arc<Head>, MetricsError> {
    let head = Arc::new(Head::new(options, Arc::new(runtime::now)));
    let exported = StoreMetrics::new(metrics)?;
    let kept = head.clone();
    supervisor.spawn("store upkeep", move |stop| upkeep(kept, exported, stop));
    Ok(head)
}

async fn upkeep(head: Arc<Head>, exported: StoreMetrics, stop: Stop) {
    let mut before = HeadStatistics::default();
    loop {
        let working = head.clone();
        let tidy = move || {
            working.maintain();
            working.statistics()
        };
        // A panic in there is logged by the runtime; the next round tries again.
        if let Ok(now) = tokio::task::spawn_blocking(tidy).await {
            exported.update(&before, &now);
            if now.dropped_by_budget > before.dropped_by_budget {
                tracing::warn!(
                    samples = now.dropped_by_budget - before.dropped_by_budget,
                    "the sample budget is used up, the oldest samples were dropped; raise --storage.max-samples or lower --storage.retention.time"
                );
            }
            before = now;
        }
        if !stop.sleep(UPKEEP_EVERY).await {
            return;
        }
    }
}

/// Prometheus' names where dashboards know them.
struct StoreMetrics {
    series: IntGauge,
    samples: IntGauge,
    appended: IntCounterVec,
    bounds: GaugeVec,
    dropped: IntCounterVec,
    rounds: IntCounter,
}

impl StoreMetrics {
    fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            series: metrics.int_gauge("prometheus_tsdb_head_series", "Series in the head.")?,
            samples: metrics.int_gauge("highwater_store_samples", "Samples in the head.")?,
            appended: metrics.counter_vec(
                "prometheus_tsdb_head_samples_appended_total",
                "Samples that were stored.",
                &["type"],
            )?,
            bounds: metrics.gauge_vec(
                "highwater_store_sample_timestamp_seconds",
                "Time of the oldest and the newest stored sample, in seconds since the epoch.",
                &["end"],
            )?,
            dropped: metrics.counter_vec(
                "highwater_store_samples_dropped_total",
                "Samples that left the head, by reason: retention, or budget before their retention was over.",
                &["reason"],
            )?,
            rounds: metrics.counter("highwater_store_upkeep_total", "Rounds of upkeep.")?,
        })
    }

    fn update(&self, before: &HeadStatistics, now: &HeadStatistics) {
        self.series.set(now.series as i64);
        self.samples.set(now.samples as i64);
        self.appended.with_label_values(&["float"]).inc_by(now.appended - before.appended);
        for (reason, then, now) in [
            ("retention", before.dropped_by_retention, now.dropped_by_retention),
            ("budget", before.dropped_by_budget, now.dropped_by_budget),
        ] {
            self.dropped.with_label_values(&[reason]).inc_by(now - then);
        }
        if let Some((oldest, newest)) = now.bounds {
            self.bounds.with_label_values(&["oldest"]).set(oldest.as_seconds());
            self.bounds.with_label_values(&["newest"]).set(newest.as_seconds());
        }
        self.rounds.inc();
    }
}
