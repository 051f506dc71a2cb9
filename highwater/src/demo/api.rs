//! Asking the processes, over the interfaces that everybody uses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Whoever does not answer a question within this time is not healthy.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP client for loopback.
#[derive(Clone)]
pub struct Api(reqwest::Client);

/// One series of an instant query.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Series {
    pub metric: BTreeMap<String, String>,
    /// Time and value.
    value: (f64, String),
}

impl Series {
    pub fn value(&self) -> f64 {
        self.value.1.parse().unwrap_or(f64::NAN)
    }

    pub fn label(&self, name: &str) -> &str {
        self.metric.get(name).map(String::as_str).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: Option<T>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct QueryResult {
    result: Vec<Series>,
}

/// A target as `/api/v1/targets` shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    pub labels: BTreeMap<String, String>,
    pub health: String,
    pub last_error: String,
    pub scrape_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<Target>,
}

/// An alert as central or a router shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    pub labels: BTreeMap<String, String>,
    /// `pending` or `firing`; routers say more and otherwise.
    #[serde(default)]
    pub state: String,
}

impl Alert {
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    rules: Vec<Rule>,
}

/// A rule's health as `/api/v1/rules` shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub name: String,
    pub health: String,
    #[serde(default)]
    pub last_error: String,
}

impl Api {
    pub fn new() -> Result<Self> {
        runtime::install_tls();
        // Whatever proxy this machine uses, it does not lead to its own loopback.
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build();
        Ok(Self(client.context("cannot build an HTTP client")?))
    }

    /// The text at a path; anything but 200 is an error.
    pub async fn text(&self, at: SocketAddr, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let answer = self.0.get(format!("http://{at}{path}")).query(query).send().await;
        let answer = answer.map_err(|e| anyhow!("does not answer: {}", root_cause(&e)))?;
        let status = answer.status();
        let body = answer.text().await.map_err(|e| anyhow!("breaks off: {}", root_cause(&e)))?;
        if !status.is_success() {
            bail!("answers {path} with {status}: {}", body.lines().next().unwrap_or_default());
        }
        Ok(body)
    }

    pub async fn json<T: DeserializeOwned>(&self, at: SocketAddr, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let text = self.text(at, path, query).await?;
        serde_json::from_str(&text).with_context(|| format!("answers {path} with something else than expected"))
    }

    async fn data<T: DeserializeOwned>(&self, at: SocketAddr, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let envelope: Envelope<T> = self.json(at, path, query).await?;
        envelope.data.ok_or_else(|| anyhow!("answers {path} with {}", envelope.error.unwrap_or_default()))
    }

    /// An instant query for a vector.
    pub async fn query(&self, at: SocketAddr, expression: &str) -> Result<Vec<Series>> {
        Ok(self.data::<QueryResult>(at, "/api/v1/query", &[("query", expression)]).await?.result)
    }

    /// The value of a query that yields one series or none.
    pub async fn value(&self, at: SocketAddr, expression: &str) -> Result<Option<f64>> {
        Ok(self.query(at, expression).await?.first().map(Series::value))
    }

    pub async fn targets(&self, at: SocketAddr) -> Result<Vec<Target>> {
        Ok(self.data::<Targets>(at, "/api/v1/targets", &[("state", "active")]).await?.active_targets)
    }

    pub async fn rules(&self, at: SocketAddr) -> Result<Vec<Rule>> {
        let rules: Rules = self.data(at, "/api/v1/rules", &[("exclude_alerts", "true")]).await?;
        Ok(rules.groups.into_iter().flat_map(|group| group.rules).collect())
    }

    /// Pending and firing alerts of a tier.
    pub async fn alerts(&self, at: SocketAddr) -> Result<Vec<Alert>> {
        Ok(self.data::<Alerts>(at, "/api/v1/alerts", &[]).await?.alerts)
    }

    /// The sum of all series of a metric on `/metrics` for which `wanted` is true of the line.
    pub async fn metric(&self, at: SocketAddr, name: &str, wanted: impl Fn(&str) -> bool) -> Result<f64> {
        Ok(sum_of(&self.text(at, "/metrics", &[]).await?, name, wanted))
    }
}

/// Sums what a page of text format 0.0.4 says of one metric.
fn sum_of(page: &str, name: &str, wanted: impl Fn(&str) -> bool) -> f64 {
    let lines = page
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && wanted(line));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// What really happened, without the layers around it.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_one_metric_of_a_page() {
        let page = "# HELP a_total x\na_total{to=\"x\"} 1\na_total{to=\"y\"} 2\na_total_more 4\na 8\n";
        assert_eq!(sum_of(page, "a_total", |_| true), 3.0);
        assert_eq!(sum_of(page, "a_total", |line| line.contains("\"y\"")), 2.0);
        assert_eq!(sum_of(page, "a", |_| true), 8.0);
        assert_eq!(sum_of(page, "b", |_| true), 0.0);
    }

    #[test]
    fn reads_what_prometheus_answers() {
        let text = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"region":"r"},"value":[1.5,"3"]}]}}"#;
        let envelope: Envelope<QueryResult> = serde_json::from_str(text).expect("an answer");
        let result = envelope.data.expect("data").result;
        assert_eq!((result[0].value(), result[0].label("region"), result[0].label("x")), (3.0, "r", ""));
    }
}
