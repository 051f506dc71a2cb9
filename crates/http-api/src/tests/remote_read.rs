//! Remote read as another Prometheus asks and as it reads the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use model::{Labels, SampleBuffer, stale_nan};
use prost::Message;
use runtime::{CpuPool, Metrics};

use super::fixture::{Reply, Store, sample_store, send};
use crate::{RemoteReadLimits, RemoteReadOptions, remote_read_router};

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<Query>,
    #[prost(int32, repeated, tag = "2")]
    accepted: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<LabelMatcher>,
    #[prost(message, optional, tag = "4")]
    hints: Option<Hints>,
}

#[derive(Clone, PartialEq, Message)]
struct Hints {
    #[prost(string, tag = "2")]
    func: String,
}

#[derive(Clone, PartialEq, Message)]
struct LabelMatcher {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
struct Chunk {
    #[prost(int64, tag = "1")]
    min: i64,
    #[prost(int64, tag = "2")]
    max: i64,
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkedSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    chunks: Vec<Chunk>,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkedResponse {
    #[prost(message, repeated, tag = "1")]
    series: Vec<ChunkedSeries>,
    #[prost(int64, tag = "2")]
    query: i64,
}

/// The query of each series, its labels and samples, as bits.
type Found = Vec<(usize, String, Vec<(i64, u64)>)>;

const SAMPLES: &[i32] = &[];
const CHUNKS: &[i32] = &[1, 0];

fn query(start: i64, end: i64, matchers: &[(i32, &str, &str)]) -> Query {
    let matcher = |(kind, name, value): &(i32, &str, &str)| LabelMatcher {
        kind: *kind,
        name: (*name).into(),
        value: (*value).into(),
    };
    Query { start, end, matchers: matchers.iter().map(matcher).collect(), hints: None }
}

fn app_with(store: Store, limits: RemoteReadLimits) -> (Router, Metrics) {
    let metrics = Metrics::new("test").expect("registers");
    let options = RemoteReadOptions {
        storage: Arc::new(store),
        external_labels: Arc::new(|| Labels::from_pairs([("region", "eu"), ("job", "never")])),
        limits,
        pool: CpuPool::new(2, 100),
    };
    (remote_read_router(options, &metrics).expect("registers"), metrics)
}

fn packed(queries: Vec<Query>, accepted: &[i32]) -> Vec<u8> {
    let message = ReadRequest { queries, accepted: accepted.to_vec() }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&message).expect("compresses")
}

async fn post(app: &Router, body: Vec<u8>) -> Reply {
    send(app, Request::post("/api/v1/read").body(Body::from(body)).expect("is a request")).await
}

fn shown(labels: &[Label]) -> String {
    let sorted = labels.windows(2).all(|pair| pair[0].name < pair[1].name);
    assert!(sorted, "{labels:?}");
    Labels::from_pairs(labels.iter().map(|l| (&l.name, &l.value))).to_string()
}

fn samples(reply: &Reply) -> Found {
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    assert_eq!(reply.header("content-type"), "application/x-protobuf");
    assert_eq!(reply.header("content-encoding"), "snappy");
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    let message = snap::raw::Decoder::new().decompress_vec(&reply.body).expect("is snappy");
    let response = ReadResponse::decode(message.as_slice()).expect("decodes");
    let of = |(query, result): (usize, QueryResult)| {
        result.series.into_iter().map(move |series| {
            let samples = series.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
            (query, shown(&series.labels), samples)
        })
    };
    response.results.into_iter().enumerate().flat_map(of).collect()
}

/// Frames joined to series, and how many frames and chunks there were.
fn chunks(reply: &Reply, max: usize) -> (Found, usize, usize) {
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let content_type = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    assert_eq!((reply.header("content-type"), reply.header("content-encoding")), (content_type, ""));
    let (mut rest, mut found, mut frames, mut count) = (reply.body.as_slice(), Found::new(), 0, 0);
    while !rest.is_empty() {
        let length = prost::encoding::decode_varint(&mut rest).expect("is a length") as usize;
        assert!(length <= max, "{length}");
        let (_checksum, behind) = rest.split_at(4);
        let (message, behind) = behind.split_at(length);
        rest = behind;
        let response = ChunkedResponse::decode(message).expect("decodes");
        frames += 1;
        for series in response.series {
            let mut buffer = SampleBuffer::default();
            for chunk in &series.chunks {
                let from = buffer.len();
                prometheus_block::decode_xor(&chunk.data, &mut buffer).expect("is a chunk");
                assert!(buffer.len() - from <= 120);
                if buffer.len() > from {
                    assert_eq!((buffer.timestamps[from], buffer.timestamps.last()), (chunk.min, Some(&chunk.max)));
                }
                count += 1;
            }
            let pairs = buffer.timestamps.into_iter().zip(buffer.values.iter().map(|v| v.to_bits()));
            let (query, labels) = (response.query as usize, shown(&series.labels));
            match found.last_mut() {
                Some(last) if (last.0, &last.1) == (query, &labels) => last.2.extend(pairs),
                _ => found.push((query, labels, pairs.collect())),
            }
        }
    }
    (found, frames, count)
}

/// Both kinds of answers to the same request.
async fn both(app: &Router, queries: Vec<Query>) -> Found {
    let found = samples(&post(app, packed(queries.clone(), SAMPLES)).await);
    let (streamed, ..) = chunks(&post(app, packed(queries, CHUNKS)).await, 1 << 20);
    assert_eq!(found, streamed);
    found
}

#[tokio::test]
async fn series_have_external_labels_and_their_own_order() {
    let mut store = Store::default();
    // Inside, the first comes first; with a region, it does not.
    store.add(&[("__name__", "m")], &[(10, 1.0), (20, stale_nan()), (30, -0.0)]);
    store.add(&[("__name__", "m"), ("job", "a"), ("region", "own")], &[(20, 2.0)]);
    store.add(&[("__name__", "other")], &[(10, 1.0)]);
    let (app, metrics) = app_with(store, RemoteReadLimits::default());
    let name = (0, "__name__", "m");
    let row = |query, labels: &str, samples: &[(i64, f64)]| {
        (query, labels.to_owned(), samples.iter().map(|(at, value)| (*at, value.to_bits())).collect::<Vec<_>>())
    };
    let queries = vec![
        query(10, 30, &[name]),
        // True for all, whether inside or not.
        query(11, 20, &[name, (0, "region", "eu")]),
        query(0, 9, &[name]),
        query(30, 10, &[name]),
        query(0, 99, &[(2, "__name__", "m|other"), (1, "job", "a"), (3, "__name__", "o.*")]),
        query(0, 99, &[name, (0, "region", "us")]),
    ];
    let (own, given) = (r#"m{job="a", region="own"}"#, r#"m{job="never", region="eu"}"#);
    let want = [
        row(0, own, &[(20, 2.0)]),
        row(0, given, &[(10, 1.0), (20, stale_nan()), (30, -0.0)]),
        row(1, own, &[(20, 2.0)]),
        row(1, given, &[(20, stale_nan())]),
        row(4, given, &[(10, 1.0), (20, stale_nan()), (30, -0.0)]),
    ];
    assert_eq!(both(&app, queries).await, want);
    let text = String::from_utf8(metrics.render()).expect("is text");
    assert!(text.contains("\nprometheus_api_remote_read_queries 0\n"), "{text}");
}

#[tokio::test]
async fn nothing_asked_is_nothing_answered() {
    let (app, _) = app_with(sample_store(), RemoteReadLimits::default());
    assert_eq!(both(&app, Vec::new()).await, []);
    assert_eq!(both(&app, vec![query(0, 99, &[(0, "__name__", "none")])]).await, []);
}

#[tokio::test]
async fn with_the_hint_series_only_labels_are_answered() {
    let (app, _) = app_with(sample_store(), RemoteReadLimits::default());
    let hints = Some(Hints { func: "series".into() });
    let found = both(&app, vec![Query { hints, ..query(0, 100_000, &[(0, "__name__", "up")]) }]).await;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(_, labels, samples)| labels.contains("instance") && samples.is_empty()));
}

