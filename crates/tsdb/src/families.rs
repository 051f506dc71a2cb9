//! What senders said about metric families: in memory, in WAL records, and in a small file that is written at every seal.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use disk::{Disk, write_whole};
use model::{MetricKind, MetricMetadata};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

/// Metadata of more families than this is not kept.
const MAX_FAMILIES: usize = 100_000;
const VERSION: u32 = 1;

/// One family as the file has it.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    family: String,
    kind: String,
    help: String,
    unit: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    families: Vec<Entry>,
}

/// Where metadata was heard of: what was heard later outranks what was heard earlier, whatever is read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heard {
    /// In the file.
    Filed,
    /// In the log of the last run.
    Logged,
    /// From a sender.
    Now,
}

/// Metadata by family.
#[derive(Debug, Default)]
pub(crate) struct Families {
    known: RwLock<BTreeMap<String, (Heard, MetricMetadata)>>,
    /// Whether the file lags behind.
    changed: AtomicBool,
}

impl Families {
    /// Takes what is new and returns it; what is known already costs a look.
    pub(crate) fn learn<'a>(&self, incoming: &'a [MetricMetadata]) -> Vec<&'a MetricMetadata> {
        if incoming.is_empty() {
            return Vec::new();
        }
        let known = self.known.read();
        let is_fresh = |entry: &&MetricMetadata| known.get(&entry.family).is_none_or(|(_, old)| old != *entry);
        let fresh: Vec<_> = incoming.iter().filter(is_fresh).collect();
        drop(known);
        fresh.iter().for_each(|entry| self.hear(Heard::Now, entry));
        fresh
    }

    /// Takes one entry, unless a later one is known.
    pub(crate) fn hear(&self, heard: Heard, entry: &MetricMetadata) {
        let mut known = self.known.write();
        let room = known.len() < MAX_FAMILIES;
        match known.get_mut(&entry.family) {
            Some(old) if old.0 <= heard => *old = (heard, entry.clone()),
            None if room => {
                known.insert(entry.family.clone(), (heard, entry.clone()));
            }
            _ => return,
        }
        self.changed.store(true, Ordering::Release);
    }

    /// All of it, sorted by family.
    pub(crate) fn all(&self) -> Vec<MetricMetadata> {
        self.known.read().values().map(|(_, entry)| entry.clone()).collect()
    }

    /// What is known of one family.
    pub(crate) fn kind(&self, family: &str) -> Option<MetricKind> {
        self.known.read().get(family).map(|(_, entry)| entry.kind)
    }

    /// Reads the file; one that is missing is an empty one.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged.
    pub(crate) fn load(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let bytes = match disk.read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let file: File = serde_json::from_slice(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        for entry in file.families {
            let kind = MetricKind::ALL.into_iter().find(|k| k.as_str() == entry.kind).unwrap_or_default();
            let entry = MetricMetadata { kind, family: entry.family, help: entry.help, unit: entry.unit };
            self.hear(Heard::Filed, &entry);
        }
        self.changed.store(false, Ordering::Release);
        Ok(())
    }

    /// Writes the file where it lags behind.
    ///
    /// # Errors
    /// What the operating system says; the old file stays then.
    pub(crate) fn save(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let families = self
            .all()
            .into_iter()
            .map(|m| Entry { family: m.family, kind: m.kind.as_str().to_owned(), help: m.help, unit: m.unit })
            .collect();
        let text = serde_json::to_vec(&File { version: VERSION, families }).unwrap_or_default();
        write_whole(disk, path, &text).inspect_err(|_| self.changed.store(true, Ordering::Release))
    }
}
