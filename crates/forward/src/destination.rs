//! One destination, as everybody who feeds it sees it. Its task is [`crate::delivery`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use model::{Labels, MetricMetadata};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config_section::RemoteWriteConfig;
use crate::families::Families;
use crate::metrics::DestinationMetrics;
use crate::outgoing::Selector;

pub(crate) struct Destination {
    pub(crate) config: RemoteWriteConfig,
    pub(crate) external_labels: Labels,
    pub(crate) selector: Selector,
    pub(crate) metrics: DestinationMetrics,
    /// Notified when something was queued.
    pub(crate) wake: Arc<Notify>,
    /// Cancelled when the destination is no longer configured.
    pub(crate) closing: CancellationToken,
    /// Cancelled when its task has ended.
    pub(crate) ended: CancellationToken,
    families: Arc<Mutex<Families>>,
    /// Whether another destination of the name goes on with what it has not delivered.
    handed_over: AtomicBool,
}

impl Destination {
    /// A destination. `before` is the one of the same name, or any: what it knows of families comes only when they change.
    pub(crate) fn new(
        config: RemoteWriteConfig,
        external_labels: Labels,
        metrics: DestinationMetrics,
        before: Option<&Self>,
    ) -> Self {
        let same = before.filter(|b| b.config.name == config.name && b.config.urls == config.urls);
        Self {
            selector: Selector::new(&config, &external_labels),
            families: match (same, before) {
                (Some(same), _) => same.families.clone(),
                (None, Some(other)) => Arc::new(Mutex::new(other.families.lock().for_another())),
                (None, None) => Arc::new(Mutex::new(Families::new(Instant::now()))),
            },
            wake: Arc::default(),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            handed_over: AtomicBool::new(false),
            external_labels,
            metrics,
            config,
        }
    }

    /// Asks its task to end; where another destination of the name goes on, without delay.
    pub(crate) fn close(&self, has_successor: bool) {
        self.handed_over.fetch_or(has_successor, Ordering::AcqRel);
        self.closing.cancel();
        self.wake.notify_one();
    }

    /// Whether another destination goes on with what this one has not delivered.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Remembers what is said of families.
    pub(crate) fn learn(&self, metadata: &[MetricMetadata]) {
        if self.config.metadata.is_some() && !metadata.is_empty() {
            self.families.lock().learn(metadata);
        }
    }

    /// Families that the next request should carry.
    pub(crate) fn take_metadata(&self) -> Vec<MetricMetadata> {
        let Some(config) = &self.config.metadata else { return Vec::new() };
        self.families.lock().take(config, Instant::now())
    }

    /// These were taken, and did not arrive.
    pub(crate) fn say_again(&self, metadata: &[MetricMetadata]) {
        self.families.lock().say_again(metadata);
    }
}
