//! What one append leaves in the WAL: the samples it stored, the series they need to be understood, and metadata of
//! families. Columns rather than rows: neighbouring samples have neighbouring references and times, which makes a byte of
//! each. docs/formats/wal.md has every byte.

use model::{EncodedHistogram, Labels, MetricKind, MetricMetadata};
use segment_log::Record;

mod histograms;

pub(crate) use histograms::{Row as HistogramRecordRow, encode_histograms};

/// The first byte of a record of samples and metadata, and of one of native histograms; another one is from a newer
/// version.
const KIND_APPEND: u8 = 1;
const KIND_HISTOGRAMS: u8 = 2;
/// A value that is no small integer follows this byte as its eight own. Integers have an even first byte.
const RAW_VALUE: u8 = 1;
/// Integers up to this are exact in a float, and leave room for sign and tag in a variable-length number.
const MAX_INTEGER: f64 = (1u64 << 53) as f64;

/// Why a record of the WAL cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Bytes that this version does not write.
    #[error("record of an unknown kind {0}")]
    UnknownKind(u8),
    /// It ends too early, or holds a number, string or label set that cannot be.
    #[error("malformed record: {0}")]
    Malformed(&'static str),
}

/// What a record says without being decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    /// The generation whose references it uses.
    pub(crate) generation: u64,
    /// The smallest time of its samples, in milliseconds since the epoch.
    pub(crate) min: i64,
    /// The largest.
    pub(crate) max: i64,
}

/// A decoded record. Reused from record to record; the columns have equal lengths.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) header: Header,
    pub(crate) definitions: Vec<(u32, Labels)>,
    pub(crate) references: Vec<u32>,
    pub(crate) timestamps: Vec<i64>,
    pub(crate) values: Vec<f64>,
    pub(crate) metadata: Vec<MetricMetadata>,
    /// Reference, time in milliseconds, histogram: of a record that has nothing but these.
    pub(crate) histograms: Vec<(u32, i64, EncodedHistogram)>,
}

/// Appends the encoded record to `out`. `rows` is walked once for the bounds and once for each column.
pub(crate) fn encode(
    out: &mut Record,
    generation: u64,
    definitions: &[(u32, Labels)],
    rows: impl ExactSizeIterator<Item = (u32, i64, f64)> + Clone,
    metadata: &[&MetricMetadata],
) {
    // Most samples take three to ten bytes.
    out.reserve(rows.len() * 8 + 64);
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for (_, timestamp, _) in rows.clone() {
        min = min.min(timestamp);
        max = max.max(timestamp);
    }
    if min > max {
        (min, max) = (0, 0);
    }
    put_header(out, KIND_APPEND, &Header { generation, min, max });
    put_definitions(out, definitions);
    put_number(out, rows.len() as u64);
    let mut previous = 0i64;
    for (reference, _, _) in rows.clone() {
        put_number(out, zigzag(i64::from(reference) - previous));
        previous = i64::from(reference);
    }
    let mut previous = min;
    for (_, timestamp, _) in rows.clone() {
        put_number(out, zigzag(timestamp.wrapping_sub(previous)));
        previous = timestamp;
    }
    for (_, _, value) in rows {
        put_value(out, value);
    }
    put_number(out, metadata.len() as u64);
    for entry in metadata {
        put_metadata(out, entry);
    }
}

fn put_header(out: &mut Record, kind: u8, header: &Header) {
    out.push(kind);
    put_number(out, header.generation);
    put_number(out, zigzag(header.min));
    put_number(out, header.max.wrapping_sub(header.min) as u64);
}

fn put_definitions(out: &mut Record, definitions: &[(u32, Labels)]) {
    put_number(out, definitions.len() as u64);
    for (reference, labels) in definitions {
        put_number(out, u64::from(*reference));
        put_number(out, labels.len() as u64);
        for (name, value) in labels.iter() {
            put_text(out, name);
            put_text(out, value);
        }
    }
}

/// What a record says in its first bytes.
///
/// # Errors
/// When those bytes are not those of a record.
pub(crate) fn header(payload: &[u8]) -> Result<Header, RecordError> {
    Reader::new(payload).header()
}

/// Reads a record of the WAL and forgets it. Returns how many samples it holds.
///
/// # Errors
/// When the bytes are not a record.
pub fn check_wal_record(payload: &[u8]) -> Result<usize, RecordError> {
    let mut decoded = Decoded::default();
    decode(payload, &mut decoded).map(|()| decoded.values.len() + decoded.histograms.len())
}

