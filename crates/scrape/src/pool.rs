//! The targets of one job: discovers them, starts and ends their loops.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::Labels;
use parking_lot::{Mutex, RwLock};
use runtime::{HttpClient, Stop};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::discovery::TargetGroup;
use crate::fetch::ScrapeError;
use crate::file_discovery::FileDiscovery;
use crate::scrape_config::ScrapeConfig;
use crate::status::{DroppedTarget, Health, TargetStatus, Targets};
use crate::target::{Discovered, TargetKey, TargetSpec, targets_of};
use crate::target_loop::{self, Control, Plan, Shared, Target};

/// How often files are looked at; reading them follows only when they look different.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A configuration with the client that was built for it.
#[derive(Clone)]
pub(crate) struct PoolSetup {
    pub(crate) config: Arc<ScrapeConfig>,
    pub(crate) client: HttpClient,
    /// Replaces loopback hosts in global URLs.
    pub(crate) external_host: Option<Arc<str>>,
}

/// What a pool is told; it answers when it has done so.
pub(crate) enum Command {
    Reconfigure(PoolSetup, oneshot::Sender<()>),
    Remove(oneshot::Sender<()>),
}

/// What others may see of a pool.
#[derive(Default)]
pub(crate) struct PoolView {
    state: RwLock<ViewState>,
}

#[derive(Default)]
struct ViewState {
    active: Vec<Arc<Target>>,
    dropped: Vec<Labels>,
    dropped_count: usize,
}

impl PoolView {
    pub(crate) fn add_to(&self, job: &str, targets: &mut Targets) {
        let state = self.state.read();
        targets.active.extend(state.active.iter().map(|t| t.status.lock().clone()));
        targets.dropped.extend(
            state.dropped.iter().map(|l| DroppedTarget { discovered_labels: l.clone(), scrape_pool: job.to_owned() }),
        );
        targets.dropped_counts.insert(job.to_owned(), state.dropped_count);
    }
}

struct Loop {
    target: Arc<Target>,
    control: watch::Sender<Control>,
    id: Id,
}

/// Owns the loops of its targets.
pub(crate) struct Pool {
    setup: PoolSetup,
    shared: Arc<Shared>,
    view: Arc<PoolView>,
    files: Vec<FileDiscovery>,
    loops: HashMap<TargetKey, Loop>,
    tasks: JoinSet<()>,
}

impl Pool {
    pub(crate) fn new(setup: PoolSetup, shared: Arc<Shared>, view: Arc<PoolView>) -> Self {
        let files = watch_files(&setup.config);
        Self { setup, shared, view, files, loops: HashMap::new(), tasks: JoinSet::new() }
    }

