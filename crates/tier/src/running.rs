//! A tier: what a role starts, part by part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use disk::RealDisk;
use evaluate::{Notifier, RuleManager, RuleManagerOptions};
use forward::{ForwardOptions, Forwarder, Ingest, QueueSync};
use http_api::{ApiOptions, HttpMetrics, Nothing, RemoteReadOptions, TargetsSource};
use model::{Append, Labels, Queryable};
use parking_lot::RwLock;
use peers::{Comparer, ComparerOptions};
use receive::{ReceiverOptions, Stamp};
use rules::External;
use runtime::{
    CpuPool, Lifecycle, Metrics, ServerLimits, Supervisor, bind, hostname, operations_router, quit_router, serve,
};
use scrape::{ScrapeManager, ScrapeOptions};
use sources::Sources;
use tokio::net::TcpListener;
use tsdb::{Store, StoreOptions, WalSync};

use crate::fleet::{self, Fleet};
use crate::queries::Queries;
use crate::reload::Reloader;
use crate::sources::{EvaluatedRules, InForce, OperatedStore, ProcessStatus, ScrapedTargets};
use crate::{BuildError, Options, Settings, merging, store};

/// The folder of what waits for destinations, in the store's.
const QUEUE_FOLDER: &str = "forward";
/// Requests that may wait while others are decoded; more hear 429. As many as there may be connections: a thousand small
/// sources may write in one moment, and what large ones hold is bounded in bytes.
const MAX_WAITING_WRITES: usize = 4096;
/// Pieces of answers to remote reads that may wait; each reader waits for one.
const MAX_WAITING_READS: usize = 1 << 20;

/// A tier whose configuration is valid and whose address is bound, and whatever of it was started since.
pub struct Tier {
    role: &'static str,
    options: Options,
    settings: Settings,
    external_url: String,
    listener: Option<TcpListener>,
    address: SocketAddr,
    supervisor: Supervisor,
    metrics: Metrics,
    queries: Queries,
    store: Arc<Store>,
    sources: Arc<Sources>,
    external_labels: Arc<RwLock<Labels>>,
    stamp: Option<Stamp>,
    receives_writes: bool,
    forwarder: Option<Arc<Forwarder>>,
    rules: Option<(RuleManager, Notifier)>,
    scrape: Option<Arc<ScrapeManager>>,
    comparer: Option<Comparer>,
    routes: Router,
    lifecycle: Option<Lifecycle>,
}

impl Tier {
    /// Reads the configuration, binds the address and opens the store.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration (all of it), the address or the external URL.
    pub async fn build(role: &'static str, options: Options) -> Result<Self, BuildError> {
        let (supervisor, metrics) = (Supervisor::new(), Metrics::new(role)?);
        let queries = Queries::new(&options, &metrics)?;
        let engine = queries.engine.clone();
        let settings = match &options.config_file {
            Some(path) => Settings::load(path, &engine)?,
            None => Settings::default(),
        };
        let listener = bind(&options.listen_address).await?;
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let external_url = external_url(options.external_url.as_deref(), address)?;
        let mut options = options;
        settings.storage.apply(&mut options.store);
        let store = store::open(&options.storage_path, options.store.clone(), &supervisor, &metrics).await?;
        // The folder is ours only now.
        let sources = fleet::open(&options.storage_path, options.sources, &supervisor, &metrics)?;
        queries.begin(&options.storage_path, settings.global.query_log_file.as_deref())?;
        for warning in &settings.warnings {
            tracing::warn!(warning, "the configuration may not mean what it says");
        }
        Ok(Self {
            role,
            external_labels: Arc::new(RwLock::new(settings.global.external_labels.clone())),
            options,
            settings,
            external_url,
            listener: Some(listener),
            address,
            supervisor,
            metrics,
            queries,
            store,
            sources,
            stamp: None,
            receives_writes: false,
            forwarder: None,
            rules: None,
            scrape: None,
            comparer: None,
            routes: Router::new(),
            lifecycle: None,
        })
    }

    /// Where the tier listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The tier's own labels towards others.
    pub fn external_labels(&self) -> Labels {
        self.external_labels.read().clone()
    }

