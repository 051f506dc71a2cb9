//! The flags of a tier's store. Names and aliases are Prometheus' where it has them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use model::{format_bytes, format_duration};
use tsdb::{HeadOptions, Rollup, StoreOptions, WalSync};

/// When the write-ahead log reaches the disk itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SyncMode {
    /// Before a request is answered
    Each,
    /// Every --storage.wal-sync-interval
    Interval,
    /// Whenever the operating system likes
    Off,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Storage")]
pub struct StorageArgs {
    /// Folder for samples, which no other process may use [default: data/ROLE]
    #[arg(long = "storage.path", alias = "storage.tsdb.path", value_name = "FOLDER")]
    path: Option<PathBuf>,
    /// How long samples are kept, counted from the newest
    #[arg(
        long = "storage.retention.time",
        aliases = ["storage.tsdb.retention.time", "storage.tsdb.retention"],
        value_name = "DURATION",
        default_value = "15d",
        value_parser = some_time
    )]
    retention: Duration,
    /// Bytes that blocks may take on disk, for example 50GB; the oldest go first [default: no limit]
    #[arg(
        long = "storage.retention.size",
        alias = "storage.tsdb.retention.size",
        value_name = "SIZE",
        value_parser = model::parse_bytes
    )]
    retention_bytes: Option<u64>,
    /// When the write-ahead log reaches the disk itself, not only the operating system
    #[arg(long = "storage.wal-sync", value_name = "WHEN", default_value = "interval")]
    wal_sync: SyncMode,
    /// How much a power loss may take with --storage.wal-sync=interval
    #[arg(long = "storage.wal-sync-interval", value_name = "DURATION", default_value = "1s", value_parser = some_time)]
    wal_sync_interval: Duration,
    /// Series in memory; new ones beyond that are refused
    #[arg(long = "storage.max-series", value_name = "COUNT", default_value_t = StoreOptions::default().head.max_series)]
    max_series: usize,
    /// Series in memory with the same value of --storage.source-label [default: no limit]
    #[arg(long = "storage.max-series-per-source", value_name = "COUNT")]
    max_series_per_source: Option<usize>,
    /// The label that names the source of a series [default: job at an edge, metacluster at a cascade, region at a central]
    #[arg(long = "storage.source-label", value_name = "NAME")]
    source_label: Option<String>,
    /// Samples in memory, from which they are sealed into a block before its two hours are over
    #[arg(long = "storage.max-head-samples", value_name = "COUNT", default_value_t = StoreOptions::default().max_head_samples)]
    max_head_samples: u64,
    /// Bytes of memory for series and samples, for example 4GB; beyond that new series are refused [default: no limit]
    #[arg(long = "storage.max-memory", value_name = "SIZE", value_parser = model::parse_bytes)]
    max_memory: Option<u64>,
    /// Labels of a series
    #[arg(long = "storage.max-labels", value_name = "COUNT", default_value_t = StoreOptions::default().head.max_labels)]
    max_labels: usize,
    /// Bytes of a label's name
    #[arg(long = "storage.max-label-name-length", value_name = "BYTES", default_value_t = StoreOptions::default().head.max_label_name_bytes)]
    max_label_name_bytes: usize,
    /// Bytes of a label's value
    #[arg(long = "storage.max-label-value-length", value_name = "BYTES", default_value_t = StoreOptions::default().head.max_label_value_bytes)]
    max_label_value_bytes: usize,
    /// The longest time a block may span [default: a tenth of the retention, at most 31d]
    #[arg(
        long = "storage.max-block-duration",
        alias = "storage.tsdb.max-block-duration",
        value_name = "DURATION",
        value_parser = some_time
    )]
    max_block_span: Option<Duration>,
    /// Age from which samples get a rollup of 5 minutes, for example 2d [default: none]
    #[arg(long = "storage.rollup.5m-after", value_name = "DURATION", value_parser = some_time)]
    five_minutes_after: Option<Duration>,
    /// How long rollups of 5 minutes are kept [default: for ever]
    #[arg(
        long = "storage.rollup.5m-retention",
        value_name = "DURATION",
        value_parser = some_time,
        requires = "five_minutes_after"
    )]
    five_minutes_retention: Option<Duration>,
    /// Age from which samples get a rollup of 1 hour, for example 14d [default: none]
    #[arg(long = "storage.rollup.1h-after", value_name = "DURATION", value_parser = some_time)]
    hour_after: Option<Duration>,
    /// How long rollups of 1 hour are kept [default: for ever]
    #[arg(
        long = "storage.rollup.1h-retention",
        value_name = "DURATION",
        value_parser = some_time,
        requires = "hour_after"
    )]
    hour_retention: Option<Duration>,
}

