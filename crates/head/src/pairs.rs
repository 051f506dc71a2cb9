//! Label pairs: each name and each value once, a number per pair, and which series have it.

use hashbrown::{DefaultHashBuilder, HashMap};
use std::hash::BuildHasher;

use crate::table::{Positions, push_gently};

/// A pair's number.
pub(crate) type PairId = u32;
/// Stands for a pair that is not there.
pub(crate) const NO_PAIR: PairId = PairId::MAX;

/// Bytes of values that lie in one string.
const SEGMENT_BYTES: usize = 64 << 10;

/// All pairs of one generation. Numbers are given in order of arrival and never change.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    names: Vec<Name>,
    by_name: HashMap<Box<str>, u32>,
    pairs: Vec<Pair>,
    positions: Positions,
    texts: Texts,
    hasher: DefaultHashBuilder,
    postings_bytes: usize,
    /// Which name stood at which place of the label set that was looked up last.
    recent: Vec<u32>,
}

/// A label name.
#[derive(Debug)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    /// Its pairs in order of arrival.
    pub(crate) pairs: Vec<PairId>,
    /// How many series have it.
    pub(crate) series: u32,
    /// Bytes of its values.
    pub(crate) value_bytes: u64,
    /// The pair that was looked up last.
    recent: PairId,
}

#[derive(Debug)]
struct Pair {
    name: u32,
    text: Text,
    postings: Postings,
}

/// Ascending series. Many pairs have only one, which needs no list.
#[derive(Debug)]
enum Postings {
    One(u32),
    Many(Vec<u32>),
}

impl Postings {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(series) => std::slice::from_ref(series),
            Self::Many(list) => list,
        }
    }
}

/// Where a value lies.
#[derive(Debug, Clone, Copy)]
struct Text {
    segment: u32,
    at: u32,
    length: u32,
}

/// Values one after another.
#[derive(Debug, Default)]
struct Texts {
    segments: Vec<String>,
    bytes: usize,
}

impl Texts {
    fn get(&self, text: Text) -> &str {
        let at = text.at as usize;
        // Always there: texts are made by `add` alone.
        self.segments.get(text.segment as usize).and_then(|s| s.get(at..at + text.length as usize)).unwrap_or("")
    }

    fn add(&mut self, text: &str) -> Option<Text> {
        let length = u32::try_from(text.len()).ok()?;
        if self.segments.last().is_none_or(|last| last.capacity() - last.len() < text.len()) {
            let segment = String::with_capacity(SEGMENT_BYTES.max(text.len()));
            self.bytes += segment.capacity();
            self.segments.push(segment);
        }
        let segment = u32::try_from(self.segments.len() - 1).ok()?;
        let last = self.segments.last_mut()?;
        let at = u32::try_from(last.len()).ok()?;
        last.push_str(text);
        Some(Text { segment, at, length })
    }
}

impl Pairs {
    /// How many pairs there are.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// All names, by number.
    pub(crate) fn names(&self) -> &[Name] {
        &self.names
    }

