//! What receivers refuse, and what they speak.

use super::peer::Peer;
use super::*;
use axum::http::StatusCode;

const FAST: &str = "batch_send_deadline: 5ms, min_backoff: 5ms, max_backoff: 50ms";

#[tokio::test]
async fn one_bad_sample_costs_itself() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().poison = Some(666.0);
    let (process, _folder) = process(&format!("[{{name: up, url: '{url}', queue_config: {{{FAST}}}}}]"));
    let names: Vec<String> = (0..1_000).map(|i| format!("s{i}")).collect();
    let rows: Vec<_> = names.iter().map(|n| (n.as_str(), 1, if n == "s666" { 666.0 } else { 1.0 })).collect();
    process.put_rows(&rows);
    until("the others", || peer.taken().len() == 999).await;
    process.put(&[2.0]);
    until("the next", || peer.values().last() == Some(&2.0)).await;
    assert_eq!(peer.taken().len(), 1_000, "and none of them twice");
    assert!(peer.requests().len() < 30, "{}", peer.requests().len());
    assert!(process.counts(r#"highwater_forward_samples_dropped_total{destination="up",reason="refused"} 1"#));
    assert!(process.counts(r#"highwater_forward_poison_samples_total{destination="up"} 1"#));
    assert!(process.counts(r#"highwater_forward_samples_sent_total{destination="up"} 1000"#), "{}", process.page());
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn requests_that_are_too_large_become_smaller() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().most = Some(100);
    let (process, _folder) = process(&format!("[{{name: up, url: '{url}', queue_config: {{{FAST}}}}}]"));
    process.put(&(0..1_000).map(f64::from).collect::<Vec<_>>());
    until("everything", || peer.taken().len() == 1_000).await;
    assert_eq!(peer.values(), (0..1_000).map(f64::from).collect::<Vec<_>>());
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_is_refused_whatever_is_in_it_is_counted_and_not_sent_again() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().statuses = vec![StatusCode::UNAUTHORIZED];
    let (process, _folder) = process(&format!("[{{name: up, url: '{url}', queue_config: {{{FAST}}}}}]"));
    process.put(&[1.0, 1.5, 1.6]);
    let counted = r#"highwater_forward_samples_dropped_total{destination="up",reason="refused"} 3"#;
    until("the refusal", || process.counts(counted)).await;
    process.put(&[2.0]);
    until("the next delivery", || peer.values() == [2.0]).await;
    assert_eq!(peer.requests().len(), 2);
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn columns_are_spoken_once_a_receiver_says_that_it_understands_them() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().is_ours = true;
    let (process, _folder) = process(&format!("[{{name: up, url: '{url}', queue_config: {{{FAST}}}}}]"));
    for (at, value) in [(0, 1.0), (1, 2.0), (2, 3.0)] {
        process.put_rows(&[("m", at, value)]);
        until("delivery", || peer.values().last() == Some(&value)).await;
    }
    let forms: Vec<_> = peer.requests().iter().filter(|r| !r.rows.is_empty()).map(|r| r.form).collect();
    assert_eq!(forms, ["1.0", "columns", "columns"]);
    // It restarts and knows nothing any more.
    peer.forget_sessions();
    process.put_rows(&[("m", 3, 4.0)]);
    until("delivery to who forgot", || peer.values().last() == Some(&4.0)).await;
    assert!(process.counts(r#"highwater_forward_retries_total{destination="up"} 0"#), "{}", process.page());
    // It is replaced by somebody who speaks 1.0 only.
    {
        let mut does = peer.does.lock();
        (does.is_ours, does.speaks_1_0_only) = (false, true);
    }
    process.put_rows(&[("m", 4, 5.0)]);
    until("delivery to who knows less", || peer.values().last() == Some(&5.0)).await;
    process.stop().await;
    assert_eq!(peer.values(), [1.0, 2.0, 3.0, 4.0, 5.0]);
    assert!(process.counts(r#"highwater_forward_samples_dropped_total{destination="up",reason="refused"} 0"#));
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn version_2_falls_back_where_it_is_not_understood() {
    let server = Supervisor::new();
    for (counts, only_1_0, want) in [(true, false, "2.0"), (false, false, "1.0"), (false, true, "1.0")] {
        let (peer, url) = Peer::start(&server).await;
        {
            let mut does = peer.does.lock();
            (does.counts, does.speaks_1_0_only) = (counts, only_1_0);
        }
        let message = "protobuf_message: io.prometheus.write.v2.Request";
        let (process, _folder) = process(&format!("[{{url: '{url}', {message}, queue_config: {{{FAST}}}}}]"));
        for (at, value) in [(0, 1.0), (1, 2.0)] {
            process.put_rows(&[("m", at, value)]);
            until("delivery", || peer.values().last() == Some(&value)).await;
        }
        process.stop().await;
        let requests = peer.requests();
        assert_eq!(requests.first().map(|r| r.form), Some("2.0"));
        assert_eq!(requests.last().map(|r| r.form), Some(want), "{counts} {only_1_0}");
        let version = if want == "2.0" { "2.0.0" } else { "0.1.0" };
        let last = requests.last().map(|r| r.headers["x-prometheus-remote-write-version"].clone());
        assert_eq!(last.as_ref().and_then(|v| v.to_str().ok()), Some(version));
    }
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn idle_senders_tell_receivers_of_ours_that_all_has_arrived() {
    let server = Supervisor::new();
    let ((ours, a), (stranger, b)) = (Peer::start(&server).await, Peer::start(&server).await);
    ours.does.lock().is_ours = true;
    let queue = format!("queue_config: {{{FAST}}}");
    let (process, _folder) = process(&format!("[{{name: a, url: '{a}', {queue}}}, {{name: b, url: '{b}', {queue}}}]"));
    process.ingest.forwarder.tell(Arc::new(|| sources::Report {
        source: Some(sources::SourceName::new("edge", "cell-7", "")),
        watermark: Some(TimestampMs(5_000)),
        ..sources::Report::default()
    }));
    process.put_rows(&[("m", 1_000, 1.0), ("m", 4_000, 2.0)]);
    let text = |seen: &super::peer::Seen, name: &str| {
        seen.headers.get(name).map(|v| v.to_str().expect("is text").to_owned()).unwrap_or_default()
    };
    let beats = |peer: &Peer| peer.requests().into_iter().filter(|r| r.rows.is_empty()).collect::<Vec<_>>();
    until("two beats", || beats(&ours).len() >= 2).await;
    let first = ours.requests().remove(0);
    assert_eq!(text(&first, "highwater-watermark-ms"), "999", "not what is under way");
    let beat = beats(&ours).remove(1);
    assert_eq!(
        (text(&beat, "highwater-source").as_str(), text(&beat, "highwater-watermark-ms").as_str()),
        ("edge/cell-7", "5000")
    );
    assert_eq!(text(&beat, "highwater-backlog"), "samples=0");
    assert_eq!(beats(&stranger).len(), 0, "others hear nothing of the kind");
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn an_address_that_is_not_in_use_hears_that_the_source_is_elsewhere() {
    let server = Supervisor::new();
    // The second one: alone, and as the address of another destination too.
    for is_shared in [false, true] {
        let ((used, a), (other, b)) = (Peer::start(&server).await, Peer::start(&server).await);
        [&used, &other].iter().for_each(|peer| peer.does.lock().is_ours = true);
        let queue = format!("queue_config: {{{FAST}}}");
        let two = if is_shared { format!(", {{name: two, url: '{b}', {queue}}}") } else { String::new() };
        let (process, _folder) = process(&format!("[{{name: one, urls: ['{a}', '{b}'], {queue}}}{two}]"));
        process.ingest.forwarder.tell(Arc::new(|| sources::Report {
            source: Some(sources::SourceName::new("edge", "cell-7", "")),
            watermark: Some(TimestampMs(5_000)),
            ..sources::Report::default()
        }));
        process.put_rows(&[("m", 1_000, 1.0)]);
        let heard = |peer: &Peer, name: &str| peer.requests().iter().filter(|r| r.headers.contains_key(name)).count();
        until("beats", || heard(&used, "highwater-watermark-ms") >= 3).await;
        let farewells = usize::from(!is_shared);
        until("a farewell", || heard(&other, "highwater-elsewhere") == farewells).await;
        assert_eq!(heard(&used, "highwater-elsewhere"), 0);
        process.stop().await;
        assert_eq!(heard(&other, "highwater-elsewhere"), farewells, "once");
    }
    server.stop(Duration::from_secs(5)).await;
}
