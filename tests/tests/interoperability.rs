//! Stock Prometheus in front of and beside our tiers.

use std::process::Command;

use crate::harness::{DEADLINE, Folder, Process, free_port, query_some, start, until};

/// The whole of promtool's output, or what it complained about.
async fn promtool<const N: usize>(arguments: [&str; N]) -> Result<String, String> {
    let output = Command::new("promtool")
        .args(arguments)
        .output()
        .map_err(|e| format!("promtool: {e}; run `make test-peers`"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && !text.trim().is_empty() {
        Ok(text)
    } else {
        Err(format!("promtool {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Debian's prometheus scrapes itself and writes to a central without configuration; promtool asks the central.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_prometheus_writes_and_promtool_reads() {
    let folder = Folder::new();
    let central = start::<central::Central>(None).await;
    let server = format!("http://{}", central.address());
    let port = free_port();
    let config = folder.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s, external_labels: {{region: brownfield}}}}\n\
             scrape_configs: [{{job_name: prometheus, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n\
             remote_write: [{{url: '{server}/api/v1/write', queue_config: {{batch_send_deadline: 200ms}}}}]\n"
        ),
    );
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _prometheus = Process::start(&mut command, &folder.path().join("prometheus.log"));

    let up = until("the first sample", || query_some(central.address(), r#"up{job="prometheus"}"#)).await;
    assert_eq!((up[0].value, up[0].label("region")), (1.0, "brownfield"));
    let instant = until("an answer", || promtool(["query", "instant", &server, r#"up{region="brownfield"}"#])).await;
    assert!(instant.contains(r#"region="brownfield""#) && instant.contains("=> 1 @["), "{instant}");
    let rate = "rate(prometheus_tsdb_head_samples_appended_total[1m])";
    let range = until("a range", || promtool(["query", "range", "--step=1s", &server, rate])).await;
    assert!(range.contains("brownfield"), "{range}");
    let series = promtool(["query", "series", "--match=up", &server]).await.expect("lists series");
    assert!(series.contains("brownfield"), "{series}");
    let labels = promtool(["query", "labels", &server, "region"]).await.expect("lists labels");
    assert!(labels.contains("brownfield"), "{labels}");
    let metrics = reqwest::get(format!("{server}/metrics")).await.expect("answers").text().await.expect("is text");
    let linted = check_metrics(&metrics);
    assert!(linted.is_empty(), "promtool check metrics: {linted}");
    central.stop(DEADLINE).await;
}

/// Debian's vmagent, which packs its requests another way than Prometheus, scrapes itself and writes to a central. It is
/// too old for zstd; `receive` tests what newer ones send.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_vmagent_writes() {
    let folder = Folder::new();
    let central = start::<central::Central>(None).await;
    let port = free_port();
    let config = folder.write(
        "vmagent.yml",
        &format!(
            "global: {{scrape_interval: 1s, external_labels: {{region: brownfield}}}}\n\
             scrape_configs: [{{job_name: vmagent, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
        ),
    );
    let mut command = Command::new("vmagent");
    command.arg(format!("-promscrape.config={}", config.display()));
    command.arg(format!("-remoteWrite.tmpDataPath={}", folder.path().join("data").display()));
    command.arg(format!("-remoteWrite.url=http://{}/api/v1/write", central.address()));
    command.arg("-remoteWrite.flushInterval=200ms").arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    let _vmagent = Process::start(&mut command, &folder.path().join("vmagent.log"));
    let up = until("the first sample", || query_some(central.address(), r#"up{job="vmagent"}"#)).await;
    assert_eq!((up[0].value, up[0].label("region")), (1.0, "brownfield"));
    central.stop(DEADLINE).await;
}

/// What `promtool check metrics` says of our own metrics: nothing, when they are well formed.
fn check_metrics(metrics: &str) -> String {
    use std::io::Write;
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(std::process::Stdio::piped());
    let mut child =
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("is piped").write_all(metrics.as_bytes()).expect("writes");
    let output = child.wait_with_output().expect("ends");
    let text = [output.stdout, output.stderr].concat();
    // promtool counts other servers' names that we keep on purpose as its own; only errors matter, not advice on names.
    String::from_utf8_lossy(&text).lines().filter(|l| l.contains("error")).map(|l| format!("{l}\n")).collect()
}
