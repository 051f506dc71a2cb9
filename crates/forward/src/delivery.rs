//! The task of one destination: wait, encode, send, try again, and end in time.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Row;
use runtime::Stop;

use crate::destination::Destination;
use crate::sender::{Sender, Sent};

/// How long a stopping destination goes on, requests under way included.
const DRAIN: Duration = Duration::from_secs(10);
/// The longest pause that a destination may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Failures, and likewise refusals, are logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(30);

pub(crate) struct Delivery<'a> {
    destination: &'a Destination,
    stop: &'a Stop,
    /// When to give up; set once the end is asked for.
    give_up: OnceLock<Instant>,
    failure_logged: Option<Instant>,
    refusal_logged: Option<Instant>,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(destination: &'a Destination, stop: &'a Stop) -> Self {
        Self { destination, stop, give_up: OnceLock::new(), failure_logged: None, refusal_logged: None }
    }

    /// Empties the queue until the end is asked for, then what is left within [`DRAIN`].
    pub(crate) async fn run(mut self, mut sender: Sender) {
        let queue = &self.destination.queue;
        loop {
            self.wait().await;
            let ending = self.is_ending();
            if self.destination.is_handed_over() {
                return;
            }
            if ending && Instant::now() >= self.deadline() {
                return self.give_up(0);
            }
            let rows = queue.take(self.destination.config.queue.max_samples_per_send);
            if rows.is_empty() {
                if ending {
                    return;
                }
                continue;
            }
            let metadata = self.destination.take_metadata();
            let exemplars = self.destination.take_exemplars();
            let body = sender.encode(&rows, &exemplars, &metadata);
            if !self.deliver(&sender, &body, &rows, exemplars.len()).await {
                if self.destination.is_handed_over() {
                    return queue.put_back(rows);
                }
                return self.give_up(rows.len());
            }
            queue.delivered();
        }
    }

    fn is_ending(&self) -> bool {
        self.stop.is_requested() || self.destination.closing.is_cancelled()
    }

    async fn ending(&self) {
        tokio::select! {
            () = self.stop.requested() => {}
            () = self.destination.closing.cancelled() => {}
        }
    }

    fn deadline(&self) -> Instant {
        *self.give_up.get_or_init(|| Instant::now() + DRAIN)
    }

    async fn time_is_up(&self) {
        self.ending().await;
        tokio::time::sleep_until(self.deadline().into()).await;
    }

    fn give_up(&self, in_flight: usize) {
        let lost = in_flight + self.destination.queue.take(usize::MAX).len();
        self.destination.queue.delivered();
        self.destination.dropped("stopped", lost);
        if lost > 0 {
            tracing::warn!(destination = %self.destination.config.name, samples = lost, "stopped before everything was sent; these samples are lost");
        }
    }

    /// Returns when a request's worth waits, or the first sample has waited long enough, or the end is near.
    async fn wait(&self) {
        let config = &self.destination.config.queue;
        loop {
            let state = self.destination.measure();
            if self.is_ending() || state.waiting >= config.max_samples_per_send {
                return;
            }
            let left = config.batch_send_deadline.saturating_sub(state.waiting_since);
            if state.waiting > 0 && left.is_zero() {
                return;
            }
            // An empty queue still wakes now and then, for the metrics' sake only.
            let pause = if state.waiting > 0 { left } else { Duration::from_secs(60) };
            tokio::select! {
                () = self.destination.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.ending() => return,
            }
        }
    }

    /// Sends until the destination has the body or refuses it. False when time ran out while ending, or when
    /// a successor shall go on.
    async fn deliver(&mut self, sender: &Sender, body: &Bytes, rows: &[Row], exemplars: usize) -> bool {
        let (destination, name) = (self.destination, self.destination.config.name.as_str());
        let mut backoff = destination.config.queue.min_backoff;
        loop {
            let started = Instant::now();
            let sent = tokio::select! {
                sent = sender.send(body) => sent,
                () = self.time_is_up() => return false,
            };
            destination.metrics.seconds.with_label_values(&[name]).observe(started.elapsed().as_secs_f64());
            let (reason, asked) = match sent {
                Sent::Accepted(bytes) => {
                    self.accepted(rows, bytes);
                    destination.metrics.exemplars.with_label_values(&[name]).inc_by(exemplars as u64);
                    return true;
                }
                Sent::Refused(reason, written) => {
                    self.refused(rows, &reason, written);
                    destination.exemplars_dropped(exemplars);
                    return true;
                }
                Sent::Failed(reason, asked) => (reason, asked),
            };
            destination.metrics.up.with_label_values(&[name]).set(0);
            destination.metrics.retries.with_label_values(&[name]).inc();
            let state = destination.measure();
            if is_due(&mut self.failure_logged) {
                tracing::warn!(destination = name, url = %destination.config.url, reason, waiting = state.unsent, "cannot send; will try again");
            }
            // A destination may ask for a longer pause, not for a shorter one; near the end there is no time for it.
            let ending = self.is_ending();
            if self.destination.is_handed_over() {
                return false;
            }
            let pause =
                asked.filter(|_| !ending).map_or_else(|| jittered(backoff), |p| p.max(backoff).min(MAX_RETRY_AFTER));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.ending(), if !ending => {}
                () = self.time_is_up(), if ending => return false,
            }
            backoff = (backoff * 2).min(destination.config.queue.max_backoff);
        }
    }

    fn accepted(&self, rows: &[Row], bytes: usize) {
        let (name, metrics) = ([self.destination.config.name.as_str()], &self.destination.metrics);
        metrics.up.with_label_values(&name).set(1);
        metrics.sent.with_label_values(&name).inc_by(rows.len() as u64);
        metrics.bytes.with_label_values(&name).inc_by(bytes as u64);
        if let Some(newest) = rows.iter().map(|r| r.sample.timestamp).max() {
            metrics.newest_sent.with_label_values(&name).set(newest.as_seconds());
        }
    }

    fn refused(&mut self, rows: &[Row], reason: &str, written: usize) {
        let (name, metrics) = (self.destination.config.name.as_str(), &self.destination.metrics);
        let written = written.min(rows.len());
        metrics.up.with_label_values(&[name]).set(1);
        metrics.sent.with_label_values(&[name]).inc_by(written as u64);
        self.destination.dropped("refused", rows.len() - written);
        if is_due(&mut self.refusal_logged) {
            let samples = rows.len() - written;
            tracing::warn!(destination = name, samples, reason, "the destination refused samples; not sent again");
        }
    }
}

/// Whether the last line is long enough ago; notes the new one.
fn is_due(logged: &mut Option<Instant>) -> bool {
    let due = logged.is_none_or(|at| at.elapsed() >= LOG_EVERY);
    if due {
        *logged = Some(Instant::now());
    }
    due
}

/// Between half and all of it, so that many senders do not return at once.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) as u32;
    pause.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}
