//! `/federate`.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use model::stale_nan;
use promql::{Engine, EngineOptions};

use super::fixture::{Store, app, get, options, sample_store, send};

/// Labels, age of the newest sample in milliseconds, its value.
type Recent<'a> = (&'a [(&'a str, &'a str)], i64, f64);

/// A router over series with recent samples, and the time it was made.
fn recent(series: &[Recent<'_>]) -> (axum::Router, i64) {
    let now = runtime::now().0;
    let mut store = Store::default();
    for (labels, age_ms, value) in series {
        store.add(labels, &[(now - age_ms - 1, 0.5), (now - age_ms, *value)]);
    }
    (app(options(store)), now)
}

#[tokio::test]
async fn the_newest_sample_of_every_series() {
    let (app, now) = recent(&[
        (&[("__name__", "up"), ("job", "b"), ("instance", "h:2"), ("zone", "z")], 2000, 1e6),
        (&[("__name__", "up"), ("job", "a"), ("instance", "h:1"), ("Zone", "z")], 1000, 1.0),
        (&[("__name__", "a:b")], 3000, f64::INFINITY),
        (&[("__name__", "up"), ("job", "gone")], 1000, stale_nan()),
        (&[("__name__", "up"), ("job", "old")], 301_000, 1.0),
        (&[("job", "nameless")], 1000, 1.0),
    ]);
    let reply = get(&app, "/federate?match[]=up&match[]=a:b&match[]=%7Bjob=~%22.%2B%22%7D").await;
    let (one, two, three) = (now - 1000, now - 2000, now - 3000);
    let want = format!(
        "# TYPE a:b untyped\n\
         a:b{{instance=\"\",job=\"never\",region=\"eu\"}} +Inf {three}\n\
         # TYPE up untyped\n\
         up{{Zone=\"z\",instance=\"h:1\",job=\"a\",region=\"eu\"}} 1 {one}\n\
         up{{instance=\"h:2\",job=\"b\",zone=\"z\",region=\"eu\"}} 1e+06 {two}\n"
    );
    assert_eq!((reply.status.as_u16(), reply.text()), (200, want));
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
}

#[tokio::test]
async fn odd_names_reach_whoever_understands_them() {
    let (app, now) = recent(&[(&[("__name__", "http.requests"), ("k8s.io", "x"), ("instance", "h")], 1000, 1.0)]);
    let at = now - 1000;
    for (accept, want, content_type) in [
        (
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            format!(
                "# TYPE http_requests untyped\nhttp_requests{{instance=\"h\",k8s_io=\"x\",job=\"never\",region=\"eu\"}} 1 {at}\n"
            ),
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        (
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1",
            format!(
                "# TYPE \"http.requests\" untyped\n{{\"http.requests\",instance=\"h\",\"k8s.io\"=\"x\",job=\"never\",region=\"eu\"}} 1 {at}\n"
            ),
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
    ] {
        let request = Request::get("/federate?match[]=%7B__name__=~%22http.*%22%7D").header("accept", accept);
        let reply = send(&app, request.body(Body::empty()).expect("is a request")).await;
        assert_eq!((reply.text(), reply.header("content-type")), (want, content_type));
    }
}

#[tokio::test]
async fn nothing_asked_nothing_told() {
    let reply = get(&app(options(sample_store())), "/federate").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, String::new()));
}

#[tokio::test]
async fn a_bad_selector_is_refused_in_plain_text() {
    let reply = get(&app(options(sample_store())), "/federate?match[]=up%7B").await;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("unexpected end of input inside braces\n"), "{}", reply.text());
    assert!(reply.header("content-type").starts_with("text/plain"));
}

#[tokio::test]
async fn the_engines_lookback_holds() {
    let now = runtime::now().0;
    let mut store = Store::default();
    store.add(&[("__name__", "slow")], &[(now - 600_000, 1.0)]);
    let mut options = options(store);
    let lookback = Duration::from_secs(3600);
    options.engine = std::sync::Arc::new(Engine::new(EngineOptions { lookback, ..EngineOptions::default() }));
    assert!(get(&app(options), "/federate?match[]=slow").await.text().contains("slow{"));
}
