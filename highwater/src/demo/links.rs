//! The links of the chain, each checked by what it is for: data that arrived, not a process that runs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::api::{Alert, Api, Target};
use super::messages::Channels;
use super::plan::{Cascade, Central, Edge, Plan, Router};

/// What kind of link; in the order in which data flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Outside,
    Scrape,
    EdgeToCascade,
    CascadeToCentral,
    Rules,
    Routers,
    CentralToRouter,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Outside,
        Self::Scrape,
        Self::EdgeToCascade,
        Self::CascadeToCentral,
        Self::Rules,
        Self::Routers,
        Self::CentralToRouter,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outside => "simulator and stand-ins answer",
            Self::Scrape => "edges see all their targets up",
            Self::EdgeToCascade => "cascades hold what edges send",
            Self::CascadeToCentral => "centrals hold what cascades send",
            Self::Rules => "rules evaluate without errors",
            Self::Routers => "routers see each other",
            Self::CentralToRouter => "routers hold alerts of each central",
        })
    }
}

/// One link, by index into the plan.
#[derive(Debug, Clone)]
enum What {
    Simulator,
    StandIn(SocketAddr),
    MailServer(SocketAddr),
    Scrape(usize),
    EdgeToCascade(usize),
    CascadeToCentral(usize, usize),
    Rules(SocketAddr),
    Router(usize),
    CentralToRouter(usize, usize),
}

/// A link by name.
#[derive(Debug, Clone)]
pub struct Link {
    pub kind: Kind,
    pub name: String,
    what: What,
}

/// All links, and how to look at them.
pub struct Links {
    api: Api,
    plan: Arc<Plan>,
    simulator: SocketAddr,
    pub all: Vec<Link>,
}

impl Links {
    pub fn new(api: Api, plan: Arc<Plan>, simulator: SocketAddr, channels: &Channels) -> Result<Self> {
        let mut all = Vec::new();
        let mut add = |kind, name: String, what| all.push(Link { kind, name, what });
        add(Kind::Outside, "simulator".to_owned(), What::Simulator);
        for (name, url) in [("dingtalk", &channels.dingtalk), ("email", &channels.smtp), ("sms", &channels.sms)] {
            let address = authority(url).with_context(|| format!("no address in {url:?}"))?;
            let what = if name == "email" { What::MailServer(address) } else { What::StandIn(address) };
            add(Kind::Outside, format!("stand-in {name}"), what);
        }
        for (at, edge) in plan.edges.iter().enumerate() {
            add(Kind::Scrape, format!("targets -> {}", edge.name), What::Scrape(at));
            let cascade = &plan.cascades[edge.cascade].name;
            add(Kind::EdgeToCascade, format!("{} -> {cascade}", edge.name), What::EdgeToCascade(at));
            add(Kind::Rules, format!("rules of {}", edge.name), What::Rules(edge.address));
        }
        for (from, cascade) in plan.cascades.iter().enumerate() {
            for (to, central) in plan.centrals.iter().enumerate() {
                let name = format!("{} -> {}", cascade.name, central.name);
                add(Kind::CascadeToCentral, name, What::CascadeToCentral(from, to));
            }
            add(Kind::Rules, format!("rules of {}", cascade.name), What::Rules(cascade.address));
        }
        for (from, central) in plan.centrals.iter().enumerate() {
            for (to, router) in plan.routers.iter().enumerate() {
                let name = format!("{} -> {}", central.name, router.name);
                add(Kind::CentralToRouter, name, What::CentralToRouter(from, to));
            }
            add(Kind::Rules, format!("rules of {}", central.name), What::Rules(central.address));
        }
        for (at, router) in plan.routers.iter().enumerate() {
            add(Kind::Routers, format!("{} <-> {}", router.name, plan.routers[1 - at].name), What::Router(at));
        }
        all.sort_by_key(|link| link.kind);
        Ok(Self { api, plan, simulator, all })
    }

