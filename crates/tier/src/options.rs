//! What the command line says, the same for every tier.

use std::path::PathBuf;
use std::time::Duration;

use http_api::CorsOrigins;
use http_api::RemoteReadLimits;
use promql::SyntaxOptions;
use receive::ReceiverLimits;
use replicas::ReplicasOptions;
use sources::SourceLimits;
use tsdb::StoreOptions;

/// The command line of an edge, a cascade or a central.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--config.file`; every default holds without one.
    pub config_file: Option<PathBuf>,
    /// `--web.listen-address`
    pub listen_address: String,
    /// `--web.external-url`: how others reach this process; derived from the listen address where not given.
    pub external_url: Option<String>,
    /// `--web.max-connections`
    pub max_connections: usize,
    /// `--web.enable-admin-api`
    pub enable_admin: bool,
    /// `--web.enable-lifecycle`
    pub enable_lifecycle: bool,
    /// `--web.cors.origin`
    pub cors_origins: CorsOrigins,
    /// `--storage.path`: the folder of the store, which nobody else may use.
    pub storage_path: PathBuf,
    /// The other `--storage` flags.
    pub store: StoreOptions,
    /// The `--receive` flags.
    pub receiver: ReceiverLimits,
    /// `--replicas.label`, `--replicas.max-series`
    pub replicas: ReplicasOptions,
    /// `--query.timeout`
    pub query_timeout: Duration,
    /// `--query.max-concurrency`
    pub query_concurrency: usize,
    /// `--query.max-samples`
    pub query_max_samples: usize,
    /// `--query.max-memory`, in bytes
    pub query_max_memory: Option<u64>,
    /// `--query.max-memory-total`, in bytes
    pub query_max_memory_total: Option<u64>,
    /// `--query.max-series`
    pub query_max_series: Option<usize>,
    /// `--query.max-points`
    pub query_max_points: usize,
    /// `--query.log-slower-than`
    pub query_log_slower_than: Option<Duration>,
    /// `--query.result-cache-bytes`; 0: no answers are kept
    pub query_result_cache_bytes: u64,
    /// `--query.lookback-delta`
    pub query_lookback: Duration,
    /// `--enable-feature`: which experimental parts of PromQL are on
    pub query_syntax: SyntaxOptions,
    /// The `--storage.remote.read` flags.
    pub remote_read: RemoteReadLimits,
    /// `--sources.live-within`, `--sources.max-lag`, `--rules.hold-late-sources`
    pub sources: SourceLimits,
    /// `--rules.max-watermark-wait`: how long rules wait for samples that are on their way
    pub max_watermark_wait: Duration,
    /// The flags as `/api/v1/status/flags` shows them.
    pub flags: Vec<(String, String)>,
}

impl Options {
    /// The defaults of the command line, listening on `listen_address` and storing in `storage_path`.
    pub fn new(listen_address: impl Into<String>, storage_path: impl Into<PathBuf>) -> Self {
        Self {
            config_file: None,
            listen_address: listen_address.into(),
            external_url: None,
            max_connections: 4096,
            enable_admin: false,
            enable_lifecycle: false,
            cors_origins: CorsOrigins::default(),
            storage_path: storage_path.into(),
            store: StoreOptions::default(),
            receiver: ReceiverLimits::default(),
            replicas: ReplicasOptions::default(),
            query_timeout: Duration::from_secs(120),
            query_concurrency: 20,
            query_max_samples: 50_000_000,
            query_max_memory: Some(1 << 30),
            query_max_memory_total: None,
            query_max_series: None,
            query_max_points: 11_000,
            query_log_slower_than: None,
            query_result_cache_bytes: 64 << 20,
            query_lookback: Duration::from_secs(300),
            query_syntax: SyntaxOptions::default(),
            remote_read: RemoteReadLimits::default(),
            sources: SourceLimits::default(),
            max_watermark_wait: Duration::from_secs(30),
            flags: Vec::new(),
        }
    }
}
