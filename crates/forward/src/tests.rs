//! A forwarder against an HTTP server that can misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use config::Document;
use model::{
    Append, AppendError, AppendReport, Batch, Commit, Durable, Exemplar, ExemplarRefusal, ExemplarRefusalReason,
    ExemplarReport, ExemplarRow, Labels, Refusal, RefusalReason, Sample, TimestampMs,
};
use parking_lot::Mutex;
use remote_write::{DecodeLimits, LabelDecoder, Scratch, decode_exemplars, decode_rows};
use runtime::{Metrics, ServerLimits, Supervisor, bind, serve};

use crate::{Forwarder, Ingest, RemoteWriteConfig};

/// A destination: what it got, and the statuses of its next answers (204 when there are none).
#[derive(Clone, Default)]
struct Peer {
    values: Arc<Mutex<Vec<f64>>>,
    series: Arc<Mutex<Vec<String>>>,
    exemplars: Arc<Mutex<Vec<ExemplarRow>>>,
    statuses: Arc<Mutex<Vec<StatusCode>>>,
    attempts: Arc<Mutex<Vec<Instant>>>,
}

async fn accept(State(peer): State<Peer>, body: Bytes) -> (StatusCode, [(&'static str, &'static str); 2]) {
    let status = peer.statuses.lock().pop().unwrap_or(StatusCode::NO_CONTENT);
    peer.attempts.lock().push(Instant::now());
    if status.is_success() {
        let (limits, mut scratch) = (DecodeLimits::default(), Scratch::default());
        let request = decode_rows(&body, &limits, &mut scratch).expect("decodes");
        let decoder = LabelDecoder::new(limits, Labels::empty());
        let shown = |labels: &[u8]| decoder.explain(labels).expect("are valid").to_string();
        peer.series.lock().extend(request.rows.iter().map(|r| shown(r.labels)));
        peer.exemplars.lock().extend(decode_exemplars(&request.exemplars, &decoder).0);
        peer.values.lock().extend(request.rows.iter().map(|r| r.sample.value));
    }
    // Of a request that it refuses it has stored one sample.
    (status, [("retry-after", "0"), ("x-prometheus-remote-write-samples-written", "1")])
}

async fn peer(supervisor: &Supervisor) -> (Peer, String) {
    let peer = Peer::default();
    let listener = bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/write", listener.local_addr().expect("has an address"));
    let router = Router::new().route("/write", post(accept)).with_state(peer.clone());
    serve(supervisor, "peer", listener, router, ServerLimits::default());
    (peer, url)
}

/// Takes everything but negative values; or nothing at all.
#[derive(Default)]
struct Store {
    fails: AtomicBool,
    asked: Mutex<Vec<Commit>>,
}

impl Append for Store {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(AppendError::Unwritable("no space left on purpose".to_owned()));
        }
        let bad = |(row, r): (usize, &model::Row)| {
            (r.sample.value < 0.0).then_some(Refusal { row, reason: RefusalReason::OutOfBounds })
        };
        let refused = batch.rows.iter().enumerate().filter_map(bad).collect();
        Ok(AppendReport { refused, ..AppendReport::default() })
    }

    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        let old = |(_, r): &(usize, &ExemplarRow)| r.exemplar.timestamp.0 < 0;
        let refusal = |(row, _)| ExemplarRefusal { row, reason: ExemplarRefusalReason::OutOfOrder };
        let refused = rows.iter().enumerate().filter(old).map(refusal).collect();
        Ok(ExemplarReport { refused, ..ExemplarReport::default() })
    }

    fn when_durable(&self, commit: Commit, done: Durable) {
        self.asked.lock().push(commit);
        done(Ok(()));
    }
}

fn configs(text: &str) -> Result<Vec<RemoteWriteConfig>, String> {
    let document = Document::parse("c.yml".as_ref(), text).map_err(|p| p.to_string())?;
    let out = RemoteWriteConfig::decode_list(&document.root().items());
    document.finish().map_err(|p| p.to_string())?;
    Ok(out)
}

fn batch(values: &[f64]) -> Batch {
    let mut out = Batch::default();
    for (i, value) in values.iter().enumerate() {
        out.push(Labels::from_pairs([("__name__", "m")]), Sample { timestamp: TimestampMs(i as i64), value: *value });
    }
    out
}

fn ingest(supervisor: &Supervisor, text: &str) -> (Ingest, Metrics) {
    let metrics = Metrics::new("test").expect("registers");
    let forwarder = Forwarder::new(supervisor, &metrics).expect("builds");
    forwarder.update(&configs(text).expect("is valid"), &Labels::empty()).expect("builds");
    (Ingest { store: Arc::new(Store::default()), forwarder: Arc::new(forwarder) }, metrics)
}

