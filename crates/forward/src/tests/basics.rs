//! What every destination gets, and what a reload changes.

use super::peer::Peer;
use super::*;
use axum::http::StatusCode;
use model::{EncodedBatch, Exemplar};
use remote_write::{DecodeLimits, Format, LabelDecoder, Scratch, decode_rows};
use runtime::bind;

/// Appends rows `name{job=...}` with their labels as they come over the wire, under a stamp.
fn put_encoded(ingest: &Ingest, stamp: &[(&str, &str)], rows: &[(&str, &str, f64)]) -> AppendReport {
    let mut batch = Batch::default();
    for (i, (name, job, value)) in rows.iter().enumerate() {
        let sample = Sample { timestamp: TimestampMs(i as i64), value: *value };
        batch.push(Labels::from_pairs([("__name__", *name), ("job", *job)]), sample);
    }
    let (limits, mut scratch, body) = (DecodeLimits::default(), Scratch::default(), remote_write::encode(&batch));
    let decoder = LabelDecoder::new(limits, Labels::from_pairs(stamp.iter().copied()));
    let request = decode_rows(&body, Format::default(), &limits, &mut scratch).expect("decodes");
    let batch: EncodedBatch<'_> = request.batch(&decoder);
    ingest.append_encoded(&batch).expect("takes samples")
}