const FIVE_MINUTES: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);

fn some_time(text: &str) -> Result<Duration, String> {
    let duration = model::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(duration) }
}

impl StorageArgs {
    /// Where the store of a role is.
    pub fn folder(&self, role: &str) -> PathBuf {
        self.path.clone().unwrap_or_else(|| PathBuf::from("data").join(role))
    }

    /// What the flags say to the store.
    ///
    /// # Errors
    /// When they contradict each other.
    pub fn options(&self, source_label: &str) -> Result<StoreOptions> {
        let rollup = |resolution, after: Option<Duration>, retention: Option<Duration>| {
            after.map(|after| Rollup { resolution, after, retention })
        };
        let rollups = [
            rollup(FIVE_MINUTES, self.five_minutes_after, self.five_minutes_retention),
            rollup(HOUR, self.hour_after, self.hour_retention),
        ];
        for rollup in rollups.iter().flatten() {
            if rollup.after >= self.retention {
                let (resolution, after) = (format_duration(rollup.resolution), format_duration(rollup.after));
                bail!(
                    "rollups of {resolution} after {after} would never be made, since samples are kept for {}; lower \
                     --storage.rollup.{resolution}-after or raise --storage.retention.time",
                    format_duration(self.retention)
                );
            }
        }
        Ok(StoreOptions {
            retention: self.retention,
            // Zero is no limit, as in Prometheus.
            retention_bytes: self.retention_bytes.filter(|bytes| *bytes > 0),
            rollups: rollups.into_iter().flatten().collect(),
            wal_sync: match self.wal_sync {
                SyncMode::Each => WalSync::Each,
                SyncMode::Interval => WalSync::Interval(self.wal_sync_interval),
                SyncMode::Off => WalSync::Off,
            },
            head: HeadOptions {
                max_series: self.max_series,
                max_series_per_source: self.max_series_per_source,
                source_label: self.source_label.clone().unwrap_or_else(|| source_label.to_owned()),
                max_labels: self.max_labels,
                max_label_name_bytes: self.max_label_name_bytes,
                max_label_value_bytes: self.max_label_value_bytes,
                max_memory_bytes: self.max_memory,
            },
            max_head_samples: self.max_head_samples,
            max_block_span: self.max_block_span,
            // As in Prometheus, the configuration file says how many: storage.exemplars.max_exemplars.
            max_exemplars: StoreOptions::default().max_exemplars,
            read_only: false,
        })
    }
}

