//! The decoders, and valid inputs of each.

mod columns;
mod http;
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
    Target { name: "columns", run: columns::message, seeds: columns::message_seeds },
    Target { name: "queue", run: columns::record, seeds: columns::record_seeds },
    Target { name: "wal", run: storage::wal, seeds: storage::wal_seeds },
    Target { name: "prometheus-block", run: prometheus::block, seeds: prometheus::block_seeds },
    Target { name: "prometheus-chunk", run: prometheus::chunk, seeds: prometheus::chunk_seeds },
    Target { name: "prometheus-wal", run: prometheus::wal, seeds: prometheus::wal_seeds },
    Target { name: "remote-write", run: remote_write, seeds: remote_write_seeds },
    Target { name: "remote-write-v2", run: remote_write_v2, seeds: remote_write_v2_seeds },
    Target { name: "exposition", run: exposition, seeds: exposition_seeds },
    Target { name: "promql", run: query::parser, seeds: query::seeds },
    Target { name: "promql-evaluate", run: query::evaluate, seeds: query::seeds },
    Target { name: "remote-read", run: query::remote_read, seeds: query::remote_read_seeds },
    Target { name: "http", run: http::request, seeds: http::seeds },
    Target { name: "headers", run: headers, seeds: headers_seeds },
    Target { name: "sources", run: |data| drop(sources::decode_saved(data)), seeds: sources_seeds },
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
    write_request(message, remote_write::Message::V1);
}

fn remote_write_v2(message: &[u8]) {
    write_request(message, remote_write::Message::V2);
}

fn write_request(message: &[u8], kind: remote_write::Message) {
    let body = snap::raw::Encoder::new().compress_vec(message).expect("is small");
    let limits = remote_write::DecodeLimits { max_decoded_bytes: 1 << 20, ..remote_write::DecodeLimits::default() };
    let format = remote_write::Format { message: kind, ..remote_write::Format::default() };
    let mut scratch = remote_write::Scratch::default();
    if let Ok(request) = remote_write::decode_rows(&body, format, &limits, &mut scratch) {
        let decoder = remote_write::LabelDecoder::new(limits, Labels::from_pairs([("region", "r")]));
        for row in &request.rows {
            assert_eq!(decoder.decode(row.labels).is_ok(), decoder.explain(row.labels).is_ok());
        }
        let (exemplars, invalid) = remote_write::decode_exemplars(&request.exemplars, &decoder);
        assert_eq!(exemplars.len() + invalid, request.exemplars.len());
        let (histograms, invalid) = remote_write::decode_histograms(&request.histograms, &decoder);
        assert_eq!(histograms.len() + invalid, request.histograms.len());
    }
    // As it is for zstd, which looks at it itself.
    let zstd = remote_write::Format { compression: remote_write::Compression::Zstd, ..format };
    let _ = remote_write::decode_rows(message, zstd, &limits, &mut scratch);
    assert!(scratch.size_bytes() < 64 << 20);
}

fn remote_write_v2_seeds() -> Vec<Vec<u8>> {
    let batch = batch();
    let exemplar = model::Exemplar { labels: Labels::from_pairs([("t", "1")]), value: 1.0, timestamp: TimestampMs(1) };
    let exemplars = [model::ExemplarRow { series: batch.rows[0].labels.clone(), exemplar }];
    let kind = model::MetricKind::Counter;
    let family = model::MetricMetadata { family: "fuzzed".into(), kind, help: "help".into(), unit: String::new() };
    let snappy = remote_write::Compression::Snappy;
    let body = remote_write::Encoder::default().encode_v2(&batch.rows, &exemplars, &[family], snappy);
    vec![snap::raw::Decoder::new().decompress_vec(&body).expect("was just compressed")]
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

const HEADERS: [&str; 7] = [
    sources::SOURCE_HEADER,
    sources::WATERMARK_HEADER,
    sources::LANE_HEADER,
    sources::BACKLOG_HEADER,
    sources::GAPS_HEADER,
    sources::BEHIND_HEADER,
    sources::VERSION_HEADER,
];

/// One value a line, in the order above.
fn headers(data: &[u8]) {
    let lines: Vec<&str> = data.split(|b| *b == b'\n').map(|line| std::str::from_utf8(line).unwrap_or("")).collect();
    let value = |name: &str| HEADERS.iter().position(|header| *header == name).and_then(|at| lines.get(at).copied());
    let report = sources::Report::from_headers(value);
    let written = report.to_headers();
    let read = |name: &str| written.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str());
    // What was written shorter than we write it may not fit any more.
    if data.len() < sources::MAX_REPORT_BYTES / 4 {
        assert_eq!(sources::Report::from_headers(read), report);
    }
}

fn headers_seeds() -> Vec<Vec<u8>> {
    let all =
        "cascade/e%20u/a\n1700000000000\nbackfill\nsamples=5;oldest_ms=1\n-2--1=3,5-6=7\nedge/a=1,edge/b/c=-2\n0.1.0";
    vec![all.as_bytes().to_vec()]
}

fn sources_seeds() -> Vec<Vec<u8>> {
    let line = "cascade/eu ::1 1 2 3 - 0 live samples=5;oldest_ms=1 7 1-2=7 100 2000 0.1.0 edge/a=1,edge/b=2";
    let body = format!("highwater sources 1\n{line}\n");
    let checksum = crc32c::crc32c(body.as_bytes());
    vec![format!("{body}crc32c {checksum:08x}\n").into_bytes()]
}

/// A folder in memory where there is one: prometheus-block reads real files.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder")
}
