//! Whole routers in one process, with a webhook sink that remembers what it was told.

mod pair;
mod single;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex;
use reqwest::{Method, Url};
use runtime::{HttpClient, HttpClientConfig, Supervisor, bind, serve};
use serde_json::{Value, json};

use crate::app::{App, Options};
use crate::cluster::Timing;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until a condition holds.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "still not so after {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

type Behaviour = dyn Fn(&Value, usize) -> (StatusCode, Duration) + Send + Sync;

struct Inner {
    /// Every attempt, the refused ones too.
    attempts: Mutex<Vec<Value>>,
    delivered: Mutex<Vec<Value>>,
    behaviour: Box<Behaviour>,
}

/// A webhook.
struct Sink {
    inner: Arc<Inner>,
    url: String,
    _supervisor: Supervisor,
}

impl Sink {
    async fn start() -> Self {
        Self::behaving(|_, _| (StatusCode::OK, Duration::ZERO)).await
    }

    /// `behaviour` is asked with each body and the number of attempts before it.
    async fn behaving(behaviour: impl Fn(&Value, usize) -> (StatusCode, Duration) + Send + Sync + 'static) -> Self {
        let inner =
            Arc::new(Inner { attempts: Mutex::default(), delivered: Mutex::default(), behaviour: Box::new(behaviour) });
        let listener = bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}/", listener.local_addr().expect("has an address"));
        let supervisor = Supervisor::new();
        let router = Router::new().route("/", post(take)).with_state(inner.clone());
        serve(&supervisor, "sink", listener, router, Default::default());
        Self { inner, url, _supervisor: supervisor }
    }

    fn attempts(&self) -> usize {
        self.inner.attempts.lock().len()
    }

    /// What arrived: the group's `alertname`, the status and who sent it.
    fn delivered(&self) -> Vec<(String, String, String)> {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let read = |v: &Value| (text(&v["groupLabels"]["alertname"]), text(&v["status"]), text(&v["externalURL"]));
        self.inner.delivered.lock().iter().map(read).collect()
    }

    /// How often a group arrived with a status.
    fn count(&self, name: &str, status: &str) -> usize {
        self.delivered().iter().filter(|(n, s, _)| n == name && s == status).count()
    }

    async fn wait(&self, name: &str, status: &str, count: usize) {
        until(&format!("{count} x {name} {status}"), || async { (self.count(name, status) >= count).then_some(()) })
            .await;
    }
}

async fn take(State(inner): State<Arc<Inner>>, body: Bytes) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).expect("is JSON");
    let before = {
        let mut attempts = inner.attempts.lock();
        attempts.push(body.clone());
        attempts.len() - 1
    };
    let (status, delay) = (inner.behaviour)(&body, before);
    tokio::time::sleep(delay).await;
    if status.is_success() {
        inner.delivered.lock().push(body);
    }
    status
}

/// A configuration with one webhook; `route` may add keys to the root route, `more` sections.
fn config(sink: &Sink, route: &str, more: &str) -> String {
    format!(
        "route:\n  receiver: hook\n  group_by: [alertname]\n  group_wait: 200ms\n  group_interval: 1s\n  \
         repeat_interval: 1h\n{route}receivers:\n  - name: hook\n    webhook_configs: [{{url: '{}'}}]\n{more}",
        sink.url
    )
}

/// A running router and its client.
struct Node {
    app: App,
    client: HttpClient,
}

impl Node {
    async fn start(folder: &Path, config: &str, name: &str, cluster: Option<(&[String], Duration)>) -> Self {
        let config_file = folder.join("alertmanager.yml");
        std::fs::write(&config_file, config).expect("writes");
        let options = Options {
            config_file: Some(config_file),
            storage_path: folder.join("data"),
            listen_address: "127.0.0.1:0".to_owned(),
            external_url: Some(format!("http://{name}")),
            cluster_listen_address: cluster.map(|_| "127.0.0.1:0".to_owned()),
            cluster_peers: cluster.map(|(peers, _)| peers.to_vec()).unwrap_or_default(),
            cluster_peer_timeout: cluster.map_or(Duration::from_secs(15), |(_, timeout)| timeout),
        };
        let timing = Timing {
            heartbeat: Duration::from_millis(100),
            dead_after: Duration::from_secs(3),
            request_timeout: Duration::from_secs(2),
            settle_rounds: 3,
        };
        let mut app = App::build_with(options, timing).await.expect("builds");
        app.start();
        Self { app, client: HttpClientConfig::default().build().expect("builds") }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = Url::parse(&format!("http://{}{path}", self.app.address())).expect("a URL");
        let mut request = self.client.request(method, url).expect("a request");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("answers");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("reads");
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, value)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Reports an alert that fires.
    async fn fire(&self, name: &str) {
        let alert = json!([{ "labels": { "alertname": name, "severity": "page" }, "annotations": { "text": "x" } }]);
        assert_eq!(self.post("/api/v2/alerts", alert).await, (200, Value::String(String::new())));
    }

    /// Reports its end.
    async fn resolve(&self, name: &str) {
        let ends_at = crate_time(runtime::now());
        let alert = json!([{ "labels": { "alertname": name, "severity": "page" }, "endsAt": ends_at }]);
        assert_eq!(self.post("/api/v2/alerts", alert).await.0, 200);
    }

    /// The value of a series on `/metrics`, as written.
    async fn metric(&self, series: &str) -> Option<String> {
        let text = self.get("/metrics").await;
        let lines = text.as_str().expect("is text").lines();
        lines.filter_map(|l| l.strip_prefix(series)).map(|l| l.trim().to_owned()).next()
    }

    async fn has_alert(&self, name: &str) -> bool {
        let alerts = self.get("/api/v2/alerts").await;
        alerts.as_array().expect("a list").iter().any(|a| a["labels"]["alertname"] == name)
    }

    async fn stop(self) {
        self.app.stop(Duration::from_secs(10)).await;
    }

    /// As if the process were killed: nothing is told to anyone.
    async fn kill(self) {
        self.app.kill().await;
    }
}

fn crate_time(at: model::TimestampMs) -> String {
    jiff::Timestamp::from_millisecond(at.0).expect("is a time").to_string()
}
