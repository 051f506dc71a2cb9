//! What forwarders count, by destination.

use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use runtime::{Metrics, MetricsError};

use crate::negotiation::Form;

/// Reasons for which a destination never gets a sample.
const REASONS: [&str; 7] = ["disk_full", "age", "damaged", "refused", "too_old", "removed", "histogram"];
const LANES: [&str; 2] = ["live", "backfill"];

#[derive(Clone)]
pub(crate) struct ForwardMetrics {
    counts: Counts,
    states: States,
    seconds: HistogramVec,
    freshness: HistogramVec,
    pub(crate) disk_bytes: IntGauge,
    pub(crate) max_disk_bytes: IntGauge,
    pub(crate) unqueued: Gauge,
}

/// What only grows.
#[derive(Clone)]
struct Counts {
    sent: IntCounterVec,
    bytes: IntCounterVec,
    retries: IntCounterVec,
    dropped: IntCounterVec,
    dropped_by_source: IntCounterVec,
    poison: IntCounterVec,
    exemplars: IntCounterVec,
    exemplars_dropped: IntCounterVec,
    requests: IntCounterVec,
}

/// What is true now.
#[derive(Clone)]
struct States {
    queued: IntGaugeVec,
    oldest: GaugeVec,
    backlog: IntGaugeVec,
    backlog_bytes: IntGaugeVec,
    backlog_oldest: GaugeVec,
    newest_sent: GaugeVec,
    watermark: GaugeVec,
    up: IntGaugeVec,
    circuit: IntGaugeVec,
    in_flight: IntGaugeVec,
}

impl ForwardMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let whole = |name: &str, help| metrics.int_gauge(&full(name), help);
        let histogram = |name: &str, help| metrics.histogram_vec(&full(name), help, BY, &SECONDS);
        let unqueued = "Since when the queue cannot be written; 0 while it can.";
        Ok(Self {
            counts: Counts::new(metrics)?,
            states: States::new(metrics)?,
            seconds: histogram("request_duration_seconds", "Time from a request to its answer.")?,
            freshness: histogram("freshness_seconds", "Time from the queueing of live samples to their arrival.")?,
            disk_bytes: whole("queue_disk_bytes", "Bytes of the queue on disk, for all destinations.")?,
            max_disk_bytes: whole("queue_max_disk_bytes", "Bytes that it may take.")?,
            unqueued: metrics.gauge(&full("unqueued_since_timestamp_seconds"), unqueued)?,
        })
    }

    /// The metrics of one destination, which are there from now on.
    pub(crate) fn of(&self, name: &str) -> DestinationMetrics {
        let dropped = REASONS.map(|reason| (reason, self.counts.dropped.with_label_values(&[name, reason]))).to_vec();
        let in_flight = LANES.map(|lane| self.states.in_flight.with_label_values(&[name, lane]));
        let one = [name];
        DestinationMetrics {
            name: name.to_owned(),
            sent: self.counts.sent.with_label_values(&one),
            bytes: self.counts.bytes.with_label_values(&one),
            retries: self.counts.retries.with_label_values(&one),
            poison: self.counts.poison.with_label_values(&one),
            exemplars: self.counts.exemplars.with_label_values(&one),
            exemplars_dropped: self.counts.exemplars_dropped.with_label_values(&one),
            queued: self.states.queued.with_label_values(&one),
            oldest: self.states.oldest.with_label_values(&one),
            backlog: self.states.backlog.with_label_values(&one),
            backlog_bytes: self.states.backlog_bytes.with_label_values(&one),
            backlog_oldest: self.states.backlog_oldest.with_label_values(&one),
            newest_sent: self.states.newest_sent.with_label_values(&one),
            watermark: self.states.watermark.with_label_values(&one),
            up: self.states.up.with_label_values(&one),
            circuit: self.states.circuit.with_label_values(&one),
            seconds: self.seconds.with_label_values(&one),
            freshness: self.freshness.with_label_values(&one),
            in_flight,
            dropped,
            requests: self.counts.requests.clone(),
        }
    }

    /// Samples that left the queue before a destination got them.
    pub(crate) fn dropped(&self, dropped: &queue::Dropped) {
        let (name, source, reason) = (dropped.destination.as_str(), dropped.source.as_str(), dropped.reason);
        self.counts.dropped.with_label_values(&[name, reason]).inc_by(dropped.samples);
        self.counts.dropped_by_source.with_label_values(&[name, source, reason]).inc_by(dropped.samples);
    }

    /// Forgets what is true of a destination now; what was counted stays.
    pub(crate) fn forget(&self, name: &str) {
        for gauge in [
            &self.states.queued,
            &self.states.backlog,
            &self.states.backlog_bytes,
            &self.states.up,
            &self.states.circuit,
        ] {
            let _ = gauge.remove_label_values(&[name]);
        }
        for gauge in
            [&self.states.oldest, &self.states.backlog_oldest, &self.states.newest_sent, &self.states.watermark]
        {
            let _ = gauge.remove_label_values(&[name]);
        }
        for lane in LANES {
            let _ = self.states.in_flight.remove_label_values(&[name, lane]);
        }
    }
}

