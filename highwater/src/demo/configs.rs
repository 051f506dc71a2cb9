//! The configurations that run: the examples in `deploy/`, with names and times of the demo in their place.
//!
//! They are rewritten as text, so that what stands in `deploy/` is what runs. A passage that is no longer there is an
//! error, and a test looks for it.

use std::net::SocketAddr;

use anyhow::{Result, bail};

use super::messages::Channels;

/// Rules that run as they are.
pub const EDGE_RULES: &str = include_str!("../../../deploy/rules/edge.yml");
/// Rules that run as they are.
pub const CASCADE_RULES: &str = include_str!("../../../deploy/rules/cascade.yml");

const EDGE: &str = include_str!("../../../deploy/edge.yml");
const CASCADE: &str = include_str!("../../../deploy/cascade.yml");
const CENTRAL: &str = include_str!("../../../deploy/central.yml");
const CENTRAL_RULES: &str = include_str!("../../../deploy/rules/central.yml");
const ALERTS: &str = include_str!("../../../deploy/alerts.yml");

/// A passage and what stands there in the demo.
type Change<'a> = (&'a str, &'a str);

const SCRAPES: Change<'static> = ("scrape_interval: 30s", "scrape_interval: 5s");
const EVALUATIONS: Change<'static> = ("evaluation_interval: 30s", "evaluation_interval: 5s");
const PENDING: Change<'static> = ("for: 30s", "for: 5s");
/// A burn rate over the first seconds of data is chance: its alert keeps its time.
const BURN: Change<'static> = (
    "for: 5s\n        labels: {severity: critical, window: 1h}",
    "for: 30s\n        labels: {severity: critical, window: 1h}",
);
const SELDOM: Change<'static> = ("interval: 1m", "interval: 5s");
const GROUP_WAIT: Change<'static> = ("group_wait: 10s", "group_wait: 1s");
const GROUP_INTERVAL: Change<'static> = ("group_interval: 1m", "group_interval: 5s");

/// The times that are shorter than in the examples, for people to read.
pub fn shortened() -> String {
    [SCRAPES, EVALUATIONS, PENDING, SELDOM, GROUP_WAIT, GROUP_INTERVAL]
        .map(|(before, after)| format!("{before} -> {}", after.rsplit(' ').next().unwrap_or_default()))
        .join(", ")
}

pub fn edge(metacluster: &str, cascade: SocketAddr) -> Result<String> {
    let (name, address) = (format!("metacluster: {metacluster}"), cascade.to_string());
    rewrite(
        "edge.yml",
        EDGE,
        &[SCRAPES, EVALUATIONS, ("metacluster: cell-01", &name), ("cascade.example:9091", &address)],
    )
}

/// `own`: where the cascade listens.
pub fn cascade(region: &str, own: SocketAddr, centrals: [SocketAddr; 2], routers: [SocketAddr; 2]) -> Result<String> {
    let (name, own) = (format!("region: {region}"), own.to_string());
    let (addresses, routers) = (centrals.map(|a| a.to_string()), routers.map(|a| a.to_string()));
    rewrite(
        "cascade.yml",
        CASCADE,
        &[
            SCRAPES,
            EVALUATIONS,
            ("region: cn-hangzhou", &name),
            ("cascade.example:9091", &own),
            ("alerts-1.example:9093", &routers[0]),
            ("alerts-2.example:9093", &routers[1]),
            ("central-1.example:9090", &addresses[0]),
            ("central-2.example:9090", &addresses[1]),
        ],
    )
}

pub fn central(centrals: [SocketAddr; 2], routers: [SocketAddr; 2]) -> Result<String> {
    let (centrals, addresses) = (centrals.map(|a| a.to_string()), routers.map(|a| a.to_string()));
    let changes = [
        EVALUATIONS,
        ("central-1.example:9090", centrals[0].as_str()),
        ("central-2.example:9090", centrals[1].as_str()),
        ("alerts-1.example:9093", addresses[0].as_str()),
        ("alerts-2.example:9093", addresses[1].as_str()),
    ];
    rewrite("central.yml", CENTRAL, &changes)
}

pub fn central_rules() -> Result<String> {
    rewrite("rules/central.yml", CENTRAL_RULES, &[PENDING, BURN, SELDOM])
}