/// Reads a record into `into`, whose old content is forgotten.
///
/// # Errors
/// When the bytes are not a record as [`encode`] writes it; `into` is then of no use.
pub(crate) fn decode(payload: &[u8], into: &mut Decoded) -> Result<(), RecordError> {
    let Decoded { header, definitions, references, timestamps, values, metadata, histograms: found } = into;
    definitions.clear();
    references.clear();
    timestamps.clear();
    values.clear();
    metadata.clear();
    found.clear();
    let mut reader = Reader::new(payload);
    *header = reader.header()?;
    reader.definitions(definitions)?;
    if payload.first() == Some(&KIND_HISTOGRAMS) {
        histograms::read_histograms(&mut reader, header, found)?;
        return reader.end();
    }
    let count = reader.count(3)?;
    let mut previous = 0i64;
    references.reserve(count);
    for _ in 0..count {
        previous = previous.wrapping_add(unzigzag(reader.number()?));
        references.push(u32::try_from(previous).map_err(|_| RecordError::Malformed("reference"))?);
    }
    let mut previous = header.min;
    timestamps.reserve(count);
    for _ in 0..count {
        previous = previous.wrapping_add(unzigzag(reader.number()?));
        if previous < header.min || previous > header.max {
            return Err(RecordError::Malformed("time outside the record's own"));
        }
        timestamps.push(previous);
    }
    values.reserve(count);
    for _ in 0..count {
        values.push(reader.value()?);
    }
    for _ in 0..reader.count(4)? {
        metadata.push(reader.metadata()?);
    }
    reader.end()
}

