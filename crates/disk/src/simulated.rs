//! A filesystem in memory that keeps the contract to the letter: a power loss takes what was not flushed.

mod content;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::real::held_by;
use crate::{Disk, Entry, FileBytes, Lock, OpenFile};
use content::Content;
use names::{FileId, Names};

/// Something that is wrong with a simulated disk until [`SimulatedDisk::clear_faults`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// There is room for so many bytes more; the append that meets the end writes a part and fails. Removing and cutting
    /// files makes room again. Without any room, no file can be created.
    Full {
        /// Bytes that still fit.
        after_bytes: u64,
    },
    /// Nothing can be changed.
    ReadOnly,
    /// Flushing files and folders fails. What a file held unflushed at that moment stays unsure for ever, though later
    /// flushes of it succeed: so do those of Linux.
    FailSync,
    /// Files cannot be cut.
    FailTruncate,
    /// Files cannot be read.
    FailRead,
}

/// A disk in memory. Clones are the same disk. What happens by chance follows from the seed.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random(seed),
            names: Names::default(),
            folders: BTreeSet::new(),
            files: BTreeMap::new(),
            next_file: 0,
            locks: BTreeMap::new(),
            life: 0,
            faults: BTreeSet::new(),
            room: None,
            after_sync: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The power goes and returns: what was not flushed is lost, torn or kept by chance, locks are gone, and what was
    /// opened before can do nothing any more.
    pub fn power_loss(&self) {
        let state = &mut *self.state.lock();
        state.end_life();
        state.names.power_loss(&mut state.random);
        let names = &state.names;
        state.files.retain(|file, _| names.has(*file));
        for content in state.files.values_mut() {
            content.power_loss(&mut state.random);
        }
    }

    /// The process dies: nothing is lost, locks are gone, and what was opened before can do nothing any more.
    pub fn kill(&self) {
        self.state.lock().end_life();
    }

    /// Adds a fault to those that are set. A second [`Fault::Full`] replaces the first.
    pub fn set_fault(&self, fault: Fault) {
        let mut state = self.state.lock();
        match fault {
            Fault::Full { after_bytes } => state.room = Some(after_bytes),
            fault => {
                state.faults.insert(fault);
            }
        }
    }

    /// Heals the disk.
    pub fn clear_faults(&self) {
        let mut state = self.state.lock();
        state.room = None;
        state.faults.clear();
    }

    /// Changes a file behind everybody's back, as a failing disk does; what was read before stays as it was.
    ///
    /// # Errors
    /// `NotFound` when the file is not there.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.find(path)?;
        let content = state.content(file)?;
        change(&mut content.bytes);
        content.truncate(content.bytes.len());
        Ok(())
    }

    /// Does something once, when the next flush of an open file is over and before anybody hears of it: what other threads
    /// may do meanwhile.
    pub fn after_sync(&self, meanwhile: impl FnOnce() + Send + 'static) {
        self.state.lock().after_sync = Some(Meanwhile(Box::new(meanwhile)));
    }

    fn open(&self, file: FileId, path: &Path, life: u64) -> Arc<dyn OpenFile> {
        Arc::new(SimulatedFile { state: Arc::clone(&self.state), file, path: path.to_owned(), life })
    }
}

#[derive(Debug)]
struct State {
    random: Random,
    names: Names,
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<FileId, Content>,
    next_file: FileId,
    /// Who holds which lock.
    locks: BTreeMap<PathBuf, String>,
    /// Counts deaths of the process. What was opened in an earlier life is dead.
    life: u64,
    faults: BTreeSet<Fault>,
    /// Bytes that still fit, where that is limited.
    room: Option<u64>,
    after_sync: Option<Meanwhile>,
}

