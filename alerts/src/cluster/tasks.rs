//! Heartbeats, pushes and pulls: what this router asks of its peers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::{Method, Url};
use runtime::{Stop, Supervisor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cluster;
use super::members::{Gaps, Peer};
use super::outbox::Outbox;
use super::wire::{HEARTBEAT, Heartbeat, MAX_BODY_BYTES, PULL, PUSH, Push, PushAnswer};
use crate::engine::replica::{Page, PageRequest, Records};
use crate::engine::state::State;

/// A push is cut into messages of about this size.
const PUSH_BYTES: usize = 2 << 20;
const PUSH_RECORDS: usize = 1000;
/// How long a stopping router tries to deliver its last news.
const FAREWELL: Duration = Duration::from_secs(2);

/// Records to fetch from a peer.
pub struct Pull {
    address: String,
    gaps: Gaps,
}

/// Starts the three tasks.
pub fn start(cluster: &Arc<Cluster>, supervisor: &Supervisor) {
    let (a, b, c) = (cluster.clone(), cluster.clone(), cluster.clone());
    supervisor.spawn("alert-cluster-pull", |stop| async move { a.pull_loop(stop).await });
    supervisor.spawn("alert-cluster-push", |stop| async move { b.push_loop(stop).await });
    supervisor.spawn("alert-cluster-heartbeat", |stop| async move { c.heartbeat_loop(stop).await });
}

impl Cluster {
    async fn heartbeat_loop(&self, stop: Stop) {
        self.settle(&stop).await;
        while stop.sleep(self.options.timing.heartbeat).await {
            if self.is_settled() {
                self.beat_all().await;
            } else {
                self.settle(&stop).await;
            }
            self.members.lock().forget_silent(Instant::now());
        }
        self.leaving.store(true, Ordering::Release);
        let _ = tokio::time::timeout(FAREWELL, self.beat_all()).await;
    }

    /// Looks for the configured peers and takes over what they hold, so that a router that starts beside a running one
    /// does not say again what was said.
    async fn settle(&self, stop: &Stop) {
        for round in 0..self.options.timing.settle_rounds {
            if round > 0 && !stop.sleep(self.options.timing.heartbeat).await {
                return;
            }
            self.beat_all().await;
            if self.members.lock().failed(Instant::now()) == 0 {
                break;
            }
        }
        for (_, address) in self.peers() {
            if let Err(error) = self.fetch(&address, Gaps::ALL).await {
                tracing::warn!(
                    address,
                    error,
                    "cannot take over the state of another alert router; trying again later"
                );
            }
        }
        tracing::info!(peers = self.peers().len(), "alert router cluster settled");
        // Taking over a large state is no standing still.
        self.beaten();
        self.settled.send_replace(true);
    }

    async fn beat_all(&self) {
        let addresses = self.members.lock().addresses();
        join_all(addresses.iter().map(|address| self.beat(address))).await;
        self.beaten();
        let (members, failed, position) = {
            let members = self.members.lock();
            let now = Instant::now();
            (members.live(now).len() + 1, members.failed(now), members.position(now))
        };
        self.metrics.members.set(members as i64);
        self.metrics.failed_peers.set(failed as i64);
        self.metrics.position.set(position as i64);
    }

    async fn beat(&self, address: &str) {
        let own = self.heartbeat(self.address_for(address).await);
        match self.call::<_, Heartbeat>(address, HEARTBEAT, &own).await {
            Ok(theirs) => self.heard(&theirs, address),
            Err(error) => tracing::debug!(address, error, "another alert router does not answer"),
        }
    }

    /// This router's address as a peer sees it: where we listen everywhere, the address our packets to it come from.
    async fn address_for(&self, peer: &str) -> String {
        let Some(listen) = self.options.listen.filter(|a| a.ip().is_unspecified()) else { return self.address() };
        let route = async {
            let socket = tokio::net::UdpSocket::bind((listen.ip(), 0)).await?;
            // Nothing is sent: connecting only looks up the route.
            socket.connect(peer).await?;
            socket.local_addr()
        };
        match route.await {
            Ok(local) => std::net::SocketAddr::new(local.ip(), listen.port()).to_string(),
            Err(_) => self.address(),
        }
    }

    async fn push_loop(&self, stop: Stop) {
        loop {
            tokio::select! {
                () = self.outbox_filled.notified() => {}
                () = stop.requested() => break,
            }
            if !self.push_outboxes().await && !stop.sleep(self.options.timing.heartbeat).await {
                break;
            }
        }
        let _ = tokio::time::timeout(FAREWELL, self.push_outboxes()).await;
    }

    /// Delivers what waits; false when something could not be delivered and waits again.
    async fn push_outboxes(&self) -> bool {
        let waiting = self.members.lock().take_outboxes(Instant::now());
        let results = join_all(waiting.into_iter().map(|(peer, outbox)| self.push_outbox(peer, outbox))).await;
        let delivered = results.into_iter().all(|ok| ok);
        if !delivered {
            self.outbox_filled.notify_one();
        }
        delivered
    }

    async fn push_outbox(&self, peer: Peer, mut outbox: Outbox) -> bool {
        while !outbox.is_empty() {
            let batch = outbox.take_batch(PUSH_RECORDS);
            let (records, left) = gather(&self.core.state.lock(), batch.clone());
            outbox.absorb(left);
            let push = Push { id: self.id.clone(), records, ..Push::default() };
            if let Err(error) = self.push(&peer.address, &push).await {
                tracing::warn!(address = peer.address, error, "cannot push to another alert router; trying again");
                outbox.absorb(batch);
                self.members.lock().restore(&peer.address, outbox);
                return false;
            }
        }
        true
    }

    /// Sends one message to one peer.
    pub(super) async fn push(&self, address: &str, push: &Push) -> Result<PushAnswer, String> {
        let result = self.call(address, PUSH, push).await;
        self.metrics.pushes.with_label_values(&[if result.is_ok() { "delivered" } else { "failed" }]).inc();
        result
    }

    /// Notes that a peer holds records that we do not.
    pub(super) fn want_pull(&self, address: &str, gaps: Gaps) {
        let mut pulls = self.pulls.lock();
        if !pulls.iter().any(|p| p.address == address) {
            pulls.push(Pull { address: address.to_owned(), gaps });
            self.pull_wanted.notify_one();
        }
    }

    async fn pull_loop(&self, stop: Stop) {
        loop {
            tokio::select! {
                () = self.pull_wanted.notified() => {}
                () = stop.requested() => return,
            }
            let pulls = std::mem::take(&mut *self.pulls.lock());
            for pull in pulls {
                let result = tokio::select! {
                    result = self.fetch(&pull.address, pull.gaps) => result,
                    () = stop.requested() => return,
                };
                match result {
                    Ok(news) => tracing::info!(address = pull.address, news, "repaired a gap between alert routers"),
                    Err(error) => tracing::warn!(address = pull.address, error, "cannot repair a gap; trying later"),
                }
            }
        }
    }

    /// Takes over every record of the wanted kinds, page by page. Returns how many were news.
    async fn fetch(&self, address: &str, gaps: Gaps) -> Result<usize, String> {
        let wanted = [
            (gaps.silences, PageRequest::Silences(None)),
            (gaps.log, PageRequest::Log(None)),
            // Last: an alert may make a group due, and what was said of it must be known by then.
            (gaps.alerts, PageRequest::Alerts(None)),
        ];
        let mut news = 0;
        for (_, first) in wanted.into_iter().filter(|(wanted, _)| *wanted) {
            let mut request = Some(first);
            while let Some(this) = request {
                let page: Page = self.call(address, PULL, &this).await?;
                request = this.next(&page);
                news += self.core.merge(page.records);
            }
        }
        self.metrics.pulled_records.inc_by(news as u64);
        Ok(news)
    }

    async fn call<T: Serialize, A: DeserializeOwned>(&self, address: &str, path: &str, body: &T) -> Result<A, String> {
        let url = Url::parse(&format!("http://{address}{path}")).map_err(|e| format!("not HOST:PORT: {e}"))?;
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        let exchange = async {
            let request = self.client.request(Method::POST, url).map_err(|e| e.to_string())?;
            let request = request.header("content-type", "application/json").body(body);
            let mut answer = request.send().await.map_err(|e| e.to_string())?;
            if !answer.status().is_success() {
                return Err(format!("answered {}", answer.status()));
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = answer.chunk().await.map_err(|e| e.to_string())? {
                if bytes.len() + chunk.len() > 2 * MAX_BODY_BYTES {
                    return Err("the answer is too large".to_owned());
                }
                bytes.extend_from_slice(&chunk);
            }
            serde_json::from_slice(&bytes).map_err(|e| format!("not an answer of an alert router: {e}"))
        };
        let timeout = self.options.timing.request_timeout;
        tokio::time::timeout(timeout, exchange).await.map_err(|_| format!("no answer within {timeout:?}"))?
    }
}

/// The records an outbox names, as they are now; what does not fit is handed back.
fn gather(state: &State, outbox: Outbox) -> (Records, Outbox) {
    let (mut records, mut left, mut bytes) = (Records::default(), Outbox::default(), 0);
    for key in &outbox.log {
        let Some(entry) = state.log.get(key) else { continue };
        bytes += 256 + key.group_key.len() + 20 * (entry.firing.len() + entry.resolved.len());
        if bytes > PUSH_BYTES && records.len() > 0 { left.log(key) } else { records.log.push(entry.clone()) }
    }
    for id in &outbox.silences {
        let Some(silence) = state.silences.get(id) else { continue };
        bytes +=
            256 + silence.comment.len() + silence.matchers.iter().map(|m| m.name.len() + m.value.len()).sum::<usize>();
        if bytes > PUSH_BYTES && records.len() > 0 { left.silence(id) } else { records.silences.push(silence.clone()) }
    }
    for fingerprint in outbox.alerts {
        let Some(alert) = state.alerts.get(fingerprint) else { continue };
        bytes += 256 + alert.size_bytes();
        if bytes > PUSH_BYTES && records.len() > 0 {
            left.alert(fingerprint);
        } else {
            records.alerts.push(crate::engine::alert::AlertRecord::clone(alert));
        }
    }
    (records, left)
}
