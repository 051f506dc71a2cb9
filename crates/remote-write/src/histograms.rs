//! Native histograms of a request: found with its samples, never looked into. What a sender wrote is what a store keeps
//! and what can be sent on, field for field, in 1.0 and 2.0 alike: both have the same message.

use model::{EncodedHistogram, HistogramRow, TimestampMs};

use crate::protobuf::{Field, fields};
use crate::{LabelDecoder, wire};

/// The first byte of [`EncodedHistogram`]s that are a protobuf `Histogram` of remote write.
pub const PROTOBUF_HISTOGRAM: u8 = 1;

/// A histogram whose bytes, and the labels of its series, are still as they came.
#[derive(Debug, Clone, Copy)]
pub struct EncodedHistogramRow<'a> {
    pub(crate) series: &'a [u8],
    message: &'a [u8],
}

impl<'a> EncodedHistogramRow<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { series: &[], message }
    }
}

/// Reads labels and times of histograms. Returns those that are sound, and how many are not: labels that no series may
/// have, or more bytes than any histogram needs.
pub fn decode_histograms(encoded: &[EncodedHistogramRow<'_>], decoder: &LabelDecoder) -> (Vec<HistogramRow>, usize) {
    let mut rows = Vec::with_capacity(encoded.len());
    for of_one_series in encoded.chunk_by(|a, b| a.series == b.series) {
        let series = of_one_series.first().and_then(|first| decoder.explain(first.series).ok());
        let Some(labels) = series else { continue };
        rows.extend(of_one_series.iter().filter_map(|encoded| {
            let timestamp = time_of(encoded.message)?;
            let histogram = EncodedHistogram::new(&[&[PROTOBUF_HISTOGRAM], encoded.message].concat())?;
            Some(HistogramRow { labels: labels.clone(), timestamp, histogram })
        }));
    }
    let invalid = encoded.len() - rows.len();
    (rows, invalid)
}

fn time_of(message: &[u8]) -> Option<TimestampMs> {
    let mut at = TimestampMs(0);
    let read = fields(message, |number, field| {
        if let (wire::HISTOGRAM_TIMESTAMP, Field::Varint(ms)) = (number, field) {
            at = TimestampMs(ms as i64);
        }
    });
    read.ok().map(|()| at)
}
