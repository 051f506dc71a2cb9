//! Sources of a tier as the API shows them, and queries that name those which lag.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ::sources::{Arrival, Backlog, Behind, Gap, GapBelow, Report, SourceName, Sources as Table};
use model::TimestampMs;
use serde_json::{Value, json};

use super::fixture::{Fleet, app, get, options, sample_store, send};
use crate::ApiOptions;

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn heard(table: &Table, source: Option<&str>, seen_s_ago: i64, lag_s: i64, behind: &[(&str, i64)]) {
    let name = |text: &str| SourceName::parse(text).expect("is a name");
    let seen = NOW - seen_s_ago * 1000;
    let gap = Gap { from: TimestampMs(0), to: TimestampMs(1000), samples: 7 };
    let report = Report {
        source: source.map(name),
        watermark: source.map(|_| NOW - lag_s * 1000),
        backlog: Some(Backlog { samples: 5, oldest: Some(NOW - lag_s * 1000) }),
        gaps: vec![gap],
        behind: behind.iter().map(|(n, s)| Behind { source: name(n), watermark: NOW - s * 1000 }).collect(),
        version: Some("0.1.0".into()),
        gaps_below: behind.iter().map(|(n, _)| GapBelow { source: name(n), gap }).collect(),
        ..Report::default()
    };
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let newest = Some(NOW - lag_s * 1000);
    table.observe(&Arrival { address, report: &report, newest, samples: 60, bytes: 120, now: seen });
}

fn asked(fill: impl FnOnce(&Table)) -> axum::Router {
    let fleet = Fleet { table: Table::default(), now: NOW };
    fill(&fleet.table);
    app(ApiOptions { fleet: Arc::new(fleet), ..options(sample_store()) })
}

fn a_fleet(table: &Table) {
    heard(table, Some("cascade/eu"), 1, 2, &[("edge/cell-7", 3600)]);
    heard(table, Some("cascade/us"), 1, 600, &[]);
    heard(table, Some("edge/cell-1/a"), 1200, 1300, &[]);
    heard(table, None, 1, 45, &[]);
}

