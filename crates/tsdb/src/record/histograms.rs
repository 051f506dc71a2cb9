//! Records of native histograms: a kind of their own, so that those of samples stay columns of numbers.

use head::SeriesRef;
use model::{EncodedHistogram, Labels};
use segment_log::Record;

use super::{Header, KIND_HISTOGRAMS, Reader, RecordError, put_definitions, put_header, put_number, unzigzag, zigzag};

/// A histogram with its series and its time in milliseconds.
pub(crate) type Row = (SeriesRef, i64, EncodedHistogram);

/// Appends the encoded record to `out`.
pub(crate) fn encode_histograms(out: &mut Record, generation: u64, definitions: &[(u32, Labels)], rows: &[Row]) {
    let times = || rows.iter().map(|(_, at, _)| *at);
    let (min, max) = times().min().zip(times().max()).unwrap_or((0, 0));
    put_header(out, KIND_HISTOGRAMS, &Header { generation, min, max });
    put_definitions(out, definitions);
    put_number(out, rows.len() as u64);
    let (mut reference, mut time) = (0i64, min);
    for (series, at, histogram) in rows {
        put_number(out, zigzag(i64::from(series.0) - reference));
        put_number(out, zigzag(at.wrapping_sub(time)));
        put_number(out, histogram.as_bytes().len() as u64);
        out.extend_from_slice(histogram.as_bytes());
        (reference, time) = (i64::from(series.0), *at);
    }
}

/// Reads what follows the definitions.
pub(super) fn read_histograms(
    reader: &mut Reader<'_>,
    header: &Header,
    into: &mut Vec<(u32, i64, EncodedHistogram)>,
) -> Result<(), RecordError> {
    let (mut reference, mut time) = (0i64, header.min);
    for _ in 0..reader.count(4)? {
        reference = reference.wrapping_add(unzigzag(reader.number()?));
        time = time.wrapping_add(unzigzag(reader.number()?));
        if !(header.min..=header.max).contains(&time) {
            return Err(RecordError::Malformed("time outside the record's own"));
        }
        let length = reader.count(1)?;
        let histogram = EncodedHistogram::new(reader.bytes(length)?);
        let histogram = histogram.ok_or(RecordError::Malformed("length of a histogram"))?;
        let reference = u32::try_from(reference).map_err(|_| RecordError::Malformed("reference"))?;
        into.push((reference, time, histogram));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Decoded, decode, header};

    proptest! {
        #[test]
        fn comes_back(rows in prop::collection::vec((any::<u32>(), 0i64..=1 << 60, prop::collection::vec(any::<u8>(), 1..30)), 0..20)) {
            let histogram = |bytes: &[u8]| EncodedHistogram::new(bytes).expect("is short enough");
            let rows: Vec<Row> = rows.iter().map(|(s, at, bytes)| (SeriesRef(*s), *at, histogram(bytes))).collect();
            let definitions = [(7, Labels::from_pairs([("a", "b")]))];
            let mut out = Record::new();
            encode_histograms(&mut out, 3, &definitions, &rows);
            let mut decoded = Decoded::default();
            prop_assert_eq!(decode(&out, &mut decoded), Ok(()));
            prop_assert_eq!(Ok(decoded.header), header(&out));
            prop_assert_eq!(decoded.header.generation, 3);
            prop_assert_eq!(&decoded.definitions[..], &definitions[..]);
            let found: Vec<Row> = decoded.histograms.drain(..).map(|(s, at, h)| (SeriesRef(s), at, h)).collect();
            prop_assert_eq!(found, rows);
            prop_assert!(decoded.references.is_empty());
            for cut in 0..out.len() {
                prop_assert!(decode(&out[..cut], &mut decoded).is_err());
            }
        }
    }
}
