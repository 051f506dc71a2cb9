//! Exemplars as a dashboard asks for them.

use super::fixture::{app, get, options, post, sample_store};

const PATH: &str = "/api/v1/query_exemplars";

#[tokio::test]
async fn exemplars_in_the_words_of_prometheus() {
    let app = app(options(sample_store()));
    let all = concat!(
        r#"{"status":"success","data":[{"seriesLabels":{"__name__":"seconds_bucket","le":"0.5"},"exemplars":["#,
        r#"{"labels":{"span_id":"1","trace_id":"a\u003cb"},"value":"6","timestamp":1},"#,
        r#"{"labels":{},"value":"1e-07","timestamp":2.010},"#,
        r#"{"labels":{},"value":"+Inf","timestamp":3}]}]}"#
    );
    let query = "query=histogram_quantile(0.9,sum+by(le)(rate(seconds_bucket[5m])))";
    let reply = get(&app, &format!("{PATH}?{query}&start=0&end=9")).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, all));
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(post(&app, PATH, query).await.text(), all);
    for (asked, data) in [
        ("query=up/seconds_bucket&start=4", "[]"),
        ("query=up", "[]"),
        (
            "query=seconds_bucket{le='0.5'}&start=1.5&end=2.9",
            r#"[{"seriesLabels":{"__name__":"seconds_bucket","le":"0.5"},"exemplars":[{"labels":{},"value":"1e-07","timestamp":2.010}]}]"#,
        ),
    ] {
        let want = format!(r#"{{"status":"success","data":{data}}}"#);
        assert_eq!(post(&app, PATH, asked).await.text(), want, "{asked}");
    }
}

#[tokio::test]
async fn what_can_have_none_has_no_content_and_what_is_no_query_is_refused() {
    let app = app(options(sample_store()));
    let none = post(&app, PATH, "query=1%2Btime()").await;
    assert_eq!((none.status.as_u16(), none.text().as_str()), (204, ""));
    let refused = post(&app, PATH, "query=up{").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().starts_with(r#"{"status":"error","errorType":"bad_data","error":"1:"#),
        "{}",
        refused.text()
    );
    assert_eq!(post(&app, PATH, "").await.status, 400);
}
