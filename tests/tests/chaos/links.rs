//! Links that misbehave, one fault after the other: what crosses them arrives whole, and other links do not suffer.

use std::time::Duration;

use super::fleet::{Fleet, PAIR, Plan, behind};
use super::proxy::{Faults, Link, Way};

/// How long each fault lasts.
const LASTS: Duration = Duration::from_secs(3);
/// From the end of a fault until samples are fresh.
const FRESH_WITHIN: Duration = Duration::from_secs(5);

fn up(up: Way) -> Faults {
    Faults { up, ..Faults::default() }
}

fn link(link: Link) -> Faults {
    Faults { link, ..Faults::default() }
}

/// After each fault everything must be there, and then nothing of it is left over.
async fn survives(faults: &[(&str, Faults)]) {
    let mut fleet = Fleet::start(Plan { remote_write: ", remote_timeout: 2s", ..Plan::default() }).await;
    let claims = fleet.claims();
    for round in 0..super::rounds() {
        for (name, faults) in faults {
            fleet.to_central[1].set(*faults);
            fleet.to_cascade[2].set(if round % 2 == 0 { Faults::default() } else { *faults });
            tokio::time::sleep(LASTS).await;
            // The other central hears of the other edges as ever.
            let other = behind(fleet.centrals[0].address(), PAIR, 0).await;
            assert!(other.as_ref().is_ok_and(|seconds| *seconds <= 3.0), "{name}: {other:?}");
            fleet.to_central[1].set(Faults::default());
            fleet.to_cascade[2].set(Faults::default());
            let fresh = fleet.is_live(FRESH_WITHIN).await;
            let samples = fleet.is_whole().await;
            eprintln!("{name}: fresh after {fresh:?}, {samples} samples are everywhere once");
        }
    }
    let claims = claims.are_true().await;
    eprintln!("{claims} claims of completeness were true");
    fleet.member("cascade").terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_slow_silent_or_cut_loses_nothing() {
    let _turn = super::turn().await;
    let (way, delay) = (Way::default(), Duration::from_millis(300));
    let delayed = Way { delay, ..way };
    survives(&[
        ("delay", Faults { link: Link::Up, up: delayed, down: delayed }),
        ("cut", link(Link::Cut)),
        ("half-open", link(Link::HalfOpen)),
        ("slow reader", up(Way { bytes_per_second: Some(300), ..way })),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_breaks_and_damages_loses_nothing() {
    let _turn = super::turn().await;
    let way = Way::default();
    survives(&[
        ("loss in the middle of requests", up(Way { break_after: Some(700), ..way })),
        ("damaged requests", up(Way { corrupt_one_in: Some(100), ..way })),
        ("loss in the middle of answers", Faults { down: Way { break_after: Some(60), ..way }, ..Faults::default() }),
    ])
    .await;
}
