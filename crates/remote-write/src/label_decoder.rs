//! From the label fields of a `TimeSeries`, as they came, to a label set. Runs for series that a store has not seen
//! before, not for every sample.

use model::{DecodeLabels, Labels, METRIC_NAME, RefusalReason};

use crate::protobuf::{Field, fields};
use crate::{DecodeLimits, encode, wire};

/// Tells label bytes of this encoding from those of others.
const ENCODING: &[u8] = b"prometheus.TimeSeries.labels;";
/// Pairs and bytes of each that are shown of a bad label set.
const SHOWN_PAIRS: usize = 8;
const SHOWN_BYTES: usize = 64;

/// Reads label bytes as one receiver understands them: within its limits, with its stamp set over what senders claim.
#[derive(Debug, Clone)]
pub struct LabelDecoder {
    limits: DecodeLimits,
    stamp: Labels,
    context: Vec<u8>,
}

/// What is wrong with a label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("is not encoded as prometheus.Label")]
    Malformed,
    #[error("has more than the {0} labels allowed")]
    TooMany(usize),
    #[error("has a label that is not UTF-8")]
    NotUtf8,
    #[error("has a label without a name")]
    Nameless,
    #[error("has a label longer than allowed (names {names} bytes, values {values})")]
    TooLong { names: usize, values: usize },
    #[error("has a label name twice")]
    Twice,
    #[error("refers to symbols that the request does not have, or to a name without a value")]
    NoSuchSymbol,
    #[error("has no metric name")]
    NoMetricName,
}

impl LabelDecoder {
    /// A decoder that sets the labels of `stamp` on every series.
    pub fn new(limits: DecodeLimits, stamp: Labels) -> Self {
        let mut context = ENCODING.to_vec();
        encode::labels(&stamp, &mut context);
        Self { limits, stamp, context }
    }

    /// What decides, beside the bytes themselves, which label set they are: for [`model::EncodedBatch::context`].
    pub fn context(&self) -> &[u8] {
        &self.context
    }

    pub(crate) fn limits(&self) -> &DecodeLimits {
        &self.limits
    }

    /// The label set, or what is wrong with it in words for the sender.
    ///
    /// # Errors
    /// Where [`DecodeLabels::decode`] fails.
    pub fn explain(&self, encoded: &[u8]) -> Result<Labels, String> {
        self.labels(encoded).map_err(|fault| format!("series {} {fault}", shown(encoded)))
    }

    /// What Prometheus' receiver demands of a series' labels, and our limits; with the stamp.
    fn labels(&self, encoded: &[u8]) -> Result<Labels, Fault> {
        let labels = self.plain(encoded)?;
        if labels.get(METRIC_NAME).is_none() {
            return Err(Fault::NoMetricName);
        }
        Ok(if self.stamp.is_empty() { labels } else { labels.with_overrides(&self.stamp) })
    }

    /// Labels that are not a series': those of an exemplar.
    pub(crate) fn of_exemplar(&self, encoded: &[u8]) -> Option<Labels> {
        self.plain(encoded).ok()
    }

    /// Unsorted labels are sorted, empty ones dropped.
    fn plain(&self, encoded: &[u8]) -> Result<Labels, Fault> {
        let limits = &self.limits;
        let (mut pairs, mut seen, mut fault) = (Vec::with_capacity(16), 0, None);
        let read = fields(encoded, |number, field| {
            let message = match (number, field) {
                (wire::LABELS, Field::Bytes(message)) => message,
                (wire::NO_SUCH_SYMBOL, _) => return fault = fault.or(Some(Fault::NoSuchSymbol)),
                _ => return,
            };
            seen += 1;
            if seen > limits.max_labels || fault.is_some() {
                return;
            }
            match pair(message, limits) {
                Ok((_, "")) => {}
                Ok(pair) => pairs.push(pair),
                Err(found) => fault = Some(found),
            }
        });
        if read.is_err() {
            return Err(Fault::Malformed);
        }
        if seen > limits.max_labels {
            return Err(Fault::TooMany(limits.max_labels));
        }
        if let Some(fault) = fault {
            return Err(fault);
        }
        match Labels::from_sorted(pairs.iter().copied()) {
            Some(labels) => Ok(labels),
            None => {
                pairs.sort_unstable();
                Labels::from_sorted(pairs.iter().copied()).ok_or(Fault::Twice)
            }
        }
    }
}

impl DecodeLabels for LabelDecoder {
    fn decode(&self, encoded: &[u8]) -> Result<Labels, RefusalReason> {
        self.labels(encoded).map_err(|_| RefusalReason::InvalidLabels)
    }

    fn spells_out(&self) -> bool {
        true
    }
}

fn pair<'a>(message: &'a [u8], limits: &DecodeLimits) -> Result<(&'a str, &'a str), Fault> {
    let (name, value) = raw_pair(message).ok_or(Fault::Malformed)?;
    let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
        return Err(Fault::NotUtf8);
    };
    if name.is_empty() {
        return Err(Fault::Nameless);
    }
    if name.len() > limits.max_name_bytes || value.len() > limits.max_value_bytes {
        return Err(Fault::TooLong { names: limits.max_name_bytes, values: limits.max_value_bytes });
    }
    Ok((name, value))
}

fn raw_pair(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut name, mut value): (&[u8], &[u8]) = (b"", b"");
    let read = fields(message, |number, field| match (number, field) {
        (wire::NAME, Field::Bytes(bytes)) => name = bytes,
        (wire::VALUE, Field::Bytes(bytes)) => value = bytes,
        _ => {}
    });
    read.is_ok().then_some((name, value))
}

/// A bad label set as far as it can be read.
fn shown(encoded: &[u8]) -> String {
    let mut pairs = Vec::new();
    // What was read before an error is shown all the same.
    let _ = fields(encoded, |number, field| {
        let (wire::LABELS, Field::Bytes(message)) = (number, field) else { return };
        if pairs.len() < SHOWN_PAIRS
            && let Some((name, value)) = raw_pair(message)
        {
            pairs.push(format!("{}={:?}", brief(name), brief(value)));
        }
    });
    format!("{{{}}}", pairs.join(", "))
}

fn brief(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]);
    text.chars().filter(|c| !c.is_control()).collect()
}
