//! All destinations of one process, as the configuration changes them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use disk::Disk;
use model::{Labels, Queryable};
use parking_lot::Mutex;
use queue::{Cursor, Queue, QueueError};
use runtime::{HttpClientError, Metrics, MetricsError, Stop, Supervisor};

use crate::config_section::RemoteWriteConfig;
use crate::core::{Core, Teller};
use crate::delivery::Delivery;
use crate::destination::Destination;
use crate::keeper::Keeper;
use crate::line::{Line, LogLimit};
use crate::marker::Marker;
use crate::metrics::ForwardMetrics;
use crate::negotiation::Negotiation;
use crate::syncer::Syncer;
use crate::upstreams::Upstreams;

/// A forwarder that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// A destination's client: a certificate that cannot be read, mostly.
    #[error("remote_write destination {name:?}: {source}")]
    Client {
        /// Which destination.
        name: String,
        /// What is wrong.
        source: HttpClientError,
    },
    /// The queue on disk.
    #[error("cannot open the queue in {folder}: {source}; check that the folder can be written")]
    Queue {
        /// Where it is.
        folder: String,
        /// What is wrong.
        source: QueueError,
    },
    /// No thread for flushing the queue.
    #[error("cannot start the thread that flushes the queue: {0}")]
    Thread(std::io::Error),
    /// A metric's name is taken.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// When what is queued reaches the disk itself, not only the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueSync {
    /// Before it is acknowledged.
    Each,
    /// That often.
    Interval(Duration),
    /// Whenever the operating system likes.
    Off,
}

/// Where samples wait, and how safely.
#[derive(Debug, Clone)]
pub struct ForwardOptions {
    /// The filesystem.
    pub disk: Arc<dyn Disk>,
    /// The queue's folder, which nobody else may use.
    pub folder: PathBuf,
    /// How durable an acknowledged sample is.
    pub sync: QueueSync,
}

/// Sends stored samples to every destination.
pub struct Forwarder {
    pub(crate) core: Arc<Core>,
    supervisor: Supervisor,
    keeper: Arc<Keeper>,
    syncer: Option<Arc<Syncer>>,
    updating: Mutex<()>,
}

impl Forwarder {
    /// A forwarder without destinations, with what earlier processes could not send.
    ///
    /// # Errors
    /// When the queue cannot be opened, or its metrics are registered already.
    pub fn open(supervisor: &Supervisor, metrics: &Metrics, options: ForwardOptions) -> Result<Self, ForwardError> {
        let ForwardOptions { disk, folder, sync } = options;
        let failed = |source| ForwardError::Queue { folder: folder.display().to_string(), source };
        let (queue, opened) =
            Queue::open(disk.clone(), &folder, queue::Options::default(), runtime::now()).map_err(failed)?;
        for damage in &opened.damages {
            tracing::error!(folder = %folder.display(), %damage, "a part of the queue cannot be read; a copy of it is kept in the folder `damaged`");
        }
        if let Some(reason) = &opened.cursors_lost {
            tracing::error!(folder = %folder.display(), reason, "cannot read how far destinations were; all that is in the queue is sent again");
        }
        let marker = Marker::new(disk, &folder);
        let core = Arc::new(Core::new(queue.clone(), ForwardMetrics::new(metrics)?));
        if let Some(since) = opened.last_pushed.filter(|_| !marker.is_set()) {
            core.may_lack_since(since);
        }
        let keeper = Arc::new(Keeper::new(core.clone(), sync, marker));
        // Started before every destination, so that it stops after them.
        let kept = keeper.clone();
        supervisor.spawn("forward queue", move |stop| kept.run(stop));
        let syncer = match sync {
            QueueSync::Each => Some(Arc::new(Syncer::start(queue).map_err(ForwardError::Thread)?)),
            QueueSync::Interval(_) | QueueSync::Off => None,
        };
        Ok(Self {
            core,
            // Whenever a destination is added, it drains after everything that may feed it.
            supervisor: supervisor.group(),
            keeper,
            syncer,
            updating: Mutex::default(),
        })
    }

    /// Has `teller` asked what this process says of itself in every request.
    pub fn tell(&self, teller: Teller) {
        self.core.set_teller(teller);
    }

    /// Queues what `store` has and the queue may lack: after a process that died between the two, and from now on after
    /// times in which the queue could not be written. To be called after the first [`Forwarder::update`], and before
    /// anything is appended. Reads the store.
    pub fn reconcile(&self, store: Arc<dyn Queryable>) {
        self.keeper.reconcile_with(store);
    }

