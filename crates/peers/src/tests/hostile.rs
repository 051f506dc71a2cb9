//! Peers that answer nonsense, too much, or what nobody asked for; askers that ask for it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::{Batch, Labels, Sample, TimestampMs};
use serde_json::json;

use super::support::{Central, T0, WINDOW, config, series, served};
use crate::client::{Piece, accept};
use crate::digest::{Digest, Shards};
use crate::error::PeerError;
use crate::scope::Scope;
use crate::survey::Span;
use crate::{Own, PeersConfig};

/// A peer that answers every request below `digest` and `samples` with what the functions make.
async fn peer(digest: impl Fn(&str) -> Response + Send + Sync + 'static, samples: Vec<u8>) -> (Central, impl Sized) {
    let a = Central::start(config(), Own::default()).await;
    let digest = Arc::new(digest);
    let router = Router::new().fallback(move |request: Request| {
        let (digest, samples) = (digest.clone(), samples.clone());
        async move {
            let text = request.uri().to_string();
            if text.contains("/samples") { samples.into_response() } else { digest(&text) }
        }
    });
    let (address, serving) = served(router).await;
    a.meet_at(address);
    (a, serving)
}

/// An answer as a sound peer gives it, with these windows.
fn windows(a: &Central, windows: serde_json::Value) -> Response {
    let mut speaker = a.comparer.shared.speaker(&a.comparer.shared.plan());
    speaker.identity = "another".to_owned();
    axum::Json(json!({"status": "success", "data": {"speaker": speaker, "windows": windows}})).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_named_and_does_no_harm() {
    type Answer = fn() -> Response;
    let cases: [(Answer, &str); 5] = [
        (|| "no JSON".into_response(), "makes no sense"),
        (|| r#"{"status":"success","data":{}}"#.into_response(), "makes no sense"),
        (|| "[".repeat(100_000).into_response(), "makes no sense"),
        (|| (StatusCode::NOT_FOUND, "x".repeat(10_000)).into_response(), "the peer answers 404"),
        (|| vec![b' '; 20 << 20].into_response(), "longer than the"),
    ];
    for (answer, says) in cases {
        let (a, _serving) = peer(move |_| answer(), Vec::new()).await;
        let error = a.compare().await.error.unwrap_or_default();
        assert!(error.contains(says) && error.len() < 600, "{says}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_were_not_asked_for_are_refused() {
    let digest = json!({"eu": {"samples": 1, "checksum": "0".repeat(32)}});
    let at = |start_ms: i64| json!({"start_ms": start_ms, "sources": digest.clone()});
    let other = Central::start(config(), Own::default()).await;
    for wrong in [
        json!([at(T0 + 1)]),
        json!([at(T0 + 100 * WINDOW)]),
        json!([at(i64::MIN)]),
        json!([at(T0 + WINDOW), at(T0)]),
        json!([at(T0), at(T0)]),
        json!([{"start_ms": T0, "sources": {"eu": {"samples": -1, "checksum": "0".repeat(32)}}}]),
        json!([{"start_ms": T0, "sources": {"eu": {"samples": 1, "checksum": "0"}}}]),
    ] {
        let speaker = other.comparer.shared.speaker(&other.comparer.shared.plan());
        let body = json!({"status": "success", "data": {"speaker": speaker, "windows": wrong}}).to_string();
        let (a, _serving) = peer(move |_| body.clone().into_response(), Vec::new()).await;
        let error = a.compare().await.error.unwrap_or_default();
        assert!(error.contains("makes no sense"), "{wrong}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_that_are_not_what_the_digest_promised_are_not_stored() {
    let lying = Central::start(config(), Own::default()).await;
    let mut batch = Batch::default();
    batch.push(series("m", "eu"), Sample { timestamp: TimestampMs(T0), value: 1.0 });
    let digest = json!({"eu": {"samples": 1, "checksum": "0".repeat(32)}});
    let body = windows(&lying, json!([{"start_ms": T0, "sources": digest}]));
    let bytes = axum::body::to_bytes(body.into_body(), 1 << 20).await.expect("is short");
    let (a, _serving) = peer(move |_| bytes.clone().into_response(), remote_write::encode(&batch)).await;
    for _ in 0..4 {
        let status = a.compare().await;
        assert_eq!((status.error, status.repaired), (None, 0));
        assert!(status.complete_since.is_none() && status.windows_differing == 1);
    }
    assert!(a.held().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_claims_to_hold_everything_does_not_stop_the_comparison() {
    let lying = Central::start(config(), Own::default()).await;
    let all = json!({"samples": u64::MAX, "checksum": "0".repeat(32)});
    let body = windows(&lying, json!([{"start_ms": T0, "sources": {"eu": all.clone()}}]));
    let bytes = axum::body::to_bytes(body.into_body(), 1 << 20).await.expect("is short");
    let parts = json!({"status": "success", "data": {"shards": {"0": all.clone(), "1": all}}}).to_string();
    let answer = move |asked: &str| match asked.contains("shards") {
        true => parts.clone().into_response(),
        false => bytes.clone().into_response(),
    };
    let (a, _serving) = peer(answer, remote_write::encode(&Batch::default())).await;
    let many = PeersConfig { max_samples_per_second: 100_000_000, ..a.comparer.shared.plan().config.clone() };
    a.comparer.update(many, Own::default()).expect("takes it");
    for _ in 0..2 {
        let status = tokio::time::timeout(Duration::from_secs(10), a.compare()).await.expect("comes to its end");
        assert_eq!((status.error, status.repaired), (None, 0));
    }
}

fn accepted(rows: &[(Labels, i64, f64)]) -> Result<(Batch, Digest), PeerError> {
    let mut batch = Batch::default();
    for (labels, at, value) in rows {
        batch.push(labels.clone(), Sample { timestamp: TimestampMs(*at), value: *value });
    }
    let span = Span { start_ms: T0, end_ms: T0 + WINDOW };
    let piece = Piece { source: "eu", span, shards: Shards::ONE, parts: &[0] };
    accept(&remote_write::encode(&batch), &Scope::new("region", &[], Own::default()), piece)
}

#[test]
fn only_samples_that_were_asked_for_are_taken() {
    let (m, n) = (series("m", "eu"), series("n", "eu"));
    let (batch, digest) = accepted(&[(m.clone(), T0, 1.0), (m.clone(), T0 + 1, model::stale_nan())]).expect("is fine");
    assert_eq!((batch.rows.len(), digest.samples), (2, 2));
    assert_eq!(batch.rows[1].sample.value.to_bits(), model::STALE_NAN_BITS);
    for wrong in [
        vec![(series("m", "us"), T0, 1.0)],
        vec![(series("ALERTS", "eu"), T0, 1.0)],
        vec![(m.clone(), T0 - 1, 1.0)],
        vec![(m.clone(), T0 + WINDOW, 1.0)],
        vec![(m.clone(), T0 + 1, 1.0), (m.clone(), T0, 1.0)],
        vec![(m.clone(), T0, 1.0), (m.clone(), T0, 1.0)],
        vec![(m.clone(), T0, 1.0), (n, T0, 1.0), (m, T0 + 1, 1.0)],
        vec![(Labels::from_pairs([("region", "eu")]), T0, 1.0)],
    ] {
        assert!(accepted(&wrong).is_err(), "{wrong:?}");
    }
    let span = Span { start_ms: T0, end_ms: T0 + WINDOW };
    let other = Piece { source: "eu", span, shards: Shards::MANY, parts: &[] };
    let scope = Scope::new("region", &[], Own::default());
    let mut batch = Batch::default();
    batch.push(series("m", "eu"), Sample { timestamp: TimestampMs(T0), value: 1.0 });
    assert!(accept(&remote_write::encode(&batch), &scope, other).is_err(), "another shard");
    assert!(accept(b"garbage", &scope, other).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn askers_hear_what_is_wrong() {
    let a = Central::start(config(), Own::default()).await;
    let (t, end) = (T0 / 1000, (T0 + WINDOW) / 1000);
    let far = (T0 + 49 * WINDOW) / 1000;
    for (query, status) in [
        (format!("digest?start={t}&end={end}"), 200),
        (format!("digest?start={t}&end={end}&window=600"), 200),
        (format!("digest?start={t}&end={end}&window=60"), 400),
        (format!("digest?start={t}.001&end={end}"), 400),
        (format!("digest?start={end}&end={t}"), 400),
        (format!("digest?start={t}&end={far}"), 400),
        (format!("digest?start={t}&end=NaN"), 400),
        (format!("digest?start=-1e300&end={t}"), 400),
        ("digest".to_owned(), 400),
        (format!("digest?start={t}&end={end}&source=eu&shards=64"), 200),
        (format!("digest?start={t}&end={end}&shards=64"), 400),
        (format!("digest?start={t}&end={end}&source=eu&shards=63"), 400),
        (format!("digest?start={t}&end={end}&source=eu&shards=65536"), 400),
        (format!("digest?start={t}&end={}&source=eu&shards=1", end + 600), 400),
        (format!("samples?start={t}&end={end}&source=eu&shards=64&shard=0,63"), 200),
        (format!("samples?start={t}&end={end}&source=eu&shards=64&shard=64"), 400),
        (format!("samples?start={t}&end={end}&source=eu&shards=64"), 400),
        (format!("samples?start={t}&end={end}&source=eu&shards=4096&shard={}", "1,".repeat(300)), 400),
    ] {
        runtime::install_tls();
        let answer = reqwest::get(format!("http://{}/api/v1/peers/{query}", a.address)).await.expect("answers");
        assert_eq!(answer.status().as_u16(), status, "{query}");
    }
}
