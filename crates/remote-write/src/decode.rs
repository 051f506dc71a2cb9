//! The body of a request to rows whose labels stay as they came. The hottest path there is: one pass, nothing is
//! allocated once the buffers have grown.

use std::ops::Range;

use model::{EncodedBatch, EncodedRow, MetricMetadata, Sample, TimestampMs};
use prost::encoding::WireType;

use crate::exemplars::EncodedExemplar;
use crate::label_decoder::LabelDecoder;
use crate::protobuf::{Field, Reader, fields, key};
use crate::wire;

/// What a request may ask of the receiver.
#[derive(Debug, Clone, Copy)]
pub struct DecodeLimits {
    /// Bytes after decompression (Prometheus: 32 MiB).
    pub max_decoded_bytes: usize,
    /// Labels of one series.
    pub max_labels: usize,
    /// Bytes of one label name.
    pub max_name_bytes: usize,
    /// Bytes of one label value.
    pub max_value_bytes: usize,
    /// Samples and exemplars of one request. A sample takes two bytes on the wire and 32 in memory at worst, so bytes
    /// alone are no bound.
    pub max_samples: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_decoded_bytes: 32 << 20,
            max_labels: 128,
            max_name_bytes: 1024,
            max_value_bytes: 16 << 10,
            max_samples: 2 << 20,
        }
    }
}

/// Families of one request that are kept.
const MAX_FAMILIES: usize = 100_000;

/// A request that is refused whole. The sender must not send it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not snappy's block format.
    #[error("cannot decompress the request: {0}; send snappy's block format")]
    Snappy(String),
    /// Larger than allowed, by its own claim.
    #[error("the request decompresses to {bytes} bytes, more than the {limit} allowed; send smaller requests")]
    TooLarge {
        /// What it would take.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// More samples than allowed.
    #[error("the request holds more than the {0} samples and exemplars allowed; send smaller requests")]
    TooManySamples(usize),
    /// Not a `prometheus.WriteRequest`.
    #[error("cannot decode the request: {0}; send a prometheus.WriteRequest")]
    Protobuf(String),
}

impl From<snap::Error> for DecodeError {
    fn from(error: snap::Error) -> Self {
        Self::Snappy(error.to_string())
    }
}

/// The memory that decoding needs, to be used again for the next request.
#[derive(Default)]
pub struct Scratch {
    /// The decompressed message at its front.
    message: Vec<u8>,
    /// Labels of series whose label fields do not follow one another.
    gathered: Vec<u8>,
    /// Empty between requests.
    rows: Vec<EncodedRow<'static>>,
}

impl Scratch {
    /// Bytes of heap that it holds.
    pub fn size_bytes(&self) -> usize {
        self.message.capacity() + self.gathered.capacity() + self.rows.capacity() * size_of::<EncodedRow<'_>>()
    }
}

/// What a request holds. Its rows borrow from the [`Scratch`] it was decoded with.
pub struct EncodedRequest<'a> {
    /// Every sample, in the order of the request; labels are not read yet and may be invalid.
    pub rows: Vec<EncodedRow<'a>>,
    /// What it says of metric families.
    pub metadata: Vec<MetricMetadata>,
    /// Native histograms, which are not decoded.
    pub histograms: usize,
    /// Every exemplar, for [`crate::decode_exemplars`].
    pub exemplars: Vec<EncodedExemplar<'a>>,
    rows_home: &'a mut Vec<EncodedRow<'static>>,
}

impl EncodedRequest<'_> {
    /// The request for a store.
    pub fn batch<'b>(&'b self, decoder: &'b LabelDecoder) -> EncodedBatch<'b> {
        EncodedBatch { rows: &self.rows, context: decoder.context(), decoder, metadata: &self.metadata }
    }
}

impl Drop for EncodedRequest<'_> {
    /// Gives the memory of the rows back.
    fn drop(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        // Collecting in place keeps the allocation and sheds the lifetime; there is nothing left to copy.
        *self.rows_home = rows.into_iter().map(|row| EncodedRow { labels: &[], ..row }).collect();
    }
}

