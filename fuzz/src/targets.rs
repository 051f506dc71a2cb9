//! The decoders, and valid inputs of each.

mod prometheus;
mod query;
mod storage;

use std::path::Path;

use model::{Batch, DecodeLabels, Labels, Sample, SampleBuffer, TimestampMs};

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: &[Target] = &[
    Target { name: "block", run: storage::block, seeds: storage::block_seeds },
    Target { name: "segment", run: storage::segment, seeds: storage::segment_seeds },
    Target { name: "wal", run: storage::wal, seeds: storage::wal_seeds },
    Target { name: "prometheus-block", run: prometheus::block, seeds: prometheus::block_seeds },
    Target { name: "prometheus-chunk", run: prometheus::chunk, seeds: prometheus::chunk_seeds },
    Target { name: "prometheus-wal", run: prometheus::wal, seeds: prometheus::wal_seeds },
    Target { name: "remote-write", run: remote_write, seeds: remote_write_seeds },
    Target { name: "exposition", run: exposition, seeds: exposition_seeds },
    Target { name: "promql", run: query::parser, seeds: query::seeds },
    Target { name: "promql-evaluate", run: query::evaluate, seeds: query::seeds },
    Target { name: "remote-read", run: query::remote_read, seeds: query::remote_read_seeds },
];

pub fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|t| t.name).collect()
}

/// A few series of different kinds.
fn series() -> Vec<(Labels, SampleBuffer)> {
    let labels = |i: usize| Labels::from_pairs([("__name__", "fuzzed"), ("i", &i.to_string()), ("kind", "seed")]);
    let value = |i: usize, t: i64| match i {
        0 => 1.0,
        1 => (t * 3) as f64,
        2 => t as f64 / 7.0,
        3 if t % 5 == 0 => model::stale_nan(),
        _ => (t % 11) as f64 / 100.0,
    };
    let samples = |i: usize| {
        let mut out = SampleBuffer::default();
        (0..150).for_each(|t| out.push(1_700_000_000_000 + t * 15_000 + t % (i as i64 + 1), value(i, t)));
        out
    };
    (0..5).map(|i| (labels(i), samples(i))).collect()
}

fn batch() -> Batch {
    let mut out = Batch::default();
    for (labels, samples) in series() {
        for (timestamp, value) in samples.timestamps.iter().zip(&samples.values).take(5) {
            out.push(labels.clone(), Sample { timestamp: TimestampMs(*timestamp), value: *value });
        }
    }
    out
}

/// The message without its compression, which would only hide it from the fuzzer.
fn remote_write(message: &[u8]) {
    let body = snap::raw::Encoder::new().compress_vec(message).expect("is small");
    let limits = remote_write::DecodeLimits::default();
    let mut scratch = remote_write::Scratch::default();
    if let Ok(request) = remote_write::decode_rows(&body, &limits, &mut scratch) {
        let decoder = remote_write::LabelDecoder::new(limits, Labels::from_pairs([("region", "r")]));
        for row in &request.rows {
            assert_eq!(decoder.decode(row.labels).is_ok(), decoder.explain(row.labels).is_ok());
        }
    }
}

fn remote_write_seeds() -> Vec<Vec<u8>> {
    let body = remote_write::encode(&batch());
    vec![snap::raw::Decoder::new().decompress_vec(&body).expect("was just compressed")]
}

fn exposition(body: &[u8]) {
    for entry in exposition::Parser::new(body) {
        if let Ok(exposition::Entry::Sample { series, .. }) = entry {
            let _ = exposition::series_labels(series);
        }
    }
}

fn exposition_seeds() -> Vec<Vec<u8>> {
    let text = "# HELP a_total What is \\\\ counted.\n# TYPE a_total counter\na_total{b=\"c\\n\",d=\"\\\"\"} 1 1700000000000\n\
                # TYPE h histogram\nh_bucket{le=\"+Inf\"} 3e0\nh_sum NaN\nh_count 3\n{\"quoted.name\",x=\"y\"} -Inf\n# EOF\n";
    vec![text.as_bytes().to_vec()]
}

/// A folder in memory where there is one: prometheus-block reads real files.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}
