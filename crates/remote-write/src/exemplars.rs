//! Exemplars of a request: found with its samples, read when somebody keeps them.

use model::{Exemplar, ExemplarRow, Labels, TimestampMs};

use crate::found::Gathered;
use crate::protobuf::{Field, fields};
use crate::symbols::{LabelRefs, Symbols};
use crate::{LabelDecoder, wire};

/// An exemplar whose labels, and those of its series, are still as they came.
#[derive(Debug, Clone, Copy)]
pub struct EncodedExemplar<'a> {
    pub(crate) series: &'a [u8],
    message: &'a [u8],
    /// Of 2.0.
    symbols: Option<Symbols<'a>>,
}

impl<'a> EncodedExemplar<'a> {
    pub(crate) fn v1(message: &'a [u8]) -> Self {
        Self { series: &[], message, symbols: None }
    }

    pub(crate) fn v2(message: &'a [u8], symbols: Symbols<'a>) -> Self {
        Self { series: &[], message, symbols: Some(symbols) }
    }
}

/// Reads exemplars. Returns those that are sound, and how many are not: labels that no series may have, or that an
/// exemplar may not.
pub fn decode_exemplars(encoded: &[EncodedExemplar<'_>], decoder: &LabelDecoder) -> (Vec<ExemplarRow>, usize) {
    let mut rows = Vec::with_capacity(encoded.len());
    let mut buffer = Gathered::default();
    for of_one_series in encoded.chunk_by(|a, b| a.series == b.series) {
        let series = of_one_series.first().and_then(|first| decoder.explain(first.series).ok());
        let Some(series) = series else { continue };
        let exemplars = of_one_series.iter().filter_map(|encoded| exemplar(encoded, decoder, &mut buffer));
        rows.extend(exemplars.map(|exemplar| ExemplarRow { series: series.clone(), exemplar }));
    }
    let invalid = encoded.len() - rows.len();
    (rows, invalid)
}

/// Labels have the same field in an exemplar as in a series; value and time are the same in 1.0 and 2.0.
fn exemplar(encoded: &EncodedExemplar<'_>, decoder: &LabelDecoder, buffer: &mut Gathered) -> Option<Exemplar> {
    let mut out = Exemplar { labels: Labels::empty(), value: 0.0, timestamp: TimestampMs(0) };
    let read = fields(encoded.message, |number, field| match (number, field) {
        (wire::EXEMPLAR_VALUE, Field::Fixed64(bits)) => out.value = f64::from_bits(bits),
        (wire::EXEMPLAR_TIMESTAMP, Field::Varint(ms)) => out.timestamp = TimestampMs(ms as i64),
        _ => {}
    });
    read.ok()?;
    out.labels = match encoded.symbols {
        None => decoder.of_exemplar(encoded.message)?,
        Some(symbols) => decoder.of_exemplar(with_symbols(encoded.message, symbols, decoder, buffer)?)?,
    };
    Some(out)
}

/// The label fields that an exemplar's references stand for.
fn with_symbols<'b>(
    message: &[u8],
    symbols: Symbols<'_>,
    decoder: &LabelDecoder,
    buffer: &'b mut Gathered,
) -> Option<&'b [u8]> {
    let limits = decoder.limits();
    buffer.clear(limits.max_decoded_bytes);
    let (mut labels, mut outcome) = (LabelRefs::new(symbols, limits.max_labels), Ok(()));
    let read = fields(message, |number, field| {
        let more = match (number, field) {
            (wire::v2::LABELS_REFS, Field::Bytes(packed)) => labels.packed(packed, buffer),
            (wire::v2::LABELS_REFS, Field::Varint(reference)) => labels.push(reference, buffer),
            _ => return,
        };
        if outcome.is_ok() {
            outcome = more;
        }
    });
    read.and(outcome).and_then(|()| labels.finish(buffer)).ok()?;
    Some(buffer.bytes())
}
