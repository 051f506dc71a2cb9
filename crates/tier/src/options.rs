//! What the command line says, the same for every tier.

use std::path::PathBuf;
use std::time::Duration;

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
    /// `--storage.path`: the folder of the store, which nobody else may use.
    pub storage_path: PathBuf,
    /// The other `--storage` flags.
    pub store: StoreOptions,
    /// `--query.timeout`
    pub query_timeout: Duration,
    /// `--query.max-concurrency`
    pub query_concurrency: usize,
    /// `--query.max-samples`
    pub query_max_samples: usize,
    /// `--query.lookback-delta`
    pub query_lookback: Duration,
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
            max_connections: 512,
            enable_admin: false,
            storage_path: storage_path.into(),
            store: StoreOptions::default(),
            query_timeout: Duration::from_secs(120),
            query_concurrency: 20,
            query_max_samples: 50_000_000,
            query_lookback: Duration::from_secs(300),
            flags: Vec::new(),
        }
    }
}
