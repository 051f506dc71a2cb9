//! `kill -9` of every process in turn, under load.

use std::time::Duration;

use super::fleet::{Fleet, Plan};
use crate::harness::DEADLINE;

#[tokio::test(flavor = "multi_thread")]
async fn every_process_is_killed_and_nothing_is_lost_or_doubled() {
    let _turn = super::turn().await;
    let mut fleet = Fleet::start(Plan::default()).await;
    let claims = fleet.claims();
    for round in 0..super::rounds() {
        for (i, name) in fleet.names().into_iter().enumerate() {
            fleet.member(&name).kill().await;
            // Others meet its absence at different moments of their seconds, and for longer or shorter.
            tokio::time::sleep(Duration::from_millis(((round * 6 + i) as u64 * 370) % 2_000)).await;
            fleet.member(&name).start().await;
            let recovered = fleet.is_live(DEADLINE).await;
            eprintln!("round {round}: {name} was killed; live after {recovered:?}");
        }
    }
    let samples = fleet.is_whole().await;
    let claims = claims.are_true().await;
    eprintln!(
        "{samples} samples of {} pages are everywhere once; {claims} claims were true",
        fleet.exporters[1].pages()
    );
    assert!(claims >= 10, "only {claims} claims of completeness");
}
