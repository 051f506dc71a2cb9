//! A stock Prometheus in front of a central (remote read), and exemplars on their way through the tiers.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use model::{Batch, Exemplar, ExemplarRow, Labels, Sample, TimestampMs, stale_nan};
use remote_write::Encoder;
use serde_json::Value;

use crate::harness::{DEADLINE, Folder, Process, api, free_port, start, until};

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("is after 1970");
    i64::try_from(since.as_millis()).expect("fits")
}

/// Debian's prometheus with this configuration.
fn prometheus(folder: &Folder, port: u16, config: &str) -> Process {
    let config = folder.write("prometheus.yml", config);
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Process::start(&mut command, &folder.path().join("prometheus.log"))
}

/// Two hours of gauges and counters, every 15 s, some of them with an end and a reset. Long enough that a series takes
/// several chunks, and never at a moment that a query below looks at.
fn two_hours(end: i64) -> Batch {
    let mut batch = Batch::default();
    for n in 0..30_i32 {
        let (job, instance) = (if n % 3 == 0 { "a" } else { "b" }, format!("host-{n}"));
        let labels =
            |name: &str| Labels::from_pairs([("__name__", name), ("job", job), ("instance", instance.as_str())]);
        for i in 0..480_i32 {
            let timestamp = TimestampMs(end - 7_000 - i64::from(479 - i) * 15_000);
            let ended = n % 7 == 0 && i > 300;
            if ended && i > 301 {
                break;
            }
            let gauge = if ended { stale_nan() } else { f64::from(i * 37 % 101) / 8.0 + f64::from(n) };
            batch.push(labels("gauge"), Sample { timestamp, value: gauge });
            let counter = f64::from(i % 200) * 1.5 + f64::from(n);
            batch.push(labels("counter_total"), Sample { timestamp, value: counter });
        }
    }
    batch.rows.sort_by(|a, b| a.labels.cmp(&b.labels));
    batch
}

async fn post(server: SocketAddr, body: Vec<u8>) -> reqwest::Response {
    runtime::install_tls();
    let request = reqwest::Client::new().post(format!("http://{server}/api/v1/write"));
    request.body(body).send().await.expect("is answered")
}

/// Labels of a series, and its samples.
type Series = (String, Vec<(f64, f64)>);

