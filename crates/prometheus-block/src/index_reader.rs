//! Reads `index`, version 2: which series there are, their labels, and where their chunks lie. The symbols and the list
//! of all series are held in memory; series are read one after the other.

use std::ops::Range;
use std::path::Path;

use model::{Labels, TimeRange};

use crate::bytes::Cursor;
use crate::error::PrometheusError;
use crate::file_window::FileWindow;
use crate::index_writer::{ChunkMeta, FILE, MAGIC, SERIES_ALIGNMENT, TOC_BYTES, VERSION};

/// Of the length before a series.
const MAX_LENGTH_BYTES: u64 = 10;

/// An index whose tables were checked.
#[derive(Debug)]
pub(crate) struct IndexReader {
    file: FileWindow,
    symbols: Vec<u8>,
    /// Where each symbol lies in `symbols`.
    symbol_places: Vec<Range<u32>>,
    /// References of all series, in order of their labels.
    series: Vec<u32>,
}

impl IndexReader {
    pub(crate) fn open(block: &Path) -> Result<Self, PrometheusError> {
        let path = block.join(FILE);
        let mut file = FileWindow::open(&path)?;
        let mut header = Cursor(file.bytes(0, 5)?);
        if header.u32() != Some(MAGIC) {
            return Err(PrometheusError::corrupt(&path, "not an index"));
        }
        match header.u8() {
            Some(VERSION) => {}
            Some(1) => {
                let what = "version 1 of the index is not read; let a Prometheus of version 2.1 or later open the \
                            folder and compact it";
                return Err(PrometheusError::unsupported(&path, what));
            }
            other => {
                let what = format!("version {} of the index is not known; {VERSION} is read", other.unwrap_or(0));
                return Err(PrometheusError::unsupported(&path, what));
            }
        }
        let (symbols_at, postings_table_at) = toc(&mut file)?;
        let (symbols, symbol_places) = read_symbols(&mut file, symbols_at)?;
        let series = match postings_table_at {
            0 => Vec::new(),
            at => read_all_series(&mut file, at)?,
        };
        Ok(Self { file, symbols, symbol_places, series })
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn reference(&self, at: usize) -> Option<u32> {
        self.series.get(at).copied()
    }

    /// Labels of a series; its chunks that touch `range` are added to `chunks`.
    pub(crate) fn series(
        &mut self,
        reference: u32,
        range: TimeRange,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<Labels, PrometheusError> {
        let offset = u64::from(reference) * SERIES_ALIGNMENT;
        let path = self.file.path();
        let corrupt = |what: &str| PrometheusError::corrupt(&path, format!("{what} of the series at {offset}"));
        let mut cursor = Cursor(self.file.up_to(offset, MAX_LENGTH_BYTES)?);
        let before = cursor.0.len();
        let length = cursor.uvarint().ok_or_else(|| corrupt("no length"))?;
        let start = offset + (before - cursor.0.len()) as u64;
        let length = length.checked_add(4).ok_or_else(|| corrupt("an impossible length"))?;
        let whole = self.file.bytes(start, length)?;
        let body = match whole.split_last_chunk::<4>() {
            Some((body, sum)) if crc32c::crc32c(body) == u32::from_be_bytes(*sum) => body,
            _ => return Err(corrupt("a checksum that does not fit")),
        };
        let mut cursor = Cursor(body);
        let symbols = Symbols { bytes: &self.symbols, places: &self.symbol_places };
        let labels = read_labels(&mut cursor, symbols).ok_or_else(|| corrupt("damaged labels"))?;
        read_chunks(&mut cursor, range, chunks).ok_or_else(|| corrupt("damaged chunks"))?;
        Ok(labels)
    }
}

/// Where the symbols and the table of postings are.
fn toc(file: &mut FileWindow) -> Result<(u64, u64), PrometheusError> {
    let path = file.path();
    let corrupt = |what| PrometheusError::corrupt(&path, what);
    let at = file.length().checked_sub(TOC_BYTES).ok_or_else(|| corrupt("the file is too short for an index"))?;
    let bytes = file.bytes(at, TOC_BYTES)?;
    let mut words = [0; 6];
    let mut cursor = Cursor(bytes);
    words.iter_mut().for_each(|word| *word = cursor.u64().unwrap_or(0));
    if cursor.u32() != Some(crc32c::crc32c(&bytes[..6 * 8])) {
        return Err(corrupt("the checksum of the table of contents does not fit; the file is cut off or damaged"));
    }
    let [symbols, _, _, _, _, postings_table] = words;
    Ok((symbols, postings_table))
}

/// The body of a section whose checksum fits.
fn section<'a>(file: &'a mut FileWindow, at: u64, name: &str) -> Result<&'a [u8], PrometheusError> {
    let path = file.path();
    let length = Cursor(file.bytes(at, 4)?).u32().unwrap_or(0);
    match file.bytes(at.saturating_add(4), u64::from(length) + 4)?.split_last_chunk::<4>() {
        Some((body, sum)) if crc32c::crc32c(body) == u32::from_be_bytes(*sum) => Ok(body),
        _ => Err(PrometheusError::corrupt(&path, format!("the checksum of the {name} at {at} does not fit"))),
    }
}

