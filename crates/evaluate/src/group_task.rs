//! One rule group on its timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use model::TimestampMs;
use parking_lot::{Mutex, RwLock};
use rules::status::GroupStatus;
use rules::{Context, Evaluation, External, Group, GroupState};
use runtime::Stop;
use tokio::sync::Notify;

use crate::manager::Shared;

/// No rule may take longer, whatever the interval.
const MAX_RULE_TIME: Duration = Duration::from_secs(120);
/// Alerts that still fire are sent again after this time (`--rules.alert.resend-delay`).
const RESEND_DELAY: Duration = Duration::from_secs(60);
/// Failures of one evaluation that are logged one by one.
const MAX_LOGGED_FAILURES: usize = 5;

/// A group that runs: shared by its task and the manager.
pub(crate) struct GroupTask {
    pub(crate) group: Arc<Group>,
    shared: Arc<Shared>,
    external: External,
    /// `None` once the manager has taken it to hand it on.
    state: Mutex<Option<GroupState>>,
    status: RwLock<Arc<GroupStatus>>,
    /// Ends an evaluation early.
    cancelled: Arc<AtomicBool>,
    end: Notify,
    ended: tokio::sync::watch::Sender<bool>,
}

impl GroupTask {
    pub(crate) fn new(state: GroupState, shared: Arc<Shared>, external: External) -> Self {
        Self {
            group: state.group().clone(),
            shared,
            external,
            status: RwLock::new(Arc::new(state.status())),
            state: Mutex::new(Some(state)),
            cancelled: Arc::default(),
            end: Notify::new(),
            ended: tokio::sync::watch::Sender::new(false),
        }
    }

    /// The group after its last evaluation.
    pub(crate) fn status(&self) -> Arc<GroupStatus> {
        self.status.read().clone()
    }

    /// Ends the task, waits for it, and takes what the group remembers.
    pub(crate) async fn finish(&self) -> Option<GroupState> {
        self.cancelled.store(true, Ordering::Relaxed);
        self.end.notify_one();
        // Fails only when the sender is gone, and it is ours.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
        self.state.lock().take()
    }

    /// Evaluates the group at each of its times, until asked to stop.
    pub(crate) async fn run(self: Arc<Self>, stop: Stop) {
        let _ended = Ended(&self.ended);
        let mut next = self.group.slot(runtime::now()) + self.group.interval_ms();
        while let Some(at) = self.wait_until(next, &stop).await {
            let evaluation = self.clone().evaluate(at);
            tokio::pin!(evaluation);
            tokio::select! {
                () = &mut evaluation => {}
                () = self.ends(&stop) => {
                    self.cancelled.store(true, Ordering::Relaxed);
                    evaluation.await;
                    return;
                }
            }
            next = self.after(at);
        }
    }

    async fn ends(&self, stop: &Stop) {
        tokio::select! {
            () = stop.requested() => {}
            () = self.end.notified() => {}
        }
    }

    /// The time of the evaluation when it has come; `None` when the task is to end.
    async fn wait_until(&self, at: TimestampMs, stop: &Stop) -> Option<TimestampMs> {
        if self.cancelled.load(Ordering::Relaxed) || stop.is_requested() {
            return None;
        }
        let left_ms = at - runtime::now();
        // A clock that was set back must not silence the group for longer than its interval, nor make it write ahead.
        let wait = Duration::from_millis(left_ms.clamp(0, self.group.interval_ms()).unsigned_abs());
        tokio::select! {
            () = tokio::time::sleep(wait) => Some(at.min(self.group.slot(runtime::now()))),
            () = self.ends(stop) => None,
        }
    }

    /// The time of the next evaluation. Times that passed meanwhile are missed, except for the latest.
    fn after(&self, evaluated: TimestampMs) -> TimestampMs {
        let (latest, interval) = (self.group.slot(runtime::now()), self.group.interval_ms());
        let skipped = (latest - evaluated) / interval - 1;
        if skipped < 0 {
            return evaluated.max(latest) + interval;
        }
        if skipped > 0 {
            self.shared.metrics.missed(&self.group, skipped.unsigned_abs());
            tracing::warn!(group = %self.group.name, file = %self.group.file, missed = skipped,
                "evaluations were missed; give the group a longer interval or fewer rules");
        }
        latest
    }

    async fn evaluate(self: Arc<Self>, at: TimestampMs) {
        let task = self.clone();
        // It waits its turn and then knows how many turns it missed, so that nothing else can go wrong but a panic.
        if self.shared.gate.run_for_rules(move |_| task.evaluate_now(at)).await.is_err() {
            tracing::error!(group = %self.group.name, file = %self.group.file, "an evaluation panicked; report this");
        }
    }

    /// Runs on a thread of its own.
    fn evaluate_now(&self, at: TimestampMs) {
        let mut guard = self.state.lock();
        let Some(state) = guard.as_mut() else { return };
        let shared = &self.shared;
        let context = Context {
            engine: &shared.engine,
            storage: &shared.storage,
            sink: shared.sink.as_ref(),
            notify: &|alerts| {
                if let Some(notifier) = &shared.notifier {
                    notifier.send(&alerts);
                }
            },
            external: &self.external,
            rule_timeout: self.group.interval.min(MAX_RULE_TIME),
            resend_delay: RESEND_DELAY,
            cancelled: &self.cancelled,
            monotonic: Instant::now,
        };
        let started = Instant::now();
        let evaluation = state.evaluate(&context, at);
        let took = started.elapsed().as_secs_f64();
        shared.metrics.evaluated(&self.group, &evaluation, at.as_seconds(), took);
        *self.status.write() = Arc::new(state.status());
        self.log(&evaluation);
    }

    fn log(&self, evaluation: &Evaluation) {
        let (group, file) = (&self.group.name, &self.group.file);
        for failure in evaluation.failures.iter().take(MAX_LOGGED_FAILURES) {
            tracing::warn!(%group, %file, rule = %failure.rule, error = %failure.error, "a rule failed");
        }
        for (reason, count) in &evaluation.refused {
            tracing::warn!(%group, %file, samples = count, reason = reason.as_str(), "the store refused samples of rules");
        }
    }
}

/// Says that the task has ended, however it did.
struct Ended<'a>(&'a tokio::sync::watch::Sender<bool>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
