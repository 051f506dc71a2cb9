//! An exporter whose every page is different and checkable, and that notes what it served and when.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Values of one page are apart from those of every other.
pub const STRIDE: u64 = 1_000;

/// A running exporter; it ends with its handle.
pub struct Exporter {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    series: u64,
    /// Milliseconds by which the timestamps on its pages differ from the clock; none are written where there is none.
    skew_ms: Option<i64>,
    pages: AtomicU64,
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Exporter {
    /// Serves so many counters (below 1,000), and as many gauges of which every other page has none.
    pub async fn start(series: u64, skew_ms: Option<i64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("has an address");
        let shared = Arc::new(Shared { series, skew_ms, pages: AtomicU64::new(0) });
        let task = tokio::spawn(serve(listener, shared.clone()));
        Self { address, shared, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many pages were served.
    pub fn pages(&self) -> u64 {
        self.shared.pages.load(Ordering::Relaxed)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer(stream, shared.clone()));
    }
}

/// One page for each connection, whatever it asks for.
async fn answer(mut stream: TcpStream, shared: Arc<Shared>) {
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(n @ 1..) => head.extend_from_slice(&piece[..n]),
            _ => return,
        }
    }
    let page = shared.page();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
    // Whoever does not read it has not scraped it.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

impl Shared {
    fn page(&self) -> String {
        let number = self.pages.fetch_add(1, Ordering::Relaxed) + 1;
        let stamp = self.skew_ms.map(|skew| format!(" {}", runtime::now().0 + skew)).unwrap_or_default();
        let mut text = String::from("# TYPE paged_total counter\n");
        for series in 0..self.series {
            let _ = writeln!(text, "paged_total{{series=\"{series:03}\"}} {}{stamp}", number * STRIDE + series);
        }
        text.push_str("# TYPE blinks gauge\n");
        for series in (0..self.series).filter(|_| number.is_multiple_of(2)) {
            let value = (number * STRIDE + series) as f64 / 8.0;
            let _ = writeln!(text, "blinks{{series=\"{series:03}\"}} {value}{stamp}");
        }
        text
    }
}
