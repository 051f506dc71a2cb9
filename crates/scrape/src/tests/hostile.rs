//! Every way in which a target can misbehave: `up` is 0, the reason is shown, nothing of it is stored, what was there
//! is ended, and the next good scrape is as if nothing had been.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::support::{Behaviour, FakeTarget, Server, scrape_config, wait_for};
use crate::Health;

const GOOD: &str = "# TYPE a counter\na 1\nb{x=\"1\"} 2\n";

fn raw(text: &str) -> Behaviour {
    Behaviour::Answer(text.as_bytes().to_vec())
}

fn zipped(body: &[u8], keep: usize) -> Behaviour {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("compresses");
    let bytes = encoder.finish().expect("compresses");
    Behaviour::with_headers("Content-Encoding: gzip", &bytes[..keep.min(bytes.len())])
}

/// What the target does, and what `lastError` must hold.
fn cases() -> Vec<(&'static str, Behaviour, &'static str)> {
    let with_type = |t: &str| Behaviour::with_headers(&format!("Content-Type: {t}"), b"new 1\n");
    let head = "HTTP/1.1 200 OK\r\n";
    vec![
        (
            "500",
            raw("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 6\r\n\r\nnew 1\n"),
            "server returned HTTP status 500 Internal Server Error",
        ),
        ("404", raw("HTTP/1.1 404 Nope\r\nContent-Length: 0\r\n\r\n"), "server returned HTTP status 404 Not Found"),
        ("204", raw("HTTP/1.1 204 No Content\r\n\r\n"), "server returned HTTP status 204 No Content"),
        ("not HTTP", raw("\u{0}\u{1}rubbish\r\n\r\n"), "Get \"http://127.0.0.1:"),
        ("no answer", raw(""), "Get \"http://127.0.0.1:"),
        ("reset", Behaviour::Reset, "Get \"http://127.0.0.1:"),
        ("half a head", raw("HTTP/1.1 200 OK\r\nContent-Le"), "Get \"http://127.0.0.1:"),
        ("rubbish", Behaviour::body("new 1\n<html>\n"), "line 2: "),
        ("bad labels", Behaviour::body("new 1\nnew{x=\"1\",x=\"2\"} 1\n"), "line 2: duplicate label name \"x\""),
        ("not UTF-8", Behaviour::with_headers("X: y", b"new 1\nnew{x=\"\xff\"} 1\n"), "line 2: invalid UTF-8"),
        ("short by length", raw(&format!("{head}Content-Length: 100\r\n\r\nnew 1\n")), "reading the body: "),
        (
            "short by chunks",
            raw(&format!("{head}Transfer-Encoding: chunked\r\n\r\n6\r\nnew 1\n\r\n")),
            "reading the body: ",
        ),
        ("cut within a line", raw(&format!("{head}\r\nnew 1\nnew{{x=\"1\"}} 12")), "unexpected EOF"),
        ("cut before the body", raw(&format!("{head}\r\n")), "unexpected EOF"),
        ("half zipped", zipped(&b"new 1\n".repeat(100), 25), "reading the body: "),
        ("hangs at once", Behaviour::Hang(Vec::new()), "context deadline exceeded"),
        (
            "hangs in the body",
            Behaviour::Hang(format!("{head}Content-Length: 100\r\n\r\nnew 1\n").into_bytes()),
            "context deadline exceeded",
        ),
        ("too large", Behaviour::body(&"new 1\n".repeat(2000)), "body size limit exceeded"),
        (
            "endless",
            Behaviour::Drip(format!("{head}\r\n{}", "new 1\n".repeat(100)).into_bytes()),
            "body size limit exceeded",
        ),
        ("zip bomb", zipped(&b"new 1\n".repeat(1_000_000), usize::MAX), "body size limit exceeded"),
        (
            "OpenMetrics",
            with_type("application/openmetrics-text; version=1.0.0"),
            "received unsupported Content-Type \"application/openmetrics-text",
        ),
        ("protobuf", with_type("application/vnd.google.protobuf; proto=x"), "received unsupported Content-Type"),
        (
            "redirects to itself",
            raw("HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\n\r\n"),
            "too many redirects",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_answer_leaves_nothing_but_its_reason() {
    let cases = cases();
    let mut targets = Vec::new();
    for _ in &cases {
        targets.push(FakeTarget::start(Behaviour::body(GOOD)).await);
    }
    let addresses: Vec<_> = targets.iter().map(|t| format!("'{}'", t.address)).collect();
    let server = Server::start(vec![scrape_config(&format!(
        "{{job_name: j, scrape_interval: 500ms, scrape_timeout: 400ms, body_size_limit: 10KB, static_configs: [{{targets: [{}]}}]}}",
        addresses.join(", ")
    ))]);
    for (target, (_, behaviour, _)) in targets.iter().zip(&cases) {
        server.store.wait_for_last("a", &target.address, "1").await;
        target.behave(behaviour.clone());
    }
    for (target, (name, _, want)) in targets.iter().zip(&cases) {
        let status = wait_for(name, || {
            let status = server.target(&target.address)?;
            status.last_error.contains(want).then_some(status)
        })
        .await;
        assert_eq!(status.health, Health::Down, "{name}");
        assert_eq!(server.store.last("up", &target.address).as_deref(), Some("0"), "{name}");
        assert_eq!(server.store.last("a", &target.address).as_deref(), Some("stale"), "{name}");
        assert_eq!(server.store.last("b", &target.address).as_deref(), Some("stale"), "{name}");
        target.behave(Behaviour::body(GOOD));
    }
    for (target, (name, _, _)) in targets.iter().zip(&cases) {
        server.store.wait_for_last("up", &target.address, "1").await;
        assert_eq!(server.store.last("a", &target.address).as_deref(), Some("1"), "{name}");
        assert_eq!(server.store.values("new", &target.address), [""; 0], "{name}: half a scrape was stored");
    }
    let metrics = String::from_utf8(server.metrics.render()).expect("is text");
    assert!(metrics.contains("prometheus_target_scrapes_exceeded_body_size_limit_total"), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn nobody_listens() {
    let target = FakeTarget::start(Behaviour::body(GOOD)).await;
    let address = target.address.clone();
    drop(target);
    let yaml = format!("{{job_name: j, scrape_interval: 300ms, static_configs: [{{targets: ['{address}']}}]}}");
    let server = Server::start(vec![scrape_config(&yaml)]);
    server.store.wait_for_last("up", &address, "0").await;
    let want = format!("Get \"http://{address}/metrics\": connection refused");
    wait_for("the reason", || server.target(&address).filter(|t| t.last_error == want)).await;
    server.stop().await;
}

#[tokio::test]
async fn answers_that_look_odd_but_are_whole() {
    for (name, behaviour) in [
        ("no line feed at the end", Behaviour::body("a 1")),
        ("no length, but whole", raw("HTTP/1.1 200 OK\r\n\r\na 1\n")),
        ("HTTP/1.0", raw("HTTP/1.0 200 OK\r\n\r\na 1\n")),
        ("chunks", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n")),
        ("gzip", zipped(b"a 1\n", usize::MAX)),
        ("an unknown type", Behaviour::with_headers("Content-Type: text/nonsense", b"a 1\n")),
        ("a large body", Behaviour::body(&format!("a 1\n{}", "# a comment that fills the body\n".repeat(10_000)))),
    ] {
        let target = FakeTarget::start(behaviour).await;
        let address = &target.address;
        let yaml = format!("{{job_name: j, scrape_interval: 300ms, static_configs: [{{targets: ['{address}']}}]}}");
        let server = Server::start(vec![scrape_config(&yaml)]);
        wait_for(name, || server.target(address).filter(|t| t.health == Health::Up && t.last_error.is_empty())).await;
        assert_eq!(server.store.last("a", address).as_deref(), Some("1"), "{name}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_page_of_nothing_is_a_page() {
    let zipped = {
        let nothing = GzEncoder::new(Vec::new(), Compression::best()).finish().expect("compresses");
        Behaviour::with_headers("Content-Encoding: gzip\r\nContent-Type: text/plain; version=0.0.4", &nothing)
    };
    for behaviour in [zipped, Behaviour::body("")] {
        let target = FakeTarget::start(Behaviour::body(GOOD)).await;
        let address = &target.address;
        let yaml = format!("{{job_name: j, scrape_interval: 300ms, static_configs: [{{targets: ['{address}']}}]}}");
        let server = Server::start(vec![scrape_config(&yaml)]);
        server.store.wait_for_last("a", address, "1").await;
        target.behave(behaviour);
        server.store.wait_for_last("a", address, "stale").await;
        assert_eq!(server.store.last("up", address).as_deref(), Some("1"));
        server.stop().await;
    }
}

#[tokio::test]
async fn the_request_says_what_prometheus_says() {
    let target = FakeTarget::start(Behaviour::body(GOOD)).await;
    let yaml = format!(
        "{{job_name: j, scrape_interval: 1s, scrape_timeout: 500ms, metrics_path: /m, params: {{a: [b]}}, \
          basic_auth: {{username: u, password: p}}, static_configs: [{{targets: ['{}']}}]}}",
        target.address
    );
    let server = Server::start(vec![scrape_config(&yaml)]);
    let request = wait_for("a request", || target.last_request()).await.to_ascii_lowercase();
    for line in [
        "get /m?a=b http/1.1",
        "accept: text/plain;version=0.0.4;q=1,*/*;q=0.1",
        "accept-encoding: gzip",
        "x-prometheus-scrape-timeout-seconds: 0.5",
        "user-agent: highwater/",
        "authorization: basic dtpw",
    ] {
        assert!(request.contains(line), "{line}: {request}");
    }
    server.stop().await;
}
