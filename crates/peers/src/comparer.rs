//! One comparison after another: ask each peer for its digests, repair what stays different.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use axum::Router;
use model::TimestampMs;
use parking_lot::RwLock;
use runtime::{CpuPool, HttpClientError, Metrics, MetricsError, Stop, Supervisor};
use tokio::sync::Notify;

use crate::config_section::PeersConfig;
use crate::digest::Digest;
use crate::error::PeerError;
use crate::metrics::PeerMetrics;
use crate::peer::{Handling, Pair, Peer};
use crate::repair::Repaired;
use crate::scope::Own;
use crate::server;
use crate::shared::{ComparerOptions, Plan, Shared, whole_ms};
use crate::survey::{BySource, Span};

/// Windows that are asked for at once; a peer that was just started has to read all of them.
const WINDOWS_AT_ONCE: i64 = 24;
/// Requests of peers that may wait while the store is read for others.
const MAX_WAITING: usize = 16;
/// Comparisons between two tries to append what the store refused for want of room.
const PATIENCE: i64 = 10;

/// Compares with its peers until the supervisor stops.
#[derive(Clone)]
pub struct Comparer {
    pub(crate) shared: Arc<Shared>,
    changed: Arc<Notify>,
}

/// A comparer that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ComparerError {
    /// Its metrics are registered already.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The client of a peer cannot be built.
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

impl Comparer {
    /// Starts comparing what `own` does not name. Without peers it only answers others.
    ///
    /// # Errors
    /// When metrics are registered already or a client cannot be built.
    pub fn start(
        config: PeersConfig,
        own: Own,
        options: ComparerOptions,
        metrics: &Metrics,
        supervisor: &Supervisor,
    ) -> Result<Self, ComparerError> {
        let comparer = Self::new(config, own, options, metrics)?;
        let running = comparer.clone();
        supervisor.spawn("peers", move |stop| running.run(stop));
        Ok(comparer)
    }

    /// One that only answers.
    pub(crate) fn new(
        config: PeersConfig,
        own: Own,
        options: ComparerOptions,
        metrics: &Metrics,
    ) -> Result<Self, ComparerError> {
        let alone = PeersConfig { centrals: Vec::new(), ..config.clone() };
        let plan = Plan::new(alone, &options.source_label, own.clone(), None);
        let shared = Arc::new(Shared {
            metrics: PeerMetrics::new(metrics)?,
            pool: CpuPool::new(1, MAX_WAITING),
            plan: RwLock::new(Arc::new(plan)),
            peers: RwLock::default(),
            // Seeded anew in every process.
            identity: format!("{:016x}", RandomState::new().hash_one("identity")),
            began: (options.clock)(),
            options,
        });
        let comparer = Self { shared, changed: Arc::default() };
        comparer.update(config, own)?;
        Ok(comparer)
    }

    /// Takes another configuration. What is known of peers that stay is kept.
    ///
    /// # Errors
    /// When a client cannot be built; nothing has changed then.
    pub fn update(&self, config: PeersConfig, own: Own) -> Result<(), HttpClientError> {
        let before = self.shared.peers.read().clone();
        let kept = |wanted: &crate::PeerConfig| before.iter().find(|peer| peer.config == *wanted).cloned();
        let peer = |wanted: &crate::PeerConfig| match kept(wanted) {
            Some(peer) => Ok(peer),
            None => Peer::new(wanted.clone()).map(Arc::new),
        };
        let after = config.centrals.iter().map(peer).collect::<Result<Vec<_>, _>>()?;
        let names = |peers: &[Arc<Peer>]| peers.iter().map(|p| p.config.name.clone()).collect::<BTreeSet<_>>();
        let (old, new) = (names(&before), names(&after));
        old.difference(&new).for_each(|name| self.shared.metrics.end(name));
        new.difference(&old).for_each(|name| self.shared.metrics.begin(name));
        let current = self.shared.plan();
        let plan = Plan::new(config, &self.shared.options.source_label, own, Some(&current));
        *self.shared.plan.write() = Arc::new(plan);
        *self.shared.peers.write() = after;
        self.changed.notify_one();
        Ok(())
    }

    /// `GET /api/v1/peers`, `/api/v1/peers/digest` and `/api/v1/peers/samples`.
    pub fn router(&self) -> Router {
        server::router(self.shared.clone())
    }

