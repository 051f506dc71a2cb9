//! What tests need to run tiers, routers and real exporters on loopback, and to wait for what they do.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tier::{App, Options, Role};

/// How long anything may take that happens by itself.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A folder of its own for every test, removed at its end.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("makes folders");
        std::fs::write(&path, text).expect("writes");
        path
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A tier in this process, with the folder that it stores in.
pub struct Started<R> {
    app: App<R>,
    _storage: Folder,
}

impl<R> std::ops::Deref for Started<R> {
    type Target = App<R>;

    fn deref(&self) -> &App<R> {
        &self.app
    }
}

/// Starts a tier in this process, on a port and in a folder of its own.
pub async fn start<R: Role>(config: Option<PathBuf>) -> Started<R> {
    let storage = Folder::new();
    let options = Options { config_file: config, ..Options::new("127.0.0.1:0", storage.path()) };
    let mut app = App::<R>::build(options).await.unwrap_or_else(|e| panic!("{} does not build: {e}", R::NAME));
    app.start().unwrap_or_else(|e| panic!("{} does not start: {e}", R::NAME));
    Started { app, _storage: storage }
}

/// Tries until `attempt` has something, or fails with its last complaint at the deadline.
pub async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(complaint) => assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}: {complaint}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One series of an answer with one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    pub labels: BTreeMap<String, String>,
    /// Seconds since the epoch.
    pub time: f64,
    pub value: f64,
}

impl Element {
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Asks for JSON below `/api/v1/`.
pub async fn api(address: SocketAddr, path: &str, parameters: &[(&str, &str)]) -> Result<serde_json::Value, String> {
    runtime::install_tls();
    let client = reqwest::Client::new();
    let request =
        client.get(format!("http://{address}/api/v1/{path}")).query(parameters).timeout(Duration::from_secs(10));
    let text = async { request.send().await?.text().await }.await.map_err(|e| e.to_string())?;
    let answer: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"].clone()),
        _ => Err(text),
    }
}

/// An instant query. Of a range selector's result, the last sample of each series.
pub async fn query(address: SocketAddr, expression: &str) -> Result<Vec<Element>, String> {
    let data = api(address, "query", &[("query", expression)]).await?;
    let element = |item: &serde_json::Value| {
        let labels = item["metric"].as_object().into_iter().flatten();
        let sample = item["values"].as_array().map_or(&item["value"], |all| &all[all.len() - 1]);
        Some(Element {
            labels: labels.map(|(n, v)| (n.clone(), v.as_str().unwrap_or_default().to_owned())).collect(),
            time: sample[0].as_f64()?,
            value: sample[1].as_str()?.parse().ok()?,
        })
    };
    let items = data["result"].as_array().ok_or_else(|| format!("{expression}: not a list of series: {data}"))?;
    Ok(items.iter().filter_map(element).collect())
}

/// The same, but an empty result is a complaint.
pub async fn query_some(address: SocketAddr, expression: &str) -> Result<Vec<Element>, String> {
    let found = query(address, expression).await?;
    if found.is_empty() { Err(format!("{expression}: nothing yet")) } else { Ok(found) }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("has an address").port()
}

/// A process that dies with its handle.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program; its output goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = std::fs::File::create(log).expect("makes a log");
        let errors = output.try_clone().expect("clones");
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Self { child: child.unwrap_or_else(|e| panic!("cannot start {name}: {e}; run `make test-peers`")), name }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, as kill(1) knows it.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "cannot signal {}", self.name);
    }

    /// Waits for its end by itself.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} did not end", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// etcd with one member.
pub fn start_etcd(folder: &Folder, client: u16, peer: u16) -> Process {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(folder.path().join("etcd"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"]);
    Process::start(&mut command, &folder.path().join("etcd.log"))
}

/// node_exporter.
pub fn start_node_exporter(folder: &Folder, port: u16) -> Process {
    let mut command = Command::new("prometheus-node-exporter");
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Process::start(&mut command, &folder.path().join("node_exporter.log"))
}

/// The highwater binary, built now if it is not up to date.
pub fn binary() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--locked", "--package", "highwater"]).current_dir(root());
            assert!(build.status().is_ok_and(|s| s.success()), "the binary does not build");
            // This test binary lies in target/PROFILE/deps.
            let own = std::env::current_exe().expect("has a path");
            own.ancestors().nth(2).expect("has a folder").join("highwater")
        })
        .clone()
}
