//! The same samples and the same requests to Debian's prometheus (2.42) and to a central: status, media type and every
//! byte of the answer are the same. What Prometheus 3 says otherwise is in `crates/http-api`'s own tests.

use std::net::SocketAddr;
use std::process::Command;

use model::{Batch, Labels, Row, Sample, TimestampMs, stale_nan};

use crate::harness::{DEADLINE, Folder, Process, free_port, start, until};

/// Seconds between two samples.
const EVERY: i64 = 15;

/// Counters of several jobs, values that are hard to write, labels that are hard to write, series that have ended.
fn samples(now_ms: i64) -> Batch {
    let mut rows = Vec::new();
    let mut add = |labels: &[(&str, &str)], values: &[f64], last_ms: i64| {
        let labels = Labels::from_pairs(labels.iter().copied());
        for (age, value) in values.iter().rev().enumerate() {
            let timestamp = TimestampMs(last_ms - age as i64 * EVERY * 1000);
            rows.push(Row { labels: labels.clone(), sample: Sample { timestamp, value: *value } });
        }
    };
    for job in ["a", "b", "c"] {
        for (instance, code) in [("h0:1", "200"), ("h1:1", "500")] {
            let labels = [("__name__", "http_requests_total"), ("job", job), ("instance", instance), ("code", code)];
            add(&labels, &[1.0, 2.5, 4.125, 1e6, 1e6 + 0.1], now_ms - 5000);
        }
    }
    let hard = [1e-7, 1e21, 1e20, 0.1, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 123_456_789.123, 1e-6, 5e-324];
    add(&[("__name__", "odd"), ("v", "a<b>&\"c\"\\é\u{2028}\n")], &hard, now_ms - 5000);
    add(&[("__name__", "recent"), ("x", "y")], &[1.5], now_ms - 20_000);
    add(&[("__name__", "recent"), ("region", "own"), ("zone", "z"), ("a", "1")], &[2.0], now_ms - 20_000);
    add(&[("__name__", "recent"), ("instance", "i"), ("b", "1")], &[3e9], now_ms - 20_000);
    add(&[("__name__", "gone"), ("x", "y")], &[1.0, stale_nan()], now_ms - 20_000);
    add(&[("__name__", "old"), ("x", "y")], &[1.0], now_ms - 400_000);
    // In order of labels, in which Prometheus then meets and lists them.
    rows.sort_by(|a: &Row, b: &Row| a.labels.cmp(&b.labels).then(a.sample.timestamp.cmp(&b.sample.timestamp)));
    Batch { rows, ..Batch::default() }
}

/// Requests by GET, with `NOW` for the time that they are about.
const REQUESTS: &[&str] = &[
    "/api/v1/query?query=1&time=NOW",
    "/api/v1/query?query=1&time=1.5",
    "/api/v1/query?query=vector(-1e-7)&time=-1.05",
    "/api/v1/query?query=1e-7&time=5",
    "/api/v1/query?query=\"a<b\"&time=1.05",
    "/api/v1/query?query=odd&time=NOW",
    "/api/v1/query?query=odd[9m55s]&time=NOW",
    "/api/v1/query?query=gone&time=NOW",
    "/api/v1/query?query=nope&time=NOW",
    "/api/v1/query?query=http_requests_total{job=~\"a|b\"}&time=NOW",
    "/api/v1/query?query=sum by (job) (http_requests_total)&time=NOW",
    "/api/v1/query?query=http_requests_total&time=2023-11-14T22:13:20.123456Z",
    "/api/v1/query?query=up{&time=NOW",
    "/api/v1/query?query=sum(&time=NOW",
    "/api/v1/query?query=1&timeout=x",
    "/api/v1/query_range?query=odd&start=NOW&end=NOW&step=1",
    "/api/v1/query_range?query=time()&start=1.5&end=3&step=500ms",
    "/api/v1/query_range?query=1&start=0&end=11000&step=1",
    "/api/v1/query_range?query=1&start=0&end=11001&step=1",
    "/api/v1/query_range?query=1",
    "/api/v1/query_range?query=1&start=1&end=0&step=1",
    "/api/v1/query_range?query=1&start=1&end=2&step=0",
    "/api/v1/query_range?query=1&start=1&end=2&step=x",
    "/api/v1/query_range?query=1&start=1&end=2&step=1e300",
    "/api/v1/query_exemplars?query=http_requests_total&start=2&end=1",
    "/api/v1/format_query?query=sum(a)by(b)",
    "/api/v1/format_query?query=up{",
    "/api/v1/series",
    "/api/v1/series?match[]=http_requests_total",
    "/api/v1/series?match[]=recent&match[]=old",
    "/api/v1/series?match[]={}",
    "/api/v1/series?match[]=up{",
    "/api/v1/series?match[]=recent&start=5&end=1",
    "/api/v1/labels",
    "/api/v1/labels?match[]={job=\"b\"}",
    "/api/v1/labels?match[]=recent&match[]=http_requests_total",
    "/api/v1/labels?match[]={a=~\".*\"}",
    "/api/v1/label/job/values",
    "/api/v1/label/__name__/values?match[]={x=\"y\"}",
    "/api/v1/label/nope/values",
    "/api/v1/metadata",
    "/api/v1/metadata?limit=x",
    "/api/v1/targets/metadata",
    "/api/v1/targets/metadata?limit=x",
    "/api/v1/targets/metadata?match_target=x{",
    "/api/v1/rules",
    "/api/v1/rules?type=x",
    "/api/v1/alerts",
    "/api/v1/alertmanagers",
    "/api/v1/status/walreplay",
    "/api/v1/admin/tsdb/snapshot",
    "/api/v1/nope",
    "/nope",
    "/federate",
    "/federate?match[]=recent",
    "/federate?match[]={__name__=~\".+\"}",
    "/federate?match[]={job=~\".*\"}",
    "/federate?match[]=recent&match[]={x=\"y\"}&match[]=http_requests_total",
    "/federate?match[]=up{",
];

