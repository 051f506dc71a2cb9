//! Label sets: sorted, immutable, one allocation each, cheap to clone.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";
/// The label that holds a classic histogram bucket's upper bound.
pub const BUCKET_LABEL: &str = "le";

/// A label set, sorted by name. Two label sets are the same series exactly when they are equal.
///
/// All names and values lie in one string, each after its length, which is written as a variable-length number of six
/// bits a byte. Such a byte is below 0x80, so the whole stays valid UTF-8: a handle is two words, equality and hashing
/// are those of a string, and no `unsafe` is needed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

const CONTINUES: u8 = 0x40;

fn push_part(out: &mut String, part: &str) {
    let mut rest = part.len();
    while rest >= usize::from(CONTINUES) {
        out.push(char::from((rest as u8 & (CONTINUES - 1)) | CONTINUES));
        rest >>= 6;
    }
    out.push(char::from(rest as u8));
    out.push_str(part);
}

/// Splits the first length-prefixed part off. The encoding is made by [`push_part`] alone, so it is well formed.
#[inline]
fn split_part(data: &str) -> (&str, &str) {
    let bytes = data.as_bytes();
    let (mut length, mut shift, mut at) = (0usize, 0, 0);
    loop {
        let byte = bytes[at];
        at += 1;
        length |= usize::from(byte & (CONTINUES - 1)) << shift;
        if byte & CONTINUES == 0 {
            break;
        }
        shift += 6;
    }
    (&data[at..at + length], &data[at + length..])
}

impl Labels {
    /// The empty label set.
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// Builds a label set from pairs in any order. Of a name given twice the last one stays; empty values are dropped.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Builds a label set from pairs that are already strictly sorted by name with no empty value; `None` if they are
    /// not. This is the fast path for the wire, where senders sort.
    pub fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Option<Self> {
        let mut out = String::with_capacity(pairs.clone().map(|(n, v)| n.len() + v.len() + 4).sum());
        let mut previous: Option<&str> = None;
        for (name, value) in pairs {
            if value.is_empty() || previous.is_some_and(|p| p >= name) {
                return None;
            }
            previous = Some(name);
            push_part(&mut out, name);
            push_part(&mut out, value);
        }
        Some(Self(Arc::from(out)))
    }

    /// The pairs, in order of names.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        Pairs { rest: &self.0 }
    }

    /// The value of a label; `None` where the set has no such label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().take_while(|(n, _)| *n <= name).find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The value of `__name__`, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// How many labels the set has.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// True for the label set `{}`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The set in the encoding that it has in this process: equal bytes are equal sets. Nothing else is promised of them.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Bytes of heap that one copy of the set occupies.
    pub fn size_bytes(&self) -> usize {
        self.0.len() + 2 * size_of::<usize>()
    }

    /// The set without the named labels.
    pub fn without(&self, names: &[&str]) -> Self {
        Self::from_kept(self.iter().filter(|(n, _)| !names.contains(n)))
    }

    /// The set with only the named labels.
    pub fn keep_only(&self, names: &[&str]) -> Self {
        Self::from_kept(self.iter().filter(|(n, _)| names.contains(n)))
    }

    /// The set with the labels of `other` added; where both have a label, that of `other` stays.
    pub fn with_overrides(&self, other: &Self) -> Self {
        self.merged(other, |_, theirs| theirs)
    }

    /// The set with those labels of `other` added that it does not have itself (how external labels are added).
    pub fn with_defaults(&self, other: &Self) -> Self {
        self.merged(other, |ours, _| ours)
    }

    fn merged<'a>(&'a self, other: &'a Self, both: impl Fn(&'a str, &'a str) -> &'a str) -> Self {
        let mut out = String::with_capacity(self.0.len() + other.0.len());
        let mut push = |name: &str, value: &str| {
            push_part(&mut out, name);
            push_part(&mut out, value);
        };
        let (mut ours, mut theirs) = (Pairs { rest: &self.0 }.peekable(), Pairs { rest: &other.0 }.peekable());
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let from_ours = if order.is_le() { ours.next() } else { None };
            let from_theirs = if order.is_ge() { theirs.next() } else { None };
            match (from_ours, from_theirs) {
                (Some((name, a)), Some((_, b))) => push(name, both(a, b)),
                (Some((name, value)), None) | (None, Some((name, value))) => push(name, value),
                (None, None) => {}
            }
        }
        Self(Arc::from(out))
    }

    fn from_kept<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut out = String::new();
        for (name, value) in pairs {
            push_part(&mut out, name);
            push_part(&mut out, value);
        }
        Self(Arc::from(out))
    }

    /// FNV-1a 64 over `name 0xFF value 0xFF` of every pair: the fingerprint that Alertmanager shows for an alert.
    /// `{foo="bar"}` is `3fff2c2d7595e046`.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for (name, value) in self.iter() {
            eat(name.as_bytes());
            eat(value.as_bytes());
        }
        hash
    }
}