/// So much that it takes many frames of many chunks, and pieces of both kinds.
fn much() -> (Store, Vec<Query>) {
    let mut store = Store::default();
    for n in 0..40 {
        let samples: Vec<_> = (0..1000).map(|i| (i * 15_000, (i * i % 97) as f64 * 0.3 + f64::from(n))).collect();
        store.add(&[("__name__", "m"), ("n", &n.to_string())], &samples);
    }
    (store, vec![query(0, i64::MAX, &[(0, "__name__", "m")])])
}

#[tokio::test]
async fn large_answers_come_in_frames_and_pieces() {
    let (store, queries) = much();
    let (app, _) = app_with(store, RemoteReadLimits { max_frame_bytes: 2_000, ..RemoteReadLimits::default() });
    let (found, frames, count) = chunks(&post(&app, packed(queries.clone(), CHUNKS)).await, 2_000);
    assert_eq!(found, samples(&post(&app, packed(queries, SAMPLES)).await));
    assert_eq!((found.len(), found.iter().map(|f| f.2.len()).sum::<usize>()), (40, 40_000));
    assert_eq!(count, 40 * 9, "1000 samples take 9 chunks");
    assert!(frames > 40 * 3, "{frames}");
}

#[tokio::test]
async fn errors_are_text() {
    let (app, _) = app_with(sample_store(), RemoteReadLimits { max_samples: 10, ..RemoteReadLimits::default() });
    let up = |accepted: &[i32]| packed(vec![query(0, 100_000, &[(0, "__name__", "requests_total")])], accepted);
    for (body, says) in [
        (b"rubbish".to_vec(), "snappy"),
        (up(&[5]), "none of the response types [5] is supported"),
        (up(SAMPLES), "exceeded sample limit (10)"),
        (packed(vec![query(0, 1, &[(2, "a", "(")])], SAMPLES), "matcher of label \"a\""),
    ] {
        let reply = post(&app, body).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (400, "text/plain; charset=utf-8"));
        assert!(reply.text().contains(says) && reply.text().ends_with('\n'), "{}", reply.text());
    }
    // As in Prometheus, the limit is not for streams.
    assert_eq!(chunks(&post(&app, up(CHUNKS)).await, 1 << 20).0[0].2.len(), 11);
    let method = send(&app, Request::get("/api/v1/read").body(Body::empty()).expect("is a request")).await;
    assert_eq!(method.status, 405);
}

