//! Requests as clients send them, and what they hear.

mod columns;
mod protocol;
mod sharing;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use model::{
    Append, AppendError, AppendReport, Batch, Commit, Durable, Exemplar, ExemplarRefusal, ExemplarRefusalReason,
    ExemplarReport, ExemplarRow, Labels, Refusal, RefusalReason, Sample, TimestampMs,
};
use parking_lot::Mutex;
use remote_write::DecodeLimits;
use runtime::{CpuPool, Metrics};
use tower::ServiceExt;

use crate::{ReceiverLimits, ReceiverOptions, Stamp, router};

/// Keeps what it gets; values below zero are refused, each number for another reason.
#[derive(Default)]
struct Sink {
    stored: Mutex<Vec<Batch>>,
    exemplars: Mutex<Vec<ExemplarRow>>,
    fails: Option<AppendError>,
    /// Where appends end; zero is durable at once.
    commit: Commit,
    waiting: Mutex<Vec<(Commit, Durable)>>,
    waits: tokio::sync::Notify,
}

impl Append for Sink {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        if let Some(error) = &self.fails {
            return Err(error.clone());
        }
        let bad = |(row, r): (usize, &model::Row)| {
            let reason = RefusalReason::ALL.get((-r.sample.value) as usize)?;
            (r.sample.value < 0.0).then_some(Refusal { row, reason: *reason })
        };
        let refused: Vec<Refusal> = batch.rows.iter().enumerate().filter_map(bad).collect();
        self.stored.lock().push(batch.clone());
        let appended = batch.rows.len() - refused.len();
        Ok(AppendReport { appended, duplicates: 0, refused, commit: self.commit })
    }

    /// Takes those with a positive value, knows those with zero.
    fn append_exemplars(&self, rows: &[ExemplarRow]) -> Result<ExemplarReport, AppendError> {
        let mut report = ExemplarReport::default();
        for (row, exemplar) in rows.iter().enumerate() {
            match exemplar.exemplar.value {
                value if value > 0.0 => report.appended += 1,
                0.0 => report.duplicates += 1,
                _ => report.refused.push(ExemplarRefusal { row, reason: ExemplarRefusalReason::OutOfOrder }),
            }
        }
        self.exemplars.lock().extend(rows.iter().cloned());
        Ok(report)
    }

    fn when_durable(&self, commit: Commit, done: Durable) {
        self.waiting.lock().push((commit, done));
        self.waits.notify_one();
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

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    written: String,
    exemplars: String,
    retry_after: Option<String>,
    text: String,
    head: axum::http::HeaderMap,
}

/// A receiver that many requests go to.
fn receiver(sink: Arc<dyn Append>, stamp: Labels, change: impl FnOnce(&mut ReceiverOptions)) -> axum::Router {
    let metrics = Metrics::new("test").expect("registers");
    let decode = DecodeLimits { max_decoded_bytes: 10_000, ..DecodeLimits::default() };
    let limits = ReceiverLimits { decode, max_body_bytes: 10_000, ..ReceiverLimits::default() };
    let (stamp, pool) = (Stamp::new(stamp), CpuPool::new(1, 1));
    let mut options = ReceiverOptions { sink, stamp, pool, limits, sources: Arc::default() };
    change(&mut options);
    router(options, &metrics).expect("builds")
}

