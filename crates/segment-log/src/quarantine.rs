//! Keeping what cannot be read, for people.

use std::path::{Path, PathBuf};

use disk::Disk;

use crate::files::SegmentInfo;
use crate::{Damage, LogError};

/// Copies the damaged parts of a segment to files of their own, named by segment, offset and checksum of the bytes, so
/// that the segment may be removed and nothing is wiped. Doing it again changes nothing. Returns the files, in the order
/// of the damages; they survive a power loss.
///
/// # Errors
/// When the segment cannot be read or a copy not be written. The segment should not be removed then.
pub fn quarantine(
    disk: &dyn Disk,
    segment: &SegmentInfo,
    damages: &[Damage],
    into_folder: &Path,
) -> Result<Vec<PathBuf>, LogError> {
    if damages.is_empty() {
        return Ok(Vec::new());
    }
    disk.create_folder(into_folder)?;
    let bytes = disk.read(&segment.path)?;
    let copy = |damage: &Damage| {
        // The file may have become shorter since it was read.
        let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let damaged = &bytes[place(damage.offset)..place(damage.offset.saturating_add(damage.bytes))];
        let (number, offset, checksum) = (segment.number, damage.offset, crc32c::crc32c(damaged));
        let path = into_folder.join(format!("{number:010}-{offset:010}-{checksum:08x}.damaged"));
        disk::write_whole(disk, &path, damaged)?;
        Ok(path)
    };
    damages.iter().map(copy).collect()
}
