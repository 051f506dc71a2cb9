//! One destination: its queue, and the task that empties it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use model::{ExemplarRow, Labels, MetricMetadata};
use parking_lot::Mutex;
use runtime::{HttpClientError, Stop};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config_section::RemoteWriteConfig;
use crate::delivery::Delivery;
use crate::exemplars::WaitingExemplars;
use crate::families::Families;
use crate::forwarder::Stored;
use crate::metrics::ForwardMetrics;
use crate::outgoing::Outgoing;
use crate::queue::{Queue, QueueState};
use crate::sender::Sender;
use crate::series_key::SeriesKey;

pub(crate) struct Destination {
    pub(crate) config: RemoteWriteConfig,
    pub(crate) external_labels: Labels,
    pub(crate) queue: Arc<Queue>,
    pub(crate) wake: Notify,
    /// Cancelled when the destination is no longer configured.
    pub(crate) closing: CancellationToken,
    pub(crate) metrics: ForwardMetrics,
    outgoing: Mutex<Outgoing>,
    exemplars: WaitingExemplars,
    families: Arc<Mutex<Families>>,
    /// Whether another destination goes on with the queue.
    handed_over: AtomicBool,
    /// Cancelled when its task has ended.
    ended: CancellationToken,
}

impl Destination {
    /// A destination. Where `before` leads to the same address under the same name, this one goes on with what it holds.
    /// `before` is the one of the same name, or any: what it knows of families comes only when they change.
    pub(crate) fn new(
        config: RemoteWriteConfig,
        external_labels: Labels,
        metrics: ForwardMetrics,
        before: Option<&Self>,
    ) -> Self {
        let inherited = before.filter(|b| b.config.name == config.name && b.config.url == config.url);
        let outgoing = Outgoing::new(external_labels.clone(), config.matches.clone(), config.relabel.clone());
        Self {
            outgoing: Mutex::new(outgoing),
            queue: inherited.map(|b| b.queue.clone()).unwrap_or_default(),
            families: match (inherited, before) {
                (Some(same), _) => same.families.clone(),
                (None, Some(other)) => Arc::new(Mutex::new(other.families.lock().for_another())),
                (None, None) => Arc::new(Mutex::new(Families::new(Instant::now()))),
            },
            exemplars: WaitingExemplars::default(),
            handed_over: AtomicBool::new(false),
            wake: Notify::new(),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            external_labels,
            config,
            metrics,
        }
    }

    pub(crate) fn client(&self) -> Result<Sender, HttpClientError> {
        Ok(Sender::new(self.config.clone(), self.config.client.build()?))
    }

    /// Queues what this destination wants of what was stored; `labels` reads those of a row.
    pub(crate) fn offer(
        &self,
        stored: &[Stored],
        labels: &dyn Fn(usize) -> Option<Labels>,
        metadata: &[MetricMetadata],
    ) {
        let excess = {
            let mut outgoing = self.outgoing.lock();
            outgoing.forget_old(Instant::now());
            let rows = stored.iter().filter_map(|stored| outgoing.row(stored, labels));
            self.queue.push(rows, self.config.queue.capacity)
        };
        if self.config.metadata.is_some() && !metadata.is_empty() {
            self.families.lock().learn(metadata);
        }
        self.dropped("queue_full", excess);
        self.wake.notify_one();
    }

    /// Keeps what this destination wants of stored exemplars for its next request.
    pub(crate) fn offer_exemplars(&self, stored: &[(SeriesKey, &ExemplarRow)]) {
        if !self.config.exemplars {
            return;
        }
        let mut outgoing = self.outgoing.lock();
        let rows = stored.iter().filter_map(|(key, row)| outgoing.exemplar(*key, row));
        let excess = self.exemplars.push(rows);
        self.exemplars_dropped(excess);
    }

    /// Exemplars that the next request should carry.
    pub(crate) fn take_exemplars(&self) -> Vec<ExemplarRow> {
        self.exemplars.take(self.config.queue.max_samples_per_send)
    }

    pub(crate) fn exemplars_dropped(&self, count: usize) {
        if count > 0 {
            self.metrics.exemplars_dropped.with_label_values(&[self.config.name.as_str()]).inc_by(count as u64);
        }
    }

    /// Asks the task to end: the destination is no longer configured like this. What waits is left to a successor that
    /// shares the queue, or else sent.
    pub(crate) fn close(&self, successors: &[Arc<Self>]) {
        let shared = successors.iter().any(|s| Arc::ptr_eq(&s.queue, &self.queue));
        self.handed_over.store(shared, Ordering::Release);
        self.closing.cancel();
    }

    /// Whether another destination goes on with the queue.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    pub(crate) fn dropped(&self, reason: &str, samples: usize) {
        if samples > 0 {
            self.metrics.dropped.with_label_values(&[self.config.name.as_str(), reason]).inc_by(samples as u64);
        }
    }

    /// Exports what is in the queue.
    pub(crate) fn measure(&self) -> QueueState {
        let state = self.queue.state();
        let name = [self.config.name.as_str()];
        self.metrics.capacity.with_label_values(&name).set(self.config.queue.capacity as i64);
        self.metrics.queued.with_label_values(&name).set(state.unsent as i64);
        self.metrics.oldest.with_label_values(&name).set(state.unsent_since.as_secs_f64());
        state
    }

    /// Families that the next request should carry.
    pub(crate) fn take_metadata(&self) -> Vec<MetricMetadata> {
        let Some(config) = &self.config.metadata else { return Vec::new() };
        let mut families = self.families.lock().take(config, Instant::now());
        let outgoing = self.outgoing.lock();
        families.retain(|entry| outgoing.wants(entry));
        families
    }

    /// Empties the queue until asked to stop. `before` is the destination whose place this one takes: its samples are
    /// older and leave first.
    pub(crate) async fn run(self: Arc<Self>, sender: Sender, before: Option<Arc<Self>>, stop: Stop) {
        let _ended = self.ended.clone().drop_guard();
        if let Some(before) = before {
            before.ended.cancelled().await;
        }
        for reason in ["queue_full", "refused", "stopped"] {
            self.metrics.dropped.with_label_values(&[self.config.name.as_str(), reason]);
        }
        Delivery::new(&self, &stop).run(sender).await;
        if self.closing.is_cancelled() {
            self.metrics.forget(&self.config.name);
        }
    }
}
