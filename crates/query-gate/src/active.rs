//! `queries.active`: which queries run, in a file that a crash leaves behind (docs/formats/queries-active.md).

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Bytes of one entry.
const ENTRY_BYTES: usize = 1000;
/// Queries that are listed at once; more run unlisted.
const ENTRIES: usize = 64;
/// Of a longer query only the beginning is listed; escaped, each byte may take six.
const MAX_TEXT_BYTES: usize = 150;

/// The file, and which of its entries are free.
#[derive(Debug)]
pub(crate) struct ActiveQueries {
    file: File,
    free: Mutex<Vec<usize>>,
}

impl ActiveQueries {
    /// Reads what the last run left in `path`, and begins anew.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<String>)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut old = Vec::new();
        (&mut file).take((1 + ENTRIES * ENTRY_BYTES) as u64).read_to_end(&mut old)?;
        let left = old.get(1..).unwrap_or_default().chunks(ENTRY_BYTES).filter_map(query).collect();
        file.set_len(0)?;
        file.set_len((1 + ENTRIES * ENTRY_BYTES) as u64)?;
        file.write_all_at(b"[", 0)?;
        Ok((Self { file, free: Mutex::new((0..ENTRIES).rev().collect()) }, left))
    }

    /// Lists a query that begins; `None` where there is no entry for it. A list that cannot be written is no reason not to
    /// answer.
    pub fn insert(&self, query: &str, now_seconds: i64) -> Option<usize> {
        let at = self.free.lock().pop()?;
        let end = (0..=MAX_TEXT_BYTES.min(query.len())).rev().find(|end| query.is_char_boundary(*end)).unwrap_or(0);
        let mut entry = json!({ "query": &query[..end], "timestamp_sec": now_seconds }).to_string().into_bytes();
        entry.push(b',');
        self.write(at, &entry);
        Some(at)
    }

    /// Takes a query that has ended from the list.
    pub fn remove(&self, at: usize) {
        self.write(at, &[0; ENTRY_BYTES]);
        self.free.lock().push(at);
    }

    fn write(&self, at: usize, entry: &[u8]) {
        if let Err(error) = self.file.write_all_at(entry, (1 + at * ENTRY_BYTES) as u64) {
            tracing::debug!(%error, "cannot write queries.active");
        }
    }
}

/// The query of an entry, if it holds one.
fn query(entry: &[u8]) -> Option<String> {
    let end = entry.iter().position(|byte| *byte == 0).unwrap_or(entry.len());
    let text = entry[..end].strip_suffix(b",")?;
    let entry: Value = serde_json::from_slice(text).ok()?;
    entry["query"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_leaves_what_was_running() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("queries.active");
        let (active, left) = ActiveQueries::open(&path).expect("opens");
        assert!(left.is_empty());
        let long = "\"\u{1}ä".repeat(1000);
        let first = active.insert("up", 1).expect("has room");
        active.insert("rate(x[5m])", 2).expect("has room");
        active.insert(&long, 3).expect("has room");
        active.remove(first);
        let (_, left) = ActiveQueries::open(&path).expect("opens");
        assert_eq!(left.len(), 2);
        assert!(left[0].len() > 100 && long.starts_with(&left[0]) || left.contains(&"rate(x[5m])".to_owned()));
        assert!(left.iter().any(|query| long.starts_with(query.as_str()) && query.len() > 100));
        let (active, left) = ActiveQueries::open(&path).expect("opens");
        assert!(left.is_empty());
        let taken: Vec<_> = (0..ENTRIES).filter_map(|_| active.insert("q", 1)).collect();
        assert_eq!((taken.len(), active.insert("q", 1)), (ENTRIES, None));
        active.remove(taken[7]);
        assert_eq!(active.insert("q", 1), Some(taken[7]));
    }

    #[test]
    fn any_bytes_are_a_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("queries.active");
        for bytes in [&b""[..], b"[", b"[{\"query\":7},", b"[{\"query\":\"up\"},", &[0xff; 100_000], b"{{{{,,,,"] {
            std::fs::write(&path, bytes).expect("is written");
            let (_, left) = ActiveQueries::open(&path).expect("opens");
            assert_eq!(left, if bytes.ends_with(b"\"up\"},") { vec!["up"] } else { Vec::new() });
        }
    }
}
