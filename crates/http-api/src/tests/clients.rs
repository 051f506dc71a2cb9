//! What known clients ask, in their own order.

use axum::Router;
use serde_json::Value;

use super::fixture::{Reply, app, get, options, post, sample_store};

fn data(reply: &Reply) -> Value {
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "application/json"), "{}", reply.text());
    let answer: Value = serde_json::from_slice(&reply.body).expect("is JSON");
    assert_eq!(answer["status"], "success");
    answer["data"].clone()
}

async fn posted(app: &Router, path: &str, form: &str) -> Value {
    data(&post(app, &format!("/api/v1/{path}"), form).await)
}

async fn got(app: &Router, path: &str) -> Value {
    data(&get(app, &format!("/api/v1/{path}")).await)
}

/// The data source's test, its guess at who this is, then what the query editor and a panel ask.
#[tokio::test]
async fn grafana() {
    let app = app(options(sample_store()));
    assert_eq!(posted(&app, "query", "query=1%2B1&time=4").await["result"], serde_json::json!([4, "2"]));
    let build = got(&app, "status/buildinfo").await;
    // Without features this is Prometheus; the version chooses what is asked for.
    assert!(
        build.get("features").is_none() && build["version"].as_str().is_some_and(|v| v.starts_with("3.")),
        "{build}"
    );
    assert_eq!(posted(&app, "labels", "start=0&end=100").await[0], "__name__");
    let values = got(&app, "label/__name__/values?start=0&end=100&limit=40000").await;
    assert_eq!(values, serde_json::json!(["requests_total", "up"]));
    assert_eq!(got(&app, "label/job/values?match[]=up%7Bjob!%3D%22a%22%7D&start=0&end=100").await[0], "b");
    assert_eq!(posted(&app, "series", "match%5B%5D=up&start=0&end=100").await.as_array().map(Vec::len), Some(2));
    assert!(got(&app, "metadata?limit_per_metric=1&limit=40000").await["up"].is_array());
    assert!(got(&app, "rules").await["groups"].is_array());
    let form = "query=sum+by+%28job%29+%28up%29&start=0&end=60&step=15";
    let panel = posted(&app, "query_range", form).await;
    assert_eq!((&panel["resultType"], panel["result"].as_array().map(Vec::len)), (&"matrix".into(), Some(2)));
    assert!(post(&app, "/api/v1/query_exemplars", "query=up&start=0&end=60").await.status.is_success());
    // Where POST is refused it asks again by GET.
    assert_eq!(post(&app, "/api/v1/label/job/values", "").await.status, 405);
}