#[tokio::test]
async fn exemplars_go_with_the_samples_where_they_are_wanted() {
    let server = Supervisor::new();
    let ((wants, url), (wants_none, other)) = (Peer::start(&server).await, Peer::start(&server).await);
    // Sent again after a failure.
    wants.does.lock().statuses = vec![StatusCode::BAD_GATEWAY];
    let queue = "queue_config: {batch_send_deadline: 5ms}";
    let relabel = "write_relabel_configs: [{target_label: tier, replacement: edge}]";
    let (process, _folder) = process(&format!(
        "[{{url: '{url}', name: a, send_exemplars: true, match: ['m'], {relabel}, {queue}}}, {{url: '{other}', name: b, {queue}}}]"
    ));
    let row = |name, at| ExemplarRow {
        series: Labels::from_pairs([("__name__", name)]),
        exemplar: Exemplar { labels: Labels::from_pairs([("trace_id", "t")]), value: 0.5, timestamp: TimestampMs(at) },
    };
    let rows = [row("m", 1), row("m", -1), row("not_selected", 2), row("m", 3)];
    process.ingest.append_exemplars(&rows).expect("takes some");
    process.put(&[1.0]);
    until("delivery", || wants.exemplars.lock().len() == 2 && wants_none.values().len() == 1).await;
    let got = wants.exemplars.lock().clone();
    let times: Vec<i64> = got.iter().map(|r| r.exemplar.timestamp.0).collect();
    assert_eq!(times, [1, 3]);
    let is_right = |r: &ExemplarRow| {
        r.series.to_string() == r#"m{tier="edge"}"# && r.exemplar.labels == row("m", 1).exemplar.labels
    };
    assert!(got.iter().all(is_right));
    assert_eq!(*wants_none.exemplars.lock(), []);
    process.stop().await;
    assert!(process.counts("highwater_forward_exemplars_sent_total{destination=\"a\"} 2"), "{}", process.page());
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn rows_arrive_in_order_and_without_what_the_store_refused() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().statuses = vec![StatusCode::BAD_GATEWAY, StatusCode::TOO_MANY_REQUESTS];
    let (process, _folder) =
        process(&format!("[{{url: '{url}', queue_config: {{batch_send_deadline: 5ms, max_samples_per_send: 2}}}}]"));
    process.put(&[1.0, -1.0, 2.0, 3.0]);
    until("delivery", || peer.values().len() == 3).await;
    assert_eq!(peer.values(), [1.0, 2.0, 3.0]);
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn encoded_rows_are_sent_as_decoded_ones_are() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    let (process, _folder) = process(&format!("[{{url: '{url}', match: ['up', '{{zone=\"b\"}}']}}]"));
    // Once with series that are new, once with series that are known; then the same bytes under another stamp.
    for stamp in [&[("zone", "a")][..], &[("zone", "a")], &[("zone", "b")]] {
        let rows = [("up", "x", 1.0), ("up", "x", -1.0), ("down", "x", 2.0), ("", "nameless", 3.0), ("up", "y", 4.0)];
        let report = put_encoded(&process.ingest, stamp, &rows);
        let refused: Vec<_> = report.refused.iter().map(|r| (r.row, r.reason)).collect();
        assert_eq!(refused, [(1, RefusalReason::OutOfBounds), (3, RefusalReason::InvalidLabels)]);
    }
    process.stop().await;
    let series = |name: &str, job: &str, zone: &str| format!("{name}{{job=\"{job}\", zone=\"{zone}\"}}");
    let mut got: Vec<_> = peer.taken().into_iter().map(|(series, _, value)| (series, value as i64)).collect();
    got.sort();
    let want = [
        (series("down", "x", "b"), 2),
        (series("up", "x", "a"), 1),
        (series("up", "x", "a"), 1),
        (series("up", "x", "b"), 1),
        (series("up", "y", "a"), 4),
        (series("up", "y", "a"), 4),
        (series("up", "y", "b"), 4),
    ];
    assert_eq!(got, want);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_reload_decides_anew_about_known_series() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    let section =
        |more: &str| format!("[{{name: up, url: '{url}', queue_config: {{batch_send_deadline: 1ms}}, {more}}}]");
    let (process, _folder) = process(&section("match: [up]"));
    let rows = [("up", "x", 1.0), ("down", "x", 2.0)];
    put_encoded(&process.ingest, &[], &rows);
    until("delivery", || peer.values().len() == 1).await;
    let relabelled = "match: [down], write_relabel_configs: [{target_label: job, replacement: y}]";
    let next = configs(&section(relabelled)).expect("is valid");
    process.ingest.forwarder.update(&next, &Labels::from_pairs([("zone", "a")])).expect("updates");
    put_encoded(&process.ingest, &[], &rows);
    process.stop().await;
    let series: Vec<String> = peer.taken().into_iter().map(|(series, _, _)| series).collect();
    assert_eq!(series, [r#"up{job="x"}"#, r#"down{job="y", zone="a"}"#]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_the_store_cannot_take_is_not_sent_and_durable_is_both() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    let (mut process, _folder) = process(&format!("[{{url: '{url}'}}]"));
    let store = Arc::new(Store::default());
    process.ingest.store = store.clone();
    store.fails.store(true, Ordering::Relaxed);
    let batch = |value| {
        let mut batch = Batch::default();
        batch.push(Labels::from_pairs([("__name__", "m")]), Sample { timestamp: TimestampMs(0), value });
        batch
    };
    assert!(matches!(process.ingest.append(&batch(1.0)), Err(AppendError::Unwritable(_))));
    store.fails.store(false, Ordering::Relaxed);
    let unsynced = process.ingest.forwarder.core.queue.synced();
    process.put(&[2.0]);
    let (done, told) = std::sync::mpsc::channel();
    process.ingest.when_durable(Commit(7), Box::new(move |result| done.send(result).expect("is heard")));
    let told = tokio::task::spawn_blocking(move || told.recv()).await.expect("ends");
    assert_eq!((told, &*store.asked.lock()), (Ok(Ok(())), &vec![Commit(7)]));
    assert!(process.ingest.forwarder.core.queue.synced() > unsynced);
    process.stop().await;
    assert_eq!(peer.values(), [2.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn stopping_sends_what_waits() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    let (process, _folder) = process(&format!("[{{url: '{url}', queue_config: {{batch_send_deadline: 1h}}}}]"));
    process.put(&[1.0, 2.0]);
    process.stop().await;
    assert_eq!(peer.values(), [1.0, 2.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_removed_destination_sends_what_waits_and_an_unchanged_one_stays() {
    let server = Supervisor::new();
    let ((a, url_a), (b, url_b)) = (Peer::start(&server).await, Peer::start(&server).await);
    let queue = "queue_config: {batch_send_deadline: 1h}";
    let kept = format!("{{name: a, url: '{url_a}', {queue}}}");
    let (process, _folder) = process(&format!("[{kept}, {{name: b, url: '{url_b}', {queue}}}]"));
    process.put(&[1.0]);
    process.reload(&format!("[{kept}]"));
    until("the removed one's delivery", || b.values().len() == 1).await;
    process.put(&[2.0]);
    assert!(a.values().is_empty());
    process.stop().await;
    assert_eq!((a.values(), b.values()), (vec![1.0, 2.0], vec![1.0]));
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_destination_of_a_reload_outlives_what_feeds_it() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    let (process, _folder) = process("[]");
    let process = Arc::new(process);
    let feeding = process.clone();
    process.tasks.spawn("feeder", |stop| async move {
        stop.requested().await;
        feeding.put(&[1.0]);
    });
    process.reload(&format!("[{{url: '{url}'}}]"));
    process.stop().await;
    assert_eq!(peer.values(), [1.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_dead_destination_takes_no_time_from_the_others() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    // Accepts connections and never answers.
    let silent = bind("127.0.0.1:0").await.expect("binds");
    let dead = format!("http://{}/", silent.local_addr().expect("has an address"));
    let queue = "queue_config: {batch_send_deadline: 1h}";
    let (process, _folder) = process(&format!("[{{url: '{url}', {queue}}}, {{url: '{dead}', {queue}}}]"));
    process.put(&[1.0]);
    process.tasks.stop(Duration::from_secs(1)).await;
    assert_eq!(peer.values(), [1.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_changed_destination_goes_on_where_it_was_at_another_address() {
    let server = Supervisor::new();
    let ((down, old), (peer, new)) = (Peer::start(&server).await, Peer::start(&server).await);
    down.does.lock().is_down = true;
    let section = |url: &str, queue: &str| format!("[{{name: up, url: '{url}', queue_config: {{{queue}}}}}]");
    let (process, _folder) = process(&section(&old, "batch_send_deadline: 1ms, min_backoff: 1h, max_backoff: 1h"));
    process.put(&[1.0]);
    until("the failure", || !down.requests().is_empty()).await;
    // What waits for the next try in an hour is the new one's to send, at once.
    process.reload(&section(&new, "batch_send_deadline: 1ms"));
    process.put_rows(&[("m", 1, 2.0)]);
    until("delivery", || peer.values().len() == 2).await;
    assert_eq!(peer.values(), [1.0, 2.0]);
    assert!(process.page().contains(r#"highwater_forward_destination_up{destination="up"} 1"#));
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_pause_of_zero_is_no_invitation_to_hammer() {
    let server = Supervisor::new();
    let (peer, url) = Peer::start(&server).await;
    peer.does.lock().statuses = vec![StatusCode::TOO_MANY_REQUESTS; 3];
    let queue = "{batch_send_deadline: 1ms, min_backoff: 40ms, max_backoff: 40ms}";
    let (process, _folder) = process(&format!("[{{url: '{url}', queue_config: {queue}}}]"));
    process.put(&[1.0]);
    until("delivery", || peer.values().len() == 1).await;
    let requests = peer.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.windows(2).all(|w| w[1].at - w[0].at >= Duration::from_millis(20)), "{requests:?}");
    process.stop().await;
    server.stop(Duration::from_secs(5)).await;
}

#[test]
fn a_stock_section_means_what_it_means_in_prometheus() {
    let text = "[{url: 'http://a/', send_exemplars: true, send_native_histograms: false, metadata_config: {send: true, \
                send_interval: 2m}, protobuf_message: prometheus.WriteRequest, queue_config: {capacity: 2500, max_shards: 200, \
                min_shards: 1, max_samples_per_send: 500, sample_age_limit: 0s, retry_on_http_429: true}}]";
    let config = configs(text).expect("is valid").remove(0);
    assert_eq!((config.queue.capacity, config.queue.max_samples_per_send), (500_000, 500));
    assert_eq!(config.metadata.map(|m| m.send_interval), Some(Duration::from_secs(120)));
    let text = "[{urls: ['http://a/', 'http://b/'], choose: hash, queue_config: {max_disk_bytes: 1GiB, max_age: 1d, live_target: 5s, \
                backfill: oldest_first, lanes: never, wire: '2.0', sample_age_limit: 1h}}]";
    let config = configs(text).expect("is valid").remove(0);
    assert_eq!((config.urls.len(), config.choose), (2, crate::Choose::Hash));
    assert_eq!((config.queue.max_disk_bytes, config.queue.lanes), (1 << 30, crate::Lanes::Never));
}

#[test]
fn bad_sections_are_named() {
    let cases = [
        ("[{}]", "url is missing"),
        ("[{url: 'central:9090'}]", "not an HTTP address"),
        ("[{url: nonsense}]", "not a URL"),
        ("[{urls: []}]", "at least one address"),
        ("[{url: 'http://a/', urls: ['http://b/']}]", "keep one of them"),
        ("[{url: 'http://a/', choose: random}]", "order, hash"),
        ("[{url: 'http://a/', match: ['up{']}]", "c.yml:1:"),
        ("[{url: 'http://a/', name: x}, {url: 'http://b/', name: x}]", "another remote_write destination is named"),
        ("[{url: 'http://a/', queue_config: {capacity: 0}}]", "at least 1"),
        ("[{url: 'http://a/', queue_config: {capasity: 5}}]", "did you mean \"capacity\""),
        ("[{url: 'http://a/', queue_config: {lanes: two}}]", "auto, always, never"),
        ("[{url: 'http://a/', protobuf_message: io.prometheus.write.v3.Request}]", "io.prometheus.write.v2.Request"),
        ("[{url: 'http://a/', queue_config: {max_shards: 0}}]", "at least 1"),
        ("[{url: 'http://a/', sigv4: {}}]", "sigv4 is not supported yet"),
    ];
    for (text, want) in cases {
        let found = configs(text).expect_err(text);
        assert!(found.contains(want), "{text}: {found}");
    }
}
