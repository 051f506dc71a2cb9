//! What the API shows beside stored samples, and who knows it: each role implements these traits as far as it can.

use std::time::Duration;

use ::sources::{Behind, SourceName, SourceStatus};
use model::{Labels, Matcher, TimeRange, TimestampMs};
use rules::status::GroupStatus;
use serde::Serialize;

use crate::time::{serialize_duration, serialize_moment, serialize_seconds};

/// How a target's last scrape went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetHealth {
    /// It was not scraped yet.
    #[default]
    Unknown,
    /// It answered.
    Up,
    /// It did not.
    Down,
}

/// A target that is scraped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveTarget {
    /// Labels as discovered, before relabelling.
    pub discovered_labels: Labels,
    /// Labels its series get.
    pub labels: Labels,
    /// The name of its scrape job.
    pub scrape_pool: String,
    /// Where it is scraped, without user and password.
    pub scrape_url: String,
    /// The same as others reach it; mostly equal.
    pub global_url: String,
    /// Why the last scrape failed; empty when it did not.
    pub last_error: String,
    /// When it was last scraped.
    #[serde(serialize_with = "serialize_moment")]
    pub last_scrape: Option<TimestampMs>,
    /// How long that took.
    #[serde(serialize_with = "serialize_seconds")]
    pub last_scrape_duration: Duration,
    /// How it went.
    pub health: TargetHealth,
    /// How often it is scraped.
    #[serde(serialize_with = "serialize_duration")]
    pub scrape_interval: Duration,
    /// How long a scrape may take.
    #[serde(serialize_with = "serialize_duration")]
    pub scrape_timeout: Duration,
}

/// A target that relabelling dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    /// Labels as discovered.
    pub discovered_labels: Labels,
    /// The name of its scrape job.
    pub scrape_pool: String,
}

/// Who knows the targets.
pub trait TargetsSource: Send + Sync {
    /// The targets that are scraped, in a stable order.
    fn active(&self) -> Vec<ActiveTarget>;
    /// The targets that relabelling dropped (as many as are remembered), in a stable order.
    fn dropped(&self) -> Vec<DroppedTarget>;
}

/// The Alertmanagers, or alert routers, that alerts are sent to: URLs of their alerts endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alertmanagers {
    /// Those alerts are sent to.
    pub active: Vec<String>,
    /// Those that relabelling dropped.
    pub dropped: Vec<String>,
}

/// Who knows the rules and where alerts go.
pub trait RulesSource: Send + Sync {
    /// Every rule group, in order of file and name.
    fn groups(&self) -> Vec<GroupStatus>;
    /// Where alerts are sent.
    fn alertmanagers(&self) -> Alertmanagers {
        Alertmanagers::default()
    }
}

/// What a process says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// Whether the last reload of the configuration succeeded.
    pub reload_succeeded: bool,
    /// When the last reload was tried.
    pub reloaded: Option<TimestampMs>,
    /// When the configuration in force was loaded.
    pub config_loaded: Option<TimestampMs>,
    /// How long samples are kept, as a human reads it: `15d`.
    pub retention: String,
    /// Corruptions that were found and quarantined since the start.
    pub corruptions: u64,
}

/// Who knows the process.
pub trait StatusSource: Send + Sync {
    /// The configuration in force, as YAML. Its secrets are taken out before it is shown.
    fn config(&self) -> String;
    /// The flags in force, by name without dashes. Leave secrets out.
    fn flags(&self) -> Vec<(String, String)>;
    /// Reloads, retention.
    fn runtime(&self) -> RuntimeStatus;
}

/// A name and how often it occurs, or how large it is.
pub type Count = (String, u64);

/// The shape of what a store holds in memory; lists begin with the largest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cardinality {
    /// Series.
    pub series: u64,
    /// Pairs of label name and value.
    pub label_pairs: u64,
    /// Chunks of samples.
    pub chunks: u64,
    /// Time of the oldest sample.
    pub min_time: TimestampMs,
    /// Time of the newest sample.
    pub max_time: TimestampMs,
    /// Metric names by their series.
    pub series_by_metric: Vec<Count>,
    /// Label names by their values.
    pub values_by_label: Vec<Count>,
    /// Label names by the bytes of their values.
    pub bytes_by_label: Vec<Count>,
    /// Pairs, as `name=value`, by their series.
    pub series_by_pair: Vec<Count>,
}

/// Why a store did not do what it was asked to; what the operator should do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// The store behind the API, as an operator sees it. All of this may take its time; it runs on the pool.
pub trait StoreSource: Send + Sync {
    /// What it holds; at most `limit` entries in each list.
    fn cardinality(&self, limit: usize) -> Cardinality;

    /// Makes samples invisible: those within `range` of series that satisfy any of the matcher lists.
    ///
    /// # Errors
    /// When that cannot be written.
    fn delete_series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<(), StoreError>;

    /// Takes deleted samples out of the files.
    ///
    /// # Errors
    /// When blocks cannot be written again.
    fn clean_tombstones(&self) -> Result<(), StoreError>;

    /// Copies everything that is stored into a folder of that name below the store's `snapshots`.
    ///
    /// # Errors
    /// When it cannot be written.
    fn snapshot(&self, name: &str) -> Result<(), StoreError>;
}

/// Who knows who sends to this tier. All of it at the time of asking.
pub trait FleetSource: Send + Sync {
    /// Everybody, in a stable order.
    fn sources(&self) -> Vec<SourceStatus>;
    /// Up to when this tier is complete, its own work included.
    fn watermark(&self) -> TimestampMs;
    /// Who should be complete up to `end` by now and is not, most late first, each with the source below which it
    /// stands.
    fn incomplete(&self, end: TimestampMs) -> Vec<(Behind, Option<SourceName>)>;
    /// Forgets a source that sent here and will not come back. False when it is not known. Writes a file.
    ///
    /// # Errors
    /// When that cannot be written.
    fn forget(&self, source: &SourceName) -> Result<bool, StoreError>;
}

/// A source for roles that neither scrape nor evaluate rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl TargetsSource for Nothing {
    fn active(&self) -> Vec<ActiveTarget> {
        Vec::new()
    }
    fn dropped(&self) -> Vec<DroppedTarget> {
        Vec::new()
    }
}

impl RulesSource for Nothing {
    fn groups(&self) -> Vec<GroupStatus> {
        Vec::new()
    }
}
