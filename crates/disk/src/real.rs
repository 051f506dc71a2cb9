//! The machine's filesystem.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::mapping::Mapping;
use crate::{Disk, Entry, FileBytes, Lock, OpenFile};

/// How much of a lock file is shown to somebody who finds it locked.
const OWNER_SHOWN_BYTES: u64 = 1024;

/// The operating system's files. Every error names the operation and the path.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// Adds to an error what was tried on which path. The kind stays, so that callers can tell a full disk.
fn naming<'a>(operation: &'a str, path: &'a Path) -> impl Fn(io::Error) -> io::Error + 'a {
    move |error| io::Error::new(error.kind(), format!("{operation} {}: {error}", path.display()))
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl OpenFile for RealFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.file).write_all(bytes).map_err(naming("write", &self.path))
    }

    fn sync(&self) -> io::Result<()> {
        // Data and length; when it was changed does not matter.
        self.file.sync_data().map_err(naming("flush", &self.path))
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes).map_err(naming("truncate", &self.path))
    }
}

/// Held for as long as the file is open: the system lets go of it when the process dies, however it dies.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl Lock for RealLock {}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(naming("create", path))?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn read(&self, path: &Path) -> io::Result<FileBytes> {
        let named = naming("read", path);
        let file = File::open(path).map_err(&named)?;
        let metadata = file.metadata().map_err(&named)?;
        if !metadata.is_file() {
            return Err(named(io::Error::new(ErrorKind::InvalidInput, "not a regular file")));
        }
        if metadata.len() == 0 {
            // There is nothing to map, and the system refuses to.
            return Ok(FileBytes::default());
        }
        Mapping::new(&file).map(FileBytes::mapped).map_err(named)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        // What is flushed is the file, through whichever descriptor it was written.
        File::open(path).and_then(|file| file.sync_data()).map_err(naming("flush", path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("rename {} to {}: {error}", from.display(), to.display()))
        };
        fs::rename(from, to).map_err(named)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(naming("remove", path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let named = naming("list", folder);
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(&named)? {
            let entry = entry.map_err(&named)?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed since the folder was read.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(named(error)),
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                entries.push(Entry { name, bytes: metadata.len() });
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()).collect();
        fs::create_dir_all(path).map_err(naming("create folder", path))?;
        for folder in missing {
            self.sync_folder(folder.parent().unwrap_or(folder))?;
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // The parent of a bare name is written as an empty path.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder).and_then(|opened| opened.sync_all()).map_err(naming("flush folder", folder))
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Lock>> {
        let named = naming("lock", path);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(&named)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(named(error)),
            Err(TryLockError::WouldBlock) => {
                let mut found = Vec::new();
                (&file).take(OWNER_SHOWN_BYTES).read_to_end(&mut found).map_err(&named)?;
                return Err(held_by(path, &String::from_utf8_lossy(&found)));
            }
        }
        // The text is for people. The lock holds without it, also where a full disk has no room for it.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(owner.as_bytes()));
        Ok(Box::new(RealLock { _file: file }))
    }
}

/// What somebody is told who comes second.
pub(crate) fn held_by(path: &Path, owner: &str) -> io::Error {
    let owner = match owner.trim() {
        "" => "an unnamed process",
        owner => owner,
    };
    io::Error::new(ErrorKind::WouldBlock, format!("lock {}: held by {owner}", path.display()))
}