/// See [`SimulatedDisk::after_sync`].
struct Meanwhile(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl State {
    fn end_life(&mut self) {
        self.life += 1;
        self.locks.clear();
    }

    fn find(&self, path: &Path) -> io::Result<FileId> {
        self.names.get(path).ok_or_else(|| failed(ErrorKind::NotFound, path, "no such file"))
    }

    fn content(&mut self, file: FileId) -> io::Result<&mut Content> {
        self.files.get_mut(&file).ok_or_else(|| io::Error::from(ErrorKind::NotFound))
    }

    fn refuse(&self, fault: Fault, path: &Path) -> io::Result<()> {
        if !self.faults.contains(&fault) {
            return Ok(());
        }
        Err(match fault {
            Fault::ReadOnly => failed(ErrorKind::ReadOnlyFilesystem, path, "read-only file system"),
            _ => failed(ErrorKind::Other, path, "input/output error"),
        })
    }

    fn has_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.parent().is_none() || folder.as_os_str().is_empty() || self.folders.contains(folder) {
            return Ok(());
        }
        Err(failed(ErrorKind::NotFound, folder, "no such folder"))
    }

    fn create(&mut self, path: &Path) -> io::Result<FileId> {
        self.refuse(Fault::ReadOnly, path)?;
        self.has_folder(path.parent().unwrap_or(Path::new("")))?;
        if self.names.get(path).is_some() || self.folders.contains(path) {
            return Err(failed(ErrorKind::AlreadyExists, path, "file exists"));
        }
        if self.room == Some(0) {
            return Err(full(path));
        }
        self.next_file += 1;
        self.names.create(path, self.next_file);
        self.files.insert(self.next_file, Content::default());
        Ok(self.next_file)
    }

    fn sync(&mut self, file: FileId, path: &Path) -> io::Result<()> {
        let refused = self.refuse(Fault::FailSync, path);
        self.content(file)?.sync(refused.is_err());
        refused
    }

    /// Counts what a file held as free, when no name leads to it any more.
    fn make_room(&mut self, file: FileId) {
        let freed = self.files.get(&file).map_or(0, |content| content.bytes.len() as u64);
        if let (Some(room), false) = (&mut self.room, self.names.has(file)) {
            *room += freed;
        }
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let mut state = self.state.lock();
        let file = state.create(path)?;
        Ok(self.open(file, path, state.life))
    }

    fn read(&self, path: &Path) -> io::Result<FileBytes> {
        let mut state = self.state.lock();
        let file = state.find(path)?;
        state.refuse(Fault::FailRead, path)?;
        Ok(FileBytes::from(state.content(file)?.bytes.as_slice()))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = state.find(path)?;
        state.sync(file, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.refuse(Fault::ReadOnly, from)?;
        let file = state.find(from)?;
        state.has_folder(to.parent().unwrap_or(Path::new("")))?;
        let replaced = state.names.get(to).filter(|other| *other != file);
        state.names.rename(from, to, file);
        if let Some(replaced) = replaced {
            state.make_room(replaced);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.refuse(Fault::ReadOnly, path)?;
        let file = state.find(path)?;
        state.names.remove(path);
        state.make_room(file);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state.lock();
        state.has_folder(folder)?;
        let entry = |(path, file): (&PathBuf, FileId)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(Entry { name, bytes: state.files.get(&file)?.bytes.len() as u64 })
        };
        let mut entries: Vec<Entry> = state.names.in_folder(folder).filter_map(entry).collect();
        entries.sort_unstable();
        Ok(entries)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        for folder in path.ancestors() {
            if state.has_folder(folder).is_ok() {
                continue;
            }
            state.refuse(Fault::ReadOnly, folder)?;
            if state.names.get(folder).is_some() {
                return Err(failed(ErrorKind::AlreadyExists, folder, "a file has this name"));
            }
            state.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.has_folder(folder)?;
        state.refuse(Fault::FailSync, folder)?;
        state.names.sync(folder);
        Ok(())
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state.lock();
        if let Some(other) = state.locks.get(path) {
            return Err(held_by(path, other));
        }
        if state.names.get(path).is_none() {
            state.create(path)?;
        }
        state.locks.insert(path.to_owned(), owner.to_owned());
        Ok(Box::new(SimulatedLock { state: Arc::clone(&self.state), path: path.to_owned(), life: state.life }))
    }
}

#[derive(Debug)]
struct SimulatedFile {
    state: Arc<Mutex<State>>,
    file: FileId,
    path: PathBuf,
    life: u64,
}

impl SimulatedFile {
    fn with<T>(&self, operate: impl FnOnce(&mut State, &Path) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock();
        if state.life != self.life {
            return Err(failed(ErrorKind::Other, &self.path, "opened by a process that is dead"));
        }
        operate(&mut state, &self.path)
    }
}

impl OpenFile for SimulatedFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.with(|state, path| {
            state.refuse(Fault::ReadOnly, path)?;
            let wanted = bytes.len() as u64;
            let fits = state.room.map_or(wanted, |room| room.min(wanted));
            if let Some(room) = &mut state.room {
                *room -= fits;
            }
            // `fits` is at most the length of `bytes`.
            state.content(self.file)?.append(&bytes[..fits as usize]);
            if fits < wanted { Err(full(path)) } else { Ok(()) }
        })
    }

    fn sync(&self) -> io::Result<()> {
        let outcome = self.with(|state, path| state.sync(self.file, path));
        let meanwhile = self.state.lock().after_sync.take();
        if let Some(Meanwhile(act)) = meanwhile {
            act();
        }
        outcome
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.with(|state, path| {
            state.refuse(Fault::ReadOnly, path)?;
            state.refuse(Fault::FailTruncate, path)?;
            let content = state.content(self.file)?;
            let before = content.bytes.len();
            content.truncate(usize::try_from(bytes).map_err(io::Error::other)?);
            let freed = before.saturating_sub(content.bytes.len()) as u64;
            if let Some(room) = &mut state.room {
                *room += freed;
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
struct SimulatedLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    life: u64,
}

impl Lock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

fn failed(kind: ErrorKind, path: &Path, reason: &str) -> io::Error {
    io::Error::new(kind, format!("{}: {reason}", path.display()))
}

fn full(path: &Path) -> io::Error {
    failed(ErrorKind::StorageFull, path, "no space left on device")
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}
