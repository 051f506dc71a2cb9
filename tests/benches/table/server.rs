//! The servers: how each is started, fed, asked, stopped and killed, and what the operating system says of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::load::{Part, STEP_MS, Shape};
use crate::process::{Process, free_port, highwater, installed};

const DEADLINE: Duration = Duration::from_secs(600);

/// A server program and where it keeps its data.
pub struct Server {
    pub name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    pub data: PathBuf,
    port: u16,
    process: Option<Process>,
    client: Client,
}

/// Ours, and the peers that are installed.
pub fn servers(folder: &Path) -> Vec<Server> {
    let mut out = Vec::new();
    let mut add = |name, program: Option<PathBuf>, arguments: &dyn Fn(&str, u16) -> Vec<String>| {
        let (Some(program), port, data) = (program, free_port(), folder.join(name)) else { return };
        let arguments = arguments(&data.display().to_string(), port);
        let client = Client::new(name, port);
        out.push(Server { name, program, arguments, data, port, process: None, client });
    };
    add("highwater", Some(highwater()), &|data, port| {
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
        self.process = Some(Process::start(&self.program, &self.arguments));
        while self.ask("1", 0, 0).await.is_err() {
            assert!(started.elapsed() < DEADLINE, "{} does not answer", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed().as_secs_f64()
    }

    /// Seconds until a query finds `want` series.
    pub async fn complete(&self, expression: &str, at: i64, want: usize) -> f64 {
        let started = Instant::now();
        while self.ask(expression, at, 0).await.map_or(0, |answer| answer.series) != want {
            assert!(started.elapsed() < DEADLINE, "{} never answers {expression} with {want} series", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        started.elapsed().as_secs_f64()
    }

    /// Sends `signal` and waits for the end. Returns seconds.
    pub fn end(&mut self, signal: &str) -> f64 {
        self.process.take().expect("is running").end(signal)
    }

    /// What the operating system says of it.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("is running")
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

    /// A client with a connection of its own, for the runtime that uses it first.
    pub fn client(&self) -> Client {
        Client::new(self.name, self.port)
    }

    /// Sends the whole stream over its connections. Returns seconds.
    pub async fn load(&self, shape: Shape, start_ms: i64) -> f64 {
        let started = Instant::now();
        let connection = |number| {
            let writer = self.client();
            tokio::spawn(async move {
                let mut part = Part::new(shape, number);
                for step in 0..shape.steps {
                    for index in 0..part.requests() {
                        writer.write(part.request(start_ms + step as i64 * STEP_MS, index)).await;
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

    /// As [`Client::ask`].
    pub async fn ask(&self, expression: &str, end: i64, range: i64) -> reqwest::Result<Answer> {
        self.client.ask(expression, end, range).await
    }
}

/// What a query found.
pub struct Answer {
    pub series: usize,
    /// Milliseconds until the last byte was here; what a client makes of them is its own affair.
    pub ms: f64,
}

/// Somebody who writes or asks.
pub struct Client {
    client: reqwest::Client,
    address: String,
    name: &'static str,
}

impl Client {
    fn new(name: &'static str, port: u16) -> Self {
        Self { client: reqwest::Client::new(), address: format!("http://127.0.0.1:{port}/api/v1"), name }
    }

    /// Asks an instant (`range` 0) or range query that ends at `end`.
    pub async fn ask(&self, expression: &str, end: i64, range: i64) -> reqwest::Result<Answer> {
        let path = if range > 0 { "query_range" } else { "query" };
        let (start, at) = ((end - range).to_string(), end.to_string());
        let step = if range > 0 && expression.starts_with("histogram") { "60" } else { "15" };
        let times: Vec<(&str, &str)> =
            if range > 0 { vec![("start", start.as_str()), ("end", &at), ("step", step)] } else { vec![("time", &at)] };
        let request = self.client.get(format!("{}/{path}", self.address));
        let asked = Instant::now();
        let answer = request.query(&[("query", expression)]).query(&times).send().await?.error_for_status()?;
        let answer = answer.bytes().await?;
        let ms = asked.elapsed().as_secs_f64() * 1000.0;
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(Answer { series: answer["data"]["result"].as_array().map_or(0, Vec::len), ms })
    }

    /// Sends one request of samples.
    pub async fn write(&self, body: Vec<u8>) {
        let request = self
            .client
            .post(format!("{}/write", self.address))
            .header("Content-Type", remote_write::CONTENT_TYPE)
            .header("Content-Encoding", remote_write::CONTENT_ENCODING)
            .header(remote_write::VERSION_HEADER, remote_write::VERSION);
        let answer = request.body(body).send().await.expect("the server answers");
        assert!(answer.status().is_success(), "{} refused a request: {}", self.name, answer.status());
    }
}
