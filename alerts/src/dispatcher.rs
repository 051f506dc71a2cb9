//! The loop that takes groups when they are due and lets them fly; decisions are made elsewhere.

use std::sync::Arc;
use std::time::Duration;

use runtime::Stop;
use tokio::task::JoinSet;

use crate::engine::state::Flush;
use crate::pipeline::Pipeline;
use crate::shared::Core;

/// Where no group is due, look again after so long: a wall clock that was set back must not keep alerts waiting.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Runs until the stop is requested, then lets attempts that are under way end. Each group has at most one flight at a
/// time, so flights are bounded by groups.
pub async fn run(pipeline: Arc<Pipeline>, stop: Stop) {
    let mut flights = JoinSet::new();
    loop {
        let wait = {
            let state = pipeline.core.state.lock();
            state.next_due().map_or(LONGEST_SLEEP, |due| {
                let ms = (due - runtime::now()).max(0);
                Duration::from_millis(ms.unsigned_abs()).min(LONGEST_SLEEP)
            })
        };
        tokio::select! {
            () = stop.requested() => break,
            () = pipeline.core.wake.notified() => {}
            Some(_) = flights.join_next() => {}
            () = tokio::time::sleep(wait) => {}
        }
        let due = pipeline.core.state.lock().take_due(runtime::now());
        for flush in due {
            flights.spawn(fly(pipeline.clone(), flush, stop.clone()));
        }
    }
    while flights.join_next().await.is_some() {}
}

async fn fly(pipeline: Arc<Pipeline>, flush: Flush, stop: Stop) {
    let mut landing = Landing { core: pipeline.core.clone(), flush, success: false };
    landing.success = pipeline.run(&landing.flush, &stop).await;
}

/// Brings a group back into the order however its flight ends, a panic included.
struct Landing {
    core: Arc<Core>,
    flush: Flush,
    success: bool,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.core.state.lock().finish(&self.flush, self.success);
        self.core.wake.notify_one();
    }
}
