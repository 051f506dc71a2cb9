//! A section's keys: asked for one by one; those nobody asked for are unknown.

use std::cell::RefCell;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use crate::document::{Document, Position, Value};
use crate::{Node, Secret};

/// The keys of one section. Ask for every key you know, then call [`Mapping::finish`].
#[must_use = "call finish() so that unknown keys are reported"]
pub struct Mapping<'a> {
    node: Node<'a>,
    document: &'a Document,
    entries: &'a [(String, Position, Value)],
    known: RefCell<Vec<&'static str>>,
}

/// Where a key stands, for problems with the key itself.
pub struct Key<'a> {
    document: &'a Document,
    at: Position,
}

impl Key<'_> {
    /// Reports a problem with the key.
    pub fn problem(&self, message: impl Display) {
        self.document.report(self.at, message.to_string());
    }
}

impl<'a> Mapping<'a> {
    pub(crate) fn new(node: Node<'a>, document: &'a Document, entries: &'a [(String, Position, Value)]) -> Self {
        Self { node, document, entries, known: RefCell::default() }
    }

    /// The section itself, for problems that concern several keys.
    pub fn node(&self) -> Node<'a> {
        self.node
    }

    /// Every key with its value; for sections whose keys are data. Such a section needs no [`Mapping::finish`].
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Key<'a>, Node<'a>)> + use<'a> {
        let document = self.document;
        self.entries
            .iter()
            .map(move |(name, at, value)| (name.as_str(), Key { document, at: *at }, Node::new(document, value)))
    }

    /// The value of a key; `None` where it is absent or null.
    pub fn get(&self, key: &'static str) -> Option<Node<'a>> {
        self.known.borrow_mut().push(key);
        let (_, _, value) = self.entries.iter().find(|(name, _, _)| name == key)?;
        Some(Node::new(self.document, value)).filter(|n| !n.is_null())
    }

    /// The value of a key that must be there.
    pub fn required(&self, key: &'static str) -> Option<Node<'a>> {
        let found = self.get(key);
        if found.is_none() {
            self.node.problem(format!("{key} is missing; add it"));
        }
        found
    }

    /// A key that Prometheus or Alertmanager knows and we do not: a problem with advice where it is given. `false` asks
    /// for nothing and is fine.
    pub fn unsupported(&self, key: &'static str, advice: &str) {
        // Lists and sections are not asked for their text: that they have none is nobody's second problem.
        let asked = |node: Node<'_>| node.is_sequence() || node.is_mapping() || node.text() != Some("false");
        if self.get(key).is_some_and(asked) {
            let at = self.entries.iter().find(|(name, _, _)| name == key).map(|(_, at, _)| *at);
            if let Some(at) = at {
                self.document.report(at, format!("{key} is not supported yet; {advice}"));
            }
        }
    }

    /// Text.
    pub fn string(&self, key: &'static str) -> Option<String> {
        self.get(key)?.string()
    }

    /// A list of texts.
    pub fn strings(&self, key: &'static str) -> Vec<String> {
        self.get(key).map(|n| n.strings()).unwrap_or_default()
    }

    /// The items of a list; none where the key is absent.
    pub fn items(&self, key: &'static str) -> Vec<Node<'a>> {
        self.get(key).map(|n| n.items()).unwrap_or_default()
    }

    /// A truth value.
    pub fn bool(&self, key: &'static str) -> Option<bool> {
        self.get(key)?.bool()
    }

    /// A whole number from 0.
    pub fn u64(&self, key: &'static str) -> Option<u64> {
        self.get(key)?.u64()
    }

    /// A number.
    pub fn f64(&self, key: &'static str) -> Option<f64> {
        self.get(key)?.f64()
    }

    /// A duration.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        self.get(key)?.duration()
    }

    /// A duration above zero.
    pub fn positive_duration(&self, key: &'static str) -> Option<Duration> {
        self.get(key)?.positive_duration()
    }

    /// A size in bytes.
    pub fn bytes(&self, key: &'static str) -> Option<u64> {
        self.get(key)?.bytes()
    }

    /// A path, relative to the file's folder.
    pub fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.get(key)?.path()
    }

    /// A secret written in place.
    pub fn secret(&self, key: &'static str) -> Option<Secret> {
        self.get(key)?.secret()
    }

    /// Reports every key nobody asked for, with the nearest known one.
    pub fn finish(self) {
        let known = self.known.borrow();
        for (name, at, _) in self.entries {
            if known.contains(&name.as_str()) {
                continue;
            }
            let nearest = known.iter().map(|k| (distance(name, k), *k)).min();
            let hint = match nearest {
                Some((edits, key)) if edits <= 1 + name.len() / 5 => format!("did you mean {key:?}?"),
                _ => format!("known here: {}", known.join(", ")),
            };
            self.document.report(*at, format!("unknown key {name:?}; {hint}"));
        }
    }
}

/// Edits (insert, delete, replace, swap neighbours) that turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
