//! What each endpoint says. Texts and shapes were compared with Debian's Prometheus 2.42.

use super::fixture::{Store, app, get, options, post, sample_store};

const OK: &str = r#"{"status":"success","data":"#;

/// Each request, its status, and its whole answer; what begins with `{"` stands for itself, everything else for the
/// data of a successful answer.
async fn check(cases: &[(&str, u16, &str)]) {
    let app = app(options(sample_store()));
    for (path, status, want) in cases {
        let reply = get(&app, path).await;
        let want = if want.starts_with(r#"{"status"#) { (*want).to_owned() } else { format!("{OK}{want}}}") };
        assert_eq!((reply.status.as_u16(), reply.text()), (*status, want), "{path}");
        assert_eq!(reply.header("content-type"), "application/json", "{path}");
    }
}

fn bad(message: &str) -> String {
    format!(r#"{{"status":"error","errorType":"bad_data","error":"{message}"}}"#)
}

async fn check_bad(cases: &[(&str, &str)]) {
    let app = app(options(sample_store()));
    for (path, message) in cases {
        let reply = get(&app, path).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (400, bad(message)), "{path}");
    }
}

#[tokio::test]
async fn instant_queries() {
    check(&[
        ("/api/v1/query?query=1&time=5", 200, r#"{"resultType":"scalar","result":[5,"1"]}"#),
        ("/api/v1/query?query=1e-7&time=1.5", 200, r#"{"resultType":"scalar","result":[1.5,"0.0000001"]}"#),
        ("/api/v1/query?query=vector(1e-7)&time=1", 200, r#"{"resultType":"vector","result":[{"metric":{},"value":[1,"1e-07"]}]}"#),
        ("/api/v1/query?query=%22a%3C%22&time=1", 200, r#"{"resultType":"string","result":[1,"a\u003c"]}"#),
        (
            "/api/v1/query?query=up&time=1970-01-01T00:01:00Z",
            200,
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"h:1","job":"a"},"value":[60,"1"]},{"metric":{"__name__":"up","instance":"h:2","job":"b"},"value":[60,"0"]}]}"#,
        ),
        (
            "/api/v1/query?query=requests_total[20s]&time=30",
            200,
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"requests_total","a.b":"x\u003cy","job":"a"},"values":[[20,"20"],[30,"30"]]}]}"#,
        ),
        ("/api/v1/query?query=up&time=1000", 200, r#"{"resultType":"vector","result":[]}"#),
        ("/api/v1/query?query=up&time=110&lookback_delta=10s", 200, r#"{"resultType":"vector","result":[]}"#),
        (
            "/api/v1/query?query=up&time=60&limit=1",
            200,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"h:1","job":"a"},"value":[60,"1"]}]},"warnings":["results truncated due to limit"]}"#,
        ),
    ])
    .await;
}

#[tokio::test]
async fn range_queries() {
    check(&[
        (
            "/api/v1/query_range?query=time()&start=1.5&end=3&step=500ms",
            200,
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[1.500,"1.5"],[2,"2"],[2.500,"2.5"],[3,"3"]]}]}"#,
        ),
        (
            "/api/v1/query_range?query=sum(up)&start=0&end=60&step=30",
            200,
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[30,"1"],[60,"1"]]}]}"#,
        ),
        ("/api/v1/query_range?query=nope&start=0&end=60&step=30", 200, r#"{"resultType":"matrix","result":[]}"#),
        (
            "/api/v1/query_range?query=up&start=60&end=60&step=1&limit=1",
            200,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","instance":"h:1","job":"a"},"values":[[60,"1"]]}]},"warnings":["results truncated due to limit"]}"#,
        ),
    ])
    .await;
}

