//! Against messages that prost derives from the specification.

use model::{Labels, SampleBuffer, TimestampMs, stale_nan};
use proptest::prelude::*;
use prost::Message;

use super::{ChunkFrames, ReadError, ReadResponseType, SamplesAnswer, XorChunk, decode_read_request};

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<Query>,
    /// Packed, as prost and Go write it.
    #[prost(int32, repeated, tag = "2")]
    accepted: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct UnpackedTypes {
    #[prost(int32, repeated, packed = "false", tag = "2")]
    accepted: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<LabelMatcher>,
    #[prost(message, optional, tag = "4")]
    hints: Option<Hints>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelMatcher {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Hints {
    #[prost(int64, tag = "1")]
    step: i64,
    #[prost(string, tag = "2")]
    func: String,
    #[prost(int64, tag = "3")]
    start: i64,
    #[prost(int64, tag = "4")]
    end: i64,
    #[prost(string, repeated, tag = "5")]
    grouping: Vec<String>,
    #[prost(bool, tag = "6")]
    by: bool,
    #[prost(int64, tag = "7")]
    range: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
struct Chunk {
    #[prost(int64, tag = "1")]
    min: i64,
    #[prost(int64, tag = "2")]
    max: i64,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkedSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    chunks: Vec<Chunk>,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkedResponse {
    #[prost(message, repeated, tag = "1")]
    series: Vec<ChunkedSeries>,
    #[prost(int64, tag = "2")]
    query_index: i64,
}

fn packed(request: &impl Message) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("compresses")
}

fn matcher(kind: i32, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher { kind, name: name.into(), value: value.into() }
}

#[test]
fn reads_what_the_specification_writes() {
    let matchers =
        vec![matcher(0, "__name__", "up"), matcher(1, "a", "b"), matcher(2, "c", "d|e"), matcher(3, "f", "g.*")];
    let hints = Hints { step: 15, func: "rate".into(), start: -30, end: 90, range: 60, by: true, ..Hints::default() };
    let wide = Hints { func: "series".into(), start: -500, end: 500, ..Hints::default() };
    let query = |hints| Query { start: -100, end: 100, matchers: matchers.clone(), hints };
    let queries = vec![query(None), query(Some(hints)), query(Some(wide)), query(Some(Hints::default()))];
    let request = Request { queries, accepted: vec![7, 1, 0] };
    let found = decode_read_request(&packed(&request), 10_000).expect("decodes");
    assert_eq!(found.response_type(), Ok(ReadResponseType::StreamedXorChunks));
    let read = |i: usize| {
        let q = &found.queries[i];
        (q.range.start.0, q.range.end.0, q.step_ms, q.window_ms, q.labels_only)
    };
    assert_eq!(read(0), (-100, 100, 0, 0, false));
    assert_eq!(read(1), (-30, 90, 15, 60, false));
    assert_eq!(read(2), (-100, 100, 0, 0, true));
    assert_eq!(read(3), (-100, 100, 0, 0, false));
    let shown: Vec<String> = found.queries[0].matchers.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [r#"__name__="up""#, r#"a!="b""#, r#"c=~"d|e""#, r#"f!~"g.*""#]);
}

#[test]
fn the_first_known_type_is_taken() {
    use ReadResponseType::{Samples, StreamedXorChunks};
    let accepting = |accepted: &[i32]| {
        let request = decode_read_request(&packed(&UnpackedTypes { accepted: accepted.to_vec() }), 1000);
        request.and_then(|request| request.response_type())
    };
    assert_eq!(accepting(&[]), Ok(Samples));
    assert_eq!(accepting(&[0, 1]), Ok(Samples));
    assert_eq!(accepting(&[9, 1]), Ok(StreamedXorChunks));
    assert_eq!(accepting(&[9]), Err(ReadError::ResponseType(vec![9])));
    assert!(matches!(accepting(&[0; 101]), Err(ReadError::TooMany { .. })));
}

#[test]
fn what_cannot_be_answered_is_told() {
    let asking = |matchers: Vec<LabelMatcher>| {
        let request = Request { queries: vec![Query { matchers, ..Query::default() }], accepted: Vec::new() };
        decode_read_request(&packed(&request), 1 << 20).map(|_| ()).expect_err("is refused").to_string()
    };
    for (matchers, says) in [
        (vec![matcher(4, "a", "b")], "send 0 (=)"),
        (vec![matcher(2, "a", "(")], "matcher of label \"a\""),
        (vec![matcher(0, "a", "b"); 10_001], "more than the 10000 matchers"),
    ] {
        let said = asking(matchers);
        assert!(said.contains(says), "{said}");
    }
    let many = Request { queries: vec![Query::default(); 1001], accepted: Vec::new() };
    assert!(matches!(decode_read_request(&packed(&many), 1 << 20), Err(ReadError::TooMany { .. })));
    for (body, says) in [
        (b"rubbish".to_vec(), "snappy"),
        (snap::raw::Encoder::new().compress_vec(&[0xff; 9]).expect("compresses"), "send a prometheus.ReadRequest"),
        (packed(&many), "more than the 1000 bytes allowed"),
    ] {
        let said = decode_read_request(&body, 1000).map(|_| ()).expect_err("is refused").to_string();
        assert!(said.contains(says), "{said}");
    }
}

fn some_labels(n: usize) -> Labels {
    Labels::from_pairs([("__name__", "m".to_owned()), ("n", n.to_string())])
}

fn wire_labels(labels: &Labels) -> Vec<Label> {
    labels.iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Results of any size, empty ones too, across many pieces.
    #[test]
    fn the_specification_reads_samples(
        results in prop::collection::vec(prop::collection::vec(0usize..20_000, 0..6), 0..4), value: f64, step in -5i64..1000,
    ) {
        let mut answer = SamplesAnswer::default();
        let mut want = Response::default();
        for lengths in &results {
            let mut result = QueryResult::default();
            answer.result(|answer| {
                for (n, length) in lengths.iter().enumerate() {
                    let mut samples = SampleBuffer::default();
                    (0..*length as i64).for_each(|i| samples.push(i * step, value * i as f64));
                    answer.series(&some_labels(n), &samples);
                    let pairs = samples.timestamps.iter().zip(&samples.values);
                    let samples = pairs.map(|(timestamp, value)| Sample { timestamp: *timestamp, value: *value });
                    result.series.push(TimeSeries { labels: wire_labels(&some_labels(n)), samples: samples.collect() });
                }
                Ok::<(), ()>(())
            }).expect("fills");
            want.results.push(result);
        }
        let bytes = answer.uncompressed_bytes();
        let body = answer.finish().expect("is below 4 GiB").concat();
        let message = snap::raw::Decoder::new().decompress_vec(&body).expect("is a block of snappy");
        prop_assert_eq!(message.len() as u64, bytes);
        let found = Response::decode(message.as_slice()).expect("decodes");
        // Debug, since NaN is not equal to itself.
        prop_assert_eq!(format!("{:?}", found), format!("{:?}", want));
    }

}

proptest! {
    #[test]
    fn no_request_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let body = snap::raw::Encoder::new().compress_vec(&bytes).expect("compresses");
        let _ = decode_read_request(&body, 1000);
        let _ = decode_read_request(&bytes, 1000);
    }

    #[test]
    fn the_specification_reads_frames(
        series in prop::collection::vec(prop::collection::vec((any::<i64>(), 0usize..300), 0..40), 0..5),
        max in 100usize..2000,
    ) {
        let (mut frames, mut stream) = (ChunkFrames::new(max), Vec::new());
        let mut want = Vec::new();
        for (n, chunks) in series.iter().enumerate() {
            frames.begin(n, &some_labels(n));
            for (at, length) in chunks {
                let data = vec![*at as u8; *length];
                frames.chunk(XorChunk { first: TimestampMs(*at), last: TimestampMs(!*at), data: &data }, &mut stream);
                want.push((n as i64, Chunk { min: *at, max: !*at, kind: 1, data }));
            }
            frames.end(&mut stream);
        }
        let (mut rest, mut found) = (stream.as_slice(), Vec::new());
        while !rest.is_empty() {
            let length = prost::encoding::decode_varint(&mut rest).expect("is a length") as usize;
            let (checksum, behind) = rest.split_first_chunk::<4>().expect("is there");
            let (message, behind) = behind.split_at(length);
            prop_assert_eq!(crc32c::crc32c(message), u32::from_be_bytes(*checksum));
            let response = ChunkedResponse::decode(message).expect("decodes");
            prop_assert_eq!(response.series.len(), 1);
            let ChunkedSeries { labels, chunks } = response.series[0].clone();
            prop_assert_eq!(labels, wire_labels(&some_labels(response.query_index as usize)));
            prop_assert!(length <= max || chunks.len() == 1, "{} of {} with {} chunks", length, max, chunks.len());
            found.extend(chunks.into_iter().map(|chunk| (response.query_index, chunk)));
            rest = behind;
        }
        prop_assert_eq!(found, want);
    }
}

#[test]
fn staleness_passes_bit_for_bit() {
    let (mut answer, mut samples) = (SamplesAnswer::default(), SampleBuffer::default());
    samples.push(1, stale_nan());
    samples.push(2, -0.0);
    answer
        .result(|answer| {
            answer.series(&some_labels(0), &samples);
            Ok::<(), ()>(())
        })
        .expect("fills");
    let body = answer.finish().expect("is small").concat();
    let message = snap::raw::Decoder::new().decompress_vec(&body).expect("is a block of snappy");
    let found = Response::decode(message.as_slice()).expect("decodes").results[0].series[0].samples.clone();
    let bits: Vec<u64> = found.iter().map(|s| s.value.to_bits()).collect();
    assert_eq!(bits, [stale_nan().to_bits(), (-0.0f64).to_bits()]);
}
