//! An exporter whose one metric is the time: how long ago it was true is how long a sample took.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::chain::Tier;

/// Between two looks at central.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Targets that tell the time.
const CLOCKS: usize = 10;

/// Seconds since the epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The clocks as a scrape job: the same page as several targets, which are scraped at different moments of a second.
pub fn job(port: u16) -> String {
    let target = |n| format!("  - {{targets: ['127.0.0.1:{port}'], labels: {{clock: '{n}'}}}}\n");
    let targets: String = (0..CLOCKS).map(target).collect();
    format!("- job_name: clock\n  scrape_interval: 1s\n  static_configs:\n{targets}")
}

/// Serves the page until the runtime ends. Returns its port.
pub async fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let page = format!("# TYPE bench_clock_seconds gauge\nbench_clock_seconds {:.3}\n", now());
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{page}", page.len());
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

/// Watches central for so long. Returns the seconds from serving to being visible, of every sample that was, sorted.
pub async fn watch(central: &Tier, during: Duration) -> Vec<f64> {
    let (begun, mut last, mut delays) = (Instant::now(), HashMap::new(), Vec::new());
    while begun.elapsed() < during {
        let values = central.values("bench_clock_seconds").await;
        let now = now();
        for (clock, value) in values {
            // What was visible before the watch began took nobody knows how long.
            if last.insert(clock, value).is_some_and(|last| last != value) {
                delays.push(now - value);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    delays.sort_by(f64::total_cmp);
    delays
}

/// Of sorted values.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * q).round() as usize).copied().unwrap_or(f64::NAN)
}
