//! The outer shape of a block file: its first and last bytes, its sections, and the frame around each chunk.
//! Described byte by byte in `docs/formats/block.md`.

use std::ops::Range;

use crate::bytes::Cursor;
use crate::error::Malformed;

/// The version written, and the newest that is read.
pub const VERSION: u32 = 1;
/// The first and the last eight bytes of a block file.
pub(crate) const MAGIC: &[u8; 8] = b"HWBLOCK\n";
/// Magic, version, pco's version, two zeros.
pub(crate) const HEADER_BYTES: usize = 16;
/// Length and checksum of the section table, version, magic.
pub(crate) const TAIL_BYTES: usize = 20;
const SECTION_BYTES: usize = 24;
const FRAME_BYTES: usize = 12;

/// What a section holds. The numbers are those in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum SectionKind {
    /// `BlockMeta` as JSON.
    Meta = 1,
    /// Label names, and which of them series have.
    Catalog = 2,
    /// The values of each label.
    Values = 3,
    /// The labels of each series.
    Series = 4,
    /// The series of each value.
    Postings = 5,
    /// Where the chunks of patterns are.
    Patterns = 6,
    /// Where the chunks of histograms are. Not there in a block without histograms.
    Histograms = 7,
    /// Where the chunks of values are; one section per column, numbered from here.
    Chunks = 16,
}

/// What people call a section.
pub(crate) fn section_name(kind: u32) -> String {
    match kind {
        1 => "meta".to_owned(),
        2 => "catalog".to_owned(),
        3 => "values".to_owned(),
        4 => "series".to_owned(),
        5 => "postings".to_owned(),
        6 => "patterns".to_owned(),
        7 => "histograms".to_owned(),
        column => format!("chunks {}", column.wrapping_sub(SectionKind::Chunks as u32)),
    }
}

/// One section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: u32,
    pub(crate) crc: u32,
    pub(crate) range: Range<usize>,
}

/// The first bytes of a file.
pub(crate) fn header(pco_version: [u8; 2]) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..14].copy_from_slice(&pco_version);
    out
}

/// The last bytes of a file: the section table and the tail.
pub(crate) fn footer(header: &[u8], sections: &[Section]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sections.len() * SECTION_BYTES + TAIL_BYTES);
    for section in sections {
        out.extend_from_slice(&section.kind.to_le_bytes());
        out.extend_from_slice(&section.crc.to_le_bytes());
        out.extend_from_slice(&(section.range.start as u64).to_le_bytes());
        out.extend_from_slice(&(section.range.len() as u64).to_le_bytes());
    }
    let table = out.len() as u32;
    let crc = footer_crc(header, &out, table);
    out.extend_from_slice(&table.to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(MAGIC);
    out
}

/// The checksum covers the header too. The version is not in it a second time: both copies must be equal.
fn footer_crc(header: &[u8], table: &[u8], length: u32) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(header), table);
    crc32c::crc32c_append(crc, &length.to_le_bytes())
}

/// Why a file was not accepted.
pub(crate) enum Refusal {
    Newer(u32),
    Malformed(u64, Malformed),
}

/// Checks the first and last bytes and returns the sections. Touches nothing between.
pub(crate) fn read_outline(file: &[u8]) -> Result<Vec<Section>, Refusal> {
    let malformed = |offset: usize, what| Refusal::Malformed(offset as u64, Malformed(what));
    if file.get(..8) != Some(MAGIC) {
        return Err(malformed(0, "does not begin as a block file does"));
    }
    let version = Cursor::at(file, 8).and_then(|mut c| c.u32()).map_err(|m| Refusal::Malformed(8, m))?;
    if version > VERSION {
        return Err(Refusal::Newer(version));
    }
    if version == 0 || file.len() < HEADER_BYTES + TAIL_BYTES || file[14..16] != [0, 0] {
        return Err(malformed(8, "its header is damaged"));
    }
    let tail_at = file.len() - TAIL_BYTES;
    let mut tail = Cursor::new(&file[tail_at..]);
    let read = |cursor: &mut Cursor<'_>| cursor.u32().map_err(|m| Refusal::Malformed(tail_at as u64, m));
    let (table, crc, tail_version) = (read(&mut tail)?, read(&mut tail)?, read(&mut tail)?);
    if file[file.len() - 8..] != *MAGIC || tail_version != version {
        return Err(malformed(tail_at, "its last bytes are missing or damaged"));
    }
    let Some(table_at) = tail_at.checked_sub(table as usize).filter(|&at| at >= HEADER_BYTES) else {
        return Err(malformed(tail_at, "its section table does not fit"));
    };
    let bytes = &file[table_at..tail_at];
    if footer_crc(&file[..HEADER_BYTES], bytes, table) != crc {
        return Err(malformed(table_at, "its section table fails its checksum"));
    }
    sections(bytes, table_at).map_err(|m| Refusal::Malformed(table_at as u64, m))
}

/// Reads the section table. Sections lie one after another and end where the table begins.
fn sections(table: &[u8], table_at: usize) -> Result<Vec<Section>, Malformed> {
    let mut cursor = Cursor::new(table);
    let mut sections: Vec<Section> = Vec::with_capacity(table.len() / SECTION_BYTES);
    while cursor.remaining() > 0 {
        let (kind, crc, start, length) = (cursor.u32()?, cursor.u32()?, cursor.u64()?, cursor.u64()?);
        let outside = Malformed("a section lies outside the file");
        let start = usize::try_from(start).map_err(|_| outside)?;
        let end = usize::try_from(length).ok().and_then(|l| start.checked_add(l)).ok_or(outside)?;
        if start < HEADER_BYTES || end > table_at || sections.last().is_some_and(|s| s.range.end != start) {
            return Err(outside);
        }
        sections.push(Section { kind, crc, range: start..end });
    }
    if sections.last().is_some_and(|s| s.range.end == table_at) {
        Ok(sections)
    } else {
        Err(Malformed("sections are missing"))
    }
}

/// Puts a frame around a chunk: a head that says what is in it, and a body that is read less often, each with a checksum.
pub(crate) fn put_frame(head: &[u8], body: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&(head.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out[at..]), head);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(head);
    out.extend_from_slice(body);
}

/// A chunk whose head is checked.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) head: &'a [u8],
    body: &'a [u8],
    body_crc: u32,
}

impl<'a> Frame<'a> {
    /// Checks the head.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let (length, body_crc, head_crc) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let head = cursor.take(length as usize)?;
        if crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), head) != head_crc {
            return Err(Malformed("the head of a chunk fails its checksum"));
        }
        Ok(Self { head, body: &bytes[FRAME_BYTES + head.len()..], body_crc })
    }

    /// How long the body is.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Checks the body.
    pub(crate) fn body(&self) -> Result<&'a [u8], Malformed> {
        if crc32c::crc32c(self.body) == self.body_crc {
            Ok(self.body)
        } else {
            Err(Malformed("a chunk fails its checksum"))
        }
    }
}
