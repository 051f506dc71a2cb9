//! A central is away: the other one does not notice, and when it comes back it has the present at once and its past soon.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::checker::agree;
use super::fleet::{Fleet, Plan};
use super::proxy::Link;
use super::wire::{self, Labels, Point};
use crate::harness::query;

/// From the end of the cut until samples are fresh.
const FRESH_WITHIN: Duration = Duration::from_secs(5);
/// Seconds of timestamps that the outage lasts: they are written quickly, so that nobody has to wait for an hour.
const BACKLOG_SECONDS: i64 = 3_600;
const SERIES: i64 = 50;
/// Timestamps of one request.
const AT_ONCE: i64 = 100;

/// An hour of a metacluster, a sample per second and series, as its edge would have sent it in that hour.
async fn write_an_hour(to: SocketAddr, end_ms: i64) {
    for from in (0..BACKLOG_SECONDS).step_by(AT_ONCE as usize) {
        let series: Vec<(Labels, Vec<Point>)> = (0..SERIES)
            .map(|n| {
                let labels = [("__name__", "hour_total"), ("metacluster", "cell-h"), ("series", &n.to_string())];
                let point = |s: i64| (end_ms - (BACKLOG_SECONDS - s) * 1_000, ((s * SERIES + n) as f64).to_bits());
                let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
                (labels.into(), (from..from + AT_ONCE).map(point).collect())
            })
            .collect();
        let body = wire::write_request(series.iter().map(|(labels, points)| (labels, points.as_slice())));
        let answer = wire::write(to, body).await;
        assert!(answer.as_ref().is_ok_and(|(status, _)| *status == 204), "{answer:?}");
    }
}

async fn arrived(at: SocketAddr) -> f64 {
    let found = query(at, "sum(count_over_time(hour_total[2h]))").await;
    found.ok().and_then(|all| all.first().map(|element| element.value)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_the_present_comes_at_once_and_the_past_soon() {
    let _turn = super::turn().await;
    let mut fleet = Fleet::start(Plan::default()).await;
    let [near, away] = fleet.central_addresses();
    fleet.to_central[1].link(Link::Cut);
    let cut_ms = runtime::now().0;
    write_an_hour(fleet.cascade.address(), cut_ms).await;
    let claims = fleet.claims();
    // In the middle of it an edge restarts, and then the cascade dies, with everything that the central has not got.
    fleet.member("edge b").terminate().await;
    fleet.member("edge b").start().await;
    fleet.member("cascade").kill().await;
    fleet.member("cascade").start().await;
    // What waits is the destination's: another address changes nothing.
    fleet.move_central(1, Link::Cut);
    fleet.is_live_at(&[near], FRESH_WITHIN).await;
    assert_eq!(arrived(away).await, 0.0, "the cut does not cut");

    fleet.to_central[1].link(Link::Up);
    let lifted = Instant::now();
    let fresh = fleet.is_live(FRESH_WITHIN).await;
    let (mut drained, mut worst) = (None, 0.0_f64);
    // The backlog's end must come, and nothing may be late while it drains.
    while drained.is_none() {
        if arrived(away).await >= (BACKLOG_SECONDS * SERIES) as f64 {
            drained = Some(lifted.elapsed());
        }
        worst = worst.max(fleet.most_behind(&[away]).await.expect("is live"));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(lifted.elapsed().as_secs() * 10 < BACKLOG_SECONDS as u64, "drains slower than ten times real time");
    }
    let rate = BACKLOG_SECONDS as f64 / drained.unwrap_or_default().as_secs_f64();
    eprintln!(
        "fresh {fresh:?} after the cut's end; an hour drained in {drained:?}, {rate:.0} times real time, while live \
         samples were at most {worst:.1} s behind"
    );
    assert!(worst <= FRESH_WITHIN.as_secs_f64(), "live samples were {worst} s behind while the backlog drained");
    fleet.is_whole().await;
    let hour: &[_] = &[("__name__", "hour_total")];
    let from = cut_ms - (BACKLOG_SECONDS + 60) * 1_000;
    let both = [near, away];
    let found = agree((fleet.cascade.address(), hour), (&both, hour), from, cut_ms).await;
    assert_eq!(found.samples(), (BACKLOG_SECONDS * SERIES) as usize);
    let claims = claims.are_true().await;
    eprintln!("{claims} claims of completeness were true");
}
