//! Against messages that prost derives from the specification, and against rubbish.

mod v2;

use std::collections::BTreeMap;

use model::{Append, AppendError, AppendReport, Batch, DecodeLabels, Exemplar, ExemplarRow, Labels, MetricKind};
use model::{MetricMetadata, RefusalReason, Row, Sample, TimestampMs, stale_nan};
use parking_lot::Mutex;
use proptest::prelude::*;
use prost::Message;

use crate::compression::SLACK;
use crate::{
    DecodeError, DecodeLimits, Encoder, Format, LabelDecoder, Scratch, decode_exemplars, decode_rows, encode, wire,
};

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
    exemplars: Vec<WireExemplar>,
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
struct WireExemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
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

fn compressed(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("compresses")
}

fn packed(request: &WriteRequest) -> Vec<u8> {
    compressed(&request.encode_to_vec())
}

fn unpacked(body: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(body).expect("decompresses")
}

/// What a store gets to see of a request: rows with labels, and those whose labels are invalid.
#[derive(Debug, Default, PartialEq)]
struct Read {
    batch: Batch,
    invalid: Vec<String>,
    histograms: usize,
    exemplars: Vec<ExemplarRow>,
    invalid_exemplars: usize,
}

fn read_with(body: &[u8], limits: &DecodeLimits, scratch: &mut Scratch) -> Result<Read, DecodeError> {
    read_as(body, Format::default(), limits, scratch)
}

fn read_as(body: &[u8], format: Format, limits: &DecodeLimits, scratch: &mut Scratch) -> Result<Read, DecodeError> {
    let decoder = LabelDecoder::new(*limits, Labels::empty());
    let request = decode_rows(body, format, limits, scratch)?;
    let (exemplars, invalid_exemplars) = decode_exemplars(&request.exemplars, &decoder);
    let mut out = Read { histograms: request.histograms.len(), exemplars, invalid_exemplars, ..Read::default() };
    out.batch.metadata.clone_from(&request.metadata);
    for row in &request.rows {
        match decoder.explain(row.labels) {
            Ok(labels) => {
                assert_eq!(decoder.decode(row.labels), Ok(labels.clone()));
                out.batch.push(labels, row.sample);
            }
            Err(reason) => {
                assert_eq!(decoder.decode(row.labels), Err(RefusalReason::InvalidLabels));
                out.invalid.push(reason);
            }
        }
    }
    Ok(out)
}

fn read(body: &[u8], limits: &DecodeLimits) -> Result<Read, DecodeError> {
    read_with(body, limits, &mut Scratch::default())
}