/// The stand-in for the mail server shows a certificate of its own, which `smtp-ca.pem` vouches for.
pub fn alerts(channels: &Channels) -> Result<String> {
    let mail = format!("smtp_smarthost: {}\n  smtp_tls_config: {{ca_file: smtp-ca.pem}}", channels.smtp);
    let changes = [
        GROUP_WAIT,
        GROUP_INTERVAL,
        ("smtp_smarthost: smtp.example:587", mail.as_str()),
        ("https://oapi.dingtalk.com/robot/send", channels.dingtalk.as_str()),
        ("https://dysmsapi.aliyuncs.com", channels.sms.as_str()),
    ];
    rewrite("alerts.yml", ALERTS, &changes)
}

fn rewrite(file: &str, text: &str, changes: &[Change<'_>]) -> Result<String> {
    let mut out = text.to_owned();
    for (before, after) in changes {
        if !out.contains(before) {
            bail!("deploy/{file} no longer holds {before:?}; correct highwater/src/demo/configs.rs");
        }
        out = out.replace(before, after);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::demo::messages::{Messages, SECRETS};
    use promql::{Engine, EngineOptions};

    fn addresses() -> [SocketAddr; 2] {
        [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn cascade_of(region: &str) -> Result<String> {
        cascade(region, addresses()[0], addresses(), addresses())
    }

    fn write(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("creates");
        std::fs::write(path, text).expect("writes");
    }

    #[test]
    fn the_tiers_load_what_the_demo_writes() {
        let engine = Engine::new(EngineOptions::default());
        let cases = [
            ("edge.yml", edge("cell-06", addresses()[0]), EDGE_RULES.to_owned(), (1, 1)),
            ("cascade.yml", cascade_of("eu"), CASCADE_RULES.to_owned(), (1, 2)),
            ("central.yml", central(addresses(), addresses()), central_rules().expect("rewrites"), (1, 0)),
        ];
        for (name, text, rules, (jobs, destinations)) in cases {
            let (folder, text) = (tempfile::tempdir().expect("a folder"), text.expect("rewrites"));
            write(folder.path(), name, &text);
            write(folder.path(), &format!("rules/{name}"), &rules);
            let settings = tier::Settings::load(&folder.path().join(name), &engine).expect(name);
            assert!(!settings.groups.is_empty() && settings.warnings.is_empty(), "{name}: {:?}", settings.warnings);
            assert_eq!((settings.scrape.len(), settings.remote_write.len()), (jobs, destinations), "{name}");
            assert_eq!(settings.global.evaluation_interval.as_secs(), 5, "{name}");
            assert!(!text.contains(".example:"), "{name} still names an example host:\n{text}");
        }
    }

    #[test]
    fn names_reach_their_labels() {
        assert!(edge("cell-06", addresses()[0]).expect("rewrites").contains("    metacluster: cell-06\n"));
        assert!(cascade_of("eu").expect("rewrites").contains("    region: eu\n"));
        let rules = central_rules().expect("rewrites");
        assert!(rules.contains("for: 5s") && rules.matches("for: 30s").count() == 1);
    }

    #[tokio::test]
    async fn routers_load_what_the_demo_writes() {
        let supervisor = runtime::Supervisor::new();
        let messages = Messages::start(&supervisor).await.expect("starts");
        let (folder, text) = (tempfile::tempdir().expect("a folder"), alerts(&messages.channels()).expect("rewrites"));
        write(folder.path(), "alerts.yml", &text);
        write(folder.path(), "smtp-ca.pem", messages.ca_pem());
        alerts::Config::load(&folder.path().join("alerts.yml")).expect("loads");
        assert!(!text.contains("https://"), "a message would leave this machine:\n{text}");
        for (file, _) in SECRETS {
            assert!(text.contains(file), "{file} is not read");
        }
        supervisor.stop(Duration::from_secs(5)).await;
    }

    /// The examples as they are, for those who start from them.
    #[test]
    fn the_examples_load() {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        let engine = Engine::new(EngineOptions::default());
        for name in ["edge.yml", "cascade.yml", "central.yml"] {
            tier::Settings::load(&deploy.join(name), &engine).expect(name);
        }
        alerts::Config::load(&deploy.join("alerts.yml")).expect("alerts.yml");
    }

    #[test]
    fn a_passage_that_is_gone_is_named() {
        let error = rewrite("x.yml", "a: 1\n", &[("b: 2", "b: 3")]).expect_err("is gone").to_string();
        assert!(error.contains("deploy/x.yml") && error.contains("b: 2"), "{error}");
    }

    #[test]
    fn says_what_is_shorter() {
        assert!(shortened().starts_with("scrape_interval: 30s -> 5s, "), "{}", shortened());
    }
}
