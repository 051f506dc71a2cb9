//! The body of a request to a batch.

use model::{Batch, Labels, METRIC_NAME, MetricMetadata, Sample, TimestampMs};
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

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
    /// Samples of one request. A sample takes two bytes on the wire and 32 in memory at worst, so bytes alone are no
    /// bound.
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
/// Invalid series that are described; the samples of others are counted with the last of them.
const MAX_INVALID: usize = 100;

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
    #[error("the request holds more than the {0} samples allowed; send smaller requests")]
    TooManySamples(usize),
    /// Not a `prometheus.WriteRequest`.
    #[error("cannot decode the request: {0}; send a prometheus.WriteRequest")]
    Protobuf(String),
}

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Protobuf(error.to_string())
    }
}

/// A series whose labels nobody can store, with its samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSeries {
    /// What is wrong, the series included.
    pub reason: String,
    /// How many samples went with it.
    pub samples: usize,
}

/// What a request held.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decoded {
    /// Every sample of every valid series, and metadata.
    pub batch: Batch,
    /// Series with invalid labels; the first hundred of them.
    pub invalid: Vec<InvalidSeries>,
    /// Native histograms, which are not decoded.
    pub histograms: usize,
    /// Exemplars, which are not decoded.
    pub exemplars: usize,
}

