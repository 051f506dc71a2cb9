//! What `kill -9` may not lose: a real process is killed again and again while samples arrive, and every sample that it
//! acknowledged must be there afterwards, once, with its value.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use model::{Labels, Row, Sample, TimestampMs};
use remote_write::Encoder;

use crate::harness::{DEADLINE, Folder, Process, api, binary, free_port, until};

const KILLS: usize = 100;
const SERIES: usize = 500;
/// One request of all series every 25 ms: 20,000 samples/s.
const REQUEST_EVERY: Duration = Duration::from_millis(25);
/// Between the timestamps of two requests.
const STEP_MS: i64 = 25;

fn labels(series: usize) -> Labels {
    Labels::from_pairs([("__name__", "kept"), ("series", &format!("{series:03}"))])
}

/// Differs for every series and step, and is a fraction sometimes.
fn value(series: usize, step: i64) -> f64 {
    (step * 7 + series as i64) as f64 / if series.is_multiple_of(3) { 8.0 } else { 1.0 }
}

fn body(step: i64, start_ms: i64) -> Vec<u8> {
    let timestamp = TimestampMs(start_ms + step * STEP_MS);
    let row = |series| Row { labels: labels(series), sample: Sample { timestamp, value: value(series, step) } };
    Encoder::default().encode(&(0..SERIES).map(row).collect::<Vec<_>>(), &[])
}

fn central(folder: &Folder, port: u16) -> Process {
    let mut command = Command::new(binary());
    command.arg("central").arg(format!("--storage.path={}", folder.path().join("store").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Process::start(&mut command, &folder.path().join("central.log"))
}

/// Whether the request was acknowledged. Whatever else happened to it: it is sent again.
async fn send(client: &reqwest::Client, address: SocketAddr, body: Vec<u8>) -> bool {
    let request = client
        .post(format!("http://{address}/api/v1/write"))
        .header("Content-Type", remote_write::CONTENT_TYPE)
        .header("Content-Encoding", remote_write::CONTENT_ENCODING)
        .header(remote_write::VERSION_HEADER, remote_write::VERSION);
    match request.body(body).timeout(Duration::from_secs(10)).send().await {
        Ok(answer) if answer.status().is_success() => true,
        Ok(answer) if answer.status().is_server_error() => false,
        Ok(answer) => panic!("a good request was refused: {}", answer.status()),
        Err(_) => false,
    }
}

/// Every stored sample of every series: timestamps and values.
async fn stored(address: SocketAddr) -> Result<BTreeMap<String, Vec<(i64, f64)>>, String> {
    let data = api(address, "query", &[("query", "kept[1h]")]).await?;
    let mut out = BTreeMap::new();
    for series in data["result"].as_array().into_iter().flatten() {
        let sample = |s: &serde_json::Value| {
            let ms = (s[0].as_f64().unwrap_or_default() * 1000.0).round() as i64;
            (ms, s[1].as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN))
        };
        let samples = series["values"].as_array().into_iter().flatten().map(sample).collect();
        let name = series["metric"]["series"].as_str().unwrap_or_default().to_owned();
        assert!(out.insert(name, samples).is_none(), "a series is listed twice: {}", series["metric"]);
    }
    Ok(out)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_lose_nothing_that_was_acknowledged_and_double_nothing() {
    runtime::install_tls();
    let (folder, port) = (Folder::new(), free_port());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let client = reqwest::Client::new();
    let start_ms = runtime::now().0 - 600_000;
    let mut process = central(&folder, port);
    let (mut step, mut kills, mut random) = (0i64, 0, 0x9E37_79B9_7F4A_7C15_u64);
    while kills < KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Up to ten requests are acknowledged in a life; then it is killed while the next one is under way.
        let last = step + 1 + (random >> 40) as i64 % 10;
        let deadline = Instant::now() + DEADLINE;
        while step < last {
            let due = Instant::now() + REQUEST_EVERY;
            if send(&client, address, body(step, start_ms)).await {
                step += 1;
                tokio::time::sleep_until(due.into()).await;
            } else {
                assert!(Instant::now() < deadline, "request {step} is not acknowledged after {kills} kills");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let under_way = tokio::spawn({
            let (client, body) = (client.clone(), body(step, start_ms));
            async move { send(&client, address, body).await }
        });
        tokio::time::sleep(Duration::from_micros((random >> 20) % 8_000)).await;
        process.signal("KILL");
        let _ = process.ended().await;
        // Acknowledged or not, only the server's answer counts.
        step += i64::from(under_way.await.expect("does not panic"));
        kills += 1;
        process = central(&folder, port);
    }
    let found = until("every series", || async {
        let found = stored(address).await?;
        if found.len() == SERIES { Ok(found) } else { Err(format!("{} series", found.len())) }
    })
    .await;
    for series in 0..SERIES {
        let samples = &found[&format!("{series:03}")];
        // What was under way at the last kill may be stored without having been acknowledged.
        let extra = samples.len().checked_sub(step as usize);
        assert!(extra.is_some_and(|n| n <= 1), "series {series}: {} samples of {step} acknowledged", samples.len());
        for (i, (timestamp, stored)) in samples.iter().enumerate() {
            let step = i as i64;
            assert_eq!((*timestamp, *stored), (start_ms + step * STEP_MS, value(series, step)), "series {series}");
        }
    }
}
