//! Metrics under the names that Prometheus' dashboards know, and those of the gate itself.

use prometheus::{Histogram, IntCounter, IntGauge};
use promql::QueryReport;
use runtime::{Metrics, MetricsError};

const QUERY_SECONDS: &[f64] =
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// Who runs and who waits.
#[derive(Debug)]
pub(crate) struct GateMetrics {
    queries: IntGauge,
    running: [IntGauge; 2],
    waiting: [IntGauge; 2],
    pub refused: IntCounter,
}

impl GateMetrics {
    pub fn new(metrics: &Metrics, slots: usize) -> Result<Self, MetricsError> {
        let queries = metrics
            .int_gauge("prometheus_engine_queries", "The current number of queries being executed or waiting.")?;
        let most =
            metrics.int_gauge("prometheus_engine_queries_concurrent_max", "The max number of concurrent queries.")?;
        most.set(i64::try_from(slots).unwrap_or(i64::MAX));
        let running = metrics.int_gauge_vec(
            "highwater_queries_running",
            "Queries and evaluations of rule groups that run.",
            &["class"],
        )?;
        let waiting = metrics.int_gauge_vec(
            "highwater_queries_waiting",
            "Queries and evaluations of rule groups that wait for their turn.",
            &["class"],
        )?;
        let refused = metrics.counter(
            "highwater_queries_refused_total",
            "Queries that were refused because too many waited, most of them the same caller's.",
        )?;
        let classes = ["rules", "interactive"];
        Ok(Self {
            queries,
            running: classes.map(|class| running.with_label_values(&[class])),
            waiting: classes.map(|class| waiting.with_label_values(&[class])),
            refused,
        })
    }

    /// Counts a query for as long as somebody waits for its answer.
    pub fn arrive(&self) -> Present {
        self.queries.inc();
        Present(self.queries.clone())
    }

    /// Shows how many run and wait, by class.
    pub fn show(&self, running: [usize; 2], waiting: [usize; 2]) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (gauges, counts) in [(&self.running, running), (&self.waiting, waiting)] {
            gauges.iter().zip(counts).for_each(|(gauge, count)| gauge.set(number(count)));
        }
    }
}

/// A query whose answer somebody waits for.
pub(crate) struct Present(IntGauge);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How long queries take and what they read.
#[derive(Debug)]
pub(crate) struct EngineMetrics {
    samples: IntCounter,
    queue_time: Histogram,
    prepare_time: Histogram,
    inner_eval: Histogram,
    result_sort: Histogram,
    pub log_enabled: IntGauge,
    pub log_failures: IntCounter,
}

impl EngineMetrics {
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let samples = metrics
            .counter("prometheus_engine_query_samples_total", "The total number of samples loaded by all queries.")?;
        let seconds = metrics.histogram_vec(
            "prometheus_engine_query_duration_seconds",
            "Query timings.",
            &["slice"],
            QUERY_SECONDS,
        )?;
        let slice = |name: &str| seconds.with_label_values(&[name]);
        Ok(Self {
            samples,
            queue_time: slice("queue_time"),
            prepare_time: slice("prepare_time"),
            inner_eval: slice("inner_eval"),
            result_sort: slice("result_sort"),
            log_enabled: metrics.int_gauge("prometheus_engine_query_log_enabled", "State of the query log.")?,
            log_failures: metrics
                .counter("prometheus_engine_query_log_failures_total", "The number of query log failures.")?,
        })
    }

    pub fn ended(&self, report: &QueryReport<'_>) {
        self.samples.inc_by(report.stats.samples_read);
        self.queue_time.observe(report.waited.as_secs_f64());
        self.prepare_time.observe(report.prepared.as_secs_f64());
        self.inner_eval.observe(report.stats.inner_eval.as_secs_f64());
        self.result_sort.observe(report.stats.result_sort.as_secs_f64());
    }
}