    /// Those of them that replicas of this tier have in common.
    pub fn shared_labels(&self) -> Labels {
        self.options.replicas.shared(&self.external_labels())
    }

    /// The store alone: what is appended stays here.
    pub fn store(&self) -> Arc<dyn Append> {
        self.store.clone()
    }

    /// Forwards to every `remote_write` destination. What is appended to the returned sink is stored, then queued for
    /// them.
    ///
    /// # Errors
    /// When the queue cannot be opened, or a destination's client cannot be built.
    pub fn start_forwarding(&mut self) -> Result<Arc<dyn Append>, BuildError> {
        let options = ForwardOptions {
            disk: Arc::new(RealDisk),
            folder: self.options.storage_path.join(QUEUE_FOLDER),
            sync: queue_sync(self.options.store.wal_sync),
        };
        let forwarder = Arc::new(Forwarder::open(&self.supervisor, &self.metrics, options)?);
        forwarder.tell(fleet::teller(
            self.role,
            &self.options.storage_path,
            self.sources.clone(),
            self.external_labels.clone(),
        ));
        forwarder.update(&self.settings.remote_write, &self.settings.global.external_labels)?;
        forwarder.reconcile(self.queryable());
        self.forwarder = Some(forwarder.clone());
        Ok(Arc::new(Ingest { store: self.store.clone(), forwarder }))
    }

    /// Evaluates the rule files over the store, writes results into `sink`, and sends alerts to the routers.
    ///
    /// # Errors
    /// When a router's client cannot be built.
    pub fn start_evaluating(&mut self, sink: Arc<dyn Append>) -> Result<(), BuildError> {
        let alerting = std::mem::take(&mut self.settings.alerting);
        let notifier = Notifier::start(&self.supervisor, &self.metrics, self.external_labels(), alerting)?;
        let options = RuleManagerOptions {
            engine: self.queries.engine.clone(),
            storage: self.queryable(),
            sink,
            notifier: Some(notifier.clone()),
            external: self.external(),
            gate: self.queries.gate.clone(),
            sources: self.sources.clone(),
            max_watermark_wait: self.options.max_watermark_wait,
        };
        let groups = std::mem::take(&mut self.settings.groups);
        let manager = RuleManager::start(&self.supervisor, &self.metrics, options, groups)?;
        self.rules = Some((manager, notifier));
        Ok(())
    }

    /// Scrapes the targets of `scrape_configs` into `sink`.
    ///
    /// # Errors
    /// When a job's client cannot be built.
    pub fn start_scraping(&mut self, sink: Arc<dyn Append>) -> Result<(), BuildError> {
        let options = ScrapeOptions {
            // Replicas that watch the same targets, told apart by a label or by their address, scrape at other moments.
            seed: self.external_labels().fingerprint()
                ^ Labels::from_pairs([("url", &self.external_url)]).fingerprint(),
            external_host: host(&self.external_url),
            inputs: self.sources.inputs().clone(),
        };
        let configs = self.settings.scrape.clone();
        let manager = ScrapeManager::start(configs, options, sink, &self.metrics, &self.supervisor)?;
        self.scrape = Some(Arc::new(manager));
        Ok(())
    }

    /// Merges the samples of replicas before they reach `sink`: their labels go no further. What is appended to the
    /// returned sink may come from several.
    ///
    /// # Errors
    /// When metrics are registered already.
    pub fn start_merging(&mut self, sink: Arc<dyn Append>) -> Result<Arc<dyn Append>, BuildError> {
        let options = &self.options.replicas;
        Ok(merging::start(sink, self.store.clone(), options, &self.sources, &self.supervisor, &self.metrics)?)
    }

    /// Accepts remote write into `sink`; `stamp` is set on every series, over what the sender claims. A reload sets it to
    /// the new external labels.
    ///
    /// # Errors
    /// When the receiver's metrics are registered already.
    pub fn start_receiving(&mut self, sink: Arc<dyn Append>, stamp: Option<Stamp>) -> Result<(), BuildError> {
        let options = ReceiverOptions {
            sink,
            stamp: stamp.clone().unwrap_or_default(),
            pool: CpuPool::new(cores(), MAX_WAITING_WRITES),
            limits: self.options.receiver,
            sources: self.sources.clone(),
        };
        self.routes = std::mem::take(&mut self.routes).merge(receive::router(options, &self.metrics)?);
        self.stamp = stamp;
        self.receives_writes = true;
        Ok(())
    }

