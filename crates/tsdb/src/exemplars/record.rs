//! Exemplars as a record of their log: series by series, each with those that follow one another (docs/formats/exemplars.md).

use model::{Exemplar, ExemplarRow, Labels, TimestampMs};
use segment_log::Record;

use crate::record::{Reader, RecordError, put_number, put_text, unzigzag, zigzag};

/// The first byte of a record; another one is from a newer version.
const KIND_EXEMPLARS: u8 = 1;

/// Appends the encoded record to `out`.
pub(super) fn encode(out: &mut Record, rows: &[&ExemplarRow]) {
    out.push(KIND_EXEMPLARS);
    let groups = || rows.chunk_by(|a, b| a.series == b.series);
    put_number(out, groups().count() as u64);
    for group in groups() {
        // Groups are never empty.
        group.iter().take(1).for_each(|row| put_labels(out, &row.series));
        put_number(out, group.len() as u64);
        for ExemplarRow { exemplar, .. } in group {
            put_labels(out, &exemplar.labels);
            put_number(out, zigzag(exemplar.timestamp.0));
            out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        }
    }
}

fn put_labels(out: &mut Record, labels: &Labels) {
    put_number(out, labels.len() as u64);
    for (name, value) in labels.iter() {
        put_text(out, name);
        put_text(out, value);
    }
}

/// Reads a record and gives every exemplar of it to `each`.
///
/// # Errors
/// When the bytes are not a record as [`encode`] writes it; some of its exemplars were given away by then.
pub(super) fn decode(payload: &[u8], mut each: impl FnMut(ExemplarRow)) -> Result<(), RecordError> {
    let mut reader = Reader::new(payload);
    match reader.byte()? {
        KIND_EXEMPLARS => {}
        kind => return Err(RecordError::UnknownKind(kind)),
    }
    for _ in 0..reader.count(2)? {
        let series = labels(&mut reader)?;
        for _ in 0..reader.count(10)? {
            let labels = labels(&mut reader)?;
            let timestamp = TimestampMs(unzigzag(reader.number()?));
            let value = f64::from_bits(reader.word()?);
            each(ExemplarRow { series: series.clone(), exemplar: Exemplar { labels, value, timestamp } });
        }
    }
    reader.end()
}

fn labels(reader: &mut Reader<'_>) -> Result<Labels, RecordError> {
    let mut pairs = Vec::new();
    for _ in 0..reader.count(2)? {
        pairs.push((reader.text()?, reader.text()?));
    }
    Labels::from_sorted(pairs.into_iter()).ok_or(RecordError::Malformed("labels out of order"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(payload: &[u8]) -> Result<Vec<ExemplarRow>, RecordError> {
        let mut rows = Vec::new();
        decode(payload, |row| rows.push(row)).map(|()| rows)
    }

    #[test]
    fn a_record_has_the_bytes_that_are_documented() {
        let exemplar = Exemplar { labels: Labels::from_pairs([("t", "1")]), value: 2.0, timestamp: TimestampMs(-1) };
        let row = ExemplarRow { series: Labels::from_pairs([("__name__", "m")]), exemplar };
        let mut record = Record::new();
        encode(&mut record, &[&row, &row]);
        let one = b"\x01\x01t\x011\x01\0\0\0\0\0\0\0\x40";
        assert_eq!(record.to_vec(), [&b"\x01\x01\x01\x08__name__\x01m\x02"[..], one, one].concat());
        assert_eq!(decoded(&record), Ok(vec![row.clone(), row]));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(decoded(&[9]), Err(RecordError::UnknownKind(9)));
        assert!(decoded(&[]).is_err());
        assert!(decoded(&[1, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
        assert!(decoded(&[1, 0, 0]).is_err(), "bytes behind the end");
    }

    proptest! {
        #[test]
        fn comes_back_bit_for_bit(
            rows in prop::collection::vec((0u8..3, "\\PC{0,9}", any::<u64>(), any::<i64>()), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(series, trace, bits, at)| ExemplarRow {
                series: Labels::from_pairs([("__name__", format!("m{series}"))]),
                exemplar: Exemplar {
                    labels: Labels::from_pairs([("trace_id", trace)]),
                    value: f64::from_bits(bits),
                    timestamp: TimestampMs(at),
                },
            }).collect();
            let mut record = Record::new();
            encode(&mut record, &rows.iter().collect::<Vec<_>>());
            let back = decoded(&record).expect("is whole");
            let bits = |rows: &[ExemplarRow]| -> Vec<_> {
                rows.iter().map(|r| (r.series.clone(), r.exemplar.labels.clone(), r.exemplar.value.to_bits(), r.exemplar.timestamp)).collect()
            };
            prop_assert_eq!(bits(&back), bits(&rows));
            prop_assert!(decoded(&record[..cut.index(record.len())]).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&bytes);
        }
    }
}
