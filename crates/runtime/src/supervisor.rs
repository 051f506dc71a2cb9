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

/// One step of a stop.
enum Stage {
    Task(Task),
    Group(Arc<Mutex<Vec<Task>>>),
}

#[derive(Clone)]
enum Members {
    /// Stopped one after another, the last started first.
    InOrder(Arc<Mutex<Vec<Stage>>>),
    /// A group: stopped all at once.
    Together(Arc<Mutex<Vec<Task>>>),
}

/// Owns the tasks of one role.
#[derive(Clone)]
pub struct Supervisor {
    members: Members,
    failed: Arc<Mutex<Option<String>>>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self { members: Members::InOrder(Arc::default()), failed: Arc::default() }
    }
}

impl Supervisor {
    /// A supervisor without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// A place in the order of stops for tasks that come and go with reloads: whenever one of them is spawned, it is
    /// stopped when the turn comes to what was started when the group was made. Members are asked all at once, so that
    /// one that drains slowly takes no time from the others.
    pub fn group(&self) -> Self {
        let tasks = Arc::default();
        if let Members::InOrder(stages) = &self.members {
            stages.lock().push(Stage::Group(Arc::clone(&tasks)));
            return Self { members: Members::Together(tasks), failed: self.failed.clone() };
        }
        self.clone()
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
        let task = Task { name, stop, handle };
        let running = |t: &Task| !t.handle.is_finished();
        match &self.members {
            Members::InOrder(stages) => {
                let mut stages = stages.lock();
                stages.retain(|stage| match stage {
                    Stage::Task(task) => running(task),
                    Stage::Group(_) => true,
                });
                stages.push(Stage::Task(task));
            }
            Members::Together(tasks) => {
                let mut tasks = tasks.lock();
                tasks.retain(running);
                tasks.push(task);
            }
        }
    }

    /// The first task that panicked.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// Asks every task to stop, the last started first, each only after the one before it has ended, so that what
    /// feeds a queue ends before what drains it. Whatever still runs at the deadline is aborted and named.
    pub async fn stop(&self, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let tasks = self.next_to_stop();
            if tasks.is_empty() {
                return;
            }
            end(tasks, deadline).await;
        }
    }

    /// What to stop now; nothing when all has ended. One step at a time, so that what a task starts while it ends is
    /// stopped too.
    fn next_to_stop(&self) -> Vec<Task> {
        match &self.members {
            Members::Together(tasks) => std::mem::take(&mut *tasks.lock()),
            Members::InOrder(stages) => loop {
                let stage = stages.lock().pop();
                match stage {
                    None => return Vec::new(),
                    Some(Stage::Task(task)) => return vec![task],
                    Some(Stage::Group(tasks)) => {
                        let tasks = std::mem::take(&mut *tasks.lock());
                        if !tasks.is_empty() {
                            return tasks;
                        }
                    }
                }
            },
        }
    }
}

async fn end(tasks: Vec<Task>, deadline: Instant) {
    tasks.iter().for_each(|task| task.stop.cancel());
    for mut task in tasks {
        let left = deadline.saturating_duration_since(Instant::now());
        if tokio::time::timeout(left, &mut task.handle).await.is_err() {
            tracing::warn!(task = %task.name, "did not stop in time; aborted");
            task.handle.abort();
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
    async fn a_group_keeps_its_place_and_its_members_end_together() {
        let supervisor = Supervisor::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        let both = Arc::new(tokio::sync::Barrier::new(2));
        let queues = supervisor.group();
        let spawn = |on: &Supervisor, name: &'static str, meet: bool| {
            let (order, both) = (order.clone(), both.clone());
            on.spawn(name, move |stop| async move {
                stop.requested().await;
                if meet {
                    both.wait().await;
                }
                order.lock().push(name);
            });
        };
        spawn(&queues, "queue", true);
        spawn(&supervisor, "feeder", false);
        spawn(&queues, "queue", true);
        supervisor.stop(Duration::from_secs(10)).await;
        assert_eq!(*order.lock(), ["feeder", "queue", "queue"]);
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
