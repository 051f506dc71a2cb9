//! All destinations of one process, and the way samples take to them.

use std::sync::Arc;

use model::{Append, AppendReport, Batch, Labels};
use parking_lot::{Mutex, RwLock};
use runtime::{HttpClientError, Metrics, MetricsError, Supervisor};

use crate::config_section::RemoteWriteConfig;
use crate::destination::Destination;
use crate::metrics::ForwardMetrics;
use crate::sender::Sender;

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

    fn offer(&self, batch: &Batch, report: &AppendReport) {
        let destinations = self.destinations.read();
        if destinations.is_empty() {
            return;
        }
        let mut refused = report.refused.iter().map(|r| r.row).peekable();
        let stored: Vec<_> = batch
            .rows
            .iter()
            .enumerate()
            .filter(|(i, _)| refused.next_if_eq(i).is_none())
            .map(|(_, row)| row)
            .collect();
        for destination in destinations.iter() {
            destination.offer(batch, stored.iter().copied());
        }
    }
}

/// A store with forwarders behind it: what the store takes goes on to every destination.
pub struct Ingest {
    /// Where samples are stored.
    pub store: Arc<dyn Append>,
    /// Where stored samples go.
    pub forwarder: Arc<Forwarder>,
}

impl Append for Ingest {
    fn append(&self, batch: &Batch) -> AppendReport {
        let report = self.store.append(batch);
        self.forwarder.offer(batch, &report);
        report
    }
}
