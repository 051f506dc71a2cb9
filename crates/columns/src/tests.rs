//! Messages there and back, and what no encoder writes.

use model::{EncodedHistogram, Exemplar, Labels, MetricKind, MetricMetadata, TimestampMs};
use proptest::prelude::*;

use crate::sections::put_number;
use crate::{
    DecodeError, Decoded, Decoder, Definitions, Encoder, ExemplarEntry, Form, HistogramEntry, LabelsFault, Limits,
    Message,
};

/// A message that owns what it says.
#[derive(Debug, Clone, Default, PartialEq)]
struct Owned {
    definitions: Vec<(u32, Labels)>,
    numbers: Vec<u32>,
    timestamps: Vec<i64>,
    bits: Vec<u64>,
    exemplars: Vec<ExemplarEntry>,
    histograms: Vec<HistogramEntry>,
    metadata: Vec<MetricMetadata>,
}

impl Owned {
    fn encode(&self, form: Form) -> Vec<u8> {
        let values: Vec<f64> = self.bits.iter().map(|bits| f64::from_bits(*bits)).collect();
        let message = Message {
            definitions: &self.definitions,
            numbers: &self.numbers,
            timestamps: &self.timestamps,
            values: &values,
            exemplars: &self.exemplars,
            histograms: &self.histograms,
            metadata: &self.metadata,
        };
        Encoder::default().encode(&message, form).to_vec()
    }

    fn of(decoded: Decoded<'_>) -> Self {
        Self {
            definitions: decoded.definitions.map(|(n, labels)| (n, labels.expect("is sound"))).collect(),
            numbers: decoded.numbers.to_vec(),
            timestamps: decoded.timestamps.to_vec(),
            bits: decoded.values.iter().map(|value| value.to_bits()).collect(),
            exemplars: decoded.exemplars,
            histograms: decoded.histograms,
            metadata: decoded.metadata,
        }
    }
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-300i64..5000).prop_map(|v| v as f64),
        any::<i64>().prop_map(|v| v as f64),
        (any::<i32>(), 0i32..12).prop_map(|(v, digits)| f64::from(v) / 10f64.powi(digits)),
        prop::sample::select(vec![
            0.0,
            -0.0,
            9_007_199_254_740_992.0,
            -9_007_199_254_740_993.0,
            f64::INFINITY,
            1e-9,
            0.3
        ]),
        Just(model::stale_nan()),
        Just(7.0),
    ]
}

fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![0..20u32, any::<u32>()]
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[ab]{1,2}", "[xy]{1,2}", 0..4).prop_map(Labels::from_pairs)
}

prop_compose! {
    fn any_message()(
        definitions in prop::collection::vec((any_number(), any_labels()), 0..6),
        rows in prop::collection::vec((any_number(), prop_oneof![Just(1_700_000_000_000), any::<i64>()], any_value()), 0..80),
        exemplars in prop::collection::vec((any_number(), any_labels(), any::<i32>(), any::<i64>()), 0..3),
        histograms in prop::collection::vec((any_number(), any::<i64>(), prop::collection::vec(any::<u8>(), 1..40)), 0..3),
        metadata in prop::collection::vec(("[a-z]{0,9}", "\\PC{0,9}", 0usize..8), 0..3),
    ) -> Owned {
        Owned {
            definitions,
            numbers: rows.iter().map(|row| row.0).collect(),
            timestamps: rows.iter().map(|row| row.1).collect(),
            bits: rows.iter().map(|row| row.2.to_bits()).collect(),
            exemplars: exemplars
                .into_iter()
                .map(|(number, labels, value, at)| {
                    let exemplar = Exemplar { labels, value: f64::from(value), timestamp: TimestampMs(at) };
                    ExemplarEntry { number, exemplar }
                })
                .collect(),
            histograms: histograms
                .into_iter()
                .map(|(number, timestamp, bytes)| {
                    let histogram = EncodedHistogram::new(&bytes).expect("is short enough");
                    HistogramEntry { number, timestamp, histogram }
                })
                .collect(),
            metadata: metadata
                .into_iter()
                .map(|(family, help, kind)| MetricMetadata { family, help, kind: MetricKind::ALL[kind], unit: "s".into() })
                .collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn comes_back_bit_for_bit(message in any_message(), stored in any::<bool>()) {
        let bytes = message.encode(if stored { Form::Stored } else { Form::Wire });
        let (mut decoder, limits) = (Decoder::default(), Limits::default());
        let (numbers, definitions) = decoder.outline(&bytes, &limits).expect("decodes");
        prop_assert_eq!(numbers, &message.numbers);
        prop_assert_eq!(definitions.count(), message.definitions.len());
        let back = Owned::of(decoder.decode(&bytes, &limits).expect("decodes"));
        prop_assert_eq!(back, message);
        // Cut anywhere it is an error, never a panic and never something shorter.
        for end in 0..bytes.len() {
            prop_assert!(decoder.decode(&bytes[..end], &limits).is_err());
        }
    }

    #[test]
    fn noise_is_no_message_that_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200), message in any_message(), at in any::<prop::sample::Index>()) {
        let limits = Limits { max_decoded_bytes: 1 << 16, max_samples: 1 << 12, ..Limits::default() };
        let mut decoder = Decoder::default();
        let _ = decoder.outline(&bytes, &limits).map(|(_, d)| d.count());
        if let Some(first) = bytes.first_mut() {
            *first = crate::VERSION;
        }
        let _ = decoder.decode(&bytes, &limits).map(|d| d.definitions.count());
        let mut changed = message.encode(Form::Stored);
        let at = at.index(changed.len());
        changed[at] ^= 0x11;
        let _ = decoder.decode(&changed, &limits).map(|d| d.definitions.count());
    }
}

