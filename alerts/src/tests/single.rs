//! One router on its own.

use axum::http::StatusCode;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_notified_of_once_and_then_its_end() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", None).await;
    node.fire("down").await;
    sink.wait("down", "firing", 1).await;
    node.fire("down").await;
    node.resolve("down").await;
    sink.wait("down", "resolved", 1).await;
    assert_eq!(sink.count("down", "firing"), 1);
    let body = sink.inner.delivered.lock()[0].clone();
    assert_eq!(body["version"], "4");
    assert_eq!(body["groupKey"], r#"{}:{alertname="down"}"#);
    assert_eq!(body["receiver"], "hook");
    assert!(!node.has_alert("down").await);
    assert_eq!(node.metric("alertmanager_notifications_total{integration=\"webhook\"}").await.as_deref(), Some("2"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_channel_is_tried_again_until_it_takes_the_notification() {
    let sink = Sink::behaving(|_, before| {
        (if before < 2 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }, Duration::ZERO)
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", None).await;
    node.fire("down").await;
    sink.wait("down", "firing", 1).await;
    assert_eq!(sink.attempts(), 3);
    let failed = node.metric("alertmanager_notification_requests_failed_total{integration=\"webhook\"}").await;
    assert_eq!(failed.as_deref(), Some("2"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_good_is_tried_again_at_the_next_flush() {
    let sink = Sink::behaving(|_, before| {
        (if before == 0 { StatusCode::BAD_REQUEST } else { StatusCode::OK }, Duration::ZERO)
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", None).await;
    node.fire("down").await;
    sink.wait("down", "firing", 1).await;
    let series = "alertmanager_notifications_failed_total{integration=\"webhook\",reason=\"clientError\"}";
    assert_eq!(node.metric(series).await.as_deref(), Some("1"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_repeats_nothing_and_forgets_nothing() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let text = config(&sink, "", "");
    let node = Node::start(folder.path(), &text, "a", None).await;
    node.fire("down").await;
    sink.wait("down", "firing", 1).await;
    node.stop().await;
    let node = Node::start(folder.path(), &text, "a", None).await;
    assert!(node.has_alert("down").await);
    // Its group was made after that of the old alert, so it is told later.
    node.fire("marker").await;
    sink.wait("marker", "firing", 1).await;
    assert_eq!(sink.count("down", "firing"), 1);
    node.resolve("down").await;
    sink.wait("down", "resolved", 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_soon_after_a_notification_repeats_nothing() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let text = config(&sink, "", "");
    let node = Node::start(folder.path(), &text, "a", None).await;
    node.fire("down").await;
    sink.wait("down", "firing", 1).await;
    let log = folder.path().join("data/notification-log.jsonl");
    until("the log is on disk", || async {
        std::fs::read_to_string(&log).ok().filter(|text| text.contains("down")).map(|_| ())
    })
    .await;
    node.kill().await;
    let node = Node::start(folder.path(), &text, "a", None).await;
    node.fire("down").await;
    node.fire("marker").await;
    sink.wait("marker", "firing", 1).await;
    assert_eq!(sink.count("down", "firing"), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_snapshot_is_put_aside() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("makes");
    std::fs::write(data.join("silences.jsonl"), "{\"format\":\"silences.jsonl\"}\nrubbish").expect("writes");
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", None).await;
    assert_eq!(node.metric("highwater_alerts_quarantined_files_total").await.as_deref(), Some("1"));
    let names: Vec<_> = std::fs::read_dir(&data).expect("reads").flatten().map(|e| e.file_name()).collect();
    assert!(names.iter().any(|n| n.to_string_lossy().starts_with("silences.jsonl.corrupt-")), "{names:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silenced_and_inhibited_alerts_keep_quiet() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let rules = "inhibit_rules: [{source_matchers: [alertname=source], target_matchers: [alertname=target]}]\n";
    let node = Node::start(folder.path(), &config(&sink, "", rules), "a", None).await;
    let silence = json!({
        "matchers": [{ "name": "alertname", "value": "quiet", "isRegex": false, "isEqual": true }],
        "startsAt": "2020-01-01T00:00:00.000Z", "endsAt": "2099-01-01T00:00:00.000Z",
        "createdBy": "me", "comment": "why",
    });
    let (status, made) = node.post("/api/v2/silences", silence).await;
    assert_eq!(status, 200, "{made}");
    for name in ["source", "target", "quiet", "loud"] {
        node.fire(name).await;
    }
    sink.wait("source", "firing", 1).await;
    sink.wait("loud", "firing", 1).await;
    assert_eq!(sink.count("target", "firing") + sink.count("quiet", "firing"), 0);
    let alerts = node.get("/api/v2/alerts?active=false").await;
    let names: Vec<_> = alerts.as_array().expect("a list").iter().map(|a| a["labels"]["alertname"].clone()).collect();
    assert_eq!(names.len(), 2, "{alerts}");
    let quiet = alerts.as_array().expect("a list").iter().find(|a| a["labels"]["alertname"] == "quiet");
    let quiet = quiet.expect("is listed");
    assert_eq!(
        (&quiet["status"]["state"], &quiet["status"]["silencedBy"][0]),
        (&json!("suppressed"), &made["silenceID"])
    );
    assert_eq!(node.metric("alertmanager_alerts{state=\"suppressed\"}").await.as_deref(), Some("2"));
    let id = made["silenceID"].as_str().expect("an id");
    assert_eq!(node.get(&format!("/api/v2/silence/{id}")).await["status"]["state"], "active");
    assert_eq!(node.call(Method::DELETE, &format!("/api/v2/silence/{id}"), None).await.0, 200);
    sink.wait("quiet", "firing", 1).await;
    assert_eq!(node.get("/api/v2/silences").await[0]["status"]["state"], "expired");
    let unknown = "/api/v2/silence/11111111-1111-4111-8111-111111111111";
    assert_eq!(node.call(Method::DELETE, unknown, None).await.0, 404);
    assert_eq!(node.call(Method::GET, unknown, None).await.0, 404);
    assert_eq!(node.call(Method::DELETE, "/api/v2/silence/none", None).await.0, 422);
    node.resolve("source").await;
    sink.wait("target", "firing", 1).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_alerts_are_kept_beside_invalid_ones() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", None).await;
    let (status, reason) =
        node.post("/api/v2/alerts", json!([{ "labels": {} }, { "labels": { "alertname": "good" } }, "rubbish"])).await;
    let reason = reason.as_str().unwrap_or_default().to_owned();
    assert_eq!(status, 400);
    assert!(reason.contains("alert 0: at least one label") && reason.contains("alert 2:"), "{reason}");
    assert!(node.has_alert("good").await);
    assert_eq!(node.metric("alertmanager_alerts_invalid_total{version=\"v2\"}").await.as_deref(), Some("2"));
    assert_eq!(node.post("/api/v2/alerts", json!({})).await.0, 400);
    for path in ["/api/v2/alerts?filter=x", "/api/v2/alerts/groups?receiver=[", "/api/v2/silences?filter=x"] {
        assert_eq!(node.call(Method::GET, path, None).await.0, 400, "{path}");
    }
    for (path, status) in [("/api/v2/nothing", 404), ("/api/v2/silence/none", 422)] {
        assert_eq!(node.call(Method::GET, path, None).await.0, status, "{path}");
    }
    for (body, status, code) in [(json!({}), 422, 602), (json!({ "matchers": [] }), 422, 612), (json!("x"), 400, 400)] {
        let (got, reason) = node.post("/api/v2/silences", body).await;
        assert_eq!((got, &reason["code"]), (status, &json!(code)), "{reason}");
    }
    assert_eq!(node.call(Method::GET, "/api/v1/alerts", None).await.0, 410);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_shapes_that_clients_read() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", None).await;
    node.fire("down").await;
    let keys = |v: &Value| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let has = |v: &Value, names: &[&str]| {
        assert!(names.iter().all(|n| v.get(n).is_some()), "{names:?} are not all among {:?}", keys(v));
    };
    let alert_keys = ["annotations", "endsAt", "fingerprint", "receivers", "startsAt", "status", "updatedAt", "labels"];
    let alerts = node.get("/api/v2/alerts?filter=alertname%3D%22down%22&receiver=ho.k").await;
    has(&alerts[0], &alert_keys);
    has(&alerts[0]["status"], &["inhibitedBy", "silencedBy", "mutedBy", "state"]);
    assert_eq!(alerts[0]["receivers"], json!([{ "name": "hook" }]));
    let groups = node.get("/api/v2/alerts/groups").await;
    assert_eq!(groups[0]["labels"], json!({ "alertname": "down" }));
    assert_eq!(groups[0]["receiver"], json!({ "name": "hook" }));
    has(&groups[0]["alerts"][0], &alert_keys);
    assert_eq!(node.get("/api/v2/alerts?receiver=other").await, json!([]));
    assert_eq!(node.get("/api/v2/receivers").await, json!([{ "name": "hook" }]));
    let status = node.get("/api/v2/status").await;
    has(&status, &["cluster", "config", "uptime", "versionInfo"]);
    assert_eq!(status["cluster"]["status"], "disabled");
    assert!(status["config"]["original"].as_str().is_some_and(|c| c.contains("group_by:")));
    assert!(node.get("/").await.as_str().is_some_and(|page| page.contains("1 alerts fire")));
    assert_eq!(node.call(Method::OPTIONS, "/api/v2/alerts", None).await.0, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_is_known_and_a_bad_one_changes_nothing() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let text = config(&sink, "", "");
    let node = Node::start(folder.path(), &text, "a", None).await;
    node.fire("down").await;
    sink.wait("down", "firing", 1).await;
    let file = folder.path().join("alertmanager.yml");
    std::fs::write(&file, format!("{text}foo: 1\n")).expect("writes");
    let (status, reason) = node.call(Method::POST, "/-/reload", None).await;
    assert_eq!(status, 500);
    assert!(reason.as_str().is_some_and(|r| r.contains("unknown key \"foo\"")), "{reason}");
    assert_eq!(node.metric("alertmanager_config_last_reload_successful").await.as_deref(), Some("0"));
    std::fs::write(&file, text.replace("1h", "2h")).expect("writes");
    assert_eq!(node.call(Method::POST, "/-/reload", None).await.0, 200);
    assert!(node.has_alert("down").await);
    node.fire("marker").await;
    sink.wait("marker", "firing", 1).await;
    assert_eq!(sink.count("down", "firing"), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_attempt_under_way_end() {
    let sink = Sink::behaving(|_, _| (StatusCode::OK, Duration::from_millis(500))).await;
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a", None).await;
    node.fire("down").await;
    until("the attempt has begun", || async { (sink.attempts() > 0).then_some(()) }).await;
    node.stop().await;
    assert_eq!(sink.count("down", "firing"), 1);
    let log = std::fs::read_to_string(folder.path().join("data/notification-log.jsonl")).expect("is there");
    assert!(log.contains("down"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_served_below_the_external_path() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let node = Node::start(folder.path(), &config(&sink, "", ""), "a/alerts/router", None).await;
    assert_eq!(node.call(Method::GET, "/alerts/router/-/ready", None).await.0, 200);
    assert_eq!(node.call(Method::GET, "/alerts/router/api/v2/status", None).await.0, 200);
    assert_eq!(node.call(Method::GET, "/api/v2/status", None).await.0, 404);
    node.stop().await;
}

#[tokio::test]
async fn a_bad_start_says_what_to_do() {
    let (sink, folder) = (Sink::start().await, tempfile::tempdir().expect("a folder"));
    let file = folder.path().join("am.yml");
    std::fs::write(&file, config(&sink, "", "")).expect("writes");
    let good = Options {
        config_file: Some(file.clone()),
        storage_path: folder.path().join("data"),
        listen_address: "127.0.0.1:0".to_owned(),
        ..Options::default()
    };
    let cases = [
        (Options { config_file: None, ..good.clone() }, "--config.file"),
        (Options { config_file: Some(folder.path().join("none.yml")), ..good.clone() }, "check the path"),
        (Options { listen_address: "nonsense".to_owned(), ..good.clone() }, "HOST:PORT"),
        (Options { storage_path: file, ..good.clone() }, "--storage.path"),
        (Options { external_url: Some("alerts".to_owned()), ..good.clone() }, "--web.external-url"),
        (Options { cluster_peers: vec!["a:1".to_owned()], ..good.clone() }, "--cluster.listen-address"),
        (
            Options {
                cluster_peers: vec!["a".to_owned()],
                cluster_listen_address: Some("127.0.0.1:0".to_owned()),
                ..good
            },
            "HOST:PORT",
        ),
    ];
    for (options, want) in cases {
        let error = App::build(options).await.err().expect(want).to_string();
        assert!(error.contains(want), "{error}");
    }
}
