//! Tasks with an owner: none is detached, all are drained on stop, the last started first.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A task's ear for the request to stop.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Resolves when the task should finish what it holds and end.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// Whether that was asked.
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Sleeps, but not beyond the request to stop. True when the whole time has passed.
    pub async fn sleep(&self, duration: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(duration) => true,
            () = self.requested() => false,
        }
    }

    /// An ear that also hears a narrower request, made with the returned token.
    pub fn child(&self) -> (Self, CancellationToken) {
        let token = self.0.child_token();
        (Self(token.clone()), token)
    }
}

struct Task {
    name: String,
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

/// Owns the tasks of one role.
#[derive(Clone, Default)]
pub struct Supervisor {
    tasks: Arc<Mutex<Vec<Task>>>,
    failed: Arc<Mutex<Option<String>>>,
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. A task that panics is logged and makes the process unhealthy: [`Supervisor::failed`] names it.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: impl Into<String>,
        task: impl FnOnce(Stop) -> F,
    ) {
        let name = name.into();
        let stop = CancellationToken::new();
        let inner = tokio::spawn(task(Stop(stop.clone())));
        let failed = self.failed.clone();
        let handle = tokio::spawn({
            let name = name.clone();
            let abort = AbortOnDrop(inner.abort_handle());
            async move {
                let _abort = abort;
                if inner.await.is_err_and(|e| e.is_panic()) {
                    tracing::error!(task = %name, "a task panicked; restart the process and report this");
                    failed.lock().get_or_insert(name);
                }
            }
        });
        let mut tasks = self.tasks.lock();
        tasks.retain(|t| !t.handle.is_finished());
        tasks.push(Task { name, stop, handle });
    }

    /// The first task that panicked.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// Asks every task to stop, the last started first, each only after the one before it has ended, so that what
    /// feeds a queue ends before what drains it. Whatever still runs at the deadline is aborted and named.
    pub async fn stop(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for mut task in tasks.into_iter().rev() {
            task.stop.cancel();
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, &mut task.handle).await.is_err() {
                tracing::warn!(task = %task.name, "did not stop in time; aborted");
                task.handle.abort();
            }
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stops_the_last_started_first_and_lets_it_finish() {
        let supervisor = Supervisor::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        for name in ["queue", "feeder"] {
            let order = order.clone();
            supervisor.spawn(name, |stop| async move {
                stop.requested().await;
                tokio::task::yield_now().await;
                order.lock().push(name);
            });
        }
        supervisor.stop(Duration::from_secs(10)).await;
        assert_eq!(*order.lock(), ["feeder", "queue"]);
    }

    #[tokio::test]
    async fn aborts_what_does_not_listen_and_names_what_panicked() {
        let supervisor = Supervisor::new();
        supervisor.spawn("deaf", |_| std::future::pending());
        supervisor.spawn("broken", |_| async { assert!(std::hint::black_box(false), "on purpose") });
        supervisor.stop(Duration::from_millis(200)).await;
        assert_eq!(supervisor.failed().as_deref(), Some("broken"));
    }
}
