//! Which blocks of a Prometheus were imported: `imported.json` in the store's folder, so that an import goes on where it
//! was interrupted. Losing the file costs time only: what is stored already is recognised sample by sample.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use prometheus_block::BlockMeta;
use serde::{Deserialize, Serialize};

const FILE: &str = "imported.json";

/// The finished blocks, by what they were made of: a block that was compacted meanwhile is recognised too.
#[derive(Debug)]
pub struct Imported {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    sources: BTreeSet<String>,
}

impl Imported {
    /// Reads the file of a store; an absent one says nothing.
    pub fn load(store: &Path) -> Result<Self> {
        let path = store.join(FILE);
        let content = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("cannot read {}; remove it and import again", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, content })
    }

    /// Whether everything that a block was made of was imported.
    pub fn has(&self, meta: &BlockMeta) -> bool {
        sources(meta).all(|source| self.content.sources.contains(source))
    }

    /// Remembers a block whose samples are durable.
    pub fn add(&mut self, meta: &BlockMeta) -> Result<()> {
        self.content.sources.extend(sources(meta).map(str::to_owned));
        let temporary = self.path.with_extension("json.tmp");
        let write = || {
            fs::write(&temporary, serde_json::to_vec(&self.content)?)?;
            fs::File::open(&temporary)?.sync_all()?;
            fs::rename(&temporary, &self.path)
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The blocks of the first level that are in a block; one that names none is its own.
fn sources(meta: &BlockMeta) -> impl Iterator<Item = &str> {
    let own = meta.compaction.sources.is_empty().then_some(meta.ulid.as_str());
    meta.compaction.sources.iter().map(String::as_str).chain(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(ulid: &str, sources: &[&str]) -> BlockMeta {
        let json = serde_json::json!({
            "ulid": ulid, "minTime": 0, "maxTime": 1, "version": 1, "compaction": {"sources": sources}
        });
        serde_json::from_value(json).expect("is a description")
    }

    #[test]
    fn compacted_blocks_are_recognised() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut imported = Imported::load(folder.path()).expect("loads");
        assert!(!imported.has(&meta("A", &["A"])));
        imported.add(&meta("A", &["A"])).expect("writes");
        imported.add(&meta("B", &[])).expect("writes");
        let imported = Imported::load(folder.path()).expect("loads");
        assert!(imported.has(&meta("A", &["A"])) && imported.has(&meta("C", &["A", "B"])));
        assert!(!imported.has(&meta("D", &["A", "E"])));
    }
}