/// In order of labels, without the one that remote read adds; aggregations have none.
fn comparable(mut data: Value) -> Vec<Series> {
    let mut out = Vec::new();
    for series in data["result"].as_array_mut().expect("is a list") {
        let replica = series["metric"].as_object_mut().and_then(|labels| labels.remove("replica"));
        assert!(replica.is_none() || replica == Some("r1".into()), "{series}");
        let sample = |sample: &Value| {
            let value = sample[1].as_str().expect("is text").parse().expect("is a number");
            (sample[0].as_f64().expect("is a time"), value)
        };
        let samples = match series["values"].as_array() {
            Some(values) => values.iter().map(sample).collect(),
            None => vec![sample(&series["value"])],
        };
        out.push((series["metric"].to_string(), samples));
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// Sums in another order differ in the last bits.
fn assert_same(theirs: &[Series], ours: &[Series], asked: &dyn std::fmt::Debug) {
    let names = |all: &[Series]| all.iter().map(|(labels, _)| labels.clone()).collect::<Vec<_>>();
    assert_eq!(names(theirs), names(ours), "{asked:?}");
    for ((labels, theirs), (_, ours)) in theirs.iter().zip(ours) {
        let close = |((t1, v1), (t2, v2)): (&(f64, f64), &(f64, f64))| {
            t1 == t2 && (v1.to_bits() == v2.to_bits() || (v1 - v2).abs() <= 1e-9 * v1.abs().max(v2.abs()))
        };
        let same = theirs.len() == ours.len() && theirs.iter().zip(ours).all(close);
        assert!(same, "{asked:?} {labels}: {theirs:?} is not {ours:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_prometheus_reads_what_a_central_stores() {
    let folder = Folder::new();
    let config = folder.write("central.yml", "global: {external_labels: {replica: r1}}\n");
    let central = start::<central::Central>(Some(config)).await;
    let end = now_ms() / 60_000 * 60_000;
    assert_eq!(post(central.address(), remote_write::encode(&two_hours(end))).await.status(), 204);
    let port = free_port();
    let remote = format!("remote_read: [{{url: 'http://{}/api/v1/read', read_recent: true}}]\n", central.address());
    let _prometheus = prometheus(&folder, port, &remote);
    let stock = SocketAddr::from(([127, 0, 0, 1], port));

    let seconds = |ms: i64| (ms / 1000).to_string();
    let (at, from, to) = (seconds(end - 600_000), seconds(end - 7_200_000), seconds(end));
    let instant = |query| ("query", vec![("query", query), ("time", at.as_str())]);
    let over = |query, step| {
        let range = [("start", from.as_str()), ("end", to.as_str()), ("step", step)];
        ("query_range", [&[("query", query)][..], &range].concat())
    };
    let asked = [
        instant("gauge"),
        instant("gauge[10m]"),
        instant("gauge offset 1h"),
        instant("sum by (job) (rate(counter_total[5m]))"),
        instant("count({__name__=~\".+\", job!=\"a\"})"),
        instant("absent(gauge{instance=\"host-99\"})"),
        over("gauge", "60"),
        over("sum by (job) (avg_over_time(counter_total[5m]))", "30"),
        over("max_over_time(gauge{instance=~\"host-(1|7|21)\"}[7m])", "45"),
        over("counter_total unless on (instance) gauge", "300"),
    ];
    for (path, parameters) in asked {
        let ours = comparable(api(central.address(), path, &parameters).await.expect("is answered"));
        let theirs = until("an answer", || api(stock, path, &parameters)).await;
        assert_same(&comparable(theirs), &ours, &parameters);
        assert!(!ours.is_empty(), "{parameters:?}");
    }
    // The label is there for whoever reads, and a selector may name it.
    let named = [("query", "count by (replica) (gauge{replica=\"r1\"})"), ("time", at.as_str())];
    let found = api(stock, "query", &named).await.expect("is answered");
    assert_eq!(found["result"][0]["metric"]["replica"], "r1", "{found}");
    let other = [("query", "gauge{replica=\"r2\"}"), ("time", at.as_str())];
    assert!(comparable(api(stock, "query", &other).await.expect("is answered")).is_empty());
    central.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exemplars_go_through_a_cascade_to_a_central() {
    let folder = Folder::new();
    let central = start::<central::Central>(None).await;
    let config = folder.write(
        "cascade.yml",
        &format!(
            "global: {{external_labels: {{region: eu}}}}\n\
             remote_write: [{{url: 'http://{}/api/v1/write', send_exemplars: true, queue_config: {{batch_send_deadline: 50ms}}}}]\n",
            central.address()
        ),
    );
    let cascade = start::<cascade::Cascade>(Some(config)).await;
    let now = now_ms() / 1000 * 1000;
    let series = |le: &str| Labels::from_pairs([("__name__", "lat_bucket"), ("le", le)]);
    let exemplar = |le: &str, trace: &str, value, after| ExemplarRow {
        series: series(le),
        exemplar: Exemplar {
            labels: Labels::from_pairs([("trace_id", trace)]),
            value,
            timestamp: TimestampMs(now + after),
        },
    };
    let exemplars =
        [exemplar("+Inf", "t2", 7.0, 0), exemplar("1.0", "t1", 0.5, -750), exemplar("1.0", "t3", 0.25, 500)];
    // What comes with the last samples may have to wait for the next.
    for after in [0, 1] {
        let mut batch = Batch::default();
        for le in ["+Inf", "1.0"] {
            batch.push(series(le), Sample { timestamp: TimestampMs(now + after), value: 3.0 });
        }
        let body = Encoder::default().encode_with_exemplars(&batch.rows, &exemplars, &[]);
        let answer = post(cascade.address(), body).await;
        let written = answer.headers()["x-prometheus-remote-write-exemplars-written"].to_str().expect("is text");
        // The second time, the older one of two is too old.
        let metrics = reqwest::get(format!("http://{}/metrics", cascade.address())).await.expect("is answered");
        let metrics = metrics.text().await.expect("is text");
        let shown: Vec<_> =
            metrics.lines().filter(|line| line.contains("exemplar") && !line.starts_with('#')).collect();
        assert_eq!((answer.status().as_u16(), written), (204, if after == 0 { "3" } else { "2" }), "{shown:#?}");
    }
    let second = now / 1000;
    let want = serde_json::json!([
        {"seriesLabels": {"__name__": "lat_bucket", "le": "+Inf", "region": "eu"}, "exemplars": [
            {"labels": {"trace_id": "t2"}, "value": "7", "timestamp": second},
        ]},
        {"seriesLabels": {"__name__": "lat_bucket", "le": "1.0", "region": "eu"}, "exemplars": [
            {"labels": {"trace_id": "t1"}, "value": "0.5", "timestamp": (second - 1) as f64 + 0.25},
            {"labels": {"trace_id": "t3"}, "value": "0.25", "timestamp": second as f64 + 0.5},
        ]},
    ]);
    let asked = [("query", "histogram_quantile(0.9, rate(lat_bucket[5m]))")];
    for (tier, address) in [("cascade", cascade.address()), ("central", central.address())] {
        let all = || async {
            let data = api(address, "query_exemplars", &asked).await?;
            if data == want { Ok(()) } else { Err(format!("{tier}: {data}")) }
        };
        until("exemplars", all).await;
    }
    cascade.stop(DEADLINE).await;
    central.stop(DEADLINE).await;
}
