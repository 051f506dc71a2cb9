//! Reading segments, and going on behind what cannot be read.

use std::fmt;

use disk::{Disk, FileBytes};

use crate::LogError;
use crate::files::SegmentInfo;
use crate::format::{self, FRAME_HEADER, Opening, SEGMENT_HEADER, VERSION};

/// Pages are given back after so many bytes, so that replaying a log does not count as memory.
const RELEASE_BYTES: usize = 4 << 20;

/// A part of a segment that holds no valid record. Nothing in it was given to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment}: {bytes} bytes from offset {offset} are {kind}")]
pub struct Damage {
    /// Number of the segment.
    pub segment: u64,
    /// Where in its file the damage begins.
    pub offset: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// What it looks like.
    pub kind: DamageKind,
}

/// What damage looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// It reaches the end of the segment. That is normal after a power loss in the segment that was written last, and
    /// where a write failed; elsewhere it is corruption.
    Torn,
    /// Valid records follow it.
    Corrupt,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torn => "torn",
            Self::Corrupt => "corrupt",
        })
    }
}

/// A segment, opened for reading.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: FileBytes,
    number: u64,
    /// `None` when the segment's header cannot be read.
    marker: Option<[u8; 4]>,
}

/// Opens a segment that no log writes any more: one of those that were there before [`crate::Log::create`], or one before
/// a rotation.
///
/// # Errors
/// [`LogError::NewerVersion`], or when the disk does not let it be read.
pub fn read(disk: &dyn Disk, segment: &SegmentInfo) -> Result<Reader, LogError> {
    let bytes = disk.read(&segment.path)?;
    let marker = match format::opening(&bytes, segment.number) {
        Opening::Known(identity) => Some(identity.marker),
        Opening::Unreadable => None,
        Opening::Newer(found) => {
            return Err(LogError::NewerVersion { path: segment.path.clone(), found, known: VERSION });
        }
    };
    Ok(Reader { bytes, number: segment.number, marker })
}

impl Reader {
    /// The payloads in the order they were appended, straight from the file, and the damage between them. A segment whose
    /// header is damaged begins with that; its records are found without it.
    pub fn records(&self) -> Records<'_> {
        let at = if self.marker.is_some() { SEGMENT_HEADER } else { 0 };
        Records { bytes: &self.bytes, number: self.number, marker: self.marker, at, released: 0 }
    }

    /// The payload of the record that begins at this offset, where a whole one does.
    pub fn record_at(&self, offset: u64) -> Option<&[u8]> {
        let at = usize::try_from(offset).ok()?;
        format::frame(&self.bytes, self.number, self.marker, at).map(|(_, payload)| payload)
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<'a> IntoIterator for &'a Reader {
    type Item = Result<&'a [u8], Damage>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.records()
    }
}

/// The records of a segment: see [`Reader::records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a FileBytes,
    number: u64,
    marker: Option<[u8; 4]>,
    /// Where the next frame begins.
    at: usize,
    /// Pages before this were given back.
    released: usize,
}

impl<'a> Records<'a> {
    /// Where the next record or damage begins: how much of the file has been read.
    pub fn offset(&self) -> u64 {
        self.at as u64
    }

    /// The first place from `from` on where a whole frame begins; the end of the file where there is none.
    fn next_frame(&self, from: usize) -> usize {
        let bytes: &[u8] = self.bytes;
        let mut at = from;
        while at < bytes.len() {
            if let Some(marker) = self.marker {
                match bytes[at..].windows(marker.len()).position(|window| window == marker) {
                    Some(distance) => at += distance,
                    None => break,
                }
            }
            if format::frame(bytes, self.number, self.marker, at).is_some() {
                return at;
            }
            at += 1;
        }
        bytes.len()
    }

    fn release(&mut self) {
        if self.at - self.released >= RELEASE_BYTES {
            self.bytes.release(self.released..self.at);
            self.released = self.at;
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes: &'a [u8] = self.bytes;
        self.release();
        if self.at >= bytes.len() {
            return None;
        }
        if let Some((marker, payload)) = format::frame(bytes, self.number, self.marker, self.at) {
            self.marker = Some(marker);
            self.at += FRAME_HEADER + payload.len();
            return Some(Ok(payload));
        }
        let from = self.at;
        self.at = self.next_frame(SEGMENT_HEADER.max(from + 1));
        let kind = if self.at == bytes.len() { DamageKind::Torn } else { DamageKind::Corrupt };
        let (offset, length) = (from as u64, (self.at - from) as u64);
        Some(Err(Damage { segment: self.number, offset, bytes: length, kind }))
    }
}
