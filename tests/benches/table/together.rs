//! Ingestion and queries at the same time: what each costs the other.

use std::time::{Duration, Instant};

use crate::load::{Part, STEP_MS, Shape};
use crate::server::Server;

const SAMPLES_PER_SECOND: f64 = 100_000.0;
const QUERIES_PER_SECOND: f64 = 20.0;
const PHASE: Duration = Duration::from_secs(10);

/// Mean milliseconds of a write request and of a query.
#[derive(Debug, Clone, Copy)]
pub struct Latencies {
    pub write: f64,
    pub query: f64,
}

/// The latencies of each alone, and of both together.
pub async fn together(server: &Server, shape: Shape, start_ms: i64, queries: &[(&str, i64)]) -> (Latencies, Latencies) {
    let shape = Shape { connections: 1, batch: 2_000, ..shape };
    let mut writer = Writer { part: Part::new(shape, 0), at_ms: start_ms, index: 0, batch: shape.batch };
    let until = |since: Instant| move || since.elapsed() >= PHASE;
    let write = writer.run(server, until(Instant::now())).await;
    let query = ask(server, queries, writer.at_ms / 1000, until(Instant::now())).await;
    let alone = Latencies { write, query };
    let at = writer.at_ms / 1000;
    let since = Instant::now();
    let (write, query) = tokio::join!(writer.run(server, until(since)), ask(server, queries, at, until(since)));
    (alone, Latencies { write, query })
}

struct Writer {
    part: Part,
    at_ms: i64,
    index: usize,
    batch: usize,
}

impl Writer {
    /// Writes at a fixed rate. Returns the mean milliseconds of a request.
    async fn run(&mut self, server: &Server, is_over: impl Fn() -> bool) -> f64 {
        let every = Duration::from_secs_f64(self.batch as f64 / SAMPLES_PER_SECOND);
        let mut clock = tokio::time::interval(every);
        let (mut spent, mut count) = (0.0, 0);
        while !is_over() {
            let body = self.part.request(self.at_ms, self.index);
            clock.tick().await;
            let asked = Instant::now();
            server.write(body).await;
            spent += asked.elapsed().as_secs_f64();
            count += 1;
            self.index += 1;
            if self.index == self.part.requests() {
                (self.index, self.at_ms) = (0, self.at_ms + STEP_MS);
            }
        }
        spent * 1000.0 / f64::from(count)
    }
}

/// Asks at a fixed rate, one query after the other. Returns the mean milliseconds of a query.
async fn ask(server: &Server, queries: &[(&str, i64)], at: i64, is_over: impl Fn() -> bool) -> f64 {
    let mut clock = tokio::time::interval(Duration::from_secs_f64(1.0 / QUERIES_PER_SECOND));
    let (mut spent, mut count) = (0.0, 0);
    for (expression, range) in queries.iter().cycle() {
        if is_over() {
            break;
        }
        clock.tick().await;
        let asked = Instant::now();
        server.ask(expression, at, *range).await.expect("the server answers");
        spent += asked.elapsed().as_secs_f64();
        count += 1;
    }
    spent * 1000.0 / f64::from(count)
}
