//! The fleet of these tests: exporters, an HA pair and a single edge, a cascade, two centrals, each a process of its own,
//! with a proxy in front of the cascade for each edge and in front of each central.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::checker::{Stored, agree};
use super::claims::Claims;
use super::exporter::Exporter;
use super::member::Member;
use super::proxy::{Link, Proxy};
use super::wire;
use crate::harness::{DEADLINE, until};

/// What differs between tests.
pub struct Plan {
    /// Counters of each exporter.
    pub series: u64,
    /// Milliseconds by which the single edge's exporter is off the clock.
    pub skew_ms: Option<i64>,
    /// Keys of every `remote_write` destination, as a YAML flow mapping's inside, with a comma in front.
    pub remote_write: &'static str,
    /// More flags of the cascade.
    pub cascade_flags: &'static [&'static str],
}

impl Default for Plan {
    fn default() -> Self {
        Self { series: 20, skew_ms: None, remote_write: "", cascade_flags: &[] }
    }
}

/// Members are killed and cut by the tests; what is not named here does not exist.
pub struct Fleet {
    /// One for both edges of the pair, one for the single edge.
    pub exporters: [Exporter; 2],
    /// `cell-a` twice, then `cell-b`.
    pub edges: [Member; 3],
    pub cascade: Member,
    pub centrals: [Member; 2],
    /// Between each edge and the cascade.
    pub to_cascade: [Proxy; 3],
    /// Between the cascade and each central.
    pub to_central: [Proxy; 2],
    pub started_ms: i64,
    skew_ms: i64,
    remote_write: &'static str,
}

/// Two samples of one series are near one another when they are not further apart; they are scraped every second.
const NEAR_MS: i64 = 750;
/// The single edge's.
pub const SINGLE: &str = "cell-b";
/// The pair's.
pub const PAIR: &str = "cell-a";

impl Fleet {
    /// Starts everything and waits until both centrals have something of every edge.
    pub async fn start(plan: Plan) -> Self {
        runtime::install_tls();
        let started_ms = runtime::now().0;
        let exporters = [Exporter::start(plan.series, None).await, Exporter::start(plan.series, plan.skew_ms).await];
        let centrals = ["central-1", "central-2"].map(|name| Member::new("central", name, ""));
        let to_central = [0, 1].map(|i: usize| Proxy::start(centrals[i].address()));
        let mut cascade = Member::new("cascade", "cascade", &cascade_config(&to_central, plan.remote_write));
        cascade.flags = plan.cascade_flags.iter().map(|&flag| flag.to_owned()).collect();
        let to_cascade = [0, 1, 2].map(|_: usize| Proxy::start(cascade.address()));
        let edge = |i: usize, name: &str, labels: &str| {
            let exporter = exporters[i / 2].address();
            Member::new("edge", name, &edge_config(labels, exporter, to_cascade[i].address(), plan.remote_write))
        };
        let edges = [
            edge(0, "edge a/1", "{metacluster: cell-a, replica: a}"),
            edge(1, "edge a/2", "{metacluster: cell-a, replica: b}"),
            edge(2, "edge b", "{metacluster: cell-b}"),
        ];
        let skew_ms = plan.skew_ms.unwrap_or_default();
        let mut fleet = Self {
            exporters,
            edges,
            cascade,
            centrals,
            to_cascade,
            to_central,
            started_ms,
            skew_ms,
            remote_write: plan.remote_write,
        };
        for name in fleet.names() {
            fleet.member(&name).start().await;
        }
        fleet.is_live(DEADLINE).await;
        fleet
    }

    /// From above to below, so that nobody waits for another at the start.
    pub fn names(&self) -> Vec<String> {
        let all = self.centrals.iter().chain([&self.cascade]).chain(&self.edges);
        all.map(|member| member.name.clone()).collect()
    }

    pub fn member(&mut self, name: &str) -> &mut Member {
        let mut all = self.centrals.iter_mut().chain([&mut self.cascade]).chain(&mut self.edges);
        all.find(|member| member.name == name).expect("is a member")
    }

    pub fn central_addresses(&self) -> [SocketAddr; 2] {
        [0, 1].map(|i: usize| self.centrals[i].address())
    }

    /// The cascade reaches a central at another address from now on.
    pub fn move_central(&mut self, central: usize, link: Link) {
        self.to_central[central] = Proxy::start(self.centrals[central].address());
        self.to_central[central].link(link);
        self.cascade.configure(&cascade_config(&self.to_central, self.remote_write));
        self.cascade.process().signal("HUP");
    }

    /// Waits until both centrals have a sample of every metacluster that was scraped after the call, and says how long that
    /// took: of a second until the next scrape, a second until it is sent, and whatever is wrong.
    pub async fn is_live(&self, within: Duration) -> Duration {
        self.is_live_at(&self.central_addresses(), within).await
    }

