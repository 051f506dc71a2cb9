//! From a group that is due to people: inhibit, mute time, silence, and then for each integration: wait for the peers'
//! turn, compare with the log, send with retry, log. [`Pipeline::run`] reads in that order; `view` has the first three.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use model::TimestampMs;
use notify::{Alert, Integration, Notification, SendError};
use runtime::Stop;
use tokio::time::Instant;

use crate::cluster::{Cluster, random_u64};
use crate::engine::alert::AlertRecord;
use crate::engine::dedup::{LogEntry, LogKey, Reason};
use crate::engine::route::RouteOptions;
use crate::engine::state::Flush;
use crate::metrics::{FailureReason, NotificationMetrics};
use crate::shared::Core;
use crate::view::View;

/// A flush gets at least so long, however short the group's interval is.
const MIN_TIME: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// Whoever waits for its turn looks so often whether those before it still live.
const LOOK_AT_PEERS: Duration = Duration::from_millis(500);
/// A claim is renewed so often while a send takes its time.
const RENEW_CLAIM: Duration = Duration::from_secs(5);

/// What a flush needs.
pub struct Pipeline {
    /// The state.
    pub core: Arc<Core>,
    /// The peers.
    pub cluster: Arc<Cluster>,
    /// Counters.
    pub metrics: NotificationMetrics,
    /// Where people find this router.
    pub external_url: String,
}

/// What ends the work on one integration without success.
enum Unfinished {
    /// It failed; the next flush tries again.
    Failed(FailureReason, String),
    /// The router stops; after its start, or at a peer, the work goes on.
    Stopping,
}

struct Job<'a> {
    flush: &'a Flush,
    route: &'a RouteOptions,
    integration: &'a dyn Integration,
    key: LogKey,
}

impl Pipeline {
    /// Brings one group to its receiver. True when nothing remains to be said, also when nothing had to be; otherwise
    /// the next flush of the group tries again, since nothing was logged.
    pub async fn run(&self, flush: &Flush, stop: &Stop) -> bool {
        let Some(route) = flush.config.routes.get(flush.id.0).map(|r| &r.options) else { return true };
        let view = View::of(&self.core.state.lock(), flush, route, flush.now);
        for (reason, count) in view.suppressed {
            self.metrics.suppressed.with_label_values(&[reason]).inc_by(count as u64);
        }
        let Some(receiver) = flush.config.receivers.get(&route.receiver).filter(|_| !view.alerts.is_empty()) else {
            return true;
        };
        if !self.settled(stop).await {
            return false;
        }
        let wait = self.cluster.turn_wait();
        let deadline = Instant::now() + route.group_interval.max(MIN_TIME) + wait;
        let jobs = receiver.integrations.iter().map(|integration| {
            let key = LogKey {
                group_key: flush.key.clone(),
                receiver: receiver.name.clone(),
                integration: integration.kind().to_owned(),
                index: integration.index(),
            };
            Job { flush, route, integration: integration.as_ref(), key }
        });
        let jobs: Vec<_> = jobs.collect();
        let done = join_all(jobs.iter().map(|job| self.notify(job, wait, deadline, stop))).await;
        done.into_iter().all(|ok| ok)
    }

    /// Waits until the cluster knows what the peers have said; false when the router stops before.
    async fn settled(&self, stop: &Stop) -> bool {
        tokio::select! {
            () = self.cluster.wait_settled() => true,
            () = stop.requested() => false,
        }
    }

    /// One integration: waits for its turn, then tries until it is done or the deadline passes.
    async fn notify(&self, job: &Job<'_>, wait: Duration, deadline: Instant, stop: &Stop) -> bool {
        let outcome = if self.turn_comes(wait, stop).await {
            self.deliver_before(job, deadline, stop).await
        } else {
            Err(Unfinished::Stopping)
        };
        match outcome {
            Ok(()) => true,
            Err(Unfinished::Stopping) => false,
            Err(Unfinished::Failed(reason, error)) => {
                self.metrics.failed.with_label_values(&[job.integration.kind(), reason.as_str()]).inc();
                let LogKey { group_key, receiver, integration, index } = &job.key;
                tracing::error!(
                    receiver,
                    integration,
                    index,
                    group_key,
                    error,
                    "notification failed; the next flush tries again"
                );
                false
            }
        }
    }

