//! Ingestion and queries at the same time: what each costs the other.
//!
//! Whoever writes and whoever asks has a thread of its own, so that neither waits for the other in the client: in one
//! task a write that was answered was seen only when the answer to a query had been parsed.

use std::thread;
use std::time::{Duration, Instant};

use crate::load::{Part, STEP_MS, Shape};
use crate::server::{Client, Server};

const SAMPLES_PER_SECOND: f64 = 100_000.0;
const QUERIES_PER_SECOND: f64 = 20.0;
const PHASE: Duration = Duration::from_secs(10);

/// Milliseconds of requests of one kind, and how many were answered in a second.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p99: f64,
    pub per_second: f64,
}

impl Latency {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |share: usize| all[all.len() * share / 100];
        let (mean, per_second) = (all.iter().sum::<f64>() / all.len() as f64, all.len() as f64 / PHASE.as_secs_f64());
        Self { mean, p50: at(50), p99: at(99), per_second }
    }
}

/// What one phase took: of writes, of queries, and CPU seconds of the server.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    pub write: Latency,
    pub query: Latency,
    pub cpu_seconds: f64,
}

/// The costs of each alone, and of both together.
pub fn together(server: &Server, shape: Shape, start_ms: i64, queries: &[(&str, i64)]) -> (Costs, Costs) {
    let shape = Shape { connections: 1, batch: 2_000, ..shape };
    let mut writer = Writer { part: Part::new(shape, 0), at_ms: start_ms, index: 0, batch: shape.batch };
    let before = server.process().cpu_seconds();
    let write = phase(writer.run(server.client()));
    let at = writer.at_ms / 1000;
    let query = phase(ask(server.client(), queries, at));
    let between = server.process().cpu_seconds();
    let alone = Costs { write, query, cpu_seconds: between - before };
    let (write, query) = thread::scope(|scope| {
        let asking = scope.spawn(|| phase(ask(server.client(), queries, at)));
        (phase(writer.run(server.client())), asking.join().expect("asks to the end"))
    });
    (alone, Costs { write, query, cpu_seconds: server.process().cpu_seconds() - between })
}

/// Runs on this thread.
fn phase(work: impl Future<Output = Vec<f64>>) -> Latency {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    Latency::of(runtime.block_on(work))
}

struct Writer {
    part: Part,
    at_ms: i64,
    index: usize,
    batch: usize,
}

impl Writer {
    /// Writes at a fixed rate. Returns the milliseconds of each request.
    async fn run(&mut self, client: Client) -> Vec<f64> {
        let (started, mut all) = (Instant::now(), Vec::new());
        let mut clock = tokio::time::interval(Duration::from_secs_f64(self.batch as f64 / SAMPLES_PER_SECOND));
        while started.elapsed() < PHASE {
            let body = self.part.request(self.at_ms, self.index);
            clock.tick().await;
            let asked = Instant::now();
            client.write(body).await;
            all.push(asked.elapsed().as_secs_f64() * 1000.0);
            self.index += 1;
            if self.index == self.part.requests() {
                (self.index, self.at_ms) = (0, self.at_ms + STEP_MS);
            }
        }
        all
    }
}

/// Asks at a fixed rate, one query after the other. Returns the milliseconds of each.
async fn ask(client: Client, queries: &[(&str, i64)], at: i64) -> Vec<f64> {
    let (started, mut all) = (Instant::now(), Vec::new());
    let mut clock = tokio::time::interval(Duration::from_secs_f64(1.0 / QUERIES_PER_SECOND));
    for (expression, range) in queries.iter().cycle() {
        if started.elapsed() >= PHASE {
            break;
        }
        clock.tick().await;
        all.push(client.ask(expression, at, *range).await.expect("the server answers").ms);
    }
    all
}
