//! What a row costs in the queue: `cargo bench -p queue`. Scrapes of 1,000 rows of one target each, and small ones of 20.
//! QUEUE_BENCH_MIB (1024) is how large the backlog is that is opened.
#![allow(clippy::expect_used, reason = "a benchmark that cannot go on should stop with the reason")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use disk::RealDisk;
use model::{Labels, TimestampMs};
use queue::{Entry, Options, Order, Queue, SeriesId};

const TARGETS: usize = 100;

fn labels(target: usize, row: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("container_metric_number_{}_total", row % 40)),
        ("container", format!("container-{}", row % 3)),
        ("instance", format!("10.4.{}.{}:10250", target / 250, target % 250)),
        ("job", "cadvisor".to_owned()),
        ("namespace", format!("ns-{}", row % 37)),
        ("pod", format!("workload-{}-{:x}", row % 97, (target * 1000 + row) as u64 * 0x9E37_79B9_7F4A)),
    ])
}

fn value(row: usize, tick: usize) -> f64 {
    match row % 10 {
        0..=3 => f64::from(u8::from(row.is_multiple_of(30))),
        4..=6 => (row * 1013 + tick * (row % 61)) as f64,
        7 => ((row * 7919 + tick) * 4096) as f64,
        8 => (row * 100_003 + tick * 37) as f64 / 1000.0,
        _ => (row as f64 + tick as f64) * 0.017_345_612_345,
    }
}

fn open(folder: &Path, memory_bytes: usize) -> Queue {
    let options = Options { memory_bytes, ..Options::default() };
    Queue::open(Arc::new(RealDisk), folder, options, TimestampMs(0)).expect("opens").0
}

struct Source {
    series: Vec<Vec<SeriesId>>,
    values: Vec<f64>,
    timestamps: Vec<i64>,
    tick: usize,
}

impl Source {
    fn new(queue: &Queue, rows: usize) -> Self {
        let mut table = queue.series();
        let mut of = |target: usize| -> Vec<SeriesId> {
            let key = |row: usize| (target * rows + row) as u128;
            (0..rows).map(|row| table.id(key(row), || labels(target, row)).expect("fits")).collect()
        };
        let series = (0..TARGETS).map(&mut of).collect();
        Self { series, values: vec![0.0; rows], timestamps: vec![0; rows], tick: 0 }
    }

    /// Pushes a scrape of every target. Returns the rows, and how long pushing took.
    fn round(&mut self, queue: &Queue) -> (usize, Duration) {
        self.tick += 1;
        let (mut spent, now) = (Duration::ZERO, 1_800_000_000_000 + self.tick as i64 * 15_000);
        for (target, series) in self.series.iter().enumerate() {
            for (row, value_of_row) in self.values.iter_mut().enumerate() {
                *value_of_row = value(target * 1000 + row, self.tick);
            }
            self.timestamps.fill(now + target as i64 * 150);
            let entry = Entry { series, timestamps: &self.timestamps, values: &self.values, ..Entry::default() };
            let began = Instant::now();
            queue.push(&entry, TimestampMs(now)).expect("pushes");
            spent += began.elapsed();
        }
        (TARGETS * self.values.len(), spent)
    }
}

fn pushing(rows: usize) {
    let folder = tempfile::tempdir().expect("makes a folder");
    let queue = open(folder.path(), 32 << 20);
    let cursor = queue.cursor("a");
    queue.retain(&["a"]);
    let (mut source, mut pushed, mut spent, mut taking, mut taken) =
        (Source::new(&queue, rows), 0, Duration::ZERO, Duration::ZERO, 0);
    let before = queue.state().disk_bytes;
    while pushed < 4_000_000 {
        let (more, time) = source.round(&queue);
        (pushed, spent) = (pushed + more, spent + time);
        let began = Instant::now();
        while let Some(found) = cursor.next_live().expect("reads") {
            black_box(&found.batch);
            cursor.delivered(found.position);
            taken += 1;
        }
        taking += began.elapsed();
    }
    let bytes = (queue.state().disk_bytes - before) as f64 / pushed as f64;
    let push = spent.as_nanos() as f64 / pushed as f64;
    let take = taking.as_nanos() as f64 / f64::from(taken);
    println!(
        "records of {rows} rows: {bytes:.2} bytes and {push:.1} ns a row pushed; {take:.0} ns a record taken and delivered"
    );
}

fn backlog() {
    let mib: u64 = std::env::var("QUEUE_BENCH_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(1024);
    let folder = tempfile::tempdir().expect("makes a folder");
    let mut pushed = 0;
    {
        let queue = open(folder.path(), 0);
        let _cursor = queue.cursor("a");
        let mut source = Source::new(&queue, 1000);
        while queue.state().disk_bytes < mib << 20 {
            pushed += source.round(&queue).0;
        }
        queue.save().expect("saves");
    }
    let began = Instant::now();
    let queue = open(folder.path(), 32 << 20);
    println!("{mib} MiB of backlog, {pushed} rows: opened in {} ms", began.elapsed().as_millis());
    let (cursor, mut rows, began) = (queue.cursor("a"), 0, Instant::now());
    while let Some(taken) = cursor.next_backlog(Order::OldestFirst).expect("reads") {
        rows += taken.batch.samples();
        cursor.delivered(taken.position);
    }
    let each = began.elapsed().as_nanos() as f64 / rows as f64;
    println!("taken from the disk and delivered: {rows} rows, {each:.1} ns a row");
    assert_eq!(rows, pushed);
}

fn main() {
    pushing(1000);
    pushing(20);
    backlog();
}
