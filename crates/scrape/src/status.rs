//! What `/api/v1/targets` shows.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Labels, TimestampMs};

/// How a target did when it was scraped last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It was not scraped yet.
    #[default]
    Unknown,
    /// Its last scrape was stored.
    Up,
    /// Its last scrape failed.
    Down,
}

impl Health {
    /// As the HTTP API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target that is being scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// Its labels before relabelling.
    pub discovered_labels: Labels,
    /// The labels that its samples get.
    pub labels: Labels,
    /// The job that found it.
    pub scrape_pool: String,
    /// What is fetched.
    pub scrape_url: String,
    /// The same as others reach it: a loopback host is replaced by [`crate::ScrapeOptions::external_host`].
    pub global_url: String,
    /// Why the last scrape failed; empty when it did not.
    pub last_error: String,
    /// When it was scraped last; `None` when it never was.
    pub last_scrape: Option<TimestampMs>,
    /// How long that took.
    pub last_scrape_duration: Duration,
    /// How it did.
    pub health: Health,
    /// How often it is scraped.
    pub scrape_interval: Duration,
    /// How long a scrape may take.
    pub scrape_timeout: Duration,
}

/// A target that a relabel rule dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedTarget {
    /// Its labels before relabelling.
    pub discovered_labels: Labels,
    /// The job that found it.
    pub scrape_pool: String,
}

/// Every target of a server, by job in order of names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets {
    /// Those that are scraped.
    pub active: Vec<TargetStatus>,
    /// Those that are not, up to a bound per job.
    pub dropped: Vec<DroppedTarget>,
    /// How many were dropped by job, beyond the bound too.
    pub dropped_counts: BTreeMap<String, usize>,
}
