//! The bytes of a segment (docs/formats/segment-log.md): a header, then frames. All numbers are little-endian.

/// The version that is written.
pub const VERSION: u32 = 1;

/// The largest payload of a record.
pub const MAX_RECORD_BYTES: usize = 256 << 20;

/// Bytes before the first frame.
pub(crate) const SEGMENT_HEADER: usize = 32;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEADER: usize = 16;

const MAGIC: &[u8; 8] = b"HWSEGLOG";
/// Of the segment's header: what its checksum covers.
const SEGMENT_CHECKED: usize = SEGMENT_HEADER - 4;
/// Of a frame's header: what its checksum covers, after the segment's number and the frame's offset.
const FRAME_CHECKED: usize = FRAME_HEADER - 4;

/// What the frames of a segment carry so that those of another segment, or of an earlier life of the same disk sectors,
/// do not pass for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The segment's number.
    pub(crate) number: u64,
    /// Drawn when the segment was created; begins every frame, where the reader looks for it behind damage.
    pub(crate) marker: [u8; 4],
}

impl Identity {
    /// The header of the segment.
    pub(crate) fn segment_header(self) -> [u8; SEGMENT_HEADER] {
        let mut header = [0; SEGMENT_HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..20].copy_from_slice(&self.number.to_le_bytes());
        header[20..24].copy_from_slice(&self.marker);
        // 24..28 is zero.
        let checksum = crc32c::crc32c(&header[..SEGMENT_CHECKED]);
        header[SEGMENT_CHECKED..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// The header of a frame at `offset` of the segment. `length` is at most [`MAX_RECORD_BYTES`].
    pub(crate) fn frame_header(self, offset: u64, length: u32, payload_checksum: u32) -> [u8; FRAME_HEADER] {
        let mut header = [0; FRAME_HEADER];
        header[..4].copy_from_slice(&self.marker);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..12].copy_from_slice(&payload_checksum.to_le_bytes());
        let checksum = frame_checksum(self.number, offset, &header);
        header[FRAME_CHECKED..].copy_from_slice(&checksum.to_le_bytes());
        header
    }
}

/// The checksum of a frame's header. A frame is valid only where it was written.
fn frame_checksum(number: u64, offset: u64, header: &[u8; FRAME_HEADER]) -> u32 {
    let mut checked = [0; 16 + FRAME_CHECKED];
    checked[..8].copy_from_slice(&number.to_le_bytes());
    checked[8..16].copy_from_slice(&offset.to_le_bytes());
    checked[16..].copy_from_slice(&header[..FRAME_CHECKED]);
    crc32c::crc32c(&checked)
}

/// What a file says about itself in its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Ours.
    Known(Identity),
    /// Written by a later version.
    Newer(u32),
    /// Damaged, cut off, or not a segment of this number.
    Unreadable,
}

/// Reads the header of the segment `number`.
pub(crate) fn opening(bytes: &[u8], number: u64) -> Opening {
    let Some(header) = bytes.first_chunk::<SEGMENT_HEADER>() else { return Opening::Unreadable };
    let whole = le32(header, SEGMENT_CHECKED) == crc32c::crc32c(&header[..SEGMENT_CHECKED]);
    let numbered = header[12..20] == number.to_le_bytes();
    match le32(header, 8) {
        _ if !whole || !header.starts_with(MAGIC) => Opening::Unreadable,
        version if version > VERSION => Opening::Newer(version),
        VERSION if numbered => {
            Opening::Known(Identity { number, marker: [header[20], header[21], header[22], header[23]] })
        }
        _ => Opening::Unreadable,
    }
}

/// The payload of the frame at `at`, when everything about it is right, and its marker. `marker` is `None` when the
/// segment's header could not be read: any will do then.
pub(crate) fn frame(bytes: &[u8], number: u64, marker: Option<[u8; 4]>, at: usize) -> Option<([u8; 4], &[u8])> {
    let (header, rest) = bytes.get(at..)?.split_first_chunk::<FRAME_HEADER>()?;
    let found = [header[0], header[1], header[2], header[3]];
    let length = le32(header, 4) as usize;
    if marker.is_some_and(|marker| marker != found)
        || !(1..=MAX_RECORD_BYTES).contains(&length)
        || le32(header, FRAME_CHECKED) != frame_checksum(number, at as u64, header)
    {
        return None;
    }
    let payload = rest.get(..length)?;
    (crc32c::crc32c(payload) == le32(header, 8)).then_some((found, payload))
}

/// Four bytes of a header. `at` is a constant within it.
fn le32<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
