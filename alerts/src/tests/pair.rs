//! Two routers that see each other, lose each other and find each other again.

use axum::http::StatusCode;
use tempfile::TempDir;

use super::*;

struct Pair {
    first: Node,
    second: Node,
    folders: [TempDir; 2],
    text: String,
    peer_timeout: Duration,
}

impl Pair {
    /// Two routers that know each other; `first` has the first word.
    async fn start(sink: &Sink, peer_timeout: Duration, group_wait: &str) -> Self {
        let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
        let text = config(sink, "", "").replace("group_wait: 200ms", &format!("group_wait: {group_wait}"));
        let first = Node::start(folders[0].path(), &text, "first", Some((&[], peer_timeout))).await;
        // Identities grow by the millisecond.
        let born = runtime::now();
        until("a millisecond has passed", || async { (runtime::now() > born).then_some(()) }).await;
        let peers = [first.app.cluster_address()];
        let second = Node::start(folders[1].path(), &text, "second", Some((&peers, peer_timeout))).await;
        let pair = Self { first, second, folders, text, peer_timeout };
        pair.meet().await;
        pair
    }

    async fn meet(&self) {
        for node in [&self.first, &self.second] {
            until("both see each other and are settled", || async {
                let status = node.get("/api/v2/status").await;
                let cluster = &status["cluster"];
                let ready = cluster["status"] == "ready" && cluster["peers"].as_array().map(Vec::len) == Some(2);
                ready.then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_notifies_once() {
    let sink = Sink::start().await;
    let pair = Pair::start(&sink, Duration::from_secs(1), "200ms").await;
    tokio::join!(pair.first.fire("down"), pair.second.fire("down"));
    sink.wait("down", "firing", 1).await;
    tokio::join!(pair.first.resolve("down"), pair.second.resolve("down"));
    sink.wait("down", "resolved", 1).await;
    // The second router has had its turn when it logs a group that was made after this one.
    pair.second.fire("marker").await;
    sink.wait("marker", "firing", 1).await;
    assert_eq!((sink.count("down", "firing"), sink.count("down", "resolved")), (1, 1));
    assert_eq!(sink.delivered()[0].2, "http://first");
    pair.first.stop().await;
    pair.second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_hold_what_one_received() {
    let sink = Sink::start().await;
    let pair = Pair::start(&sink, Duration::from_secs(1), "200ms").await;
    pair.second.fire("down").await;
    until("the first holds the alert", || async { pair.first.has_alert("down").await.then_some(()) }).await;
    let silence = json!({
        "matchers": [{ "name": "alertname", "value": "quiet", "isRegex": false }],
        "startsAt": "2020-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "createdBy": "me", "comment": "why",
    });
    assert_eq!(pair.first.post("/api/v2/silences", silence).await.0, 200);
    until("the second holds the silence", || async {
        (pair.second.get("/api/v2/silences").await.as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    sink.wait("down", "firing", 1).await;
    pair.first.stop().await;
    pair.second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_first_dies_the_second_notifies() {
    let sink = Sink::start().await;
    let pair = Pair::start(&sink, Duration::from_secs(1), "2s").await;
    tokio::join!(pair.first.fire("down"), pair.second.fire("down"));
    pair.first.kill().await;
    sink.wait("down", "firing", 1).await;
    assert_eq!(sink.delivered()[0].2, "http://second");
    pair.second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_first_dies_while_the_second_waits_its_turn_comes_at_once() {
    let sink = Sink::behaving(|body, _| {
        // The first is killed long before this answer.
        let slow = body["externalURL"] == "http://first";
        (StatusCode::OK, if slow { DEADLINE * 10 } else { Duration::ZERO })
    })
    .await;
    let pair = Pair::start(&sink, DEADLINE * 10, "200ms").await;
    tokio::join!(pair.first.fire("down"), pair.second.fire("down"));
    until("the first sends", || async { (sink.attempts() == 1).then_some(()) }).await;
    pair.first.kill().await;
    sink.wait("down", "firing", 1).await;
    assert_eq!(sink.delivered()[0].2, "http://second");
    pair.second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_channel_of_the_first_fails_the_second_notifies() {
    let sink = Sink::behaving(|body, _| {
        let refused = body["externalURL"] == "http://first";
        (if refused { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, Duration::ZERO)
    })
    .await;
    let pair = Pair::start(&sink, Duration::from_secs(1), "200ms").await;
    tokio::join!(pair.first.fire("down"), pair.second.fire("down"));
    sink.wait("down", "firing", 1).await;
    let series = "alertmanager_notification_requests_failed_total{integration=\"webhook\"}";
    until("the first gives up since the second has sent", || async {
        let failed_before = pair.first.metric(series).await;
        let idle = pair
            .first
            .metric("alertmanager_notifications_failed_total{integration=\"webhook\",reason=\"serverError\"}");
        (failed_before.is_some() && idle.await.as_deref() == Some("0")).then_some(())
    })
    .await;
    pair.first.stop().await;
    pair.second.stop().await;
    assert_eq!(sink.count("down", "firing"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_send_is_not_taken_for_a_failed_one() {
    // Much longer than the second waits for the first.
    let sink = Sink::behaving(|_, _| (StatusCode::OK, Duration::from_secs(3))).await;
    let pair = Pair::start(&sink, Duration::from_millis(500), "500ms").await;
    tokio::join!(pair.first.fire("down"), pair.second.fire("down"));
    sink.wait("down", "firing", 1).await;
    pair.first.stop().await;
    pair.second.stop().await;
    assert_eq!(sink.attempts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_returns_repeats_nothing() {
    let sink = Sink::start().await;
    let Pair { first, second, folders, text, peer_timeout } = Pair::start(&sink, Duration::from_secs(1), "200ms").await;
    second.kill().await;
    first.fire("down").await;
    sink.wait("down", "firing", 1).await;
    let peers = [first.app.cluster_address()];
    // With an empty folder: everything it knows comes from its peer.
    let fresh = tempfile::tempdir().expect("a folder");
    let second = Node::start(fresh.path(), &text, "second", Some((&peers, peer_timeout))).await;
    let pair = Pair { first, second, folders, text, peer_timeout };
    pair.meet().await;
    assert!(pair.second.has_alert("down").await, "a settled router holds what its peer holds");
    pair.second.fire("marker").await;
    sink.wait("marker", "firing", 1).await;
    pair.first.stop().await;
    // The log travelled: alone, the second still knows what was said.
    pair.second.fire("down").await;
    pair.second.fire("last").await;
    sink.wait("last", "firing", 1).await;
    assert_eq!(sink.count("down", "firing"), 1);
    pair.second.stop().await;
    drop(pair.folders);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_stood_still_listens_before_it_speaks() {
    let sink = Sink::start().await;
    let pair = Pair::start(&sink, Duration::from_secs(1), "200ms").await;
    pair.first.app.cluster().stand_still(DEADLINE);
    assert!(!pair.first.app.cluster().is_settled());
    pair.meet().await;
    pair.first.fire("down").await;
    sink.wait("down", "firing", 1).await;
    pair.first.stop().await;
    pair.second.stop().await;
    assert_eq!(sink.attempts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_whose_peer_is_away_notifies_all_the_same() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    // Nothing listens on port 1.
    let peers = ["127.0.0.1:1".to_owned()];
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", Some((&peers, Duration::from_secs(1)))).await;
    node.fire("down").await;
    sink.wait("down", "firing", 1).await;
    assert_eq!(node.metric("alertmanager_cluster_failed_peers").await.as_deref(), Some("1"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_at_the_cluster_port_is_refused() {
    let sink = Sink::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", Some((&[], Duration::from_secs(1)))).await;
    for path in ["heartbeat", "push", "pull"] {
        let url = Url::parse(&format!("http://{}/cluster/v1/{path}", node.app.cluster_address())).expect("a URL");
        let request = node.client.request(Method::POST, url).expect("a request");
        let request = request.header("content-type", "application/json").body("[1, 2");
        assert!(request.send().await.expect("answers").status().is_client_error(), "{path}");
    }
    node.stop().await;
}
