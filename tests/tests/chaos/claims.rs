//! Watermarks that are taken at their word: whatever a tier calls complete is read at once, and again at the end. What was
//! complete has not changed since.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::harness::api;

/// Between two looks at a tier.
const EVERY: Duration = Duration::from_millis(250);

/// Timestamps and values by series, as they are printed.
type Answer = BTreeMap<String, Value>;

/// A tier said that it has everything of a source up to a moment.
struct Claim {
    tier: SocketAddr,
    source: String,
    /// Selects what the claim is about.
    selector: String,
    watermark: String,
    found: Answer,
}

/// Notes claims until it is asked.
pub struct Claims {
    task: JoinHandle<Vec<Claim>>,
    stop: oneshot::Sender<()>,
}

impl Claims {
    /// Watches what some tiers claim of some sources: `(tier, source, matchers of its series)`.
    pub fn watch(of: Vec<(SocketAddr, String, String)>) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut claims, mut last) = (Vec::new(), BTreeMap::new());
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                for (tier, source, matchers) in &of {
                    // One that is being killed claims nothing.
                    let Ok(Some(claim)) = claim(*tier, source, matchers).await else { continue };
                    let before = last.insert((*tier, source.clone()), claim.watermark.clone());
                    // The first was made before anybody watched: the test may know of samples that were not there then.
                    if before.is_some_and(|before| before != claim.watermark) {
                        claims.push(claim);
                    }
                }
                tokio::time::sleep(EVERY).await;
            }
            claims
        });
        Self { task, stop }
    }

    /// Reads everything again. Returns how many claims there were.
    pub async fn are_true(self) -> usize {
        let _ = self.stop.send(());
        let claims = self.task.await.expect("does not panic");
        for claim in &claims {
            let now = read(claim.tier, &claim.selector, &claim.watermark).await.expect("answers");
            let Claim { tier, source, watermark, selector, found } = claim;
            for (series, values) in &now {
                let before = found.get(series).unwrap_or(&Value::Null);
                assert!(
                    before == values,
                    "{tier} said that {source} is complete up to {watermark}; then {selector} had {before}, and later \
                     {values}"
                );
            }
            assert_eq!(now.len(), found.len(), "{tier}: series of {source} vanished");
        }
        claims.len()
    }
}

/// What a tier claims of a source now, and what it has.
async fn claim(tier: SocketAddr, source: &str, matchers: &str) -> Result<Option<Claim>, String> {
    let fleet = api(tier, "fleet/sources", &[]).await?;
    let all = fleet["sources"].as_array().cloned().unwrap_or_default();
    let Some(status) = all.iter().find(|status| status["source"] == source) else { return Ok(None) };
    let Some(watermark) = status["watermark"].as_str().filter(|_| status["watermarkEstimated"] != true) else {
        return Ok(None);
    };
    // Who lags below a source is not part of what that one promises.
    let behind = status["delivery"]["behind"].as_array().cloned().unwrap_or_default();
    let behind: Vec<&str> = behind.iter().filter_map(|b| b["source"].as_str()?.split('/').nth(1)).collect();
    let selector = format!(r#"{{{matchers},metacluster!~"{}"}}[1h]"#, behind.join("|"));
    let found = read(tier, &selector, watermark).await?;
    Ok(Some(Claim { tier, source: source.to_owned(), selector, watermark: watermark.to_owned(), found }))
}

/// Every sample up to the watermark.
async fn read(tier: SocketAddr, selector: &str, watermark: &str) -> Result<Answer, String> {
    let data = api(tier, "query", &[("query", selector), ("time", watermark)]).await?;
    let series = data["result"].as_array().cloned().ok_or("no result")?;
    Ok(series.into_iter().map(|mut one| (one["metric"].to_string(), one["values"].take())).collect())
}