async fn ask(router: &axum::Router, method: &str, head: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = Request::builder().method(method).uri("/api/v1/write");
    for (name, value) in head {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("is a request");
    let response = router.clone().oneshot(request).await.expect("answers");
    let (head, body) = response.into_parts();
    let header = |name| head.headers.get(name).map(|v| v.to_str().expect("is text").to_owned());
    let (status, retry_after) = (head.status, header("retry-after"));
    let written = header("x-prometheus-remote-write-samples-written").expect("is always there");
    let exemplars = header("x-prometheus-remote-write-exemplars-written").expect("is always there");
    assert!(header("x-prometheus-remote-write-histograms-written").is_some(), "is always there");
    assert_eq!(header("highwater-accept").as_deref(), Some("zstd, columns"));
    assert_eq!(header("highwater-lanes").as_deref(), Some("1"));
    assert_eq!(header("highwater-version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let bytes = body.collect().await.expect("reads").to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Answer { status, written, exemplars, retry_after, text, head: head.headers }
}

async fn answer(sink: Arc<Sink>, stamp: Labels, head: &[(&str, &str)], body: Vec<u8>) -> Answer {
    ask(&receiver(sink, stamp, |_| ()), "POST", head, body).await
}

async fn send(sink: Arc<Sink>, stamp: Labels, head: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, String, String) {
    let Answer { status, written, text, .. } = answer(sink, stamp, head, body).await;
    (status, written, text)
}

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
    assert!(sink.stored.lock()[0].rows.iter().all(|r| r.labels.get("region") == Some("eu")));
}

#[tokio::test]
async fn exemplars_are_stored_and_those_that_are_not_fail_nothing() {
    let row = |series: &str, value| ExemplarRow {
        series: Labels::from_pairs([("__name__", series), ("region", "claimed")]),
        exemplar: Exemplar { labels: Labels::from_pairs([("trace_id", "t")]), value, timestamp: TimestampMs(1) },
    };
    // More than are stored at once; of the first one nobody can say whose it is.
    let mut rows = vec![row("", 1.0), row("a", 0.0), row("a", -1.0)];
    rows.extend((0..300).map(|n| row("b", f64::from(n + 1))));
    let sink = Arc::new(Sink::default());
    let body = remote_write::Encoder::default().encode_with_exemplars(&batch(&[1.0]).rows, &rows, &[]);
    let stamp = Labels::from_pairs([("region", "eu")]);
    let answer = answer(sink.clone(), stamp, &PROMETHEUS, body).await;
    assert_eq!((answer.status, answer.written.as_str()), (StatusCode::NO_CONTENT, "1"));
    assert_eq!(answer.exemplars, "301");
    let stored = sink.exemplars.lock();
    assert_eq!(stored.len(), 302);
    assert!(stored.iter().all(|r| r.series.get("region") == Some("eu")), "the stamp is theirs too");
    assert!(stored.iter().zip(&rows[1..]).all(|(a, b)| a.exemplar == b.exemplar));
}

#[tokio::test]
async fn a_bad_sample_is_named_and_the_rest_is_kept() {
    let mut batch = batch(&[1.0, -1.0, 2.0]);
    batch.push(Labels::from_pairs([("nameless", "x")]), Sample { timestamp: TimestampMs(1), value: 3.0 });
    let (status, written, text) =
        send(Arc::default(), Labels::empty(), &PROMETHEUS, remote_write::encode(&batch)).await;
    assert_eq!((status, written.as_str()), (StatusCode::BAD_REQUEST, "2"));
    for want in [
        "2 samples were not stored (out_of_bounds=1, invalid_labels=1), every other sample was",
        r#"older than the retention of this store: up{region="claimed"} at 1 ms"#,
        r#"series {nameless="x"} has no metric name"#,
    ] {
        assert!(text.contains(want), "{want}: {text}");
    }
}

#[tokio::test]
async fn over_a_limit_the_metric_is_named_with_its_stamp_however_much_else_is_refused() {
    let place = |reason| -(RefusalReason::ALL.iter().position(|r| *r == reason).expect("is one of them") as f64);
    let bounds = place(RefusalReason::OutOfBounds);
    let values = [bounds, bounds, bounds, bounds, place(RefusalReason::SourceSeriesLimit)];
    let stamp = Labels::from_pairs([("cluster", "c1")]);
    let (_, written, text) = send(Arc::default(), stamp, &PROMETHEUS, remote_write::encode(&batch(&values))).await;
    assert_eq!(written, "0");
    let named = "its source has as many series as it may; no new ones are accepted: up{cluster=\"c1\"";
    assert!(text.contains("out_of_bounds=4, source_series_limit=1") && text.contains(named), "{text}");
    assert_eq!(text.lines().count(), 1 + 3 + 1, "{text}");
}

#[tokio::test]
async fn a_huge_label_set_is_not_sent_back_whole() {
    let mut batch = Batch::default();
    let labels = Labels::from_pairs([("__name__", "up"), ("huge", &"ü".repeat(4_000))]);
    batch.push(labels, Sample { timestamp: TimestampMs(1), value: -1.0 });
    let (status, _, text) = send(Arc::default(), Labels::empty(), &PROMETHEUS, remote_write::encode(&batch)).await;
    assert!(status == StatusCode::BAD_REQUEST && text.len() < 2_000 && text.contains("üü... at 1 ms"), "{text}");
}

#[tokio::test]
async fn senders_keep_their_samples_while_the_store_takes_none() {
    let full = AppendError::Unwritable("wal/7: No space left on device".to_owned());
    for (error, says) in [(full, "wal/7: No space left on device"), (AppendError::Closed, "shutting down")] {
        let sink = Arc::new(Sink { fails: Some(error), ..Sink::default() });
        let answer = answer(sink, Labels::empty(), &PROMETHEUS, remote_write::encode(&batch(&[1.0]))).await;
        assert_eq!((answer.status, answer.written.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "0"));
        assert_eq!(answer.retry_after.as_deref(), Some("5"));
        assert!(answer.text.contains(says) && answer.text.contains("again later"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_damaged_body_is_wanted_again() {
    let body = remote_write::encode(&batch(&[1.0]));
    let told = remote_write::Checksum::of(&body).to_string();
    let with = |checksum| [PROMETHEUS.as_slice(), &[(remote_write::CHECKSUM_HEADER, checksum)]].concat();
    for checksum in [told.as_str(), "crc32c=nonsense"] {
        let answer = answer(Arc::default(), Labels::empty(), &with(checksum), body.clone()).await;
        assert_eq!((answer.status, answer.written.as_str()), (StatusCode::NO_CONTENT, "1"), "{checksum}");
    }
    let sink = Arc::new(Sink::default());
    let mut damaged = body;
    *damaged.last_mut().expect("is not empty") ^= 1;
    let answer = answer(sink, Labels::empty(), &with(&told), damaged).await;
    assert_eq!((answer.status, answer.written.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "0"));
    assert_eq!(answer.retry_after.as_deref(), Some("0"));
    assert!(answer.text.contains("damaged on the way"), "{}", answer.text);
}

/// Sends to a store that makes nothing durable by itself; `after` does, or does not.
async fn durably(values: &[f64], after: impl FnOnce(Durable)) -> Answer {
    let sink = Arc::new(Sink { commit: Commit(7), ..Sink::default() });
    let body = remote_write::encode(&batch(values));
    let asking = tokio::spawn(answer(sink.clone(), Labels::empty(), &PROMETHEUS, body));
    sink.waits.notified().await;
    tokio::task::yield_now().await;
    assert!(!asking.is_finished(), "answered before the samples are durable");
    let (commit, done) = sink.waiting.lock().pop().expect("is waited for");
    assert_eq!(commit, Commit(7));
    after(done);
    asking.await.expect("answers")
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable() {
    let stored = durably(&[1.0], |done| done(Ok(()))).await;
    assert_eq!((stored.status, stored.written.as_str()), (StatusCode::NO_CONTENT, "1"));
    let in_part = durably(&[1.0, -1.0], |done| done(Ok(()))).await;
    assert_eq!((in_part.status, in_part.written.as_str()), (StatusCode::BAD_REQUEST, "1"));
    let failed = durably(&[1.0], |done| done(Err(AppendError::Unwritable("read-only".to_owned())))).await;
    assert_eq!((failed.status, failed.written.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "0"));
    let gone = durably(&[1.0], drop).await;
    assert_eq!((gone.status, gone.written.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "0"));
}
