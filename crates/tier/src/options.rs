//! What the command line says, the same for every tier.

use std::path::PathBuf;
use std::time::Duration;

use tsdb::HeadOptions;

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
    /// `--storage.retention.time`, `--storage.max-series`, `--storage.max-samples`
    pub store: HeadOptions,
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
    /// The defaults of the command line, listening on `listen_address`.
    pub fn new(listen_address: impl Into<String>) -> Self {
        Self {
            config_file: None,
            listen_address: listen_address.into(),
            external_url: None,
            max_connections: 512,
            store: HeadOptions::default(),
            query_timeout: Duration::from_secs(120),
            query_concurrency: 20,
            query_max_samples: 50_000_000,
            query_lookback: Duration::from_secs(300),
            flags: Vec::new(),
        }
    }
}
