//! The segments of a folder.

use std::path::{Path, PathBuf};

use disk::Disk;

use crate::LogError;

/// How the files are called after their number.
const SUFFIX: &str = ".log";
/// What `disk::write_whole` adds to the name of a file that is not whole yet.
const UNFINISHED: &str = ".log.tmp";

/// A segment that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number: higher ones were written later.
    pub number: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// The path of a segment. Ten digits sort as text does, for as long as anybody writes segments.
pub(crate) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}{SUFFIX}"))
}

/// The segments of a folder in order of number. Other files are left alone.
///
/// # Errors
/// When the folder cannot be listed.
pub fn segments(disk: &dyn Disk, folder: &Path) -> Result<Vec<SegmentInfo>, LogError> {
    let mut segments = Vec::new();
    for entry in disk.list(folder)? {
        let number = entry.name.strip_suffix(SUFFIX).and_then(|digits| digits.parse().ok());
        // Only names that we would give: one number, one file.
        if let Some((number, path)) =
            number.map(|n| (n, path_of(folder, n))).filter(|(_, path)| path.ends_with(&entry.name))
        {
            segments.push(SegmentInfo { number, bytes: entry.bytes, path });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.number);
    Ok(segments)
}

/// Removes copies of segments that a process died over. The segments themselves are there.
pub(crate) fn remove_unfinished(disk: &dyn Disk, folder: &Path) -> Result<(), LogError> {
    for entry in disk.list(folder)?.iter().filter(|entry| entry.name.ends_with(UNFINISHED)) {
        // They are in nobody's way: where they cannot be removed, the next start tries again.
        let _ = disk.remove(&folder.join(&entry.name));
    }
    Ok(())
}
