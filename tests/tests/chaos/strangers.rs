//! Stock senders and receivers on either side of a cascade: everything arrives in order, nothing is refused, markers of
//! staleness keep their bits, and a stock receiver that was away gets its past before its present.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::checker::{Stored, agree};
use super::exporter::Exporter;
use super::member::Member;
use super::proxy::{Link, Proxy};
use super::wire;
use crate::harness::{Folder, Process, free_port, query, until};

/// The bits of a staleness marker (Prometheus, `model/value`).
const STALE: u64 = 0x7FF0_0000_0000_0002;
const SERIES: u64 = 10;

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn scrape(job: &str, exporter: &Exporter) -> String {
    let to = exporter.address();
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, external_labels: {{metacluster: {job}}}}}\n\
         scrape_configs: [{{job_name: {job}, static_configs: [{{targets: ['{to}']}}]}}]\n"
    )
}

fn prometheus(folder: &Folder, name: &str, at: SocketAddr, config: &str, flags: &[&str]) -> Process {
    let config = folder.write(&format!("{name}.yml"), config);
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display())).args(flags);
    command.arg(format!("--storage.tsdb.path={}", folder.path().join(name).display()));
    command.arg(format!("--web.listen-address={at}"));
    Process::start(&mut command, &folder.path().join(format!("{name}.log")))
}

fn vmagent(folder: &Folder, config: &str, to: SocketAddr) -> Process {
    let config = folder.write("vmagent.yml", config);
    let mut command = Command::new("vmagent");
    command.arg(format!("-promscrape.config={}", config.display()));
    command.arg(format!("-httpListenAddr={}", loopback()));
    command.arg(format!("-remoteWrite.url=http://{to}/api/v1/write"));
    command.arg(format!("-remoteWrite.tmpDataPath={}", folder.path().join("vmagent").display()));
    Process::start(&mut command, &folder.path().join("vmagent.log"))
}

fn victoria_metrics(folder: &Folder, at: SocketAddr) -> Process {
    let mut command = Command::new("victoria-metrics");
    command.arg(format!("-httpListenAddr={at}"));
    command.arg(format!("-storageDataPath={}", folder.path().join("victoria").display()));
    Process::start(&mut command, &folder.path().join("victoria.log"))
}

