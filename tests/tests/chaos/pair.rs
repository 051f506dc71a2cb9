//! The replicas of an edge alternate: one is away, then the other, then both. Above they are one edge without a hole.

use std::time::Duration;

use super::fleet::{Fleet, Plan};
use super::proxy::Link;

/// Longer than a switch to the other replica takes.
const AWAY: Duration = Duration::from_secs(3);
const FRESH_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_alternate_are_one_without_a_hole() {
    let _turn = super::turn().await;
    let mut fleet = Fleet::start(Plan::default()).await;
    let claims = fleet.claims();
    for _ in 0..super::rounds() {
        for away in [[true, false], [false, true], [true, true]] {
            let set = |link| (0..2).filter(|i| away[*i]).for_each(|i| fleet.to_cascade[i].link(link));
            set(Link::Cut);
            tokio::time::sleep(AWAY).await;
            set(Link::Up);
            let fresh = fleet.is_live(FRESH_WITHIN).await;
            eprintln!("away: {away:?}; fresh after {fresh:?}");
        }
        // One dies while the other is away: what it has not sent yet comes when it is back.
        fleet.to_cascade[0].link(Link::Cut);
        fleet.member("edge a/2").kill().await;
        tokio::time::sleep(AWAY / 2).await;
        fleet.to_cascade[0].link(Link::Up);
        fleet.member("edge a/2").start().await;
        fleet.is_live(FRESH_WITHIN).await;
        fleet.is_whole().await;
    }
    let claims = claims.are_true().await;
    eprintln!("{claims} claims of completeness were true");
}
