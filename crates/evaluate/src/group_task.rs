//! One rule group on its timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::{Labels, TimestampMs};
use parking_lot::{Mutex, RwLock};
use rules::status::GroupStatus;
use rules::{Context, Evaluation, External, Group, GroupState, LateSources};
use runtime::Stop;
use sources::InputGuard;
use tokio::sync::Notify;

use crate::manager::Shared;

/// No rule may take longer, whatever the interval.
const MAX_RULE_TIME: Duration = Duration::from_secs(120);
/// Alerts that still fire are sent again after this time (`--rules.alert.resend-delay`).
const RESEND_DELAY: Duration = Duration::from_secs(60);
/// Failures of one evaluation that are logged one by one.
const MAX_LOGGED_FAILURES: usize = 5;

/// How often it is looked whether what an evaluation waits for has come; the first looks are closer together.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// A group that runs: shared by its task and the manager.
pub(crate) struct GroupTask {
    pub(crate) group: Arc<Group>,
    shared: Arc<Shared>,
    external: External,
    /// `None` once the manager has taken it to hand it on.
    state: Mutex<Option<GroupState>>,
    status: RwLock<Arc<GroupStatus>>,
    /// Alerts that the last evaluation held.
    held: AtomicUsize,
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
            held: AtomicUsize::default(),
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
        // Before it is due, so that nobody above takes that moment for complete before it is stored.
        let mut registered = self.register(next);
        let mut waited_ms = 0;
        while let Some(at) = self.wait_until(next, &stop).await {
            // Another time than expected where the clock was set back.
            let running = if at == next { registered } else { self.register(at) };
            let Some(waited) = self.wait_for_samples(at, &stop).await else { return };
            let late_ms = (runtime::now() - at).max(0);
            waited_ms = if waited { late_ms } else { late_ms.min(waited_ms) };
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
            next = self.after(at, waited_ms);
            registered = self.register(next);
            drop(running);
        }
    }

    fn register(&self, at: TimestampMs) -> InputGuard {
        self.shared.sources.recordings().begin(self.data_time(at))
    }

    /// What an evaluation at `at` looks at, and what its samples get.
    fn data_time(&self, at: TimestampMs) -> TimestampMs {
        at - i64::try_from(self.group.query_offset.as_millis()).unwrap_or(i64::MAX)
    }

    /// Waits until everything that the evaluation is about is here, for no longer than it may lie behind. Returns whether
    /// there was something to wait for; `None` when the task is to end.
    async fn wait_for_samples(&self, at: TimestampMs, stop: &Stop) -> Option<bool> {
        let data_time = self.data_time(at);
        let bound = data_time + i64::try_from(self.shared.max_watermark_wait.as_millis()).unwrap_or(i64::MAX);
        let (began, mut look) = (Instant::now(), Duration::from_millis(1));
        let is_here = |now| now >= bound || self.shared.sources.watermark_of_inputs(now) >= data_time;
        // The moment itself is over a millisecond later; that is no waiting.
        let mut looks = 0;
        while !is_here(runtime::now()) {
            looks += 1;
            tokio::select! {
                () = tokio::time::sleep(look) => look = (look * 2).min(LONGEST_LOOK),
                () = self.ends(stop) => return None,
            }
        }
        self.shared.metrics.waited(began.elapsed().as_secs_f64());
        Some(looks > 1)
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

    /// The time of the next evaluation. Times that passed meanwhile are missed, except for the latest and for those that
    /// passed while the group waited for samples, `waited_ms` ago: these are made up for.
    fn after(&self, evaluated: TimestampMs, waited_ms: i64) -> TimestampMs {
        let (latest, interval) = (self.group.slot(runtime::now() - waited_ms), self.group.interval_ms());
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
        let is_late = |labels: &Labels| shared.sources.is_late(labels, runtime::now());
        let hold_for = shared.sources.limits().hold_for;
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
            late: (!shared.sources.is_empty()).then_some(LateSources { is_late: &is_late, hold_for }),
            cancelled: &self.cancelled,
            monotonic: Instant::now,
        };
        let started = Instant::now();
        let evaluation = state.evaluate(&context, at);
        let took = started.elapsed().as_secs_f64();
        shared.metrics.evaluated(&self.group, &evaluation, at.as_seconds(), took);
        *self.status.write() = Arc::new(state.status());
        self.log(&evaluation);
        self.log_held(evaluation.held);
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

impl GroupTask {
    /// Once when it begins, once when it is over.
    fn log_held(&self, held: usize) {
        let (group, file) = (&self.group.name, &self.group.file);
        let before = self.held.swap(held, Ordering::Relaxed);
        if held > 0 && before == 0 {
            tracing::warn!(%group, %file, alerts = held, "alerts keep their state: their source is late or gone");
        } else if held == 0 && before > 0 {
            tracing::info!(%group, %file, "no alert is held any more");
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
