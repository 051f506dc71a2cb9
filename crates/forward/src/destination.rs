//! One destination: its queue, and the task that empties it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::{Batch, Labels, MetricMetadata, Row};
use parking_lot::Mutex;
use runtime::{HttpClientError, Stop};
use tokio::sync::Notify;

use crate::config_section::RemoteWriteConfig;
use crate::metrics::ForwardMetrics;
use crate::outgoing::Outgoing;
use crate::queue::Queue;
use crate::sender::{Sender, Sent};

/// How long a stopping destination goes on trying.
const DRAIN: Duration = Duration::from_secs(10);
/// Families that may wait; more are not worth their memory.
const MAX_WAITING_FAMILIES: usize = 100_000;
/// A failing destination is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(30);

pub(crate) struct Destination {
    pub(crate) config: RemoteWriteConfig,
    pub(crate) external_labels: Labels,
    outgoing: Mutex<Outgoing>,
    queue: Queue,
    metadata: Mutex<BTreeMap<String, MetricMetadata>>,
    wake: Notify,
    closing: AtomicBool,
    metrics: ForwardMetrics,
}

impl Destination {
    pub(crate) fn new(config: RemoteWriteConfig, external_labels: Labels, metrics: ForwardMetrics) -> Self {
        let outgoing = Outgoing::new(external_labels.clone(), config.matches.clone(), config.relabel.clone());
        metrics.capacity.with_label_values(&[&config.name]).set(config.queue.capacity as i64);
        metrics.queued.with_label_values(&[&config.name]).set(0);
        for reason in ["queue_full", "refused", "stopped"] {
            metrics.dropped.with_label_values(&[config.name.as_str(), reason]);
        }
        Self {
            outgoing: Mutex::new(outgoing),
            queue: Queue::new(config.queue.capacity),
            metadata: Mutex::default(),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            external_labels,
            config,
            metrics,
        }
    }

    pub(crate) fn client(&self) -> Result<Sender, HttpClientError> {
        Ok(Sender::new(self.config.clone(), self.config.client.build()?))
    }

