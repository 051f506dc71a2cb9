//! The thread that flushes the queue to the disk for requests that wait for it. Those that come while it flushes share
//! the next flush.

use std::sync::mpsc::{Receiver, Sender, channel};

use model::{AppendError, Durable};
use parking_lot::Mutex;
use queue::Queue;

pub(crate) struct Syncer {
    /// Closing it ends the thread. As many wait as there are requests, which the receiver bounds.
    waiting: Mutex<Sender<Durable>>,
}

impl Syncer {
    pub(crate) fn start(queue: Queue) -> std::io::Result<Self> {
        let (waiting, asked) = channel();
        std::thread::Builder::new().name("queue sync".to_owned()).spawn(move || run(&queue, &asked))?;
        Ok(Self { waiting: Mutex::new(waiting) })
    }

    /// Calls `done` when everything that was queued before survives a power loss.
    pub(crate) fn when_synced(&self, done: Durable) {
        let sent = self.waiting.lock().send(done);
        if let Err(unsent) = sent {
            (unsent.0)(Err(AppendError::Closed));
        }
    }
}

fn run(queue: &Queue, asked: &Receiver<Durable>) {
    while let Ok(first) = asked.recv() {
        let all: Vec<Durable> = std::iter::once(first).chain(asked.try_iter()).collect();
        let synced = queue.sync().map(drop).map_err(|error| AppendError::Unwritable(error.to_string()));
        all.into_iter().for_each(|done| done(synced.clone()));
    }
}
