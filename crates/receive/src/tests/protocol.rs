//! Every way to say what a body is, and what is heard of each.

use std::sync::atomic::{AtomicBool, Ordering};

use model::ExemplarRow;
use remote_write::{Compression, Encoder};

use super::*;

const V1: &[&str] = &[
    "",
    "application/x-protobuf",
    "Application/X-Protobuf",
    "application/x-protobuf;proto=prometheus.WriteRequest",
    "application/x-protobuf; proto=\"prometheus.WriteRequest\"",
    "application/x-protobuf; charset=utf-8",
];
const V2: &[&str] = &[
    "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "application/x-protobuf; PROTO=\"io.prometheus.write.v2.Request\"",
    "application/x-protobuf; q=1 ; proto = io.prometheus.write.v2.Request",
];
const NEITHER: &[&str] = &[
    "application/json",
    "text/plain",
    "application/x-protobuf;proto=io.prometheus.write.v3.Request",
    "application/x-protobuf;proto=",
    "application/vnd.google.protobuf",
];
const SNAPPY: &[&str] = &["", "snappy", "Snappy"];
const ZSTD: &[&str] = &["zstd", "ZSTD"];
const NO_ENCODING: &[&str] = &["gzip", "identity", "snappy, zstd", "deflate"];

fn body(is_v2: bool, is_zstd: bool) -> Vec<u8> {
    let compression = if is_zstd { Compression::Zstd } else { Compression::Snappy };
    let batch = batch(&[1.0, 2.0]);
    match (is_v2, is_zstd) {
        (true, _) => Encoder::default().encode_v2(&batch.rows, &[], &[], compression),
        (false, false) => remote_write::encode(&batch),
        (false, true) => {
            let message = snap::raw::Decoder::new().decompress_vec(&remote_write::encode(&batch)).expect("is snappy");
            zstd::bulk::compress(&message, 1).expect("compresses")
        }
    }
}

fn head<'a>(content_type: &'a str, encoding: &'a str) -> Vec<(&'a str, &'a str)> {
    let all = [("content-type", content_type), ("content-encoding", encoding)];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

