//! Keeps the queue within its budget, saves how far destinations are, and makes up for what could not be queued: once
//! per second, on a thread that may wait for the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Queryable;
use parking_lot::Mutex;
use runtime::Stop;

use crate::config_section::RemoteWriteConfig;
use crate::core::Core;
use crate::destination::Destination;
use crate::forwarder::QueueSync;
use crate::line::LogLimit;
use crate::marker::Marker;
use crate::reconcile::{range_since, reconcile};

const EVERY: Duration = Duration::from_secs(1);
/// How often the store is asked for what could not be queued, while that still cannot be queued.
const MAKE_UP_EVERY: Duration = Duration::from_secs(2);

pub(crate) struct Keeper {
    core: Arc<Core>,
    sync: QueueSync,
    synced: Mutex<Instant>,
    marker: Marker,
    /// Destinations in force, and those that are ending; `None` until it is known which there are, so that nobody's place
    /// in the queue is given up before.
    destinations: Mutex<Option<Vec<Arc<Destination>>>>,
    store: Mutex<Option<Arc<dyn Queryable>>>,
    made_up: Mutex<Option<Instant>>,
    failures: LogLimit,
    losses: LogLimit,
}

impl Keeper {
    pub(crate) fn new(core: Arc<Core>, sync: QueueSync, marker: Marker) -> Self {
        Self {
            core,
            sync,
            synced: Mutex::new(Instant::now()),
            marker,
            destinations: Mutex::default(),
            store: Mutex::default(),
            made_up: Mutex::default(),
            failures: LogLimit::default(),
            losses: LogLimit::default(),
        }
    }

    pub(crate) async fn run(self: Arc<Self>, stop: Stop) {
        while !stop.is_requested() {
            stop.sleep(EVERY).await;
            let keeper = self.clone();
            // A panic in there is in the log; the next round tries again.
            let _ = tokio::task::spawn_blocking(move || keeper.round()).await;
        }
        let _ = tokio::task::spawn_blocking(move || self.end()).await;
    }

    fn round(&self) {
        match self.core.queue.maintain(runtime::now()) {
            Ok(maintained) => {
                maintained.dropped.iter().for_each(|dropped| self.core.metrics.dropped(dropped));
                if let Some(first) = maintained.dropped.first().filter(|_| self.losses.is_due()) {
                    let samples: u64 = maintained.dropped.iter().map(|dropped| dropped.samples).sum();
                    let (destination, source, reason) = (&first.destination, &first.source, first.reason);
                    tracing::error!(
                        samples,
                        destination,
                        source,
                        reason,
                        "samples left the queue before they were sent; the receiver is told of the gap"
                    );
                }
            }
            Err(error) => self.failed(&error.to_string()),
        }
        self.core.metrics.disk_bytes.set(i64::try_from(self.core.queue.state().disk_bytes).unwrap_or(i64::MAX));
        let is_due = |every: Duration| self.synced.lock().elapsed() >= every;
        if let QueueSync::Interval(every) = self.sync
            && is_due(every.saturating_sub(EVERY / 2))
        {
            *self.synced.lock() = Instant::now();
            if let Err(error) = self.core.queue.sync() {
                self.failed(&error.to_string());
            }
        }
        self.make_up();
        self.forget_ended();
    }

    fn failed(&self, error: &str) {
        if self.failures.is_due() {
            tracing::error!(error, "cannot keep the queue in order; will try again");
        }
    }

    /// Queues what was stored while the queue could not be written.
    fn make_up(&self) {
        let Some(store) = self.store.lock().clone() else { return };
        if self.made_up.lock().is_some_and(|at| at.elapsed() < MAKE_UP_EVERY) {
            return;
        }
        let Some(since) = self.core.begin_making_up() else { return };
        *self.made_up.lock() = Some(Instant::now());
        match reconcile(&self.core, &*store, range_since(since, runtime::now())) {
            Ok(samples) => {
                self.core.made_up();
                tracing::info!(samples, "queued what was stored and may not have been queued");
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    /// Remembers the store, and makes up for what an earlier process may have left out.
    pub(crate) fn reconcile_with(&self, store: Arc<dyn Queryable>) {
        *self.store.lock() = Some(store);
        self.make_up();
    }

    /// The largest budget of all destinations counts.
    pub(crate) fn set_budget(&self, configs: &[RemoteWriteConfig]) {
        let Some(bytes) = configs.iter().map(|c| c.queue.max_disk_bytes).max() else { return };
        let age = |c: &RemoteWriteConfig| {
            c.queue.max_age.map_or(i64::MAX, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        };
        let age = configs.iter().map(age).max().unwrap_or(i64::MAX);
        self.core.queue.set_budget(bytes, age);
        self.core.metrics.max_disk_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Puts these into force, and closes those that are not among them. From now on the places of their names are kept.
    /// Returns for each the one of its name whose task had not ended.
    pub(crate) fn replace(&self, successors: &[Arc<Destination>]) -> Vec<Option<Arc<Destination>>> {
        let mut destinations = self.destinations.lock();
        if destinations.is_none() {
            self.count_removed(successors);
        }
        let known = destinations.get_or_insert_default();
        // Of several that end, the one that came last ends last.
        let of_name = |new: &Arc<Destination>| {
            known.iter().rev().find(|old| old.config.name == new.config.name && !old.ended.is_cancelled()).cloned()
        };
        let before = successors.iter().map(of_name).collect();
        let is_new = |d: &&Arc<Destination>| !known.iter().any(|k| Arc::ptr_eq(k, d));
        let new: Vec<_> = successors.iter().filter(is_new).cloned().collect();
        for old in known.iter().filter(|old| !successors.iter().any(|s| Arc::ptr_eq(s, old))) {
            old.close(successors.iter().any(|s| s.config.name == old.config.name));
        }
        known.extend(new);
        drop(destinations);
        // Without destinations nothing is queued, and nothing lacks.
        if let Err(error) = self.marker.set(successors.is_empty()) {
            self.failed(&error.to_string());
        }
        before
    }

    /// Counts what destinations did not get that were removed while no process ran.
    fn count_removed(&self, successors: &[Arc<Destination>]) {
        for (destination, samples) in self.core.queue.destinations() {
            if samples == 0 || successors.iter().any(|s| s.config.name == destination) {
                continue;
            }
            tracing::warn!(destination, samples, "no longer configured; what it did not get is lost");
            self.core.metrics.dropped(&queue::Dropped {
                destination,
                source: String::new(),
                reason: "removed",
                samples,
            });
        }
    }

    /// Cursors of destinations that were removed and have ended are forgotten.
    fn forget_ended(&self) {
        let mut destinations = self.destinations.lock();
        let Some(known) = &mut *destinations else { return };
        // Those that ended because the process stops go on in the next one.
        known.retain(|destination| !destination.closing.is_cancelled() || !destination.ended.is_cancelled());
        let names: Vec<&str> = known.iter().map(|d| d.config.name.as_str()).collect();
        self.core.queue.retain(&names);
    }

    fn end(&self) {
        let saved = self.core.queue.save().and_then(|()| self.core.queue.sync().map(drop));
        match saved {
            Ok(()) if self.core.unqueued_since().is_none() => {
                if let Err(error) = self.marker.set(true) {
                    self.failed(&error.to_string());
                }
            }
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, "cannot save how far destinations are; some samples will be sent again")
            }
        }
    }
}