async fn is_healthy(at: SocketAddr, path: &str) {
    until(&format!("{at}"), || async {
        let answer = reqwest::get(format!("http://{at}{path}")).await.map_err(|e| e.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    })
    .await;
}

/// The samples of a job that are numbers.
async fn numbers(at: SocketAddr, job: &str, to_ms: i64) -> Result<Stored, String> {
    let mut all = Stored::read(at, &[("job", job)], to_ms - 600_000, to_ms).await?;
    all.0.values_mut().for_each(|points| points.retain(|(_, bits)| *bits != STALE));
    all.0.retain(|_, points| !points.is_empty());
    Ok(all)
}

/// The same of VictoriaMetrics, which exports a marker as `null`.
async fn exported(at: SocketAddr, job: &str, to_ms: i64) -> Result<Stored, String> {
    let url = format!("http://{at}/api/v1/export?match[]={{job=\"{job}\"}}&end={}", to_ms as f64 / 1000.0);
    let text = async { reqwest::get(url).await?.text().await }.await.map_err(|e: reqwest::Error| e.to_string())?;
    let mut out = Stored::default();
    for line in text.lines() {
        let series: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        let mut labels: wire::Labels = serde_json::from_value(series["metric"].clone()).map_err(|e| e.to_string())?;
        labels.retain(|name, _| name != "metacluster" && name != "region");
        let list = |name: &str| series[name].as_array().cloned().unwrap_or_default();
        let points = list("timestamps").into_iter().zip(list("values"));
        let points = points.filter_map(|(ms, value)| Some((ms.as_i64()?, value.as_f64()?.to_bits())));
        out.0.insert(labels, points.collect());
    }
    Ok(out)
}

/// What a stock receiver says of itself.
async fn counted(at: SocketAddr, metric: &str) -> f64 {
    let text = async { reqwest::get(format!("http://{at}/metrics")).await?.text().await }.await.unwrap_or_default();
    let of_metric = text.lines().filter(|line| line.starts_with(metric));
    of_metric.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn cascade_config(prometheus: &Proxy, victoria: SocketAddr, central: SocketAddr) -> String {
    let to = |name: &str, at: SocketAddr| format!("- {{name: {name}, url: 'http://{at}/api/v1/write'}}\n");
    format!(
        "global: {{external_labels: {{region: region-a}}}}\nremote_write:\n{}{}{}",
        to("prometheus", prometheus.address()),
        to("victoria", victoria),
        to("central", central)
    )
}

/// The newest sample of a job, in milliseconds.
async fn newest(at: SocketAddr, job: &str) -> i64 {
    let found = query(at, &format!(r#"max(timestamp(paged_total{{job="{job}"}}))"#)).await.unwrap_or_default();
    found.first().map_or(0, |element| (element.value * 1000.0) as i64)
}

/// Waits until both jobs have samples newer than a moment, in milliseconds.
async fn arrived(at: SocketAddr, after_ms: i64) {
    for job in ["stock", "agent"] {
        until(&format!("{job} after {after_ms} ms"), || async {
            let newest = newest(at, job).await;
            if newest > after_ms { Ok(()) } else { Err(format!("{newest} ms is the newest")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_either_side_lose_nothing() {
    let _turn = super::turn().await;
    runtime::install_tls();
    let folder = Folder::new();
    let (prometheus_at, victoria_at, source_at) = (loopback(), loopback(), loopback());
    let _victoria = victoria_metrics(&folder, victoria_at);
    let receiver = ["--web.enable-remote-write-receiver"];
    let _receiver = prometheus(&folder, "receiver", prometheus_at, "global: {}\n", &receiver);
    let mut central = Member::new("central", "central", "");
    central.start().await;
    is_healthy(prometheus_at, "/-/ready").await;
    is_healthy(victoria_at, "/health").await;
    let link = Proxy::start(prometheus_at);
    let mut cascade = Member::new("cascade", "cascade", &cascade_config(&link, victoria_at, central.address()));
    cascade.start().await;

    let (for_stock, for_agent) = (Exporter::start(SERIES, None).await, Exporter::start(SERIES, None).await);
    let write = format!(
        "remote_write: [{{url: 'http://{}/api/v1/write', queue_config: {{batch_send_deadline: 500ms}}}}]\n",
        cascade.address()
    );
    let _source = prometheus(&folder, "source", source_at, &(scrape("stock", &for_stock) + &write), &[]);
    let _agent = vmagent(&folder, &scrape("agent", &for_agent), cascade.address());
    arrived(prometheus_at, 0).await;

    // The stock receiver is away for a while. It takes only what is newer than what it has, so the past comes first.
    link.link(Link::Cut);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(newest(central.address(), "stock").await > newest(prometheus_at, "stock").await, "one holds up the other");
    link.link(Link::Up);

    let to_ms = runtime::now().0;
    arrived(prometheus_at, to_ms).await;
    let (all, ours) = ([cascade.address(), central.address(), prometheus_at], [("job", "stock")]);
    let stock = agree((source_at, &ours), (&all, &ours), to_ms - 600_000, to_ms).await;
    let agent = [("job", "agent")];
    let agent = agree((cascade.address(), &agent), (&all[1..], &agent), to_ms - 600_000, to_ms).await;
    for (whole, exporter) in [(&stock, &for_stock), (&agent, &for_agent)] {
        let markers = whole.0.values().flatten().filter(|(_, bits)| *bits == STALE).count();
        assert!(markers >= SERIES as usize, "{markers} markers of staleness");
        let pages = whole.0.values().map(Vec::len).max().unwrap_or_default();
        eprintln!("{} samples of {pages} pages of {}, {markers} markers", whole.samples(), exporter.pages());
    }
    for job in ["stock", "agent"] {
        until(&format!("{job} at VictoriaMetrics"), || async {
            let want = numbers(central.address(), job, to_ms).await?;
            exported(victoria_at, job, to_ms).await?.must_be(&want)
        })
        .await;
    }
    nothing_was_refused(prometheus_at).await;
}

/// A stock receiver counts what it refuses.
async fn nothing_was_refused(at: SocketAddr) {
    for refused in [
        "prometheus_tsdb_out_of_order_samples_total",
        "prometheus_tsdb_too_old_samples_total",
        "prometheus_http_requests_total{code=\"400\",handler=\"/api/v1/write\"}",
    ] {
        assert_eq!(counted(at, refused).await, 0.0, "{refused}");
    }
    assert!(counted(at, "prometheus_http_requests_total{code=\"204\",handler=\"/api/v1/write\"}").await > 0.0);
}
