//! A forwarder against an HTTP server that can misbehave.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use config::Document;
use model::{Append, AppendReport, Batch, Labels, Refusal, RefusalReason, Sample, TimestampMs};
use parking_lot::Mutex;
use remote_write::{DecodeLimits, decode};
use runtime::{Metrics, ServerLimits, Supervisor, bind, serve};

use crate::{Forwarder, Ingest, RemoteWriteConfig};

/// A destination: what it got, and the statuses of its next answers (204 when there are none).
#[derive(Clone, Default)]
struct Peer {
    values: Arc<Mutex<Vec<f64>>>,
    statuses: Arc<Mutex<Vec<StatusCode>>>,
}

async fn accept(State(peer): State<Peer>, body: Bytes) -> StatusCode {
    let status = peer.statuses.lock().pop().unwrap_or(StatusCode::NO_CONTENT);
    if status.is_success() {
        let decoded = decode(&body, &DecodeLimits::default()).expect("decodes");
        peer.values.lock().extend(decoded.batch.rows.iter().map(|r| r.sample.value));
    }
    status
}

async fn peer(supervisor: &Supervisor) -> (Peer, String) {
    let peer = Peer::default();
    let listener = bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/write", listener.local_addr().expect("has an address"));
    let router = Router::new().route("/write", post(accept)).with_state(peer.clone());
    serve(supervisor, "peer", listener, router, ServerLimits::default());
    (peer, url)
}

/// Takes everything but negative values.
struct Store;

impl Append for Store {
    fn append(&self, batch: &Batch) -> AppendReport {
        let bad = |(row, r): (usize, &model::Row)| {
            (r.sample.value < 0.0).then_some(Refusal { row, reason: RefusalReason::OutOfBounds })
        };
        AppendReport { refused: batch.rows.iter().enumerate().filter_map(bad).collect(), ..AppendReport::default() }
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
    (Ingest { store: Arc::new(Store), forwarder: Arc::new(forwarder) }, metrics)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
    ingest.append(&batch(&[1.0, -1.0, 2.0, 3.0]));
    until("delivery", || peer.values.lock().len() == 3).await;
    assert_eq!(*peer.values.lock(), [1.0, 2.0, 3.0]);
    tasks.stop(Duration::from_secs(5)).await;
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_refusal_is_counted_and_not_repeated() {
    let (server, tasks) = (Supervisor::new(), Supervisor::new());
    let (peer, url) = peer(&server).await;
    *peer.statuses.lock() = vec![StatusCode::BAD_REQUEST];
    let (ingest, metrics) =
        ingest(&tasks, &format!("[{{name: up, url: '{url}', queue_config: {{batch_send_deadline: 5ms}}}}]"));
    ingest.append(&batch(&[1.0]));
    let counted = r#"highwater_forward_samples_dropped_total{destination="up",reason="refused"} 1"#;
    until("the refusal", || String::from_utf8_lossy(&metrics.render()).contains(counted)).await;
    ingest.append(&batch(&[2.0]));
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
    ingest.append(&batch(&[1.0, 2.0]));
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
    ingest.append(&batch(&[1.0]));
    let next = configs(&format!("[{kept}]")).expect("is valid");
    ingest.forwarder.update(&next, &Labels::empty()).expect("updates");
    until("the removed one's delivery", || b.values.lock().len() == 1).await;
    ingest.append(&batch(&[2.0]));
    assert!(a.values.lock().is_empty());
    tasks.stop(Duration::from_secs(5)).await;
    assert_eq!((a.values.lock().clone(), b.values.lock().clone()), (vec![1.0, 2.0], vec![1.0]));
    server.stop(Duration::from_secs(5)).await;
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
        ("[{url: 'http://a/', sigv4: {}}]", "sigv4 is not supported yet"),
    ];
    for (text, want) in cases {
        let found = configs(text).expect_err(text);
        assert!(found.contains(want), "{text}: {found}");
    }
}
