//! 2.0: against messages that prost derives from the specification, against 1.0, and against rubbish.

use super::*;
use crate::wire::v2;
use crate::{Compression, Message as Kind, decode_histograms};

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<StartedSample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<WireHistogram>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<ReferringExemplar>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Told>,
    #[prost(int64, tag = "6")]
    created: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StartedSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start: i64,
}

/// As far as anything here can tell.
#[derive(Clone, PartialEq, Message)]
struct WireHistogram {
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ReferringExemplar {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Told {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}

const V2: Format = Format { message: Kind::V2, compression: Compression::Snappy };

fn read_v2(request: &Request) -> Read {
    let body = compressed(&request.encode_to_vec());
    super::read_as(&body, V2, &DecodeLimits::default(), &mut Scratch::default()).expect("decodes")
}

fn symbols<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

fn started(value: f64, timestamp: i64, start: i64) -> StartedSample {
    StartedSample { value, timestamp, start }
}

fn of(labels_refs: &[u32], samples: &[StartedSample]) -> Series {
    Series { labels_refs: labels_refs.to_vec(), samples: samples.to_vec(), ..Series::default() }
}

#[test]
fn references_that_lead_nowhere_cost_their_own_series() {
    let one = [started(1.0, 1, 0)];
    let request = Request {
        symbols: symbols(["", "__name__", "up", "job", "a"]),
        timeseries: vec![
            of(&[1, 2, 3, 4], &[started(1.0, 5, 0), started(stale_nan(), -6, 0)]),
            of(&[1, 2, 3, 5], &one),
            of(&[1, 2, 3], &one),
            of(&[1, 2, u32::MAX, 1], &one),
            of(&[], &one),
            of(&[3, 4], &one),
            of(&[1, 2, 3, 4, 3, 4], &one),
            of(&[1, 2, 0, 4], &one),
            // Unsorted, and a label without a value: taken as in 1.0.
            of(&[3, 4, 1, 2, 2, 0], &[started(2.0, 7, 0)]),
            of(&[3, 9], &[]),
        ],
    };
    let found = read_v2(&request);
    let rows: Vec<_> = found.batch.rows.iter().map(|r| (r.labels.to_string(), r.sample.timestamp.0)).collect();
    let up = || r#"up{job="a"}"#.to_owned();
    assert_eq!(rows, [(up(), 5), (up(), -6), (up(), 7)]);
    let nowhere = "refers to symbols that the request does not have, or to a name without a value";
    assert_eq!(
        found.invalid,
        [
            format!(r#"series {{__name__="up"}} {nowhere}"#),
            format!(r#"series {{__name__="up"}} {nowhere}"#),
            format!(r#"series {{__name__="up"}} {nowhere}"#),
            "series {} has no metric name".to_owned(),
            r#"series {job="a"} has no metric name"#.to_owned(),
            r#"series {__name__="up", job="a", job="a"} has a label name twice"#.to_owned(),
            r#"series {__name__="up", ="a"} has a label without a name"#.to_owned(),
        ]
    );
}

#[test]
fn the_first_symbol_is_empty() {
    let of = |symbols: Vec<String>| {
        let body = compressed(&Request { symbols, timeseries: Vec::new() }.encode_to_vec());
        super::read_as(&body, V2, &DecodeLimits::default(), &mut Scratch::default())
    };
    assert_eq!(of(symbols([])), Ok(Read::default()));
    assert_eq!(of(symbols(["", "a"])), Ok(Read::default()));
    let error = of(symbols(["a", ""])).expect_err("is refused").to_string();
    assert!(error.contains("the first symbol is not empty"), "{error}");
}

#[test]
fn a_family_is_what_its_series_say() {
    let told = |kind, help_ref, unit_ref| Some(Told { kind, help_ref, unit_ref });
    let with = |name: u32, metadata| Series { metadata, ..of(&[1, name], &[started(1.0, 1, 0)]) };
    let request = Request {
        symbols: symbols(["", "__name__", "h_bucket", "h_sum", "c_total", "s_count", "g_count", "n", "help", "s"]),
        timeseries: vec![
            with(2, told(3, 8, 9)),
            with(2, told(3, 0, 0)),
            with(3, told(3, 8, 9)),
            with(4, told(1, 8, 0)),
            with(5, told(5, 0, 9)),
            with(6, told(2, 8, 0)),
            with(7, told(0, 0, 0)),
            with(7, told(1, 99, 0)),
        ],
    };
    let found = read_v2(&request);
    let shown = |m: &MetricMetadata| (m.family.clone(), m.kind, m.help.clone(), m.unit.clone());
    let told: Vec<_> = found.batch.metadata.iter().map(shown).collect();
    assert_eq!(
        told,
        [
            ("h", MetricKind::Histogram, "help", "s"),
            ("c_total", MetricKind::Counter, "help", ""),
            ("s", MetricKind::Summary, "", "s"),
            ("g_count", MetricKind::Gauge, "help", ""),
        ]
        .map(|(family, kind, help, unit)| (family.to_owned(), kind, help.to_owned(), unit.to_owned()))
    );
    assert_eq!(found.batch.rows.len(), 8, "metadata costs no sample");
}

#[test]
fn when_a_counter_began_is_seen_and_its_samples_are_as_good() {
    let ms = 1_700_000_000_000;
    let request = Request {
        symbols: symbols(["", "__name__", "a"]),
        timeseries: vec![
            of(&[1, 2], &[started(1.0, ms, ms - 9), started(2.0, ms + 1, 0), started(3.0, 5, -1)]),
            Series { created: 7, ..of(&[1, 2], &[started(4.0, ms + 2, 0)]) },
        ],
    };
    let mut scratch = Scratch::default();
    let body = compressed(&request.encode_to_vec());
    let found = decode_rows(&body, V2, &DecodeLimits::default(), &mut scratch).expect("decodes");
    assert_eq!(found.start_timestamps, 3);
    let rows: Vec<_> = found.rows.iter().map(|r| (r.sample.timestamp.0, r.sample.value)).collect();
    assert_eq!(rows, [(ms, 1.0), (ms + 1, 2.0), (5, 3.0), (ms + 2, 4.0)]);
}

#[test]
fn histograms_are_handed_on_byte_for_byte_in_both_versions() {
    let histogram = WireHistogram { sum: 1.5, timestamp: -7 };
    let v2 = Request {
        symbols: symbols(["", "__name__", "h"]),
        timeseries: vec![
            Series { histograms: vec![histogram.clone()], ..of(&[1, 2], &[]) },
            Series { histograms: vec![histogram.clone(); 2], ..of(&[1, 9], &[]) },
        ],
    };
    let mut v1 = Vec::new();
    let mut inner = series(&[("__name__", "h")], &[]).encode_to_vec();
    prost::encoding::message::encode(wire::HISTOGRAMS, &histogram, &mut inner);
    prost::encoding::encode_key(wire::TIMESERIES, prost::encoding::WireType::LengthDelimited, &mut v1);
    prost::encoding::encode_varint(inner.len() as u64, &mut v1);
    v1.extend(inner);
    for (message, format, bad) in [(v1, Format::default(), 0), (v2.encode_to_vec(), V2, 2)] {
        let mut scratch = Scratch::default();
        let found = decode_rows(&compressed(&message), format, &DecodeLimits::default(), &mut scratch);
        let found = found.expect("decodes");
        let decoder = LabelDecoder::new(DecodeLimits::default(), Labels::from_pairs([("region", "eu")]));
        let (rows, invalid) = decode_histograms(&found.histograms, &decoder);
        assert_eq!((rows.len(), invalid), (1, bad));
        assert_eq!((rows[0].labels.to_string(), rows[0].timestamp), (r#"h{region="eu"}"#.into(), TimestampMs(-7)));
        assert_eq!(rows[0].histogram.as_bytes(), [&[crate::PROTOBUF_HISTOGRAM], &*histogram.encode_to_vec()].concat());
    }
}

#[test]
fn a_few_references_do_not_become_many_bytes() {
    let long = "x".repeat(10_000);
    let request = |series: usize| Request {
        symbols: symbols(["", "__name__", &long]),
        timeseries: vec![of(&[1, 2], &[started(1.0, 1, 0)]); series],
    };
    let limits = DecodeLimits { max_decoded_bytes: 100_000, ..DecodeLimits::default() };
    let mut scratch = Scratch::default();
    let mut read = |series| {
        let body = compressed(&request(series).encode_to_vec());
        super::read_as(&body, V2, &limits, &mut scratch).map(|found| found.batch.rows.len())
    };
    assert_eq!(read(9), Ok(9));
    assert_eq!(read(10), Err(DecodeError::TooLarge(100_000)));
    assert!(scratch.size_bytes() < 250_000, "{}", scratch.size_bytes());
    // Far more labels than allowed are cut where it is certain.
    let many = Request { timeseries: vec![of(&[1, 2].repeat(5_000), &[started(1.0, 1, 0)])], ..request(0) };
    let limits = DecodeLimits { max_labels: 3, ..limits };
    let body = compressed(&many.encode_to_vec());
    let found = super::read_as(&body, V2, &limits, &mut scratch).expect("decodes");
    assert!(found.invalid[0].ends_with("more than the 3 labels allowed"), "{:?}", found.invalid);
    let limits = DecodeLimits { max_samples: 2, ..DecodeLimits::default() };
    let body = compressed(&request(1).encode_to_vec());
    assert_eq!(super::read_as(&body, V2, &limits, &mut scratch), Err(DecodeError::TooManySymbols(2)));
}

#[test]
fn zstd_is_bounded_whatever_it_claims() {
    let format = Format { compression: Compression::Zstd, ..Format::default() };
    let message = WriteRequest {
        timeseries: vec![series(&[("__name__", "a")], &vec![(1.0, 1); 20_000])],
        ..WriteRequest::default()
    }
    .encode_to_vec();
    let said = zstd::bulk::compress(&message, 1).expect("compresses");
    let unsaid = zstd::stream::encode_all(message.as_slice(), 1).expect("compresses");
    let halves = message.split_at(message.len() / 2);
    let in_two = [halves.0, halves.1].map(|half| zstd::bulk::compress(half, 1).expect("compresses")).concat();
    let read = |body: &[u8], limits: &DecodeLimits| {
        super::read_as(body, format, limits, &mut Scratch::default()).map(|found| found.batch.rows.len())
    };
    for body in [&said, &unsaid, &in_two] {
        assert_eq!(read(body, &DecodeLimits::default()), Ok(20_000));
        let tight = DecodeLimits { max_decoded_bytes: message.len() - 1, ..DecodeLimits::default() };
        assert_eq!(read(body, &tight), Err(DecodeError::TooLarge(message.len() - 1)));
        assert!(matches!(read(&body[..body.len() - 1], &DecodeLimits::default()), Err(DecodeError::Zstd(_))));
    }
    // A bomb: 3 MiB of nothing in a few hundred bytes.
    for bomb in [
        zstd::bulk::compress(&vec![0; 3 << 20], 1).expect("compresses"),
        zstd::stream::encode_all(&*vec![0; 3 << 20], 1).expect("compresses"),
    ] {
        assert_eq!(read(&bomb, &DecodeLimits::default()), Err(DecodeError::Ratio(200)));
    }
    assert!(matches!(read(b"rubbish", &DecodeLimits::default()), Err(DecodeError::Zstd(_))));
    assert_eq!(read(&[], &DecodeLimits::default()).map_err(|e| e.to_string().contains("zstd")), Err(true));
}

/// The same in 1.0, with the labels that the references stand for.
fn in_v1(request: &Request) -> WriteRequest {
    let text = |symbol: &u32| request.symbols.get(*symbol as usize).cloned();
    let label = |pair: &[u32]| match pair {
        [name, value] => Some(Label { name: text(name)?, value: text(value)? }),
        _ => None,
    };
    let labels = |refs: &[u32]| refs.chunks(2).map(label).collect::<Option<Vec<_>>>();
    let of = |series: &Series| TimeSeries {
        labels: labels(&series.labels_refs).unwrap_or_default(),
        samples: series.samples.iter().map(|s| WireSample { value: s.value, timestamp: s.timestamp }).collect(),
        exemplars: series
            .exemplars
            .iter()
            .filter_map(|e| {
                Some(WireExemplar { labels: labels(&e.labels_refs)?, value: e.value, timestamp: e.timestamp })
            })
            .collect(),
        histograms: Vec::new(),
    };
    WriteRequest { timeseries: request.timeseries.iter().map(of).collect(), metadata: Vec::new() }
}

fn any_request() -> impl Strategy<Value = Request> {
    let text = prop_oneof![4 => "[a-d]{1,3}", 2 => "\\PC{1,40}", 1 => "[a-z]{60,140}", 1 => Just(String::new())];
    let symbols = prop::collection::vec(text, 0..12).prop_map(|texts| {
        let mut all = vec![String::new(), "__name__".to_owned(), "up".to_owned()];
        all.extend(texts);
        all
    });
    let refs = prop::collection::vec(0u32..14, 0..9).prop_map(|mut refs| {
        refs.splice(0..0, [1, 2]);
        refs
    });
    let sample = (any::<u64>(), any::<i64>(), prop_oneof![Just(0), any::<i64>()])
        .prop_map(|(bits, ms, start)| started(f64::from_bits(bits), ms, start));
    let exemplar = (prop::collection::vec(0u32..14, 0..5), -1e9..1e9f64, any::<i64>())
        .prop_map(|(labels_refs, value, timestamp)| ReferringExemplar { labels_refs, value, timestamp });
    let series = (refs, prop::collection::vec(sample, 0..3), prop::collection::vec(exemplar, 0..2))
        .prop_map(|(labels_refs, samples, exemplars)| Series { labels_refs, samples, exemplars, ..Series::default() });
    (symbols, prop::collection::vec(series, 0..8)).prop_map(|(symbols, timeseries)| Request { symbols, timeseries })
}

/// The label bytes of every row, which a store knows series by.
fn label_bytes(message: &[u8], format: Format) -> Vec<Vec<u8>> {
    let mut scratch = Scratch::default();
    let body = compressed(message);
    let found = decode_rows(&body, format, &DecodeLimits::default(), &mut scratch).expect("decodes");
    found.rows.iter().map(|row| row.labels.to_vec()).collect()
}

proptest! {
    /// A store cannot tell 2.0 from 1.0: byte for byte the same labels, wherever the references are good.
    #[test]
    fn a_series_has_the_same_bytes_in_both_versions(request in any_request()) {
        let v1 = in_v1(&request);
        let good = |at: &Vec<u8>| !at.ends_with(&[wire::NO_SUCH_SYMBOL as u8 * 8, 0]);
        let found = label_bytes(&request.encode_to_vec(), V2);
        let want = label_bytes(&v1.encode_to_vec(), Format::default());
        prop_assert_eq!(found.len(), want.len());
        for (found, want) in found.iter().zip(&want).filter(|(found, _)| good(found)) {
            prop_assert_eq!(found, want);
        }
        let good_rows = found.iter().filter(|found| good(found)).count();
        let (found, want) = (read_v2(&request), reference(&v1));
        prop_assert!(found.batch.rows.len() <= good_rows);
        let rows: Vec<_> = want.batch.rows.iter().filter(|row| !row.labels.is_empty()).cloned().collect();
        prop_assert_eq!(found.batch.rows, rows);
        let want = read(&packed(&v1), &DecodeLimits::default()).expect("decodes");
        prop_assert_eq!(format!("{:?}", found.exemplars), format!("{:?}", want.exemplars));
    }

    /// Symbols behind the series, references one by one, labels in several fields, unknown fields.
    #[test]
    fn fields_come_in_any_order(request in any_request(), cuts in prop::collection::vec(0usize..9, 8)) {
        use prost::encoding::{WireType, encode_key, encode_varint, string, uint32, uint64};
        let mut message = Vec::new();
        for (series, cut) in request.timeseries.iter().zip(&cuts) {
            let (front, back) = series.labels_refs.split_at((*cut).min(series.labels_refs.len()));
            let mut inner = Vec::new();
            uint32::encode_packed(v2::LABELS_REFS, front, &mut inner);
            uint64::encode(20, &7, &mut inner);
            let rest = Series { labels_refs: Vec::new(), ..series.clone() };
            inner.extend(rest.encode_to_vec());
            uint32::encode_repeated(v2::LABELS_REFS, back, &mut inner);
            encode_key(v2::TIMESERIES, WireType::LengthDelimited, &mut message);
            encode_varint(inner.len() as u64, &mut message);
            message.extend(inner);
        }
        string::encode_repeated(v2::SYMBOLS, &request.symbols, &mut message);
        let found = super::read_as(&compressed(&message), V2, &DecodeLimits::default(), &mut Scratch::default());
        let (found, want) = (found.expect("decodes"), read_v2(&request));
        prop_assert_eq!(found.batch, want.batch);
        prop_assert_eq!(found.invalid, want.invalid);
        prop_assert_eq!(format!("{:?}", found.exemplars), format!("{:?}", want.exemplars));
    }

    #[test]
    fn what_is_written_is_read_bit_for_bit(batch in any_batch(), zstd in any::<bool>()) {
        let compression = if zstd { Compression::Zstd } else { Compression::Snappy };
        let exemplars: Vec<_> = batch.rows.iter().step_by(3).map(|row| ExemplarRow {
            series: row.labels.clone(),
            exemplar: Exemplar { labels: Labels::from_pairs([("t", "1")]), value: 2.0, timestamp: TimestampMs(3) },
        }).collect();
        let told: Vec<_> = [("m", MetricKind::Counter), ("other", MetricKind::Gauge)].map(|(family, kind)| {
            MetricMetadata { family: family.into(), kind, help: "help".into(), unit: String::new() }
        }).into();
        let mut encoder = Encoder::default();
        for _ in 0..2 {
            let body = encoder.encode_v2(&batch.rows, &exemplars, &told, compression);
            let format = Format { message: Kind::V2, compression };
            let found = super::read_as(&body, format, &DecodeLimits::default(), &mut Scratch::default());
            let found = found.expect("decodes");
            prop_assert_eq!(&found.batch.rows, &batch.rows);
            prop_assert_eq!(&found.batch.metadata[..], if batch.rows.is_empty() { &[] } else { &told[..1] });
            let sorted = |mut rows: Vec<ExemplarRow>| { rows.sort_by_key(|r| r.series.to_string()); rows };
            prop_assert_eq!(sorted(found.exemplars), sorted(exemplars.clone()));
        }
        let body = encoder.encode_v2(&batch.rows, &[], &[], Compression::Snappy);
        let request = Request::decode(unpacked(&body).as_slice()).expect("decodes");
        prop_assert_eq!(reference(&in_v1(&request)).batch.rows, batch.rows);
    }

    #[test]
    fn damage_is_no_panic(
        request in any_request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut message = request.encode_to_vec();
        for (at, byte) in damage {
            let at = at.index(message.len());
            message[at] = byte;
        }
        let _ = super::read_as(&compressed(&message), V2, &DecodeLimits::default(), &mut Scratch::default());
        let format = Format { compression: Compression::Zstd, ..V2 };
        let _ = super::read_as(&message, format, &DecodeLimits::default(), &mut Scratch::default());
    }
}