    /// Runs until it is removed or the process stops.
    pub(crate) async fn run(mut self, stop: Stop, mut commands: mpsc::Receiver<Command>) {
        self.look().await;
        self.sync().await;
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.requested() => break,
                command = commands.recv() => match command {
                    Some(Command::Reconfigure(setup, done)) => {
                        self.reconfigure(setup).await;
                        // Whoever asked may have stopped listening.
                        let _ = done.send(());
                    }
                    Some(Command::Remove(done)) => {
                        self.end_all(&Control::Remove).await;
                        self.shared.metrics.forget_job(&self.setup.config.job_name);
                        let _ = done.send(());
                        return;
                    }
                    None => break,
                },
                _ = ticks.tick(), if !self.files.is_empty() => {
                    if self.look().await {
                        self.sync().await;
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    if self.has_lost(ended) {
                        self.sync().await;
                    }
                }
            }
        }
        self.end_all(&Control::Stop).await;
    }

    async fn reconfigure(&mut self, setup: PoolSetup) {
        let is_same_discovery = self.setup.config.file_discoveries == setup.config.file_discoveries;
        self.setup = setup;
        if !is_same_discovery {
            self.files = watch_files(&self.setup.config);
        }
        self.look().await;
        self.sync().await;
    }

    /// Looks at the files, off the asynchronous threads. True when there is something new.
    async fn look(&mut self) -> bool {
        if self.files.is_empty() {
            return false;
        }
        let mut files = std::mem::take(&mut self.files);
        let look = move || {
            let changed = files.iter_mut().fold(false, |changed, f| f.look() | changed);
            (files, changed)
        };
        match tokio::task::spawn_blocking(look).await {
            Ok((mut files, changed)) => {
                self.shared
                    .metrics
                    .file_read_errors
                    .inc_by(files.iter_mut().map(FileDiscovery::take_read_errors).sum());
                self.files = files;
                changed
            }
            // Only a panic or the end of the process leads here; the next look starts afresh.
            Err(_) => {
                self.files = watch_files(&self.setup.config);
                false
            }
        }
    }

    fn groups(&self) -> impl Iterator<Item = &TargetGroup> {
        self.setup.config.static_groups.iter().chain(self.files.iter().flat_map(FileDiscovery::groups))
    }

    /// Makes the loops match what was discovered.
    async fn sync(&mut self) {
        let (mut active, mut dropped, mut dropped_count) = (HashMap::new(), Vec::new(), 0);
        let job = self.setup.config.job_name.clone();
        for discovered in self.groups().flat_map(|g| targets_of(g, &self.setup.config)) {
            match discovered {
                Discovered::Active(spec) => {
                    active.entry(spec.key.clone()).or_insert(spec);
                }
                Discovered::Dropped(labels) => {
                    dropped_count += 1;
                    if dropped.len() < self.setup.config.keep_dropped {
                        dropped.push(labels);
                    }
                }
                Discovered::Failed { address, message } => {
                    tracing::error!(scrape_pool = %job, %address, error = %message, "cannot scrape a target");
                }
            }
        }
        let forbidden = self.check_target_limit(active.len());
        let gone: Vec<TargetKey> = self.loops.keys().filter(|k| !active.contains_key(*k)).cloned().collect();
        let gone = gone.iter().filter_map(|k| self.loops.remove(k)).collect();
        end(&mut self.tasks, gone, &Control::Remove).await;
        for (key, spec) in active {
            self.keep_or_start(key, *spec, forbidden.clone());
        }
        self.shared.metrics.pool_syncs.with_label_values(&[&job]).inc();
        self.shared.metrics.pool_targets.with_label_values(&[&job]).set(self.loops.len() as i64);
        let mut active: Vec<_> = self.loops.values().map(|l| l.target.clone()).collect();
        active.sort_by(|a, b| a.key.cmp(&b.key));
        *self.view.state.write() = ViewState { active, dropped, dropped_count };
    }

    fn check_target_limit(&self, targets: usize) -> Option<ScrapeError> {
        let (targets, limit) = (targets as u64, self.setup.config.limits.targets);
        if limit == 0 || targets <= limit {
            return None;
        }
        self.shared.metrics.target_limit_exceeded();
        Some(ScrapeError::TargetLimit { targets, limit })
    }

    /// A loop that goes on keeps its cache and its place in the interval.
    fn keep_or_start(&mut self, key: TargetKey, spec: TargetSpec, forbidden: Option<ScrapeError>) {
        let setup = &self.setup;
        let plan = Arc::new(Plan {
            config: setup.config.clone(),
            client: setup.client.clone(),
            interval: spec.interval,
            timeout: spec.timeout,
            forbidden,
        });
        let global_url = global_url(&spec, setup.external_host.as_deref());
        if let Some(known) = self.loops.get(&key) {
            let mut status = known.target.status.lock();
            status.discovered_labels = spec.discovered;
            status.scrape_interval = spec.interval;
            status.scrape_timeout = spec.timeout;
            status.global_url = global_url;
            drop(status);
            known.control.send_if_modified(|told| {
                let is_same = matches!(told, Control::Run(old) if is_same_plan(old, &plan));
                if !is_same {
                    *told = Control::Run(plan);
                }
                !is_same
            });
            return;
        }
        let status = TargetStatus {
            discovered_labels: spec.discovered,
            labels: key.labels.clone(),
            scrape_pool: setup.config.job_name.clone(),
            scrape_url: key.url.clone(),
            global_url,
            last_error: String::new(),
            last_scrape: None,
            last_scrape_duration: Duration::ZERO,
            health: Health::Unknown,
            scrape_interval: spec.interval,
            scrape_timeout: spec.timeout,
        };
        let target = Arc::new(Target { key: key.clone(), url: spec.url, status: Mutex::new(status) });
        let (control, told) = watch::channel(Control::Run(plan));
        let id = self.tasks.spawn(target_loop::run(target.clone(), self.shared.clone(), told)).id();
        self.loops.insert(key, Loop { target, control, id });
    }

    async fn end_all(&mut self, control: &Control) {
        let all = self.loops.drain().map(|(_, l)| l).collect();
        end(&mut self.tasks, all, control).await;
    }

    /// Loops end only when they are told to, except by a panic. True when one did; the next sync starts it again, and
    /// it fails at most once per interval.
    fn has_lost(&mut self, ended: Result<(Id, ()), JoinError>) -> bool {
        let Err(error) = ended else { return false };
        let Some(lost) = self.loops.values().find(|l| l.id == error.id()) else { return false };
        tracing::error!(url = %lost.target.key.url, "the loop of a target panicked and is started again; report this");
        let key = lost.target.key.clone();
        self.loops.remove(&key).is_some()
    }
}

/// Tells loops to end and waits until they have.
async fn end(tasks: &mut JoinSet<()>, mut loops: Vec<Loop>, control: &Control) {
    for ending in &loops {
        ending.control.send_replace(control.clone());
    }
    while !loops.is_empty() {
        let id = match tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return,
        };
        loops.retain(|l| l.id != id);
    }
}

fn is_same_plan(old: &Plan, new: &Plan) -> bool {
    Arc::ptr_eq(&old.config, &new.config)
        && old.interval == new.interval
        && old.timeout == new.timeout
        && old.forbidden == new.forbidden
}

fn watch_files(config: &ScrapeConfig) -> Vec<FileDiscovery> {
    config.file_discoveries.iter().cloned().map(FileDiscovery::new).collect()
}

/// The target's URL with a host that others can reach.
fn global_url(spec: &TargetSpec, external_host: Option<&str>) -> String {
    let is_loopback = matches!(spec.url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let mut url = spec.url.clone();
    match external_host {
        Some(host) if is_loopback && url.set_host(Some(host)).is_ok() => url.to_string(),
        _ => spec.key.url.clone(),
    }
}
