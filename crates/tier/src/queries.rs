//! The engine of a tier with what stands around it: the gate before it and the watch over it.

use std::path::Path;
use std::sync::Arc;

use promql::{Engine, EngineOptions};
use query_gate::{GateOptions, QueryGate, QueryWatch};
use runtime::Metrics;

use crate::{BuildError, Options};

/// Queries that may wait for their turn; more hear 503.
const MAX_WAITING: usize = 200;
/// The list of running queries, in the store's folder.
const ACTIVE_QUERIES: &str = "queries.active";

/// What evaluates queries, for people and for rules.
#[derive(Clone)]
pub(crate) struct Queries {
    pub(crate) engine: Arc<Engine>,
    pub(crate) gate: QueryGate,
    watch: QueryWatch,
}

impl Queries {
    /// Limited as the command line says.
    pub(crate) fn new(options: &Options, metrics: &Metrics) -> Result<Self, BuildError> {
        let bytes = |limit: Option<u64>| limit.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let watch = QueryWatch::new(metrics, options.query_log_slower_than)?;
        let engine = Engine::new(EngineOptions {
            lookback: options.query_lookback,
            syntax: options.query_syntax,
            max_samples: options.query_max_samples,
            max_memory_bytes: bytes(options.query_max_memory),
            max_memory_total_bytes: bytes(options.query_max_memory_total),
            max_series: options.query_max_series.unwrap_or(usize::MAX),
            max_points: options.query_max_points,
            observer: Some(Arc::new(watch.clone())),
            ..EngineOptions::default()
        });
        let gate = QueryGate::new(GateOptions { slots: options.query_concurrency, max_waiting: MAX_WAITING }, metrics)?;
        Ok(Self { engine: Arc::new(engine), gate, watch })
    }

    /// Names the queries that the last run left behind, and logs queries from now on where the configuration says so.
    /// The folder must be this process' own.
    pub(crate) fn begin(&self, folder: &Path, log_file: Option<&Path>) -> Result<(), BuildError> {
        if let Err(error) = self.watch.list_in(&folder.join(ACTIVE_QUERIES)) {
            tracing::warn!(%error, file = ACTIVE_QUERIES, "running queries are not listed");
        }
        self.log_to(log_file).map_err(BuildError::QueryLog)
    }

    /// Takes another query log, or none.
    ///
    /// # Errors
    /// Why the file cannot be opened; the old log stays.
    pub(crate) fn log_to(&self, file: Option<&Path>) -> Result<(), String> {
        let named =
            |error| format!("global.query_log_file: cannot open {}: {error}", file.unwrap_or(Path::new("")).display());
        self.watch.log_to(file).map_err(named)
    }
}