/// The options as flags, for the status API; empty where there is no limit.
pub fn shown(options: &StoreOptions) -> Vec<(&'static str, String)> {
    fn or_empty<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
        value.map(show).unwrap_or_default()
    }
    let rollup = |resolution| options.rollups.iter().find(|r| r.resolution == resolution);
    let after = |resolution| or_empty(rollup(resolution).map(|r| r.after), format_duration);
    let kept = |resolution| or_empty(rollup(resolution).and_then(|r| r.retention), format_duration);
    let head = &options.head;
    let (sync, interval) = match options.wal_sync {
        WalSync::Each => ("each", None),
        WalSync::Interval(interval) => ("interval", Some(interval)),
        WalSync::Off => ("off", None),
    };
    vec![
        ("storage.retention.time", format_duration(options.retention)),
        ("storage.retention.size", or_empty(options.retention_bytes, format_bytes)),
        ("storage.wal-sync", sync.to_owned()),
        ("storage.wal-sync-interval", or_empty(interval, format_duration)),
        ("storage.max-series", head.max_series.to_string()),
        ("storage.max-series-per-source", or_empty(head.max_series_per_source, |count| count.to_string())),
        ("storage.source-label", head.source_label.clone()),
        ("storage.max-head-samples", options.max_head_samples.to_string()),
        ("storage.max-memory", or_empty(head.max_memory_bytes, format_bytes)),
        ("storage.max-labels", head.max_labels.to_string()),
        ("storage.max-label-name-length", head.max_label_name_bytes.to_string()),
        ("storage.max-label-value-length", head.max_label_value_bytes.to_string()),
        ("storage.max-block-duration", or_empty(options.max_block_span, format_duration)),
        ("storage.rollup.5m-after", after(FIVE_MINUTES)),
        ("storage.rollup.5m-retention", kept(FIVE_MINUTES)),
        ("storage.rollup.1h-after", after(HOUR)),
        ("storage.rollup.1h-retention", kept(HOUR)),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        storage: StorageArgs,
    }

    fn read(flags: &[&str]) -> Result<(StorageArgs, StoreOptions), String> {
        let all = std::iter::once("x").chain(flags.iter().copied());
        let parsed = Flags::try_parse_from(all).map_err(|error| error.to_string())?;
        let options = parsed.storage.options("region").map_err(|error| error.to_string())?;
        Ok((parsed.storage, options))
    }

    #[test]
    fn the_defaults() {
        let (flags, options) = read(&[]).expect("is fine");
        assert_eq!(flags.folder("edge"), PathBuf::from("data/edge"));
        assert_eq!(options.retention, Duration::from_secs(15 * 86_400));
        assert_eq!(options.wal_sync, WalSync::Interval(Duration::from_secs(1)));
        assert_eq!((options.head.source_label.as_str(), options.rollups.len()), ("region", 0));
    }

    #[test]
    fn the_flags_of_a_stock_prometheus_mean_the_same() {
        let (flags, options) = read(&[
            "--storage.tsdb.path=/p",
            "--storage.tsdb.retention.time=30d",
            "--storage.tsdb.retention.size=10GB",
            "--storage.tsdb.max-block-duration=1d",
        ])
        .expect("is fine");
        assert_eq!(flags.folder("edge"), PathBuf::from("/p"));
        assert_eq!((options.retention, options.retention_bytes), (Duration::from_secs(30 * 86_400), Some(10 << 30)));
        assert_eq!(options.max_block_span, Some(Duration::from_secs(86_400)));
        assert_eq!(read(&["--storage.tsdb.retention=1d"]).expect("is fine").1.retention, Duration::from_secs(86_400));
        assert_eq!(read(&["--storage.retention.size=0"]).expect("is fine").1.retention_bytes, None);
    }

    #[test]
    fn what_is_said_is_shown() {
        let flags = [
            ("storage.retention.time", "90d"),
            ("storage.retention.size", "2GB"),
            ("storage.wal-sync", "interval"),
            ("storage.wal-sync-interval", "250ms"),
            ("storage.max-series", "5"),
            ("storage.max-series-per-source", "4"),
            ("storage.source-label", "team"),
            ("storage.max-head-samples", "3"),
            ("storage.max-memory", "64MB"),
            ("storage.max-labels", "2"),
            ("storage.max-label-name-length", "6"),
            ("storage.max-label-value-length", "7"),
            ("storage.max-block-duration", "3d"),
            ("storage.rollup.5m-after", "2d"),
            ("storage.rollup.5m-retention", "1y"),
            ("storage.rollup.1h-after", "10d"),
            ("storage.rollup.1h-retention", "5y"),
        ];
        let written: Vec<String> = flags.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        let (_, options) = read(&written.iter().map(String::as_str).collect::<Vec<_>>()).expect("is fine");
        assert_eq!(shown(&options), flags.map(|(name, value)| (name, value.to_owned())));
        for (mode, want) in [("each", WalSync::Each), ("off", WalSync::Off)] {
            assert_eq!(read(&[&format!("--storage.wal-sync={mode}")]).expect("is fine").1.wal_sync, want);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (flags, says) in [
            (&["--storage.retention.time=0s"][..], "more than nothing"),
            (&["--storage.retention.size=much"], "not a size"),
            (&["--storage.wal-sync=maybe"], "possible values: each, interval, off"),
            (&["--storage.rollup.5m-retention=1y"], "--storage.rollup.5m-after"),
            (&["--storage.rollup.1h-after=20d"], "raise --storage.retention.time"),
            (&["--storage.tsdb.no-lockfile"], "unexpected argument"),
        ] {
            let error = read(flags).expect_err("is refused");
            assert!(error.contains(says), "{flags:?}: {error}");
        }
    }
}
