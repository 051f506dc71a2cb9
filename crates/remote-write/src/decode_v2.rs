//! `io.prometheus.write.v2.Request` to rows with the label bytes that the same series have in 1.0. Nothing is allocated for
//! a sample or a series once the buffers have grown; metric families are, once for each name in a request.

use model::{EncodedRow, MetricKind, MetricMetadata};
use prost::encoding::WireType;

use crate::exemplars::EncodedExemplar;
use crate::found::{Found, Gathered};
use crate::histograms::EncodedHistogramRow;
use crate::protobuf::{Field, Reader, fields, key};
use crate::request::MAX_FAMILIES;
use crate::samples::sample;
use crate::symbols::{LabelRefs, Seen, Symbols};
use crate::wire::{self, v2};
use crate::{DecodeError, DecodeLimits};

const TIMESERIES: u8 = key(v2::TIMESERIES, WireType::LengthDelimited);
const LABELS_REFS: u8 = key(v2::LABELS_REFS, WireType::LengthDelimited);
const SAMPLES: u8 = key(v2::SAMPLES, WireType::LengthDelimited);

/// Reads a whole message.
pub(crate) fn read<'a>(
    (symbols, seen): (Symbols<'a>, &mut Seen),
    found: Found<'a>,
    gathered: &mut Gathered,
    limits: &DecodeLimits,
) -> Result<Found<'a>, DecodeError> {
    let mut pass = Pass { symbols, seen, found, gathered, limits, family_bytes: 0 };
    let mut reader = Reader::new(symbols.message());
    while !reader.is_at_end() {
        if reader.skip_key(TIMESERIES) {
            pass.series(reader.bytes()?)?;
        } else if let (v2::TIMESERIES, Field::Bytes(message)) = reader.field()? {
            pass.series(message)?;
        }
    }
    Ok(pass.found)
}

/// One request while it is read.
struct Pass<'a, 's> {
    symbols: Symbols<'a>,
    seen: &'s mut Seen,
    found: Found<'a>,
    gathered: &'s mut Gathered,
    limits: &'s DecodeLimits,
    /// What the texts of families take by now.
    family_bytes: usize,
}

impl<'a> Pass<'a, '_> {
    /// Adds what one series holds, in whatever order its fields are.
    #[inline]
    fn series(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        let (mark, start) = (self.found.mark(), self.gathered.end());
        let mut labels = LabelRefs::new(self.symbols, self.limits.max_labels);
        let (mut metadata, mut is_created) = (None, false);
        let mut reader = Reader::new(message);
        while !reader.is_at_end() {
            if reader.skip_key(LABELS_REFS) {
                labels.packed(reader.bytes()?, self.gathered)?;
                continue;
            }
            if reader.skip_key(SAMPLES) {
                self.sample(reader.bytes()?)?;
                continue;
            }
            match reader.field()? {
                (v2::LABELS_REFS, Field::Bytes(packed)) => labels.packed(packed, self.gathered)?,
                (v2::LABELS_REFS, Field::Varint(reference)) => labels.push(reference, self.gathered)?,
                (v2::SAMPLES, Field::Bytes(message)) => self.sample(message)?,
                (v2::HISTOGRAMS, Field::Bytes(message)) => {
                    self.found.check_room()?;
                    self.found.histograms.push(EncodedHistogramRow::new(message));
                }
                (v2::EXEMPLARS, Field::Bytes(message)) => {
                    self.found.check_room()?;
                    self.found.exemplars.push(EncodedExemplar::v2(message, self.symbols));
                }
                (v2::METADATA, Field::Bytes(message)) => metadata = Some(message),
                (v2::CREATED, Field::Varint(ms)) => is_created = ms != 0,
                _ => {}
            }
        }
        labels.finish(self.gathered)?;
        self.found.start_timestamps += usize::from(is_created);
        if let (Some(metadata), Some(metric)) = (metadata, labels.metric)
            && self.seen.is_new(metric)
        {
            self.family(metric, metadata)?;
        }
        self.gathered.close(&self.found, mark, start);
        Ok(())
    }

    #[inline]
    fn sample(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        self.found.check_room()?;
        let (sample, has_start) = sample(message)?;
        self.found.start_timestamps += usize::from(has_start);
        self.found.rows.push(EncodedRow { labels: &[], sample });
        Ok(())
    }

    /// What a series says of its family, the first time that one of this name does. Metadata without content and such
    /// that refers to no symbol is nobody's loss.
    fn family(&mut self, metric: u64, message: &[u8]) -> Result<(), DecodeError> {
        let (mut kind, mut help, mut unit) = (MetricKind::Unknown, 0, 0);
        fields(message, |number, field| match (number, field) {
            (v2::KIND, Field::Varint(number)) => kind = wire::kind_from_wire(number),
            (v2::HELP_REF, Field::Varint(symbol)) => help = symbol,
            (v2::UNIT_REF, Field::Varint(symbol)) => unit = symbol,
            _ => {}
        })?;
        let texts = [metric, help, unit].map(|symbol| self.symbols.text(symbol));
        let [Some(metric), Some(help), Some(unit)] = texts else { return Ok(()) };
        let bytes = metric.len() + help.len() + unit.len();
        let says_nothing = kind == MetricKind::Unknown && help.is_empty() && unit.is_empty();
        let is_full =
            self.found.metadata.len() >= MAX_FAMILIES || self.family_bytes + bytes > self.limits.max_decoded_bytes;
        let Ok(metric) = std::str::from_utf8(metric) else { return Ok(()) };
        if says_nothing || is_full {
            return Ok(());
        }
        self.family_bytes += bytes;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let family = kind.family_of(metric).to_owned();
        if self.found.metadata.last().is_none_or(|last| last.family != family) {
            self.found.metadata.push(MetricMetadata { family, kind, help: text(help), unit: text(unit) });
        }
        Ok(())
    }
}
