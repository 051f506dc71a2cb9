//! The role as a whole: what it is made of, in which order it starts and stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use config::Problems;
use notify::Delivery;
use runtime::{
    BindError, HttpClientError, Lifecycle, Metrics, MetricsError, Reload, ServerLimits, Supervisor, bind,
    operations_router, serve,
};
use tokio::net::TcpListener;

use crate::api::{self, Api};
use crate::cluster::{Cluster, ClusterOptions, Timing};
use crate::config::Config;
use crate::dispatcher;
use crate::engine::state::{Limits, State};
use crate::metrics::{RouterMetrics, StateCollector};
use crate::pipeline::Pipeline;
use crate::shared::Core;
use crate::snapshot::{Snapshots, StorageError};

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--config.file`: alertmanager.yml. Required: without receivers a router would swallow alerts.
    pub config_file: Option<PathBuf>,
    /// `--storage.path`: where alerts, silences and the notification log are kept.
    pub storage_path: PathBuf,
    /// `--web.listen-address`.
    pub listen_address: String,
    /// `--web.external-url`: where people find this router. Its path is where everything is served below.
    pub external_url: Option<String>,
    /// `--cluster.listen-address`: where peers reach this router; none or empty, and it stands alone.
    pub cluster_listen_address: Option<String>,
    /// `--cluster.peer`, each `HOST:PORT`.
    pub cluster_peers: Vec<String>,
    /// `--cluster.peer-timeout`: how long a router waits for each router before it.
    pub cluster_peer_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            config_file: None,
            storage_path: PathBuf::from("data/"),
            listen_address: "0.0.0.0:9093".to_owned(),
            external_url: None,
            cluster_listen_address: None,
            cluster_peers: Vec::new(),
            cluster_peer_timeout: Duration::from_secs(15),
        }
    }
}

/// Why the role cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No file was named.
    #[error("an alert router needs a configuration; give --config.file with an alertmanager.yml")]
    NoConfig,
    /// The file has problems.
    #[error("{0}")]
    Config(#[from] Problems),
    /// A flag has no usable value.
    #[error("{flag} {value:?}: {reason}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong and what to do.
        reason: &'static str,
    },
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The storage folder.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A metric, which would be a mistake in the program.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The client for peers.
    #[error(transparent)]
    Client(#[from] HttpClientError),
    /// The listening socket has no address.
    #[error("cannot read the address that is listened on: {0}")]
    Address(std::io::Error),
}

struct Listening {
    api: (TcpListener, Router),
    cluster: Option<TcpListener>,
    pipeline: Pipeline,
}

/// An alert router.
pub struct App {
    supervisor: Supervisor,
    dispatching: Supervisor,
    lifecycle: Lifecycle,
    cluster: Arc<Cluster>,
    snapshots: Arc<Snapshots>,
    address: SocketAddr,
    listening: Option<Listening>,
}

impl App {
    /// Checks everything, loads the state and binds the addresses; nothing runs yet.
    ///
    /// # Errors
    /// Everything a user can do about a bad start.
    pub async fn build(options: Options) -> Result<Self, StartError> {
        Self::build_with(options, Timing::default()).await
    }

    pub(crate) async fn build_with(options: Options, timing: Timing) -> Result<Self, StartError> {
        runtime::install_tls();
        let config_file = options.config_file.clone().ok_or(StartError::NoConfig)?;
        let metrics = Metrics::new("alerts")?;
        let delivery = Delivery::new(&metrics)?;
        let config = Arc::new(Config::load_with(&config_file, &delivery)?);
        let router_metrics = Arc::new(RouterMetrics::new(&metrics)?);
        announce(&router_metrics, &config);
        let core = Arc::new(Core::new(State::new(config, Limits::default(), runtime::now())));
        metrics.collector(Box::new(StateCollector::new(core.clone())?))?;
        let listener = bind(&options.listen_address).await?;
        let address = listener.local_addr().map_err(StartError::Address)?;
        let (external_url, prefix) = external_url(options.external_url.as_deref(), address)?;
        let (cluster_listener, cluster_options) = bind_cluster(&options, timing).await?;
        let snapshots = Arc::new(Snapshots::open(&options.storage_path, core.clone(), router_metrics.clone())?);
        let cluster = Arc::new(Cluster::new(cluster_options, core.clone(), router_metrics.cluster.clone())?);
        let supervisor = Supervisor::new();
        let reload = Reloader { config_file, delivery, core: core.clone(), metrics: router_metrics.clone() };
        let lifecycle = Lifecycle::new(&supervisor, &metrics, Box::new(reload))?;
        let api = Api {
            core: core.clone(),
            cluster: cluster.clone(),
            metrics: router_metrics.api.clone(),
            started_at: runtime::now(),
        };
        let routes = api::router(Arc::new(api)).merge(operations_router(lifecycle.clone()));
        let routes = if prefix.is_empty() { routes } else { Router::new().nest(&prefix, routes) };
        let notification_metrics = router_metrics.notifications.clone();
        let pipeline = Pipeline { core, cluster: cluster.clone(), metrics: notification_metrics, external_url };
        let listening = Listening { api: (listener, routes), cluster: cluster_listener, pipeline };
        let dispatching = Supervisor::new();
        Ok(Self { supervisor, dispatching, lifecycle, cluster, snapshots, address, listening: Some(listening) })
    }

    /// Starts everything, what others depend on first. A second call does nothing.
    pub fn start(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        let snapshots = self.snapshots.clone();
        self.supervisor.spawn("alert-snapshots", |stop| snapshots.run(stop));
        if let Some(listener) = listening.cluster {
            let limits = ServerLimits { max_connections: 128, ..ServerLimits::default() };
            serve(&self.supervisor, "alert-cluster-http", listener, self.cluster.router(), limits);
        }
        self.cluster.start(&self.supervisor);
        let pipeline = Arc::new(listening.pipeline);
        self.dispatching.spawn("alert-dispatcher", |stop| dispatcher::run(pipeline, stop));
        let (listener, routes) = listening.api;
        serve(&self.dispatching, "alert-http", listener, routes, ServerLimits::default());
        self.lifecycle.set_ready(true);
        tracing::info!(address = %self.address, cluster = self.cluster.address(), "alert router started");
    }

    /// Stops: takes no more alerts, lets attempts under way end, tells the peers the last news, writes the state.
    pub async fn stop(self, within: Duration) {
        self.lifecycle.set_ready(false);
        // The cluster needs a share of the time to tell what the dispatcher has sent.
        self.dispatching.stop(within.mul_f64(0.7)).await;
        self.supervisor.stop(within.mul_f64(0.3)).await;
        let snapshots = self.snapshots.clone();
        if tokio::task::spawn_blocking(move || snapshots.save_all()).await.is_err() {
            tracing::error!("writing the last snapshot panicked; notifications since the previous one may repeat");
        }
    }

    /// Ends everything at once, as a killed process would.
    #[cfg(test)]
    pub(crate) async fn kill(self) {
        self.dispatching.stop(Duration::ZERO).await;
        self.supervisor.stop(Duration::ZERO).await;
    }

    /// What keeps the peers of one mind.
    #[cfg(test)]
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where peers reach this router; empty where it stands alone.
    pub fn cluster_address(&self) -> String {
        self.cluster.address()
    }

    /// Readiness and reload, for signals.
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.clone()
    }
}

fn announce(metrics: &RouterMetrics, config: &Config) {
    for integration in config.receivers.values().flat_map(|r| &r.integrations) {
        metrics.notifications.announce(integration.kind());
    }
}

async fn bind_cluster(options: &Options, timing: Timing) -> Result<(Option<TcpListener>, ClusterOptions), StartError> {
    let mut out =
        ClusterOptions { listen: None, peers: Vec::new(), peer_timeout: options.cluster_peer_timeout, timing };
    let listen = options.cluster_listen_address.as_deref().filter(|a| !a.is_empty());
    let Some(listen) = listen else {
        return match options.cluster_peers.first() {
            None => Ok((None, out)),
            Some(peer) => Err(StartError::Flag {
                flag: "--cluster.peer",
                value: peer.clone(),
                reason: "a router with peers must be reachable for them; give --cluster.listen-address too",
            }),
        };
    };
    for peer in &options.cluster_peers {
        if !is_host_port(peer) {
            let reason = "not HOST:PORT; write for example router-b:9094";
            return Err(StartError::Flag { flag: "--cluster.peer", value: peer.clone(), reason });
        }
    }
    let listener = bind(listen).await?;
    out.listen = Some(listener.local_addr().map_err(StartError::Address)?);
    out.peers.clone_from(&options.cluster_peers);
    Ok((Some(listener), out))
}

fn is_host_port(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts
        .is_some_and(|(host, port)| !host.is_empty() && !text.contains('/') && port.parse::<u16>().is_ok_and(|p| p > 0))
}

/// The external URL without a slash at its end, and the path below which everything is served.
fn external_url(given: Option<&str>, address: SocketAddr) -> Result<(String, String), StartError> {
    let Some(given) = given.filter(|g| !g.is_empty()) else {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = if host.trim().is_empty() { address.ip().to_string() } else { host.trim().to_owned() };
        return Ok((format!("http://{host}:{}", address.port()), String::new()));
    };
    let bad = |reason| StartError::Flag { flag: "--web.external-url", value: given.to_owned(), reason };
    let url: reqwest::Url =
        given.parse().map_err(|_| bad("not a URL; write for example https://alerts.example.org/router"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("it must begin with http:// or https:// and name a host"));
    }
    let prefix = url.path().trim_end_matches('/').to_owned();
    if prefix.contains(['{', '}']) || prefix.contains("//") {
        return Err(bad("its path must be plain"));
    }
    Ok((given.trim_end_matches('/').to_owned(), prefix))
}

struct Reloader {
    config_file: PathBuf,
    delivery: Delivery,
    core: Arc<Core>,
    metrics: Arc<RouterMetrics>,
}

impl Reload for Reloader {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async {
            let loaded = Config::load_with(&self.config_file, &self.delivery);
            self.metrics.reload_successful.set(i64::from(loaded.is_ok()));
            let config = loaded.map_err(|problems| problems.to_string())?;
            announce(&self.metrics, &config);
            self.metrics.reload_seconds.set(runtime::now().as_seconds());
            self.core.state.lock().reconfigure(Arc::new(config), runtime::now());
            self.core.wake.notify_one();
            Ok(())
        })
    }
}
