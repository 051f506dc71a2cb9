//! What the fleet looks like at this moment, as its own interfaces tell.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::api::Api;
use super::messages::{Channel, Messages};
use super::plan::Plan;

/// The alert that proves that alerts travel; it always fires and is no news.
const ALWAYS: &str = "Watchdog";
/// Rates are taken over this time, or a little more: targets are scraped every 5 s, and queues send in bursts.
const RATE_OVER: Duration = Duration::from_secs(9);
/// How many alerts are named.
const MAX_NAMED: usize = 3;

/// A number for each tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PerTier {
    /// Samples scraped.
    pub edge: f64,
    /// Samples received.
    pub cascade: f64,
    /// Samples received.
    pub central: f64,
}

/// One look.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub targets_up: u64,
    pub targets: u64,
    pub clusters: u64,
    /// Since the processes started.
    pub samples: PerTier,
    /// Over the last seconds.
    pub samples_per_second: PerTier,
    /// Age of the newest data of the cluster whose data are oldest, at the central that is further behind.
    pub freshness_seconds: Option<f64>,
    /// Alerts that fire at either central, [`ALWAYS`] left out.
    pub firing: Vec<String>,
    pub messages: Vec<(Channel, usize)>,
}

/// Looks repeatedly.
pub struct Watcher {
    api: Api,
    /// Counts as they were, the oldest first; one that is older than [`RATE_OVER`] is kept.
    before: VecDeque<(Instant, PerTier)>,
}

impl Watcher {
    pub fn new(api: Api) -> Self {
        Self { api, before: VecDeque::new() }
    }

    /// Takes a look.
    ///
    /// # Errors
    /// When a process does not answer.
    pub async fn look(&mut self, plan: &Plan, messages: &Messages) -> Result<Snapshot> {
        let central = plan.centrals[0].address;
        let number =
            async |expression| Ok::<_, anyhow::Error>(self.api.value(central, expression).await?.unwrap_or(0.0));
        let mut out = Snapshot {
            targets_up: number("sum(cluster:up:sum)").await? as u64,
            targets: number("sum(cluster:up:count)").await? as u64,
            clusters: number("count(cluster:up:count)").await? as u64,
            messages: messages.counts().to_vec(),
            ..Snapshot::default()
        };
        for central in &plan.centrals {
            let age = self.api.value(central.address, "max(time() - cluster:scrape:timestamp_seconds)").await?;
            out.freshness_seconds = out.freshness_seconds.into_iter().chain(age).reduce(f64::max);
            for alert in self.api.alerts(central.address).await? {
                if alert.state == "firing" && alert.label("alertname") != ALWAYS {
                    let place = ["cluster", "metacluster", "region"].map(|name| alert.label(name));
                    let place = place.into_iter().find(|p| !p.is_empty()).unwrap_or_default();
                    out.firing.push(format!("{} {place}", alert.label("alertname")).trim_end().to_owned());
                }
            }
        }
        out.firing.sort();
        out.firing.dedup();
        out.samples = self.samples(plan).await?;
        let now = Instant::now();
        while self.before.get(1).is_some_and(|(then, _)| now - *then > RATE_OVER) {
            self.before.pop_front();
        }
        if let Some((then, before)) = self.before.front() {
            out.samples_per_second = rate(*before, out.samples, (now - *then).as_secs_f64());
        }
        self.before.push_back((now, out.samples));
        Ok(out)
    }

    async fn samples(&self, plan: &Plan) -> Result<PerTier> {
        let scraped = "highwater_scrape_samples_appended_total";
        let received = "highwater_receive_samples_total";
        Ok(PerTier {
            edge: self.sum(plan.edges.iter().map(|e| e.address), scraped).await?,
            cascade: self.sum(plan.cascades.iter().map(|c| c.address), received).await?,
            central: self.sum(plan.centrals.iter().map(|c| c.address), received).await?,
        })
    }

    async fn sum(&self, addresses: impl Iterator<Item = SocketAddr>, name: &str) -> Result<f64> {
        let mut out = 0.0;
        for address in addresses {
            out += self.api.metric(address, name, |_| true).await?;
        }
        Ok(out)
    }
}

fn rate(before: PerTier, now: PerTier, seconds: f64) -> PerTier {
    let rate = |before: f64, now: f64| ((now - before) / seconds.max(0.001)).round();
    PerTier {
        edge: rate(before.edge, now.edge),
        cascade: rate(before.cascade, now.cascade),
        central: rate(before.central, now.central),
    }
}

impl Snapshot {
    /// A line for each thing a person wants to know: its name and what it is.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let PerTier { edge, cascade, central } = self.samples_per_second;
        let freshness = self.freshness_seconds.map_or("unknown".to_owned(), |s| format!("{s:.1} s at central"));
        let named = self.firing.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
        let firing = match self.firing.len() {
            0 => "none firing".to_owned(),
            count if count > MAX_NAMED => format!("{count} firing: {named} and others"),
            count => format!("{count} firing: {named}"),
        };
        let messages: Vec<_> = self.messages.iter().map(|(channel, count)| format!("{channel} {count}")).collect();
        vec![
            ("targets", format!("{} of {} up, in {} clusters", self.targets_up, self.targets, self.clusters)),
            ("samples/s", format!("edges {edge}, cascades {cascade}, centrals {central}")),
            ("freshness", freshness),
            ("alerts", firing),
            ("messages", messages.join(", ")),
        ]
    }

    /// All of it in one line.
    pub fn line(&self) -> String {
        self.lines().iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            targets_up: 726,
            targets: 727,
            clusters: 67,
            samples_per_second: PerTier { edge: 5000.0, cascade: 1600.0, central: 1200.0 },
            freshness_seconds: Some(6.24),
            firing: vec!["EtcdDown c-0051".to_owned()],
            messages: vec![(Channel::DingTalk, 1), (Channel::Email, 0), (Channel::Sms, 2)],
            ..Snapshot::default()
        }
    }

    #[test]
    fn says_everything_in_a_line() {
        assert_eq!(
            snapshot().line(),
            "targets: 726 of 727 up, in 67 clusters | samples/s: edges 5000, cascades 1600, centrals 1200 | \
             freshness: 6.2 s at central | alerts: 1 firing: EtcdDown c-0051 | messages: dingtalk 1, email 0, sms 2"
        );
    }

    #[test]
    fn names_some_of_many_alerts() {
        let firing = ["a", "b", "c", "d"].map(str::to_owned).into();
        let lines = Snapshot { firing, ..snapshot() }.lines();
        assert_eq!(lines[3].1, "4 firing: a, b, c and others");
        assert_eq!(Snapshot::default().lines()[3].1, "none firing");
        assert_eq!(Snapshot::default().lines()[2].1, "unknown");
    }

    #[test]
    fn rates_are_per_second() {
        let before = PerTier { edge: 100.0, cascade: 10.0, central: 0.0 };
        let now = PerTier { edge: 300.0, cascade: 10.0, central: 50.0 };
        assert_eq!(rate(before, now, 2.0), PerTier { edge: 100.0, cascade: 0.0, central: 25.0 });
    }
}