    /// Waits for this router's turn, at most `longest`: it comes at once when those before it die meanwhile. False when
    /// the router stops.
    async fn turn_comes(&self, longest: Duration, stop: &Stop) -> bool {
        let began = Instant::now();
        loop {
            let left = self.cluster.turn_wait().min(longest).saturating_sub(began.elapsed());
            if left.is_zero() {
                return true;
            }
            if !stop.sleep(left.min(LOOK_AT_PEERS)).await {
                return false;
            }
        }
    }

    async fn deliver_before(&self, job: &Job<'_>, deadline: Instant, stop: &Stop) -> Result<(), Unfinished> {
        match tokio::time::timeout_at(deadline, self.deliver(job, deadline, stop)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.cluster.release(&job.key).await;
                Err(Unfinished::Failed(FailureReason::Deadline, "the time until the next flush ran out".to_owned()))
            }
        }
    }

    /// Before every attempt group and log are looked at again: a peer may have sent meanwhile, and while we waited for
    /// it what we would have said may have become wrong.
    async fn deliver(&self, job: &Job<'_>, deadline: Instant, stop: &Stop) -> Result<(), Unfinished> {
        let kind = job.integration.kind();
        let mut backoff = FIRST_BACKOFF;
        let mut counted = false;
        let mut last_failure = "a peer kept its claim".to_owned();
        loop {
            if !self.settled(stop).await {
                return Err(Unfinished::Stopping);
            }
            self.cluster.wait_unclaimed(&job.key).await;
            if !self.look(job).1.is_needed() {
                return Ok(());
            }
            if stop.is_requested() {
                return Err(Unfinished::Stopping);
            }
            let mut pause = jittered(backoff);
            if self.cluster.claim(&job.key).await {
                if !std::mem::replace(&mut counted, true) {
                    self.metrics.notifications.with_label_values(&[kind]).inc();
                }
                match self.attempt(job).await {
                    Ok(()) => return Ok(()),
                    Err(error) => {
                        self.cluster.release(&job.key).await;
                        last_failure = error.to_string();
                        pause = pause_after(error, pause)?;
                        backoff = backoff.mul_f64(1.5).min(LONGEST_BACKOFF);
                    }
                }
            }
            if Instant::now() + pause >= deadline {
                let text = format!("no success before the next flush is due, last: {last_failure}");
                return Err(Unfinished::Failed(FailureReason::Server, text));
            }
            if !stop.sleep(pause).await {
                return Err(Unfinished::Stopping);
            }
        }
    }

    /// The group as it is now and what that means after what was logged; both under one lock.
    fn look(&self, job: &Job<'_>) -> (View, Reason) {
        let state = self.core.state.lock();
        let view = View::of(&state, job.flush, job.route, runtime::now());
        let (send_resolved, repeat_interval) = (job.integration.send_resolved(), job.route.repeat_interval);
        let logged = state.log.get(&job.key);
        let reason = if view.alerts.is_empty() {
            Reason::Nothing
        } else {
            Reason::decide(logged, &view.group_state(), send_resolved, repeat_interval, job.flush.now)
        };
        (view, reason)
    }

    /// One attempt under a claim: what is said is decided now that no peer speaks.
    async fn attempt(&self, job: &Job<'_>) -> Result<(), SendError> {
        let (view, reason) = self.look(job);
        if !reason.is_needed() {
            self.cluster.release(&job.key).await;
            return Ok(());
        }
        if let Some(notification) = self.notification(job, &view, reason) {
            self.send(job, &notification).await?;
            let (receiver, group_key) = (&job.key.receiver, &job.key.group_key);
            let (integration, alerts) = (job.integration.kind(), notification.alerts.len());
            tracing::info!(receiver, integration, group_key, alerts, reason = reason.as_str(), "notified");
        }
        // Also where there was nothing this channel wants to hear of: the next flush must know that it was considered.
        let now = runtime::now();
        let entry = LogEntry::new(job.key.clone(), view.group_state(), now, job.route.repeat_interval);
        self.core.state.lock().log.merge(entry, now);
        self.cluster.sent(&job.key);
        Ok(())
    }

    /// What the channel is told; `None` where only resolved alerts are left and it does not want those.
    fn notification(&self, job: &Job<'_>, view: &View, reason: Reason) -> Option<Notification> {
        let alerts = view.alerts.iter().map(|a| notification_alert(a, view.now));
        let alerts: Vec<_> = alerts.filter(|a| !a.resolved || job.integration.send_resolved()).collect();
        if alerts.is_empty() {
            return None;
        }
        Some(Notification {
            receiver: job.key.receiver.clone(),
            group_key: job.flush.key.clone(),
            group_labels: job.flush.id.1.clone(),
            alerts,
            external_url: self.external_url.clone(),
            truncated_alerts: 0,
            repeat: reason == Reason::Repeat,
            now: job.flush.now,
        })
    }

    /// The sending itself; the claim is renewed while it takes its time.
    async fn send(&self, job: &Job<'_>, notification: &Notification) -> Result<(), SendError> {
        let kind = job.integration.kind();
        self.metrics.requests.with_label_values(&[kind]).inc();
        let started = Instant::now();
        let sending = job.integration.send(notification);
        tokio::pin!(sending);
        let result = loop {
            tokio::select! {
                result = &mut sending => break result,
                () = tokio::time::sleep(RENEW_CLAIM) => { self.cluster.claim(&job.key).await; }
            }
        };
        self.metrics.latency.with_label_values(&[kind]).observe(started.elapsed().as_secs_f64());
        if let Err(error) = &result {
            self.metrics.requests_failed.with_label_values(&[kind]).inc();
            let LogKey { group_key, receiver, integration, index } = &job.key;
            tracing::warn!(receiver, integration, index, group_key, %error, "an attempt to notify failed");
        }
        result
    }
}

