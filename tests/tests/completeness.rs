//! How complete a tier says it is, and what it says of those below.

use std::net::SocketAddr;

use model::{Batch, Labels, Sample, TimestampMs};
use reqwest::{Client, RequestBuilder};

use crate::harness::{DEADLINE, Folder, api, start, until};

fn writes(to: SocketAddr) -> RequestBuilder {
    runtime::install_tls();
    let request = Client::new().post(format!("http://{to}/api/v1/write"));
    request
        .header("Content-Type", remote_write::CONTENT_TYPE)
        .header("Content-Encoding", remote_write::CONTENT_ENCODING)
}

async fn text(of: SocketAddr, path: &str) -> (u16, String) {
    runtime::install_tls();
    let answer = Client::new().get(format!("http://{of}{path}")).send().await.expect("answers");
    (answer.status().as_u16(), answer.text().await.expect("is text"))
}

/// Up to when everything is there, in milliseconds.
async fn watermark(of: SocketAddr) -> i64 {
    let (_, metrics) = text(of, "/metrics").await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("highwater_watermark_seconds "));
    (line.expect("is there").parse::<f64>().expect("is a number") * 1_000.0).round() as i64
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edge_dropped_is_named_by_central() {
    let folder = Folder::new();
    let central = start::<central::Central>(None).await;
    let text = format!(
        "global: {{external_labels: {{region: eu}}}}\nremote_write: [{{url: 'http://{}/api/v1/write'}}]\n",
        central.address()
    );
    let cascade = start::<cascade::Cascade>(Some(folder.write("cascade.yml", &text))).await;
    let now = runtime::now().0;
    let told = writes(cascade.address())
        .header("Highwater-Source", "edge/cell-7")
        .header("Highwater-Watermark-Ms", now)
        .header("Highwater-Gaps", format!("{}-{}=52000", now - 60_000, now - 30_000));
    assert_eq!(told.send().await.expect("answers").status(), 204);
    // The first sample makes the cascade speak to central.
    let mut batch = Batch::default();
    batch.push(Labels::from_pairs([("__name__", "up")]), Sample { timestamp: TimestampMs(now), value: 1.0 });
    let sent = writes(cascade.address()).body(remote_write::encode(&batch)).send().await.expect("answers");
    assert_eq!(sent.status(), 204);
    until("central to name the edge", || async {
        let data = api(central.address(), "fleet/sources", &[("tier", "edge")]).await?;
        let [edge] = data["sources"].as_array().map(Vec::as_slice).unwrap_or_default() else {
            return Err(format!("not one edge: {data}"));
        };
        let told = (edge["source"].as_str(), edge["via"].as_str(), edge["gapSamples"].as_i64());
        let gaps = edge["gaps"].as_array().map(Vec::len);
        let want = (Some("edge/cell-7"), Some("cascade/eu"), Some(52_000));
        if told == want && gaps == Some(1) { Ok(()) } else { Err(data.to_string()) }
    })
    .await;
    cascade.stop(DEADLINE).await;
    central.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_is_not_complete_while_it_holds_samples_of_a_replica_back() {
    let cascade = start::<cascade::Cascade>(None).await;
    let from = runtime::now().0 - 100_000;
    let write = async |replica: &str, times: &[i64]| {
        let mut batch = Batch::default();
        let labels = Labels::from_pairs([("__name__", "c"), ("metacluster", "m"), ("replica", replica)]);
        let sample = |at: i64| Sample { timestamp: TimestampMs(from + at), value: at as f64 };
        times.iter().for_each(|at| batch.push(labels.clone(), sample(*at)));
        let sent = writes(cascade.address()).body(remote_write::encode(&batch)).send().await.expect("answers");
        assert_eq!(sent.status(), 204);
    };
    write("a", &[0, 10_000, 20_000, 30_000]).await;
    assert!(watermark(cascade.address()).await > from + 90_000, "nothing is held back");
    // Four fifths of an interval later: it depends on whether the other one comes.
    write("b", &[38_000]).await;
    let held = watermark(cascade.address()).await;
    assert!((from + 37_800..from + 38_000).contains(&held), "{held} and not just before {}", from + 38_000);
    write("a", &[40_000]).await;
    assert!(watermark(cascade.address()).await > from + 90_000, "it came");
    cascade.stop(DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_central_serves_what_its_description_names() {
    let central = start::<central::Central>(None).await;
    let (status, document) = text(central.address(), "/api/v1/openapi.yaml").await;
    assert_eq!(status, 200);
    let paths = document.lines().filter_map(|line| line.strip_prefix("  \"/")?.strip_suffix("\":"));
    let paths: Vec<String> = paths.map(|path| format!("/{}", path.replace("{name}", "job"))).collect();
    for path in &paths {
        assert_ne!(text(central.address(), path).await.0, 404, "{path}");
    }
    for path in ["/api/v1/query", "/api/v1/fleet/sources", "/api/v1/peers", "/api/v1/peers/digest"] {
        assert!(paths.iter().any(|known| known == path), "{path} is not described");
    }
    central.stop(DEADLINE).await;
}
