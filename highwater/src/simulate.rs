//! `highwater simulate`: the fleet simulator alone, for configurations and load tests of one's own.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use fleet_sim::{Fleet, FleetConfig};
use runtime::{LogFormat, LogLevel, ServerLimits, Supervisor, bind, init_logging, serve};
use tokio::signal::unix::{SignalKind, signal};

/// What to simulate.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Address to listen on
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "127.0.0.1:9900")]
    listen_address: String,
    /// Region names
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "cn-hangzhou,eu-central-1,us-west-1")]
    regions: Vec<String>,
    /// Metaclusters in each region
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    metaclusters: usize,
    /// Customer clusters in each metacluster
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    clusters: usize,
    /// Nodes in each cluster
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    nodes: usize,
    /// Pods on each node
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    pods: usize,
    /// Pods of each cluster that are replaced per minute
    #[arg(long, value_name = "COUNT", default_value_t = 0.5)]
    churn: f64,
    /// Everything random is drawn from this
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Writes METACLUSTER.json with the targets of each metacluster into this folder, for file_sd_configs
    #[arg(long, value_name = "FOLDER")]
    targets: Option<PathBuf>,
}

/// Serves the simulated fleet until the process is asked to stop.
pub fn run(args: SimulateArgs) -> Result<()> {
    init_logging(LogLevel::Info, LogFormat::Logfmt);
    let fleet = Fleet::new(FleetConfig {
        regions: args.regions,
        metaclusters_per_region: args.metaclusters,
        clusters_per_metacluster: args.clusters,
        nodes_per_cluster: args.nodes,
        pods_per_node: args.pods,
        pods_replaced_per_minute: args.churn,
        seed: args.seed,
        ..FleetConfig::default()
    })?;
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(async {
        let listener = bind(&args.listen_address).await?;
        let address = listener.local_addr().context("the listener has no address")?;
        if let Some(folder) = &args.targets {
            write_targets(&fleet, &address.to_string(), folder)?;
        }
        let supervisor = Supervisor::new();
        serve(&supervisor, "simulator", listener, fleet.router(), ServerLimits::default());
        tracing::info!(%address, metaclusters = fleet.metaclusters().len(), "simulating; GET / lists what is there");
        asked_to_stop().await.context("cannot listen for signals")?;
        supervisor.stop(std::time::Duration::from_secs(5)).await;
        Ok(())
    })
}

/// Both signals: as the first process of a container, one that nobody handles does nothing.
async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        asked = tokio::signal::ctrl_c() => asked,
    }
}

/// Writes one file_sd file per metacluster, each replaced as a whole.
pub fn write_targets(fleet: &Fleet, address: &str, folder: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for metacluster in fleet.metaclusters() {
        let path = folder.join(format!("{}.json", metacluster.name));
        let groups = serde_json::to_vec_pretty(&fleet.file_sd(&metacluster.name, address))?;
        let fresh = path.with_extension("json.new");
        std::fs::write(&fresh, groups)
            .and_then(|()| std::fs::rename(&fresh, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