/// Decodes a snappy-compressed `prometheus.WriteRequest`. Labels are only delimited, see [`LabelDecoder`].
///
/// # Errors
/// When the body is not snappy, not protobuf, or too large.
pub fn decode_rows<'a>(
    body: &[u8],
    limits: &DecodeLimits,
    scratch: &'a mut Scratch,
) -> Result<EncodedRequest<'a>, DecodeError> {
    let Scratch { message, gathered, rows } = scratch;
    let length = decompress(body, limits.max_decoded_bytes, message)?;
    gathered.clear();
    let message: &'a [u8] = message.get(..length).unwrap_or_default();
    let mut pass = Pass {
        limits,
        gathered,
        rows: std::mem::take(rows),
        gathers: Vec::new(),
        histograms: 0,
        exemplars: Vec::new(),
    };
    let mut metadata = Vec::new();
    let mut reader = Reader::new(message);
    while !reader.is_at_end() {
        if reader.skip_key(TIMESERIES) {
            pass.series(reader.bytes()?)?;
            continue;
        }
        match reader.field()? {
            (wire::TIMESERIES, Field::Bytes(message)) => pass.series(message)?,
            (wire::METADATA, Field::Bytes(message)) if metadata.len() < MAX_FAMILIES => metadata.push(family(message)?),
            _ => {}
        }
    }
    let Pass { rows: mut decoded, gathers, gathered, histograms, mut exemplars, .. } = pass;
    let gathered: &'a [u8] = gathered;
    for Gather { rows, exemplars: those, labels } in gathers {
        let labels = gathered.get(labels).unwrap_or_default();
        decoded.get_mut(rows).unwrap_or_default().iter_mut().for_each(|row| row.labels = labels);
        exemplars.get_mut(those).unwrap_or_default().iter_mut().for_each(|exemplar| exemplar.series = labels);
    }
    Ok(EncodedRequest { rows: decoded, metadata, histograms, exemplars, rows_home: rows })
}

/// Fills the front of `message`; returns how much of it.
pub(crate) fn decompress(body: &[u8], limit: usize, message: &mut Vec<u8>) -> Result<usize, DecodeError> {
    let bytes = snap::raw::decompress_len(body)?;
    if bytes > limit {
        return Err(DecodeError::TooLarge { bytes, limit });
    }
    if message.len() < bytes {
        message.resize(bytes, 0);
    }
    Ok(snap::raw::Decoder::new().decompress(body, message.get_mut(..bytes).unwrap_or_default())?)
}

const TIMESERIES: u8 = key(wire::TIMESERIES, WireType::LengthDelimited);
const LABELS: u8 = key(wire::LABELS, WireType::LengthDelimited);
const SAMPLES: u8 = key(wire::SAMPLES, WireType::LengthDelimited);
const VALUE: u8 = key(wire::SAMPLE_VALUE, WireType::SixtyFourBit);
const TIMESTAMP: u8 = key(wire::SAMPLE_TIMESTAMP, WireType::Varint);

/// Rows and exemplars whose labels had to be gathered; all ends are known before the buffer may be borrowed.
struct Gather {
    rows: Range<usize>,
    exemplars: Range<usize>,
    labels: Range<usize>,
}

/// One request while it is read.
struct Pass<'a, 's> {
    limits: &'s DecodeLimits,
    rows: Vec<EncodedRow<'a>>,
    gathered: &'a mut Vec<u8>,
    gathers: Vec<Gather>,
    histograms: usize,
    exemplars: Vec<EncodedExemplar<'a>>,
}

