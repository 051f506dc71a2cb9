//! A store that remembers, a target that does as it is told, and waiting with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use config::{Document, Global};
use model::{Append, AppendError, AppendReport, Batch, MetricMetadata, Row};
use parking_lot::Mutex;
use runtime::{Metrics, Supervisor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use sources::Inputs;

use crate::{ScrapeConfig, ScrapeManager, ScrapeOptions, TargetStatus};

/// Decodes one valid entry of `scrape_configs`.
pub(crate) fn scrape_config(yaml: &str) -> ScrapeConfig {
    let document = Document::parse("/etc/c.yml".as_ref(), yaml).expect("is YAML");
    let config = ScrapeConfig::decode(&document.root(), &Global::default()).expect("decodes");
    document.finish().unwrap_or_else(|e| panic!("{yaml}: {e}"));
    config
}

/// Waits until `found` finds something, for at most 20 seconds.
pub(crate) async fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Remembers everything, in order; can be told to take nothing.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) full: AtomicBool,
    rows: Mutex<Vec<Row>>,
    metadata: Mutex<Vec<MetricMetadata>>,
}

impl Append for Store {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(AppendError::Unwritable("no space left on purpose".to_owned()));
        }
        self.rows.lock().extend(batch.rows.iter().cloned());
        self.metadata.lock().extend(batch.metadata.iter().cloned());
        Ok(AppendReport { appended: batch.rows.len(), ..AppendReport::default() })
    }
}

impl Store {
    /// The values of every series of a metric that `instance` has, `stale` for markers, in order of arrival.
    pub(crate) fn values(&self, metric: &str, instance: &str) -> Vec<String> {
        let rows = self.rows.lock();
        let wanted = |r: &&Row| r.labels.metric_name() == metric && r.labels.get("instance") == Some(instance);
        let show = |r: &Row| match model::is_stale(r.sample.value) {
            true => "stale".to_owned(),
            false => r.sample.value.to_string(),
        };
        rows.iter().filter(wanted).map(show).collect()
    }

    pub(crate) fn last(&self, metric: &str, instance: &str) -> Option<String> {
        self.values(metric, instance).pop()
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.lock().clone()
    }

    pub(crate) fn metadata(&self) -> Vec<MetricMetadata> {
        self.metadata.lock().clone()
    }

    /// Waits until the last value of a metric of `instance` is `want`.
    pub(crate) async fn wait_for_last(&self, metric: &str, instance: &str, want: &str) {
        wait_for(&format!("{metric} {want} of {instance}"), || {
            (self.last(metric, instance).as_deref() == Some(want)).then_some(())
        })
        .await;
    }
}

/// What a target does with a connection after it has read the request.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Writes these bytes and closes.
    Answer(Vec<u8>),
    /// Writes these bytes and then says nothing more.
    Hang(Vec<u8>),
    /// Writes these bytes again and again.
    Drip(Vec<u8>),
    /// Closes with a reset instead of an orderly end.
    Reset,
}

impl Behaviour {
    /// A good answer.
    pub(crate) fn body(body: &str) -> Self {
        Self::with_headers("Content-Type: text/plain; version=0.0.4", body.as_bytes())
    }

    pub(crate) fn with_headers(headers: &str, body: &[u8]) -> Self {
        let head =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{headers}\r\nContent-Length: {}\r\n\r\n", body.len());
        Self::Answer([head.as_bytes(), body].concat())
    }
}

/// A target on a port of its own.
pub(crate) struct FakeTarget {
    pub(crate) address: String,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeTarget {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeTarget {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address").to_string();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (how, seen) = (behaviour.clone(), requests.clone());
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let how = how.lock().clone();
                connections.spawn(behave(stream, how, seen.clone()));
            }
        });
        Self { address, behaviour, requests, server }
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    pub(crate) fn last_request(&self) -> Option<String> {
        self.requests.lock().last().cloned()
    }

    pub(crate) fn request_count(&self) -> usize {
        self.requests.lock().len()
    }
}

async fn behave(mut stream: TcpStream, how: Behaviour, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    seen.lock().push(String::from_utf8_lossy(&request).into_owned());
    // The other end may have hung up; that is its business.
    match how {
        Behaviour::Answer(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Behaviour::Hang(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.read_u8().await;
        }
        Behaviour::Drip(bytes) => while stream.write_all(&bytes).await.is_ok() {},
        Behaviour::Reset => {
            let _ = stream.set_zero_linger();
        }
    }
}

/// A manager with its store and its owner.
pub(crate) struct Server {
    pub(crate) manager: ScrapeManager,
    pub(crate) store: Arc<Store>,
    pub(crate) metrics: Metrics,
    pub(crate) supervisor: Supervisor,
}

impl Server {
    pub(crate) fn start(configs: Vec<ScrapeConfig>) -> Self {
        let (store, supervisor) = (Arc::new(Store::default()), Supervisor::new());
        let metrics = Metrics::new("test").expect("registers");
        let options =
            ScrapeOptions { seed: 7, external_host: Some("edge.example".to_owned()), inputs: Inputs::default() };
        let manager = ScrapeManager::start(configs, options, store.clone(), &metrics, &supervisor).expect("starts");
        Self { manager, store, metrics, supervisor }
    }

    pub(crate) fn target(&self, instance: &str) -> Option<TargetStatus> {
        self.manager.targets().active.into_iter().find(|t| t.labels.get("instance") == Some(instance))
    }

    pub(crate) async fn stop(self) -> Arc<Store> {
        self.supervisor.stop(Duration::from_secs(10)).await;
        assert_eq!(self.supervisor.failed(), None);
        self.store
    }
}
