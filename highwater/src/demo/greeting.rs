//! What a person is told once: what runs, where, and what to try.

use std::net::SocketAddr;

use super::plan::{LOCAL_CLUSTER, Plan};
use super::{DemoArgs, configs};

/// Before anything runs.
pub fn introduction(args: &DemoArgs, plan: &Plan) -> String {
    let exporters: Vec<_> = plan.exporters.iter().map(|exporter| exporter.job).collect();
    let real = match exporters.as_slice() {
        [] if args.no_exporters => "none, as asked".to_owned(),
        [] => "none (Debian: prometheus-node-exporter, etcd-server)".to_owned(),
        found => format!("{}, as cluster {:?}", found.join(" and "), LOCAL_CLUSTER),
    };
    format!(
        "{} regions, {} metaclusters, {} clusters, {} targets\n\
         processes: {} edges, {} cascades, 2 centrals, 2 routers; real exporters: {real}\n\
         shorter than in deploy/: {}\n\
         folder: {}{}\n",
        plan.cascades.len(),
        plan.edges.len(),
        plan.clusters(),
        plan.targets(),
        plan.edges.len(),
        plan.cascades.len(),
        configs::shortened(),
        plan.folder.display(),
        if args.dir.is_some() { "" } else { " (removed at the end)" },
    )
}

/// Once everything runs.
pub fn addresses(plan: &Plan, simulator: SocketAddr, messages: &str) -> String {
    let [central, other] = &plan.centrals;
    let [router, twin] = &plan.routers;
    let metacluster = plan.edges.get(plan.edges.len() / 2).map_or("", |edge| edge.metacluster.as_str());
    let (central, other, router, twin) = (central.address, other.address, router.address, twin.address);
    format!(
        "\n\
         centrals   http://{central}  http://{other}\n\
         \x20          promtool query instant http://{central} 'sum by (region) (cluster:up:sum)'\n\
         routers    http://{router}  http://{twin}\n\
         \x20          amtool --alertmanager.url=http://{router} alert\n\
         messages   {messages}\n\
         faults     curl -d '{{\"kind\":\"cell_dark\",\"metacluster\":\"{metacluster}\"}}' http://{simulator}/faults\n\
         \n",
    )
}
