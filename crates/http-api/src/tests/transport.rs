//! Methods, headers, compression, limits and cancellation.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use query_gate::GateOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fixture::{app, get, options, options_of, post, sample_store, send};
use crate::{ApiOptions, CorsOrigins};

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("is a request")
}

#[tokio::test]
async fn pages_of_other_origins() {
    let plain = app(options(sample_store()));
    let origin = [("origin", "http://x")];
    for method in ["GET", "OPTIONS"] {
        let reply = send(&plain, request(method, "/api/v1/query?query=1", &origin)).await;
        assert_eq!(reply.status, if method == "GET" { 200 } else { 204 });
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("access-control-allow-methods"), "GET, POST, OPTIONS");
        assert_eq!(reply.header("access-control-allow-headers"), "Accept, Authorization, Content-Type, Origin");
        assert_eq!(reply.header("access-control-expose-headers"), "Date");
    }
    assert_eq!(send(&plain, request("OPTIONS", "/api/v1/query", &[])).await.status, 204);
    let mut narrow = options(sample_store());
    narrow.cors_origins = CorsOrigins::parse("http://y").expect("compiles");
    let narrow = app(narrow);
    let reply = send(&narrow, request("GET", "/api/v1/query?query=1", &origin)).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (200, ""));
    let reply = send(&narrow, request("GET", "/api/v1/query?query=1", &[("origin", "http://y")])).await;
    assert_eq!(reply.header("access-control-allow-origin"), "http://y");
    assert!(reply.headers.get_all("vary").iter().any(|v| v == "Origin"));
}

#[tokio::test]
async fn methods() {
    let app = app(options(sample_store()));
    let head = send(&app, request("HEAD", "/api/v1/query?query=1&time=1", &[])).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for (method, path) in [("PUT", "/api/v1/query"), ("POST", "/api/v1/label/job/values"), ("POST", "/federate")] {
        let reply = send(&app, request(method, path, &[])).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (405, "Method Not Allowed\n"), "{path}");
        assert!(reply.header("allow").contains("GET"), "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_as_by_prometheus() {
    let app = app(options(sample_store()));
    for path in ["/api/v1/nope", "/api/v2/alerts", "/api/", "/api", "/nope"] {
        let reply = get(&app, path).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (404, "404 page not found\n"), "{path}");
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
    }
}

fn unpacked(encoding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut decoder: Box<dyn Read> = match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(body)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(body).expect("starts")),
        _ => Box::new(body),
    };
    decoder.read_to_end(&mut out).expect("unpacks");
    out
}

#[tokio::test]
async fn answers_are_compressed_when_asked() {
    let app = app(options(sample_store()));
    // One that is sent at once, and one that is written while it is sent.
    for (path, packs) in [
        ("/api/v1/query?query=1&time=1", false),
        ("/api/v1/query_range?query=time()&start=0&end=11000&step=1", true),
        ("/api/v1/query?query=up%7B", false),
        ("/federate?match[]=up", false),
    ] {
        let plain = get(&app, path).await;
        assert_eq!(plain.header("content-encoding"), "");
        for encoding in ["gzip", "deflate", "zstd"] {
            let packed = send(&app, request("GET", path, &[("accept-encoding", encoding)])).await;
            if plain.body.is_empty() {
                continue;
            }
            assert_eq!(packed.header("content-encoding"), encoding, "{path}");
            assert!(packed.headers.get_all("vary").iter().any(|v| v == "Accept-Encoding"), "{path}");
            assert!(!packs || packed.body.len() * 2 < plain.body.len(), "{path}");
            assert_eq!(unpacked(encoding, &packed.body), plain.body, "{path}");
        }
    }
    let head = send(&app, request("HEAD", "/api/v1/query?query=1", &[("accept-encoding", "gzip")])).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
}

#[tokio::test]
async fn what_is_left_of_an_answer_is_dropped_with_its_connection() {
    let mut store = sample_store();
    let many: Vec<_> = (0..100_000).map(|i| (i, i as f64 / 3.0)).collect();
    store.add(&[("__name__", "many")], &many);
    let app = app(options(store));
    let path = "/api/v1/query?query=many[1001s]&time=1000";
    let whole = get(&app, path).await;
    assert!(whole.body.len() > 8 * crate::stream::PIECE_BYTES && whole.header("content-length").is_empty());
    let answer: serde_json::Value = serde_json::from_slice(&whole.body).expect("is JSON");
    assert_eq!(answer["data"]["result"][0]["values"].as_array().map(Vec::len), Some(100_000));
    let supervisor = runtime::Supervisor::new();
    let listener = runtime::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has an address");
    runtime::serve(&supervisor, "http", listener, app, runtime::ServerLimits::default());
    let mut client = tokio::net::TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.expect("writes");
    let mut beginning = [0; 1000];
    client.read_exact(&mut beginning).await.expect("reads");
    drop(client);
    // The server ends at once: nobody waits for the rest of the answer.
    let stopping = tokio::time::timeout(Duration::from_secs(4), supervisor.stop(Duration::from_secs(10)));
    assert!(stopping.await.is_ok());
}

#[tokio::test]
async fn a_form_has_a_limit() {
    let form = format!("query={}", "a".repeat(11 << 20));
    let reply = post(&app(options(sample_store())), "/api/v1/query", &form).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("limit 10485760 bytes"), "{}", reply.text());
}

