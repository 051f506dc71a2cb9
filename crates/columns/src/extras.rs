//! What rides along: exemplars, native histograms, metadata of families. Row by row, since there are few.

use model::{EncodedHistogram, Exemplar, Labels, MetricKind, MetricMetadata, TimestampMs};

use crate::sections::{Reader, put_number, put_text, unzigzag, zigzag};
use crate::{DecodeError, ExemplarEntry, HistogramEntry, Limits};

/// Number and time of an entry, each as the difference to the entry before.
#[derive(Default)]
struct Place {
    number: i64,
    timestamp: i64,
}

impl Place {
    fn put(&mut self, out: &mut Vec<u8>, number: u32, timestamp: i64) {
        put_number(out, zigzag(i64::from(number) - self.number));
        put_number(out, zigzag(timestamp.wrapping_sub(self.timestamp)));
        *self = Self { number: i64::from(number), timestamp };
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(u32, i64), DecodeError> {
        self.number = self.number.wrapping_add(unzigzag(reader.number()?));
        self.timestamp = self.timestamp.wrapping_add(unzigzag(reader.number()?));
        let number = u32::try_from(self.number).map_err(|_| DecodeError::Malformed("a series number"))?;
        Ok((number, self.timestamp))
    }
}

pub(crate) fn put_exemplars(out: &mut Vec<u8>, exemplars: &[ExemplarEntry]) {
    let mut place = Place::default();
    for ExemplarEntry { number, exemplar } in exemplars {
        place.put(out, *number, exemplar.timestamp.0);
        out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_number(out, exemplar.labels.len() as u64);
        for (name, value) in exemplar.labels.iter() {
            put_text(out, name);
            put_text(out, value);
        }
    }
}

/// `room` is how many entries the message may still have.
pub(crate) fn read_exemplars(
    bytes: &[u8],
    room: &mut usize,
    limits: &Limits,
) -> Result<Vec<ExemplarEntry>, DecodeError> {
    let (mut reader, mut place, mut found, mut pairs) = (Reader::new(bytes), Place::default(), Vec::new(), Vec::new());
    while !reader.is_empty() {
        count(room, limits)?;
        let (number, timestamp) = place.read(&mut reader)?;
        let value = f64::from_bits(u64::from_le_bytes(reader.array()?));
        pairs.clear();
        for _ in 0..reader.length()?.min(limits.max_labels + 1) {
            pairs.push((reader.text()?, reader.text()?));
        }
        let labels = Labels::from_sorted(pairs.iter().copied()).filter(|_| pairs.len() <= limits.max_labels);
        let labels = labels.ok_or(DecodeError::Malformed("labels of an exemplar"))?;
        found.push(ExemplarEntry { number, exemplar: Exemplar { labels, value, timestamp: TimestampMs(timestamp) } });
    }
    Ok(found)
}

fn count(room: &mut usize, limits: &Limits) -> Result<(), DecodeError> {
    *room = room.checked_sub(1).ok_or(DecodeError::TooManySamples(limits.max_samples))?;
    Ok(())
}

pub(crate) fn put_histograms(out: &mut Vec<u8>, histograms: &[HistogramEntry]) {
    let mut place = Place::default();
    for HistogramEntry { number, timestamp, histogram } in histograms {
        place.put(out, *number, *timestamp);
        put_number(out, histogram.as_bytes().len() as u64);
        out.extend_from_slice(histogram.as_bytes());
    }
}

/// `room` as for exemplars.
pub(crate) fn read_histograms(
    bytes: &[u8],
    room: &mut usize,
    limits: &Limits,
) -> Result<Vec<HistogramEntry>, DecodeError> {
    let (mut reader, mut place, mut found) = (Reader::new(bytes), Place::default(), Vec::new());
    while !reader.is_empty() {
        count(room, limits)?;
        let (number, timestamp) = place.read(&mut reader)?;
        let histogram =
            EncodedHistogram::new(reader.raw_text()?).ok_or(DecodeError::Malformed("a histogram's length"))?;
        found.push(HistogramEntry { number, timestamp, histogram });
    }
    Ok(found)
}

pub(crate) fn put_metadata(out: &mut Vec<u8>, metadata: &[MetricMetadata]) {
    for entry in metadata {
        out.push(entry.kind.number());
        put_text(out, &entry.family);
        put_text(out, &entry.help);
        put_text(out, &entry.unit);
    }
}

pub(crate) fn read_metadata(bytes: &[u8]) -> Result<Vec<MetricMetadata>, DecodeError> {
    let (mut reader, mut found) = (Reader::new(bytes), Vec::new());
    while !reader.is_empty() {
        // Kinds that this version does not know are kinds that nothing was said of.
        let kind = MetricKind::ALL.get(usize::from(reader.byte()?)).copied().unwrap_or_default();
        let mut text = || reader.text().map(str::to_owned);
        found.push(MetricMetadata { kind, family: text()?, help: text()?, unit: text()? });
    }
    Ok(found)
}