#[test]
fn reads_what_the_specification_writes() {
    let request = WriteRequest {
        timeseries: vec![
            series(&[("__name__", "up"), ("job", "a")], &[(1.0, 5), (stale_nan(), -6)]),
            series(&[("job", "a"), ("__name__", "unsorted"), ("empty", "")], &[(0.0, 0)]),
            series(&[("job", "a")], &[(1.0, 1)]),
            series(&[("__name__", "a"), ("b", "1"), ("b", "2")], &[(1.0, 1), (1.0, 2)]),
            series(&[("__name__", "a"), ("", "1")], &[(1.0, 1)]),
            series(&[], &[(1.0, 1)]),
            series(&[("nothing", "to store")], &[]),
        ],
        metadata: vec![Metadata { kind: 1, family: "up".into(), help: "h".into(), unit: "u".into() }],
    };
    let found = read(&packed(&request), &DecodeLimits::default()).expect("decodes");
    let rows: Vec<_> = found.batch.rows.iter().map(|r| (r.labels.to_string(), r.sample)).collect();
    let at = |ms, value| Sample { timestamp: TimestampMs(ms), value };
    assert_eq!(
        rows,
        [
            (r#"up{job="a"}"#.to_owned(), at(5, 1.0)),
            (r#"up{job="a"}"#.to_owned(), at(-6, stale_nan())),
            (r#"unsorted{job="a"}"#.to_owned(), at(0, 0.0)),
        ]
    );
    let twice = r#"series {__name__="a", b="1", b="2"} has a label name twice"#;
    assert_eq!(
        found.invalid,
        [
            r#"series {job="a"} has no metric name"#,
            twice,
            twice,
            r#"series {__name__="a", ="1"} has a label without a name"#,
            "series {} has no metric name",
        ]
    );
    assert_eq!(found.batch.metadata[0].kind, MetricKind::Counter);
}

#[test]
fn a_claimed_size_is_refused_before_memory_is_reserved() {
    let limits = DecodeLimits { max_decoded_bytes: 100, ..DecodeLimits::default() };
    let mut scratch = Scratch::default();
    let refused = read_with(&compressed(&[0; 101]), &limits, &mut scratch);
    assert_eq!(refused, Err(DecodeError::TooLarge(100)));
    assert!(matches!(read_with(&[0xff; 4], &limits, &mut scratch), Err(DecodeError::Snappy(_))));
    assert!(read_with(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], &DecodeLimits::default(), &mut scratch).is_err());
    assert_eq!(scratch.size_bytes(), 0);
}

#[test]
fn small_messages_do_not_become_large_in_memory() {
    let flood = WriteRequest { timeseries: vec![series(&[], &[]); 1_000], ..WriteRequest::default() };
    let mut scratch = Scratch::default();
    assert_eq!(read_with(&packed(&flood), &DecodeLimits::default(), &mut scratch), Ok(Read::default()));
    assert!(scratch.size_bytes() <= 2_000 + SLACK);

    let limits = DecodeLimits { max_samples: 3, ..DecodeLimits::default() };
    let of = |counts: &[usize]| WriteRequest {
        timeseries: counts.iter().map(|n| series(&[("__name__", "a")], &vec![(0.0, 0); *n])).collect(),
        ..WriteRequest::default()
    };
    assert_eq!(read(&packed(&of(&[2, 1])), &limits).map(|d| d.batch.rows.len()), Ok(3));
    for counts in [&[4][..], &[2, 2]] {
        assert_eq!(read(&packed(&of(counts)), &limits), Err(DecodeError::TooManySamples(3)));
    }
}

#[test]
fn label_sets_have_limits() {
    let limits = DecodeLimits { max_labels: 3, max_name_bytes: 8, max_value_bytes: 5, ..DecodeLimits::default() };
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("__name__", "a"), ("b", "1"), ("c", "2")], ""),
        (&[("__name__", "a"), ("b", ""), ("c", "2"), ("d", "3")], "has more than the 3 labels allowed"),
        (&[("__name__", "a"), ("b", "123456")], "has a label longer than allowed (names 8 bytes, values 5)"),
        (&[("__name__", "a"), ("123456789", "1")], "has a label longer than allowed (names 8 bytes, values 5)"),
    ];
    for (labels, want) in cases {
        let request = WriteRequest { timeseries: vec![series(labels, &[(0.0, 0)])], ..WriteRequest::default() };
        let found = read(&packed(&request), &limits).expect("decodes");
        assert_eq!(found.invalid.is_empty(), want.is_empty(), "{labels:?}");
        assert!(found.invalid.iter().all(|reason| reason.ends_with(want)), "{:?}", found.invalid);
    }
}

#[test]
fn broken_labels_cost_their_own_series_only() {
    let mut message = WriteRequest {
        timeseries: vec![series(&[("__name__", "good")], &[(1.0, 1)]), series(&[("__name__", "bad")], &[(2.0, 2)])],
        ..WriteRequest::default()
    }
    .encode_to_vec();
    let bad = message.windows(3).position(|w| w == b"bad").expect("is there");
    let good = read(&compressed(&message), &DecodeLimits::default()).expect("decodes").batch.rows[0].clone();
    // Not UTF-8; then a value that claims to be longer than its label.
    for (at, byte, want) in [(bad, 0xff, "is not UTF-8"), (bad - 1, 9, "is not encoded as prometheus.Label")] {
        message[at] = byte;
        let found = read(&compressed(&message), &DecodeLimits::default()).expect("decodes");
        assert_eq!(found.batch.rows, std::slice::from_ref(&good));
        assert!(found.invalid.len() == 1 && found.invalid[0].ends_with(want), "{:?}", found.invalid);
    }
}