#[inline]
pub(crate) fn put_number(out: &mut Record, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_text(out: &mut Record, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[inline]
fn put_value(out: &mut Record, value: f64) {
    // The cast saturates and makes NaN zero; comparing bits tells those, fractions and minus zero apart.
    let integer = value as i64;
    if value.abs() <= MAX_INTEGER && (integer as f64).to_bits() == value.to_bits() {
        put_number(out, zigzag(integer) << 1);
    } else {
        out.push(RAW_VALUE);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
}

fn put_metadata(out: &mut Record, entry: &MetricMetadata) {
    out.push(entry.kind.number());
    put_text(out, &entry.family);
    put_text(out, &entry.help);
    put_text(out, &entry.unit);
}

#[inline]
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

#[inline]
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The bytes of a record that were not read yet.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), RecordError> {
        if self.rest.is_empty() { Ok(()) } else { Err(RecordError::Malformed("bytes after its end")) }
    }

    /// Eight bytes, little-endian.
    pub(crate) fn word(&mut self) -> Result<u64, RecordError> {
        let (raw, rest) = self.rest.split_first_chunk::<8>().ok_or(RecordError::Malformed("ends too early"))?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*raw))
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, RecordError> {
        let (first, rest) = self.rest.split_first().ok_or(RecordError::Malformed("ends too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, RecordError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut number = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(RecordError::Malformed("number too long"))
    }

    /// A number of things of at least `each` bytes: never more than the rest can hold, so that it may be allocated for.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, RecordError> {
        let count = usize::try_from(self.number()?).map_err(|_| RecordError::Malformed("count"))?;
        if count > self.rest.len() / each {
            return Err(RecordError::Malformed("count larger than the record"));
        }
        Ok(count)
    }

    fn header(&mut self) -> Result<Header, RecordError> {
        match self.byte()? {
            KIND_APPEND | KIND_HISTOGRAMS => {}
            kind => return Err(RecordError::UnknownKind(kind)),
        }
        let generation = self.number()?;
        let min = unzigzag(self.number()?);
        let span = i64::try_from(self.number()?).map_err(|_| RecordError::Malformed("times"))?;
        let max = min.checked_add(span).ok_or(RecordError::Malformed("times"))?;
        Ok(Header { generation, min, max })
    }

    fn definitions(&mut self, into: &mut Vec<(u32, Labels)>) -> Result<(), RecordError> {
        let mut pairs = Vec::new();
        for _ in 0..self.count(2)? {
            let reference = self.reference()?;
            pairs.clear();
            for _ in 0..self.count(2)? {
                pairs.push((self.text()?, self.text()?));
            }
            let labels = Labels::from_sorted(pairs.iter().copied());
            into.push((reference, labels.ok_or(RecordError::Malformed("labels out of order"))?));
        }
        Ok(())
    }

    fn reference(&mut self) -> Result<u32, RecordError> {
        u32::try_from(self.number()?).map_err(|_| RecordError::Malformed("reference"))
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(RecordError::Malformed("ends too early"))?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, RecordError> {
        let length = self.count(1)?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| RecordError::Malformed("text is not UTF-8"))
    }

    #[inline]
    fn value(&mut self) -> Result<f64, RecordError> {
        if let Some((&RAW_VALUE, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(f64::from_bits(self.word()?));
        }
        let number = self.number()?;
        if number & 1 == 1 {
            return Err(RecordError::Malformed("value"));
        }
        Ok(unzigzag(number >> 1) as f64)
    }

    fn metadata(&mut self) -> Result<MetricMetadata, RecordError> {
        let kind = MetricKind::ALL.get(usize::from(self.byte()?)).ok_or(RecordError::Malformed("metric kind"))?;
        Ok(MetricMetadata {
            kind: *kind,
            family: self.text()?.to_owned(),
            help: self.text()?.to_owned(),
            unit: self.text()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = (u32, i64, f64);

    fn encoded(definitions: &[(u32, Labels)], rows: &[Row], metadata: &[MetricMetadata]) -> Vec<u8> {
        let mut out = Record::new();
        encode(&mut out, 7, definitions, rows.iter().copied(), &metadata.iter().collect::<Vec<_>>());
        out.to_vec()
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-5i64..5000).prop_map(|v| v as f64),
            prop::sample::select(vec![0.0, -0.0, 9_007_199_254_740_992.0, -9_007_199_254_740_993.0, f64::INFINITY]),
            Just(model::stale_nan()),
        ]
    }

    #[test]
    fn a_steady_stream_of_small_integers_takes_three_bytes_a_sample() {
        let rows: Vec<Row> = (0..1000).map(|n| (n, 1_700_000_000_000, f64::from(n % 30))).collect();
        assert!(encoded(&[], &rows, &[]).len() < 3 * 1000 + 20);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(decode(&[9], &mut Decoded::default()), Err(RecordError::UnknownKind(9)));
        assert!(header(&[]).is_err());
        // A count that no record of this length can hold is refused before memory is taken for it.
        let mut huge = Record::new();
        huge.extend_from_slice(&[KIND_APPEND, 0, 0, 0, 0]);
        put_number(&mut huge, u64::MAX >> 1);
        assert_eq!(decode(&huge, &mut Decoded::default()), Err(RecordError::Malformed("count larger than the record")));
    }

    proptest! {
        #[test]
        fn comes_back_bit_for_bit(
            definitions in prop::collection::vec((any::<u32>(), prop::collection::btree_map("[a-z]{1,4}", "\\PC{1,9}", 0..5)), 0..4),
            rows in prop::collection::vec((any::<u32>(), 0i64..=1 << 60, any_value()), 0..40),
            metadata in prop::collection::vec(("[a-z]{0,9}", "\\PC{0,9}", 0usize..8), 0..3),
        ) {
            let definitions: Vec<_> = definitions.into_iter().map(|(r, l)| (r, Labels::from_pairs(l))).collect();
            let metadata: Vec<_> = metadata
                .into_iter()
                .map(|(family, help, kind)| MetricMetadata { family, help, kind: MetricKind::ALL[kind], unit: "s".into() })
                .collect();
            let bytes = encoded(&definitions, &rows, &metadata);
            let mut back = Decoded::default();
            prop_assert_eq!(decode(&bytes, &mut back), Ok(()));
            prop_assert_eq!(&back.definitions, &definitions);
            prop_assert_eq!(&back.metadata, &metadata);
            let found: Vec<_> = back.references.iter().zip(&back.timestamps).zip(&back.values)
                .map(|((r, t), v)| (*r, *t, v.to_bits())).collect();
            let want: Vec<_> = rows.iter().map(|(r, t, v)| (*r, *t, v.to_bits())).collect();
            prop_assert_eq!(found, want);
            if let Some(max) = rows.iter().map(|r| r.1).max() {
                prop_assert_eq!(header(&bytes).map(|h| (h.generation, h.max)), Ok((7, max)));
            }
            // Cut anywhere it is an error, never a panic and never something shorter.
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end], &mut back).is_err());
            }
        }

        #[test]
        fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut with_kind = vec![KIND_APPEND];
            with_kind.extend_from_slice(&bytes);
            let _ = (decode(&bytes, &mut Decoded::default()), decode(&with_kind, &mut Decoded::default()));
        }
    }
}