const BY: &[&str] = &["destination"];

impl Counts {
    fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let counter = |name: &str, help, labels: &[&str]| metrics.counter_vec(&full(name), help, labels);
        Ok(Self {
            sent: counter("samples_sent_total", "Samples a destination has accepted.", BY)?,
            bytes: counter("bytes_sent_total", "Bytes of accepted requests, compressed.", BY)?,
            retries: counter("retries_total", "Requests that failed and were or will be sent again.", BY)?,
            dropped: counter(
                "samples_dropped_total",
                "Samples a destination will never get, by reason: disk_full, age, damaged, refused, too_old, removed, histogram.",
                &["destination", "reason"],
            )?,
            dropped_by_source: counter(
                "samples_dropped_by_source_total",
                "Samples that left the queue before a destination got them, by where they came from.",
                &["destination", "source", "reason"],
            )?,
            poison: counter(
                "poison_samples_total",
                "Samples for whose sake a destination refused all that was sent with them; they were isolated.",
                BY,
            )?,
            exemplars: counter("exemplars_sent_total", "Exemplars in requests that a destination has accepted.", BY)?,
            exemplars_dropped: counter(
                "exemplars_dropped_total",
                "Exemplars a destination will never get, because it refused their request.",
                BY,
            )?,
            requests: counter(
                "requests_total",
                "Requests that were answered, by how they were written and by status.",
                &["destination", "wire", "code"],
            )?,
        })
    }
}

impl States {
    fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let whole = |name: &str, help, labels: &[&str]| metrics.int_gauge_vec(&full(name), help, labels);
        let gauge = |name: &str, help| metrics.gauge_vec(&full(name), help, BY);
        Ok(Self {
            queued: whole(
                "queue_length",
                "Samples of the queue that the destination does not have yet, whether it wants them or not.",
                BY,
            )?,
            oldest: gauge(
                "oldest_age_seconds",
                "How long ago the first sample was queued that the destination does not have yet.",
            )?,
            backlog: whole("backlog_samples", "Samples of those that the destination fell behind with.", BY)?,
            backlog_bytes: whole("backlog_bytes", "Bytes on disk of those.", BY)?,
            backlog_oldest: gauge(
                "backlog_oldest_timestamp_seconds",
                "Timestamp of the oldest of those; 0 when there is none.",
            )?,
            newest_sent: gauge(
                "newest_sent_timestamp_seconds",
                "Timestamp of the newest sample a destination has accepted.",
            )?,
            watermark: gauge(
                "watermark_timestamp_seconds",
                "Everything with a timestamp up to this has reached the destination, as it was last told.",
            )?,
            up: whole("destination_up", "Whether the last request succeeded.", BY)?,
            circuit: whole(
                "circuit_state",
                "0: requests go out; 1: one goes out to find out whether they arrive; 2: none goes out.",
                BY,
            )?,
            in_flight: whole("requests_in_flight", "Requests under way.", &["destination", "lane"])?,
        })
    }
}

fn full(name: &str) -> String {
    format!("highwater_forward_{name}")
}

/// Upper bounds of what is measured in seconds.
const SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 30.0];

/// What is counted of one destination.
#[derive(Clone)]
pub(crate) struct DestinationMetrics {
    name: String,
    pub(crate) sent: IntCounter,
    pub(crate) bytes: IntCounter,
    pub(crate) retries: IntCounter,
    pub(crate) poison: IntCounter,
    pub(crate) exemplars: IntCounter,
    pub(crate) exemplars_dropped: IntCounter,
    pub(crate) queued: IntGauge,
    pub(crate) oldest: Gauge,
    pub(crate) backlog: IntGauge,
    pub(crate) backlog_bytes: IntGauge,
    pub(crate) backlog_oldest: Gauge,
    pub(crate) newest_sent: Gauge,
    pub(crate) watermark: Gauge,
    pub(crate) up: IntGauge,
    pub(crate) circuit: IntGauge,
    pub(crate) seconds: Histogram,
    pub(crate) freshness: Histogram,
    in_flight: [IntGauge; 2],
    dropped: Vec<(&'static str, IntCounter)>,
    requests: IntCounterVec,
}

impl DestinationMetrics {
    /// Samples that will never arrive.
    pub(crate) fn dropped(&self, reason: &str, samples: usize) {
        if let Some((_, counter)) = self.dropped.iter().find(|(known, _)| *known == reason) {
            counter.inc_by(samples as u64);
        }
    }

    /// A request was answered.
    pub(crate) fn request(&self, form: Form, status: u16) {
        self.requests.with_label_values(&[self.name.as_str(), form.as_str(), status.to_string().as_str()]).inc();
    }

    /// Requests under way, live and backfill.
    pub(crate) fn in_flight(&self, live: usize, backfill: usize) {
        let [of_live, of_backfill] = &self.in_flight;
        of_live.set(live as i64);
        of_backfill.set(backfill as i64);
    }
}