    /// Compares what is stored with the `peers` that hold the same, and appends to `sink` what is missing here. To be
    /// called before rules and scraping start: what they make themselves is not compared.
    ///
    /// # Errors
    /// When a peer's client cannot be built.
    pub fn start_comparing(&mut self, sink: Arc<dyn Append>, source_label: &str) -> Result<(), BuildError> {
        let sources = self.sources.clone();
        let options = ComparerOptions {
            storage: self.queryable(),
            sink,
            source_label: source_label.to_owned(),
            watermark: Arc::new(move || sources.watermark(runtime::now())),
            clock: Arc::new(runtime::now),
        };
        let (config, own) = (self.settings.peers.clone(), self.settings.own());
        let comparer = Comparer::start(config, own, options, &self.metrics, &self.supervisor)?;
        self.routes = std::mem::take(&mut self.routes).merge(comparer.router());
        self.comparer = Some(comparer);
        Ok(())
    }

    /// Serves everything that was started, and becomes ready.
    ///
    /// # Errors
    /// When metrics are registered already.
    pub fn start_serving(&mut self) -> Result<(), BuildError> {
        if self.comparer.is_none() && !self.settings.peers.centrals.is_empty() {
            tracing::warn!(role = self.role, "peers are for centrals; this section has no effect here");
        }
        let in_force = Arc::new(RwLock::new(InForce {
            text: std::mem::take(&mut self.settings.text),
            loaded: runtime::now(),
            reload_failed: false,
            reloaded: None,
        }));
        let reloader = Reloader {
            config_file: self.options.config_file.clone(),
            queries: self.queries.clone(),
            external_labels: self.external_labels.clone(),
            stamp: self.stamp.clone(),
            replicas: self.options.replicas.clone(),
            forwarder: self.forwarder.clone(),
            rules: self.rules.clone(),
            external_url: self.external_url.clone(),
            scrape: self.scrape.clone(),
            comparer: self.comparer.clone(),
            store: self.store.clone(),
            storage: self.settings.storage,
            in_force: in_force.clone(),
        };
        let lifecycle = Lifecycle::new(&self.supervisor, &self.metrics, Box::new(reloader))?;
        let api = self.api(in_force)?;
        let operations = operations_router(lifecycle.clone());
        let quit = quit_router(lifecycle.clone(), self.options.enable_lifecycle);
        let routes =
            std::mem::take(&mut self.routes).merge(api).merge(self.remote_read()?).merge(operations).merge(quit);
        let observed = HttpMetrics::new(&self.metrics)?.observe(routes);
        if let Some(listener) = self.listener.take() {
            let limits = ServerLimits { max_connections: self.options.max_connections, ..ServerLimits::default() };
            serve(&self.supervisor, "http", listener, observed, limits);
        }
        lifecycle.set_ready(true);
        self.lifecycle = Some(lifecycle);
        tracing::info!(role = self.role, address = %self.address, url = self.external_url, version = env!("CARGO_PKG_VERSION"), "ready");
        Ok(())
    }

    fn api(&self, in_force: Arc<RwLock<InForce>>) -> Result<Router, BuildError> {
        let labels = self.external_labels.clone();
        let nothing = Arc::new(Nothing);
        let targets: Arc<dyn TargetsSource> = match &self.scrape {
            Some(manager) => Arc::new(ScrapedTargets(manager.clone())),
            None => nothing.clone(),
        };
        Ok(http_api::router(ApiOptions {
            role: self.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: String::new(),
            started: runtime::now(),
            engine: self.queries.engine.clone(),
            storage: self.queryable(),
            exemplars: self.store.clone(),
            store: Arc::new(OperatedStore(self.store.clone())),
            enable_admin: self.options.enable_admin,
            enable_lifecycle: self.options.enable_lifecycle,
            receives_writes: self.receives_writes,
            gate: self.queries.gate.clone(),
            metrics: self.metrics.clone(),
            external_labels: Arc::new(move || labels.read().clone()),
            query_timeout: self.options.query_timeout,
            result_cache_bytes: self.options.query_result_cache_bytes,
            cors_origins: self.options.cors_origins.clone(),
            status: Arc::new(ProcessStatus {
                store: self.store.clone(),
                retention: retention(&self.options.store),
                flags: self.options.flags.clone(),
                in_force,
            }),
            targets,
            rules: match &self.rules {
                Some((manager, notifier)) => {
                    Arc::new(EvaluatedRules { manager: manager.clone(), notifier: notifier.clone() })
                }
                None => nothing,
            },
            fleet: Arc::new(Fleet(self.sources.clone())),
        })?)
    }