#[tokio::test]
async fn every_pair_of_message_and_encoding() {
    for content_type in V1.iter().chain(V2).chain(NEITHER) {
        for encoding in SNAPPY.iter().chain(ZSTD).chain(NO_ENCODING) {
            let sink = Arc::new(Sink::default());
            let body = body(V2.contains(content_type), ZSTD.contains(encoding));
            let answer = answer(sink.clone(), Labels::empty(), &head(content_type, encoding), body).await;
            let is_spoken = !NEITHER.contains(content_type) && !NO_ENCODING.contains(encoding);
            let (status, written) = match is_spoken {
                true => (StatusCode::NO_CONTENT, "2"),
                false => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "0"),
            };
            assert_eq!((answer.status, answer.written.as_str()), (status, written), "{content_type} {encoding}");
            assert_eq!(sink.stored.lock().is_empty(), !is_spoken);
            let says = ["send application/x-protobuf", "io.prometheus.write.v2.Request", "send snappy or zstd"];
            assert!(is_spoken || says.iter().any(|says| answer.text.contains(says)), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn an_empty_header_says_nothing() {
    let head = [("content-type", ""), ("content-encoding", " ")];
    let answer = answer(Arc::default(), Labels::empty(), &head, body(false, false)).await;
    assert_eq!((answer.status, answer.written.as_str()), (StatusCode::NO_CONTENT, "2"), "{}", answer.text);
}

#[tokio::test]
async fn other_methods_are_refused() {
    let router = receiver(Arc::new(Sink::default()), Labels::empty(), |_| ());
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let answer = ask(&router, method, &[], Body::empty()).await;
        assert_eq!((answer.status, answer.written.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "0"));
        assert_eq!(answer.head.get("allow").and_then(|v| v.to_str().ok()), Some("POST"));
    }
}

#[tokio::test]
async fn a_refused_body_is_read_so_that_its_sender_hears_why() {
    let router = receiver(Arc::new(Sink::default()), Labels::empty(), |_| ());
    let json = ("content-type", "application/json");
    let waits = ("expect", "100-continue");
    for (head, is_wanted) in [(&[json][..], true), (&[json, waits], false)] {
        let was_read = Arc::new(AtomicBool::new(false));
        let told = was_read.clone();
        let body = http_body_util::Full::<axum::body::Bytes>::from(vec![0; 100]).map_frame(move |frame| {
            told.store(true, Ordering::Relaxed);
            frame
        });
        let answer = ask(&router, "POST", head, Body::new(body)).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(was_read.load(Ordering::Relaxed), is_wanted, "{head:?}");
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_whole() {
    let v2 = V2[0];
    let zeros = zstd::bulk::compress(&vec![0; 9_000], 1).expect("compresses");
    let bomb = zstd::bulk::compress(&vec![0; 10_001], 1).expect("compresses");
    let (v1_body, v2_body) = (body(false, false), body(true, false));
    let cases: [(&str, &str, Vec<u8>, StatusCode, &str); 9] = [
        ("", "", b"rubbish".to_vec(), StatusCode::BAD_REQUEST, "snappy"),
        (v2, "", b"rubbish".to_vec(), StatusCode::BAD_REQUEST, "snappy"),
        (v2, "zstd", b"rubbish".to_vec(), StatusCode::BAD_REQUEST, "zstd"),
        (v2, "zstd", v2_body.clone(), StatusCode::BAD_REQUEST, "zstd"),
        (v2, "zstd", zeros, StatusCode::BAD_REQUEST, "number 0"),
        (v2, "zstd", bomb, StatusCode::BAD_REQUEST, "10000 bytes"),
        ("", "", vec![0; 20_000], StatusCode::PAYLOAD_TOO_LARGE, "10000 bytes"),
        // The other version's message: its fields are unknown here, so there is nothing in it.
        ("", "", v2_body, StatusCode::NO_CONTENT, ""),
        (v2, "", v1_body, StatusCode::NO_CONTENT, ""),
    ];
    for (content_type, encoding, body, want, says) in cases {
        let answer = answer(Arc::default(), Labels::empty(), &head(content_type, encoding), body).await;
        let case = format!("{content_type} {encoding}: {} {}", answer.status, answer.text);
        assert!(answer.status == want && answer.text.contains(says) && answer.written == "0", "{case}");
    }
}

#[tokio::test]
async fn in_2_0_too_bad_samples_are_named_and_the_others_kept() {
    let mut batch = batch(&[1.0, -1.0, 2.0]);
    batch.push(Labels::from_pairs([("nameless", "x")]), Sample { timestamp: TimestampMs(1), value: 3.0 });
    let exemplars: Vec<_> = [1.0, 0.0, -1.0]
        .map(|value| ExemplarRow {
            series: batch.rows[0].labels.clone(),
            exemplar: Exemplar { labels: Labels::from_pairs([("trace_id", "t")]), value, timestamp: TimestampMs(1) },
        })
        .into();
    let body = Encoder::default().encode_v2(&batch.rows, &exemplars, &[], Compression::Zstd);
    let stamp = Labels::from_pairs([("region", "eu")]);
    let sink = Arc::new(Sink::default());
    let answer = answer(sink.clone(), stamp, &head(V2[0], "zstd"), body).await;
    assert_eq!(
        (answer.status, answer.written.as_str(), answer.exemplars.as_str()),
        (StatusCode::BAD_REQUEST, "2", "2")
    );
    for want in ["(out_of_bounds=1, invalid_labels=1)", r#"up{region="eu"} at 1 ms"#, "has no metric name"] {
        assert!(answer.text.contains(want), "{want}: {}", answer.text);
    }
    assert!(sink.exemplars.lock().iter().all(|row| row.series.get("region") == Some("eu")));
}

#[tokio::test]
async fn native_histograms_are_refused_by_name_where_the_store_takes_none() {
    // symbols "", "__name__", "h"; one series of them with a histogram that has a time.
    let mut message = vec![0x22, 0, 0x22, 8];
    message.extend(b"__name__");
    message.extend([0x22, 1, b'h', 0x2a, 8, 0x0a, 2, 1, 2, 0x1a, 2, 0x78, 7]);
    let body = snap::raw::Encoder::new().compress_vec(&message).expect("compresses");
    let answer = answer(Arc::default(), Labels::empty(), &head(V2[0], ""), body).await;
    assert_eq!((answer.status, answer.written.as_str()), (StatusCode::BAD_REQUEST, "0"));
    assert!(answer.text.contains("native_histogram=1"), "{}", answer.text);
}