fn notification_alert(alert: &AlertRecord, now: TimestampMs) -> Alert {
    Alert {
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        starts_at: alert.starts_at,
        ends_at: alert.ends_at,
        generator_url: alert.generator_url.clone(),
        resolved: alert.resolved_at(now),
    }
}

/// How long to pause before another attempt, or that there is no point in one.
fn pause_after(error: SendError, pause: Duration) -> Result<Duration, Unfinished> {
    match error {
        SendError::Retry { after, .. } => Ok(after.map_or(pause, |after| after.max(pause))),
        SendError::Permanent { reason } => Err(Unfinished::Failed(FailureReason::Client, reason)),
    }
}

/// Between half and one and a half times as long, so that peers and groups do not try in step.
fn jittered(backoff: Duration) -> Duration {
    let fraction = (random_u64() >> 11) as f64 / (1u64 << 53) as f64;
    backoff.mul_f64(0.5 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_honour_what_the_service_asks_for() {
        let second = Duration::from_secs(1);
        let retry = |after| SendError::Retry { after, reason: String::new() };
        let cases = [(None, 1), (Some(second * 5), 5), (Some(Duration::from_millis(1)), 1)];
        for (after, want) in cases {
            let pause = pause_after(retry(after), second).ok();
            assert_eq!(pause, Some(second * want));
        }
        assert!(pause_after(SendError::Permanent { reason: String::new() }, second).is_err());
        for _ in 0..1000 {
            let pause = jittered(second);
            assert!(pause >= second / 2 && pause <= second * 3 / 2, "{pause:?}");
        }
    }
}
