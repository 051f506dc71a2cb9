//! The servers: how each is started, fed, asked, stopped and killed, and what the operating system says of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::load::{Part, STEP_MS, Shape};

/// Clock ticks a second in /proc: fixed on Linux.
const TICKS: f64 = 100.0;
const DEADLINE: Duration = Duration::from_secs(600);

/// A server program and where it keeps its data.
pub struct Server {
    pub name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    pub data: PathBuf,
    port: u16,
    process: Option<Child>,
    client: reqwest::Client,
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn installed(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|p| p.is_file())
}

/// Ours, and the peers that are installed.
pub fn servers(folder: &Path) -> Vec<Server> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/highwater");
    let mut out = Vec::new();
    let mut add = |name, program: Option<PathBuf>, arguments: &dyn Fn(&str, u16) -> Vec<String>| {
        let (Some(program), port, data) = (program, free_port(), folder.join(name)) else { return };
        let arguments = arguments(&data.display().to_string(), port);
        out.push(Server { name, program, arguments, data, port, process: None, client: reqwest::Client::new() });
    };
    add("highwater", Some(own), &|data, port| {
        let listen = format!("--web.listen-address=127.0.0.1:{port}");
        let fixed = ["--query.result-cache-bytes=0", "--log.level=warn"].map(str::to_owned);
        ["central".to_owned(), format!("--storage.path={data}"), listen].into_iter().chain(fixed).collect()
    });
    let config = folder.join("prometheus.yml");
    std::fs::write(&config, "global: {scrape_interval: 1m}\n").expect("writes");
    add("prometheus", installed("prometheus"), &|data, port| {
        vec![
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={data}"),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--query.max-samples=500000000".to_owned(),
            "--log.level=error".to_owned(),
        ]
    });
    add("victoria-metrics", installed("victoria-metrics"), &|data, port| {
        let fixed = ["-search.disableCache", "-search.latencyOffset=0s", "-search.maxUniqueTimeseries=10000000"];
        let mut all: Vec<String> = fixed.map(str::to_owned).to_vec();
        all.extend([format!("-storageDataPath={data}"), format!("-httpListenAddr=127.0.0.1:{port}")]);
        all.extend(["-retentionPeriod=100y", "-loggerLevel=ERROR"].map(str::to_owned));
        all
    });
    out
}

impl Server {
    /// Starts it and waits for its first answer, to a query that needs no data. Returns seconds.
    pub async fn start(&mut self) -> f64 {
        let started = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        self.process = Some(command.spawn().expect("the server starts"));
        while self.ask("1", 0, 0).await.is_err() {
            assert!(started.elapsed() < DEADLINE, "{} does not answer", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed().as_secs_f64()
    }

    /// Seconds until a query finds `want` series.
    pub async fn complete(&self, expression: &str, at: i64, want: usize) -> f64 {
        let started = Instant::now();
        while self.ask(expression, at, 0).await.ok() != Some(want) {
            assert!(started.elapsed() < DEADLINE, "{} never answers {expression} with {want} series", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed().as_secs_f64()
    }

    /// Sends `signal` and waits for the end. Returns seconds.
    pub fn end(&mut self, signal: &str) -> f64 {
        let started = Instant::now();
        let mut process = self.process.take().expect("is running");
        let sent = Command::new("kill").args([format!("-{signal}"), process.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "cannot signal {}", self.name);
        process.wait().expect("the server ends");
        started.elapsed().as_secs_f64()
    }

    fn process(&self) -> &Child {
        self.process.as_ref().expect("is running")
    }

    /// CPU seconds of the process so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process().id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / TICKS
    }

    /// The most memory it had since its start, or since [`Server::forget_peak`], in bytes.
    pub fn peak_rss_bytes(&self) -> f64 {
        self.status_bytes("VmHWM:")
    }

    /// From now on the peak is counted anew. Returns the memory it has now, in bytes.
    pub fn forget_peak(&self) -> f64 {
        // The kernel takes 5 for that (proc(5), clear_refs).
        std::fs::write(format!("/proc/{}/clear_refs", self.process().id()), "5").expect("is ours");
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process().id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
    }

    /// Bytes that its data take on the disk.
    pub fn disk_bytes(&self) -> f64 {
        fn of(folder: &Path) -> u64 {
            use std::os::unix::fs::MetadataExt;
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let size = |e: std::fs::DirEntry| match e.metadata() {
                Ok(m) if m.is_dir() => of(&e.path()),
                Ok(m) => m.blocks() * 512,
                Err(_) => 0,
            };
            entries.map(size).sum()
        }
        of(&self.data) as f64
    }

    /// Where and as whom a connection writes.
    fn writer(&self, client: reqwest::Client) -> Writer {
        Writer { client, url: format!("http://127.0.0.1:{}/api/v1/write", self.port), name: self.name }
    }

    /// Sends one request of samples.
    pub async fn write(&self, body: Vec<u8>) {
        self.writer(self.client.clone()).send(body).await;
    }

    /// Sends the whole stream over its connections. Returns seconds.
    pub async fn load(&self, shape: Shape, start_ms: i64) -> f64 {
        let started = Instant::now();
        let connection = |number| {
            let writer = self.writer(reqwest::Client::new());
            tokio::spawn(async move {
                let mut part = Part::new(shape, number);
                for step in 0..shape.steps {
                    for index in 0..part.requests() {
                        writer.send(part.request(start_ms + step as i64 * STEP_MS, index)).await;
                    }
                }
            })
        };
        let all: Vec<_> = (0..shape.connections).map(connection).collect();
        for task in all {
            task.await.expect("every request is taken");
        }
        started.elapsed().as_secs_f64()
    }

    /// Asks an instant (`range` 0) or range query that ends at `end`. Returns the number of series.
    pub async fn ask(&self, expression: &str, end: i64, range: i64) -> reqwest::Result<usize> {
        let path = if range > 0 { "query_range" } else { "query" };
        let (start, at) = ((end - range).to_string(), end.to_string());
        let step = if range > 0 && expression.starts_with("histogram") { "60" } else { "15" };
        let times: Vec<(&str, &str)> =
            if range > 0 { vec![("start", start.as_str()), ("end", &at), ("step", step)] } else { vec![("time", &at)] };
        let request = self.client.get(format!("http://127.0.0.1:{}/api/v1/{path}", self.port));
        let answer = request.query(&[("query", expression)]).query(&times).send().await?.error_for_status()?;
        let answer: serde_json::Value = serde_json::from_str(&answer.text().await?).unwrap_or_default();
        Ok(answer["data"]["result"].as_array().map_or(0, Vec::len))
    }
}

/// One connection that writes.
struct Writer {
    client: reqwest::Client,
    url: String,
    name: &'static str,
}

impl Writer {
    async fn send(&self, body: Vec<u8>) {
        let request = self
            .client
            .post(&self.url)
            .header("Content-Type", remote_write::CONTENT_TYPE)
            .header("Content-Encoding", remote_write::CONTENT_ENCODING)
            .header(remote_write::VERSION_HEADER, remote_write::VERSION);
        let answer = request.body(body).send().await.expect("the server answers");
        assert!(answer.status().is_success(), "{} refused a request: {}", self.name, answer.status());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
