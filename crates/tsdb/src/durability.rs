//! The thread that flushes the WAL: requests that must reach the disk share its syncs, and otherwise it syncs now and then.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use model::{AppendError, Commit, Durable};
use parking_lot::{Condvar, Mutex};

use crate::WalSync;

/// Flushes and says up to which position.
type Flush = Box<dyn Fn() -> Result<Commit, AppendError> + Send>;

#[derive(Default)]
struct State {
    /// Who waits for which position.
    waiting: Vec<(Commit, Durable)>,
    stopping: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

/// Stopped and joined when dropped; those that still wait are told that the store is closed.
pub(crate) struct Durability {
    policy: WalSync,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Durability {
    /// Starts the thread where the policy needs one.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(policy: WalSync, flush: Flush) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let working = shared.clone();
        let work: Option<Box<dyn FnOnce() + Send>> = match policy {
            WalSync::Each => Some(Box::new(move || serve_requests(&working, &flush))),
            WalSync::Interval(every) => Some(Box::new(move || flush_every(&working, every, &flush))),
            WalSync::Off => None,
        };
        let spawn = |work| std::thread::Builder::new().name("wal-sync".to_owned()).spawn(work);
        let thread = Mutex::new(work.map(spawn).transpose()?);
        Ok(Self { policy, shared, thread })
    }

    /// Calls `done` once everything before `commit` is as durable as the policy promises. `synced` is known to be.
    pub(crate) fn when(&self, commit: Commit, synced: Commit, done: Durable) {
        if self.policy != WalSync::Each || commit <= synced {
            done(Ok(()));
            return;
        }
        let mut state = self.shared.state.lock();
        if state.stopping {
            drop(state);
            done(Err(AppendError::Closed));
            return;
        }
        state.waiting.push((commit, done));
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Ends the thread after what it is doing.
    pub(crate) fn stop(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            // A panic in there was reported when it happened.
            let _ = thread.join();
        }
        let left = std::mem::take(&mut self.shared.state.lock().waiting);
        left.into_iter().for_each(|(_, done)| done(Err(AppendError::Closed)));
    }
}

impl Drop for Durability {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Group commit: whoever asks while one sync runs is served by the next.
fn serve_requests(shared: &Shared, flush: &Flush) {
    loop {
        let batch = {
            let mut state = shared.state.lock();
            while state.waiting.is_empty() {
                if state.stopping {
                    return;
                }
                shared.wake.wait(&mut state);
            }
            std::mem::take(&mut state.waiting)
        };
        let flushed = flush();
        for (commit, done) in batch {
            done(match &flushed {
                Ok(position) if commit <= *position => Ok(()),
                // What was written before the call of `flush` is flushed by it, and everything that waits was.
                Ok(_) => Err(AppendError::Unwritable("the WAL was flushed short of a request".to_owned())),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

fn flush_every(shared: &Shared, every: Duration, flush: &Flush) {
    let mut state = shared.state.lock();
    while !state.stopping {
        if shared.wake.wait_for(&mut state, every).timed_out() {
            parking_lot::MutexGuard::unlocked(&mut state, || {
                // Failures are counted and kept where the log is written.
                let _ = flush();
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn requests_wait_for_a_sync_that_covers_them() {
        let written = Arc::new(AtomicU64::new(0));
        let position = written.clone();
        let flush: Flush = Box::new(move || Ok(Commit(position.load(Ordering::Acquire))));
        let durability = Durability::start(WalSync::Each, flush).expect("starts");
        let (sender, receiver) = mpsc::channel();
        for request in 1..=20 {
            written.store(request, Ordering::Release);
            let sender = sender.clone();
            let done: Durable = Box::new(move |outcome| sender.send(outcome).expect("is awaited"));
            durability.when(Commit(request), Commit(0), done);
        }
        for _ in 1..=20 {
            assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(Ok(())));
        }
    }

    #[test]
    fn a_failed_sync_is_told_and_a_stop_leaves_nobody_waiting() {
        let flush: Flush = Box::new(|| Err(AppendError::Unwritable("full".to_owned())));
        let durability = Durability::start(WalSync::Each, flush).expect("starts");
        let (sender, receiver) = mpsc::channel();
        let done = |sender: mpsc::Sender<_>| -> Durable { Box::new(move |o| sender.send(o).expect("is awaited")) };
        durability.when(Commit(1), Commit(0), done(sender.clone()));
        let failed = receiver.recv_timeout(Duration::from_secs(10)).expect("answers");
        assert_eq!(failed, Err(AppendError::Unwritable("full".to_owned())));
        durability.stop();
        durability.when(Commit(2), Commit(0), done(sender));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(Err(AppendError::Closed)));
    }
}
