//! Who runs where: every process with its address and folder, and the files it reads.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fleet_sim::Fleet;
use serde_json::json;

use super::children::{Program, Stage};
use super::configs;
use super::messages::{Messages, SECRETS};
use super::ports::Ports;

/// The cluster that real exporters of this machine belong to; the first metacluster holds it.
pub const LOCAL_CLUSTER: &str = "local";
/// etcd keeps this many bytes at most: nothing is written to it.
const ETCD_QUOTA_BYTES: &str = "67108864";

#[derive(Debug, Clone)]
pub struct Edge {
    pub name: String,
    pub metacluster: String,
    /// Index of its cascade.
    pub cascade: usize,
    pub address: SocketAddr,
    /// How many targets and clusters it should see.
    pub targets: usize,
    pub clusters: usize,
}

#[derive(Debug, Clone)]
pub struct Cascade {
    pub name: String,
    pub region: String,
    pub address: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Central {
    pub name: String,
    pub address: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Router {
    pub name: String,
    pub address: SocketAddr,
    pub cluster_address: SocketAddr,
}

/// A real exporter of this machine.
#[derive(Debug, Clone)]
pub struct Exporter {
    pub job: &'static str,
    pub program: PathBuf,
    pub address: SocketAddr,
    /// A second port, for those that insist on one.
    spare: SocketAddr,
}

/// Everything that will run outside this process.
#[derive(Debug, Clone)]
pub struct Plan {
    pub folder: PathBuf,
    pub edges: Vec<Edge>,
    pub cascades: Vec<Cascade>,
    pub centrals: [Central; 2],
    pub routers: [Router; 2],
    pub exporters: Vec<Exporter>,
}

impl Plan {
    /// One edge per metacluster of the fleet, one cascade per region, two centrals, two routers.
    pub fn new(fleet: &Fleet, ports: &mut Ports, folder: &Path, exporters: Vec<Exporter>) -> Result<Self> {
        let regions = &fleet.config().regions;
        let mut cascades = Vec::new();
        for region in regions {
            cascades.push(Cascade {
                name: format!("cascade-{region}"),
                region: region.clone(),
                address: ports.reserve()?,
            });
        }
        let mut edges = Vec::new();
        for metacluster in fleet.metaclusters() {
            let local = if edges.is_empty() { exporters.len() } else { 0 };
            edges.push(Edge {
                name: format!("edge-{}", metacluster.name),
                metacluster: metacluster.name.clone(),
                cascade: regions.iter().position(|r| *r == metacluster.region).unwrap_or_default(),
                address: ports.reserve()?,
                targets: fleet.targets(&metacluster.name).len() + local,
                clusters: fleet.clusters(&metacluster.name).len() + local.min(1),
            });
        }
        let mut central =
            |name: &str| Ok::<_, anyhow::Error>(Central { name: name.to_owned(), address: ports.reserve()? });
        let centrals = [central("central-1")?, central("central-2")?];
        let mut router = |name: &str| {
            let (address, cluster_address) = (ports.reserve()?, ports.reserve()?);
            Ok::<_, anyhow::Error>(Router { name: name.to_owned(), address, cluster_address })
        };
        let routers = [router("alerts-1")?, router("alerts-2")?];
        Ok(Self { folder: folder.to_owned(), edges, cascades, centrals, routers, exporters })
    }

    pub fn targets(&self) -> usize {
        self.edges.iter().map(|edge| edge.targets).sum()
    }

    pub fn clusters(&self) -> usize {
        self.edges.iter().map(|edge| edge.clusters).sum()
    }

    /// Writes every configuration, rule file, target file and secret.
    pub fn write(&self, fleet: &Fleet, simulator: SocketAddr, messages: &Messages) -> Result<()> {
        for (at, edge) in self.edges.iter().enumerate() {
            let mut groups = serde_json::to_value(fleet.file_sd(&edge.metacluster, &simulator.to_string()))?;
            if at == 0
                && let Some(groups) = groups.as_array_mut()
            {
                groups.extend(self.exporters.iter().map(Exporter::target_group));
            }
            let config = configs::edge(&edge.metacluster, self.cascades[edge.cascade].address)?;
            self.put(&edge.name, "edge.yml", &config)?;
            self.put(&edge.name, "rules/edge.yml", configs::EDGE_RULES)?;
            self.put(&edge.name, "targets/targets.json", &serde_json::to_string_pretty(&groups)?)?;
        }
        let (centrals, routers) =
            (self.centrals.each_ref().map(|c| c.address), self.routers.each_ref().map(|r| r.address));
        for cascade in &self.cascades {
            let config = configs::cascade(&cascade.region, cascade.address, centrals, routers)?;
            self.put(&cascade.name, "cascade.yml", &config)?;
            self.put(&cascade.name, "rules/cascade.yml", configs::CASCADE_RULES)?;
        }
        for central in &self.centrals {
            let config = configs::central(centrals, routers)?;
            self.put(&central.name, "central.yml", &config)?;
            self.put(&central.name, "rules/central.yml", &configs::central_rules()?)?;
        }
        for router in &self.routers {
            self.put(&router.name, "alerts.yml", &configs::alerts(&messages.channels())?)?;
            self.put(&router.name, "smtp-ca.pem", messages.ca_pem())?;
            SECRETS.iter().try_for_each(|(file, secret)| self.put(&router.name, file, secret))?;
        }
        for exporter in &self.exporters {
            std::fs::create_dir_all(self.folder.join(exporter.job)).context("cannot create a folder")?;
        }
        Ok(())
    }

    fn put(&self, process: &str, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(process).join(file);
        let folder = path.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What to start, receivers before senders, so that nobody has to wait for somebody.
    pub fn programs(&self, itself: &Path) -> Vec<Program> {
        let mut out: Vec<Program> = self.exporters.iter().map(|exporter| exporter.program(&self.folder)).collect();
        for (at, router) in self.routers.iter().enumerate() {
            let peer = &self.routers[1 - at];
            let more = [
                format!("--cluster.listen-address={}", router.cluster_address),
                format!("--cluster.peer={}", peer.cluster_address),
            ];
            out.push(self.role(itself, "alerts", &router.name, Stage::Router, router.address, &more));
        }
        for central in &self.centrals {
            out.push(self.role(itself, "central", &central.name, Stage::Central, central.address, &[]));
        }
        for cascade in &self.cascades {
            out.push(self.role(itself, "cascade", &cascade.name, Stage::Cascade, cascade.address, &[]));
        }
        for edge in &self.edges {
            out.push(self.role(itself, "edge", &edge.name, Stage::Edge, edge.address, &[]));
        }
        out
    }

    fn role(
        &self,
        itself: &Path,
        role: &str,
        name: &str,
        stage: Stage,
        address: SocketAddr,
        more: &[String],
    ) -> Program {
        let mut command = vec![itself.into(), role.into()];
        let flags = [
            format!("--config.file={role}.yml"),
            format!("--web.listen-address={address}"),
            format!("--web.external-url=http://{address}/"),
            "--storage.path=data".to_owned(),
        ];
        command.extend(flags.iter().chain(more).map(OsString::from));
        Program { name: name.to_owned(), stage, command, folder: self.folder.join(name) }
    }
}

impl Exporter {
    /// The exporters that this machine has.
    pub fn find(ports: &mut Ports) -> Result<Vec<Self>> {
        let mut out = Vec::new();
        let known = [("node-exporter", ["prometheus-node-exporter", "node_exporter"].as_slice()), ("etcd", &["etcd"])];
        for (job, names) in known {
            if let Some(program) = names.iter().find_map(|name| in_path(name)) {
                out.push(Self { job, program, address: ports.reserve()?, spare: ports.reserve()? });
            }
        }
        Ok(out)
    }

    fn target_group(&self) -> serde_json::Value {
        json!({
            "targets": [self.address.to_string()],
            "labels": { "job": self.job, "cluster": LOCAL_CLUSTER, "node": LOCAL_CLUSTER },
        })
    }

    fn program(&self, folder: &Path) -> Program {
        let arguments = match self.job {
            "etcd" => vec![
                "--data-dir=data".to_owned(),
                format!("--quota-backend-bytes={ETCD_QUOTA_BYTES}"),
                format!("--listen-client-urls=http://{}", self.address),
                format!("--advertise-client-urls=http://{}", self.address),
                format!("--listen-peer-urls=http://{}", self.spare),
                format!("--initial-advertise-peer-urls=http://{}", self.spare),
                format!("--initial-cluster=default=http://{}", self.spare),
            ],
            _ => vec![format!("--web.listen-address={}", self.address)],
        };
        let mut command: Vec<OsString> = vec![self.program.clone().into()];
        command.extend(arguments.into_iter().map(OsString::from));
        Program { name: self.job.to_owned(), stage: Stage::Exporter, command, folder: folder.join(self.job) }
    }
}

/// The program of that name that a shell would run, or that Debian puts where only root looks.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_sim::FleetConfig;

    #[tokio::test]
    async fn every_process_has_an_address_and_its_files() {
        let (fleet, mut ports) = (Fleet::new(FleetConfig::default()).expect("valid"), Ports::default());
        let folder = tempfile::tempdir().expect("a folder");
        let exporters = vec![Exporter {
            job: "etcd",
            program: "/usr/bin/etcd".into(),
            address: ports.reserve().expect("free"),
            spare: ports.reserve().expect("free"),
        }];
        let plan = Plan::new(&fleet, &mut ports, folder.path(), exporters).expect("plans");
        assert_eq!((plan.edges.len(), plan.cascades.len()), (6, 3));
        assert_eq!((plan.targets(), plan.clusters()), (6 * 11 * 11 + 1, 6 * 11 + 1));
        assert_eq!((plan.edges[0].cascade, plan.edges[5].cascade), (0, 2));

        let supervisor = runtime::Supervisor::new();
        let messages = Messages::start(&supervisor).await.expect("starts");
        plan.write(&fleet, SocketAddr::from(([127, 0, 0, 1], 1)), &messages).expect("writes");
        let programs = plan.programs(Path::new("/bin/highwater"));
        assert_eq!(programs.len(), 1 + 2 + 2 + 3 + 6);
        for program in programs {
            assert!(program.folder.is_dir(), "{}", program.folder.display());
            let config = program.command.iter().find_map(|a| a.to_str()?.strip_prefix("--config.file="));
            assert!(config.is_none_or(|file| program.folder.join(file).is_file()), "{config:?} of {}", program.name);
        }
        let targets =
            std::fs::read_to_string(folder.path().join("edge-cell-01/targets/targets.json")).expect("written");
        assert!(targets.contains(LOCAL_CLUSTER), "the exporters belong to the first metacluster");
        supervisor.stop(std::time::Duration::from_secs(5)).await;
    }
}