    async fn run(self, stop: Stop) {
        loop {
            let plan = self.shared.plan();
            let peers = self.shared.peers.read().clone();
            for peer in peers {
                tokio::select! {
                    () = self.shared.meet(&plan, &peer) => {}
                    () = stop.requested() => return,
                }
            }
            tokio::select! {
                _ = stop.sleep(plan.config.interval) => {}
                () = self.changed.notified() => {}
            }
            if stop.is_requested() {
                return;
            }
        }
    }
}

/// What a comparison has looked at.
struct Compared {
    windows: usize,
    until: TimestampMs,
}

impl Shared {
    /// One comparison with one peer, and what is told about it.
    pub(crate) async fn meet(&self, plan: &Plan, peer: &Peer) {
        let name = peer.config.name.as_str();
        match self.compare(plan, peer).await {
            Ok(Some(compared)) => self.tell(peer, &compared),
            Ok(None) => {
                if !std::mem::replace(&mut peer.status.lock().is_self, true) {
                    tracing::info!(peer = name, "this is the process itself; not compared");
                    self.metrics.end(name);
                }
            }
            Err(error) => {
                let text = error.to_string();
                let mut status = peer.status.lock();
                if status.error.as_ref() != Some(&text) {
                    tracing::warn!(peer = name, %error, "cannot compare with the peer; the next comparison tries again");
                }
                status.error = Some(text);
                status.complete_since = None;
                self.metrics.up.with_label_values(&[name]).set(0);
                self.metrics.complete.with_label_values(&[name]).set(0);
                self.tell_divergence(peer, status.differs_since);
            }
        }
    }

    fn tell(&self, peer: &Peer, compared: &Compared) {
        let (name, now) = (peer.config.name.as_str(), (self.options.clock)());
        let (is_complete, since, differing) = {
            let differences = peer.differences.lock();
            // What came while the process was away is known once the window in which it began has been compared.
            let is_complete = differences.is_complete() && compared.until >= self.began;
            (is_complete, differences.since(), differences.0.len())
        };
        let mut status = peer.status.lock();
        if is_complete && status.complete_since.is_none() {
            tracing::info!(peer = name, "nothing that the peer holds is missing here");
        }
        status.error = None;
        status.last_comparison = Some(now);
        status.compared_until = Some(compared.until);
        status.complete_since = if is_complete { status.complete_since.or(Some(now)) } else { None };
        status.differs_since = since;
        status.windows_compared = compared.windows;
        status.windows_differing = differing;
        self.metrics.up.with_label_values(&[name]).set(1);
        self.metrics.complete.with_label_values(&[name]).set(i64::from(is_complete));
        self.metrics.differing.with_label_values(&[name]).set(i64::try_from(differing).unwrap_or(i64::MAX));
        self.metrics.last.with_label_values(&[name]).set(now.as_seconds());
        self.tell_divergence(peer, since);
    }

    fn tell_divergence(&self, peer: &Peer, since: Option<TimestampMs>) {
        let age_ms = since.map_or(0, |since| ((self.options.clock)() - since).max(0));
        self.metrics.divergence.with_label_values(&[peer.config.name.as_str()]).set(age_ms as f64 / 1000.0);
    }

    /// Compares all settled windows, the newest first, and repairs. `None` when the peer is this process.
    async fn compare(&self, plan: &Plan, peer: &Peer) -> Result<Option<Compared>, PeerError> {
        let whole = self.compared(plan);
        let mut compared = Compared { windows: 0, until: TimestampMs(whole.start_ms) };
        let mut end_ms = whole.end_ms;
        // Once at least, so that who answers is known even where nothing is settled yet.
        loop {
            let start_ms = (end_ms - WINDOWS_AT_ONCE * plan.window_ms).max(whole.start_ms);
            let asked = Span { start_ms, end_ms };
            let answer = peer.windows(asked, plan.window_ms).await?;
            let (ours, theirs) = (self.speaker(plan), &answer.speaker);
            if theirs.identity == ours.identity {
                return Ok(None);
            }
            if theirs.window_ms != ours.window_ms {
                return Err(PeerError::OtherWindow { ours: ours.window_ms, theirs: theirs.window_ms });
            }
            if theirs.scope != ours.scope {
                return Err(PeerError::OtherScope);
            }
            let settled_ms = theirs.settled_until_ms.clamp(start_ms, end_ms);
            let span = Span { start_ms, end_ms: settled_ms - (settled_ms - start_ms) % plan.window_ms };
            let windows = answer.windows.into_iter().map(|window| (window.start_ms, window.sources)).collect();
            self.settle(plan, peer, span, windows).await?;
            compared.windows += span.windows(plan.window_ms).count();
            compared.until = compared.until.max(TimestampMs(span.end_ms));
            end_ms = start_ms;
            if end_ms <= whole.start_ms {
                break;
            }
        }
        // What is too old, or not settled any more, is not compared.
        peer.differences.lock().0.retain(|(at, _), _| (whole.start_ms..compared.until.0).contains(at));
        Ok(Some(compared))
    }

