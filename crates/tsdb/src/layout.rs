//! The store's folder: what lies where, who owns it, and which version of us wrote it (docs/formats/store.md).

use std::io;
use std::path::{Path, PathBuf};

use disk::{Disk, Lock, write_whole};
use serde::{Deserialize, Serialize};

use crate::OpenError;

const FORMAT: &str = "highwater-store";
const VERSION: u32 = 1;
/// What is being written carries this at the end of its name until it is whole.
const TEMPORARY: &str = ".tmp";

/// The paths within a store's folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) blocks: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) quarantine: PathBuf,
    pub(crate) families: PathBuf,
    pub(crate) exemplars: PathBuf,
}

/// The content of `store.json`.
#[derive(Debug, Serialize, Deserialize)]
struct VersionFile {
    format: String,
    version: u32,
    created_ms: i64,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            blocks: root.join("blocks"),
            wal: root.join("wal"),
            quarantine: root.join("quarantine"),
            families: root.join("families.json"),
            exemplars: root.join("exemplars"),
        }
    }

    /// Locks the folder and checks who wrote it.
    ///
    /// # Errors
    /// When somebody else has it, a newer version wrote it, or the disk does not let us.
    pub(crate) fn lock(&self, disk: &dyn Disk) -> Result<Box<dyn Lock>, OpenError> {
        disk.create_folder(&self.root).map_err(io(&self.root))?;
        let path = self.root.join("lock");
        let owner = format!("pid {}", std::process::id());
        let lock = disk.lock(&path, &owner).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked { path: path.clone(), owner: error.to_string() },
            _ => OpenError::Io { path: path.clone(), error },
        })?;
        self.check_version(disk)?;
        Ok(lock)
    }

    /// Creates what is missing and clears away what a crash left half written. For the owner, after everything in the
    /// folder was found to be readable by this version.
    ///
    /// # Errors
    /// When the disk does not let us.
    pub(crate) fn make_ready(&self, disk: &dyn Disk, now_ms: i64) -> Result<(), OpenError> {
        for folder in [&self.blocks, &self.wal, &self.quarantine] {
            disk.create_folder(folder).map_err(io(folder))?;
        }
        for folder in [&self.root, &self.blocks] {
            sweep(disk, folder).map_err(io(folder))?;
        }
        if !self.check_version(disk)? {
            self.write_version(disk, now_ms).map_err(io(&self.version_path()))?;
        }
        Ok(())
    }

    /// Names the version of the folder's files.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn write_version(&self, disk: &dyn Disk, now_ms: i64) -> io::Result<()> {
        let file = VersionFile { format: FORMAT.to_owned(), version: VERSION, created_ms: now_ms };
        // Plain data: there is nothing in it that JSON could not hold.
        write_whole(disk, &self.version_path(), &serde_json::to_vec(&file).unwrap_or_default())
    }

    /// Whether there is anything of a store, whole or not.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn holds_a_store(&self, disk: &dyn Disk) -> io::Result<bool> {
        match disk.list(&self.blocks) {
            Ok(files) => Ok(!files.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The file that names the version.
    pub(crate) fn version_path(&self) -> PathBuf {
        self.root.join("store.json")
    }

    /// Whether the folder names a version that we understand; false where it names none yet.
    pub(crate) fn check_version(&self, disk: &dyn Disk) -> Result<bool, OpenError> {
        let path = self.version_path();
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(OpenError::Io { path, error }),
        };
        let file: VersionFile = serde_json::from_slice(&bytes)
            .map_err(|error| OpenError::VersionFile { path: path.clone(), reason: error.to_string() })?;
        if file.format != FORMAT {
            return Err(OpenError::VersionFile { path, reason: format!("it names the format {:?}", file.format) });
        }
        if file.version > VERSION {
            return Err(OpenError::NewerVersion { path, version: file.version, known: VERSION });
        }
        Ok(true)
    }

    /// Moves a damaged file aside and says where it is now.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn quarantine(&self, disk: &dyn Disk, path: &Path) -> io::Result<PathBuf> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let to = self.quarantine.join(name);
        disk.rename(path, &to)?;
        if let Some(folder) = path.parent() {
            disk.sync_folder(folder)?;
        }
        disk.sync_folder(&self.quarantine)?;
        Ok(to)
    }
}

/// Removes what was being written when the last process ended.
fn sweep(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    for entry in disk.list(folder)? {
        if entry.name.ends_with(TEMPORARY) {
            tracing::info!(folder = %folder.display(), file = entry.name, "removing a file that was not finished");
            disk.remove(&folder.join(&entry.name))?;
        }
    }
    Ok(())
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |error| OpenError::Io { path, error }
}