#[tokio::test]
async fn parameters_that_are_wrong() {
    let step = r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#;
    check_bad(&[
        ("/api/v1/query", r#"invalid parameter \"query\": unknown position: parse error: no expression found in input"#),
        ("/api/v1/series?match[]=up%7B", r#"invalid parameter \"match[]\": 1:4: parse error: unexpected end of input inside braces"#),
        ("/api/v1/labels?match[]=up%7B", "1:4: parse error: unexpected end of input inside braces"),
        ("/api/v1/query?query=1&time=abc", r#"invalid parameter \"time\": invalid time value for 'time': cannot parse \"abc\" to a valid timestamp"#),
        ("/api/v1/query?query=1&timeout=abc", r#"invalid parameter \"timeout\": cannot parse \"abc\" to a valid duration"#),
        ("/api/v1/query?query=1&limit=-1", r#"invalid parameter \"limit\": limit must be non-negative"#),
        ("/api/v1/query?query=1&limit=x", r#"invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax"#),
        ("/api/v1/query?query=1&lookback_delta=x", r#"error parsing lookback delta duration: cannot parse \"x\" to a valid duration"#),
        ("/api/v1/query_range?query=up", r#"invalid parameter \"start\": cannot parse \"\" to a valid timestamp"#),
        ("/api/v1/query_range?query=up&start=1", r#"invalid parameter \"end\": cannot parse \"\" to a valid timestamp"#),
        ("/api/v1/query_range?query=up&start=1&end=0&step=1", r#"invalid parameter \"end\": end timestamp must not be before start time"#),
        ("/api/v1/query_range?query=up&start=1&end=2", r#"invalid parameter \"step\": cannot parse \"\" to a valid duration"#),
        ("/api/v1/query_range?query=up&start=1&end=2&step=x", r#"invalid parameter \"step\": cannot parse \"x\" to a valid duration"#),
        ("/api/v1/query_range?query=up&start=1&end=2&step=1e300", r#"invalid parameter \"step\": cannot parse \"1e300\" to a valid duration. It overflows int64"#),
        ("/api/v1/query_range?query=up&start=1&end=2&step=0", step),
        ("/api/v1/query_range?query=up&start=1&end=2&step=-1", step),
        ("/api/v1/query_range?query=up&start=1&end=20000&step=1", "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"),
        ("/api/v1/query_range?query=up[5m]&start=1&end=20&step=1", r#"invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"#),
        ("/api/v1/query_exemplars?query=up&start=3&end=2", "end timestamp must not be before start timestamp"),
        ("/api/v1/series", "no match[] parameter provided"),
        ("/api/v1/series?match[]=%7B%7D", r#"invalid parameter \"match[]\": match[] must contain at least one non-empty matcher"#),
        ("/api/v1/labels?match[]=%7Ba=%22%22%7D", "match[] must contain at least one non-empty matcher"),
        ("/api/v1/label/job/values?match[]=%7Ba=~%22.*%22%7D", "match[] must contain at least one non-empty matcher"),
        ("/api/v1/rules?match[]=%7B%7D", "match[] must contain at least one non-empty matcher"),
        ("/api/v1/series?match[]=up&start=x", r#"invalid parameter \"start\": invalid time value for 'start': cannot parse \"x\" to a valid timestamp"#),
        ("/api/v1/label/U__/values", r#"invalid label name: \"\""#),
        ("/api/v1/metadata?limit=x", "limit must be a number"),
        ("/api/v1/rules?type=x", r#"invalid parameter \"type\": not supported value \"x\""#),
        ("/api/v1/status/tsdb?limit=0", "limit must be a positive number"),
        ("/api/v1/status/tsdb?limit=10001", "limit must not exceed 10000"),
        ("/api/v1/targets/metadata?limit=x", "limit must be a number"),
        ("/api/v1/rules?exclude_alerts=maybe", r#"invalid parameter \"exclude_alerts\": error converting exclude_alerts: strconv.ParseBool: parsing \"maybe\": invalid syntax"#),
        ("/api/v1/rules?group_limit=0", r#"invalid parameter \"group_limit\": group_limit needs to be greater than 0"#),
        ("/api/v1/rules?group_limit=x", r#"invalid parameter \"group_limit\": group_limit needs to be a valid number: strconv.ParseInt: parsing \"x\": invalid syntax"#),
        ("/api/v1/rules?group_next_token=x", r#"invalid parameter \"group_next_token\": group_limit needs to be present in order to paginate over the groups"#),
        ("/api/v1/rules?group_limit=1&group_next_token=x", r#"invalid parameter \"group_next_token\": invalid group_next_token 'x'. were rule groups changed?"#),
    ])
    .await;
}

#[tokio::test]
async fn labels_and_series() {
    check(&[
        ("/api/v1/labels", 200, r#"["__name__","a.b","instance","job"]"#),
        ("/api/v1/labels?match[]=up", 200, r#"["__name__","instance","job"]"#),
        ("/api/v1/labels?match[]=nope", 200, "[]"),
        ("/api/v1/labels?match[]=up&match[]=requests_total&limit=1", 200, r#"{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}"#),
        ("/api/v1/label/job/values", 200, r#"["a","b"]"#),
        ("/api/v1/label/job/values?match[]=requests_total", 200, r#"["a"]"#),
        ("/api/v1/label/U__a_2e_b/values", 200, r#"["x\u003cy"]"#),
        ("/api/v1/label/a.b/values", 200, r#"["x\u003cy"]"#),
        ("/api/v1/label/a-b/values", 200, "[]"),
        ("/api/v1/series?match[]=up%7Bjob=%22a%22%7D", 200, r#"[{"__name__":"up","instance":"h:1","job":"a"}]"#),
        ("/api/v1/series?match[]=up&start=200", 200, "[]"),
        ("/api/v1/series?match[]=up&start=5&end=1", 200, "[]"),
        ("/api/v1/series?match[]=up&limit=1", 200, r#"{"status":"success","data":[{"__name__":"up","instance":"h:1","job":"a"}],"warnings":["results truncated due to limit"]}"#),
        ("/api/v1/query_exemplars?query=up&start=1&end=2", 200, "[]"),
        ("/api/v1/format_query?query=sum(up)by(job)", 200, r#""sum by (job) (up)""#),
        ("/api/v1/parse_query?query=1.5", 200, r#"{"type":"numberLiteral","val":"1.5"}"#),
        ("/api/v1/parse_query?query=(up)", 200, r#"{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":0,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"parenExpr"}"#),
    ])
    .await;
}

#[tokio::test]
async fn metadata() {
    let both = r#"{"requests_total":[{"type":"counter","help":"Requests.","unit":""},{"type":"counter","help":"Requests \u003call\u003e.","unit":""}],"up":[{"type":"gauge","help":"Whether.","unit":""}]}"#;
    let up = r#"{"up":[{"type":"gauge","help":"Whether.","unit":""}]}"#;
    let first = r#"{"requests_total":[{"type":"counter","help":"Requests.","unit":""}]}"#;
    check(&[
        ("/api/v1/metadata", 200, both),
        ("/api/v1/metadata?limit=-1&limit_per_metric=0", 200, both),
        ("/api/v1/metadata?metric=up", 200, up),
        ("/api/v1/metadata?metric=nope", 200, "{}"),
        ("/api/v1/metadata?limit=0", 200, "{}"),
        ("/api/v1/metadata?limit=1&limit_per_metric=1", 200, first),
    ])
    .await;
}

const TARGET: &str = r#"{"discoveredLabels":{"__address__":"h:1","job":"a"},"labels":{"instance":"h:1","job":"a"},"scrapePool":"a","scrapeUrl":"http://h:1/metrics","globalUrl":"http://h:1/metrics","lastError":"","lastScrape":"2023-11-14T22:13:20.25Z","lastScrapeDuration":0.0045,"health":"up","scrapeInterval":"15s","scrapeTimeout":"10s"}"#;
const DROPPED: &str = r#"{"discoveredLabels":{"__address__":"h:9","job":"z"},"scrapePool":"z"}"#;

#[tokio::test]
async fn targets() {
    let targets = |active: &str, dropped: &str, counts: &str| {
        format!(r#"{{"activeTargets":[{active}],"droppedTargets":[{dropped}],"droppedTargetCounts":{{{counts}}}}}"#)
    };
    let all = targets(TARGET, DROPPED, r#""z":1"#);
    let active = targets(TARGET, "", "");
    let dropped = targets("", DROPPED, r#""z":1"#);
    let none = targets("", "", "");
    check(&[
        ("/api/v1/targets", 200, &all),
        ("/api/v1/targets?state=any", 200, &all),
        ("/api/v1/targets?state=ACTIVE", 200, &active),
        ("/api/v1/targets?state=dropped", 200, &dropped),
        ("/api/v1/targets?scrapePool=a", 200, &active),
        ("/api/v1/targets?state=x", 200, &none),
        ("/api/v1/scrape_pools", 200, r#"{"scrapePools":["a","z"]}"#),
    ])
    .await;
}

/// The names of the rules in an answer, group by group.
async fn rule_names(query: &str) -> Vec<String> {
    let reply = get(&app(options(sample_store())), &format!("/api/v1/rules?{query}")).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("is JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("is text").to_owned();
    let groups = answer["data"]["groups"].as_array().expect("is a list");
    groups
        .iter()
        .map(|group| {
            let rules = group["rules"].as_array().expect("is a list");
            let names: Vec<_> = rules.iter().map(|rule| text(&rule["name"])).collect();
            format!("{}:{}", text(&group["name"]), names.join(","))
        })
        .collect()
}

#[tokio::test]
async fn rules_are_filtered() {
    assert_eq!(rule_names("").await, ["g1:a:b,Down", "g2:c:d", "g3:Slow"]);
    assert_eq!(rule_names("type=alert").await, ["g1:Down", "g3:Slow"]);
    assert_eq!(rule_names("type=record").await, ["g1:a:b", "g2:c:d"]);
    assert_eq!(rule_names("rule_name[]=Down&rule_name[]=c:d").await, ["g1:Down", "g2:c:d"]);
    assert_eq!(rule_names("rule_group[]=g2").await, ["g2:c:d"]);
    assert_eq!(rule_names("file[]=/other.yml").await, [""; 0]);
    assert_eq!(rule_names("match[]=%7Bseverity=%22page%22%7D").await, ["g1:Down"]);
    assert_eq!(rule_names("match[]=%7Bteam=~%22.%2B%22%7D").await, [""; 0]);
}

#[tokio::test]
async fn rules_come_in_pages() {
    let app = app(options(sample_store()));
    let (mut token, mut seen) = (String::new(), Vec::new());
    loop {
        let reply = get(&app, &format!("/api/v1/rules?group_limit=2&group_next_token={token}")).await;
        let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("is JSON");
        let groups = answer["data"]["groups"].as_array().expect("is a list");
        seen.push(groups.len());
        match answer["data"]["groupNextToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(seen, [2, 1]);
    // Groups without a rule that is wanted fill no page, and their absence is no reason for another one.
    let reply = get(&app, "/api/v1/rules?group_limit=1&type=record&rule_group[]=g2&rule_group[]=g3").await;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("is JSON");
    assert_eq!(
        (&answer["data"]["groups"][0]["name"], &answer["data"]["groupNextToken"]),
        (&"g2".into(), &serde_json::Value::Null)
    );
    // The SHA-256 of "/r.yml;g2", as Prometheus makes its tokens.
    let reply = get(&app, "/api/v1/rules?group_limit=1").await;
    let token = "b8e813fa2a35d87f1b56a42ef7393012afbea6eec0972dcbce094a7bb2e204a6";
    assert!(reply.text().ends_with(&format!(r#""groupNextToken":"{token}"}}}}"#)), "{}", reply.text());
}

#[tokio::test]
async fn alerts_and_where_they_go() {
    let alert = r#"{"labels":{"alertname":"Down","job":"b"},"annotations":{},"state":"firing","activeAt":"2023-11-14T22:13:20Z","value":"0e+00"}"#;
    let alerts = format!(r#"{{"alerts":[{alert}]}}"#);
    check(&[
        ("/api/v1/alerts", 200, &alerts),
        (
            "/api/v1/alertmanagers",
            200,
            r#"{"activeAlertmanagers":[{"url":"http://r:9093/api/v2/alerts"}],"droppedAlertmanagers":[]}"#,
        ),
    ])
    .await;
    let app = app(options(sample_store()));
    let shown = format!(r#""alerts":[{alert}]"#);
    for (query, want) in [("exclude_alerts=TRUE", r#""alerts":null"#), ("exclude_alerts=0", &shown), ("", &shown)] {
        let text = get(&app, &format!("/api/v1/rules?rule_name[]=Down&{query}")).await.text();
        assert!(text.contains(want), "{query}: {text}");
    }
}

#[tokio::test]
async fn status() {
    let yaml = r#"{"yaml":"remote_write:\n  - url: \"http://h/w\"\n    basic_auth:\n      username: u\n      password: \u003csecret\u003e\n"}"#;
    check(&[
        (
            "/api/v1/status/buildinfo",
            200,
            r#"{"version":"3.5.0","revision":"abc","branch":"","buildUser":"","buildDate":"","goVersion":"","application":"Highwater","applicationVersion":"0.1.0","role":"central"}"#,
        ),
        ("/api/v1/status/config", 200, yaml),
        ("/api/v1/status/flags", 200, r#"{"log.level":"info","web.listen-address":":9090"}"#),
        (
            "/api/v1/status/tsdb?limit=1",
            200,
            r#"{"headStats":{"numSeries":3,"numLabelPairs":7,"chunkCount":4,"minTime":0,"maxTime":100000},"seriesCountByMetricName":[{"name":"up","value":2}],"labelValueCountByLabelName":[{"name":"__name__","value":2}],"memoryInBytesByLabelName":[{"name":"__name__","value":16}],"seriesCountByLabelValuePair":[{"name":"__name__=up","value":2}]}"#,
        ),
    ])
    .await;
    let reply = get(&app(options(sample_store())), "/api/v1/status/runtimeinfo").await;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("is JSON");
    assert_eq!(answer["data"]["startTime"], "2023-11-14T22:13:20Z");
    assert_eq!(answer["data"]["lastConfigTime"], "2023-11-14T22:13:20Z");
    assert_eq!(answer["data"]["reloadConfigSuccess"], true);
    assert_eq!(answer["data"]["storageRetention"], "15d");
    assert_ne!(answer["data"]["hostname"], "");
    check(&[
        ("/api/v1/status/walreplay", 200, r#"{"min":0,"max":0,"current":0}"#),
        ("/api/v1/notifications", 200, "[]"),
    ])
    .await;
}

#[tokio::test]
async fn features_are_those_of_this_server() {
    let reply = get(&app(options(sample_store())), "/api/v1/features").await;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("is JSON");
    for (area, name, want) in [
        ("api", "admin", false),
        ("api", "lifecycle", true),
        ("api", "remote_write_receiver", true),
        ("prometheus", "server_mode", true),
        ("promql", "fill", false),
        ("promql", "offset", true),
        ("promql_functions", "rate", true),
        ("promql_functions", "info", false),
        ("promql_operators", "topk", true),
    ] {
        assert_eq!(answer["data"][area][name], want, "{area} {name}");
    }
}

#[tokio::test]
async fn metadata_of_targets() {
    let now = runtime::now().0;
    let mut store = Store::default();
    store.add(&[("__name__", "up"), ("instance", "h:1"), ("job", "a")], &[(now - 1000, 1.0)]);
    store.add(&[("__name__", "requests_total"), ("instance", "h:2"), ("job", "a")], &[(now - 1000, 1.0)]);
    let app = app(options(store));
    let up = r#"{"target":{"instance":"h:1","job":"a"},"metric":"up","type":"gauge","help":"Whether.","unit":""}"#;
    let nameless = r#"{"target":{"instance":"h:1","job":"a"},"type":"gauge","help":"Whether.","unit":""}"#;
    for (query, want) in [
        ("", up),
        ("metric=up", nameless),
        ("metric=requests_total", ""),
        ("match_target=%7Bjob=%22a%22%7D&limit=1", up),
        ("match_target=%7Bjob=%22b%22%7D", ""),
        ("limit=0", ""),
    ] {
        let reply = get(&app, &format!("/api/v1/targets/metadata?{query}")).await;
        assert_eq!(reply.text(), format!("{OK}[{want}]}}"), "{query}");
    }
    let reply = get(&app, "/api/v1/targets/metadata?match_target=up%7B").await;
    assert!(
        reply.status == 400 && reply.text().contains(r#"invalid parameter \"match_target\": "#),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn forms_are_read_and_win() {
    let app = app(options(sample_store()));
    let five = r#"{"status":"success","data":{"resultType":"scalar","result":[5,"1"]}}"#;
    assert_eq!(post(&app, "/api/v1/query", "query=1&time=5").await.text(), five);
    assert_eq!(post(&app, "/api/v1/query?query=2&time=7", "query=1&time=5").await.text(), five);
    assert_eq!(post(&app, "/api/v1/query?time=5", "query=1").await.text(), five);
    for (path, form) in [
        ("query_range", "query=up&start=0&end=10&step=1"),
        ("labels", ""),
        ("series", "match[]=up"),
        ("query_exemplars", "query=up"),
        ("format_query", "query=up"),
    ] {
        assert_eq!(post(&app, &format!("/api/v1/{path}"), form).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn stats_are_told_when_asked() {
    let app = app(options(sample_store()));
    let reply = get(&app, "/api/v1/query?query=sum(up)&time=60&stats=all").await;
    let answer: serde_json::Value = serde_json::from_slice(&reply.body).expect("is JSON");
    let stats = &answer["data"]["stats"];
    assert_eq!(stats["samples"]["totalQueryableSamples"], 2, "{stats}");
    assert_eq!(stats["samples"]["totalQueryableSamplesPerStep"].to_string(), "[[60,2]]");
    assert!(stats["samples"]["peakSamples"].as_u64().is_some_and(|n| n >= 1), "{stats}");
    assert!(stats["timings"]["execTotalTime"].as_f64().is_some_and(|s| s > 0.0), "{stats}");
    assert!(!get(&app, "/api/v1/query?query=up").await.text().contains("stats"));
    let totals = get(&app, "/api/v1/query_range?query=sum(up)&start=60&end=61&step=0.5&stats=1").await.text();
    assert!(totals.contains("\"totalQueryableSamples\":6") && !totals.contains("PerStep"), "{totals}");
}
