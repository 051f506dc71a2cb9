//! Moving out: what a store exports, Debian's promtool reads, sample for sample, and its prometheus serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Output};

use model::{Labels, Row, Sample, TimestampMs};

use crate::harness::{Folder, Process, api, binary, free_port, until};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    output
}

/// Lines in an order of their own: dumps of several blocks need not come in one.
fn lines(output: &Output) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// A central in a process of its own, with its store in a folder.
struct Central {
    folder: Folder,
    port: u16,
    process: Option<Process>,
}

impl Central {
    fn new() -> Self {
        runtime::install_tls();
        Self { folder: Folder::new(), port: free_port(), process: None }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn store(&self) -> String {
        format!("--storage.path={}", self.path("store"))
    }

    fn start(&mut self) {
        let mut command = Command::new(binary());
        command.args(["central", &self.store(), &format!("--web.listen-address=127.0.0.1:{}", self.port)]);
        self.process = Some(Process::start(&mut command, &self.folder.path().join("central.log")));
    }

    /// Writes rows as any sender does, once the process listens.
    async fn take(&self, rows: &[Row]) {
        let body = remote_write::Encoder::default().encode(rows, &[]);
        let client = reqwest::Client::new();
        until("the samples are taken", || async {
            let request = client
                .post(format!("http://127.0.0.1:{}/api/v1/write", self.port))
                .header("Content-Type", remote_write::CONTENT_TYPE)
                .header("Content-Encoding", remote_write::CONTENT_ENCODING);
            let answer = request.body(body.clone()).send().await.map_err(|e| e.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
    }

    async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal("TERM");
            assert!(process.ended().await.success());
        }
    }

    /// Exports everything into a folder.
    fn export(&self) -> String {
        let out = self.path("out");
        run(binary(), &["tsdb", "export", &self.store(), &format!("--output={out}")]);
        out
    }
}

fn row(name: &str, more: &[(&str, &str)], at: i64, value: f64) -> Row {
    let labels = Labels::from_pairs([("__name__", name)].into_iter().chain(more.iter().copied()));
    Row { labels, sample: Sample { timestamp: TimestampMs(at), value } }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_reads_what_is_exported_sample_for_sample() {
    let mut central = Central::new();
    central.start();
    let start = runtime::now().0 - 6 * HOUR;
    let rows = (0..1500).map(|i| {
        let at = start + i / 5 * MINUTE;
        row("moved", &[("series", &(i % 5).to_string())], at, (i * 7 % 11) as f64 / 4.0)
    });
    central.take(&rows.collect::<Vec<_>>()).await;
    central.stop().await;

    let store = central.store();
    run(binary(), &["tsdb", "verify", &store]);
    let out = central.export();
    run("promtool", &["tsdb", "analyze", &out]);
    let (ours, theirs) = (run(binary(), &["tsdb", "dump", &store]), run("promtool", &["tsdb", "dump", &out]));
    assert_eq!(lines(&ours).len(), 1500);
    assert_eq!(lines(&ours), lines(&theirs));

    // And back: an export is a Prometheus data folder, too.
    let again = format!("--storage.path={}", central.path("again"));
    run(binary(), &["tsdb", "import", &format!("--from={out}"), &again]);
    assert_eq!(lines(&run(binary(), &["tsdb", "dump", &again])), lines(&ours));
}

/// Counters with restarts, gauges with holes and odd values, buckets, a series that ends: 6 hours of them.
fn varied(start: i64) -> Vec<Row> {
    let mut rows = Vec::new();
    for i in 0..360i64 {
        let at = start + i * MINUTE;
        for instance in ["a", "b", "c"] {
            let place = i * 37 + i64::from(instance.as_bytes()[0]) * 11;
            let up = [("instance", instance), ("job", "node")];
            rows.push(row("requests_total", &up, at, (i % 97 * 13 + place % 7) as f64));
            if place % 10 < 8 {
                rows.push(row("temperature", &up, at, (place % 113) as f64 / 10.0 - 3.0));
            }
            for (at_most, le) in ["0.1", "1", "+Inf"].into_iter().enumerate() {
                let bucket = [("instance", instance), ("job", "node"), ("le", le)];
                rows.push(row("seconds_bucket", &bucket, at, (i * (at_most as i64 + 1)) as f64));
            }
        }
        let odd = [f64::NAN, f64::INFINITY, -0.0, 1e300, 5e-324][(i % 5) as usize];
        rows.push(row("odd", &[], at, odd));
        match i {
            0..100 => rows.push(row("ended", &[("job", "node")], at, i as f64)),
            100 => rows.push(row("ended", &[("job", "node")], at, model::stale_nan())),
            _ => {}
        }
    }
    rows
}

const QUERIES: [&str; 22] = [
    "requests_total",
    "rate(requests_total[5m])",
    "increase(requests_total[1h])",
    "sum by (job) (irate(requests_total[10m]))",
    "resets(requests_total[3h])",
    "avg_over_time(temperature[30m])",
    "stddev_over_time(temperature[30m])",
    "quantile_over_time(0.9, temperature[1h])",
    "max_over_time(temperature[10m]) - min_over_time(temperature[10m])",
    "deriv(temperature[20m])",
    "predict_linear(temperature[20m], 600)",
    "temperature offset 1h",
    "count_over_time(temperature[2h])",
    "histogram_quantile(0.7, sum by (le) (rate(seconds_bucket[15m])))",
    "topk(2, temperature)",
    "ended",
    "absent(ended)",
    "last_over_time(ended[2h])",
    "odd",
    "changes(odd[10m])",
    "max_over_time(rate(requests_total[5m])[40m:1m])",
    "count({__name__=~\".+\"}) by (__name__)",
];

/// Series of an answer by their labels, each sample as time in milliseconds and value.
fn series_of(data: &serde_json::Value) -> BTreeMap<String, Vec<(i64, f64)>> {
    let sample = |pair: &serde_json::Value| {
        let value = pair[1].as_str().and_then(|text| text.parse().ok()).expect("a value");
        ((pair[0].as_f64().expect("a time") * 1000.0).round() as i64, value)
    };
    let of = |item: &serde_json::Value| {
        let labels: BTreeMap<_, _> = item["metric"].as_object().expect("labels").iter().collect();
        let samples = match item["values"].as_array() {
            Some(values) => values.iter().map(sample).collect(),
            None => vec![sample(&item["value"])],
        };
        (format!("{labels:?}"), samples)
    };
    data["result"].as_array().expect("a list").iter().map(of).collect()
}

fn is_close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

/// Debian's prometheus takes an export for its own data, and answers as the store does that it is of.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_serves_what_is_exported_with_equal_results() {
    let mut central = Central::new();
    central.start();
    // Samples lie 7.1 s after whole minutes and queries ask at 24.103 s: no sample is on the edge of any range, since
    // Prometheus 2 and 3 do not agree on what belongs to those.
    let start = (runtime::now().0 / MINUTE - 7 * 60) * MINUTE + 7_100;
    let rows = varied(start);
    central.take(&rows).await;
    central.stop().await;
    let out = central.export();
    central.start();
    let (config, port) = (central.folder.write("prometheus.yml", "global: {scrape_interval: 1h}\n"), free_port());
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display())).arg(format!("--storage.tsdb.path={out}"));
    command.args(["--storage.tsdb.retention.time=10y", &format!("--web.listen-address=127.0.0.1:{port}")]);
    let _prometheus = Process::start(&mut command, &central.folder.path().join("prometheus.log"));
    let [ours, theirs] = [central.port, port].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    for address in [ours, theirs] {
        until("the server answers", || api(address, "query", &[("query", "1")])).await;
    }
    let text = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let moments = [5, 58, 104, 181, 240, 359, 363].map(|minutes| text(start + minutes * MINUTE + 17_003));
    let (first, last) = (&moments[0], &moments[6]);
    let mut seen = 0;
    for query in QUERIES {
        let range = [("query", query), ("start", first), ("end", last), ("step", "97")];
        let instants = moments.iter().map(|time| ("query", vec![("query", query), ("time", time.as_str())]));
        for (path, parameters) in instants.chain([("query_range", range.to_vec())]) {
            let [a, b] = [ours, theirs].map(|address| api(address, path, &parameters));
            let (a, b) = (a.await.expect("an answer of ours"), b.await.expect("an answer of Prometheus"));
            assert_eq!(a["resultType"], b["resultType"], "{parameters:?}");
            let (a, b) = (series_of(&a), series_of(&b));
            let same = |(x, y): (&(i64, f64), &(i64, f64))| x.0 == y.0 && is_close(x.1, y.1);
            let equal = a.len() == b.len()
                && a.iter().zip(&b).all(|((l, x), (m, y))| l == m && x.len() == y.len() && x.iter().zip(y).all(same));
            assert!(equal, "{path} {parameters:?}\nours: {a:?}\nPrometheus: {b:?}");
            seen += a.values().map(Vec::len).sum::<usize>();
        }
    }
    assert!(seen > 10_000, "only {seen} values were compared");
}
