//! The payload of a record: a few facts that need no decoding, then a message in columns (docs/formats/queue.md).

use segment_log::Record;

/// The first byte of a record; another one is from a newer version.
const KIND: u8 = 1;

/// What stands before the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Header {
    /// When it was pushed, in milliseconds since the epoch.
    pub(crate) arrived: i64,
    /// The smallest timestamp.
    pub(crate) min: i64,
    /// The largest.
    pub(crate) max: i64,
    /// Rows and native histograms.
    pub(crate) samples: u32,
}

const BYTES: usize = 1 + 3 * 8 + 4;

/// Makes `record` one with this header and message.
pub(crate) fn write(record: &mut Record, header: &Header, message: &[u8]) {
    record.clear();
    record.reserve(BYTES + message.len());
    record.push(KIND);
    for time in [header.arrived, header.min, header.max] {
        record.extend_from_slice(&time.to_le_bytes());
    }
    record.extend_from_slice(&header.samples.to_le_bytes());
    record.extend_from_slice(message);
}

/// The header and the message; `None` when these bytes are no record of this version.
pub(crate) fn read(payload: &[u8]) -> Option<(Header, &[u8])> {
    let (header, message) = payload.split_first_chunk::<BYTES>()?;
    let time = |at: usize| header[at..at + 8].try_into().map(i64::from_le_bytes).ok();
    let samples = header[25..].try_into().map(u32::from_le_bytes).ok()?;
    let header = Header { arrived: time(1)?, min: time(9)?, max: time(17)?, samples };
    (payload[0] == KIND && header.min <= header.max).then_some((header, message))
}