    /// Makes these the destinations: unchanged ones go on; changed ones go on where the one of their name was; removed
    /// ones send what they can in a few seconds and are forgotten. On an error nothing changes.
    ///
    /// # Errors
    /// When a destination's client cannot be built.
    pub fn update(&self, configs: &[RemoteWriteConfig], external_labels: &Labels) -> Result<(), ForwardError> {
        let _one_at_a_time = self.updating.lock();
        let current = self.core.destinations();
        let mut next: Vec<Next> = Vec::new();
        for config in configs {
            let same = current.iter().find(|d| d.config == *config && d.external_labels == *external_labels);
            next.push(match same {
                Some(destination) => (destination.clone(), None),
                None => {
                    let named = current.iter().find(|d| d.config.name == config.name);
                    let before = named.or(current.first()).map(Arc::as_ref);
                    let metrics = self.core.metrics.of(&config.name);
                    let made = Destination::new(config.clone(), external_labels.clone(), metrics, before);
                    let lines =
                        lines(&made).map_err(|source| ForwardError::Client { name: config.name.clone(), source })?;
                    (Arc::new(made), Some(lines))
                }
            });
        }
        self.keeper.set_budget(configs);
        let successors: Vec<Arc<Destination>> = next.iter().map(|(d, _)| d.clone()).collect();
        let before = self.keeper.replace(&successors);
        // New names have a cursor before anything is queued for them; those of names that go on wait for theirs.
        let begun = |((destination, lines), before): (Next, Option<Arc<Destination>>)| {
            let lines = lines?;
            let cursor = before.is_none().then(|| self.core.queue.cursor(&destination.config.name));
            Some(Beginning { destination, lines, before, cursor })
        };
        let beginnings: Vec<Beginning> = next.into_iter().zip(before).filter_map(begun).collect();
        self.core.set_destinations(successors);
        for beginning in beginnings {
            let (core, name) = (self.core.clone(), format!("forward {}", beginning.destination.config.name));
            self.supervisor.spawn(name, move |stop| beginning.run(core, stop));
        }
        Ok(())
    }

    /// Who flushes the queue before samples are acknowledged, where that is asked for.
    pub(crate) fn syncer(&self) -> Option<Arc<Syncer>> {
        self.syncer.clone().filter(|_| !self.core.is_idle())
    }
}

/// A destination that is to be in force; with its ways to its addresses where it is new.
type Next = (Arc<Destination>, Option<Vec<Arc<Line>>>);

/// A way to each address of a destination.
fn lines(destination: &Destination) -> Result<Vec<Arc<Line>>, HttpClientError> {
    let config = &destination.config;
    let client = config.client.build()?;
    let refusals = LogLimit::default();
    let upstreams = Upstreams::new(&config.urls, config.choose, &destination.external_labels);
    let line = |index: usize| {
        Arc::new(Line {
            destination: config.name.clone(),
            url: upstreams.url(index).clone(),
            client: client.clone(),
            timeout: config.timeout,
            negotiation: Mutex::new(Negotiation::new(config)),
            metrics: destination.metrics.clone(),
            refusals: refusals.clone(),
        })
    };
    Ok((0..upstreams.len()).map(line).collect())
}

/// A destination whose task begins.
struct Beginning {
    destination: Arc<Destination>,
    lines: Vec<Arc<Line>>,
    /// The one of the same name, whose place it takes.
    before: Option<Arc<Destination>>,
    cursor: Option<Cursor>,
}

impl Beginning {
    async fn run(self, core: Arc<Core>, stop: Stop) {
        let _ended = self.destination.ended.clone().drop_guard();
        if let Some(before) = self.before {
            before.ended.cancelled().await;
        }
        let config = &self.destination.config;
        let cursor = Arc::new(self.cursor.unwrap_or_else(|| core.queue.cursor(&config.name)));
        let upstreams = Upstreams::new(&config.urls, config.choose, &self.destination.external_labels);
        let metrics = core.metrics.clone();
        Delivery::new(core, self.destination.clone(), cursor, self.lines, upstreams, stop).run().await;
        if self.destination.closing.is_cancelled() && !self.destination.is_handed_over() {
            metrics.forget(&self.destination.config.name);
        }
    }
}
