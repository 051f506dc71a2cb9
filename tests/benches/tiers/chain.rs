//! Chains of three tiers over the same targets: ours by remote write, Prometheus' by /federate.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::{Process, free_port, highwater, installed};

const DEADLINE: Duration = Duration::from_secs(60);

/// One tier of a chain.
pub struct Tier {
    pub name: &'static str,
    pub port: u16,
    program: std::path::PathBuf,
    arguments: Vec<String>,
    process: Option<Process>,
    client: reqwest::Client,
}

/// Edge, cascade, central.
pub struct Chain {
    pub name: &'static str,
    pub tiers: Vec<Tier>,
}

impl Tier {
    /// Starts it, or starts it again, and waits until it is ready.
    pub async fn start(&mut self) {
        self.process = Some(Process::start(&self.program, &self.arguments));
        let (begun, url) = (Instant::now(), format!("http://127.0.0.1:{}/-/ready", self.port));
        while !self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            assert!(begun.elapsed() < DEADLINE, "{} is never ready", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn end(&mut self, signal: &str) {
        self.process.take().expect("is running").end(signal);
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("is running")
    }

    /// The value of the first result of an instant query.
    pub async fn value(&self, expression: &str) -> Option<f64> {
        self.values(expression).await.first().map(|(_, value)| *value)
    }

    /// The results of an instant query, with their labels as text; none when there is no answer.
    pub async fn values(&self, expression: &str) -> Vec<(String, f64)> {
        let request = self.client.get(format!("http://127.0.0.1:{}/api/v1/query", self.port));
        let Ok(answer) = request.query(&[("query", expression)]).send().await else { return Vec::new() };
        let answer: serde_json::Value =
            serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
        let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |element: &serde_json::Value| element["value"][1].as_str()?.parse().ok();
        result.iter().filter_map(|element| Some((element["metric"].to_string(), value(element)?))).collect()
    }

    /// The sum of a metric of its own, over all label sets that contain `part`.
    pub async fn metric(&self, name: &str, part: &str) -> f64 {
        let request = self.client.get(format!("http://127.0.0.1:{}/metrics", self.port)).send().await;
        let page = request.expect("answers").text().await.expect("is text");
        let of_metric = |line: &&str| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "));
        let value = |line: &str| line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok());
        page.lines().filter(of_metric).filter(|line| line.contains(part)).filter_map(value).sum()
    }
}

impl Chain {
    pub async fn start(&mut self) {
        // From the top, so that nothing fails on the way.
        for tier in self.tiers.iter_mut().rev() {
            tier.start().await;
        }
    }

    pub fn central(&self) -> &Tier {
        self.tiers.last().expect("has three")
    }
}

fn tier(name: &'static str, program: &Path, port: u16, arguments: Vec<String>) -> Tier {
    Tier { name, port, program: program.to_owned(), arguments, process: None, client: reqwest::Client::new() }
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("writes");
    path.display().to_string()
}

/// Ours: everything that the edge scrapes travels to central.
pub fn ours(folder: &Path, scrape: &str) -> Chain {
    let ports = [free_port(), free_port(), free_port()];
    let up = |port: u16| format!("remote_write: [{{url: 'http://127.0.0.1:{port}/api/v1/write'}}]\n");
    let edge =
        format!("global: {{scrape_interval: 5s, external_labels: {{metacluster: cell-1}}}}\n{scrape}{}", up(ports[1]));
    let cascade = format!("global: {{external_labels: {{region: eu}}}}\n{}", up(ports[2]));
    let configs = [edge, cascade, "global: {}\n".to_owned()];
    let names = ["edge", "cascade", "central"];
    let tiers = names.iter().zip(ports).zip(configs).map(|((name, port), config)| {
        let config = written(folder, &format!("{name}.yml"), &config);
        let arguments = vec![
            (*name).to_owned(),
            format!("--config.file={config}"),
            format!("--storage.path={}", folder.join(name).display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--log.level=warn".to_owned(),
        ];
        tier(name, &highwater(), port, arguments)
    });
    Chain { name: "highwater", tiers: tiers.collect() }
}

/// Three Prometheus servers, each of the upper two scraping `/federate` of the one below every 15 s; `None` where
/// prometheus is not installed.
pub fn federated(folder: &Path, scrape: &str) -> Option<Chain> {
    let program = installed("prometheus")?;
    let ports = [free_port(), free_port(), free_port()];
    let federate = |from: u16| {
        format!(
            "scrape_configs:\n- job_name: federate\n  scrape_interval: 15s\n  scrape_timeout: 14s\n  honor_labels: true\n  metrics_path: /federate\n  \
             params: {{'match[]': ['{{__name__=~\".+\"}}']}}\n  static_configs: [{{targets: ['127.0.0.1:{from}']}}]\n"
        )
    };
    let edge = format!("global: {{scrape_interval: 5s, external_labels: {{metacluster: cell-1}}}}\n{scrape}");
    let cascade = format!("global: {{external_labels: {{region: eu}}}}\n{}", federate(ports[0]));
    let names = ["prometheus edge", "prometheus cascade", "prometheus central"];
    let configs = [edge, cascade, federate(ports[1])];
    let tiers = names.iter().zip(ports).zip(configs).map(|((name, port), config)| {
        let config = written(folder, &format!("{name}.yml").replace(' ', "-"), &config);
        let arguments = vec![
            format!("--config.file={config}"),
            format!("--storage.tsdb.path={}", folder.join(name.replace(' ', "-")).display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--log.level=error".to_owned(),
        ];
        tier(name, &program, port, arguments)
    });
    Some(Chain { name: "prometheus with /federate", tiers: tiers.collect() })
}
