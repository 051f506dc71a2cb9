//! Rows by the labels that they are grouped by.

use std::collections::HashMap;

use model::Labels;

use super::labels::{RowLabels, collect};
use crate::plan::Grouping;

/// Groups in order of their first row. A row of a group that is there allocates nothing.
#[derive(Debug)]
pub(super) struct Groups<T> {
    /// By the bytes that [`write_pair`] makes of their labels.
    index: HashMap<Box<[u8]>, usize>,
    /// The key that is looked for, and that of the row before: rows come in order of labels, so it is often the same.
    key: Vec<u8>,
    previous: Vec<u8>,
    at: usize,
    pub groups: Vec<(Labels, T)>,
}

impl<T> Groups<T> {
    pub fn new() -> Self {
        Self { index: HashMap::new(), key: Vec::new(), previous: Vec::new(), at: 0, groups: Vec::new() }
    }

    /// The group with these labels, which are in order of names; made when it is new.
    pub fn entry<'p, E>(
        &mut self,
        labels: impl Iterator<Item = (&'p str, &'p str)> + Clone,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&mut T, E> {
        self.key.clear();
        labels.clone().for_each(|(name, value)| write_pair(&mut self.key, name, value));
        self.found(|| collect(labels), make)
    }

    /// The group of a row. The labels of a stored series are built only where it is the first of its group.
    pub fn of_row<E>(
        &mut self,
        grouping: &Grouping,
        names: &[&str],
        labels: RowLabels<'_>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&mut T, E> {
        self.key.clear();
        grouping.each_kept(labels, names, &mut |name, value| write_pair(&mut self.key, name, value));
        self.found(|| grouping.key(labels, names), make)
    }

    /// The groups in order of their labels: that of their first rows depends on which rows there are at the steps that are
    /// evaluated, and so would the last bit of a sum over them.
    pub fn in_order(mut self) -> Vec<(Labels, T)> {
        self.groups.sort_by(|a, b| a.0.cmp(&b.0));
        self.groups
    }

    fn found<E>(&mut self, labels: impl FnOnce() -> Labels, make: impl FnOnce() -> Result<T, E>) -> Result<&mut T, E> {
        if self.groups.is_empty() || !equal(&self.key, &self.previous) {
            self.at = match self.index.get(self.key.as_slice()) {
                Some(at) => *at,
                None => {
                    self.groups.push((labels(), make()?));
                    self.index.insert(self.key.as_slice().into(), self.groups.len() - 1);
                    self.groups.len() - 1
                }
            };
            std::mem::swap(&mut self.key, &mut self.previous);
        }
        Ok(&mut self.groups[self.at].1)
    }
}

/// Comparing two empty vectors costs a slow load of the library's, and `count(x)` would do that for every series.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

/// A name and a value, each after its length, so that equal bytes are equal labels.
fn write_pair(key: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, value] {
        key.extend_from_slice(&part.len().to_le_bytes());
        key.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_find_their_group_again() {
        let mut groups: Groups<usize> = Groups::new();
        let mut add = |pairs: &[(&str, &str)]| {
            *groups.entry(pairs.iter().copied(), || Ok::<_, ()>(0)).expect("is made") += 1;
        };
        for pairs in [&[("a", "bc")][..], &[], &[("ab", "c")], &[], &[("a", "bc")], &[("a", "b"), ("c", "d")]] {
            add(pairs);
        }
        let shown: Vec<_> = groups.groups.iter().map(|(labels, rows)| (labels.to_string(), *rows)).collect();
        let want = [(r#"{a="bc"}"#, 2), ("{}", 2), (r#"{ab="c"}"#, 1), (r#"{a="b", c="d"}"#, 1)];
        assert_eq!(shown, want.map(|(labels, rows)| (labels.to_owned(), rows)));
    }
}
