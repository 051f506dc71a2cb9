//! `make bench`: one remote-write stream and a few queries against `highwater central` and, where they are installed,
//! Debian's prometheus and victoria-metrics, one after another on this machine. Prints one table; quote its ratios, not
//! its absolute figures. CPU is that of the server's process alone.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use model::{Labels, Row, Sample, TimestampMs};
use remote_write::Encoder;

const SERIES: usize = 50_000;
const STEPS: usize = 60;
const STEP_MS: i64 = 15_000;
const ROWS_PER_REQUEST: usize = 5_000;
const CLUSTERS: usize = 50;
const REPEAT: usize = 5;
/// Clock ticks a second in /proc: fixed on Linux.
const TICKS: f64 = 100.0;

/// Name, expression, range in seconds (0: instant).
const QUERIES: [(&str, &str, i64); 5] = [
    ("instant selector, one cluster", r#"container_memory_working_set_bytes{cluster="c00003"}"#, 0),
    ("instant sum by cluster of rate", "sum by (cluster) (rate(container_cpu_usage_seconds_total[5m]))", 0),
    ("sum by cluster of rate, 15 m / 15 s", "sum by (cluster) (rate(apiserver_request_total[5m]))", 900),
    (
        "p99 by cluster, 15 m / 15 s",
        "histogram_quantile(0.99, sum by (le, cluster) (rate(apiserver_request_duration_seconds_bucket[5m])))",
        900,
    ),
    ("count of all series", r#"count({__name__=~".+"})"#, 0),
];

struct Server {
    name: &'static str,
    command: Command,
    port: u16,
}

struct Measured {
    name: &'static str,
    cpu_per_million: f64,
    samples_per_second: f64,
    rss_per_series: f64,
    /// Median milliseconds and number of result series of each query.
    queries: Vec<(f64, usize)>,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn installed(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|p| p.is_file())
}

fn servers(folder: &Path) -> Vec<Server> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/highwater");
    let mut out = Vec::new();
    let port = free_port();
    let mut command = Command::new(own);
    command.args(["central", "--log.level=warn"]).arg(format!("--web.listen-address=127.0.0.1:{port}"));
    command.arg(format!("--storage.path={}", folder.join("highwater").display()));
    out.push(Server { name: "highwater", command, port });
    if let Some(program) = installed("prometheus") {
        let (port, config) = (free_port(), folder.join("prometheus.yml"));
        std::fs::write(&config, "global: {scrape_interval: 1m}\n").expect("writes");
        let mut command = Command::new(program);
        command.arg(format!("--config.file={}", config.display())).arg("--web.enable-remote-write-receiver");
        command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=warn");
        out.push(Server { name: "prometheus", command, port });
    }
    if let Some(program) = installed("victoria-metrics") {
        let port = free_port();
        let mut command = Command::new(program);
        command.arg(format!("-storageDataPath={}", folder.join("vm").display())).arg("-loggerLevel=WARN");
        command
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .args(["-search.disableCache", "-search.latencyOffset=0s"]);
        out.push(Server { name: "victoria-metrics", command, port });
    }
    out
}

/// Kubernetes-shaped series: twenty families over fifty clusters.
fn series(i: usize) -> Labels {
    let families = [
        "apiserver_request_total",
        "apiserver_request_duration_seconds_bucket",
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
        "container_network_receive_bytes_total",
        "kube_pod_status_phase",
        "kube_pod_container_resource_requests",
        "node_cpu_seconds_total",
        "node_memory_MemAvailable_bytes",
        "workqueue_depth",
    ];
    let bounds = ["0.005", "0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf"];
    let (family, rest) = (families[i % families.len()], i / families.len());
    let (cluster, k) = (rest % CLUSTERS, rest / CLUSTERS);
    let mut pairs = vec![
        ("__name__", family.to_owned()),
        ("cluster", format!("c{cluster:05}")),
        ("metacluster", format!("cell-{:03}", cluster / 10)),
        ("region", format!("region-{:02}", cluster % 5)),
        ("namespace", format!("ns-{}", k % 37)),
        ("pod", format!("workload-{}-{:08x}", k % 97, k.wrapping_mul(2_654_435_761))),
        ("instance", format!("10.{}.{}.{}:9100", cluster % 250, k / 250, k % 250)),
    ];
    if family.ends_with("_bucket") {
        pairs.push(("le", bounds[k % bounds.len()].to_owned()));
        pairs[5].1 = format!("workload-{}", k / bounds.len());
        pairs[6].1 = format!("10.0.{}.1:443", k / bounds.len());
    }
    Labels::from_pairs(pairs)
}

/// The bodies of every request, in order: built before the clock starts.
fn requests(start_ms: i64) -> Vec<Vec<u8>> {
    let all: Vec<Labels> = (0..SERIES).map(series).collect();
    let mut values: Vec<f64> = (0..SERIES).map(|i| (i % 10_000) as f64).collect();
    let (mut encoder, mut bodies, mut random) = (Encoder::default(), Vec::new(), 0x9E37_79B9_7F4A_7C15_u64);
    for step in 0..STEPS {
        let mut rows = Vec::with_capacity(SERIES);
        for (labels, value) in all.iter().zip(&mut values) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            *value += (random % 50) as f64;
            let timestamp = TimestampMs(start_ms + step as i64 * STEP_MS);
            rows.push(Row { labels: labels.clone(), sample: Sample { timestamp, value: *value } });
        }
        bodies.extend(rows.chunks(ROWS_PER_REQUEST).map(|chunk| encoder.encode(chunk, &[])));
    }
    bodies
}

