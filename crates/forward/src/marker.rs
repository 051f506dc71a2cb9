//! A file that says that the queue lacks nothing the store has: it is there while a process is stopped that ended well,
//! and while there are no destinations.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use disk::Disk;

const NAME: &str = "complete";

pub(crate) struct Marker {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl Marker {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        Self { disk, folder: folder.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.disk.read(&self.path()).is_ok()
    }

    /// Puts it there, or takes it away.
    pub(crate) fn set(&self, is_complete: bool) -> io::Result<()> {
        if is_complete {
            return disk::write_whole(&*self.disk, &self.path(), b"nothing is stored that is not queued\n");
        }
        match self.disk.remove(&self.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_folder(&self.folder),
        }
    }
}
