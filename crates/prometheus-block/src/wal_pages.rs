//! Segments of a write-ahead log: pages of 32 KiB with fragments of records, each with its checksum. What is damaged is
//! named and passed over: reading goes on at the next page.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zstd::stream::read::Decoder;

use crate::bytes::Cursor;
use crate::error::PrometheusError;

const PAGE_BYTES: usize = 32 << 10;
/// Type, length, checksum.
const HEADER_BYTES: usize = 7;
/// A record may be this large; Prometheus writes a scrape or a request at a time.
const MAX_RECORD_BYTES: usize = 256 << 20;

const KIND_MASK: u8 = 0b111;
const SNAPPY: u8 = 0b1000;
const ZSTD: u8 = 0b1_0000;

/// A fragment's place in its record.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// The records of one segment.
pub(crate) struct SegmentReader<'a> {
    path: &'a Path,
    input: Box<dyn Read + 'a>,
    page: Vec<u8>,
    /// Where in the file the page begins.
    page_start: u64,
    at: usize,
    /// After damage: what follows of a record is not worth a word.
    lost: bool,
    /// The record as it lies in the file.
    raw: Vec<u8>,
    record: Vec<u8>,
}

/// What came next in a segment.
pub(crate) enum Next<'a> {
    /// A whole record.
    Record(&'a [u8]),
    /// Something that cannot be read: where it is and what.
    Damage(u64, &'static str),
    /// The end.
    End,
}

/// What a fragment made of the record.
enum Step {
    Complete(u8),
    GoOn,
    Damage(u64, &'static str),
}

impl<'a> SegmentReader<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self, PrometheusError> {
        let file = File::open(path).map_err(PrometheusError::io(path))?;
        Ok(Self::new(path, Box::new(file)))
    }

    pub(crate) fn new(path: &'a Path, input: Box<dyn Read + 'a>) -> Self {
        Self { path, input, page: Vec::new(), page_start: 0, at: 0, lost: false, raw: Vec::new(), record: Vec::new() }
    }

    /// Where the next record begins, or padding before it.
    pub(crate) fn position(&self) -> u64 {
        self.page_start + self.at as u64
    }

    /// Reads on until a record is complete, or something is wrong. After damage the next call goes on behind it.
    pub(crate) fn next(&mut self) -> Result<Next<'_>, PrometheusError> {
        self.raw.clear();
        let mut begun: Option<u8> = None;
        loop {
            if self.at + HEADER_BYTES > self.page.len() && !self.next_page()? {
                return Ok(match begun {
                    Some(_) => Next::Damage(self.page_start, "the last record is cut off"),
                    None => Next::End,
                });
            }
            match self.fragment(&mut begun) {
                Step::GoOn => {}
                Step::Damage(at, what) => {
                    self.lost = true;
                    return Ok(Next::Damage(at, what));
                }
                Step::Complete(compression) => return Ok(self.decompress(compression)),
            }
        }
    }

    /// False at the end of the file.
    fn next_page(&mut self) -> Result<bool, PrometheusError> {
        self.page_start += self.page.len() as u64;
        self.page.resize(PAGE_BYTES, 0);
        self.at = 0;
        let mut filled = 0;
        while filled < PAGE_BYTES {
            match self.input.read(&mut self.page[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PrometheusError::io(self.path)(error)),
            }
        }
        self.page.truncate(filled);
        Ok(filled > 0)
    }

    /// Takes the fragment that begins here into the record. The page holds bytes from here on.
    fn fragment(&mut self, begun: &mut Option<u8>) -> Step {
        let here = self.page_start + self.at as u64;
        let mut cursor = Cursor(self.page.get(self.at..).unwrap_or(&[]));
        let mut header = || Some((cursor.u8()?, usize::from(cursor.u16()?), cursor.u32()?));
        let Some((kind, length, checksum)) = header() else {
            // A page of a few bytes: only where the file was cut.
            self.at = self.page.len();
            return Step::Damage(here, "the last record is cut off");
        };
        if kind & KIND_MASK == 0 {
            // The rest of the page is empty.
            self.at = self.page.len();
            return Step::GoOn;
        }
        let cut_short = self.page.len() < PAGE_BYTES;
        let data = cursor.take(length).filter(|data| crc32c::crc32c(data) == checksum);
        let Some(data) = data else {
            self.at = self.page.len();
            let what = if cut_short { "the last record is cut off" } else { "a checksum does not fit" };
            return Step::Damage(here, what);
        };
        self.at += HEADER_BYTES + length;
        match (kind & KIND_MASK, *begun) {
            (FULL | FIRST, Some(_)) => {
                // Read again as the beginning that it is.
                self.at -= HEADER_BYTES + length;
                return Step::Damage(here, "a record has no end");
            }
            (MIDDLE | LAST, None) if self.lost => return Step::GoOn,
            (MIDDLE | LAST, None) => return Step::Damage(here, "a record has no beginning"),
            (FULL..=LAST, _) => self.lost = false,
            _ => return Step::Damage(here, "an unknown kind of fragment"),
        }
        if self.raw.len() + length > MAX_RECORD_BYTES {
            return Step::Damage(here, "a record is larger than 256 MiB");
        }
        self.raw.extend_from_slice(data);
        let compression = begun.unwrap_or(kind & (SNAPPY | ZSTD));
        *begun = Some(compression);
        if matches!(kind & KIND_MASK, FULL | LAST) { Step::Complete(compression) } else { Step::GoOn }
    }

    fn decompress(&mut self, compression: u8) -> Next<'_> {
        if compression & (SNAPPY | ZSTD) == 0 {
            return Next::Record(&self.raw);
        }
        self.record.clear();
        let read = if compression & ZSTD == 0 { self.read_snappy() } else { self.read_zstd() };
        match read {
            Some(()) => Next::Record(&self.record),
            None => {
                let at = self.page_start + self.at as u64;
                Next::Damage(at, "a record before here cannot be decompressed")
            }
        }
    }

    fn read_snappy(&mut self) -> Option<()> {
        let length = snap::raw::decompress_len(&self.raw).ok().filter(|length| *length <= MAX_RECORD_BYTES)?;
        self.record.resize(length, 0);
        let length = snap::raw::Decoder::new().decompress(&self.raw, &mut self.record).ok()?;
        self.record.truncate(length);
        Some(())
    }

    /// What a frame says of its length is not believed: reading ends when there is too much.
    fn read_zstd(&mut self) -> Option<()> {
        let frame = Decoder::with_buffer(self.raw.as_slice()).ok()?.single_frame();
        frame.take(MAX_RECORD_BYTES as u64 + 1).read_to_end(&mut self.record).ok()?;
        (self.record.len() <= MAX_RECORD_BYTES).then_some(())
    }
}
