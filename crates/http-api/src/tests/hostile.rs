//! Whatever a client sends, it gets an answer that is JSON, and never a 500.

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;

use super::fixture::{app, options, sample_store, send};
use crate::endpoints::endpoints;

/// Every path of the table, and others.
fn paths() -> Vec<String> {
    let known = endpoints().map(|endpoint| endpoint.path.replace("{name}", "job"));
    known.chain(["/api/v1/nope".to_owned(), "/federate".to_owned()]).collect()
}

const NAMES: [&str; 15] = [
    "query",
    "time",
    "start",
    "end",
    "step",
    "timeout",
    "lookback_delta",
    "limit",
    "stats",
    "match[]",
    "type",
    "group_limit",
    "group_next_token",
    "metric",
    "exclude_alerts",
];

fn value() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "up",
        "{}",
        "{a=\"b\"}",
        "rate(up[5m])",
        "sum(up)by(job)",
        "0",
        "1",
        "-1",
        "1e15",
        "-1e15",
        "1e300",
        "NaN",
        "Inf",
        "60",
        "5m",
        "1ms",
        "0.0001",
        "292277025-08-18T07:12:54.999999999Z",
        "-292273086-05-16T16:47:06Z",
        "up offset -1000y",
        "up @ 1e15",
        "up[292y]",
        "max_over_time(up[1h:1ms])",
        "true",
        "alert",
        "\u{0}",
        "9223372036854775807",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "\\PC{0,12}", 1 => any::<f64>().prop_map(|f| f.to_string())]
}

fn encode(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02x}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn parameters_never_break_the_server(
        path in prop::sample::select(paths()),
        pairs in prop::collection::vec((prop::sample::select(NAMES.to_vec()), value()), 0..7),
        garbage in "[%&=;+a-z0-9\\[\\]]{0,10}",
        in_form in any::<bool>(),
    ) {
        let mut list: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        list.push(garbage);
        let list = list.join("&");
        let request = if in_form {
            Request::post(&path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from(list.clone()))
        } else {
            Request::get(format!("{path}?{}", list.replace(['[', ']'], ""))).body(Body::empty())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        let mut options = options(sample_store());
        options.query_timeout = std::time::Duration::from_secs(20);
        let reply = runtime.block_on(async { send(&app(options), request.expect("is a request")).await });
        let is_admin = path.contains("/admin/");
        prop_assert!(reply.status != 500 || is_admin, "{path} {list}: {}", reply.text());
        let is_json = reply.header("content-type") == "application/json";
        prop_assert!(is_json || [204, 404, 405].contains(&reply.status.as_u16()) || path.ends_with(".yaml") || path == "/federate");
        if is_json {
            let answer: Result<serde_json::Value, _> = serde_json::from_slice(&reply.body);
            prop_assert!(answer.is_ok(), "{path} {list}: {}", reply.text());
        }
    }

    #[test]
    fn label_segments_never_break_the_server(segment in "\\PC{1,12}") {
        let path = format!("/api/v1/label/{}/values", encode(&segment));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        let request = Request::get(path).body(Body::empty()).expect("is a request");
        let reply = runtime.block_on(async { send(&app(options(sample_store())), request).await });
        prop_assert!(reply.status != 500, "{segment:?}: {}", reply.text());
    }
}
