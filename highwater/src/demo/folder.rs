//! Where configurations, logs and data go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// The demo's folder.
pub enum Folder {
    /// Named by the user, and kept.
    Kept(PathBuf),
    /// Removed when dropped.
    Temporary(TempDir),
}

impl Folder {
    /// Creates the folder. A named one must be empty: what an earlier demo left would mix with this one's.
    pub fn open(named: Option<&Path>) -> Result<Self> {
        let Some(named) = named else {
            let folder = tempfile::Builder::new().prefix("highwater-demo-").tempdir();
            return Ok(Self::Temporary(folder.context("cannot create a temporary folder; name one with --dir")?));
        };
        let shown = named.display();
        std::fs::create_dir_all(named).with_context(|| format!("cannot create {shown}"))?;
        let mut entries = std::fs::read_dir(named).with_context(|| format!("cannot read {shown}"))?;
        if entries.next().is_some() {
            bail!("{shown} is not empty; empty it or name another folder with --dir");
        }
        Ok(Self::Kept(named.canonicalize().with_context(|| format!("cannot find {shown}"))?))
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_folder_must_be_empty_and_is_kept() {
        let above = tempfile::tempdir().expect("a folder");
        let path = above.path().join("demo");
        drop(Folder::open(Some(&path)).expect("is created"));
        assert!(path.is_dir());
        std::fs::write(path.join("x"), "").expect("writes");
        let error = Folder::open(Some(&path)).err().expect("is not empty").to_string();
        assert!(error.contains("--dir"), "{error}");
    }

    #[test]
    fn a_temporary_folder_is_removed() {
        let folder = Folder::open(None).expect("is created");
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }
}
