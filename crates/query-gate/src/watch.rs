//! What is told of every query: metrics, the list of running queries, the query log, slow queries.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use promql::{QueryObserver, QueryOrigin, QueryReport, RunningQuery};
use runtime::{Metrics, MetricsError};

use crate::active::ActiveQueries;
use crate::metrics::EngineMetrics;
use crate::query_log::QueryLog;

/// Texts are cut at this length in the log of the process.
const MAX_LOGGED_BYTES: usize = 4096;

/// Observes the queries of an engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct QueryWatch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    metrics: EngineMetrics,
    slower_than: Option<Duration>,
    active: OnceLock<ActiveQueries>,
    log: RwLock<Option<QueryLog>>,
}

impl QueryWatch {
    /// Registers the engine's metrics; queries that take longer than `slower_than`, waiting included, are logged.
    ///
    /// # Errors
    /// When the metrics are registered already.
    pub fn new(metrics: &Metrics, slower_than: Option<Duration>) -> Result<Self, MetricsError> {
        let (active, log) = (OnceLock::new(), RwLock::new(None));
        Ok(Self { inner: Arc::new(Inner { metrics: EngineMetrics::new(metrics)?, slower_than, active, log }) })
    }

    /// Lists running queries in this file from now on, and logs those that the last run of the process left in it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn list_in(&self, path: &Path) -> io::Result<()> {
        let (active, left) = ActiveQueries::open(path)?;
        if !left.is_empty() {
            tracing::warn!(queries = ?left, "these queries didn't finish in the last run");
        }
        // The first file stays.
        let _ = self.inner.active.set(active);
        Ok(())
    }

    /// Writes every query into this log from now on, or into none. A log of the same name is opened anew, so that it can
    /// be rotated.
    ///
    /// # Errors
    /// When the file cannot be opened; the log that was open stays.
    pub fn log_to(&self, path: Option<&Path>) -> io::Result<()> {
        let log = path.map(QueryLog::open).transpose()?;
        self.inner.metrics.log_enabled.set(i64::from(log.is_some()));
        *self.inner.log.write() = log;
        Ok(())
    }
}

impl QueryObserver for QueryWatch {
    fn begins(&self, query: &str) -> Box<dyn RunningQuery> {
        let listed = self.inner.active.get().and_then(|active| active.insert(query, runtime::now().0 / 1000));
        Box::new(Running { inner: self.inner.clone(), listed })
    }
}

/// A query that runs; its entry in the list ends with it.
struct Running {
    inner: Arc<Inner>,
    listed: Option<usize>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(active), Some(at)) = (self.inner.active.get(), self.listed) {
            active.remove(at);
        }
    }
}

impl RunningQuery for Running {
    fn ended(self: Box<Self>, report: &QueryReport<'_>) {
        let inner = &self.inner;
        inner.metrics.ended(report);
        let took = report.waited + report.prepared + report.stats.inner_eval + report.stats.result_sort;
        if inner.slower_than.is_some_and(|threshold| took > threshold) {
            log_slow(report, took);
        }
        if let Some(log) = inner.log.read().as_ref()
            && let Err(error) = log.add(report, runtime::now())
        {
            inner.metrics.log_failures.inc();
            tracing::debug!(%error, "cannot write the query log");
        }
    }
}

fn log_slow(report: &QueryReport<'_>, took: Duration) {
    let end = (0..=MAX_LOGGED_BYTES.min(report.query.len())).rev().find(|end| report.query.is_char_boundary(*end));
    let query = &report.query[..end.unwrap_or(0)];
    let asked_by = match report.origin {
        QueryOrigin::Internal => "internal".to_owned(),
        QueryOrigin::Request { client, method, path } => format!("{client} {method} {path}"),
        QueryOrigin::RuleGroup { file, name } => format!("rule group {name} in {file}"),
    };
    tracing::info!(
        query,
        asked_by,
        start_ms = report.start.0,
        end_ms = report.end.0,
        step_ms = report.step_ms,
        seconds = took.as_secs_f64(),
        waited_seconds = report.waited.as_secs_f64(),
        samples_read = report.stats.samples_read,
        peak_bytes = report.stats.peak_bytes,
        error = report.error.map(ToString::to_string),
        "a slow query"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::TimestampMs;
    use promql::QueryStats;

    fn ends(running: Box<dyn RunningQuery>) {
        let (origin, stats) = (QueryOrigin::default(), QueryStats { samples_read: 5, ..QueryStats::default() });
        let (zero, at) = (Duration::ZERO, TimestampMs(0));
        let (waited, prepared, start, end) = (zero, zero, at, at);
        let (query, origin, stats) = ("up", &origin, &stats);
        running.ended(&QueryReport { query, start, end, step_ms: 0, origin, waited, prepared, stats, error: None });
    }

    #[test]
    fn a_query_is_listed_while_it_runs_and_logged_when_it_ends() {
        let folder = tempfile::tempdir().expect("folder");
        let (list, log) = (folder.path().join("queries.active"), folder.path().join("query.log"));
        let metrics = Metrics::new("test").expect("is fresh");
        let watch = QueryWatch::new(&metrics, Some(Duration::ZERO)).expect("is registered once");
        let early = watch.begins("early");
        watch.list_in(&list).expect("opens");
        watch.log_to(Some(&log)).expect("opens");
        assert!(watch.log_to(Some(folder.path())).is_err());
        let listed = || std::fs::read_to_string(&list).expect("is text").contains("\"up\"");
        let (first, second) = (watch.begins("up"), watch.begins("up"));
        ends(first);
        assert!(listed());
        // As after a panic.
        drop(second);
        assert!(!listed());
        ends(early);
        assert_eq!(std::fs::read_to_string(&log).expect("is there").lines().count(), 2);
        watch.log_to(None).expect("closes");
        ends(watch.begins("up"));
        assert_eq!(std::fs::read_to_string(&log).expect("is there").lines().count(), 2);
        let text = String::from_utf8(metrics.render()).expect("is text");
        for line in ["prometheus_engine_query_samples_total 15", "prometheus_engine_query_log_enabled 0"] {
            assert!(text.lines().any(|l| l == line), "{line}:\n{text}");
        }
    }
}
