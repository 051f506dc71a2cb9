//! What merging costs per sample, beside a store that takes everything at once.
//!
//! `cargo bench -p replicas -- [series] [rounds]` prints nanoseconds per sample, and bytes per merged series.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use model::{
    Append, AppendError, AppendReport, Batch, DecodeLabels, EncodedBatch, EncodedRow, Labels, Matcher, MetricMetadata,
    Queryable, RefusalReason, Sample, SelectError, Selection, StoredSeries, TimeRange, TimestampMs,
};
use replicas::{Replicas, ReplicasOptions};
use sources::Inputs;

const REQUEST: usize = 5_000;
const INTERVAL_MS: i64 = 15_000;

struct TakesAll;

impl Append for TakesAll {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        Ok(AppendReport { appended: black_box(batch).rows.len(), ..AppendReport::default() })
    }

    fn append_encoded(&self, batch: &EncodedBatch<'_>) -> Result<AppendReport, AppendError> {
        Ok(AppendReport { appended: black_box(batch.rows).len(), ..AppendReport::default() })
    }
}

impl Queryable for TakesAll {
    fn select(&self, _: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        Ok(Vec::new())
    }

    fn series(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<Labels>, SelectError> {
        Ok(Vec::new())
    }

    fn label_names(&self, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &[Vec<Matcher>], _: TimeRange) -> Result<Vec<String>, SelectError> {
        Ok(Vec::new())
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        Vec::new()
    }
}

/// Labels as `name=value` lines, about as long as on the wire.
struct Lines;

impl DecodeLabels for Lines {
    fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason> {
        let text = std::str::from_utf8(encoded).map_err(|_| RefusalReason::InvalidLabels)?;
        Ok(Labels::from_pairs(text.lines().filter_map(|line| line.split_once('='))))
    }

    fn spells_out(&self) -> bool {
        true
    }
}

fn labels(series: usize, replica: Option<&str>) -> Vec<u8> {
    let mut text = format!(
        "__name__=container_network_receive_bytes_total\ncluster=c{:05}\ncontainer=container-{}\ninstance=10.1.2.3:9100\n\
         job=cadvisor\nmetacluster=cell-{:03}\nnamespace=ns-{}\npod=workload-{}-{:08x}\nregion=region-03\nuid={:016x}\n",
        series % 50,
        series % 3,
        series % 7,
        series % 37,
        series % 97,
        series,
        series as u64 * 0x9E37_79B9
    );
    if let Some(replica) = replica {
        text.push_str(&format!("replica={replica}\n"));
    }
    text.into_bytes()
}

fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.unwrap_or_default() * 4096.0
}

/// Sends so many rounds of one sample of each series, so much behind the round. What a sample takes, every request at its
/// best: other processes may use the machine too.
fn nanoseconds(sink: &dyn Append, senders: &[(Vec<Vec<u8>>, i64)], rounds: std::ops::Range<i64>) -> f64 {
    let samples: usize = senders.iter().map(|(series, _)| series.len()).sum();
    let mut best: Vec<u128> = Vec::new();
    for round in rounds {
        let requests =
            senders.iter().flat_map(|(series, phase_ms)| series.chunks(REQUEST).map(move |some| (some, phase_ms)));
        for (place, (some, phase_ms)) in requests.enumerate() {
            let sample = Sample { timestamp: TimestampMs(round * INTERVAL_MS + phase_ms), value: round as f64 };
            let rows: Vec<_> = some.iter().map(|labels| EncodedRow { labels, sample }).collect();
            let batch = EncodedBatch { rows: &rows, context: b"bench", decoder: &Lines, metadata: &[] };
            let started = Instant::now();
            let report = sink.append_encoded(&batch);
            let spent = started.elapsed().as_nanos();
            assert!(report.is_ok_and(|report| report.refused.is_empty()));
            best.resize(best.len().max(place + 1), u128::MAX);
            best[place] = best[place].min(spent);
        }
    }
    best.iter().sum::<u128>() as f64 / samples as f64
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let (count, rounds) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(20) as i64);
    let replicas = || {
        let clock = Arc::new(|| TimestampMs(i64::MAX / 2));
        Replicas::new(Arc::new(TakesAll), Arc::new(TakesAll), &ReplicasOptions::default(), clock, Inputs::default())
    };
    let of = |replica: Option<&str>| (0..count).map(|series| labels(series, replica)).collect::<Vec<_>>();
    let plain = [(of(None), 0)];
    println!("{count} series, {} bytes of labels each, nanoseconds per sample:", plain[0].0[0].len());
    println!("  without the label    {:6.1}", nanoseconds(&replicas(), &plain, 1..rounds));
    let pair = [(of(Some("a")), 0), (of(Some("b")), 7_000)];
    let before = resident_bytes();
    let merging = replicas();
    println!("  first of a pair      {:6.1}", nanoseconds(&merging, &pair, 1..3));
    println!("  bytes per series     {:6.0}", (resident_bytes() - before) / count as f64);
    println!("  a pair, 7s apart     {:6.1}", nanoseconds(&merging, &pair, 3..rounds));
    println!("  everything again     {:6.1}", nanoseconds(&merging, &pair, 3..rounds));
    let far = [(of(Some("a")), 0), (of(Some("b")), 11_000)];
    let held = replicas();
    nanoseconds(&held, &far, 1..3);
    println!("  a pair, 11s apart    {:6.1}", nanoseconds(&held, &far, 3..rounds));
    println!("  one of them alone    {:6.1}", nanoseconds(&held, &far[1..], rounds..2 * rounds));
}
