//! The gate: who waits, who runs, and on which thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use runtime::{Metrics, MetricsError};
use tokio::sync::oneshot;

use crate::Caller;
use crate::metrics::GateMetrics;
use crate::queue::FairQueue;

/// Of how many slots each class has one for itself.
const SHARE: usize = 5;

/// The size of a gate.
#[derive(Debug, Clone, Copy)]
pub struct GateOptions {
    /// How many queries run at once. Of these rules have a fifth for themselves, at least one, and so have all others; a
    /// single slot goes to whoever waits, rules first.
    pub slots: usize,
    /// How many queries may wait, rules aside. A rule group waits with one evaluation at most.
    pub max_waiting: usize,
}

/// Why a query did not run, or has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// As many wait as may, and this caller with most of them.
    #[error("too many queries are waiting; try again later, ask for less at a time, or raise --query.max-concurrency")]
    Full,
    /// The deadline passed before it was its turn.
    #[error("query timed out in query queue")]
    LateInQueue,
    /// The deadline passed while it ran; it ends soon.
    #[error("query timed out in query execution")]
    Late,
    /// It panicked; the panic is in the log.
    #[error("internal error: the query panicked")]
    Panicked,
}

/// Lets a bounded number of queries run at once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct QueryGate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    slots: usize,
    /// The most that either class may take.
    most: usize,
    state: Mutex<State>,
    metrics: GateMetrics,
}

#[derive(Debug)]
struct State {
    running: [usize; 2],
    rules: VecDeque<oneshot::Sender<Pass>>,
    callers: FairQueue<oneshot::Sender<Pass>>,
}

/// The two classes of queries, as indexes and as metrics name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Rules = 0,
    Callers = 1,
}

/// A slot; dropping it lets the next one in.
#[derive(Debug)]
pub struct Pass {
    gate: QueryGate,
    class: Class,
}

/// What a query is told when its turn has come.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// How long it waited.
    pub waited: Duration,
}

impl State {
    /// Takes whoever may run next out of the queues.
    fn next(&mut self, slots: usize, most: usize) -> Option<(Class, oneshot::Sender<Pass>)> {
        let free = |running: &[usize; 2], class| running[0] + running[1] < slots && running[class as usize] < most;
        let waiting = if free(&self.running, Class::Rules) { self.rules.pop_front() } else { None };
        let next = match waiting {
            Some(ticket) => Some((Class::Rules, ticket)),
            None if free(&self.running, Class::Callers) => self.callers.pop().map(|ticket| (Class::Callers, ticket)),
            None => None,
        }?;
        self.running[next.0 as usize] += 1;
        Some(next)
    }
}

impl QueryGate {
    /// A gate that is open.
    ///
    /// # Errors
    /// When its metrics are registered already.
    pub fn new(options: GateOptions, metrics: &Metrics) -> Result<Self, MetricsError> {
        let slots = options.slots.max(1);
        let share = if slots > 1 { (slots / SHARE).max(1) } else { 0 };
        let state = State { running: [0; 2], rules: VecDeque::new(), callers: FairQueue::new(options.max_waiting) };
        let metrics = GateMetrics::new(metrics, slots)?;
        Ok(Self { inner: Arc::new(Inner { slots, most: slots - share, state: Mutex::new(state), metrics }) })
    }

    /// Waits for the turn of one of the caller's queries. Dropping the future withdraws it.
    ///
    /// # Errors
    /// [`GateError::Full`], at once or when somebody who has less waiting comes.
    pub async fn enter(&self, caller: &Caller) -> Result<Pass, GateError> {
        let (ticket, turn) = oneshot::channel();
        let pushed = self.inner.state.lock().callers.push(caller, ticket);
        let _waiting = match pushed {
            // Whoever waits for a displaced ticket hears that by the end of its channel.
            Ok((id, _displaced)) => Some(Waiting { gate: self, id }),
            // A slot may be free all the same: a queue without room is no reason to refuse then.
            Err(ticket) => {
                self.enter_past_queue(ticket);
                None
            }
        };
        self.admit();
        turn.await.map_err(|_| self.refused())
    }

