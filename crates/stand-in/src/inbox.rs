//! What a stand-in received, and how it was told to fail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

/// Older messages are forgotten.
const MAX_MESSAGES: usize = 10_000;
/// Older refusals are forgotten.
const MAX_REFUSALS: usize = 1000;

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("not within {within:?}; {received} messages came, and these were refused: {refusals:?}")]
pub struct TimedOut {
    within: Duration,
    received: usize,
    refusals: Vec<String>,
}

/// The messages that one stand-in took, in order of arrival. Cheap to clone.
#[derive(Debug)]
pub struct Inbox<M> {
    shared: Arc<Shared<M>>,
}

impl<M> Clone for Inbox<M> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

#[derive(Debug)]
struct Shared<M> {
    state: Mutex<State<M>>,
    /// Counts changes.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State<M> {
    messages: VecDeque<M>,
    refusals: VecDeque<String>,
    duplicates: u64,
}

impl<M: Clone + Serialize> Inbox<M> {
    pub(crate) fn new() -> Self {
        let state = State { messages: VecDeque::new(), refusals: VecDeque::new(), duplicates: 0 };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(0) }) }
    }

    fn change(&self, change: impl FnOnce(&mut State<M>)) {
        {
            let mut state = self.shared.state.lock();
            change(&mut state);
            let excess = state.messages.len().saturating_sub(MAX_MESSAGES);
            state.messages.drain(..excess);
            let excess = state.refusals.len().saturating_sub(MAX_REFUSALS);
            state.refusals.drain(..excess);
        }
        self.shared.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn take(&self, message: M) {
        self.change(|state| state.messages.push_back(message));
    }

    pub(crate) fn suppress(&self) {
        self.change(|state| state.duplicates += 1);
    }

    pub(crate) fn refuse(&self, reason: impl Into<String>) {
        self.change(|state| state.refusals.push_back(reason.into()));
    }

    /// Everything taken so far (the last 10,000).
    pub fn messages(&self) -> Vec<M> {
        self.shared.state.lock().messages.iter().cloned().collect()
    }

    /// Why requests were refused, failures on demand included (the last 1,000).
    pub fn refusals(&self) -> Vec<String> {
        self.shared.state.lock().refusals.iter().cloned().collect()
    }

    /// How many messages were taken but shown to nobody, because the same was there before.
    pub fn duplicates(&self) -> u64 {
        self.shared.state.lock().duplicates
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.change(|state| {
            state.messages.clear();
            state.refusals.clear();
            state.duplicates = 0;
        });
    }

    /// The messages as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        // Our messages are text, numbers and JSON under text keys; they always serialize.
        serde_json::to_value(self.messages()).unwrap_or_default()
    }

    /// Waits until the messages are as `enough` wants them, and returns them.
    ///
    /// # Errors
    /// When that takes longer than `within`; the error says what came instead.
    pub async fn wait_for(&self, within: Duration, enough: impl Fn(&[M]) -> bool) -> Result<Vec<M>, TimedOut> {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            loop {
                let messages = self.messages();
                if enough(&messages) {
                    return messages;
                }
                // The sender lives as long as we do.
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(within, wait).await.map_err(|_| TimedOut {
            within,
            received: self.messages().len(),
            refusals: self.refusals(),
        })
    }

    /// Waits until at least `count` messages are there, and returns all.
    ///
    /// # Errors
    /// As [`Inbox::wait_for`].
    pub async fn wait_for_count(&self, count: usize, within: Duration) -> Result<Vec<M>, TimedOut> {
        self.wait_for(within, |messages| messages.len() >= count).await
    }
}

/// How a stand-in fails on demand. Cheap to clone.
#[derive(Debug)]
pub struct Faults<F> {
    plan: Arc<Mutex<Plan<F>>>,
}

#[derive(Debug)]
struct Plan<F> {
    next: VecDeque<F>,
    always: Option<F>,
}

impl<F> Clone for Faults<F> {
    fn clone(&self) -> Self {
        Self { plan: self.plan.clone() }
    }
}

impl<F: Clone> Faults<F> {
    pub(crate) fn new() -> Self {
        Self { plan: Arc::new(Mutex::new(Plan { next: VecDeque::new(), always: None })) }
    }

    /// The next request fails like this; may be called several times for several requests.
    pub fn fail_next(&self, fault: F) {
        self.plan.lock().next.push_back(fault);
    }

    /// Every request fails like this from now on; `None` ends it.
    pub fn fail(&self, fault: Option<F>) {
        self.plan.lock().always = fault;
    }

    pub(crate) fn take(&self) -> Option<F> {
        let mut plan = self.plan.lock();
        plan.next.pop_front().or_else(|| plan.always.clone())
    }
}
