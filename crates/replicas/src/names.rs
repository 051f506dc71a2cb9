//! The labels that name a replica: whether a series may have one, which replica it names, and the series without it.

use head::Keys;
use memchr::memmem::Finder;
use model::Labels;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::spans::{NOBODY, Replica};

/// The configured labels.
pub(crate) struct Names {
    names: Vec<String>,
    /// What to look for in bytes: names that contain another of them are found with that.
    finders: Vec<Finder<'static>>,
    seed: u64,
}

impl Names {
    pub(crate) fn new(labels: &[String], keys: &Keys) -> Self {
        let mut names: Vec<String> = labels.iter().filter(|name| !name.is_empty()).cloned().collect();
        names.sort();
        names.dedup();
        let is_shortest = |name: &&String| !names.iter().any(|other| other != *name && name.contains(other.as_str()));
        let finders = names.iter().filter(is_shortest).map(|name| Finder::new(name).into_owned()).collect();
        // Nobody outside can look for two replicas with one number.
        Self { seed: keys.key(keys.own_context(), b"replica") as u64, names, finders }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether bytes that spell names out can have one of them.
    #[inline]
    pub(crate) fn may_be_in(&self, bytes: &[u8]) -> bool {
        self.finders.iter().any(|finder| finder.find(bytes).is_some())
    }

    /// The replica that a label set names, and the set without; `None` where it names none.
    pub(crate) fn strip(&self, labels: &Labels) -> Option<(Replica, Labels)> {
        let mut named = String::new();
        for name in &self.names {
            if let Some(value) = labels.get(name) {
                named.extend([name, "\u{ff}", value, "\u{ff}"]);
            }
        }
        if named.is_empty() {
            return None;
        }
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let replica = xxh3_64_with_seed(named.as_bytes(), self.seed);
        Some((if replica == NOBODY { NOBODY + 1 } else { replica }, labels.without(&names)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configured_label_goes_and_all_together_name_the_replica() {
        let configured = ["prometheus_replica".to_owned(), "replica".to_owned(), String::new()];
        let names = Names::new(&configured, &Keys::random());
        let labels = |pairs: &[(&str, &str)]| {
            let all = [("__name__", "up"), ("a", "b")].into_iter().chain(pairs.iter().copied());
            Labels::from_pairs(all)
        };
        assert_eq!(names.strip(&labels(&[])), None);
        let cases: [&[(&str, &str)]; 4] = [
            &[("replica", "a")],
            &[("replica", "b")],
            &[("prometheus_replica", "a")],
            &[("replica", "a"), ("prometheus_replica", "a")],
        ];
        let mut seen = std::collections::BTreeSet::new();
        for pairs in cases {
            let full = labels(pairs);
            assert!(names.may_be_in(full.as_bytes()));
            let (replica, merged) = names.strip(&full).expect("names one");
            assert_eq!(merged, labels(&[]));
            assert!(replica != NOBODY && seen.insert(replica), "{pairs:?}");
        }
        assert!(!names.may_be_in(labels(&[]).as_bytes()));
        assert_eq!(names.finders.len(), 1);
        assert!(Names::new(&[], &Keys::random()).is_empty());
    }
}
