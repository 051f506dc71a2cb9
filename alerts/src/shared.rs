//! What the parts of a router share: the state behind one lock, and the bell that wakes the dispatcher.

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::engine::alert::AlertRecord;
use crate::engine::replica::Records;
use crate::engine::state::{Refused, State};

/// The state and its bell. The lock is held for one decision at a time and never while waiting.
pub struct Core {
    /// Everything the router knows.
    pub state: Mutex<State>,
    /// Rung when a group may be due earlier than the dispatcher believes.
    pub wake: Notify,
}

impl Core {
    /// Wraps a state.
    pub fn new(state: State) -> Self {
        Self { state: Mutex::new(state), wake: Notify::new() }
    }

    /// Takes over records of another router; returns how many were news.
    pub fn merge(&self, records: Records) -> usize {
        if records.len() == 0 {
            return 0;
        }
        let news = self.state.lock().merge(records, runtime::now());
        self.wake.notify_one();
        news
    }

    /// Takes a report of a sender.
    ///
    /// # Errors
    /// When there is no room.
    pub fn receive(&self, alert: AlertRecord) -> Result<(), Refused> {
        self.state.lock().receive(alert, runtime::now())?;
        self.wake.notify_one();
        Ok(())
    }
}
