//! A central as far as a comparison sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use disk::RealDisk;
use model::{Append, Batch, Hints, Labels, Queryable, Sample, SampleBuffer, Selection, TimeRange, TimestampMs};
use runtime::{HttpClientConfig, Metrics, ServerLimits, Supervisor, bind, serve};
use tsdb::{Store, StoreOptions};

use crate::peer::{Peer, PeerStatus};
use crate::{Comparer, ComparerOptions, Own, PeerConfig, PeersConfig};

/// A whole window begins here.
pub(crate) const T0: i64 = 1_700_000_400_000;
pub(crate) const WINDOW: i64 = 600_000;
/// Samples as they are compared: series, time, bits.
pub(crate) type Held = Vec<(String, i64, u64)>;

pub(crate) fn config() -> PeersConfig {
    PeersConfig { history: Duration::from_secs(3 * 3600), max_samples_per_second: u64::MAX, ..PeersConfig::default() }
}

/// Serves on a port of its own.
pub(crate) async fn served(router: Router) -> (SocketAddr, Supervisor) {
    let listener = bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has an address");
    let supervisor = Supervisor::new();
    serve(&supervisor, "http", listener, router, ServerLimits::default());
    (address, supervisor)
}

pub(crate) fn peer_at(address: SocketAddr) -> PeerConfig {
    PeerConfig {
        name: "other".to_owned(),
        url: format!("http://{address}").parse().expect("is a URL"),
        timeout: Duration::from_secs(30),
        client: HttpClientConfig::default(),
    }
}

pub(crate) struct Central {
    pub(crate) comparer: Comparer,
    pub(crate) store: Arc<Store>,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Metrics,
    /// The time, and up to when everything has arrived.
    pub(crate) now: Arc<AtomicI64>,
    pub(crate) watermark: Arc<AtomicI64>,
    _serving: Supervisor,
    pub(crate) folder: tempfile::TempDir,
}

impl Central {
    pub(crate) async fn start(config: PeersConfig, own: Own) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Arc::new(AtomicI64::new(T0 + 12 * WINDOW));
        let watermark = Arc::new(AtomicI64::new(i64::MAX));
        let read = |of: &Arc<AtomicI64>| {
            let of = of.clone();
            Arc::new(move || TimestampMs(of.load(Ordering::Relaxed)))
        };
        let opened = Store::open(Arc::new(RealDisk), &folder.path().join("data"), StoreOptions::default(), read(&now));
        let store = opened.expect("opens");
        let options = ComparerOptions {
            storage: store.clone(),
            sink: store.clone(),
            source_label: "region".to_owned(),
            watermark: read(&watermark),
            clock: read(&now),
        };
        let metrics = Metrics::new("central").expect("registers");
        // It began long before all that is compared.
        let after = now.swap(T0, Ordering::Relaxed);
        let comparer = Comparer::new(config, own, options, &metrics).expect("is made");
        now.store(after, Ordering::Relaxed);
        let (address, serving) = served(comparer.router()).await;
        Self { comparer, store, address, metrics, now, watermark, _serving: serving, folder }
    }

    /// Two that know each other, with the same clock.
    pub(crate) async fn pair(config: PeersConfig) -> [Self; 2] {
        let (a, b) = (Self::start(config.clone(), Own::default()).await, Self::start(config, Own::default()).await);
        a.meet_at(b.address);
        b.meet_at(a.address);
        [a, b]
    }

    pub(crate) fn meet_at(&self, address: SocketAddr) {
        let config = self.comparer.shared.plan().config.clone();
        let config = PeersConfig { centrals: vec![peer_at(address)], ..config };
        self.comparer.update(config, Own::default()).expect("takes it");
    }

    pub(crate) fn append(&self, samples: impl IntoIterator<Item = (Labels, i64, f64)>) {
        let mut batch = Batch::default();
        for (labels, at, value) in samples {
            batch.push(labels, Sample { timestamp: TimestampMs(at), value });
        }
        let report = self.store.append(&batch).expect("takes samples");
        assert!(report.refused.is_empty(), "{:?}", report.refused);
    }

    pub(crate) fn peer(&self) -> Arc<Peer> {
        self.comparer.shared.peers.read()[0].clone()
    }

    /// Compares once; what came of it.
    pub(crate) async fn compare(&self) -> PeerStatus {
        self.now.fetch_add(1000, Ordering::Relaxed);
        let (plan, peer) = (self.comparer.shared.plan(), self.peer());
        self.comparer.shared.meet(&plan, &peer).await;
        peer.status.lock().clone()
    }

    /// Everything it holds.
    pub(crate) fn held(&self) -> Held {
        let selection = Selection { matchers: &[], range: TimeRange::ALL, hints: Hints::default() };
        let mut held = Held::new();
        for series in self.store.select(&selection).expect("selects") {
            let mut samples = SampleBuffer::default();
            series.read(TimeRange::ALL, &mut samples).expect("reads");
            let labels = format!("{:?}", series.labels());
            held.extend(samples.timestamps.iter().zip(&samples.values).map(|(t, v)| (labels.clone(), *t, v.to_bits())));
        }
        held
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.metrics.render()).expect("is text");
        let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        let line = line.unwrap_or_else(|| panic!("{name} is not in:\n{text}"));
        line.rsplit_once(' ').and_then(|(_, value)| value.parse().ok()).expect("has a value")
    }
}

pub(crate) fn series(name: &str, region: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("region", region)])
}

/// Numbers that look random and are the same every time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
