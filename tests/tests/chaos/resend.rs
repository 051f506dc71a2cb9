//! Everything is sent a second time, to every tier, in other pieces and while new samples arrive.

use std::net::SocketAddr;

use super::fleet::{Fleet, Plan, SINGLE};
use super::wire;

/// Writes what `from` holds of the single edge into `to`, under the labels by which `to` knows it: an edge does not put
/// its own name on what it stores.
async fn send_again(from: SocketAddr, to: SocketAddr, since_ms: i64) -> usize {
    let all = wire::read(from, &[("job", "paged"), ("metacluster", SINGLE)], since_ms, runtime::now().0).await;
    let mut all = all.expect("answers");
    all.iter_mut().for_each(|(labels, _)| labels.retain(|name, _| from != to || name != "metacluster"));
    // A few samples of all series at a time, then all samples of a few series.
    let longest = all.iter().map(|(_, points)| points.len()).max().unwrap_or_default();
    for begin in (0..longest).step_by(3) {
        let piece =
            all.iter().map(|(labels, points)| (labels, &points[begin.min(points.len())..points.len().min(begin + 3)]));
        accepted(to, wire::write_request(piece)).await;
    }
    for series in all.chunks(7) {
        accepted(to, wire::write_request(series.iter().map(|(labels, points)| (labels, points.as_slice())))).await;
    }
    all.iter().map(|(_, points)| points.len()).sum()
}

async fn accepted(to: SocketAddr, body: Vec<u8>) {
    let answer = wire::write(to, body).await.expect("answers");
    assert_eq!((answer.0, answer.1.as_str()), (204, ""), "a sample that is known already is no mistake");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_is_there_once() {
    let _turn = super::turn().await;
    let fleet = Fleet::start(Plan::default()).await;
    let edge = fleet.edges[2].address();
    for _ in 0..super::rounds() {
        let before = fleet.is_whole().await;
        let mut sent = send_again(edge, edge, fleet.started_ms).await;
        sent += send_again(edge, fleet.cascade.address(), fleet.started_ms).await;
        for central in fleet.central_addresses() {
            sent += send_again(fleet.cascade.address(), central, fleet.started_ms).await;
        }
        let after = fleet.is_whole().await;
        eprintln!("{sent} samples sent again, twice each: {before} everywhere once before, {after} after");
        assert!(sent >= 4 * before);
    }
}