async fn answer(app: &axum::Router, path: &str) -> Value {
    let reply = get(app, path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    serde_json::from_slice(&reply.body).expect("is JSON")
}

fn names(answer: &Value) -> Vec<(&str, &str)> {
    let list = answer["data"]["sources"].as_array().expect("is a list");
    list.iter().map(|s| (s["source"].as_str().unwrap_or(""), s["state"].as_str().unwrap_or(""))).collect()
}

#[tokio::test]
async fn everybody_who_sends_is_listed() {
    let app = asked(a_fleet);
    let all = answer(&app, "/api/v1/fleet/sources").await;
    let want = [
        ("cascade/eu", "live"),
        ("edge/cell-7", "behind"),
        ("cascade/us", "behind"),
        ("edge/cell-1/a", "gone"),
        ("remote/127.0.0.1", "live"),
    ];
    assert_eq!(names(&all), want);
    assert_eq!(all["data"]["counts"], json!({"live": 2, "behind": 1, "gone": 1}));
    assert_eq!(all["data"]["watermark"], "2023-11-14T22:13:18Z");
    let eu = &all["data"]["sources"][0];
    let rate = |name: &str| eu["delivery"][name].as_f64().expect("is a number");
    assert!((50.0..61.0).contains(&rate("samplesPerSecond")) && rate("bytesPerSecond") > 100.0, "{eu}");
    let mut eu = eu.clone();
    let delivery = eu["delivery"].as_object_mut().expect("is an object");
    delivery.remove("samplesPerSecond");
    delivery.remove("bytesPerSecond");
    let want = json!({
        "source": "cascade/eu", "tier": "cascade", "name": "eu", "replica": "", "labels": {"region": "eu"},
        "state": "live", "watermark": "2023-11-14T22:13:18Z", "watermarkEstimated": false, "lagSeconds": 2,
        "delivery": {
            "address": "127.0.0.1", "firstSeen": "2023-11-14T22:13:19Z", "lastSeen": "2023-11-14T22:13:19Z",
            "lane": "live", "backlog": {"samples": 5, "oldest": "2023-11-14T22:13:18Z"},
            "gaps": [{"from": "1970-01-01T00:00:00Z", "to": "1970-01-01T00:00:01Z", "samples": 7}], "gapSamples": 7,
            "samples": 60, "bytes": 120, "version": "0.1.0",
            "behind": [{"source": "edge/cell-7", "watermark": "2023-11-14T21:13:20Z"}],
        },
    });
    assert_eq!(eu, want);
    let below = &all["data"]["sources"][1];
    assert_eq!((&below["via"], &below["delivery"]), (&json!("cascade/eu"), &Value::Null));
    assert_eq!((&below["gaps"], &below["gapSamples"]), (&eu["delivery"]["gaps"], &json!(7)));
    assert_eq!(all["data"]["sources"][4]["watermarkEstimated"], true);
}

#[tokio::test]
async fn the_list_is_filtered_and_cut() {
    let app = asked(a_fleet);
    let of = async |query: &str| answer(&app, &format!("/api/v1/fleet/sources?{query}")).await;
    assert_eq!(names(&of("tier=edge").await), [("edge/cell-7", "behind"), ("edge/cell-1/a", "gone")]);
    assert_eq!(names(&of("tier=cascade&behind=true").await), [("cascade/us", "behind")]);
    assert_eq!(names(&of("behind=1").await).len(), 3);
    let cut = of("limit=1").await;
    assert_eq!((names(&cut).len(), &cut["warnings"]), (1, &json!(["results truncated due to limit"])));
    assert_eq!(of("limit=5").await["warnings"], Value::Null);
    assert_eq!(get(&app, "/api/v1/fleet/sources?behind=perhaps").await.status, 400);
    assert_eq!(get(&app, "/api/v1/fleet/sources?limit=-1").await.status, 400);
}

#[tokio::test]
async fn queries_name_who_is_behind_their_end() {
    let app = asked(a_fleet);
    let infos = async |at: i64| {
        let at = NOW.0 / 1000 + at;
        let instant = answer(&app, &format!("/api/v1/query?query=1&time={at}")).await;
        let range = format!("/api/v1/query_range?query=1&start={}&end={at}&step=60", at - 60);
        // Twice: what the result cache holds makes no difference.
        for _ in 0..2 {
            assert_eq!(answer(&app, &range).await["infos"], instant["infos"], "at {at}");
        }
        instant["infos"].clone()
    };
    let cell_7 = "source edge/cell-7 below cascade/eu is behind: complete up to 2023-11-14T21:13:20Z";
    let cell_1 = "source edge/cell-1/a is behind: complete up to 2023-11-14T21:51:40Z";
    let us = "source cascade/us is behind: complete up to 2023-11-14T22:03:20Z";
    for later in [0, 3600, -29] {
        assert_eq!(infos(later).await, json!([cell_7, cell_1, us]), "{later}: an estimate names nobody");
    }
    assert_eq!(infos(-600).await, json!([cell_7, cell_1]), "complete up to its watermark");
    assert_eq!(infos(-1400).await, json!([cell_7]));
    assert_eq!(infos(-3600).await, Value::Null);
}

#[tokio::test]
async fn many_who_are_behind_are_counted() {
    let app = asked(|table| (0..25).for_each(|i| heard(table, Some(&format!("edge/cell-{i}")), 1, 600 + i, &[])));
    let infos = answer(&app, &format!("/api/v1/query?query=1&time={}", NOW.0 / 1000)).await["infos"].clone();
    let infos = infos.as_array().expect("is a list");
    assert_eq!(infos.len(), 10);
    assert!(infos[0].as_str().is_some_and(|first| first.starts_with("source edge/cell-24 ")), "most late first");
    assert_eq!(infos[9], "16 more sources are behind: see /api/v1/fleet/sources?behind=true");
}

#[tokio::test]
async fn a_source_that_is_gone_for_good_is_forgotten_where_that_is_allowed() {
    let fleet = Arc::new(Fleet { table: Table::default(), now: NOW });
    a_fleet(&fleet.table);
    let serve = |enable_admin| app(ApiOptions { fleet: fleet.clone(), enable_admin, ..options(sample_store()) });
    let forget = async |enable_admin, source: &str| {
        let path = format!("/api/v1/admin/fleet/forget_source{source}");
        let request = axum::http::Request::post(path).body(axum::body::Body::empty()).expect("is a request");
        let reply = send(&serve(enable_admin), request).await;
        let kind = serde_json::from_slice::<Value>(&reply.body).map(|answer| answer["errorType"].clone());
        (reply.status.as_u16(), kind.ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default())
    };
    for (allowed, source, want) in [
        (false, "?source=edge/cell-1/a", (500, "unavailable")),
        (true, "", (400, "bad_data")),
        (true, "?source=cell-1", (400, "bad_data")),
        (true, "?source=edge/cell-1", (404, "not_found")),
        // It stands below another one.
        (true, "?source=edge/cell-7", (404, "not_found")),
    ] {
        assert_eq!(forget(allowed, source).await, (want.0, want.1.to_owned()), "{source}");
    }
    assert_eq!(fleet.table.statuses(NOW).len(), 5);
    for source in ["?source=edge/cell-1/a", "?source=remote%2F127.0.0.1"] {
        assert_eq!(forget(true, source).await, (204, String::new()), "{source}");
        assert_eq!(forget(true, source).await.0, 404, "{source}");
    }
    let left = answer(&serve(false), "/api/v1/fleet/sources").await;
    assert_eq!(names(&left), [("cascade/eu", "live"), ("edge/cell-7", "behind"), ("cascade/us", "behind")]);
}