    /// Looks at a link. Targets of the cluster `excused` may be down: a fault was injected there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check(&self, link: &Link, excused: Option<&str>) -> Result<()> {
        let plan = &self.plan;
        match &link.what {
            What::Simulator => self.api.text(self.simulator, "/", &[]).await.map(|_| ()),
            What::StandIn(address) => TcpStream::connect(address).await.map(|_| ()).context("does not answer"),
            What::MailServer(address) => greet(*address).await.context("does not greet"),
            What::Scrape(at) => self.scrape(&plan.edges[*at], excused).await,
            What::EdgeToCascade(at) => {
                let edge = &plan.edges[*at];
                self.edge_to_cascade(edge, &plan.cascades[edge.cascade]).await
            }
            What::CascadeToCentral(from, to) => self.cascade_to_central(*from, &plan.centrals[*to]).await,
            What::Rules(address) => self.rules(*address).await,
            What::Router(at) => self.router(&plan.routers[*at]).await,
            What::CentralToRouter(from, to) => self.central_to_router(&plan.centrals[*from], &plan.routers[*to]).await,
        }
    }

    async fn scrape(&self, edge: &Edge, excused: Option<&str>) -> Result<()> {
        self.api.text(edge.address, "/-/ready", &[]).await?;
        let targets = self.api.targets(edge.address).await?;
        let is_fine = |t: &&Target| t.health == "up" || t.labels.get("cluster").map(String::as_str) == excused;
        let fine = targets.iter().filter(is_fine).count();
        let why = targets
            .iter()
            .find(|t| !is_fine(t))
            .map_or_else(String::new, |t| format!("; {} is {} ({})", t.scrape_url, t.health, t.last_error));
        ensure!(fine == edge.targets && why.is_empty(), "{fine} of {} targets are up{why}", edge.targets);
        Ok(())
    }

    /// The cascade knows every target of the edge, under the labels that both stamp.
    async fn edge_to_cascade(&self, edge: &Edge, cascade: &Cascade) -> Result<()> {
        let (metacluster, region) = (&edge.metacluster, &cascade.region);
        let expression = format!(r#"sum(cluster:up:count{{metacluster="{metacluster}",region="{region}"}})"#);
        let known = self.api.value(cascade.address, &expression).await?.unwrap_or(0.0);
        ensure!(known == edge.targets as f64, "it knows {known} of {} targets", edge.targets);
        Ok(())
    }

    /// The central knows every target, and holds every sum, of the region.
    async fn cascade_to_central(&self, from: usize, central: &Central) -> Result<()> {
        let region = &self.plan.cascades[from].region;
        let edges: Vec<_> = self.plan.edges.iter().filter(|edge| edge.cascade == from).collect();
        let expression = format!(r#"sum by (metacluster) (cluster:up:count{{region="{region}"}})"#);
        let held = self.api.query(central.address, &expression).await?;
        for edge in &edges {
            let found = held.iter().find(|series| series.label("metacluster") == edge.metacluster);
            let known = found.map_or(0.0, |series| series.value());
            let (targets, metacluster) = (edge.targets, &edge.metacluster);
            ensure!(known == targets as f64, "it knows {known} of {targets} targets of {metacluster}");
        }
        let expression = format!(r#"count(metacluster:up:count{{region="{region}"}})"#);
        let sums = self.api.value(central.address, &expression).await?.unwrap_or(0.0);
        ensure!(sums == edges.len() as f64, "sums of {sums} of {} metaclusters arrived", edges.len());
        Ok(())
    }

    async fn rules(&self, address: SocketAddr) -> Result<()> {
        let rules = self.api.rules(address).await?;
        ensure!(!rules.is_empty(), "there are no rules");
        match rules.iter().find(|rule| rule.health != "ok") {
            None => Ok(()),
            Some(rule) => bail!("{} is {}: {}", rule.name, rule.health, rule.last_error),
        }
    }

    async fn router(&self, router: &Router) -> Result<()> {
        #[derive(Deserialize)]
        struct Status {
            cluster: Cluster,
        }
        #[derive(Deserialize)]
        struct Cluster {
            status: String,
            peers: Vec<serde_json::Value>,
        }
        self.api.text(router.address, "/-/ready", &[]).await?;
        let status: Status = self.api.json(router.address, "/api/v2/status", &[]).await?;
        let (state, members, wanted) = (status.cluster.status, status.cluster.peers.len(), self.plan.routers.len());
        ensure!(state == "ready" && members == wanted, "it is {state} and sees {members} of {wanted} routers");
        Ok(())
    }

    /// The central has posted alerts there with success, and the router holds the one that always fires.
    async fn central_to_router(&self, central: &Central, router: &Router) -> Result<()> {
        let address = router.address.to_string();
        let count = |name| self.api.metric(central.address, name, |line| line.contains(&address));
        let sent = count("prometheus_notifications_sent_total").await?
            - count("prometheus_notifications_errors_total").await?;
        ensure!(sent > 0.0, "no alert was posted yet");
        let alerts: Vec<Alert> = self.api.json(router.address, "/api/v2/alerts", &[]).await?;
        let watchdog = alerts.iter().any(|alert| alert.label("alertname") == "Watchdog");
        watchdog.then_some(()).ok_or_else(|| anyhow!("Watchdog has not arrived"))
    }
}

/// Hears a mail server's greeting and takes leave, as whoever hangs up in the middle is logged as refused.
async fn greet(address: SocketAddr) -> std::io::Result<()> {
    let mut lines = BufReader::new(TcpStream::connect(address).await?);
    let mut said = String::new();
    for reply in ["", "QUIT\r\n"] {
        lines.get_mut().write_all(reply.as_bytes()).await?;
        said.clear();
        if lines.read_line(&mut said).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// `HOST:PORT` of a URL, or of itself.
fn authority(url: &str) -> Option<SocketAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_addresses_in_urls() {
        let address = SocketAddr::from(([127, 0, 0, 1], 25));
        for text in ["127.0.0.1:25", "http://127.0.0.1:25", "http://127.0.0.1:25/robot/send"] {
            assert_eq!(authority(text), Some(address), "{text}");
        }
        assert_eq!(authority("smtp.example"), None);
    }
}
