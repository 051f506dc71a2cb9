//! Central stays away while an hour of the past is written at the edge, and comes back.

use std::time::{Duration, Instant};

use crate::Sizes;
use crate::chain::Chain;
use crate::clock;
use crate::load::{Part, STEP_MS, Shape};

const HOUR_STEPS: usize = 240;
/// Central is away at least for so long, so that live samples wait as well.
const AWAY: Duration = Duration::from_secs(15);
/// Live again: a sample is not older at central.
const FRESH_SECONDS: f64 = 5.0;

/// An hour of samples that end now, of series that nothing else sends.
async fn write_hour(port: u16, series: usize) -> f64 {
    let shape = Shape { series, steps: HOUR_STEPS, clusters: 10, first_cluster: 0, batch: 5_000, connections: 1 };
    let (mut part, client) = (Part::new(shape, 0), reqwest::Client::new());
    let end = (clock::now() * 1000.0) as i64 / STEP_MS * STEP_MS;
    for step in 0..HOUR_STEPS {
        for index in 0..part.requests() {
            let body = part.request(end - (HOUR_STEPS - step) as i64 * STEP_MS, index);
            let request = client
                .post(format!("http://127.0.0.1:{port}/api/v1/write"))
                .header("Content-Type", remote_write::CONTENT_TYPE)
                .header("Content-Encoding", remote_write::CONTENT_ENCODING)
                .header(remote_write::VERSION_HEADER, remote_write::VERSION)
                .body(body);
            let answer = request.send().await.expect("the edge answers");
            assert!(answer.status().is_success(), "the edge refused: {}", answer.status());
        }
    }
    shape.samples()
}

/// How soon central is live again, and how fast the hour follows.
pub async fn run(chain: &mut Chain, sizes: &Sizes) {
    let away = Instant::now();
    chain.tiers[2].end("TERM");
    let samples = write_hour(chain.tiers[0].port, sizes.backlog_series).await;
    tokio::time::sleep(AWAY.saturating_sub(away.elapsed())).await;
    chain.tiers[2].start().await;
    let back = Instant::now();
    // One family in twenty stands for all: they travel in the same requests.
    let of_family = (sizes.backlog_series / 20 * HOUR_STEPS) as f64;
    let counted = format!(
        "sum(count_over_time(container_memory_working_set_bytes{{metacluster=\"cell-000\"}}[2h])) >= {of_family}"
    );
    let (mut live, mut complete) = (None, None);
    while live.is_none() || complete.is_none() {
        assert!(back.elapsed() < Duration::from_secs(300), "live after {live:?} s, complete after {complete:?} s");
        let age = chain.central().value("min(bench_clock_seconds)").await.map(|value| clock::now() - value);
        live = live.or(age.filter(|age| *age < FRESH_SECONDS).map(|_| back.elapsed().as_secs_f64()));
        complete = complete.or(chain.central().value(&counted).await.map(|_| back.elapsed().as_secs_f64()));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (live, complete) = (live.unwrap_or(f64::NAN), complete.unwrap_or(f64::NAN));
    println!(
        "\ncatching up: central away for {:.0} s and an hour of {} series",
        away.elapsed().as_secs_f64(),
        sizes.backlog_series
    );
    println!(
        "  live again after {live:.2} s; the hour was there after {complete:.1} s ({:.0} times real time, {:.0} samples/s)",
        3600.0 / complete,
        samples / complete
    );
}