/// Rows of a scrape: consecutive series, one time, small numbers.
fn scrape(rows: u32) -> Owned {
    Owned {
        numbers: (100..100 + rows).collect(),
        timestamps: vec![1_700_000_000_123; rows as usize],
        bits: (0..rows).map(|n| f64::from(n * 31 % 97).to_bits()).collect(),
        ..Owned::default()
    }
}

#[test]
fn a_scrape_of_small_numbers_takes_little_more_than_a_byte_a_row() {
    assert!(scrape(1000).encode(Form::Stored).len() < 1000 + 40);
    let one_value = Owned { bits: vec![1.5f64.to_bits(); 1000], ..scrape(1000) };
    assert!(one_value.encode(Form::Wire).len() < 80);
}

#[test]
fn limits_are_those_of_the_reader() {
    let message = Owned { definitions: vec![(1, Labels::from_pairs([("a", "bcd")]))], ..scrape(100) };
    let bytes = message.encode(Form::Wire);
    let fails = |limits: Limits| Decoder::default().decode(&bytes, &limits).err();
    assert_eq!(fails(Limits::default()), None);
    let max_samples = 99;
    assert_eq!(fails(Limits { max_samples, ..Limits::default() }), Some(DecodeError::TooManySamples(99)));
    let max_decoded_bytes = 50;
    assert_eq!(fails(Limits { max_decoded_bytes, ..Limits::default() }), Some(DecodeError::TooLarge(50)));
    let fault = |limits: Limits| {
        let mut decoder = Decoder::default();
        let mut decoded = decoder.decode(&bytes, &limits).expect("decodes");
        decoded.definitions.next().map(|(number, labels)| (number, labels.err()))
    };
    let short = Limits { max_value_bytes: 2, ..Limits::default() };
    assert_eq!(fault(short), Some((1, Some(LabelsFault::TooLong))));
    let few = Limits { max_labels: 0, ..Limits::default() };
    assert_eq!(fault(few), Some((1, Some(LabelsFault::TooMany))));
}

#[test]
fn labels_that_repeat_cost_what_they_are() {
    // One long value, then a definition a byte or three each: written out they would take gigabytes.
    let mut bytes = Vec::new();
    for part in [2u64, 1, 3] {
        put_number(&mut bytes, part);
    }
    bytes.push(b'a');
    put_number(&mut bytes, 1000);
    bytes.extend(std::iter::repeat_n(b'v', 1000));
    for _ in 0..10_000 {
        bytes.extend([2, 1, 0]);
    }
    let limits = Limits { max_decoded_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(Definitions::new(&bytes, &limits).err(), Some(DecodeError::TooLarge(1 << 20)));
}

#[test]
fn labels_out_of_order_cost_their_series() {
    // Number 1: {b="x", a="y"}; number 2: the same number of labels, the second like the first of them by place.
    let bytes = [2, 2, 3, b'b', 1, b'x', 3, b'a', 1, b'y', 2, 1, 0];
    let found: Vec<_> = Definitions::new(&bytes, &Limits::default()).expect("is well formed").collect();
    assert_eq!(found, [(1, Err(LabelsFault::NotCanonical)), (2, Ok(Labels::from_pairs([("b", "x")])))]);
    assert!(Definitions::new(&[2, 1, 0], &Limits::default()).is_err(), "a label like none");
}

#[test]
fn other_versions_are_named() {
    let mut bytes = scrape(1).encode(Form::Wire);
    bytes[0] = 9;
    assert_eq!(Decoder::default().decode(&bytes, &Limits::default()).err(), Some(DecodeError::UnknownVersion(9)));
}
