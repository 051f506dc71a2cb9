//! One fault, and how the alert travels from the edge that sees it to the people who hear of it.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use fleet_sim::{FaultRequest, Fleet};

use super::api::{Alert, Api};
use super::messages::{Channel, Message, Messages};
use super::plan::Plan;

const KIND: &str = "etcd_down";
/// The job that stops answering.
const JOB: &str = "etcd";
/// The alert of `deploy/rules/central.yml` that tells of it.
pub const ALERT: &str = "EtcdDown";
/// What a message that tells of the end says.
const RESOLVED: &str = "[RESOLVED]";

/// Stations on the way, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Station {
    Edge,
    Cascade,
    Central,
    Pending,
    Firing,
    Router,
}

impl Station {
    const ALL: [Self; 6] = [Self::Edge, Self::Cascade, Self::Central, Self::Pending, Self::Firing, Self::Router];

    fn name(self) -> &'static str {
        match self {
            Self::Edge => "the edge misses it",
            Self::Cascade => "the cascade knows",
            Self::Central => "central knows",
            Self::Pending => "the alert is pending at central",
            Self::Firing => "the alert fires at central",
            Self::Router => "the alert is at a router",
        }
    }
}

/// A fault that was injected, and what came of it so far.
pub struct Travel {
    pub metacluster: String,
    pub cluster: String,
    id: String,
    edge: usize,
    began: Instant,
    began_ms: i64,
    passed: usize,
    /// Seconds from the fault to the first message.
    pub arrived: BTreeMap<Channel, f64>,
    lifted_ms: Option<i64>,
    /// Seconds from the end of the fault to the first message that tells of it.
    pub resolved: BTreeMap<Channel, f64>,
}

impl Travel {
    /// Stops etcd of a customer cluster of the last metacluster, as far away from the first as there is.
    pub fn begin(fleet: &Fleet, plan: &Plan) -> Result<Self> {
        let edge = plan.edges.len() - 1;
        let metacluster = plan.edges[edge].metacluster.clone();
        // The metacluster's own cluster comes first.
        let cluster = fleet.clusters(&metacluster).into_iter().nth(1).unwrap_or_else(|| metacluster.clone());
        let request = FaultRequest {
            kind: KIND.to_owned(),
            metacluster: metacluster.clone(),
            cluster: Some(cluster.clone()),
            ..FaultRequest::default()
        };
        let fault = fleet.inject(&request, runtime::now).context("cannot inject the fault")?;
        Ok(Self {
            metacluster,
            cluster,
            id: fault.id,
            edge,
            began: Instant::now(),
            began_ms: fault.started_ms,
            passed: 0,
            arrived: BTreeMap::new(),
            lifted_ms: None,
            resolved: BTreeMap::new(),
        })
    }

    pub fn describe(&self) -> String {
        format!("{KIND} of {} in {}", self.cluster, self.metacluster)
    }

    pub fn kind(&self) -> &'static str {
        KIND
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Whether every channel has told of it.
    pub fn is_delivered(&self) -> bool {
        self.arrived.len() == Channel::ALL.len()
    }

    pub fn is_lifted(&self) -> bool {
        self.lifted_ms.is_some()
    }

    /// Ends the fault.
    pub fn lift(&mut self, fleet: &Fleet) -> Result<()> {
        let fault = fleet.lift(&self.id, runtime::now).context("cannot lift the fault")?;
        self.lifted_ms = fault.ends_ms;
        Ok(())
    }

    /// Looks how far the alert is; a line for every station and message since the last look.
    pub async fn look(&mut self, api: &Api, plan: &Plan, messages: &Messages) -> Vec<String> {
        let mut news = Vec::new();
        while let Some(station) = Station::ALL.get(self.passed)
            && self.is_at(*station, api, plan).await
        {
            news.push(format!("  {:5.1} s  {}", self.seconds(), station.name()));
            self.passed += 1;
        }
        for channel in Channel::ALL {
            let all = messages.of(channel);
            if let Some(seconds) = first(&all, &self.cluster, self.began_ms, false)
                && !self.arrived.contains_key(&channel)
            {
                self.arrived.insert(channel, seconds);
                news.push(format!("  {seconds:5.1} s  a message on {channel}"));
            }
            let Some(lifted_ms) = self.lifted_ms else { continue };
            if let Some(seconds) = first(&all, &self.cluster, lifted_ms, true)
                && !self.resolved.contains_key(&channel)
            {
                self.resolved.insert(channel, seconds);
                news.push(format!("  {seconds:5.1} s  after its end, {channel} says that it is over"));
            }
        }
        news
    }

    /// Whoever does not answer is asked again at the next look.
    async fn is_at(&self, station: Station, api: &Api, plan: &Plan) -> bool {
        let edge = &plan.edges[self.edge];
        let missing = format!(r#"cluster:component_up:sum{{cluster="{}",job="{JOB}"}} == 0"#, self.cluster);
        let knows = async |address| matches!(api.value(address, &missing).await, Ok(Some(_)));
        match station {
            Station::Edge => knows(edge.address).await,
            Station::Cascade => knows(plan.cascades[edge.cascade].address).await,
            Station::Central => knows(plan.centrals[0].address).await || knows(plan.centrals[1].address).await,
            Station::Pending | Station::Firing => {
                for central in &plan.centrals {
                    let alerts = api.alerts(central.address).await.unwrap_or_default();
                    if alerts.iter().any(|a| self.is_ours(a) && (station == Station::Pending || a.state == "firing")) {
                        return true;
                    }
                }
                false
            }
            Station::Router => {
                for router in &plan.routers {
                    let alerts = api.json::<Vec<Alert>>(router.address, "/api/v2/alerts", &[]).await;
                    if alerts.unwrap_or_default().iter().any(|alert| self.is_ours(alert)) {
                        return true;
                    }
                }
                false
            }
        }
    }

    fn is_ours(&self, alert: &Alert) -> bool {
        alert.label("alertname") == ALERT && alert.label("cluster") == self.cluster
    }
}

/// Seconds from `since_ms` to the first message that tells of the alert in a cluster, or of its end.
fn first(messages: &[Message], cluster: &str, since_ms: i64, end: bool) -> Option<f64> {
    let tells = |m: &&Message| {
        m.received_at_ms >= since_ms
            && m.text.contains(cluster)
            && m.text.contains(ALERT)
            && m.text.contains(RESOLVED) == end
    };
    messages.iter().find(tells).map(|m| (m.received_at_ms - since_ms) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_message_that_tells_of_it() {
        let message = |received_at_ms, text: &str| Message { received_at_ms, text: text.to_owned() };
        let all = [
            message(900, "[FIRING:1] EtcdDown c-0001"),
            message(1100, "[FIRING:1] EtcdDown c-0002"),
            message(1200, "[FIRING:1] ApiserverDown c-0001"),
            message(3500, "[FIRING:1] EtcdDown c-0001"),
            message(4500, "[FIRING:2] EtcdDown c-0001"),
            message(9000, "[RESOLVED] EtcdDown c-0001"),
        ];
        assert_eq!(first(&all, "c-0001", 1000, false), Some(2.5));
        assert_eq!(first(&all, "c-0001", 5000, true), Some(4.0));
        assert_eq!(first(&all, "c-0003", 0, false), None);
    }
}
