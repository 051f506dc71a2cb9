//! An edge whose clock is off by five minutes, in either direction. Its exporter stamps its pages, so that timestamps, all
//! that tiers know of its clock, are off.

use std::time::Duration;

use super::fleet::{Fleet, Plan};
use super::proxy::Link;

const SKEW_MS: i64 = 300_000;
const FRESH_WITHIN: Duration = Duration::from_secs(5);

async fn survives(skew_ms: i64) {
    let fleet = Fleet::start(Plan { skew_ms: Some(skew_ms), ..Plan::default() }).await;
    for _ in 0..super::rounds() {
        fleet.to_cascade[2].link(Link::Cut);
        fleet.to_central[0].link(Link::Cut);
        tokio::time::sleep(Duration::from_secs(3)).await;
        fleet.to_cascade[2].link(Link::Up);
        fleet.to_central[0].link(Link::Up);
        let fresh = fleet.is_live(FRESH_WITHIN).await;
        let samples = fleet.is_whole().await;
        eprintln!("off by {skew_ms} ms: fresh after {fresh:?}, {samples} samples are everywhere once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_loses_and_doubles_nothing() {
    let _turn = super::turn().await;
    survives(SKEW_MS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_behind_loses_and_doubles_nothing() {
    let _turn = super::turn().await;
    survives(-SKEW_MS).await;
}
