//! What is configured, and what is counted.

use std::sync::Arc;

use model::{Labels, TimestampMs};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> TimestampMs + Send + Sync>;

/// How replicas are told apart, and how many series are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicasOptions {
    /// Labels whose values together name a replica; they are taken off every series. With none of them nothing is merged.
    pub labels: Vec<String>,
    /// Series that are followed at once, about 1 KiB each (0.8 to 1.1 measured). The labels of those beyond are taken off, but their
    /// replicas are not merged.
    pub max_series: usize,
}

impl ReplicasOptions {
    /// Labels without those that tell replicas apart. A tier that has replicas itself sets only these on what it receives:
    /// its own replica's name must not hide those of the senders.
    pub fn shared(&self, labels: &Labels) -> Labels {
        let names: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        labels.without(&names)
    }
}

impl Default for ReplicasOptions {
    /// `replica` is what two edges of a metacluster differ in, `prometheus_replica` what the Prometheus Operator sets.
    fn default() -> Self {
        Self { labels: vec!["replica".to_owned(), "prometheus_replica".to_owned()], max_series: 2_000_000 }
    }
}

/// What became of samples with a replica's label, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Merged series that are followed now.
    pub series: u64,
    /// How often another replica was elected for a series.
    pub switches: u64,
    /// Samples that were dropped, since another replica's is near them.
    pub dropped_covered: u64,
    /// Samples that were held back until it was clear whether they are needed.
    pub held_back: u64,
    /// Samples of the past that were stored, since the series had none near them.
    pub filled_late: u64,
    /// Samples of series that were not followed, since there are as many as may be.
    pub untracked: u64,
}