fn put(ingest: &Ingest, values: &[f64]) {
    ingest.append(&batch(values)).expect("takes samples");
}

/// Appends rows `name{job=...}` with their labels as they come over the wire, under a stamp.
fn put_encoded(ingest: &Ingest, stamp: &[(&str, &str)], rows: &[(&str, &str, f64)]) -> AppendReport {
    let mut batch = Batch::default();
    for (i, (name, job, value)) in rows.iter().enumerate() {
        let sample = Sample { timestamp: TimestampMs(i as i64), value: *value };
        batch.push(Labels::from_pairs([("__name__", *name), ("job", *job)]), sample);
    }
    let (limits, mut scratch, body) = (DecodeLimits::default(), Scratch::default(), remote_write::encode(&batch));
    let decoder = LabelDecoder::new(limits, Labels::from_pairs(stamp.iter().copied()));
    let request = decode_rows(&body, &limits, &mut scratch).expect("decodes");
    ingest.append_encoded(&request.batch(&decoder)).expect("takes samples")
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn exemplars_go_with_the_samples_where_they_are_wanted() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let ((wants, url), (wants_none, other)) = (peer(&server).await, peer(&server).await);
    // Sent again after a failure.
    *wants.statuses.lock() = vec![StatusCode::BAD_GATEWAY];
    let queue = "queue_config: {batch_send_deadline: 5ms}";
    let relabel = "write_relabel_configs: [{target_label: tier, replacement: edge}]";
    let (ingest, metrics) = ingest(
        &tasks,
        &format!(
            "[{{url: '{url}', name: a, send_exemplars: true, match: ['m'], {relabel}, {queue}}}, {{url: '{other}', name: b, {queue}}}]"
        ),
    );
    let row = |name, at| ExemplarRow {
        series: Labels::from_pairs([("__name__", name)]),
        exemplar: Exemplar { labels: Labels::from_pairs([("trace_id", "t")]), value: 0.5, timestamp: TimestampMs(at) },
    };
    ingest.append_exemplars(&[row("m", 1), row("m", -1), row("not_selected", 2), row("m", 3)]).expect("takes some");
    put(&ingest, &[1.0]);
    until("delivery", || wants.values.lock().len() == 1 && wants_none.values.lock().len() == 1).await;
    let got = wants.exemplars.lock().clone();
    let times: Vec<i64> = got.iter().map(|r| r.exemplar.timestamp.0).collect();
    assert_eq!(times, [1, 3]);
    assert!(
        got.iter()
            .all(|r| r.series.to_string() == r#"m{tier="edge"}"# && r.exemplar.labels == row("m", 1).exemplar.labels)
    );
    assert_eq!(*wants_none.exemplars.lock(), []);
    tasks.stop(Duration::from_secs(5)).await;
    let text = String::from_utf8(metrics.render()).expect("is text");
    assert!(text.contains("highwater_forward_exemplars_sent_total{destination=\"a\"} 2\n"), "{text}");
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn sends_in_order_through_failures_and_skips_what_was_not_stored() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    *peer.statuses.lock() =
        vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY, StatusCode::INTERNAL_SERVER_ERROR];
    let (ingest, _) = ingest(
        &tasks,
        &format!("[{{url: '{url}', queue_config: {{batch_send_deadline: 5ms, max_samples_per_send: 2}}}}]"),
    );
    put(&ingest, &[1.0, -1.0, 2.0, 3.0]);
    until("delivery", || peer.values.lock().len() == 3).await;
    assert_eq!(*peer.values.lock(), [1.0, 2.0, 3.0]);
    tasks.stop(Duration::from_secs(5)).await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn encoded_rows_are_sent_as_decoded_ones_are() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    let (ingest, _) = ingest(&tasks, &format!("[{{url: '{url}', match: ['up', '{{zone=\"b\"}}']}}]"));
    // Once with series that are new, once with series that are known; then the same bytes under another stamp.
    for stamp in [&[("zone", "a")][..], &[("zone", "a")], &[("zone", "b")]] {
        let rows = [("up", "x", 1.0), ("up", "x", -1.0), ("down", "x", 2.0), ("", "nameless", 3.0), ("up", "y", 4.0)];
        let refused: Vec<_> = put_encoded(&ingest, stamp, &rows).refused.iter().map(|r| (r.row, r.reason)).collect();
        assert_eq!(refused, [(1, RefusalReason::OutOfBounds), (3, RefusalReason::InvalidLabels)]);
    }
    tasks.stop(Duration::from_secs(5)).await;
    let series = |job: &str, zone: &str| format!("up{{job=\"{job}\", zone=\"{zone}\"}}");
    let (x, y) = (series("x", "a"), series("y", "a"));
    let zone_b = [series("x", "b"), r#"down{job="x", zone="b"}"#.to_owned(), series("y", "b")];
    assert_eq!(*peer.series.lock(), [&[x.clone(), y.clone(), x, y], &zone_b[..]].concat());
    assert_eq!(*peer.values.lock(), [1.0, 4.0, 1.0, 4.0, 1.0, 2.0, 4.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_reload_decides_anew_about_known_series() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    let section = |more: &str| format!("[{{name: up, url: '{url}', {more}}}]");
    let (ingest, _) = ingest(&tasks, &section("match: [up]"));
    let rows = [("up", "x", 1.0), ("down", "x", 2.0)];
    put_encoded(&ingest, &[], &rows);
    let relabelled = "match: [down], write_relabel_configs: [{target_label: job, replacement: y}]";
    let next = configs(&section(relabelled)).expect("is valid");
    ingest.forwarder.update(&next, &Labels::from_pairs([("zone", "a")])).expect("updates");
    put_encoded(&ingest, &[], &rows);
    tasks.stop(Duration::from_secs(5)).await;
    assert_eq!(*peer.series.lock(), [r#"up{job="x"}"#, r#"down{job="y", zone="a"}"#]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_the_store_cannot_take_is_not_sent_and_durability_is_the_stores() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    let (mut ingest, _) = ingest(&tasks, &format!("[{{url: '{url}'}}]"));
    let store = Arc::new(Store::default());
    ingest.store = store.clone();
    store.fails.store(true, Ordering::Relaxed);
    assert!(matches!(ingest.append(&batch(&[1.0])), Err(AppendError::Unwritable(_))));
    store.fails.store(false, Ordering::Relaxed);
    put(&ingest, &[2.0]);
    let (done, told) = std::sync::mpsc::channel();
    ingest.when_durable(Commit(7), Box::new(move |result| done.send(result).expect("is heard")));
    assert_eq!((told.recv(), &*store.asked.lock()), (Ok(Ok(())), &vec![Commit(7)]));
    tasks.stop(Duration::from_secs(5)).await;
    assert_eq!(*peer.values.lock(), [2.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_refusal_is_counted_and_not_repeated() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    *peer.statuses.lock() = vec![StatusCode::BAD_REQUEST];
    let (ingest, metrics) =
        ingest(&tasks, &format!("[{{name: up, url: '{url}', queue_config: {{batch_send_deadline: 5ms}}}}]"));
    put(&ingest, &[1.0, 1.5, 1.6]);
    let counted = r#"highwater_forward_samples_dropped_total{destination="up",reason="refused"} 2"#;
    until("the refusal", || String::from_utf8_lossy(&metrics.render()).contains(counted)).await;
    // What the destination says it has stored is sent, not lost.
    let sent = r#"highwater_forward_samples_sent_total{destination="up"} 1"#;
    assert!(String::from_utf8_lossy(&metrics.render()).contains(sent));
    put(&ingest, &[2.0]);
    until("the next delivery", || peer.values.lock().len() == 1).await;
    assert_eq!(*peer.values.lock(), [2.0]);
    tasks.stop(Duration::from_secs(5)).await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn stopping_sends_what_waits() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    let (ingest, _) = ingest(&tasks, &format!("[{{url: '{url}', queue_config: {{batch_send_deadline: 1h}}}}]"));
    put(&ingest, &[1.0, 2.0]);
    tasks.stop(Duration::from_secs(5)).await;
    assert_eq!(*peer.values.lock(), [1.0, 2.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_removed_destination_sends_what_waits_and_an_unchanged_one_stays() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let ((a, url_a), (b, url_b)) = (peer(&server).await, peer(&server).await);
    let queue = "queue_config: {batch_send_deadline: 1h}";
    let kept = format!("{{name: a, url: '{url_a}', {queue}}}");
    let (ingest, _) = ingest(&tasks, &format!("[{kept}, {{name: b, url: '{url_b}', {queue}}}]"));
    put(&ingest, &[1.0]);
    let next = configs(&format!("[{kept}]")).expect("is valid");
    ingest.forwarder.update(&next, &Labels::empty()).expect("updates");
    until("the removed one's delivery", || b.values.lock().len() == 1).await;
    put(&ingest, &[2.0]);
    assert!(a.values.lock().is_empty());
    tasks.stop(Duration::from_secs(5)).await;
    assert_eq!((a.values.lock().clone(), b.values.lock().clone()), (vec![1.0, 2.0], vec![1.0]));
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_destination_of_a_reload_outlives_what_feeds_it() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    let (ingest, _) = ingest(&tasks, "[]");
    let ingest = Arc::new(ingest);
    let feeding = ingest.clone();
    tasks.spawn("feeder", |stop| async move {
        stop.requested().await;
        put(&feeding, &[1.0]);
    });
    let next = configs(&format!("[{{url: '{url}'}}]")).expect("is valid");
    ingest.forwarder.update(&next, &Labels::empty()).expect("updates");
    tasks.stop(Duration::from_secs(5)).await;
    assert_eq!(*peer.values.lock(), [1.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_dead_destination_takes_no_time_from_the_others() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    // Accepts connections and never answers.
    let silent = bind("127.0.0.1:0").await.expect("binds");
    let dead = format!("http://{}/", silent.local_addr().expect("has an address"));
    let queue = "queue_config: {batch_send_deadline: 1h}";
    let (ingest, _) = ingest(&tasks, &format!("[{{url: '{url}', {queue}}}, {{url: '{dead}', {queue}}}]"));
    put(&ingest, &[1.0]);
    tasks.stop(Duration::from_secs(1)).await;
    assert_eq!(*peer.values.lock(), [1.0]);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_changed_destination_stays_in_order_and_in_the_metrics() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    *peer.statuses.lock() = vec![StatusCode::BAD_GATEWAY];
    let section = |queue: &str| format!("[{{name: up, url: '{url}', queue_config: {{{queue}}}}}]");
    let (ingest, metrics) = ingest(&tasks, &section("batch_send_deadline: 1ms, min_backoff: 1h, max_backoff: 1h"));
    put(&ingest, &[1.0]);
    until("the failure", || peer.attempts.lock().len() == 1).await;
    // What waits for the next try in an hour is the new one's to send, at once.
    let next = configs(&section("batch_send_deadline: 1ms")).expect("is valid");
    ingest.forwarder.update(&next, &Labels::empty()).expect("updates");
    put(&ingest, &[2.0]);
    until("delivery", || peer.values.lock().len() == 2).await;
    assert_eq!(*peer.values.lock(), [1.0, 2.0]);
    let text = String::from_utf8_lossy(&metrics.render()).into_owned();
    assert!(text.contains(r#"highwater_forward_queue_capacity{destination="up"} 1000000"#), "{text}");
    tasks.stop(Duration::from_secs(5)).await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_pause_of_zero_is_no_invitation_to_hammer() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    *peer.statuses.lock() = vec![StatusCode::TOO_MANY_REQUESTS; 3];
    let queue = "{batch_send_deadline: 1ms, min_backoff: 20ms, max_backoff: 20ms}";
    let (ingest, _) = ingest(&tasks, &format!("[{{url: '{url}', queue_config: {queue}}}]"));
    put(&ingest, &[1.0]);
    until("delivery", || peer.values.lock().len() == 1).await;
    let attempts = peer.attempts.lock().clone();
    assert!(attempts.windows(2).all(|w| w[1] - w[0] >= Duration::from_millis(20)), "{attempts:?}");
    tasks.stop(Duration::from_secs(5)).await;
    server.stop(Duration::from_secs(5)).await;
}

#[test]
fn a_stock_section_means_what_it_means_in_prometheus() {
    let text = "[{url: 'http://a/', send_exemplars: true, send_native_histograms: false, metadata_config: {send: true, \
                send_interval: 2m}, queue_config: {capacity: 2500, max_shards: 200, min_shards: 1, \
                max_samples_per_send: 500, sample_age_limit: 0s, retry_on_http_429: true}}]";
    let config = configs(text).expect("is valid").remove(0);
    assert_eq!((config.queue.capacity, config.queue.max_samples_per_send), (500_000, 500));
    assert_eq!(config.metadata.map(|m| m.send_interval), Some(Duration::from_secs(120)));
}

#[test]
fn bad_sections_are_named() {
    let cases = [
        ("[{}]", "url is missing"),
        ("[{url: 'central:9090'}]", "not an HTTP address"),
        ("[{url: nonsense}]", "not a URL"),
        ("[{url: 'http://a/', match: ['up{']}]", "c.yml:1:"),
        ("[{url: 'http://a/', name: x}, {url: 'http://b/', name: x}]", "another remote_write destination is named"),
        ("[{url: 'http://a/', queue_config: {capacity: 0}}]", "at least 1"),
        ("[{url: 'http://a/', queue_config: {capasity: 5}}]", "did you mean \"capacity\""),
        ("[{url: 'http://a/', protobuf_message: io.prometheus.write.v2.Request}]", "not supported yet"),
        ("[{url: 'http://a/', queue_config: {max_shards: 0}}]", "at least 1"),
        ("[{url: 'http://a/', queue_config: {sample_age_limit: 1h}}]", "not supported yet"),
        ("[{url: 'http://a/', sigv4: {}}]", "sigv4 is not supported yet"),
    ];
    for (text, want) in cases {
        let found = configs(text).expect_err(text);
        assert!(found.contains(want), "{text}: {found}");
    }
}