    /// The number of a name.
    pub(crate) fn name_id(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// A name by its number; empty for one that is not there.
    pub(crate) fn name(&self, name: u32) -> &str {
        self.names.get(name as usize).map_or("", |n| &*n.text)
    }

    /// The number of a pair's name.
    #[inline]
    pub(crate) fn name_of(&self, pair: PairId) -> Option<u32> {
        self.pairs.get(pair as usize).map(|p| p.name)
    }

    /// A pair's name and value; empty for one that is not there.
    pub(crate) fn text(&self, pair: PairId) -> (&str, &str) {
        let Some(pair) = self.pairs.get(pair as usize) else { return ("", "") };
        (self.name(pair.name), self.texts.get(pair.text))
    }

    /// The series that have a pair, ascending.
    pub(crate) fn postings(&self, pair: PairId) -> &[u32] {
        self.pairs.get(pair as usize).map_or(&[], |p| p.postings.as_slice())
    }

    /// The number of a pair.
    pub(crate) fn find(&self, name: &str, value: &str) -> Option<PairId> {
        self.find_value(self.name_id(name)?, value)
    }

    fn find_value(&self, name: u32, value: &str) -> Option<PairId> {
        let is =
            |&at: &u32| self.pairs.get(at as usize).is_some_and(|p| p.name == name && self.texts.get(p.text) == value);
        let recent = self.names.get(name as usize)?.recent;
        if is(&recent) {
            return Some(recent);
        }
        self.positions.find(self.hasher.hash_one((name, value)), |at| is(&at))
    }

    /// The numbers of the pairs of a label set, [`NO_PAIR`] for those that are not there. Neighbouring series share names
    /// and most of their values, so what was found last is looked at first.
    pub(crate) fn find_all<'a>(&mut self, labels: impl Iterator<Item = (&'a str, &'a str)>, into: &mut Vec<PairId>) {
        into.clear();
        for (place, (name, value)) in labels.enumerate() {
            let guess = self.recent.get(place).copied().filter(|n| &*self.names[*n as usize].text == name);
            let found = guess.or_else(|| self.name_id(name));
            let Some(id) = found else {
                into.push(NO_PAIR);
                continue;
            };
            match self.recent.get_mut(place) {
                Some(recent) => *recent = id,
                None => self.recent.push(id),
            }
            let pair = self.find_value(id, value).unwrap_or(NO_PAIR);
            if pair != NO_PAIR {
                self.names[id as usize].recent = pair;
            }
            into.push(pair);
        }
    }

    /// Adds a pair that is not there, whose first series is `series`. `None` when there is no number left for it.
    pub(crate) fn add(&mut self, name: &str, value: &str, series: u32) -> Option<PairId> {
        let id = u32::try_from(self.pairs.len()).ok().filter(|id| *id < NO_PAIR)?;
        let name_id = match self.name_id(name) {
            Some(id) => id,
            None => self.add_name(name)?,
        };
        let text = self.texts.add(value)?;
        let hash = self.hasher.hash_one((name_id, value));
        let Self { pairs, texts, hasher, positions, .. } = self;
        positions.insert(hash, id, |at| {
            let pair = &pairs[at as usize];
            hasher.hash_one((pair.name, texts.get(pair.text)))
        });
        push_gently(pairs, Pair { name: name_id, text, postings: Postings::One(series) });
        let name = &mut self.names[name_id as usize];
        push_gently(&mut name.pairs, id);
        name.series += 1;
        name.value_bytes += value.len() as u64;
        name.recent = id;
        Some(id)
    }

    fn add_name(&mut self, name: &str) -> Option<u32> {
        let id = u32::try_from(self.names.len()).ok()?;
        self.names.push(Name { text: name.into(), pairs: Vec::new(), series: 0, value_bytes: 0, recent: NO_PAIR });
        self.by_name.insert(name.into(), id);
        Some(id)
    }

    /// Adds a series, newer than all others, to a pair that is there.
    pub(crate) fn post(&mut self, pair: PairId, series: u32) {
        let Some(pair) = self.pairs.get_mut(pair as usize) else { return };
        if let Some(name) = self.names.get_mut(pair.name as usize) {
            name.series += 1;
        }
        match &mut pair.postings {
            Postings::One(first) => {
                let list = vec![*first, series];
                self.postings_bytes += list.capacity() * 4;
                pair.postings = Postings::Many(list);
            }
            Postings::Many(list) => {
                let before = list.capacity();
                push_gently(list, series);
                self.postings_bytes += (list.capacity() - before) * 4;
            }
        }
    }

    /// Bytes of heap, nearly.
    pub(crate) fn heap_bytes(&self) -> usize {
        let lists: usize =
            self.names.iter().map(|n| size_of::<Name>() + 2 * n.text.len() + n.pairs.capacity() * 4).sum();
        let tables = self.pairs.capacity() * size_of::<Pair>() + self.positions.heap_bytes();
        lists + tables + self.texts.bytes + self.postings_bytes
    }
}
