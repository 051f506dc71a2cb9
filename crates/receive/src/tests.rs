//! Requests as clients send them, and what they hear.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use model::{Append, AppendReport, Batch, Labels, Refusal, RefusalReason, Sample, TimestampMs};
use parking_lot::Mutex;
use remote_write::DecodeLimits;
use runtime::{CpuPool, Metrics};
use tower::ServiceExt;

use crate::{ReceiverOptions, Stamp, router};

/// Keeps what it gets; refuses negative values.
#[derive(Default)]
struct Sink(Mutex<Vec<Batch>>);

impl Append for Sink {
    fn append(&self, batch: &Batch) -> AppendReport {
        let bad = |(row, r): (usize, &model::Row)| {
            (r.sample.value < 0.0).then_some(Refusal { row, reason: RefusalReason::OutOfBounds })
        };
        let refused: Vec<Refusal> = batch.rows.iter().enumerate().filter_map(bad).collect();
        self.0.lock().push(batch.clone());
        AppendReport { appended: batch.rows.len() - refused.len(), duplicates: 0, refused }
    }
}

fn batch(values: &[f64]) -> Batch {
    let mut out = Batch::default();
    for value in values {
        out.push(
            Labels::from_pairs([("__name__", "up"), ("region", "claimed")]),
            Sample { timestamp: TimestampMs(1), value: *value },
        );
    }
    out
}

async fn send(sink: Arc<Sink>, stamp: Labels, head: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, String, String) {
    let metrics = Metrics::new("test").expect("registers");
    let limits = DecodeLimits { max_decoded_bytes: 10_000, ..DecodeLimits::default() };
    let options = ReceiverOptions { sink, stamp: Stamp::new(stamp), pool: CpuPool::new(1, 1), limits };
    let mut request = Request::post("/api/v1/write");
    for (name, value) in head {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).expect("is a request");
    let response = router(options, &metrics).expect("builds").oneshot(request).await.expect("answers");
    let status = response.status();
    let written = response.headers()["x-prometheus-remote-write-samples-written"].to_str().expect("is text").to_owned();
    let bytes = response.into_body().collect().await.expect("reads").to_bytes();
    (status, written, String::from_utf8_lossy(&bytes).into_owned())
}

type Head = &'static [(&'static str, &'static str)];

const PROMETHEUS: [(&str, &str); 3] = [
    ("content-encoding", "snappy"),
    ("content-type", "application/x-protobuf"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

#[tokio::test]
async fn stores_and_stamps() {
    let sink = Arc::new(Sink::default());
    let stamp = Labels::from_pairs([("region", "eu")]);
    let (status, written, _) = send(sink.clone(), stamp, &PROMETHEUS, remote_write::encode(&batch(&[1.0, 2.0]))).await;
    assert_eq!((status, written.as_str()), (StatusCode::NO_CONTENT, "2"));
    assert!(sink.0.lock()[0].rows.iter().all(|r| r.labels.get("region") == Some("eu")));
}

#[tokio::test]
async fn a_bad_sample_is_named_and_the_rest_is_kept() {
    let body = remote_write::encode(&batch(&[1.0, -1.0, 2.0]));
    let (status, written, text) = send(Arc::default(), Labels::empty(), &PROMETHEUS, body).await;
    assert_eq!((status, written.as_str()), (StatusCode::BAD_REQUEST, "2"));
    assert!(
        text.contains("1 sample was not stored (out_of_bounds=1)") && text.contains(r#"up{region="claimed"} at 1 ms"#),
        "{text}"
    );
}

#[tokio::test]
async fn says_what_it_does_not_speak() {
    let body = remote_write::encode(&batch(&[1.0]));
    let cases: [(Head, Vec<u8>, StatusCode, &str); 6] = [
        (&[], body.clone(), StatusCode::NO_CONTENT, ""),
        (&[("content-encoding", "zstd")], body.clone(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "send snappy"),
        (
            &[("content-type", "application/json")],
            body.clone(),
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "application/x-protobuf",
        ),
        (
            &[("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")],
            body,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not supported yet",
        ),
        (&PROMETHEUS, b"rubbish".to_vec(), StatusCode::BAD_REQUEST, "snappy"),
        (&PROMETHEUS, vec![0; 20_000], StatusCode::PAYLOAD_TOO_LARGE, "10000 bytes"),
    ];
    for (head, body, want, says) in cases {
        let (status, _, text) = send(Arc::default(), Labels::empty(), head, body).await;
        assert!(status == want && text.contains(says), "{head:?}: {status} {text}");
    }
}