impl<'a> Pass<'a, '_> {
    /// Adds the samples of one series. Every known sender writes all labels before the first sample; any other order is
    /// as valid.
    #[inline]
    fn series(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        let (first_row, first_gathered) = (self.rows.len(), self.gathered.len());
        let first_exemplar = self.exemplars.len();
        let mut reader = Reader::new(message);
        let mut labels = 0..0;
        while !reader.is_at_end() {
            let start = reader.position();
            reader.skip_bytes_fields(LABELS)?;
            if reader.position() > start {
                self.labels(message, start..reader.position(), &mut labels, first_gathered);
                continue;
            }
            if reader.skip_key(SAMPLES) {
                self.sample(reader.bytes()?)?;
                continue;
            }
            match reader.field()? {
                (wire::LABELS, Field::Bytes(_)) => {
                    self.labels(message, start..reader.position(), &mut labels, first_gathered);
                }
                (wire::SAMPLES, Field::Bytes(message)) => self.sample(message)?,
                (wire::EXEMPLARS, Field::Bytes(message)) => self.exemplar(message)?,
                (wire::HISTOGRAMS, _) => self.histograms += 1,
                _ => {}
            }
        }
        if self.gathered.len() == first_gathered {
            let labels = message.get(labels).unwrap_or_default();
            self.rows.iter_mut().skip(first_row).for_each(|row| row.labels = labels);
            self.exemplars.iter_mut().skip(first_exemplar).for_each(|exemplar| exemplar.series = labels);
            return Ok(());
        }
        let (rows, exemplars) = (first_row..self.rows.len(), first_exemplar..self.exemplars.len());
        if rows.is_empty() && exemplars.is_empty() {
            self.gathered.truncate(first_gathered);
        } else {
            self.gathers.push(Gather { rows, exemplars, labels: first_gathered..self.gathered.len() });
        }
        Ok(())
    }

    /// Takes a run of label fields: as part of the message where it is the first or goes on with it, as a copy else.
    #[inline]
    fn labels(&mut self, message: &[u8], run: Range<usize>, labels: &mut Range<usize>, first_gathered: usize) {
        if labels.start == labels.end {
            *labels = run;
        } else if labels.end == run.start {
            labels.end = run.end;
        } else {
            if self.gathered.len() == first_gathered {
                self.gathered.extend_from_slice(message.get(labels.clone()).unwrap_or_default());
            }
            self.gathered.extend_from_slice(message.get(run).unwrap_or_default());
        }
    }

    #[inline]
    fn check_room(&self) -> Result<(), DecodeError> {
        let max = self.limits.max_samples;
        if self.rows.len() + self.exemplars.len() >= max { Err(DecodeError::TooManySamples(max)) } else { Ok(()) }
    }

    fn exemplar(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        self.check_room()?;
        self.exemplars.push(EncodedExemplar { series: &[], message });
        Ok(())
    }

    #[inline]
    fn sample(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        self.check_room()?;
        let sample = match usual_sample(message) {
            Some(sample) => sample,
            None => any_sample(message)?,
        };
        self.rows.push(EncodedRow { labels: &[], sample });
        Ok(())
    }
}

/// A sample as every known sender writes it: the value, then the timestamp.
#[inline]
fn usual_sample(message: &[u8]) -> Option<Sample> {
    let (head, timestamp) = message.split_first_chunk::<10>()?;
    let [VALUE, bits @ .., TIMESTAMP] = head else { return None };
    let value = f64::from_bits(u64::from_le_bytes(*bits));
    Some(Sample { timestamp: TimestampMs(whole_varint(timestamp)? as i64), value })
}

/// A number that fills `bytes` to the end.
#[inline]
fn whole_varint(bytes: &[u8]) -> Option<u64> {
    // Six bytes hold every millisecond from 2004 to 2109.
    if let &[a, b, c, d, e, f] = bytes
        && a & b & c & d & e >= 0x80
        && f < 0x80
    {
        let part = |byte: u8, place: u32| u64::from(byte & 0x7f) << (7 * place);
        return Some(part(a, 0) | part(b, 1) | part(c, 2) | part(d, 3) | part(e, 4) | part(f, 5));
    }
    let mut rest = Reader::new(bytes);
    rest.varint().ok().filter(|_| rest.is_at_end())
}

fn any_sample(message: &[u8]) -> Result<Sample, DecodeError> {
    let mut sample = Sample { timestamp: TimestampMs(0), value: 0.0 };
    fields(message, |number, field| match (number, field) {
        (wire::SAMPLE_VALUE, Field::Fixed64(bits)) => sample.value = f64::from_bits(bits),
        (wire::SAMPLE_TIMESTAMP, Field::Varint(ms)) => sample.timestamp = TimestampMs(ms as i64),
        _ => {}
    })?;
    Ok(sample)
}

fn family(message: &[u8]) -> Result<MetricMetadata, DecodeError> {
    let mut entry = MetricMetadata::default();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    fields(message, |number, field| match (number, field) {
        (wire::KIND, Field::Varint(number)) => entry.kind = wire::kind_from_wire(number),
        (wire::FAMILY, Field::Bytes(bytes)) => entry.family = text(bytes),
        (wire::HELP, Field::Bytes(bytes)) => entry.help = text(bytes),
        (wire::UNIT, Field::Bytes(bytes)) => entry.unit = text(bytes),
        _ => {}
    })?;
    Ok(entry)
}
