//! The command line. Flags are Prometheus' where Prometheus has them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use runtime::{LogFormat, LogLevel};

use crate::check::RulesArgs;
use crate::delivery::DeliveryArgs;
use crate::demo::DemoArgs;
use crate::features::FeatureArgs;
use crate::query::QueryCommand;
use crate::query_limits::QueryLimitArgs;
use crate::remote_read::RemoteReadArgs;
use crate::simulate::SimulateArgs;
use crate::storage::StorageArgs;
use crate::tsdb::TsdbCommand;

/// Federated monitoring for fleets of Kubernetes clusters: edges scrape, cascades gather, centrals answer, routers alert.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Scrape the targets of one metacluster, keep them for a while, send them up
    Edge(EdgeArgs),
    /// Receive from edges, stamp the region, aggregate by rules, send what `match` selects to the centrals
    Cascade(CascadeArgs),
    /// Receive from cascades, evaluate rules and alerts, answer queries
    Central(CentralArgs),
    /// Route, group and send alerts to webhook, DingTalk, email and SMS
    Alerts(AlertsArgs),
    /// Run a whole fleet on this machine: simulated clusters, all tiers, stand-ins for the messengers
    Demo(DemoArgs),
    /// Serve the metrics of a simulated fleet, with faults on demand
    Simulate(SimulateArgs),
    /// Ask any Prometheus-compatible server, as `promtool query` does
    #[command(subcommand)]
    Query(QueryCommand),
    /// Check files before using them
    #[command(subcommand)]
    Check(CheckCommand),
    /// Look at what a store holds, check it, move history in from Prometheus and out to it
    #[command(subcommand)]
    Tsdb(TsdbCommand),
}

#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Check configurations of edges, cascades and centrals, with the rule files they name
    Config {
        /// Configuration files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        features: FeatureArgs,
    },
    /// Check rule files, as promtool does: every problem of every file
    Rules(RulesArgs),
    /// Check configurations of alert routers
    Alerts {
        /// Configuration files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Logging flags of every role.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Least level that is logged: debug, info, warn or error
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub level: LogLevel,
    /// How lines are written: logfmt or json
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub format: LogFormat,
}

/// Flags of a tier but for its listen address, whose default differs.
#[derive(Debug, Clone, Args)]
pub struct TierArgs {
    /// Configuration file; without one the role runs with its defaults
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// URL under which others reach this process, for links in alerts
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<String>,
    /// Connections that are served at once
    #[arg(long = "web.max-connections", value_name = "COUNT", default_value_t = 4096)]
    pub max_connections: usize,
    /// Whether /api/v1/admin may delete series, clean tombstones, take snapshots and forget sources
    #[arg(long = "web.enable-admin-api")]
    pub enable_admin: bool,
    /// Whether /-/quit may end the process
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,
    /// Web pages of which origins may read the answers: a regular expression for the whole origin
    #[arg(long = "web.cors.origin", value_name = "REGEX", default_value = ".*")]
    pub cors_origin: String,
    #[command(flatten)]
    pub storage: StorageArgs,
    #[command(flatten)]
    pub remote_read: RemoteReadArgs,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    /// How long a query may take
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m", value_parser = model::parse_duration)]
    pub query_timeout: Duration,
    /// Queries that run at once
    #[arg(long = "query.max-concurrency", value_name = "COUNT", default_value_t = 20)]
    pub query_concurrency: usize,
    #[command(flatten)]
    pub query_limits: QueryLimitArgs,
    /// Bytes for answers of range queries that dashboards ask again, for example 64MB; 0 keeps none
    #[arg(long = "query.result-cache-bytes", value_name = "SIZE", default_value = "64MiB", value_parser = model::parse_bytes)]
    pub query_result_cache: u64,
    /// How far back an instant query looks for a sample
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m", value_parser = model::parse_duration)]
    pub query_lookback: Duration,
    #[command(flatten)]
    pub features: FeatureArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

#[derive(Debug, Args)]
pub struct EdgeArgs {
    /// Address to listen on
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "0.0.0.0:9092")]
    pub listen_address: String,
    #[command(flatten)]
    pub tier: TierArgs,
}

#[derive(Debug, Args)]
pub struct CascadeArgs {
    /// Address to listen on
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "0.0.0.0:9091")]
    pub listen_address: String,
    #[command(flatten)]
    pub tier: TierArgs,
}

#[derive(Debug, Args)]
pub struct CentralArgs {
    /// Address to listen on
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "0.0.0.0:9090")]
    pub listen_address: String,
    #[command(flatten)]
    pub tier: TierArgs,
}

#[derive(Debug, Args)]
pub struct AlertsArgs {
    /// Configuration file (alertmanager.yml and our receivers)
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: PathBuf,
    /// Address to listen on
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "0.0.0.0:9093")]
    pub listen_address: String,
    /// URL under which others reach this process, for links in messages
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<String>,
    /// Folder for silences, the notification log and active alerts
    #[arg(long = "storage.path", value_name = "FOLDER", default_value = "data/alerts")]
    pub storage_path: PathBuf,
    /// Address on which other routers reach this one; empty for a router alone
    #[arg(long = "cluster.listen-address", value_name = "HOST:PORT", default_value = "")]
    pub cluster_listen_address: String,
    /// Another router's cluster address; repeat for several
    #[arg(long = "cluster.peer", value_name = "HOST:PORT")]
    pub cluster_peers: Vec<String>,
    /// How long a router waits for each one before it in line to notify first
    #[arg(long = "cluster.peer-timeout", value_name = "DURATION", default_value = "15s", value_parser = model::parse_duration)]
    pub cluster_peer_timeout: Duration,
    #[command(flatten)]
    pub log: LogArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Flags of several groups share one command: two fields of the same name would be one flag with two meanings.
    #[test]
    fn no_two_flags_are_one() {
        Cli::command().debug_assert();
        for role in ["edge", "cascade", "central"] {
            let given = Cli::try_parse_from(["highwater", role]);
            assert!(given.is_ok(), "{role}: {}", given.err().map(|e| e.to_string()).unwrap_or_default());
        }
    }
}
