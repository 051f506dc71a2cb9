//! `prometheus.WriteRequest` to rows whose labels stay where they are. The hottest path there is: one pass, nothing is
//! allocated once the buffers have grown.

use std::ops::Range;

use model::{EncodedRow, MetricMetadata};
use prost::encoding::WireType;

use crate::DecodeError;
use crate::exemplars::EncodedExemplar;
use crate::found::{Found, Gathered};
use crate::histograms::EncodedHistogramRow;
use crate::protobuf::{Field, Reader, fields, key};
use crate::request::MAX_FAMILIES;
use crate::samples::sample;
use crate::wire;

const TIMESERIES: u8 = key(wire::TIMESERIES, WireType::LengthDelimited);
const LABELS: u8 = key(wire::LABELS, WireType::LengthDelimited);
const SAMPLES: u8 = key(wire::SAMPLES, WireType::LengthDelimited);

/// Reads a whole message.
pub(crate) fn read<'a>(message: &'a [u8], found: Found<'a>, gathered: &mut Gathered) -> Result<Found<'a>, DecodeError> {
    let mut pass = Pass { found, gathered };
    let mut reader = Reader::new(message);
    while !reader.is_at_end() {
        if reader.skip_key(TIMESERIES) {
            pass.series(reader.bytes()?)?;
            continue;
        }
        match reader.field()? {
            (wire::TIMESERIES, Field::Bytes(message)) => pass.series(message)?,
            (wire::METADATA, Field::Bytes(message)) if pass.found.metadata.len() < MAX_FAMILIES => {
                pass.found.metadata.push(family(message)?);
            }
            _ => {}
        }
    }
    Ok(pass.found)
}

/// One request while it is read.
struct Pass<'a, 's> {
    found: Found<'a>,
    gathered: &'s mut Gathered,
}

impl<'a> Pass<'a, '_> {
    /// Adds the samples of one series. Every known sender writes all labels before the first sample; any other order is
    /// as valid.
    #[inline]
    fn series(&mut self, message: &'a [u8]) -> Result<(), DecodeError> {
        let (mark, start_of_gathered) = (self.found.mark(), self.gathered.end());
        let mut reader = Reader::new(message);
        let mut labels = 0..0;
        while !reader.is_at_end() {
            let start = reader.position();
            reader.skip_bytes_fields(LABELS)?;
            if reader.position() > start {
                self.labels(message, start..reader.position(), &mut labels, start_of_gathered)?;
                continue;
            }
            if reader.skip_key(SAMPLES) {
                self.sample(reader.bytes()?)?;
                continue;
            }
            match reader.field()? {
                (wire::LABELS, Field::Bytes(_)) => {
                    self.labels(message, start..reader.position(), &mut labels, start_of_gathered)?;
                }
                (wire::SAMPLES, Field::Bytes(message)) => self.sample(message)?,
                (wire::EXEMPLARS, Field::Bytes(message)) => {
                    self.found.check_room()?;
                    self.found.exemplars.push(EncodedExemplar::v1(message));
                }
                (wire::HISTOGRAMS, Field::Bytes(message)) => {
                    self.found.check_room()?;
                    self.found.histograms.push(EncodedHistogramRow::new(message));
                }
                _ => {}
            }
        }
        if self.gathered.end() == start_of_gathered {
            self.found.set_labels(message.get(labels).unwrap_or_default(), mark, self.found.mark());
        } else {
            self.gathered.close(&self.found, mark, start_of_gathered);
        }
        Ok(())
    }

    /// Takes a run of label fields: as part of the message where it is the first or goes on with it, as a copy else.
    #[inline]
    fn labels(
        &mut self,
        message: &[u8],
        run: Range<usize>,
        labels: &mut Range<usize>,
        start_of_gathered: usize,
    ) -> Result<(), DecodeError> {
        if labels.start == labels.end {
            *labels = run;
        } else if labels.end == run.start {
            labels.end = run.end;
        } else {
            if self.gathered.end() == start_of_gathered {
                self.gathered.extend(message.get(labels.clone()).unwrap_or_default())?;
            }
            self.gathered.extend(message.get(run).unwrap_or_default())?;
        }
        Ok(())
    }

    #[inline]
    fn sample(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        self.found.check_room()?;
        let (sample, _) = sample(message)?;
        self.found.rows.push(EncodedRow { labels: &[], sample });
        Ok(())
    }
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
