//! The other routers of a pair: who lives, what they have yet to hear, and whose turn it is to notify.
//!
//! State spreads by acknowledged push when it changes, and by pull where digests keep differing; of two versions of a
//! record the younger counts. Nothing here can keep a router from notifying: whoever hears nobody sends (fail open).
//!
//! Non-goals: no consensus, no authentication (as Alertmanager's gossip: keep the port inside the pair's network).

mod claims;
mod members;
mod outbox;
mod server;
mod tasks;
mod wire;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use futures_util::future::join_all;
use parking_lot::Mutex;
use runtime::{HttpClient, HttpClientConfig, HttpClientError, Supervisor};
use tokio::sync::{Notify, watch};

use crate::engine::dedup::LogKey;
use crate::metrics::ClusterMetrics;
use crate::shared::Core;
use claims::Claims;
use members::Members;
use wire::{Heartbeat, Push};

/// The pace of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// A router that was silent for so long is dead.
    pub dead_after: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How often a starting router tries to reach its peers before it goes on alone.
    pub settle_rounds: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            dead_after: Duration::from_secs(5),
            request_timeout: Duration::from_secs(3),
            settle_rounds: 3,
        }
    }
}

/// Where and with whom.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Where this router's peers reach it; none where it stands alone.
    pub listen: Option<SocketAddr>,
    /// `HOST:PORT` of other routers.
    pub peers: Vec<String>,
    /// How long each router waits for every router before it.
    pub peer_timeout: Duration,
    /// The pace.
    pub timing: Timing,
}

/// This router's view of its peers. Without a listening address it has none and every turn is its own.
pub struct Cluster {
    id: String,
    options: ClusterOptions,
    core: Arc<Core>,
    members: Mutex<Members>,
    claims: Mutex<Claims>,
    claims_changed: Notify,
    outbox_filled: Notify,
    pulls: Mutex<Vec<tasks::Pull>>,
    pull_wanted: Notify,
    settled: watch::Sender<bool>,
    /// When the last round of heartbeats ended.
    beaten_at: Mutex<Instant>,
    leaving: AtomicBool,
    client: HttpClient,
    metrics: ClusterMetrics,
}

impl Cluster {
    /// A cluster of one until [`Cluster::start`] finds others.
    ///
    /// # Errors
    /// When no HTTP client can be built.
    pub fn new(options: ClusterOptions, core: Arc<Core>, metrics: ClusterMetrics) -> Result<Self, HttpClientError> {
        let id = new_id();
        let members = Members::new(id.clone(), &options.peers, options.timing.dead_after);
        let alone = options.listen.is_none();
        metrics.enabled.set(i64::from(!alone));
        metrics.members.set(1);
        Ok(Self {
            id,
            core,
            members: Mutex::new(members),
            claims: Mutex::default(),
            claims_changed: Notify::new(),
            outbox_filled: Notify::new(),
            pulls: Mutex::default(),
            pull_wanted: Notify::new(),
            settled: watch::Sender::new(alone),
            beaten_at: Mutex::new(Instant::now()),
            leaving: AtomicBool::new(false),
            client: HttpClientConfig::default().build()?,
            metrics,
            options,
        })
    }

    /// The endpoints that peers call.
    pub fn router(self: &Arc<Self>) -> Router {
        server::router(self.clone())
    }

    /// Starts heartbeats, pushes and pulls; does nothing for a router that stands alone.
    pub fn start(self: &Arc<Self>, supervisor: &Supervisor) {
        if self.is_enabled() {
            tasks::start(self, supervisor);
        }
    }

    /// Whether there may be peers.
    pub fn is_enabled(&self) -> bool {
        self.options.listen.is_some()
    }

    /// This router's identity.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where peers reach this router; empty where it stands alone.
    pub fn address(&self) -> String {
        self.options.listen.map(|a| a.to_string()).unwrap_or_default()
    }

    /// Identity and address of every live peer.
    pub fn peers(&self) -> Vec<(String, String)> {
        self.members.lock().live(Instant::now()).into_iter().map(|p| (p.id, p.address)).collect()
    }

    /// Whether the start is over: every configured peer was heard, or could not be reached several times. A process
    /// that stood still (a frozen machine, a debugger) starts anew: its peers spoke for it meanwhile.
    pub fn is_settled(&self) -> bool {
        if self.has_stood_still() {
            self.settled.send_replace(false);
        }
        *self.settled.borrow()
    }

    /// Waits for that.
    pub async fn wait_settled(&self) {
        while !self.is_settled() {
            // Fails only when the sender is gone, and it is ours.
            let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
        }
    }

    /// A round of heartbeats ended. A round that froze on its way counts as having stood still.
    fn beaten(&self) {
        if self.has_stood_still() {
            self.settled.send_replace(false);
        }
        *self.beaten_at.lock() = Instant::now();
    }

    /// As if nothing had run for so long.
    #[cfg(test)]
    pub(crate) fn stand_still(&self, lasting: Duration) {
        let mut beaten_at = self.beaten_at.lock();
        *beaten_at = beaten_at.checked_sub(lasting).expect("the machine runs longer than that");
    }

