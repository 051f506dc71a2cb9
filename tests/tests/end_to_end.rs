//! The whole path on real input: node_exporter and etcd, an edge, a cascade, two centrals, two routers, stand-ins for the
//! messengers. Only the messengers are not the real ones, and the DingTalk stand-in checks the signature itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::Labels;
use runtime::Supervisor;
use stand_in::{DingTalk, DingTalkOptions, Sms, SmsOptions, Smtp, SmtpOptions, Webhook};

use crate::harness::{
    DEADLINE, Folder, Started, api, free_port, query, query_some, start, start_etcd, start_node_exporter, until,
};

const SECRET: &str = "SEC-of-the-robot";
const TOKEN: &str = "token-of-the-robot";

/// Stand-ins for everything that people read.
struct Messengers {
    dingtalk: DingTalk,
    smtp: Smtp,
    sms: Sms,
    webhook: Webhook,
}

async fn messengers(supervisor: &Supervisor) -> Messengers {
    let robot = DingTalkOptions { access_token: TOKEN.into(), secret: Some(SECRET.into()), per_minute: Some(20) };
    let short = SmsOptions { access_key_id: "id".into(), access_key_secret: "key".into() };
    let free = "127.0.0.1:0";
    Messengers {
        dingtalk: DingTalk::start(supervisor, free, robot).await.expect("starts"),
        smtp: Smtp::start(supervisor, free, SmtpOptions::default()).await.expect("starts"),
        sms: Sms::start(supervisor, free, short).await.expect("starts"),
        webhook: Webhook::start(supervisor, free).await.expect("starts"),
    }
}

/// Two routers that see each other, with one receiver that uses every channel.
async fn routers(folder: &Folder, to: &Messengers) -> Vec<alerts::App> {
    let ca = folder.write("ca.pem", to.smtp.ca_pem());
    let text = format!(
        "global: {{smtp_smarthost: '{smtp}', smtp_from: highwater@example.com, smtp_tls_config: {{ca_file: '{ca}'}}}}\n\
         route: {{receiver: everybody, group_by: [alertname, cluster], group_wait: 200ms, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers:\n\
         - name: everybody\n\
         \x20 dingtalk_configs: [{{url: '{dingtalk}', access_token: '{TOKEN}', secret: '{SECRET}'}}]\n\
         \x20 email_configs: [{{to: operators@example.com, send_resolved: true}}]\n\
         \x20 sms_configs: [{{endpoint: '{sms}', access_key_id: id, access_key_secret: key, sign_name: Highwater, template_code: SMS_1,\n\
         \x20   template_param: {{alert: '{{{{ .GroupLabels.alertname }}}}'}}, phone_numbers: ['13800000000']}}]\n\
         \x20 webhook_configs: [{{url: '{webhook}'}}]\n",
        smtp = to.smtp.address(),
        ca = ca.display(),
        dingtalk = to.dingtalk.url(),
        sms = to.sms.url(),
        webhook = to.webhook.url(),
    );
    let config = folder.write("alerts.yml", &text);
    let cluster: Vec<String> = (0..2).map(|_| format!("127.0.0.1:{}", free_port())).collect();
    let mut out = Vec::new();
    for (i, own) in cluster.iter().enumerate() {
        let options = alerts::Options {
            config_file: Some(config.clone()),
            storage_path: folder.path().join(format!("router-{i}")),
            listen_address: "127.0.0.1:0".into(),
            cluster_listen_address: Some(own.clone()),
            cluster_peers: vec![cluster[1 - i].clone()],
            ..alerts::Options::default()
        };
        let mut app = alerts::App::build(options).await.unwrap_or_else(|e| panic!("the router does not build: {e}"));
        app.start();
        out.push(app);
    }
    out
}

/// Gauges that do not move while a test runs. Others may, and come back, between two looks at an exporter.
const CONSTANTS: [&str; 9] = [
    "etcd_server_has_leader",
    "etcd_server_quota_backend_bytes",
    "etcd_server_version",
    "go_info",
    "node_boot_time_seconds",
    "node_filesystem_size_bytes",
    "node_memory_MemTotal_bytes",
    "node_uname_info",
    "process_start_time_seconds",
];

/// What an exporter says: its series by value, and whether each only grows.
async fn exposed(port: u16) -> BTreeMap<String, (f64, bool)> {
    let page = until("an exporter's page", || async {
        let url = format!("http://127.0.0.1:{port}/metrics");
        reqwest::get(url).await.map_err(|e| e.to_string())?.text().await.map_err(|e| e.to_string())
    })
    .await;
    let mut out = BTreeMap::new();
    let mut growing = "";
    for line in page.lines() {
        if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' ')) {
            growing = if matches!(kind, "counter" | "histogram") { family } else { "" };
        } else if let (false, Some((series, value))) = (line.starts_with('#'), line.rsplit_once(' ')) {
            let grows =
                !growing.is_empty() && series.starts_with(growing) && !series.starts_with(&format!("{growing}_sum"));
            out.insert(canonical(series), (value.parse().expect("is a number"), grows));
        }
    }
    out
}

