//! A bounded pool for work that computes: queries, rule evaluation, large decodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// Why work was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// As much work is waiting as may wait.
    #[error("too much work is waiting; try again later")]
    Full,
    /// The work panicked; the panic is in the log.
    #[error("internal error: the work panicked")]
    Panicked,
}

/// Runs at most `concurrency` pieces of work at once on threads of their own, and lets at most `waiting` more wait.
#[derive(Clone)]
pub struct CpuPool {
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
    concurrency: usize,
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CpuPool {
    /// A pool; `concurrency` is at least one.
    pub fn new(concurrency: usize, max_waiting: usize) -> Self {
        let concurrency = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self { slots: Arc::new(Semaphore::new(concurrency)), waiting: Arc::default(), max_waiting, concurrency }
    }

    /// How much work may run or wait at once.
    pub fn places(&self) -> usize {
        self.concurrency.saturating_add(self.max_waiting)
    }

    /// Runs `work` when a slot is free. Dropping the future while it waits withdraws the work; once begun it runs to
    /// its end, so long work should look at a flag of its own.
    ///
    /// # Errors
    /// [`PoolError::Full`] at once when too many wait, [`PoolError::Panicked`] when the work panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PoolError> {
        let permit = {
            if self.waiting.fetch_add(1, Ordering::Relaxed)
                >= self.max_waiting.saturating_add(self.slots.available_permits())
            {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                return Err(PoolError::Full);
            }
            let _waiting = Waiting(&self.waiting);
            // The semaphore is never closed; a refusal could only mean that the pool is gone.
            self.slots.clone().acquire_owned().await.map_err(|_| PoolError::Full)?
        };
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        task.await.map_err(|_| PoolError::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refuses_when_too_many_wait() {
        let pool = CpuPool::new(1, 0);
        let (started, wait) = tokio::sync::oneshot::channel();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move || {
                    let _ = started.send(());
                    gate.recv()
                })
                .await
            }
        });
        wait.await.expect("the first work starts");
        assert_eq!(pool.run(|| ()).await, Err(PoolError::Full));
        go.send(()).expect("the first work waits");
        assert!(first.await.expect("joins").is_ok());
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn any_size_is_a_pool() {
        for size in [0, usize::MAX] {
            assert_eq!(CpuPool::new(size, usize::MAX).run(|| 7).await, Ok(7));
        }
    }

    #[tokio::test]
    async fn a_panic_frees_its_slot() {
        let pool = CpuPool::new(1, 1);
        let broken = pool.run(|| assert!(std::hint::black_box(false), "on purpose")).await;
        assert_eq!(broken, Err(PoolError::Panicked));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}