    /// The same of some tiers.
    pub async fn is_live_at(&self, at: &[SocketAddr], within: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            let behind = self.most_behind(at).await;
            if behind.as_ref().is_ok_and(|seconds| *seconds <= begun.elapsed().as_secs_f64()) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < within, "{at:?} not live within {within:?}: {behind:?} s behind");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Seconds since the newest sample, where that is longest.
    pub async fn most_behind(&self, at: &[SocketAddr]) -> Result<f64, String> {
        let mut most = f64::MIN;
        for address in at {
            for (cell, skew_ms) in [(PAIR, 0), (SINGLE, self.skew_ms)] {
                most = most.max(behind(*address, cell, skew_ms).await?);
            }
        }
        Ok(most)
    }

    /// What was scraped until now is in the cascade and in both centrals, each sample once, and nothing else.
    pub async fn is_whole(&self) -> usize {
        let to_ms = runtime::now().0;
        // Targets are scraped one page after the other: whoever has a newer one has everything until now.
        until("a scrape by every edge", || async {
            for edge in &self.edges {
                let newer = wire::read(edge.address(), &[("__name__", "up")], to_ms + 1, to_ms + 60_000).await?;
                newer.first().ok_or_else(|| format!("{} has none yet", edge.name))?;
            }
            Ok(())
        })
        .await;
        let (from_ms, to_ms) = (self.started_ms + self.skew_ms.min(0), to_ms + self.skew_ms.max(0));
        let all = [self.cascade.address(), self.centrals[0].address(), self.centrals[1].address()];
        // With a clock that is ahead, what was scraped since is among it. It arrives while this waits.
        let job = ("job", "paged");
        let above = [job, ("metacluster", SINGLE)];
        let single = agree((self.edges[2].address(), &[job]), (&all, &above), from_ms, to_ms).await;
        until("the pair as one", || self.pair_is_merged(&all, to_ms - self.skew_ms.max(0))).await;
        single.samples()
    }

    /// What either of the pair scraped is everywhere above once, and nobody above knows that they are two.
    async fn pair_is_merged(&self, above: &[SocketAddr], to_ms: i64) -> Result<(), String> {
        let [series, pair] = [("__name__", "paged_total"), ("metacluster", PAIR)];
        let one =
            |i: usize| Stored::read(self.edges[i].address(), std::slice::from_ref(&series), self.started_ms, to_ms);
        let replicas = [one(0).await?, one(1).await?];
        for address in above {
            let told = wire::read(*address, &[pair], self.started_ms, to_ms).await?;
            if let Some((labels, _)) = told.iter().find(|(labels, _)| labels.contains_key("replica")) {
                return Err(format!("{address} knows of replicas: {labels:?}"));
            }
            let merged = Stored::read(*address, &[series, pair], self.started_ms, to_ms).await?;
            let merged = merged.must_merge([&replicas[0], &replicas[1]], NEAR_MS, to_ms - 2_000);
            merged.map_err(|wrong| format!("{address}: {wrong}"))?;
        }
        Ok(())
    }

    /// Watches every claim that is made of the single edge at the cascade, and of the cascade at the centrals.
    pub fn claims(&self) -> Claims {
        let edge = (self.cascade.address(), format!("edge/{SINGLE}"), format!(r#"metacluster="{SINGLE}""#));
        let [one, two] =
            self.central_addresses().map(|at| (at, "cascade/region-a".to_owned(), r#"region="region-a""#.to_owned()));
        Claims::watch(vec![edge, one, two])
    }
}

/// Seconds since the newest sample that a tier has of a metacluster whose clock is off by `skew_ms`.
pub async fn behind(address: SocketAddr, metacluster: &str, skew_ms: i64) -> Result<f64, String> {
    let there_ms = runtime::now().0 + skew_ms;
    let series = [("__name__", "paged_total"), ("series", "000"), ("metacluster", metacluster)];
    let found = wire::read(address, &series, there_ms - 60_000, there_ms + 60_000).await?;
    let newest = found.iter().flat_map(|(_, points)| points).map(|(timestamp, _)| *timestamp).max();
    let newest = newest.ok_or_else(|| format!("{address} has nothing new of {metacluster}"))?;
    Ok((there_ms - newest) as f64 / 1000.0)
}

fn destination(name: &str, to: SocketAddr, more: &str) -> String {
    format!("- {{name: {name}, url: 'http://{to}/api/v1/write'{more}}}\n")
}

fn edge_config(labels: &str, exporter: SocketAddr, to: SocketAddr, more: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, external_labels: {labels}}}\n\
         scrape_configs: [{{job_name: paged, static_configs: [{{targets: ['{exporter}']}}]}}]\n\
         remote_write:\n{}",
        destination("cascade", to, more)
    )
}

fn cascade_config(to: &[Proxy; 2], more: &str) -> String {
    format!(
        "global: {{external_labels: {{region: region-a}}}}\nremote_write:\n{}{}",
        destination("central-1", to[0].address(), more),
        destination("central-2", to[1].address(), more)
    )
}
