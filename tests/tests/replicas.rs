//! Pairs of senders that differ in a label become one series, tier by tier; what each row of a request became is answered.

use std::net::SocketAddr;

use model::{Batch, Labels, Sample, TimestampMs};

use crate::harness::{DEADLINE, Folder, api, query, start, until};

/// Between two samples of a replica, in milliseconds.
const INTERVAL: i64 = 10_000;

fn row(pairs: &[(&str, &str)], at: i64, value: f64) -> model::Row {
    let sample = Sample { timestamp: TimestampMs(at), value };
    model::Row { labels: Labels::from_pairs(pairs.iter().copied()), sample }
}

/// Samples of one counter as a replica saw it.
fn seen(replica: &str, from: i64, count: i64) -> Vec<model::Row> {
    let pairs = [("__name__", "c"), ("metacluster", "m1"), ("replica", replica)];
    (0..count).map(|n| from + n * INTERVAL).map(|at| row(&pairs, at, at as f64)).collect()
}

/// What a request is answered: its status, how many samples were written, and the text.
async fn send(to: SocketAddr, rows: Vec<model::Row>) -> (u16, String, String) {
    runtime::install_tls();
    let body = remote_write::encode(&Batch { rows, metadata: Vec::new() });
    let request = reqwest::Client::new().post(format!("http://{to}/api/v1/write"));
    let request = request
        .header("Content-Type", remote_write::CONTENT_TYPE)
        .header("Content-Encoding", remote_write::CONTENT_ENCODING)
        .header(remote_write::VERSION_HEADER, remote_write::VERSION);
    let answer = request.body(body).send().await.expect("answers");
    let written = answer.headers().get("x-prometheus-remote-write-samples-written").cloned();
    let written = written.map(|value| value.to_str().expect("is text").to_owned()).unwrap_or_default();
    (answer.status().as_u16(), written, answer.text().await.expect("is text"))
}

/// The times of the only series that a selector finds.
async fn times(of: SocketAddr, selector: &str) -> Result<Vec<i64>, String> {
    let data = api(of, "query", &[("query", &format!("{selector}[1h]"))]).await?;
    let series = data["result"].as_array().ok_or("no list")?;
    let [only] = series.as_slice() else { return Err(format!("{} series: {data}", series.len())) };
    if only["metric"]["replica"].is_string() {
        return Err(format!("names a replica: {data}"));
    }
    let values = only["values"].as_array().ok_or("no values")?;
    Ok(values.iter().filter_map(|pair| pair[0].as_f64()).map(|at| (at * 1_000.0).round() as i64).collect())
}

async fn has(of: SocketAddr, want: &[i64]) {
    until(&format!("{of} to hold one series"), || async {
        let have = times(of, "c").await?;
        if have == want { Ok(()) } else { Err(format!("{have:?} instead of {want:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tiers_of_pairs_are_one_series_at_central() {
    let folder = Folder::new();
    let central = start::<central::Central>(None).await;
    let mut cascades = Vec::new();
    for replica in ["c1", "c2"] {
        let config = folder.write(
            &format!("{replica}.yml"),
            &format!(
                "global: {{external_labels: {{region: r, replica: {replica}}}}}\n\
                 remote_write: [{{url: 'http://{}/api/v1/write', queue_config: {{batch_send_deadline: 50ms}}}}]\n",
                central.address()
            ),
        );
        cascades.push(start::<cascade::Cascade>(Some(config)).await);
    }
    // On milliseconds that every tier keeps.
    let from = (runtime::now().0 - 600_000) / 1_000 * 1_000;
    // Both write to both, in one request; after ten samples one of them is gone.
    let [a, b] = [seen("a", from, 10), seen("b", from + 3_000, 20)];
    let both = [a, b].concat();
    for cascade in &cascades {
        for _ in 0..2 {
            let answer = send(cascade.address(), both.clone()).await;
            assert_eq!(answer, (204, "30".to_owned(), String::new()), "all of them are taken, each time");
        }
    }
    let first = (0..10).map(|n| from + n * INTERVAL);
    let want: Vec<i64> = first.chain((10..20).map(|n| from + 3_000 + n * INTERVAL)).collect();
    for address in [cascades[0].address(), cascades[1].address(), central.address()] {
        has(address, &want).await;
    }
    let region = query(central.address(), "count by (region, metacluster) (last_over_time(c[1h]))").await;
    let region = region.expect("is answered");
    assert_eq!((region[0].label("region"), region[0].label("metacluster")), ("r", "m1"));
    let names = api(central.address(), "labels", &[]).await.expect("is answered");
    assert!(!names.to_string().contains("replica"), "{names}");
    // The other one comes back with what it had meanwhile: that time is filled already.
    let back = send(cascades[0].address(), seen("a", from + 10 * INTERVAL, 10)).await;
    assert_eq!(back, (204, "10".to_owned(), String::new()));
    let later = send(cascades[0].address(), seen("b", from + 3_000 + 20 * INTERVAL, 1)).await;
    assert_eq!(later.0, 204);
    let want = [want, vec![from + 3_000 + 20 * INTERVAL]].concat();
    has(cascades[0].address(), &want).await;
    has(central.address(), &want).await;
    for cascade in cascades {
        cascade.stop(DEADLINE).await;
    }
    central.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_name_the_samples_that_were_not_stored() {
    let cascade = start::<cascade::Cascade>(None).await;
    let now = runtime::now().0;
    let future = now + 3_600_000;
    let rows = vec![
        row(&[("__name__", "plain")], now, 1.0),
        row(&[("__name__", "c"), ("replica", "a")], now, 1.0),
        row(&[("__name__", "ahead"), ("n", "1")], future, 1.0),
        row(&[("__name__", "c"), ("replica", "b")], now + 100, 1.0),
        row(&[("__name__", "ahead"), ("n", "2"), ("replica", "b")], future, 1.0),
        row(&[("nameless", "x"), ("replica", "b")], now, 1.0),
    ];
    let (status, written, text) = send(cascade.address(), rows).await;
    assert_eq!((status, written.as_str()), (400, "3"), "{text}");
    for named in ["too_far_in_future=2", "invalid_labels=1", r#"ahead{n="1"}"#, r#"n="2""#, "nameless"] {
        assert!(text.contains(named), "{named} is not in {text}");
    }
    let found = query(cascade.address(), r#"{__name__=~"plain|c|ahead"}"#).await.expect("is answered");
    let mut names: Vec<&str> = found.iter().map(|element| element.label("__name__")).collect();
    names.sort_unstable();
    assert_eq!(names, ["c", "plain"]);
    cascade.stop(DEADLINE).await;
}
