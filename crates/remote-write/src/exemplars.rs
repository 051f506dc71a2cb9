//! Exemplars of a request: found with its samples, read when somebody keeps them.

use model::{Exemplar, ExemplarRow, Labels, TimestampMs};

use crate::protobuf::{Field, fields};
use crate::{LabelDecoder, wire};

/// An exemplar whose labels, and those of its series, are still as they came.
#[derive(Debug, Clone, Copy)]
pub struct EncodedExemplar<'a> {
    pub(crate) series: &'a [u8],
    pub(crate) message: &'a [u8],
}

/// Reads exemplars. Returns those that are sound, and how many are not: labels that no series may have, or that an
/// exemplar may not.
pub fn decode_exemplars(encoded: &[EncodedExemplar<'_>], decoder: &LabelDecoder) -> (Vec<ExemplarRow>, usize) {
    let mut rows = Vec::with_capacity(encoded.len());
    for of_one_series in encoded.chunk_by(|a, b| a.series == b.series) {
        let series = of_one_series.first().and_then(|first| decoder.explain(first.series).ok());
        let Some(series) = series else { continue };
        let exemplars = of_one_series.iter().filter_map(|encoded| exemplar(encoded.message, decoder));
        rows.extend(exemplars.map(|exemplar| ExemplarRow { series: series.clone(), exemplar }));
    }
    let invalid = encoded.len() - rows.len();
    (rows, invalid)
}

/// Labels have the same field in an exemplar as in a series.
fn exemplar(message: &[u8], decoder: &LabelDecoder) -> Option<Exemplar> {
    let mut out = Exemplar { labels: Labels::empty(), value: 0.0, timestamp: TimestampMs(0) };
    let read = fields(message, |number, field| match (number, field) {
        (wire::EXEMPLAR_VALUE, Field::Fixed64(bits)) => out.value = f64::from_bits(bits),
        (wire::EXEMPLAR_TIMESTAMP, Field::Varint(ms)) => out.timestamp = TimestampMs(ms as i64),
        _ => {}
    });
    read.ok()?;
    out.labels = decoder.of_exemplar(message)?;
    Some(out)
}
