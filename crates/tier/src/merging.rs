//! The merging of replicas in front of a tier's sink: its upkeep, its end, its metrics.

use std::sync::Arc;
use std::time::Duration;

use model::{Append, AppendError};
use prometheus::{IntCounter, IntGauge};
use replicas::{Replicas, ReplicasOptions, Statistics};
use runtime::{Metrics, MetricsError, Stop, Supervisor};
use sources::Sources;
use tsdb::Store;

/// How often it is looked after what is held back for too long.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// Merges replicas before `sink`. To be called after whatever `sink` needs was started, and before what feeds it: on stop,
/// what is held back goes in between.
///
/// # Errors
/// When metrics are registered already.
pub(crate) fn start(
    sink: Arc<dyn Append>,
    store: Arc<Store>,
    options: &ReplicasOptions,
    sources: &Sources,
    supervisor: &Supervisor,
    metrics: &Metrics,
) -> Result<Arc<dyn Append>, MetricsError> {
    let metrics = ReplicasMetrics::new(metrics)?;
    let replicas = Arc::new(Replicas::new(sink, store, options, Arc::new(runtime::now), sources.held_back().clone()));
    let kept = replicas.clone();
    supervisor.spawn("replicas", move |stop| keep(kept, metrics, stop));
    Ok(replicas)
}

async fn keep(replicas: Arc<Replicas>, mut metrics: ReplicasMetrics, stop: Stop) {
    while !stop.is_requested() {
        metrics.show(&replicas.statistics());
        settled(replicas.maintain());
        stop.sleep(UPKEEP_EVERY).await;
    }
    settled(replicas.finish());
}

fn settled(result: Result<(), AppendError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "samples that were held back of a replica wait until the store can write");
    }
}

struct ReplicasMetrics {
    series: IntGauge,
    switches: IntCounter,
    covered: IntCounter,
    held_back: IntCounter,
    filled: IntCounter,
    untracked: IntCounter,
    shown: Statistics,
}

impl ReplicasMetrics {
    fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {
            series: metrics.int_gauge("highwater_replicas_series", "Series of several replicas that are merged.")?,
            switches: metrics.counter(
                "highwater_replicas_switches_total",
                "How often another replica was listened to for a series.",
            )?,
            covered: metrics.counter(
                "highwater_replicas_samples_covered_total",
                "Samples that were dropped, since another replica's is near them.",
            )?,
            held_back: metrics.counter(
                "highwater_replicas_samples_held_back_total",
                "Samples that waited until it was clear whether they are needed.",
            )?,
            filled: metrics.counter(
                "highwater_replicas_samples_filled_total",
                "Late samples that were stored, since the series had none near them.",
            )?,
            untracked: metrics.counter(
                "highwater_replicas_samples_untracked_total",
                "Samples of series beyond the number that can be merged.",
            )?,
            shown: Statistics::default(),
        })
    }

    fn show(&mut self, now: &Statistics) {
        let was = std::mem::replace(&mut self.shown, *now);
        self.series.set(i64::try_from(now.series).unwrap_or(i64::MAX));
        for (counter, now, was) in [
            (&self.switches, now.switches, was.switches),
            (&self.covered, now.dropped_covered, was.dropped_covered),
            (&self.held_back, now.held_back, was.held_back),
            (&self.filled, now.filled_late, was.filled_late),
            (&self.untracked, now.untracked, was.untracked),
        ] {
            counter.inc_by(now.saturating_sub(was));
        }
    }
}
