//! What changes the store: who may, what is understood, what is told.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;

use super::fixture::{Operated, Reply, app, options, sample_store, send};
use crate::ApiOptions;

const ADMIN: &str = "/api/v1/admin/tsdb";

async fn ask(options: ApiOptions, method: &str, path: &str, form: &str) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(format!("{ADMIN}/{path}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .expect("is a request");
    send(&app(options), request).await
}

fn enabled(store: &Arc<Operated>) -> ApiOptions {
    ApiOptions { enable_admin: true, store: store.clone(), ..options(sample_store()) }
}

#[tokio::test]
async fn nobody_changes_the_store_unless_that_was_enabled() {
    for path in ["delete_series?match[]=up", "delete_series", "clean_tombstones", "snapshot"] {
        let reply = ask(options(sample_store()), "POST", path, "").await;
        // What Debian's Prometheus answers.
        let want = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (500, want), "{path}");
    }
}

#[tokio::test]
async fn the_store_is_told() {
    let store = Arc::new(Operated::default());
    for (method, path, form, status, body) in [
        ("POST", "delete_series?match[]=up&match[]=a%7Bb=%22c%22%7D&start=1&end=2.5", "", 204, ""),
        ("PUT", "delete_series?match[]=up&start=1&end=1", "", 204, ""),
        ("POST", "delete_series", "match[]=up&start=3&end=4", 204, ""),
        // An empty range holds nothing to delete.
        ("POST", "delete_series?match[]=up&start=2&end=1", "", 204, ""),
        ("POST", "clean_tombstones", "", 204, ""),
    ] {
        let reply = ask(enabled(&store), method, path, form).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (status, body), "{method} {path}");
    }
    let mut names = Vec::new();
    for (method, path) in [("PUT", "snapshot"), ("POST", "snapshot?skip_head=true")] {
        let reply = ask(enabled(&store), method, path, "").await;
        let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("is JSON");
        assert_eq!((reply.status.as_u16(), &answer["status"]), (200, &"success".into()), "{method} {path}");
        names.push(format!("snapshot {}", answer["data"]["name"].as_str().expect("is named")));
    }
    let want = [
        r#"delete __name__="up",b="c",__name__="a" 1000..2500"#,
        r#"delete __name__="up" 1000..1000"#,
        r#"delete __name__="up" 3000..4000"#,
        "clean",
        &names[0],
        &names[1],
    ];
    assert_eq!(*store.log.lock(), want);
}

#[tokio::test]
async fn what_is_not_understood_changes_nothing() {
    let store = Arc::new(Operated::default());
    for (method, path, status, error) in [
        ("POST", "delete_series", 400, "no match[] parameter provided"),
        ("POST", "delete_series?match[]=up&start=x", 400, "invalid time value for 'start'"),
        ("POST", "delete_series?match[]=%7B%7D", 400, "at least one non-empty matcher"),
        ("POST", "delete_series?match[]=up%7B", 400, "invalid parameter"),
        (
            "POST",
            "snapshot?skip_head=perhaps",
            400,
            r#"unable to parse boolean: strconv.ParseBool: parsing \"perhaps\": invalid syntax"#,
        ),
        ("GET", "snapshot", 405, ""),
        ("GET", "delete_series?match[]=up", 405, ""),
    ] {
        let reply = ask(enabled(&store), method, path, "").await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path}");
        assert!(reply.text().contains(error), "{method} {path}: {}", reply.text());
    }
    assert!(store.log.lock().is_empty());
}

#[tokio::test]
async fn a_store_that_cannot_says_why() {
    let broken = Arc::new(Operated { broken: true, ..Operated::default() });
    for path in ["delete_series?match[]=up", "clean_tombstones", "snapshot"] {
        let reply = ask(enabled(&broken), "POST", path, "").await;
        let want = r#"{"status":"error","errorType":"internal","error":"no space left on device; make some"}"#;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (500, want), "{path}");
    }
}
