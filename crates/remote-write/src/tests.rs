//! Against messages that prost derives from the specification, and against rubbish.

use model::{Batch, Labels, MetricKind, MetricMetadata, Sample, TimestampMs, stale_nan};
use proptest::prelude::*;
use prost::Message;

use crate::{DecodeError, DecodeLimits, decode, encode};

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<WireSample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<WireSample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<WireSample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    family: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

fn series(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> TimeSeries {
    TimeSeries {
        labels: labels.iter().map(|(n, v)| Label { name: (*n).into(), value: (*v).into() }).collect(),
        samples: samples.iter().map(|(value, timestamp)| WireSample { value: *value, timestamp: *timestamp }).collect(),
        ..TimeSeries::default()
    }
}

fn packed(request: &WriteRequest) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).expect("compresses")
}

#[test]
fn reads_what_the_specification_writes() {
    let request = WriteRequest {
        timeseries: vec![
            series(&[("__name__", "up"), ("job", "a")], &[(1.0, 5), (stale_nan(), -6)]),
            series(&[("job", "a"), ("__name__", "unsorted"), ("empty", "")], &[(0.0, 0)]),
            series(&[("job", "a")], &[(1.0, 1)]),
            series(&[("__name__", "a"), ("b", "1"), ("b", "2")], &[(1.0, 1), (1.0, 2)]),
            series(&[("__name__", "a"), ("", "1")], &[]),
        ],
        metadata: vec![Metadata { kind: 1, family: "up".into(), help: "h".into(), unit: "u".into() }],
    };
    let decoded = decode(&packed(&request), &DecodeLimits::default()).expect("decodes");
    let rows: Vec<_> = decoded.batch.rows.iter().map(|r| (r.labels.to_string(), r.sample)).collect();
    let at = |ms, value| Sample { timestamp: TimestampMs(ms), value };
    assert_eq!(
        rows,
        [
            (r#"up{job="a"}"#.to_owned(), at(5, 1.0)),
            (r#"up{job="a"}"#.to_owned(), at(-6, stale_nan())),
            (r#"unsorted{job="a"}"#.to_owned(), at(0, 0.0)),
        ]
    );
    let reasons: Vec<_> = decoded.invalid.iter().map(|i| (i.reason.as_str(), i.samples)).collect();
    assert_eq!(
        reasons,
        [
            (r#"series {job="a"} has no metric name"#, 1),
            (r#"series {__name__="a", b="1", b="2"} has a label name twice"#, 2),
            (r#"series {__name__="a", ="1"} has a label without a name"#, 0),
        ]
    );
    assert_eq!(decoded.batch.metadata[0].kind, MetricKind::Counter);
}

#[test]
fn a_claimed_size_is_refused_before_memory_is_reserved() {
    let limits = DecodeLimits { max_decoded_bytes: 100, ..DecodeLimits::default() };
    let body = snap::raw::Encoder::new().compress_vec(&[0; 101]).expect("compresses");
    assert_eq!(decode(&body, &limits), Err(DecodeError::TooLarge { bytes: 101, limit: 100 }));
    assert!(matches!(decode(&[0xff; 4], &limits), Err(DecodeError::Snappy(_))));
    assert!(decode(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], &DecodeLimits::default()).is_err());
}

#[test]
fn small_messages_do_not_become_large_in_memory() {
    let empty = || series(&[], &[]);
    let flood = WriteRequest { timeseries: (0..1_000).map(|_| empty()).collect(), ..WriteRequest::default() };
    let decoded = decode(&packed(&flood), &DecodeLimits::default()).expect("decodes");
    assert_eq!(decoded.invalid.len(), 100);

    let limits = DecodeLimits { max_samples: 3, ..DecodeLimits::default() };
    let of = |counts: &[usize]| WriteRequest {
        timeseries: counts.iter().map(|n| series(&[("__name__", "a")], &vec![(0.0, 0); *n])).collect(),
        ..WriteRequest::default()
    };
    assert_eq!(decode(&packed(&of(&[2, 1])), &limits).map(|d| d.batch.rows.len()), Ok(3));
    for counts in [&[4][..], &[2, 2]] {
        assert_eq!(decode(&packed(&of(counts)), &limits), Err(DecodeError::TooManySamples(3)));
    }
    let labels: Vec<(String, String)> = (0..200).map(|n| (format!("l{n:03}"), "x".to_owned())).collect();
    let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let wide = WriteRequest { timeseries: vec![series(&labels, &[(0.0, 0)])], ..WriteRequest::default() };
    let decoded = decode(&packed(&wide), &DecodeLimits::default()).expect("decodes");
    assert!(decoded.invalid[0].reason.ends_with("has more than the 128 labels allowed"), "{:?}", decoded.invalid);
}

#[test]
fn counts_what_it_does_not_read() {
    let mut odd = series(&[("__name__", "a")], &[]);
    odd.exemplars.push(WireSample::default());
    odd.histograms.push(WireSample::default());
    let request = WriteRequest { timeseries: vec![odd], ..WriteRequest::default() };
    let decoded = decode(&packed(&request), &DecodeLimits::default()).expect("decodes");
    assert_eq!((decoded.exemplars, decoded.histograms, decoded.batch.rows.len()), (1, 1, 0));
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let labels = prop::collection::btree_map("[a-z]{1,8}", "\\PC{1,20}", 0..6).prop_map(|mut pairs| {
        pairs.insert("__name__".into(), "m".into());
        Labels::from_pairs(pairs)
    });
    let row = (labels, any::<i64>(), any::<u64>());
    let kind = prop_oneof![Just(MetricKind::Unknown), Just(MetricKind::Histogram), Just(MetricKind::StateSet)];
    let metadata = ("[a-z]{1,8}", "\\PC{0,20}", kind);
    (prop::collection::vec(row, 0..30), prop::collection::vec(metadata, 0..3)).prop_map(|(rows, metadata)| {
        let mut batch = Batch::default();
        for (labels, ms, bits) in rows {
            batch.push(labels, Sample { timestamp: TimestampMs(ms), value: f64::from_bits(bits) });
        }
        batch.metadata = metadata
            .into_iter()
            .map(|(family, help, kind)| MetricMetadata { family, help, kind, unit: String::new() })
            .collect();
        batch
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_bit_for_bit(batch in any_batch()) {
        let decoded = decode(&encode(&batch), &DecodeLimits::default()).expect("decodes");
        prop_assert_eq!(decoded.batch, batch);
        prop_assert!(decoded.invalid.is_empty());
    }

    #[test]
    fn the_specification_reads_what_is_written(batch in any_batch()) {
        let message = snap::raw::Decoder::new().decompress_vec(&encode(&batch)).expect("decompresses");
        let request = WriteRequest::decode(message.as_slice()).expect("decodes");
        let samples: usize = request.timeseries.iter().map(|s| s.samples.len()).sum();
        prop_assert_eq!(samples, batch.rows.len());
        prop_assert_eq!(request.metadata.len(), batch.metadata.len());
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &DecodeLimits::default());
        let body = snap::raw::Encoder::new().compress_vec(&bytes).expect("compresses");
        let _ = decode(&body, &DecodeLimits::default());
    }

    #[test]
    fn a_damaged_request_is_no_panic(batch in any_batch(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut message = snap::raw::Decoder::new().decompress_vec(&encode(&batch)).expect("decompresses");
        if !message.is_empty() {
            let at = at.index(message.len());
            message[at] = byte;
            let _ = decode(&snap::raw::Encoder::new().compress_vec(&message).expect("compresses"), &DecodeLimits::default());
        }
    }
}