#[tokio::test]
async fn so_many_at_once_and_a_reader_that_leaves_gives_its_place_up() {
    let running = Arc::new(AtomicUsize::new(0));
    let (mut store, queries) = much();
    let seen = running.clone();
    store.gate = Some(Arc::new(move || {
        seen.fetch_add(1, Ordering::SeqCst);
    }));
    let (app, metrics) = app_with(store, RemoteReadLimits { concurrency: 1, ..RemoteReadLimits::default() });
    // The first has its head and a piece of its body, and so its place.
    let request = || Request::post("/api/v1/read").body(Body::from(packed(queries.clone(), CHUNKS))).expect("is one");
    let first = tower::ServiceExt::oneshot(app.clone(), request()).await.expect("answers");
    assert_eq!(running.load(Ordering::SeqCst), 1);
    let second = tokio::spawn(tower::ServiceExt::oneshot(app.clone(), request()));
    tokio::task::yield_now().await;
    let text = String::from_utf8(metrics.render()).expect("is text");
    assert!(text.contains("\nprometheus_api_remote_read_queries 2\n"), "{text}");
    assert_eq!(running.load(Ordering::SeqCst), 1);
    drop(first);
    let second = second.await.expect("joins").expect("answers");
    assert_eq!((second.status().as_u16(), running.load(Ordering::SeqCst)), (200, 2));
}