fn cpu_seconds(process: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

fn peak_rss_bytes(process: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}

async fn ask(client: &reqwest::Client, port: u16, expression: &str, end: i64, range: i64) -> reqwest::Result<usize> {
    let (start, at) = ((end - range).to_string(), end.to_string());
    let request = client.get(format!("http://127.0.0.1:{port}/api/v1/query{}", if range > 0 { "_range" } else { "" }));
    let times: Vec<(&str, &str)> =
        if range > 0 { vec![("start", start.as_str()), ("end", &at), ("step", "15")] } else { vec![("time", &at)] };
    let text = request.query(&[("query", expression)]).query(&times).send().await?.text().await?;
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(answer["data"]["result"].as_array().map_or(0, Vec::len))
}

async fn measure(mut server: Server, bodies: &[Vec<u8>], end: i64) -> Measured {
    let client = reqwest::Client::new();
    let mut process = server.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the server starts");
    let ready = Instant::now() + Duration::from_secs(30);
    while ask(&client, server.port, "1", end, 0).await.is_err() {
        assert!(Instant::now() < ready, "{} does not answer", server.name);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (started, before) = (Instant::now(), cpu_seconds(&process));
    for body in bodies {
        let answer = client
            .post(format!("http://127.0.0.1:{}/api/v1/write", server.port))
            .header("Content-Type", remote_write::CONTENT_TYPE)
            .header("Content-Encoding", remote_write::CONTENT_ENCODING)
            .header(remote_write::VERSION_HEADER, remote_write::VERSION)
            .body(body.clone())
            .send()
            .await
            .expect("the server answers");
        assert!(answer.status().is_success(), "{} refused a request: {}", server.name, answer.status());
    }
    let samples = (SERIES * STEPS) as f64;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds(&process) - before;
    // The other servers show fresh samples after a flush.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut queries = Vec::new();
    for (_, expression, range) in QUERIES {
        let mut times = Vec::new();
        let mut found = 0;
        for _ in 0..REPEAT {
            let asked = Instant::now();
            found = ask(&client, server.port, expression, end, range).await.expect("the server answers");
            times.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        queries.push((times[REPEAT / 2], found));
    }
    let rss = peak_rss_bytes(&process);
    process.kill().and_then(|()| process.wait()).expect("the server ends");
    Measured {
        name: server.name,
        cpu_per_million: cpu / samples * 1e6,
        samples_per_second: samples / seconds,
        rss_per_series: rss / SERIES as f64,
        queries,
    }
}

fn print(all: &[Measured]) {
    println!(
        "\n{SERIES} series x {STEPS} steps of {} s by remote write 1.0, {ROWS_PER_REQUEST} samples a request, one connection",
        STEP_MS / 1000
    );
    print!("{:42}", "");
    all.iter().for_each(|m| print!("{:>20}", m.name));
    println!();
    let row = |label: &str, value: &dyn Fn(&Measured) -> f64, digits: usize| {
        print!("{label:42}");
        let own = value(&all[0]);
        for (i, measured) in all.iter().enumerate() {
            let ratio = if i == 0 { String::new() } else { format!(" ({:.1}x)", value(measured) / own) };
            print!("{:>20}", format!("{:.digits$}{ratio}", value(measured)));
        }
        println!();
    };
    row("server CPU s per million samples", &|m| m.cpu_per_million, 2);
    row("samples/s, wall clock", &|m| m.samples_per_second, 0);
    row("peak RSS, bytes per series, all included", &|m| m.rss_per_series, 0);
    for (i, (name, _, _)) in QUERIES.iter().enumerate() {
        row(&format!("{name}, ms"), &|m| m.queries[i].0, 1);
        let counts: Vec<usize> = all.iter().map(|m| m.queries[i].1).collect();
        if counts.iter().any(|c| *c != counts[0]) {
            println!("  result series differ: {counts:?}");
        }
    }
    println!(
        "In brackets: the peer's figure divided by ours. Ours keeps samples in memory only; the peers also write to disk."
    );
}

fn main() {
    runtime::install_tls();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let start_ms = runtime::now().0 / STEP_MS * STEP_MS - STEPS as i64 * STEP_MS;
    let bodies = requests(start_ms);
    let end = (start_ms + (STEPS as i64 - 1) * STEP_MS) / 1000 + 5;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let all: Vec<Measured> =
        servers(folder.path()).into_iter().map(|s| runtime.block_on(measure(s, &bodies, end))).collect();
    print(&all);
}