/// What promtool is asked, `SERVER` and `NOW` in it: what it prints of both is the same too.
const PROMTOOL: &[&[&str]] = &[
    &["query", "instant", "--time=NOW", "SERVER", "sum by (job) (http_requests_total)"],
    &["query", "instant", "--time=NOW", "-o", "json", "SERVER", "odd"],
    &["query", "instant", "SERVER", "sum by (job"],
    &["query", "range", "--start=START", "--end=NOW", "--step=15s", "SERVER", "http_requests_total"],
    &["query", "series", "--match=recent", "--match=old", "SERVER"],
    &["query", "labels", "SERVER", "job"],
    &["query", "labels", "--match=recent", "SERVER", "region"],
];

/// What comes of one run of promtool: both outputs.
fn promtool(arguments: &[&str], server: SocketAddr, now_ms: i64) -> (String, String) {
    let times = |argument: &&str| {
        let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
        let argument = argument.replace("NOW", &seconds(now_ms)).replace("START", &seconds(now_ms - 120_000));
        argument.replace("SERVER", &format!("http://{server}"))
    };
    let output = Command::new("promtool").args(arguments.iter().map(times)).output().expect("promtool runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// An answer, as far as it is compared.
#[derive(Debug, PartialEq)]
struct Said {
    status: u16,
    content_type: String,
    body: String,
}

async fn ask(client: &reqwest::Client, server: SocketAddr, method: &str, path: &str, body: &str) -> Said {
    let method = method.parse().expect("is a method");
    let request = client.request(method, format!("http://{server}{path}")).body(body.to_owned());
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    let answer = request.send().await.expect("answers");
    let content_type = answer.headers().get("content-type").map(|v| v.to_str().expect("is text").to_owned());
    let status = answer.status().as_u16();
    let body = answer.text().await.expect("is text");
    Said { status, content_type: content_type.unwrap_or_default(), body }
}

/// Method, path and form of everything that is asked.
fn requests(now_ms: i64) -> Vec<(&'static str, String, String)> {
    let now = format!("{}.{:03}", now_ms / 1000, now_ms % 1000);
    let mut requests: Vec<_> = REQUESTS.iter().map(|path| ("GET", path.replace("NOW", &now), String::new())).collect();
    for (path, form) in [("query?time=7", "query=1&time=5"), ("series?match[]=old", "match[]=recent"), ("labels", "")] {
        requests.push(("POST", format!("/api/v1/{path}"), form.to_owned()));
    }
    for (method, path) in [
        ("PUT", "/api/v1/query"),
        ("DELETE", "/api/v1/labels"),
        ("POST", "/api/v1/label/job/values"),
        ("OPTIONS", "/api/v1/query"),
        ("POST", "/api/v1/admin/tsdb/snapshot"),
        ("PUT", "/api/v1/admin/tsdb/delete_series"),
        ("POST", "/federate"),
        ("POST", "/-/healthy"),
        ("GET", "/-/quit"),
        ("POST", "/-/quit"),
        ("GET", "/-/reload"),
    ] {
        requests.push((method, path.to_owned(), String::new()));
    }
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_answers_byte_for_byte_as_prometheus_does() {
    runtime::install_tls();
    let folder = Folder::new();
    let labels = "global: {external_labels: {region: eu, job: never}}\n";
    let theirs = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", folder.write("prometheus.yml", labels).display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command.arg(format!("--web.listen-address={theirs}")).arg("--web.enable-remote-write-receiver");
    let _prometheus = Process::start(&mut command, &folder.path().join("prometheus.log"));
    let central = start::<central::Central>(Some(folder.write("central.yml", labels))).await;
    let client = reqwest::Client::builder().timeout(DEADLINE).build().expect("a client");
    until("prometheus", || async {
        let ready = client.get(format!("http://{theirs}/-/ready")).send().await.map_err(|e| e.to_string())?;
        ready.error_for_status().map(drop).map_err(|e| e.to_string())
    })
    .await;
    let now_ms = runtime::now().0;
    let body = remote_write::encode(&samples(now_ms));
    for server in [theirs, central.address()] {
        let request = client.post(format!("http://{server}/api/v1/write")).body(body.clone());
        let request = request.header("Content-Type", "application/x-protobuf").header("Content-Encoding", "snappy");
        let answer = request.header("X-Prometheus-Remote-Write-Version", "0.1.0").send().await.expect("answers");
        assert!(answer.status().is_success(), "{server}: {}", answer.text().await.unwrap_or_default());
    }
    let requests = requests(now_ms);
    let mut different = Vec::new();
    for (method, path, form) in &requests {
        let want = ask(&client, theirs, method, path, form).await;
        let got = ask(&client, central.address(), method, path, form).await;
        if want != got {
            different.push(format!("{method} {path} {form}\n  prometheus {want:?}\n  central    {got:?}"));
        }
    }
    for arguments in PROMTOOL {
        let want = promtool(arguments, theirs, now_ms);
        let got = promtool(arguments, central.address(), now_ms);
        assert!(want != (String::new(), String::new()), "promtool {arguments:?} says nothing");
        if want != got {
            different.push(format!("promtool {arguments:?}\n  prometheus {want:?}\n  central    {got:?}"));
        }
    }
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), requests.len(), different.join("\n"));
    central.stop(DEADLINE).await;
}