    /// Queues what this destination wants of a batch.
    pub(crate) fn offer<'a>(&self, batch: &Batch, rows: impl Iterator<Item = &'a Row>) {
        let mut outgoing = self.outgoing.lock();
        let excess = self.queue.push(rows.filter_map(|row| outgoing.row(row)));
        if self.config.send_metadata && !batch.metadata.is_empty() {
            let mut waiting = self.metadata.lock();
            for entry in &batch.metadata {
                if waiting.len() < MAX_WAITING_FAMILIES {
                    waiting.insert(entry.family.clone(), entry.clone());
                }
            }
        }
        drop(outgoing);
        self.dropped("queue_full", excess);
        self.wake.notify_one();
    }

    /// Asks the task to send what waits and end: the destination is no longer configured.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn dropped(&self, reason: &str, samples: usize) {
        if samples > 0 {
            self.metrics.dropped.with_label_values(&[self.config.name.as_str(), reason]).inc_by(samples as u64);
        }
    }

    fn measure(&self) -> (usize, Duration) {
        let (length, age) = self.queue.state();
        let name = [self.config.name.as_str()];
        self.metrics.queued.with_label_values(&name).set(length as i64);
        self.metrics.oldest.with_label_values(&name).set(age.as_secs_f64());
        (length, age)
    }

    /// Empties the queue until asked to stop, then what is left within [`DRAIN`].
    pub(crate) async fn run(self: Arc<Self>, mut sender: Sender, stop: Stop) {
        let mut give_up: Option<Instant> = None;
        loop {
            self.wait(&stop).await;
            let ending = stop.is_requested() || self.closing.load(Ordering::Acquire);
            if ending {
                give_up.get_or_insert_with(|| Instant::now() + DRAIN);
            }
            let rows = self.queue.take(self.config.queue.max_samples_per_send);
            if rows.is_empty() {
                if ending {
                    break;
                }
                continue;
            }
            let metadata = self.take_metadata();
            let body = sender.encode(&rows, &metadata);
            if !self.deliver(&sender, &body, &rows, &stop, give_up).await {
                let lost = self.queue.take(usize::MAX).len();
                self.dropped("stopped", lost + rows.len());
                tracing::warn!(destination = %self.config.name, samples = lost + rows.len(), "stopped before everything was sent; these samples are lost");
                break;
            }
            self.measure();
        }
        if self.closing.load(Ordering::Acquire) {
            self.metrics.forget(&self.config.name);
        }
    }

    fn take_metadata(&self) -> Vec<MetricMetadata> {
        let waiting = std::mem::take(&mut *self.metadata.lock());
        let outgoing = self.outgoing.lock();
        waiting.into_values().filter(|entry| outgoing.wants(entry)).collect()
    }

    /// Returns when a request's worth waits, or the first sample has waited long enough, or the end is near.
    async fn wait(&self, stop: &Stop) {
        loop {
            let (length, age) = self.measure();
            let ending = stop.is_requested() || self.closing.load(Ordering::Acquire);
            if ending || length >= self.config.queue.max_samples_per_send {
                return;
            }
            let left = self.config.queue.batch_send_deadline.saturating_sub(age);
            if length > 0 && left.is_zero() {
                return;
            }
            // An empty queue still wakes now and then, for the metrics' sake only.
            let pause = if length > 0 { left } else { Duration::from_secs(60) };
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = stop.requested() => return,
            }
        }
    }

    /// Sends until the destination has the body or refuses it. False when time ran out while stopping.
    async fn deliver(
        &self,
        sender: &Sender,
        body: &[u8],
        rows: &[Row],
        stop: &Stop,
        mut give_up: Option<Instant>,
    ) -> bool {
        let name = self.config.name.as_str();
        let mut backoff = self.config.queue.min_backoff;
        let mut logged: Option<Instant> = None;
        loop {
            let started = Instant::now();
            let sent = sender.send(body).await;
            self.metrics.seconds.with_label_values(&[name]).observe(started.elapsed().as_secs_f64());
            let (reason, pause) = match sent {
                Sent::Accepted(bytes) => {
                    self.accepted(rows, bytes);
                    return true;
                }
                Sent::Refused(reason) => {
                    self.metrics.up.with_label_values(&[name]).set(1);
                    self.dropped("refused", rows.len());
                    tracing::warn!(
                        destination = name,
                        samples = rows.len(),
                        reason,
                        "the destination refused samples; not sent again"
                    );
                    return true;
                }
                Sent::Failed(reason, pause) => (reason, pause),
            };
            self.metrics.up.with_label_values(&[name]).set(0);
            self.metrics.retries.with_label_values(&[name]).inc();
            if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
                logged = Some(Instant::now());
                tracing::warn!(destination = name, url = %self.config.url, reason, waiting = self.queue.state().0, "cannot send; will try again");
            }
            if stop.is_requested() || self.closing.load(Ordering::Acquire) {
                let deadline = *give_up.get_or_insert_with(|| Instant::now() + DRAIN);
                if Instant::now() + backoff >= deadline {
                    return false;
                }
                tokio::time::sleep(backoff).await;
            } else {
                self.measure();
                stop.sleep(pause.unwrap_or_else(|| jittered(backoff))).await;
            }
            backoff = (backoff * 2).min(self.config.queue.max_backoff);
        }
    }

    fn accepted(&self, rows: &[Row], bytes: usize) {
        let name = [self.config.name.as_str()];
        self.metrics.up.with_label_values(&name).set(1);
        self.metrics.sent.with_label_values(&name).inc_by(rows.len() as u64);
        self.metrics.bytes.with_label_values(&name).inc_by(bytes as u64);
        if let Some(newest) = rows.iter().map(|r| r.sample.timestamp).max() {
            self.metrics.newest_sent.with_label_values(&name).set(newest.as_seconds());
        }
    }
}

/// Between half and all of it, so that many senders do not return at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) as u32;
    pause.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}
