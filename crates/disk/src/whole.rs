//! Files that are there whole or not at all.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::Disk;

/// Puts a file with these bytes at `path`, replacing the one that has the name: written beside it as `PATH.tmp`, flushed,
/// renamed, and the folder flushed. When this returns the file survives a power loss; one that comes earlier leaves the
/// old file or the new one.
///
/// # Errors
/// What the operating system says; the old file is still there then, unless only flushing the folder failed.
pub fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    match disk.remove(temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(temporary)?;
    let written = file.append(bytes).and_then(|()| file.sync()).and_then(|()| disk.rename(temporary, path));
    if let Err(error) = written {
        // Half a file is of no use to anybody, and its room may be what is missing. If it stays, it is only in the way
        // until the next attempt.
        let _ = disk.remove(temporary);
        return Err(error);
    }
    disk.sync_folder(path.parent().unwrap_or(Path::new("")))
}
