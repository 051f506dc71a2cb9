//! `highwater demo`: a whole fleet on this machine.
//!
//! The tiers and the routers are processes of their own, started from this program with the configurations in
//! `deploy/`; real exporters of this machine are too, where there are any. The simulated clusters and the stand-ins for
//! DingTalk, mail and SMS live in this process. Whatever was started is stopped at the end, and nothing else.

mod api;
mod children;
mod configs;
mod fault;
mod folder;
mod greeting;
mod links;
mod messages;
mod plan;
mod play;
mod ports;
mod report;
mod screen;
mod summary;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use fleet_sim::FleetConfig;
use runtime::{LogFormat, LogLevel, Supervisor, init_logging};
use tokio::signal::unix::{Signal, SignalKind, signal};

use folder::Folder;
use play::Play;
use report::Report;
use screen::Screen;

/// How long the simulator and the stand-ins may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What the demo runs, and for how long.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// End by itself after this time, counted from the start (at least 60s let the alert arrive); otherwise Ctrl-C ends
    /// it
    #[arg(long, value_name = "DURATION", value_parser = model::parse_duration)]
    pub duration: Option<Duration>,
    /// Print one JSON object on the last line of standard output; progress goes to standard error
    #[arg(long)]
    pub json: bool,
    /// Keep configurations, logs and data in this folder, which must be empty; otherwise a temporary one is used and
    /// removed
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// Regions, each with a cascade
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub regions: u16,
    /// Metaclusters in each region, each with an edge
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=20))]
    pub metaclusters: u16,
    /// Customer clusters in each metacluster
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub clusters: u16,
    /// Nodes in each cluster
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub nodes: u16,
    /// When the fault is injected, counted from the start; with --duration at half of it at the latest
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = model::parse_duration)]
    pub fault_after: Duration,
    /// Do not start this machine's node_exporter and etcd
    #[arg(long)]
    pub no_exporters: bool,
    /// Runs the program after `--` tied to the life of that process; how the demo starts its children
    #[arg(long, hide = true, value_name = "PID")]
    pub tied_to: Option<u32>,
    #[arg(last = true, hide = true, requires = "tied_to")]
    pub program: Vec<OsString>,
}

/// Names of regions; more are numbered.
const REGIONS: [&str; 8] = [
    "cn-hangzhou",
    "eu-central-1",
    "us-west-1",
    "ap-southeast-1",
    "cn-beijing",
    "us-east-1",
    "ap-northeast-1",
    "eu-west-1",
];

impl DemoArgs {
    /// The fleet that is asked for.
    fn fleet(&self) -> FleetConfig {
        let region =
            |at: usize| REGIONS.get(at).map_or_else(|| format!("region-{}", at + 1), |name| (*name).to_owned());
        FleetConfig {
            regions: (0..usize::from(self.regions)).map(region).collect(),
            metaclusters_per_region: self.metaclusters.into(),
            clusters_per_metacluster: self.clusters.into(),
            nodes_per_cluster: self.nodes.into(),
            ..FleetConfig::default()
        }
    }
}

/// Runs the demo until it is over or somebody ends it.
pub fn run(args: DemoArgs) -> Result<()> {
    if let Some(parent) = args.tied_to {
        return children::become_tied(parent, &args.program).map(|never| match never {});
    }
    init_logging(LogLevel::Warn, LogFormat::Logfmt);
    // Children are tied to the thread that starts them: the one that blocks here, which lives until the end.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut report = perform(&args).await.unwrap_or_else(|error| Report::failed(&error));
        report.judge();
        if args.json {
            writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?).context("cannot print the report")?;
        }
        match report.error {
            None => Ok(()),
            Some(error) => Err(anyhow!(error)),
        }
    })
}

async fn perform(args: &DemoArgs) -> Result<Report> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let supervisor = Supervisor::new();
    let folder = Folder::open(args.dir.as_deref())?;
    let mut play = Play::prepare(args, &supervisor, folder.path(), Screen::new(args.json)).await?;
    let outcome = tokio::select! {
        outcome = play.run() => outcome,
        () = signals.stop() => play.interrupted(),
    };
    play.stop(&mut signals).await;
    supervisor.stop(STOP_WITHIN).await;
    let mut report = play.into_report();
    if let Err(error) = outcome {
        report.error = Some(format!("{error:#}"));
    }
    Ok(report)
}

/// Whoever ends the demo from outside: Ctrl-C, `kill`, a terminal that closes.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self([signal(interrupt)?, signal(terminate)?, signal(hangup)?]))
    }

    /// Waits for the next one.
    async fn stop(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