#[test]
fn the_stamp_is_set_over_what_is_claimed_and_stands_in_the_context() {
    let stamped =
        |stamp: &[(&str, &str)]| LabelDecoder::new(DecodeLimits::default(), Labels::from_pairs(stamp.iter().copied()));
    let body = packed(&WriteRequest {
        timeseries: vec![series(&[("__name__", "up"), ("region", "claimed")], &[(1.0, 1)])],
        ..WriteRequest::default()
    });
    let mut scratch = Scratch::default();
    let request = decode_rows(&body, Format::default(), &DecodeLimits::default(), &mut scratch).expect("decodes");
    let decoder = stamped(&[("region", "eu"), ("zone", "a")]);
    let batch = request.batch(&decoder);
    let labels = batch.decoder.decode(batch.rows[0].labels).expect("is valid");
    assert_eq!(labels.to_string(), r#"up{region="eu", zone="a"}"#);
    assert_eq!(batch.context, stamped(&[("zone", "a"), ("region", "eu")]).context());
    for other in [&[][..], &[("region", "eu")], &[("region", "euz"), ("one", "a")]] {
        assert_ne!(batch.context, stamped(other).context());
    }
}

#[test]
fn counts_what_it_does_not_read() {
    let mut odd = series(&[("__name__", "a")], &[]);
    odd.histograms.push(WireSample::default());
    let request = WriteRequest { timeseries: vec![odd], ..WriteRequest::default() };
    let found = read(&packed(&request), &DecodeLimits::default()).expect("decodes");
    assert_eq!((found.histograms, found.batch.rows.len()), (1, 0));
}

#[test]
fn exemplars_come_with_or_without_samples() {
    let label = |(name, value): &(&str, &str)| Label { name: (*name).into(), value: (*value).into() };
    let exemplar = |labels: &[(&str, &str)], value, timestamp| WireExemplar {
        labels: labels.iter().map(label).collect(),
        value,
        timestamp,
    };
    let with = |series: TimeSeries, exemplars| TimeSeries { exemplars, ..series };
    let trace = [("trace_id", "t1"), ("empty", ""), ("span_id", "s")];
    let request = WriteRequest {
        timeseries: vec![
            with(series(&[("__name__", "a")], &[(1.0, 1)]), vec![exemplar(&trace, 0.5, -7), exemplar(&[], 0.0, 0)]),
            with(series(&[("__name__", "b")], &[]), vec![exemplar(&[("x", "1"), ("x", "2")], 1.0, 1)]),
            with(series(&[("no", "name")], &[]), vec![exemplar(&[], 1.0, 1), exemplar(&[], 1.0, 1)]),
            with(series(&[("__name__", "b")], &[]), vec![exemplar(&[], 2.0, 2)]),
        ],
        ..WriteRequest::default()
    };
    let body = packed(&request);
    let found = read(&body, &DecodeLimits::default()).expect("decodes");
    let shown = |r: &ExemplarRow| {
        (r.series.to_string(), r.exemplar.labels.to_string(), r.exemplar.value, r.exemplar.timestamp.0)
    };
    let shown: Vec<_> = found.exemplars.iter().map(shown).collect();
    let want = [("a", r#"{span_id="s", trace_id="t1"}"#, 0.5, -7), ("a", "{}", 0.0, 0), ("b", "{}", 2.0, 2)];
    assert_eq!(shown, want.map(|(s, l, v, t)| (s.to_owned(), l.to_owned(), v, t)));
    assert_eq!((found.invalid_exemplars, found.batch.rows.len()), (3, 1));
    // Both count towards the limit.
    let limit = |max_samples| DecodeLimits { max_samples, ..DecodeLimits::default() };
    assert!(read(&body, &limit(7)).is_ok());
    assert_eq!(read(&body, &limit(6)), Err(DecodeError::TooManySamples(6)));
}

#[test]
fn memory_is_used_again_and_holds_nothing_of_the_request_before() {
    let many = |name: &str, n: i64| {
        let samples: Vec<_> = (0..n).map(|i| (i as f64, i)).collect();
        packed(&WriteRequest { timeseries: vec![series(&[("__name__", name)], &samples)], ..WriteRequest::default() })
    };
    let (large, small) = (many("large", 1_000), many("s", 3));
    let mut scratch = Scratch::default();
    let limits = DecodeLimits::default();
    let first = read_with(&large, &limits, &mut scratch).expect("decodes");
    let held = scratch.size_bytes();
    assert!(held >= 1_000 * size_of::<model::EncodedRow<'_>>(), "the rows' memory came back");
    assert_eq!(read_with(&small, &limits, &mut scratch), read(&small, &limits));
    assert_eq!(read_with(&large, &limits, &mut scratch), Ok(first));
    assert_eq!(scratch.size_bytes(), held, "nothing was allocated");
}

/// One field of a `TimeSeries`, in whatever order.
#[derive(Debug, Clone)]
enum Piece {
    Label(String, String),
    Sample(u64, i64),
    /// Value and timestamp the other way round, and each of them twice.
    OddSample(u64, i64),
    Exemplar(String, u64, i64),
    Unknown(u64),
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let name = prop_oneof![3 => Just("__name__".to_owned()), 5 => "[a-d]{0,2}", 1 => "\\PC{100,200}"];
    let value = prop_oneof![9 => "\\PC{0,8}", 1 => "[a-z]{120,300}"];
    let ms = || prop_oneof![any::<i64>(), 1_000_000_000_000..2_000_000_000_000i64];
    prop_oneof![
        8 => (name, value).prop_map(|(name, value)| Piece::Label(name, value)),
        4 => (any::<u64>(), ms()).prop_map(|(bits, ms)| Piece::Sample(bits, ms)),
        1 => (any::<u64>(), ms()).prop_map(|(bits, ms)| Piece::OddSample(bits, ms)),
        1 => ("[a-z]{0,3}", any::<u64>(), ms()).prop_map(|(trace, bits, ms)| Piece::Exemplar(trace, bits, ms)),
        1 => any::<u64>().prop_map(Piece::Unknown),
    ]
}

fn write_series(pieces: &[Piece], out: &mut Vec<u8>) {
    use prost::encoding::{WireType, encode_key, encode_varint, message, uint64};
    let mut inner = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Label(name, value) => {
                message::encode(wire::LABELS, &Label { name: name.clone(), value: value.clone() }, &mut inner);
            }
            Piece::Sample(bits, ms) => {
                let sample = WireSample { value: f64::from_bits(*bits), timestamp: *ms };
                message::encode(wire::SAMPLES, &sample, &mut inner);
            }
            Piece::OddSample(bits, ms) => {
                let value = f64::from_bits(*bits);
                let (early, late) = (WireSample { value, timestamp: 7 }, WireSample { value, timestamp: *ms });
                let sample = [early.encode_to_vec(), late.encode_to_vec()].concat();
                encode_key(wire::SAMPLES, WireType::LengthDelimited, &mut inner);
                encode_varint(sample.len() as u64, &mut inner);
                inner.extend(sample);
            }
            Piece::Exemplar(trace, bits, ms) => {
                let labels = vec![Label { name: "trace_id".into(), value: trace.clone() }];
                let exemplar = WireExemplar { labels, value: f64::from_bits(*bits), timestamp: *ms };
                message::encode(wire::EXEMPLARS, &exemplar, &mut inner);
            }
            Piece::Unknown(number) => uint64::encode(20, number, &mut inner),
        }
    }
    encode_key(wire::TIMESERIES, WireType::LengthDelimited, out);
    encode_varint(inner.len() as u64, out);
    out.extend(inner);
}

/// What a receiver is to make of a request, from the messages that prost derives.
fn reference(request: &WriteRequest) -> Read {
    let mut out = Read::default();
    for series in &request.timeseries {
        out.histograms += series.histograms.len();
        let pairs: Vec<_> = series.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).collect();
        let kept: Vec<_> = pairs.iter().copied().filter(|(_, value)| !value.is_empty()).collect();
        let map: BTreeMap<_, _> = kept.iter().copied().collect();
        let valid =
            pairs.iter().all(|(name, _)| !name.is_empty()) && map.len() == kept.len() && map.contains_key("__name__");
        for sample in &series.samples {
            let sample = Sample { timestamp: TimestampMs(sample.timestamp), value: sample.value };
            match valid {
                true => out.batch.push(Labels::from_pairs(&map), sample),
                false => out.invalid.push(String::new()),
            }
        }
        for exemplar in &series.exemplars {
            let labels = Labels::from_pairs(exemplar.labels.iter().map(|l| (&l.name, &l.value)));
            let exemplar = Exemplar { labels, value: exemplar.value, timestamp: TimestampMs(exemplar.timestamp) };
            match valid {
                true => out.exemplars.push(ExemplarRow { series: Labels::from_pairs(&map), exemplar }),
                false => out.invalid_exemplars += 1,
            }
        }
    }
    for entry in &request.metadata {
        out.batch.metadata.push(MetricMetadata {
            family: entry.family.clone(),
            kind: wire::kind_from_wire(entry.kind as u64),
            help: entry.help.clone(),
            unit: entry.unit.clone(),
        });
    }
    out
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

/// Takes everything that is decoded.
#[derive(Default)]
struct Sink(Mutex<Vec<Row>>);

impl Append for Sink {
    fn append(&self, batch: &Batch) -> Result<AppendReport, AppendError> {
        self.0.lock().extend(batch.rows.iter().cloned());
        Ok(AppendReport { appended: batch.rows.len(), ..AppendReport::default() })
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_bit_for_bit(batch in any_batch()) {
        let found = read(&encode(&batch), &DecodeLimits::default()).expect("decodes");
        prop_assert_eq!(found, Read { batch, ..Read::default() });
    }

    #[test]
    fn exemplars_come_back(
        rows in prop::collection::vec((0u8..3, "\\PC{0,9}", -1e9..1e9f64, any::<i64>()), 0..20), batch in any_batch(),
    ) {
        let rows: Vec<_> = rows.into_iter().map(|(series, trace, value, at)| ExemplarRow {
            series: Labels::from_pairs([("__name__", format!("m{series}"))]),
            exemplar: Exemplar { labels: Labels::from_pairs([("trace_id", trace)]), value, timestamp: TimestampMs(at) },
        }).collect();
        let body = Encoder::default().encode_with_exemplars(&batch.rows, &rows, &batch.metadata);
        let found = read(&body, &DecodeLimits::default()).expect("decodes");
        prop_assert_eq!(found, Read { batch, exemplars: rows.clone(), ..Read::default() });
        let request = WriteRequest::decode(unpacked(&body).as_slice()).expect("decodes");
        prop_assert_eq!(reference(&request).exemplars, rows);
    }

    #[test]
    fn the_specification_reads_what_is_written(batch in any_batch()) {
        let request = WriteRequest::decode(unpacked(&encode(&batch)).as_slice()).expect("decodes");
        prop_assert_eq!(reference(&request), Read { batch, ..Read::default() });
    }

    /// Fields in any order, labels between samples, names twice, unknown fields: the label sets and samples are those
    /// that the specification's messages hold, through a store's own eyes too.
    #[test]
    fn rows_are_what_the_specification_reads(
        all in prop::collection::vec(prop::collection::vec(any_piece(), 0..12), 0..8),
    ) {
        let mut message = Vec::new();
        all.iter().for_each(|pieces| write_series(pieces, &mut message));
        let want = reference(&WriteRequest::decode(message.as_slice()).expect("decodes"));
        let (limits, mut scratch) = (DecodeLimits::default(), Scratch::default());
        let found = read_with(&compressed(&message), &limits, &mut scratch).expect("decodes");
        prop_assert_eq!(&found.batch, &want.batch);
        prop_assert_eq!(found.invalid.len(), want.invalid.len());
        prop_assert_eq!(found.histograms, want.histograms);
        prop_assert_eq!(found.invalid_exemplars, want.invalid_exemplars);
        // Debug shows NaN and the sign of zero.
        prop_assert_eq!(format!("{:?}", found.exemplars), format!("{:?}", want.exemplars));

        let (sink, decoder) = (Sink::default(), LabelDecoder::new(limits, Labels::empty()));
        let body = compressed(&message);
        let request = decode_rows(&body, Format::default(), &limits, &mut scratch).expect("decodes");
        let report = sink.append_encoded(&request.batch(&decoder)).expect("takes samples");
        prop_assert_eq!(&*sink.0.lock(), &want.batch.rows);
        prop_assert_eq!(report.refused.len(), want.invalid.len());
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, &DecodeLimits::default());
        let _ = read(&compressed(&bytes), &DecodeLimits::default());
    }

    /// Bytes changed, cut out and doubled: never a panic, and where the specification still reads the request, so do we.
    #[test]
    fn a_damaged_request_is_no_panic(
        all in prop::collection::vec(prop::collection::vec(any_piece(), 0..6), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let mut message = Vec::new();
        all.iter().for_each(|pieces| write_series(pieces, &mut message));
        for (at, byte, kind) in damage {
            let at = at.index(message.len());
            match kind {
                0 => message[at] = byte,
                1 => message.insert(at, byte),
                _ if message.len() > 1 => {
                    message.remove(at);
                }
                _ => {}
            }
        }
        let found = read(&compressed(&message), &DecodeLimits::default());
        if let Ok(request) = WriteRequest::decode(message.as_slice()) {
            let (found, want) = (found.expect("decodes"), reference(&request));
            prop_assert_eq!(found.batch, want.batch);
            prop_assert_eq!(found.invalid.len(), want.invalid.len());
        }
        let mut body = compressed(&message);
        let middle = body.len() / 2;
        body[middle] ^= 0x55;
        let _ = read(&body, &DecodeLimits::default());
    }
}
