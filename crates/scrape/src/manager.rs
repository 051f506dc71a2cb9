//! All scrape pools of a server: start, reload, and the view for the HTTP API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::available_parallelism;

use model::Append;
use parking_lot::Mutex;
use runtime::{CpuPool, HttpClient, HttpClientError, Metrics, MetricsError, Supervisor};
use sources::Inputs;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::ScrapeMetrics;
use crate::outage::Outage;
use crate::pool::{Command, Pool, PoolSetup, PoolView};
use crate::scrape_config::ScrapeConfig;
use crate::status::Targets;
use crate::target_loop::Shared;

/// Large bodies that may wait to be parsed: far more than there are targets.
const MAX_WAITING_BODIES: usize = 1 << 20;

/// Why scraping cannot start, or a reload was refused.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The client of a job cannot be built.
    #[error("scrape job {job:?}: {source}")]
    Client {
        /// The job.
        job: String,
        /// What is wrong.
        source: HttpClientError,
    },
    /// A metric is there already.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

/// What is not part of `scrape_configs`.
#[derive(Debug, Clone, Default)]
pub struct ScrapeOptions {
    /// Spreads servers that scrape the same targets over the interval; the same after a restart. The fingerprint of
    /// the external labels is a good one.
    pub seed: u64,
    /// The host under which others reach this machine, without a port.
    pub external_host: Option<String>,
    /// Where scrapes are registered until they are stored.
    pub inputs: Inputs,
}

struct PoolHandle {
    setup: PoolSetup,
    view: Arc<PoolView>,
    commands: mpsc::Sender<Command>,
}

/// Runs one pool per job under a supervisor. Pools live until they are removed by a reload or the supervisor stops.
pub struct ScrapeManager {
    shared: Arc<Shared>,
    supervisor: Supervisor,
    external_host: Option<Arc<str>>,
    pools: Mutex<BTreeMap<String, PoolHandle>>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

impl ScrapeManager {
    /// Starts scraping. Job names are unique (see [`ScrapeConfig::decode_all`]).
    ///
    /// # Errors
    /// When a client cannot be built or metrics of these names exist; nothing runs then.
    pub fn start(
        configs: Vec<ScrapeConfig>,
        options: ScrapeOptions,
        sink: Arc<dyn Append>,
        metrics: &Metrics,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        let concurrency = available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            sink,
            metrics: ScrapeMetrics::register(metrics)?,
            outage: Outage::default(),
            cpu: CpuPool::new(concurrency, MAX_WAITING_BODIES),
            seed: options.seed,
            inputs: options.inputs,
        });
        let manager = Self {
            shared,
            supervisor: supervisor.group(),
            external_host: options.external_host.map(Into::into),
            pools: Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
        };
        for setup in manager.setups(configs)? {
            manager.start_pool(setup);
        }
        Ok(manager)
    }

    /// Replaces the configuration. Targets that are in the old and the new one keep their schedule and their series;
    /// when this returns, the series of all others are ended.
    ///
    /// # Errors
    /// When a client cannot be built; everything goes on as before then.
    pub async fn reload(&self, configs: Vec<ScrapeConfig>) -> Result<(), StartError> {
        let _one_at_a_time = self.reloading.lock().await;
        let setups = self.setups(configs)?;
        let mut answers = Vec::new();
        let gone: Vec<_> = {
            let mut pools = self.pools.lock();
            let is_gone = |job: &String| !setups.iter().any(|s| s.config.job_name == **job);
            let jobs: Vec<String> = pools.keys().filter(|job| is_gone(job)).cloned().collect();
            jobs.iter().filter_map(|job| pools.remove(job)).collect()
        };
        for pool in gone {
            answers.push(ask(&pool.commands, Command::Remove).await);
        }
        for setup in setups {
            let commands = {
                let mut pools = self.pools.lock();
                pools.get_mut(&setup.config.job_name).map(|pool| {
                    let is_same = pool.setup.config == setup.config;
                    pool.setup = setup.clone();
                    (pool.commands.clone(), is_same)
                })
            };
            match commands {
                Some((_, true)) => {}
                Some((commands, false)) => {
                    answers.push(ask(&commands, |done| Command::Reconfigure(setup, done)).await);
                }
                None => self.start_pool(setup),
            }
        }
        for answer in answers {
            // A pool that stopped in between has nothing more to do.
            let _ = answer.await;
        }
        self.shared.metrics.pools.set(self.pools.lock().len() as i64);
        Ok(())
    }

    /// Every target as it stands now.
    pub fn targets(&self) -> Targets {
        let mut targets = Targets::default();
        for (job, pool) in &*self.pools.lock() {
            pool.view.add_to(job, &mut targets);
        }
        targets
    }

    /// The names of all jobs, in order.
    pub fn scrape_pools(&self) -> Vec<String> {
        self.pools.lock().keys().cloned().collect()
    }

    /// A job that is unchanged keeps its configuration and client as they are, connections included.
    fn setups(&self, configs: Vec<ScrapeConfig>) -> Result<Vec<PoolSetup>, StartError> {
        let mut setups = Vec::with_capacity(configs.len());
        for config in configs {
            let known = self.pools.lock().get(&config.job_name).map(|p| p.setup.clone());
            if let Some(known) = known.filter(|k| *k.config == config) {
                setups.push(known);
                continue;
            }
            let client: HttpClient =
                config.client.build().map_err(|source| StartError::Client { job: config.job_name.clone(), source })?;
            setups.push(PoolSetup { config: Arc::new(config), client, external_host: self.external_host.clone() });
        }
        Ok(setups)
    }

    fn start_pool(&self, setup: PoolSetup) {
        let job = setup.config.job_name.clone();
        let view = Arc::new(PoolView::default());
        let (commands, received) = mpsc::channel(1);
        let pool = Pool::new(setup.clone(), self.shared.clone(), view.clone());
        self.supervisor.spawn(format!("scrape pool {job}"), |stop| pool.run(stop, received));
        let mut pools = self.pools.lock();
        pools.insert(job, PoolHandle { setup, view, commands });
        self.shared.metrics.pools.set(pools.len() as i64);
    }
}

/// Hands a command over; what comes back resolves when it is done.
async fn ask(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<()>) -> Command,
) -> oneshot::Receiver<()> {
    let (done, answer) = oneshot::channel();
    // A pool that has stopped drops the command, and with it the answer.
    let _ = commands.send(command(done)).await;
    answer
}
