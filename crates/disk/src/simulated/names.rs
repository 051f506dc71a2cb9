//! Which names the simulated files have now, and which of them are sure to be there after a power loss.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Random;

/// Stands for the file itself, whatever it is called.
pub(super) type FileId = u64;

/// Something that happened to a folder and is not flushed yet.
#[derive(Debug)]
enum Change {
    Create { path: PathBuf, file: FileId },
    Rename { from: PathBuf, to: PathBuf, file: FileId },
    Remove { path: PathBuf },
}

impl Change {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let (first, second) = match self {
            Self::Create { path, .. } | Self::Remove { path } => (path, None),
            Self::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        match self {
            Self::Create { path, file } => {
                names.insert(path.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove { path } => {
                names.remove(path);
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<PathBuf, FileId>,
    durable: BTreeMap<PathBuf, FileId>,
    /// What leads from the durable names to the live ones, in the order it happened.
    pending: Vec<Change>,
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<FileId> {
        self.live.get(path).copied()
    }

    pub(super) fn in_folder(&self, folder: &Path) -> impl Iterator<Item = (&PathBuf, FileId)> {
        self.live.iter().filter(move |(path, _)| path.parent() == Some(folder)).map(|(path, file)| (path, *file))
    }

    pub(super) fn create(&mut self, path: &Path, file: FileId) {
        self.change(Change::Create { path: path.to_owned(), file });
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, file: FileId) {
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), file });
    }

    pub(super) fn remove(&mut self, path: &Path) {
        self.change(Change::Remove { path: path.to_owned() });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    /// Makes durable what happened in a folder, and whatever else happened to the files it happened to.
    pub(super) fn sync(&mut self, folder: &Path) {
        let mut settled: BTreeSet<PathBuf> = BTreeSet::new();
        loop {
            let before = settled.len();
            for change in &self.pending {
                if change.paths().any(|path| path.parent() == Some(folder) || settled.contains(path)) {
                    settled.extend(change.paths().cloned());
                }
            }
            if settled.len() == before {
                break;
            }
        }
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let settles = change.paths().any(|path| settled.contains(path));
            if settles {
                change.apply(durable);
            }
            !settles
        });
    }

    /// Any of the pending changes may be undone, with those that built on it: a rename happens whole or not at all, and a
    /// name that was used again does not lose its first file before it got the second.
    pub(super) fn power_loss(&mut self, random: &mut Random) {
        let odds = random.below(5);
        let mut undone: BTreeSet<PathBuf> = BTreeSet::new();
        for change in std::mem::take(&mut self.pending) {
            if random.below(4) < odds && !change.paths().any(|path| undone.contains(path)) {
                change.apply(&mut self.durable);
            } else {
                undone.extend(change.paths().cloned());
            }
        }
        self.live = self.durable.clone();
    }

    pub(super) fn has(&self, file: FileId) -> bool {
        self.live.values().any(|id| *id == file)
    }
}
