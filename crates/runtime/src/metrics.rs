//! Metrics of a process about itself, in a registry of its own.

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// A metric that cannot exist: its name is taken or not legal. A mistake in the program, found at start.
#[derive(Debug, thiserror::Error)]
#[error("cannot register a metric: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// One process' metrics. Cheap to clone; every block registers its own here when it is built.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
}

type Made<T> = Result<T, MetricsError>;

impl Metrics {
    /// A registry with the process' own metrics and `highwater_build_info{role,version}`.
    ///
    /// # Errors
    /// When the process' metrics cannot be registered.
    pub fn new(role: &str) -> Made<Self> {
        let metrics = Self { registry: Registry::new() };
        metrics.collector(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let info = metrics.int_gauge_vec(
            "highwater_build_info",
            "Which Highwater this is; always 1.",
            &["role", "version"],
        )?;
        info.with_label_values(&[role, env!("CARGO_PKG_VERSION")]).set(1);
        Ok(metrics)
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Made<C> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    /// A collector of the `prometheus` crate, for what the functions below do not cover.
    ///
    /// # Errors
    /// When its name is taken. The same holds for every function here.
    pub fn collector(&self, collector: Box<dyn Collector>) -> Made<()> {
        Ok(self.registry.register(collector)?)
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> Made<IntCounter> {
        self.register(IntCounter::new(name, help)?)
    }

    /// Counters by label.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// A whole-numbered gauge.
    pub fn int_gauge(&self, name: &str, help: &str) -> Made<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    /// Whole-numbered gauges by label.
    pub fn int_gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Made<Gauge> {
        self.register(Gauge::new(name, help)?)
    }

    /// Gauges by label.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> Made<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// A histogram of seconds (or whatever the name's unit says) with the given upper bounds.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Made<Histogram> {
        self.register(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    /// Histograms by label.
    pub fn histogram_vec(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Made<HistogramVec> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    /// Everything in text format 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // Encoding fails only for metrics without a name or value, which registration has refused.
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            tracing::error!(%error, "cannot render metrics");
        }
        out
    }
}
