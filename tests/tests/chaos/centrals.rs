//! Two centrals, each of which got only a part of the writes: after a comparison both hold the whole, and say so.

use std::net::SocketAddr;

use super::checker::Stored;
use super::member::Member;
use super::proxy::{Faults, Proxy, Way};
use super::wire::{self, Labels, Point};
use crate::harness::{api, until};

/// Windows that fit into a test.
fn config(peers: &[SocketAddr]) -> String {
    let centrals: Vec<String> =
        peers.iter().map(|address| format!("{{url: 'http://{address}', timeout: 2s}}")).collect();
    format!(
        "global: {{evaluation_interval: 1s}}\n\
         peers: {{window: 10s, history: 20m, interval: 200ms, settle: 1s, centrals: [{}]}}\n",
        centrals.join(", ")
    )
}

/// Series of two regions, and their samples of ten minutes that ended a minute ago; the last is a staleness marker.
fn samples(now_ms: i64) -> Vec<(Labels, Vec<Point>)> {
    let series = |number: i64| {
        let pairs =
            [("__name__", "part".to_owned()), ("region", format!("r{}", number % 2)), ("n", number.to_string())];
        let labels = pairs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let from = now_ms - 660_000;
        let mut points: Vec<Point> = (0..120).map(|i| (from + i * 5_000 + number, (i as f64).to_bits())).collect();
        points.push((from + 600_500, 0x7ff0_0000_0000_0002));
        (labels, points)
    };
    (0..40).map(series).collect()
}

/// Writes the samples for which `has` holds, by number of series and of sample.
async fn write(to: SocketAddr, all: &[(Labels, Vec<Point>)], has: impl Fn(usize, usize) -> bool) {
    let part: Vec<(Labels, Vec<Point>)> = all
        .iter()
        .enumerate()
        .map(|(series, (labels, points))| {
            let kept = points.iter().enumerate().filter(|(sample, _)| has(series, *sample)).map(|(_, point)| *point);
            (labels.clone(), kept.collect())
        })
        .collect();
    let body = wire::write_request(part.iter().map(|(labels, points)| (labels, points.as_slice())));
    let answer = wire::write(to, body).await.expect("answers");
    assert_eq!(answer.0, 204, "{}", answer.1);
}

/// Selects them.
const PART: &[(&str, &str)] = &[("__name__", "part")];

fn without_region(labels: &Labels) -> Labels {
    labels.iter().filter(|(name, _)| *name != "region").map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Waits until a central holds these samples, each once, and no others.
async fn holds(address: SocketAddr, want: &Stored, now_ms: i64) {
    until(&format!("{address} to hold everything"), || async {
        Stored::read(address, PART, now_ms - 3_600_000, now_ms).await?.must_be(want)
    })
    .await;
}

/// What a central says of the peer that is not itself.
async fn told(address: SocketAddr) -> Result<serde_json::Value, String> {
    let peers = api(address, "peers", &[]).await?;
    let other = peers["peers"].as_array().and_then(|all| all.iter().find(|peer| peer["is_self"] == false));
    other.cloned().ok_or_else(|| format!("no peer: {peers}"))
}

async fn complete(address: SocketAddr) -> serde_json::Value {
    until(&format!("{address} to be complete"), || async {
        let peer = told(address).await?;
        let is_complete = peer["complete_since"].is_string() && peer["windows_differing"] == 0;
        if is_complete { Ok(peer) } else { Err(peer.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn centrals_that_lost_different_samples_hold_the_same_afterwards() {
    let _turn = super::turn().await;
    let mut centrals = ["central-1", "central-2"].map(|name| Member::new("central", name, ""));
    let [first, second] = [0, 1].map(|i: usize| centrals[i].address());
    // The second reaches the first through a link that breaks.
    let link = Proxy::start(first);
    centrals[0].configure(&config(&[first, second]));
    centrals[1].configure(&config(&[link.address(), second]));
    for central in &mut centrals {
        central.start().await;
    }
    let now_ms = runtime::now().0;
    let all = samples(now_ms);
    link.set(Faults { down: Way { corrupt_one_in: Some(50), ..Way::default() }, ..Faults::default() });
    // The second missed a region for minutes and the tenth sample of everything; the first some that the second has.
    write(first, &all, |series, sample| (series + sample) % 7 > 0).await;
    write(second, &all, |series, sample| (series + sample) % 7 == 0 || (series % 2 == 0 && sample % 10 > 0)).await;
    let want = Stored(all.iter().map(|(labels, points)| (without_region(labels), points.clone())).collect());
    holds(first, &want, now_ms).await;
    let have = Stored::read(second, PART, now_ms - 3_600_000, now_ms).await.expect("answers");
    have.must_be_within(&want).expect("corrupt bytes are not stored");
    link.set(Faults::default());
    holds(second, &want, now_ms).await;
    for address in [first, second] {
        let peer = complete(address).await;
        assert!(peer["samples_repaired"].as_u64().is_some_and(|n| n > 300) && peer["conflicts"] == 0, "{peer}");
    }

    // A peer that is gone is told, and its return too.
    centrals[0].kill().await;
    until("the second to miss the first", || async {
        let peer = told(second).await?;
        let is_missed = peer["reachable"] == false && peer["complete_since"].is_null() && peer["error"].is_string();
        if is_missed { Ok(()) } else { Err(peer.to_string()) }
    })
    .await;
    centrals[0].start().await;
    complete(second).await;
    complete(first).await;
}
