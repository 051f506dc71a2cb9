//! Pull federation beside stock Prometheus servers: a cascade pulls from one, and one pulls from a central.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use model::{Batch, Labels, Sample, TimestampMs, stale_nan};

use crate::harness::{DEADLINE, Element, Folder, Process, free_port, query, query_some, start, until};

/// Debian's prometheus, which also takes remote write.
fn prometheus(folder: &Folder, config: &str) -> (Process, SocketAddr) {
    let (port, config) = (free_port(), folder.write("prometheus.yml", config));
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.arg("--web.enable-remote-write-receiver");
    (Process::start(&mut command, &folder.path().join("prometheus.log")), SocketAddr::from(([127, 0, 0, 1], port)))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("is after 1970");
    i64::try_from(since.as_millis()).expect("fits")
}

/// Writes series of a job, or says why that did not work.
async fn write(server: SocketAddr, job: &str, at_ms: i64, samples: &[(&str, &str, f64)]) -> Result<(), String> {
    runtime::install_tls();
    let mut batch = Batch::default();
    for (name, number, value) in samples {
        let labels = [("__name__", *name), ("instance", "i:1"), ("job", job), ("n", number)];
        batch.push(Labels::from_pairs(labels), Sample { timestamp: TimestampMs(at_ms), value: *value });
    }
    let request = reqwest::Client::new().post(format!("http://{server}/api/v1/write"));
    let request = request
        .header("Content-Type", remote_write::CONTENT_TYPE)
        .header("Content-Encoding", remote_write::CONTENT_ENCODING)
        .header(remote_write::VERSION_HEADER, remote_write::VERSION);
    let answer = request.body(remote_write::encode(&batch)).send().await.map_err(|e| e.to_string())?;
    let status = answer.status();
    if status == 204 { Ok(()) } else { Err(format!("{status}: {}", answer.text().await.unwrap_or_default())) }
}

/// The numbers of the series that a query finds, sorted.
fn numbers(found: &[Element]) -> Vec<&str> {
    let mut numbers: Vec<&str> = found.iter().map(|element| element.label("n")).collect();
    numbers.sort_unstable();
    numbers
}

async fn exactly(address: SocketAddr, expression: &str, want: &[&str]) -> Result<Vec<Element>, String> {
    let found = query(address, expression).await?;
    if numbers(&found) == want { Ok(found) } else { Err(format!("{expression}: {found:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_pulls_from_a_stock_prometheus() {
    let folder = Folder::new();
    let (_stock, stock) = prometheus(&folder, "global: {external_labels: {site: old}}\n");
    let at = now_ms() - 20_000;
    let samples = [("m", "1", 1.0), ("m", "2", 2.0), ("k", "3", 3.0), ("ignored", "4", 4.0)];
    until("the stock server", || write(stock, "apps", at, &samples)).await;
    let config = folder.write(
        "cascade.yml",
        &format!(
            "federate_configs:\n\
             - job_name: brownfield\n  match: ['m{{job=\"apps\"}}', '{{__name__=\"k\"}}']\n  scrape_interval: 200ms\n  \
             static_configs: [{{targets: ['{stock}']}}]\n"
        ),
    );
    let cascade = start::<cascade::Cascade>(Some(config)).await;
    let address = cascade.address();

    let found = until("what is pulled", || exactly(address, r#"{n=~".+"}"#, &["1", "2", "3"])).await;
    for element in &found {
        let labels = ["job", "instance", "site"].map(|name| element.label(name));
        assert_eq!(labels, ["apps", "i:1", "old"], "labels are the stock server's: {element:?}");
        assert_eq!(element.value.to_string(), element.label("n"));
    }
    let times = query(address, r#"timestamp({n=~".+"})"#).await.expect("is answered");
    assert!(times.iter().all(|t| (t.value * 1000.0).round() as i64 == at), "times are the stock server's: {times:?}");
    let up = query(address, "up").await.expect("is answered");
    let mut jobs: Vec<&str> = up.iter().map(|element| element.label("job")).collect();
    jobs.sort_unstable();
    assert_eq!(jobs, ["brownfield/1", "brownfield/2"], "each selector has a request of its own");

    // It ends there, and therefore here, although its last sample is younger than the lookback.
    write(stock, "apps", now_ms(), &[("m", "2", stale_nan())]).await.expect("is taken");
    until("the end of a series", || exactly(address, r#"{n=~".+"}"#, &["1", "3"])).await;
    // It begins again.
    write(stock, "apps", now_ms(), &[("m", "2", 5.0)]).await.expect("is taken");
    let back = until("its return", || exactly(address, "m", &["1", "2"])).await;
    assert!(back.iter().any(|element| element.value == 5.0), "{back:?}");
    cascade.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_prometheus_pulls_from_a_central() {
    let folder = Folder::new();
    let config = folder.write("central.yml", "global: {external_labels: {site: new, job: never}}\n");
    let central = start::<central::Central>(Some(config)).await;
    let at = now_ms() - 20_000;
    let samples = [("m", "1", 1.0), ("m", "2", 2.0), ("ignored", "4", 4.0)];
    write(central.address(), "apps", at, &samples).await.expect("is taken");
    let (_stock, stock) = prometheus(
        &folder,
        &format!(
            "scrape_configs:\n\
             - job_name: pull\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  metrics_path: /federate\n  \
             honor_labels: true\n  params: {{'match[]': ['m{{job=\"apps\"}}']}}\n  \
             static_configs: [{{targets: ['{}']}}]\n",
            central.address()
        ),
    );
    let found = until("what is pulled", || exactly(stock, r#"{n=~".+"}"#, &["1", "2"])).await;
    for element in &found {
        let labels = ["job", "instance", "site"].map(|name| element.label(name));
        assert_eq!(labels, ["apps", "i:1", "new"], "labels are the central's: {element:?}");
        assert_eq!(element.value.to_string(), element.label("n"));
    }
    let times = query(stock, "timestamp(m)").await.expect("is answered");
    assert!(times.iter().all(|t| (t.value * 1000.0).round() as i64 == at), "times are the central's: {times:?}");
    let up = until("a scrape", || query_some(stock, "up")).await;
    assert!(up.iter().all(|element| element.value == 1.0), "{up:?}");
    central.stop(DEADLINE).await;
}