#[tokio::test]
async fn a_query_has_its_time() {
    let app = app(options(sample_store()));
    for timeout in ["-1", "0"] {
        let reply = get(&app, &format!("/api/v1/query?query=up&timeout={timeout}")).await;
        assert_eq!(reply.status, 503);
        assert!(reply.text().contains(r#""errorType":"timeout""#), "{}", reply.text());
    }
}

/// A store whose reads wait for the returned sender, after they have said on the returned receiver that they began.
fn gated(
    max_waiting: usize,
) -> (axum::Router, crate::ApiOptions, mpsc::Sender<()>, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (open, gate) = mpsc::channel();
    let (began, wait) = tokio::sync::mpsc::unbounded_channel();
    let gate = parking(gate);
    let mut store = sample_store();
    let long: Vec<_> = (0..300_000).map(|i| (i * 10, 1.0)).collect();
    store.add(&[("__name__", "long")], &long);
    store.gate = Some(Arc::new(move || {
        let _ = began.send(());
        gate();
    }));
    let options = options_of(store, GateOptions { slots: 1, max_waiting });
    (app(options.clone()), options, open, wait)
}

fn parking(gate: mpsc::Receiver<()>) -> impl Fn() + Send + Sync {
    let gate = std::sync::Mutex::new(gate);
    move || {
        let _ = gate.lock().expect("is not poisoned").recv_timeout(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn too_many_queries_are_refused_at_once() {
    let (app, _, open, mut began) = gated(0);
    let first = tokio::spawn({
        let app = app.clone();
        async move { get(&app, "/api/v1/query?query=up&time=60").await }
    });
    began.recv().await.expect("the first query begins");
    let second = get(&app, "/api/v1/query?query=up&time=60").await;
    assert_eq!(second.status, 503);
    assert!(second.text().contains(r#""errorType":"unavailable","error":"too many queries"#), "{}", second.text());
    open.send(()).expect("the first query waits");
    assert_eq!(first.await.expect("joins").status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_query() {
    let (app, options, open, mut began) = gated(1);
    let first = tokio::spawn({
        let app = app.clone();
        async move { get(&app, "/api/v1/query?query=count_over_time(long[1h])&time=3600").await }
    });
    began.recv().await.expect("the first query begins");
    first.abort();
    assert!(first.await.expect_err("was aborted").is_cancelled());
    open.send(()).expect("the first query waits");
    // The only slot is free again, and the abandoned query was evaluated without a result.
    assert_eq!(get(&app, "/api/v1/query?query=1&time=1").await.status, 200);
    let metrics = String::from_utf8(options.metrics.render()).expect("is UTF-8");
    for line in [
        r#"prometheus_engine_query_duration_seconds_count{slice="inner_eval"} 2"#,
        "prometheus_engine_query_samples_total 0",
        "prometheus_engine_queries 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

/// Waits until the metrics hold a line.
async fn until(options: &crate::ApiOptions, line: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !String::from_utf8_lossy(&options.metrics.render()).contains(line) {
        assert!(Instant::now() < deadline, "never seen: {line}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_closed_connection_cancels_its_query() {
    let (app, options, open, mut began) = gated(1);
    let supervisor = runtime::Supervisor::new();
    let listener = runtime::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("has an address");
    runtime::serve(&supervisor, "http", listener, app, runtime::ServerLimits::default());
    let mut client = tokio::net::TcpStream::connect(address).await.expect("connects");
    let request = "GET /api/v1/query?query=count_over_time(long[1h])&time=3600 HTTP/1.1\r\nHost: x\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("writes");
    began.recv().await.expect("the query begins");
    until(&options, "prometheus_engine_queries 1").await;
    drop(client);
    until(&options, "prometheus_engine_queries 0").await;
    open.send(()).expect("the query waits");
    until(&options, r#"prometheus_engine_query_duration_seconds_count{slice="inner_eval"} 1"#).await;
    assert!(String::from_utf8_lossy(&options.metrics.render()).contains("prometheus_engine_query_samples_total 0"));
    supervisor.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let options = options(sample_store());
    let app = app(options.clone());
    for path in ["/api/v1/label/job/values", "/api/v1/query?query=(", "/api/v1/nope", "/nope"] {
        get(&app, path).await;
    }
    let metrics = String::from_utf8(options.metrics.render()).expect("is UTF-8");
    for line in [
        r#"prometheus_http_requests_total{code="200",handler="/api/v1/label/:name/values"} 1"#,
        r#"prometheus_http_requests_total{code="400",handler="/api/v1/query"} 1"#,
        r#"prometheus_http_requests_total{code="404",handler="other"} 2"#,
        r#"prometheus_http_request_duration_seconds_count{handler="/api/v1/query"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn the_status_page_tells_the_role() {
    let central = ApiOptions { role: "<central>".into(), ..options(sample_store()) };
    let reply = get(&app(central), "/").await;
    let text = reply.text();
    assert!(text.contains("Highwater &lt;central&gt;") && !text.contains("<central>"), "{text}");
    assert!(text.contains("1 of 1") && text.contains(r#"href="api/v1/targets""#), "{text}");
    assert!(reply.header("content-security-policy").contains("default-src 'none'"));
    // Where the links in alerts lead.
    let reply = get(&app(options(sample_store())), "/graph?g0.expr=up%20%3E%20%220%22&g0.tab=1").await;
    assert!(reply.text().contains(r#"value="up &gt; &quot;0&quot;""#), "{}", reply.text());
}
