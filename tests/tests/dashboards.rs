//! The dashboards: conventions that Grafana's linter would check, and every query answered by a central at the end of a
//! small simulated fleet.

use std::net::SocketAddr;

use fleet_sim::{Fleet, FleetConfig};
use runtime::{ServerLimits, Supervisor, bind, serve};
use serde_json::Value;

use crate::harness::{DEADLINE, Folder, Started, api, query_some, root, start, until};

struct Dashboard {
    name: String,
    json: Value,
}

fn dashboards() -> Vec<Dashboard> {
    let folder = std::fs::read_dir(root().join("dashboards")).expect("there are dashboards");
    let files = folder.map(|f| f.expect("is readable").path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).expect("is readable");
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Dashboard { name: path.display().to_string(), json }
    };
    files.map(read).collect()
}

/// Every panel, those inside rows included.
fn panels(json: &Value) -> Vec<&Value> {
    let own = json["panels"].as_array().into_iter().flatten();
    own.flat_map(|panel| std::iter::once(panel).chain(panels(panel))).collect()
}

/// Every expression with the title of its panel, variables replaced by "all".
fn expressions(dashboard: &Dashboard) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for panel in panels(&dashboard.json) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let mut expression = target["expr"].as_str().expect("a target has an expr").to_owned();
            for variable in dashboard.json["templating"]["list"].as_array().into_iter().flatten() {
                let name = variable["name"].as_str().unwrap_or_default();
                expression = expression.replace(&format!("${{{name}}}"), ".*").replace(&format!("${name}"), ".*");
            }
            expression = expression.replace("$__rate_interval", "1m").replace("$__interval", "30s");
            out.push((panel["title"].as_str().unwrap_or_default().to_owned(), expression));
        }
    }
    out
}

#[test]
fn dashboards_keep_the_conventions() {
    let all = dashboards();
    assert!(!all.is_empty());
    for dashboard in &all {
        let (name, json) = (&dashboard.name, &dashboard.json);
        assert_eq!(json["schemaVersion"], 42, "{name}");
        assert_eq!(json["editable"], false, "{name}");
        assert!(json["uid"].as_str().is_some_and(|u| (8..=40).contains(&u.len())), "{name}: uid");
        let variables = json["templating"]["list"].as_array().cloned().unwrap_or_default();
        assert_eq!(variables[0]["name"], "datasource", "{name}: the first variable");
        assert!(variables.iter().skip(1).all(|v| v["type"] != "query" || v["refresh"] == 2), "{name}: refresh");
        for panel in panels(json).into_iter().filter(|p| p["type"] != "row") {
            let title = panel["title"].as_str().unwrap_or_default();
            assert!(!title.is_empty(), "{name}: a panel has no title");
            assert!(panel["description"].as_str().is_some_and(|d| !d.is_empty()), "{name}: {title} has no description");
            if panel["type"] != "text" {
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {title}");
                assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {title} has no unit");
            }
        }
        for (title, expression) in expressions(dashboard) {
            let engine = promql::Engine::new(promql::EngineOptions::default());
            assert!(engine.parse(&expression).is_ok(), "{name}: {title}: {expression}");
        }
    }
}

/// One region of one metacluster, with the rules of every tier, everything once a second.
async fn small_fleet(
    folder: &Folder,
    supervisor: &Supervisor,
) -> (Started<edge::Edge>, Started<cascade::Cascade>, Started<central::Central>) {
    let fleet = Fleet::new(FleetConfig {
        regions: vec!["region-a".into()],
        metaclusters_per_region: 1,
        clusters_per_metacluster: 2,
        ..FleetConfig::default()
    })
    .expect("is valid");
    let listener = bind("127.0.0.1:0").await.expect("binds");
    let simulator = listener.local_addr().expect("has an address").to_string();
    let cell = fleet.metaclusters()[0].name.clone();
    let targets = serde_json::to_string(&fleet.file_sd(&cell, &simulator)).expect("serializes");
    serve(supervisor, "simulator", listener, fleet.router(), ServerLimits::default());

    let global = |labels: &str| {
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s, external_labels: {{{labels}}}}}\n"
        )
    };
    let rules = |tier: &str| format!("rule_files: ['{}']\n", root().join(format!("deploy/rules/{tier}.yml")).display());
    let upwards = |address: SocketAddr| {
        format!(
            "remote_write: [{{url: 'http://{address}/api/v1/write', queue_config: {{batch_send_deadline: 200ms}}}}]\n"
        )
    };
    let central = start::<central::Central>(Some(folder.write("central.yml", &(global("") + &rules("central"))))).await;
    let text = global("region: region-a") + &rules("cascade") + &upwards(central.address());
    let cascade = start::<cascade::Cascade>(Some(folder.write("cascade.yml", &text))).await;
    folder.write("targets.json", &targets);
    let text = global(&format!("metacluster: {cell}"))
        + &rules("edge")
        + &upwards(cascade.address())
        + "scrape_configs: [{job_name: fleet, file_sd_configs: [{files: [targets.json]}]}]\n";
    let edge = start::<edge::Edge>(Some(folder.write("edge.yml", &text))).await;
    (edge, cascade, central)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_every_dashboard_is_answered() {
    let (folder, supervisor) = (Folder::new(), Supervisor::new());
    let (edge, cascade, central) = small_fleet(&folder, &supervisor).await;
    let address = central.address();
    for dashboard in dashboards() {
        for (title, expression) in expressions(&dashboard) {
            until(&format!("{title}: {expression}"), || query_some(address, &expression)).await;
        }
        for variable in dashboard.json["templating"]["list"].as_array().into_iter().flatten() {
            let query = variable["query"]["query"].as_str().unwrap_or_default();
            if let Some(label) = query.strip_prefix("label_values(").and_then(|q| q.rsplit_once(", ")) {
                let label = label.1.trim_end_matches(')');
                let values = api(address, &format!("label/{label}/values"), &[]).await.expect("answers");
                assert!(values.as_array().is_some_and(|v| !v.is_empty()), "{query}: no values");
            }
        }
    }
    edge.stop(DEADLINE).await;
    cascade.stop(DEADLINE).await;
    central.stop(DEADLINE).await;
    supervisor.stop(DEADLINE).await;
}
