//! Rule files: finding and reading them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Document, Problems};
use promql::Engine;

use crate::{Group, decode};

/// What groups use that do not say it themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupDefaults {
    /// `global.evaluation_interval`
    pub interval: Duration,
    /// `global.rule_query_offset`
    pub query_offset: Duration,
}

impl Default for GroupDefaults {
    /// One minute, no offset.
    fn default() -> Self {
        Self { interval: Duration::from_secs(60), query_offset: Duration::ZERO }
    }
}

/// The groups of one file.
#[derive(Debug)]
pub struct RuleFile {
    /// The file.
    pub path: PathBuf,
    /// Its groups, in order.
    pub groups: Vec<Group>,
    /// What is allowed but probably not meant, as `file:line: message`.
    pub warnings: Vec<String>,
}

impl RuleFile {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// Every problem in it.
    pub fn load(path: &Path, engine: &Engine, defaults: &GroupDefaults) -> Result<Self, Problems> {
        Self::from_document(Document::load(path)?, engine, defaults)
    }

    /// Validates text that came from `path`.
    ///
    /// # Errors
    /// Every problem in it.
    pub fn parse(path: &Path, text: &str, engine: &Engine, defaults: &GroupDefaults) -> Result<Self, Problems> {
        Self::from_document(Document::parse(path, text)?, engine, defaults)
    }

    fn from_document(document: Document, engine: &Engine, defaults: &GroupDefaults) -> Result<Self, Problems> {
        let path = document.path().to_owned();
        let mut decoder = decode::Decoder::new(&path, engine, defaults);
        let groups = decoder.file(&document.root());
        let warnings = decoder.warnings;
        document.finish()?;
        Ok(Self { path, groups, warnings })
    }
}

/// The files that one entry of `rule_files` means, sorted. A pattern may have `*`, `?` and `[...]` in its last
/// component and may match nothing; a plain path must exist.
///
/// # Errors
/// What is wrong with the entry, and what to do.
pub fn expand_pattern(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let special = |text: &str| text.contains(['*', '?', '[']);
    let shown = pattern.display();
    let text = pattern.to_str().ok_or_else(|| format!("the path {shown} is not valid UTF-8; rename the file"))?;
    if !special(text) {
        return match std::fs::metadata(pattern) {
            Ok(found) if found.is_file() => Ok(vec![pattern.to_owned()]),
            Ok(_) => Err(format!("{shown} is not a file; write {shown}/*.yml for all files in a folder")),
            Err(error) => Err(format!("cannot read {shown}: {error}; check the path")),
        };
    }
    if pattern.parent().and_then(Path::to_str).is_some_and(special) {
        return Err(format!("{shown} has a wildcard in a folder's name; use wildcards in the last component only"));
    }
    let options = glob::MatchOptions { require_literal_leading_dot: false, ..glob::MatchOptions::new() };
    let found =
        glob::glob_with(text, options).map_err(|e| format!("{shown} is not a file pattern: {e}; correct it"))?;
    let mut files = Vec::new();
    for entry in found {
        let path = entry.map_err(|e| format!("cannot read {}: {}; check its rights", e.path().display(), e.error()))?;
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_patterns() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b.yml", "a.yml", "c.txt"] {
            std::fs::write(folder.path().join(name), "").expect("writes");
        }
        let at = |name: &str| folder.path().join(name);
        assert_eq!(expand_pattern(&at("*.yml")), Ok(vec![at("a.yml"), at("b.yml")]));
        assert_eq!(expand_pattern(&at("[b-z].*")), Ok(vec![at("b.yml"), at("c.txt")]));
        assert_eq!(expand_pattern(&at("*.rules")), Ok(vec![]));
        assert_eq!(expand_pattern(&at("c.txt")), Ok(vec![at("c.txt")]));
        for (name, want) in [("d.yml", "cannot read"), (".", "is not a file"), ("*/a.yml", "last component only")] {
            let error = expand_pattern(&at(name)).expect_err(name);
            assert!(error.contains(want), "{error}");
        }
    }
}