/// Decodes a snappy-compressed `prometheus.WriteRequest`.
///
/// # Errors
/// When the body is not snappy, not protobuf, or too large. Invalid series are no error: see [`Decoded::invalid`].
pub fn decode(body: &[u8], limits: &DecodeLimits) -> Result<Decoded, DecodeError> {
    let bytes = snap::raw::decompress_len(body).map_err(|e| DecodeError::Snappy(e.to_string()))?;
    if bytes > limits.max_decoded_bytes {
        return Err(DecodeError::TooLarge { bytes, limit: limits.max_decoded_bytes });
    }
    let message = snap::raw::Decoder::new().decompress_vec(body).map_err(|e| DecodeError::Snappy(e.to_string()))?;
    let mut out = Decoded::default();
    let mut series = Series::default();
    fields(&message, |field, value| {
        match (field, value) {
            (wire::TIMESERIES, Field::Bytes(message)) => {
                series.decode(message, limits, limits.max_samples.saturating_sub(out.batch.rows.len()))?;
                series.finish(limits, &mut out);
            }
            (wire::METADATA, Field::Bytes(message)) if out.batch.metadata.len() < MAX_FAMILIES => {
                out.batch.metadata.push(metadata(message)?)
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

/// A field's content.
enum Field<'a> {
    Bytes(&'a [u8]),
    Varint(u64),
    Fixed64(u64),
    Other,
}

/// Calls `each` for every field of a message. Unknown kinds of fields are skipped, as protobuf asks.
fn fields<'a>(
    mut rest: &'a [u8],
    mut each: impl FnMut(u32, Field<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest)?;
        let field = match wire_type {
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
                if length > rest.len() {
                    return Err(DecodeError::Protobuf("a field is longer than the message".to_owned()));
                }
                let (bytes, after) = rest.split_at(length);
                rest = after;
                Field::Bytes(bytes)
            }
            WireType::Varint => Field::Varint(decode_varint(&mut rest)?),
            WireType::SixtyFourBit if rest.len() >= 8 => Field::Fixed64(rest.get_u64_le()),
            other => {
                skip_field(other, number, &mut rest, DecodeContext::default())?;
                Field::Other
            }
        };
        each(number, field)?;
    }
    Ok(())
}

/// One series while it is read; its memory serves the next one too.
#[derive(Default)]
struct Series<'a> {
    labels: Vec<(&'a [u8], &'a [u8])>,
    samples: Vec<Sample>,
    histograms: usize,
    exemplars: usize,
}

impl<'a> Series<'a> {
    fn decode(&mut self, message: &'a [u8], limits: &DecodeLimits, room: usize) -> Result<(), DecodeError> {
        *self = Self {
            labels: {
                self.labels.clear();
                std::mem::take(&mut self.labels)
            },
            samples: {
                self.samples.clear();
                std::mem::take(&mut self.samples)
            },
            ..Self::default()
        };
        fields(message, |field, value| {
            match (field, value) {
                // One more than allowed is enough to see that there are too many.
                (wire::LABELS, Field::Bytes(message)) if self.labels.len() <= limits.max_labels => {
                    self.labels.push(label(message)?);
                }
                (wire::SAMPLES, Field::Bytes(_)) if self.samples.len() >= room => {
                    return Err(DecodeError::TooManySamples(limits.max_samples));
                }
                (wire::SAMPLES, Field::Bytes(message)) => self.samples.push(sample(message)?),
                (wire::EXEMPLARS, _) => self.exemplars += 1,
                (wire::HISTOGRAMS, _) => self.histograms += 1,
                _ => {}
            }
            Ok(())
        })
    }

    fn finish(&self, limits: &DecodeLimits, out: &mut Decoded) {
        out.histograms += self.histograms;
        out.exemplars += self.exemplars;
        match valid_labels(&self.labels, limits) {
            Ok(labels) => self.samples.iter().for_each(|sample| out.batch.push(labels.clone(), *sample)),
            Err(reason) => match out.invalid.get_mut(MAX_INVALID - 1) {
                Some(last) => last.samples = last.samples.saturating_add(self.samples.len()),
                None => out.invalid.push(InvalidSeries { reason, samples: self.samples.len() }),
            },
        }
    }
}

fn label(message: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let (mut name, mut content): (&[u8], &[u8]) = (b"", b"");
    fields(message, |field, value| {
        match (field, value) {
            (wire::NAME, Field::Bytes(bytes)) => name = bytes,
            (wire::VALUE, Field::Bytes(bytes)) => content = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, content))
}

fn sample(message: &[u8]) -> Result<Sample, DecodeError> {
    let mut sample = Sample { timestamp: TimestampMs(0), value: 0.0 };
    fields(message, |field, value| {
        match (field, value) {
            (wire::SAMPLE_VALUE, Field::Fixed64(bits)) => sample.value = f64::from_bits(bits),
            (wire::SAMPLE_TIMESTAMP, Field::Varint(ms)) => sample.timestamp = TimestampMs(ms as i64),
            _ => {}
        }
        Ok(())
    })?;
    Ok(sample)
}

fn metadata(message: &[u8]) -> Result<MetricMetadata, DecodeError> {
    let mut entry = MetricMetadata::default();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    fields(message, |field, value| {
        match (field, value) {
            (wire::KIND, Field::Varint(number)) => entry.kind = wire::kind_from_wire(number),
            (wire::FAMILY, Field::Bytes(bytes)) => entry.family = text(bytes),
            (wire::HELP, Field::Bytes(bytes)) => entry.help = text(bytes),
            (wire::UNIT, Field::Bytes(bytes)) => entry.unit = text(bytes),
            _ => {}
        }
        Ok(())
    })?;
    Ok(entry)
}

/// What Prometheus' receiver demands of labels, and our limits. Unsorted labels are sorted, empty ones dropped.
fn valid_labels(raw: &[(&[u8], &[u8])], limits: &DecodeLimits) -> Result<Labels, String> {
    let shown = || {
        let pairs: Vec<String> = raw.iter().take(8).map(|(n, v)| format!("{}={:?}", brief(n), brief(v))).collect();
        format!("{{{}}}", pairs.join(", "))
    };
    if raw.len() > limits.max_labels {
        return Err(format!("series {} has more than the {} labels allowed", shown(), limits.max_labels));
    }
    let mut pairs = Vec::with_capacity(raw.len());
    for (name, value) in raw {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            return Err(format!("series {} has a label that is not UTF-8", shown()));
        };
        if name.is_empty() {
            return Err(format!("series {} has a label without a name", shown()));
        }
        if name.len() > limits.max_name_bytes || value.len() > limits.max_value_bytes {
            return Err(format!(
                "series {} has a label longer than allowed (names {} bytes, values {})",
                shown(),
                limits.max_name_bytes,
                limits.max_value_bytes
            ));
        }
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    if let Some(labels) = Labels::from_sorted(pairs.iter().copied()) {
        return named(labels).ok_or_else(|| format!("series {} has no metric name", shown()));
    }
    pairs.sort_unstable();
    match Labels::from_sorted(pairs.iter().copied()) {
        Some(labels) => named(labels).ok_or_else(|| format!("series {} has no metric name", shown())),
        None => Err(format!("series {} has a label name twice", shown())),
    }
}

fn named(labels: Labels) -> Option<Labels> {
    labels.get(METRIC_NAME).is_some().then_some(labels)
}

fn brief(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]);
    text.chars().filter(|c| !c.is_control()).collect()
}