    /// Takes a free slot, where nobody waits for it, for what a queue that can hold nobody has refused.
    fn enter_past_queue(&self, ticket: oneshot::Sender<Pass>) {
        let mut state = self.inner.state.lock();
        let [rules, callers] = state.running;
        if state.callers.len() == 0 && rules + callers < self.inner.slots && callers < self.inner.most {
            state.running[Class::Callers as usize] += 1;
            drop(state);
            self.hand_over(Class::Callers, ticket);
        }
    }

    fn refused(&self) -> GateError {
        self.inner.metrics.refused.inc();
        GateError::Full
    }

    /// Waits for the turn of a rule group, which comes before those of all callers.
    pub async fn enter_for_rules(&self) -> Pass {
        loop {
            let (ticket, turn) = oneshot::channel();
            self.inner.state.lock().rules.push_back(ticket);
            self.admit();
            // The gate keeps every ticket of rules until it hands a slot over.
            if let Ok(pass) = turn.await {
                return pass;
            }
        }
    }

    /// Runs a caller's query when its turn comes, on a thread of its own. When the deadline passes first, or the future
    /// is dropped, a query that waits is withdrawn and one that runs keeps its slot until it ends: it should look at a
    /// flag of its own.
    ///
    /// # Errors
    /// As [`GateError`] says.
    pub async fn run<T: Send + 'static>(
        &self,
        caller: &Caller,
        deadline: Instant,
        work: impl FnOnce(Turn) -> T + Send + 'static,
    ) -> Result<T, GateError> {
        let (arrived, _present) = (Instant::now(), self.inner.metrics.arrive());
        let entered = tokio::time::timeout_at(deadline.into(), self.enter(caller)).await;
        let pass = entered.map_err(|_| GateError::LateInQueue)??;
        let running = self.on_thread(pass, arrived, work);
        tokio::time::timeout_at(deadline.into(), running).await.map_err(|_| GateError::Late)?
    }

    /// Runs a rule group's evaluation when its turn comes, on a thread of its own.
    ///
    /// # Errors
    /// [`GateError::Panicked`]
    pub async fn run_for_rules<T: Send + 'static>(
        &self,
        work: impl FnOnce(Turn) -> T + Send + 'static,
    ) -> Result<T, GateError> {
        let (arrived, _present) = (Instant::now(), self.inner.metrics.arrive());
        let pass = self.enter_for_rules().await;
        self.on_thread(pass, arrived, work).await
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        pass: Pass,
        arrived: Instant,
        work: impl FnOnce(Turn) -> T + Send + 'static,
    ) -> Result<T, GateError> {
        let turn = Turn { waited: arrived.elapsed() };
        let task = tokio::task::spawn_blocking(move || {
            let _pass = pass;
            work(turn)
        });
        task.await.map_err(|_| GateError::Panicked)
    }

    /// Hands free slots to those who wait.
    fn admit(&self) {
        loop {
            let next = self.inner.state.lock().next(self.inner.slots, self.inner.most);
            let Some((class, ticket)) = next else { break };
            self.hand_over(class, ticket);
        }
        self.show();
    }

    /// Gives a slot that is counted as taken to whoever holds the other end. Where nobody does any more the pass comes
    /// back, and its end lets the next one in.
    fn hand_over(&self, class: Class, ticket: oneshot::Sender<Pass>) {
        drop(ticket.send(Pass { gate: self.clone(), class }));
    }

    fn show(&self) {
        let state = self.inner.state.lock();
        self.inner.metrics.show(state.running, [state.rules.len(), state.callers.len()]);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.inner.state.lock().running[self.class as usize] -= 1;
        self.gate.admit();
    }
}

/// A caller's place in the queue, given up when it is dropped.
struct Waiting<'g> {
    gate: &'g QueryGate,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.inner.state.lock().callers.remove(self.id);
        self.gate.show();
    }
}

#[cfg(test)]
mod tests;