type SymbolTable = (Vec<u8>, Vec<Range<u32>>);

fn read_symbols(file: &mut FileWindow, at: u64) -> Result<SymbolTable, PrometheusError> {
    let path = file.path();
    let body = section(file, at, "symbols")?;
    let places = || {
        let mut cursor = Cursor(body);
        // Each takes a byte at least.
        let count = cursor.u32().map(|c| c as usize).filter(|c| *c <= cursor.0.len())?;
        let mut places = Vec::with_capacity(count);
        for _ in 0..count {
            let text = cursor.text()?;
            // A section is shorter than 4 GiB.
            let end = (body.len() - cursor.0.len()) as u32;
            places.push(end - text.len() as u32..end);
        }
        Some(places)
    };
    let places = places().ok_or_else(|| PrometheusError::corrupt(&path, "damaged symbols"))?;
    Ok((body.to_vec(), places))
}

/// The list behind the empty pair, which stands first.
fn read_all_series(file: &mut FileWindow, table_at: u64) -> Result<Vec<u32>, PrometheusError> {
    let path = file.path();
    let corrupt = |what| PrometheusError::corrupt(&path, what);
    let mut cursor = Cursor(section(file, table_at, "table of postings")?);
    let mut first = || {
        if cursor.u32()? == 0 {
            return Some(None);
        }
        let pair = (cursor.uvarint()?, cursor.text()?, cursor.text()?);
        (pair == (2, "", "")).then_some(Some(cursor.uvarint()?))
    };
    let Some(at) = first().ok_or_else(|| corrupt("the table of postings does not begin with all series"))? else {
        return Ok(Vec::new());
    };
    let mut cursor = Cursor(section(file, at, "postings")?);
    let count = cursor.u32().ok_or_else(|| corrupt("postings without a length"))? as usize;
    if cursor.0.len() != count.saturating_mul(4) {
        return Err(corrupt("the list of all series has another length than it says"));
    }
    let series: Vec<u32> = std::iter::from_fn(|| cursor.u32()).collect();
    if !series.is_sorted_by(|a, b| a < b) {
        return Err(corrupt("the list of all series is not sorted"));
    }
    Ok(series)
}

/// The strings of an index by number.
#[derive(Clone, Copy)]
struct Symbols<'a> {
    bytes: &'a [u8],
    places: &'a [Range<u32>],
}

impl<'a> Symbols<'a> {
    fn get(self, number: u64) -> Option<&'a str> {
        let place = self.places.get(usize::try_from(number).ok()?)?;
        std::str::from_utf8(self.bytes.get(place.start as usize..place.end as usize)?).ok()
    }
}

fn read_labels(cursor: &mut Cursor<'_>, symbols: Symbols<'_>) -> Option<Labels> {
    let count = cursor.length().filter(|c| *c <= cursor.0.len() / 2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((symbols.get(cursor.uvarint()?)?, symbols.get(cursor.uvarint()?)?));
    }
    Labels::from_sorted(pairs.iter().copied())
}

fn read_chunks(cursor: &mut Cursor<'_>, range: TimeRange, into: &mut Vec<ChunkMeta>) -> Option<()> {
    // Three numbers each; what comes from the wire may wrap and is only compared.
    let count = cursor.length().filter(|c| *c <= cursor.0.len() / 3)?;
    let mut before: Option<ChunkMeta> = None;
    for _ in 0..count {
        let first = match before {
            None => cursor.varint()?,
            Some(b) => b.last.wrapping_add(cursor.uvarint()? as i64),
        };
        let last = first.wrapping_add(cursor.uvarint()? as i64);
        let name = match before {
            None => cursor.uvarint()?,
            Some(b) => b.name.wrapping_add(cursor.varint()? as u64),
        };
        let chunk = ChunkMeta { first, last, name };
        if last >= range.start.0 && first <= range.end.0 {
            into.push(chunk);
        }
        before = Some(chunk);
    }
    Some(())
}