    /// Whether the heartbeats paused for so long that the peers took this router for dead.
    fn has_stood_still(&self) -> bool {
        self.is_enabled() && self.beaten_at.lock().elapsed() > self.options.timing.dead_after
    }

    /// How long this router leaves the word to the routers before it.
    pub fn turn_wait(&self) -> Duration {
        let position = self.members.lock().position(Instant::now());
        self.options.peer_timeout.saturating_mul(u32::try_from(position).unwrap_or(u32::MAX))
    }

    fn live_ids(&self) -> Vec<String> {
        self.peers().into_iter().map(|(id, _)| id).collect()
    }

    /// Waits while a live peer is sending this notification itself.
    pub async fn wait_unclaimed(&self, key: &LogKey) {
        loop {
            let changed = self.claims_changed.notified();
            let live = self.live_ids();
            if !self.claims.lock().is_taken(key, &live, Instant::now()) {
                return;
            }
            // Claims also end without a message: by time, or with their owner.
            let _ = tokio::time::timeout(Duration::from_millis(250), changed).await;
        }
    }

    /// Tells the peers that this router is about to send; also renews that. False when one of them is sending.
    pub async fn claim(&self, key: &LogKey) -> bool {
        let live = self.live_ids();
        if !self.claims.lock().begin(key, &live, Instant::now()) {
            return false;
        }
        let push = Push { id: self.id.clone(), claims: vec![key.clone()], ..Push::default() };
        let granted = self.tell_all(&push).await;
        if !granted {
            self.claims.lock().end(key);
        }
        granted
    }

    /// Tells the peers that this router did not deliver and that another may try.
    pub async fn release(&self, key: &LogKey) {
        self.claims.lock().end(key);
        self.tell_all(&Push { id: self.id.clone(), released: vec![key.clone()], ..Push::default() }).await;
    }

    /// This router has sent and logged: the entry goes out and ends the claim at every peer that receives it.
    pub fn sent(&self, key: &LogKey) {
        self.claims.lock().end(key);
        self.post(|outbox| outbox.log(key));
    }

    /// An alert changed here.
    pub fn alert_changed(&self, fingerprint: u64) {
        self.post(|outbox| outbox.alert(fingerprint));
    }

    /// A silence changed here.
    pub fn silence_changed(&self, id: &str) {
        self.post(|outbox| outbox.silence(id));
    }

    fn post(&self, note: impl Fn(&mut outbox::Outbox)) {
        if self.is_enabled() {
            self.members.lock().post(Instant::now(), note);
            self.outbox_filled.notify_one();
        }
    }

    /// Sends a message to every live peer at once; true unless one of them refused a claim. Peers that do not answer
    /// refuse nothing.
    async fn tell_all(&self, push: &Push) -> bool {
        let peers = self.peers();
        let answers = join_all(peers.iter().map(|(_, address)| self.push(address, push))).await;
        answers.into_iter().flatten().all(|answer| answer.refused.is_empty())
    }

    fn heartbeat(&self, address: String) -> Heartbeat {
        let now = runtime::now();
        Heartbeat {
            id: self.id.clone(),
            address,
            now,
            digests: self.core.state.lock().digests(now),
            peers: self.peers().into_iter().map(|(_, address)| address).collect(),
            leaving: self.leaving.load(Ordering::Acquire),
        }
    }

    /// Takes note of what a peer says of itself, in a call or in an answer; `address` is where it is reached.
    fn heard(&self, heartbeat: &Heartbeat, address: &str) {
        if heartbeat.leaving {
            self.members.lock().left(&heartbeat.id);
            return;
        }
        let now = Instant::now();
        let wall = runtime::now();
        let mine = self.address();
        let new = {
            let mut members = self.members.lock();
            let new = members.heard(&heartbeat.id, address, now);
            let others: Vec<_> = heartbeat.peers.iter().filter(|a| **a != mine).cloned().collect();
            members.heard_of(&others, now);
            new
        };
        if heartbeat.id == self.id {
            return;
        }
        if new {
            tracing::info!(peer = %heartbeat.id, address, "another alert router is there");
        }
        let skew_ms = wall - heartbeat.now;
        self.metrics.clock_skew.set(skew_ms as f64 / 1000.0);
        if new && skew_ms.abs() > 2000 {
            tracing::warn!(address, skew_ms, "the clocks of two alert routers disagree; synchronise them");
        }
        let ours = self.core.state.lock().digests(wall);
        let gaps = self.members.lock().compare(&heartbeat.id, &heartbeat.digests, &ours, now);
        if let Some(gaps) = gaps {
            self.want_pull(address, gaps);
        }
    }
}

/// 26 characters, the first of which grow with time: a router that was started later has a greater identity and comes
/// after the others, so that a restart does not take the word from a router that knows more.
fn new_id() -> String {
    let random = format!("{:016X}", random_u64());
    format!("{:012X}{}", runtime::now().0.max(0), random.get(..14).unwrap_or(&random))
}

/// A random number from the operating system's seed, by way of the standard hash maps.
pub fn random_u64() -> u64 {
    RandomState::new().hash_one(0u8)
}