/// `name{labels}` as an exporter writes it, in our own notation. Good enough for exporters, which escape little.
fn canonical(series: &str) -> String {
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
    let mut rest = rest.trim_end_matches('}');
    while let Some((label, after)) = rest.split_once("=\"") {
        let end = after
            .char_indices()
            .find(|(i, c)| *c == '"' && !after[..*i].ends_with('\\'))
            .map_or(after.len(), |(i, _)| i);
        let value = after[..end].replace("\\\"", "\"").replace("\\\\", "\\");
        pairs.push((label.to_owned(), value));
        rest = after[end..].trim_start_matches('"').trim_start_matches(',');
    }
    Labels::from_pairs(pairs).to_string()
}

/// What a central says of one job, in the same notation, with the time of each sample.
async fn stored(central: SocketAddr, job: &str) -> Result<BTreeMap<String, (f64, f64)>, String> {
    let selector = format!(r#"{{job="{job}",region="region-a",metacluster="cell-a",cluster="local"}}[10s]"#);
    let mut out = BTreeMap::new();
    for mut element in query_some(central, &selector).await? {
        for tier in ["job", "instance", "cluster", "metacluster", "region"] {
            element.labels.remove(tier).ok_or_else(|| format!("{element:?} has no label {tier}"))?;
        }
        out.insert(Labels::from_pairs(&element.labels).to_string(), (element.time, element.value));
    }
    Ok(out)
}

/// Every series of an exporter must be at the central: one that cannot move with the same value, one that only grows
/// between what the exporter said before and after the scrape.
async fn agrees(central: SocketAddr, job: &str, port: u16) {
    let before = exposed(port).await;
    let asked = runtime::now().as_seconds();
    let found = until(&format!("{job} at {central}"), || async {
        let found = stored(central, job).await?;
        let fresh = found.get("up").is_some_and(|(time, _)| *time >= asked);
        if fresh { Ok(found) } else { Err("the newest scrape is from before the question".into()) }
    })
    .await;
    let after = exposed(port).await;
    let mut compared = 0;
    for (series, (first, grows)) in &before {
        let Some((last, _)) = after.get(series) else { continue };
        let (time, value) = found.get(series).unwrap_or_else(|| panic!("{job}: {series} is not at the central"));
        assert!(*time >= asked, "{series} was not scraped with the rest");
        if *grows {
            assert!(first <= value && value <= last, "{job}: {series}: {first} <= {value} <= {last}");
            compared += 1;
        } else if CONSTANTS.iter().any(|name| series.split('{').next() == Some(name)) {
            assert_eq!((value, value), (first, last), "{job}: {series}");
            compared += 1;
        }
    }
    assert!(compared > 50, "{job}: only {compared} series were compared");
}

/// Everything of one fleet of one edge.
struct Stack {
    /// Holds the configurations while processes may read them.
    _folder: Folder,
    supervisor: Supervisor,
    to: Messengers,
    routers: Vec<alerts::App>,
    centrals: Vec<Started<central::Central>>,
    cascade: Started<cascade::Cascade>,
    edge: Started<edge::Edge>,
}

async fn stack(etcd: u16, node: u16) -> Stack {
    let (folder, supervisor) = (Folder::new(), Supervisor::new());
    let to = messengers(&supervisor).await;
    let routers = routers(&folder, &to).await;
    let fast = "scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms";
    let write = |addresses: &[SocketAddr]| {
        let one = |a: &SocketAddr| {
            format!(
                "{{name: '{a}', url: 'http://{a}/api/v1/write', match: ['{{cluster!=\"\"}}'], queue_config: {{batch_send_deadline: 100ms}}}}"
            )
        };
        format!("remote_write: [{}]\n", addresses.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    folder.write(
        "rules.yml",
        "groups:\n- name: etcd\n  rules:\n  - alert: EtcdDown\n    expr: up{job=\"etcd\"} == 0\n    for: 1s\n    labels: {severity: critical}\n    \
         annotations: {summary: 'etcd of {{ $labels.cluster }} in {{ $labels.metacluster }}, {{ $labels.region }} is down'}\n",
    );
    let targets: Vec<String> = routers.iter().map(|r| format!("'{}'", r.address())).collect();
    let text = format!(
        "global: {{{fast}}}\nrule_files: [rules.yml]\nalerting: {{alertmanagers: [{{static_configs: [{{targets: [{}]}}]}}]}}\n",
        targets.join(", ")
    );
    let config = folder.write("central.yml", &text);
    let mut centrals = Vec::new();
    for _ in 0..2 {
        centrals.push(start::<central::Central>(Some(config.clone())).await);
    }
    let addresses: Vec<SocketAddr> = centrals.iter().map(|central| central.address()).collect();
    let text = format!("global: {{{fast}, external_labels: {{region: region-a}}}}\n{}", write(&addresses));
    let cascade = start::<cascade::Cascade>(Some(folder.write("cascade.yml", &text))).await;
    let text = format!(
        "global: {{{fast}, external_labels: {{metacluster: cell-a}}}}\n\
         scrape_configs:\n\
         - {{job_name: etcd, static_configs: [{{targets: ['127.0.0.1:{etcd}'], labels: {{cluster: local}}}}]}}\n\
         - {{job_name: node-exporter, static_configs: [{{targets: ['127.0.0.1:{node}'], labels: {{cluster: local}}}}]}}\n{}",
        write(&[cascade.address()])
    );
    let edge = start::<edge::Edge>(Some(folder.write("edge.yml", &text))).await;
    Stack { _folder: folder, supervisor, to, routers, centrals, cascade, edge }
}

impl Stack {
    /// Waits until every channel brought a message that says all of `words`.
    async fn heard(&self, words: &[&str]) {
        let says = |text: &str| words.iter().all(|w| text.contains(w));
        let heard =
            self.to.dingtalk.inbox.wait_for(DEADLINE, |all| all.iter().any(|m| says(&m.body.to_string()))).await;
        heard.unwrap_or_else(|e| panic!("DingTalk did not hear {words:?}: {e}"));
        let heard = self.to.smtp.inbox.wait_for(DEADLINE, |all| all.iter().any(|m| m.tls && says(&m.raw))).await;
        heard.unwrap_or_else(|e| panic!("no mail said {words:?}: {e}"));
        let heard = self.to.webhook.inbox.wait_for(DEADLINE, |all| all.iter().any(|m| says(&m.body.to_string()))).await;
        heard.unwrap_or_else(|e| panic!("the webhook did not hear {words:?}: {e}"));
    }

    async fn stop(self) {
        self.edge.stop(DEADLINE).await;
        self.cascade.stop(DEADLINE).await;
        for central in &self.centrals {
            central.stop(DEADLINE).await;
        }
        for router in self.routers {
            router.stop(DEADLINE).await;
        }
        self.supervisor.stop(DEADLINE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_exporters_reach_both_centrals_and_a_dead_etcd_reaches_people() {
    let exporters = Folder::new();
    let (client, peer, node) = (free_port(), free_port(), free_port());
    let etcd = start_etcd(&exporters, client, peer);
    let _node_exporter = start_node_exporter(&exporters, node);
    let stack = stack(client, node).await;

    for central in &stack.centrals {
        agrees(central.address(), "etcd", client).await;
        agrees(central.address(), "node-exporter", node).await;
    }
    let targets = api(stack.edge.address(), "targets", &[]).await.expect("answers");
    let active = targets["activeTargets"].as_array().cloned().unwrap_or_default();
    assert!(active.len() == 2 && active.iter().all(|t| t["health"] == "up"), "{targets}");

    // Nothing fires while everything is well, so whatever arrives below is about the fault.
    assert_eq!(query(stack.centrals[0].address(), "ALERTS").await, Ok(vec![]));
    assert!(stack.to.dingtalk.inbox.messages().is_empty());

    drop(etcd);
    stack.heard(&["EtcdDown", "cell-a"]).await;
    let short = stack.to.sms.inbox.wait_for_count(1, DEADLINE).await.expect("a short message");
    assert_eq!(short[0].template_param["alert"], "EtcdDown");
    // Series of a target that is gone end, in every tier.
    until("staleness", || async {
        match query(stack.centrals[1].address(), r#"etcd_server_has_leader{job="etcd"}"#).await?.len() {
            0 => Ok(()),
            left => Err(format!("{left} series go on")),
        }
    })
    .await;

    let _etcd = start_etcd(&exporters, client, peer);
    let resolved = stack.to.dingtalk.inbox.wait_for_count(2, DEADLINE).await.expect("the resolve");
    assert!(resolved[1].body.to_string().to_lowercase().contains("resolved"), "{:?}", resolved[1]);
    // Two centrals posted to two routers, and people heard it once.
    assert_eq!(resolved.len(), 2);
    assert_eq!(stack.to.dingtalk.inbox.refusals(), Vec::<String>::new());
    assert_eq!(stack.to.sms.inbox.messages().len(), 1);
    stack.stop().await;
}
