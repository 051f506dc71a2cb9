//! All destinations of one process, and the way samples take to them.

use std::sync::Arc;

use model::{
    Append, AppendError, AppendReport, Batch, Commit, Durable, EncodedBatch, ExemplarReport, ExemplarRow, Labels,
    MetricMetadata, Sample,
};
use parking_lot::{Mutex, RwLock};
use runtime::{HttpClientError, Metrics, MetricsError, Supervisor};

use crate::config_section::RemoteWriteConfig;
use crate::destination::Destination;
use crate::metrics::ForwardMetrics;
use crate::sender::Sender;
use crate::series_key::{SeriesKey, SeriesKeys};

/// A forwarder that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// A destination's client: a certificate that cannot be read, mostly.
    #[error("remote_write destination {name:?}: {source}")]
    Client {
        /// Which destination.
        name: String,
        /// What is wrong.
        source: HttpClientError,
    },
    /// A metric's name is taken.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// Sends stored samples to every destination.
pub struct Forwarder {
    supervisor: Supervisor,
    metrics: ForwardMetrics,
    destinations: RwLock<Vec<Arc<Destination>>>,
    keys: SeriesKeys,
    updating: Mutex<()>,
}

impl Forwarder {
    /// A forwarder without destinations.
    ///
    /// # Errors
    /// When its metrics are registered already.
    pub fn new(supervisor: &Supervisor, metrics: &Metrics) -> Result<Self, ForwardError> {
        Ok(Self {
            // Whenever a destination is added, it drains after everything that may feed it.
            supervisor: supervisor.group(),
            metrics: ForwardMetrics::new(metrics)?,
            destinations: RwLock::default(),
            keys: SeriesKeys::default(),
            updating: Mutex::default(),
        })
    }

    /// Makes these the destinations: unchanged ones go on with what they hold, changed ones hand it
    /// over where name and URL stay, removed ones send it and end. On an
    /// error nothing changes.
    ///
    /// # Errors
    /// When a destination's client cannot be built.
    pub fn update(&self, configs: &[RemoteWriteConfig], external_labels: &Labels) -> Result<(), ForwardError> {
        let _one_at_a_time = self.updating.lock();
        let current = self.destinations.read().clone();
        let mut next: Vec<(Arc<Destination>, Option<Sender>)> = Vec::new();
        for config in configs {
            let same = current.iter().find(|d| d.config == *config && d.external_labels == *external_labels);
            next.push(match same {
                Some(destination) => (destination.clone(), None),
                None => {
                    let named = current.iter().find(|d| d.config.name == config.name);
                    let before = named.or(current.first()).map(Arc::as_ref);
                    let made = Destination::new(config.clone(), external_labels.clone(), self.metrics.clone(), before);
                    let sender =
                        made.client().map_err(|source| ForwardError::Client { name: config.name.clone(), source })?;
                    (Arc::new(made), Some(sender))
                }
            });
        }
        let successors: Vec<Arc<Destination>> = next.iter().map(|(d, _)| d.clone()).collect();
        *self.destinations.write() = successors.clone();
        for old in &current {
            if !next.iter().any(|(d, _)| Arc::ptr_eq(d, old)) {
                old.close(&successors);
            }
        }
        for (destination, sender) in next {
            if let Some(sender) = sender {
                // What the destination of this name still holds goes first, so that samples stay in order.
                let before = current.iter().find(|d| d.config.name == destination.config.name).cloned();
                let name = format!("forward {}", destination.config.name);
                self.supervisor.spawn(name, move |stop| destination.run(sender, before, stop));
            }
        }
        Ok(())
    }

    /// Offers what the store took of a batch to every destination. `rows` are all rows of the batch; `labels` reads those
    /// of one, and is asked for series that a destination does not remember.
    fn offer(
        &self,
        rows: impl Iterator<Item = (SeriesKey, Sample)>,
        labels: &dyn Fn(usize) -> Option<Labels>,
        metadata: &[MetricMetadata],
        report: &AppendReport,
    ) {
        let mut refused = report.refused.iter().map(|r| r.row).peekable();
        let stored: Vec<Stored> = rows
            .enumerate()
            .filter(|(row, _)| refused.next_if_eq(row).is_none())
            .map(|(row, (key, sample))| Stored { key, row, sample })
            .collect();
        for destination in self.destinations.read().iter() {
            destination.offer(&stored, labels, metadata);
        }
    }

    /// Offers the exemplars that the store took.
    fn offer_exemplars(&self, rows: &[ExemplarRow], report: &ExemplarReport) {
        let mut refused = report.refused.iter().map(|r| r.row).peekable();
        let taken = rows.iter().enumerate().filter(|(row, _)| refused.next_if_eq(row).is_none());
        let stored: Vec<_> = taken.map(|(_, row)| (self.keys.of_labels(&row.series), row)).collect();
        for destination in self.destinations.read().iter() {
            destination.offer_exemplars(&stored);
        }
    }

    fn is_idle(&self) -> bool {
        self.destinations.read().is_empty()
    }
}

/// A row that the store has taken.
pub(crate) struct Stored {
    pub(crate) key: SeriesKey,
    /// Which row of its batch it was.
    pub(crate) row: usize,
    pub(crate) sample: Sample,
}

/// A store with forwarders behind it: what the store takes goes on to every destination. What it cannot take at the
/// moment does not: its sender will come again with it.
pub struct Ingest {
    /// Where samples are stored.
    pub store: Arc<dyn Append>,
    /// Where stored samples go.
    pub forwarder: Arc<Forwarder>,
}

impl Append for Ingest {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        let report = self.store.append(batch)?;
        if !self.forwarder.is_idle() {
            let rows = batch.rows.iter().map(|row| (self.forwarder.keys.of_labels(&row.labels), row.sample));
            let labels = |row: usize| batch.rows.get(row).map(|row| row.labels.clone());
            self.forwarder.offer(rows, &labels, &batch.metadata, &report);
        }
        Ok(report)
    }

    fn append_encoded(&self, batch: &EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
        let report = self.store.append_encoded(batch)?;
        if !self.forwarder.is_idle() {
            let key = self.forwarder.keys.encoded(batch.context);
            let rows = batch.rows.iter().map(|row| (key(row.labels), row.sample));
            // What the store took, it could decode.
            let labels = |row: usize| batch.rows.get(row).and_then(|row| batch.decoder.decode(row.labels).ok());
            self.forwarder.offer(rows, &labels, batch.metadata, &report);
        }
        Ok(report)
    }

    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        let report = self.store.append_exemplars(rows)?;
        if !self.forwarder.is_idle() {
            self.forwarder.offer_exemplars(rows, &report);
        }
        Ok(report)
    }

    fn when_durable(&self, commit: Commit, done: Durable) {
        self.store.when_durable(commit, done);
    }
}