    fn remote_read(&self) -> Result<Router, BuildError> {
        let labels = self.external_labels.clone();
        let options = RemoteReadOptions {
            storage: self.queryable(),
            external_labels: Arc::new(move || labels.read().clone()),
            limits: self.options.remote_read,
            pool: CpuPool::new(cores(), MAX_WAITING_READS),
        };
        Ok(http_api::remote_read_router(options, &self.metrics)?)
    }

    fn external(&self) -> External {
        External { labels: self.external_labels(), url: self.external_url.clone() }
    }

    fn queryable(&self) -> Arc<dyn Queryable> {
        self.store.clone()
    }

    /// Health, readiness and reload; `None` before [`Tier::start_serving`].
    pub fn lifecycle(&self) -> Option<&Lifecycle> {
        self.lifecycle.as_ref()
    }

    /// Stops every part, the last started first, and lets queues drain. What does not end in time is cut.
    pub async fn stop(&self, within: Duration) {
        if let Some(lifecycle) = &self.lifecycle {
            lifecycle.set_ready(false);
        }
        self.supervisor.stop(within).await;
    }
}

/// What `storageRetention` of the status API says.
fn retention(options: &StoreOptions) -> String {
    let time = model::format_duration(options.retention);
    match options.retention_bytes {
        Some(bytes) => format!("{time} or {}", model::format_bytes(bytes)),
        None => time,
    }
}

/// The queue is as durable as the store.
fn queue_sync(wal: WalSync) -> QueueSync {
    match wal {
        WalSync::Each => QueueSync::Each,
        WalSync::Interval(every) => QueueSync::Interval(every),
        WalSync::Off => QueueSync::Off,
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The URL under which others reach this process, without a slash at its end: as given, or this machine's name and port.
fn external_url(given: Option<&str>, address: SocketAddr) -> Result<String, BuildError> {
    let text = match given {
        Some(url) => url.to_owned(),
        None if address.ip().is_unspecified() => format!("http://{}:{}/", hostname(), address.port()),
        None => format!("http://{address}/"),
    };
    let wrong = |reason: String| BuildError::ExternalUrl { url: text.clone(), reason };
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest {
        None => Err(wrong("it does not begin with http:// or https://".to_owned())),
        Some(rest) if rest.trim_start_matches('/').is_empty() => Err(wrong("it has no host".to_owned())),
        Some(rest) if rest.contains(char::is_whitespace) => Err(wrong("it contains white space".to_owned())),
        Some(_) => Ok(text.trim_end_matches('/').to_owned()),
    }
}

/// The host of a URL, without its port.
fn host(url: &str) -> Option<String> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let host = if authority.starts_with('[') {
        authority.split_inclusive(']').next()?
    } else {
        authority.split(':').next()?
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_urls_are_checked_and_trimmed() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9090));
        assert_eq!(external_url(None, address).expect("is fine"), "http://127.0.0.1:9090");
        assert_eq!(external_url(Some("https://hw.example/x/"), address).expect("is fine"), "https://hw.example/x");
        for wrong in ["hw.example", "http://", "ftp://a", "http://a b"] {
            assert!(external_url(Some(wrong), address).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_is_what_stands_before_the_port() {
        for (url, want) in
            [("http://a:1/x", Some("a")), ("http://[::1]:1", Some("[::1]")), ("http://a", Some("a")), ("a", None)]
        {
            assert_eq!(host(url).as_deref(), want, "{url}");
        }
    }
}
