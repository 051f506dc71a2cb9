//! The flags of what arrives from other tiers.

use std::time::Duration;

use clap::Args;
use model::{format_bytes, format_duration, parse_bytes, parse_duration};
use tier::{ReceiverLimits, ReplicasOptions, SourceLimits};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Delivery")]
pub struct DeliveryArgs {
    /// Samples a second that one source may write, more hear 429; 0: no limit
    #[arg(long = "receive.max-samples-per-second", value_name = "COUNT", default_value_t = 0)]
    max_samples_per_second: u32,
    /// Bytes of one request, compressed
    #[arg(long = "receive.max-body-size", value_name = "SIZE", default_value = "32MiB", value_parser = parse_bytes)]
    max_body_bytes: u64,
    /// Bytes of all requests under way, shared by the sources that send
    #[arg(long = "receive.max-bodies-size", value_name = "SIZE", default_value = "256MiB", value_parser = parse_bytes)]
    max_bodies_bytes: u64,
    /// Bytes of labels that senders announced, so that they need not repeat them
    #[arg(long = "receive.max-sessions-size", value_name = "SIZE", default_value = "256MiB", value_parser = parse_bytes)]
    max_session_bytes: u64,
    /// Labels that tell replicas apart, whose samples become one series on a cascade or central; empty: nothing is merged
    #[arg(
        long = "replicas.label",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "replica,prometheus_replica"
    )]
    replica_labels: Vec<String>,
    /// Series of several replicas that are followed at once, about 1 KiB each
    #[arg(long = "replicas.max-series", value_name = "COUNT", default_value_t = ReplicasOptions::default().max_series)]
    replica_series: usize,
    /// How long after it was last heard of a source counts as there
    #[arg(long = "sources.live-within", value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    live_within: Duration,
    /// A source whose samples are complete up to longer ago than this no longer holds back what this tier says of itself
    #[arg(long = "sources.max-lag", value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    max_lag: Duration,
    /// How long rule groups wait at most until the samples of every source are there
    #[arg(
        long = "rules.max-watermark-wait",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = parse_duration
    )]
    pub max_watermark_wait: Duration,
    /// How long the alerts of a source that is late or silent stay as they are
    #[arg(
        long = "rules.hold-late-sources",
        value_name = "DURATION",
        default_value = "1d",
        value_parser = parse_duration
    )]
    hold_for: Duration,
}

impl DeliveryArgs {
    /// What senders may use.
    pub fn receiver(&self) -> ReceiverLimits {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        ReceiverLimits {
            max_body_bytes: bytes(self.max_body_bytes),
            max_bodies_bytes: bytes(self.max_bodies_bytes),
            max_samples_per_second: Some(self.max_samples_per_second).filter(|count| *count > 0),
            max_session_bytes: bytes(self.max_session_bytes),
            ..ReceiverLimits::default()
        }
    }

    /// How replicas are merged.
    pub fn replicas(&self) -> ReplicasOptions {
        let labels = self.replica_labels.iter().filter(|name| !name.is_empty()).cloned().collect();
        ReplicasOptions { labels, max_series: self.replica_series }
    }

    /// How sources are judged.
    pub fn sources(&self) -> SourceLimits {
        SourceLimits {
            live_within: self.live_within,
            max_lag: self.max_lag,
            hold_for: self.hold_for,
            ..SourceLimits::default()
        }
    }

    /// As `/api/v1/status/flags` shows them.
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        vec![
            ("receive.max-samples-per-second", self.max_samples_per_second.to_string()),
            ("receive.max-body-size", format_bytes(self.max_body_bytes)),
            ("receive.max-bodies-size", format_bytes(self.max_bodies_bytes)),
            ("receive.max-sessions-size", format_bytes(self.max_session_bytes)),
            ("replicas.label", self.replica_labels.join(",")),
            ("replicas.max-series", self.replica_series.to_string()),
            ("sources.live-within", format_duration(self.live_within)),
            ("sources.max-lag", format_duration(self.max_lag)),
            ("rules.max-watermark-wait", format_duration(self.max_watermark_wait)),
            ("rules.hold-late-sources", format_duration(self.hold_for)),
        ]
    }
}