    /// Compares the windows of a span and repairs what differs as it did the last time.
    async fn settle(
        &self,
        plan: &Plan,
        peer: &Peer,
        span: Span,
        theirs: BTreeMap<i64, BySource>,
    ) -> Result<(), PeerError> {
        let nothing = BySource::new();
        for (at, ours) in self.windows(plan, span).await?.into_iter().rev() {
            let theirs = theirs.get(&at).unwrap_or(&nothing);
            let pairs = differing(&ours, theirs);
            let now = (self.options.clock)();
            let to_repair: Vec<(String, Pair)> = {
                let mut differences = peer.differences.lock();
                differences.0.retain(|(start, source), _| *start != at || pairs.contains_key(source));
                pairs.into_iter().filter(|(source, pair)| differences.note((at, source.clone()), *pair, now)).collect()
            };
            if !to_repair.is_empty() {
                self.repair_window(plan, peer, Span { start_ms: at, end_ms: at + plan.window_ms }, to_repair).await?;
            }
        }
        Ok(())
    }

    async fn repair_window(
        &self,
        plan: &Plan,
        peer: &Peer,
        span: Span,
        to_repair: Vec<(String, Pair)>,
    ) -> Result<(), PeerError> {
        let mut done = Vec::new();
        for (source, pair) in to_repair {
            let repaired = self.repair(plan, peer, &source, span, pair).await?;
            self.count(peer, &source, span, repaired);
            done.push((source, pair, repaired));
        }
        let now = (self.options.clock)();
        let ours = self.windows(plan, span).await?.pop().map(|(_, by_source)| by_source).unwrap_or_default();
        let mut differences = peer.differences.lock();
        for (source, pair, repaired) in done {
            let ours = ours.get(&source).copied().unwrap_or_default();
            let key = (span.start_ms, source);
            if ours == pair.theirs {
                differences.0.remove(&key);
            } else if let Some(known) = differences.0.get_mut(&key) {
                let again = now + PATIENCE.saturating_mul(whole_ms(plan.config.interval));
                known.pair = Pair { ours, ..pair };
                known.handling = match repaired {
                    Repaired { has_moved: true, .. } => Handling::Seen,
                    Repaired { refused: 1.., .. } => Handling::Refused { again },
                    _ => Handling::Settled,
                };
            }
        }
        Ok(())
    }

    fn count(&self, peer: &Peer, source: &str, span: Span, repaired: Repaired) {
        let name = peer.config.name.as_str();
        let refused = repaired.refused + repaired.unkept;
        self.metrics.repaired.with_label_values(&[name]).inc_by(repaired.samples);
        self.metrics.conflicts.with_label_values(&[name]).inc_by(repaired.conflicts);
        self.metrics.refused.with_label_values(&[name]).inc_by(refused);
        let mut status = peer.status.lock();
        status.repaired += repaired.samples;
        status.conflicts += repaired.conflicts;
        status.refused += refused;
        let Repaired { samples, conflicts, .. } = repaired;
        tracing::info!(
            peer = name,
            source,
            window_ms = span.start_ms,
            samples,
            conflicts,
            refused,
            "a window was repaired"
        );
    }
}

/// The sources whose digests differ.
fn differing(ours: &BySource, theirs: &BySource) -> BTreeMap<String, Pair> {
    let sources: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let of = |side: &BySource, source: &String| side.get(source).copied().unwrap_or(Digest::default());
    let pairs = sources.into_iter().map(|source| {
        let pair = Pair { ours: of(ours, source), theirs: of(theirs, source) };
        (source.clone(), pair)
    });
    pairs.filter(|(_, pair)| pair.ours != pair.theirs).collect()
}