#[derive(Clone)]
struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (name, rest) = split_part(self.rest);
        let (value, rest) = split_part(rest);
        self.rest = rest;
        Some((name, value))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Ord for Labels {
    /// Pair by pair, name before value; a prefix sorts first (the order in which Prometheus lists series).
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The notation of PromQL: `name{a="b", c="d"}`; names outside the legacy alphabet are quoted.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let bare_name = is_legacy_metric_name(name);
        if bare_name {
            f.write_str(name)?;
            if self.len() == 1 {
                return Ok(());
            }
        }
        f.write_str("{")?;
        let mut separator = "";
        if !bare_name && !name.is_empty() {
            write!(f, "{name:?}")?;
            separator = ", ";
        }
        for (name, value) in self.iter().filter(|(n, _)| *n != METRIC_NAME) {
            f.write_str(separator)?;
            separator = ", ";
            if is_legacy_label_name(name) { write!(f, "{name}={value:?}")? } else { write!(f, "{name:?}={value:?}")? }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A JSON object of strings, as in the Prometheus HTTP API.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Collects and edits labels before they become a [`Labels`]. Reusable: [`LabelsBuilder::reset`] keeps its memory.
#[derive(Debug, Default, Clone)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder that starts from a label set.
    pub fn from_labels(labels: &Labels) -> Self {
        Self { pairs: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Forgets everything and starts again from `labels`.
    pub fn reset(&mut self, labels: &Labels) {
        self.pairs.clear();
        self.pairs.extend(labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    /// Sets a label; an empty value removes it, as everywhere in Prometheus.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) if value.is_empty() => {
                self.pairs.remove(at);
            }
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(_) if value.is_empty() => {}
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Sets a label only where the set does not have it yet.
    pub fn set_default(&mut self, name: &str, value: &str) -> &mut Self {
        if self.get(name).is_none() {
            self.set(name, value);
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        Some(&self.pairs[at].1)
    }

    /// Keeps the labels for which `keep(name, value)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) -> &mut Self {
        self.pairs.retain(|(n, v)| keep(n, v));
        self
    }

    /// The pairs, in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// True when no label is set.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The label set as it stands.
    pub fn build(&self) -> Labels {
        Labels::from_kept(self.iter())
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`: metric names that need no quotes.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let legal =
        |(i, b): (usize, u8)| b.is_ascii_alphabetic() || b == b'_' || b == b':' || (i > 0 && b.is_ascii_digit());
    !name.is_empty() && name.bytes().enumerate().all(legal)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`: label names that need no quotes.
pub fn is_legacy_label_name(name: &str) -> bool {
    is_legacy_metric_name(name) && !name.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fingerprint_is_that_of_alertmanager() {
        assert_eq!(Labels::from_pairs([("foo", "bar")]).fingerprint(), 0x3fff_2c2d_7595_e046);
    }

    #[test]
    fn displays_as_promql() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a\"b"), ("a.b", "c")]);
        assert_eq!(labels.to_string(), r#"up{"a.b"="c", job="a\"b"}"#);
        assert_eq!(Labels::from_pairs([("__name__", "up")]).to_string(), "up");
        assert_eq!(Labels::from_pairs([("__name__", "a.b")]).to_string(), r#"{"a.b"}"#);
        assert_eq!(Labels::empty().to_string(), "{}");
    }

    #[test]
    fn from_sorted_refuses_what_is_not_canonical() {
        assert!(Labels::from_sorted([("a", "1"), ("b", "2")].into_iter()).is_some());
        assert!(Labels::from_sorted([("b", "1"), ("a", "2")].into_iter()).is_none());
        assert!(Labels::from_sorted([("a", "1"), ("a", "2")].into_iter()).is_none());
        assert!(Labels::from_sorted([("a", "")].into_iter()).is_none());
    }

    #[test]
    fn merges_both_ways() {
        let ours = Labels::from_pairs([("a", "1"), ("c", "3")]);
        let other = Labels::from_pairs([("b", "2"), ("c", "4"), ("d", "5")]);
        assert_eq!(ours.with_overrides(&other).to_string(), r#"{a="1", b="2", c="4", d="5"}"#);
        assert_eq!(ours.with_defaults(&other).to_string(), r#"{a="1", b="2", c="3", d="5"}"#);
        assert_eq!(ours.with_defaults(&Labels::empty()), ours);
        assert_eq!(Labels::empty().with_overrides(&ours), ours);
    }

    proptest! {
        #[test]
        fn keeps_every_pair_sorted(pairs in prop::collection::btree_map("\\PC{0,100}", "\\PC{1,200}", 0..12)) {
            let labels = Labels::from_pairs(pairs.iter().rev());
            let back: Vec<_> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let want: Vec<_> = pairs.clone().into_iter().collect();
            prop_assert_eq!(&back, &want);
            prop_assert_eq!(Labels::from_sorted(labels.iter()), Some(labels.clone()));
            for (name, value) in &pairs {
                prop_assert_eq!(labels.get(name), Some(value.as_str()));
            }
        }

        #[test]
        fn orders_like_its_pairs(a in prop::collection::btree_map("[ab]{1,2}", "[ab]{1,2}", 0..4),
                                 b in prop::collection::btree_map("[ab]{1,2}", "[ab]{1,2}", 0..4)) {
            let want = a.iter().collect::<Vec<_>>().cmp(&b.iter().collect::<Vec<_>>());
            prop_assert_eq!(Labels::from_pairs(&a).cmp(&Labels::from_pairs(&b)), want);
        }
    }
}
