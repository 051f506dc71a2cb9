use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use model::{MatchOp, Matcher};
use proptest::prelude::*;

use crate::{LabelIndex, MatchCache, SeriesOrdinal, select};

/// An index in memory that counts what is asked of it.
#[derive(Default)]
struct Memory {
    series: Vec<BTreeMap<String, String>>,
    pairs: Vec<(String, String, Vec<SeriesOrdinal>)>,
    ids: HashMap<(String, String), u32>,
    /// Whether it tells the order in which values arrived.
    ordered: bool,
    /// Labels that it knows to be on every series.
    everywhere: Vec<String>,
    values_seen: Cell<usize>,
    lists_read: Cell<usize>,
    lookups: Cell<usize>,
}

fn count(cell: &Cell<usize>) {
    cell.set(cell.get() + 1);
}

impl Memory {
    fn push(&mut self, labels: impl IntoIterator<Item = (String, String)>) {
        let ordinal = self.series.len() as SeriesOrdinal;
        let labels: BTreeMap<String, String> = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        for (name, value) in &labels {
            let next = self.pairs.len() as u32;
            let id = *self.ids.entry((name.clone(), value.clone())).or_insert(next);
            if id == next {
                self.pairs.push((name.clone(), value.clone(), Vec::new()));
            }
            self.pairs[id as usize].2.push(ordinal);
        }
        self.series.push(labels);
    }

    fn of(&self, name: &str) -> impl Iterator<Item = (u32, &str)> {
        self.pairs.iter().enumerate().filter(move |(_, p)| p.0 == name).map(|(id, p)| (id as u32, p.1.as_str()))
    }

    fn select(&self, cache: &MatchCache, matchers: &[Matcher]) -> Vec<SeriesOrdinal> {
        let mut out = vec![9, 9];
        select(self, matchers, cache, &mut out);
        out
    }

    fn brute_force(&self, matchers: &[Matcher]) -> Vec<SeriesOrdinal> {
        let holds = |labels: &BTreeMap<String, String>, m: &Matcher| m.matches(labels.get(m.name()).map_or("", |v| v));
        let all = self.series.iter().enumerate();
        all.filter(|(_, labels)| matchers.iter().all(|m| holds(labels, m))).map(|(at, _)| at as u32).collect()
    }
}

impl LabelIndex for Memory {
    fn series_count(&self) -> usize {
        self.series.len()
    }

    fn all(&self, into: &mut Vec<SeriesOrdinal>) {
        into.extend(0..self.series.len() as u32);
    }

    fn value_id(&self, name: &str, value: &str) -> Option<u32> {
        self.ids.get(&(name.to_owned(), value.to_owned())).copied()
    }

    fn postings(&self, name: &str, value_id: u32, into: &mut Vec<SeriesOrdinal>) {
        count(&self.lists_read);
        let (of, _, list) = &self.pairs[value_id as usize];
        assert_eq!(of, name);
        into.extend_from_slice(list);
    }

    fn postings_len(&self, _: &str, value_id: u32) -> usize {
        self.pairs[value_id as usize].2.len()
    }

    fn values(&self, name: &str, prefix: &str, each: &mut dyn FnMut(u32, &str) -> bool) {
        for (id, value) in self.of(name).filter(|(_, value)| value.starts_with(prefix)) {
            count(&self.values_seen);
            if !each(id, value) {
                return;
            }
        }
    }

    fn value_of(&self, series: SeriesOrdinal, name: &str) -> Option<(u32, Cow<'_, str>)> {
        count(&self.lookups);
        let value = self.series[series as usize].get(name)?;
        Some((self.ids[&(name.to_owned(), value.clone())], value.into()))
    }

    fn cache_key(&self, name: &str) -> (u64, u32) {
        (1, self.of(name).count() as u32)
    }

    fn values_after(&self, name: &str, seen: u32, each: &mut dyn FnMut(u32, &str) -> bool) -> bool {
        for (id, value) in self.of(name).skip(seen as usize).filter(|_| self.ordered) {
            count(&self.values_seen);
            if !each(id, value) {
                break;
            }
        }
        self.ordered
    }

    fn on_every_series(&self, name: &str) -> bool {
        self.everywhere.iter().any(|everywhere| everywhere == name)
    }
}

/// Series with labels of few values, of some, and of one for each series; each but `every` is missing here and there.
fn push_series(index: &mut Memory, count: u32, seed: u64) {
    let first = index.series.len() as u32;
    for at in first..first + count {
        // Any well mixing function will do, as long as it is the same each time.
        let mixed =
            (u64::from(at) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d);
        let letter = ["x", "y", "é"][(mixed % 3) as usize];
        let label = |name: &str, shift: u32, values: u64| {
            let value = (mixed >> shift) % (values + 1);
            (name.to_owned(), if value == 0 { String::new() } else { format!("{letter}{value}") })
        };
        let every = ("every".to_owned(), format!("{letter}{}", mixed % 7));
        let unique = if mixed.is_multiple_of(5) { String::new() } else { format!("x{at}") };
        index.push([label("few", 8, 2), label("some", 16, 60), every, ("unique".to_owned(), unique)]);
    }
}

const PATTERNS: [&str; 22] = [
    "",
    "x1",
    "é2",
    "x1|y2",
    "x1|nowhere|é2",
    "nowhere",
    ".*",
    ".+",
    "x.*",
    ".*1",
    ".*1.*",
    "x.+",
    "x[0-9]+",
    "y?|x1",
    "|x2",
    "(x|y)[0-9]{2}",
    "[^x].*",
    "é.?",
    "(?i)X1",
    "(x1)?",
    "x1.*|y.*",
    "[a-z]+7",
];

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let name = prop::sample::select(vec!["few", "some", "every", "unique", "missing"]);
    let value = prop::sample::select(PATTERNS.to_vec());
    (op, name, value).prop_map(|(op, name, value)| Matcher::new(op, name, value).expect("compiles"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn selects_what_asking_every_series_selects(
        counts in prop::collection::vec(prop_oneof![0..40u32, 0..1500u32], 1..4),
        seed in any::<u64>(),
        ordered in any::<bool>(),
        everywhere in any::<bool>(),
        queries in prop::collection::vec(prop::collection::vec(any_matcher(), 0..5), 1..6),
        cache_bytes in prop::sample::select(vec![0, 1000, 1_000_000]),
    ) {
        let everywhere = if everywhere { vec!["every".to_owned()] } else { Vec::new() };
        let mut index = Memory { ordered, everywhere, ..Memory::default() };
        let cache = MatchCache::new(cache_bytes);
        // The same queries again after each growth, so that what is remembered is used and extended.
        for count in counts {
            push_series(&mut index, count, seed);
            for query in queries.iter().chain(&queries) {
                let shown: Vec<String> = query.iter().map(ToString::to_string).collect();
                prop_assert_eq!(index.select(&cache, query), index.brute_force(query), "{:?}", shown);
            }
        }
    }
}

/// An index that gets another series whenever it is asked anything.
struct Restless(RefCell<Memory>);

impl Restless {
    fn ask<T>(&self, question: impl FnOnce(&Memory) -> T) -> T {
        let answer = question(&self.0.borrow());
        push_series(&mut self.0.borrow_mut(), 1, 3);
        answer
    }
}

impl LabelIndex for Restless {
    fn series_count(&self) -> usize {
        self.ask(Memory::series_count)
    }

    fn all(&self, into: &mut Vec<SeriesOrdinal>) {
        self.ask(|index| index.all(into));
    }

    fn value_id(&self, name: &str, value: &str) -> Option<u32> {
        self.ask(|index| index.value_id(name, value))
    }

    fn postings(&self, name: &str, value_id: u32, into: &mut Vec<SeriesOrdinal>) {
        self.ask(|index| index.postings(name, value_id, into));
    }

    fn postings_len(&self, name: &str, value_id: u32) -> usize {
        self.ask(|index| index.postings_len(name, value_id))
    }

    fn values(&self, name: &str, prefix: &str, each: &mut dyn FnMut(u32, &str) -> bool) {
        self.ask(|index| index.values(name, prefix, each));
    }

    fn value_of(&self, series: SeriesOrdinal, name: &str) -> Option<(u32, Cow<'_, str>)> {
        self.ask(|index| index.value_of(series, name).map(|(id, value)| (id, value.into_owned().into())))
    }

    fn cache_key(&self, name: &str) -> (u64, u32) {
        self.ask(|index| index.cache_key(name))
    }

    fn values_after(&self, name: &str, seen: u32, each: &mut dyn FnMut(u32, &str) -> bool) -> bool {
        self.ask(|index| index.values_after(name, seen, each))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn growth_while_selecting_does_not_show(
        count in prop_oneof![0..5u32, 0..300u32],
        queries in prop::collection::vec(prop::collection::vec(any_matcher(), 0..4), 1..4),
    ) {
        let mut index = Memory { ordered: true, ..Memory::default() };
        push_series(&mut index, count, 3);
        let (restless, cache) = (Restless(RefCell::new(index)), MatchCache::new(1_000_000));
        for query in queries.iter().chain(&queries) {
            let want = restless.0.borrow().brute_force(query);
            let mut out = Vec::new();
            select(&restless as &dyn LabelIndex, query, &cache, &mut out);
            prop_assert_eq!(out, want, "{:?}", query.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
    }
}

fn matcher(op: MatchOp, name: &str, value: &str) -> Matcher {
    Matcher::new(op, name, value).expect("compiles")
}

fn filled(count: u32) -> Memory {
    let mut index = Memory { ordered: true, everywhere: vec!["every".to_owned()], ..Memory::default() };
    push_series(&mut index, count, 1);
    index
}

#[test]
fn a_label_that_all_have_costs_nothing() {
    let (index, cache) = (filled(2000), MatchCache::new(1_000_000));
    for op in [MatchOp::Regex, MatchOp::NotRegex] {
        index.select(&cache, &[matcher(op, "every", ".+"), matcher(op, "some", ".*")]);
    }
    assert_eq!(index.select(&cache, &[matcher(MatchOp::NotEqual, "every", "")]).len(), 2000);
    assert_eq!((index.values_seen.get(), index.lists_read.get(), index.lookups.get()), (0, 0, 0));
}

#[test]
fn few_candidates_are_asked_one_by_one() {
    let (index, cache) = (filled(2000), MatchCache::new(1_000_000));
    let one = index.series.iter().find_map(|labels| labels.get("unique")).expect("some have one").clone();
    let query = [matcher(MatchOp::Regex, "some", "[xyé].*1"), Matcher::equal("unique", one)];
    assert_eq!(index.select(&cache, &query), index.brute_force(&query));
    assert_eq!((index.values_seen.get(), index.lists_read.get(), index.lookups.get()), (0, 1, 1));
}

#[test]
fn what_was_found_is_remembered_and_extended() {
    let (mut index, cache) = (filled(1000), MatchCache::new(1_000_000));
    let query = [matcher(MatchOp::Regex, "unique", "x.*[05]")];
    let values = |index: &Memory| index.of("unique").count();
    index.select(&cache, &query);
    index.select(&cache, &query);
    index.select(&cache, &[matcher(MatchOp::NotRegex, "unique", "x.*[05]")]);
    assert_eq!((cache.misses(), cache.hits(), index.values_seen.get()), (1, 2, values(&index)));
    push_series(&mut index, 500, 1);
    assert_eq!(index.select(&cache, &query), index.brute_force(&query));
    assert_eq!((cache.misses(), cache.hits(), index.values_seen.get()), (1, 3, values(&index)));
    index.ordered = false;
    push_series(&mut index, 500, 1);
    assert_eq!(index.select(&cache, &query), index.brute_force(&query));
    assert_eq!((cache.misses(), cache.hits()), (2, 3));
}

#[test]
fn the_cache_stays_within_its_bytes() {
    let (index, cache) = (filled(3000), MatchCache::new(100_000));
    for digit in 0..50 {
        index.select(&cache, &[matcher(MatchOp::Regex, "unique", &format!("x.*[^{digit}]"))]);
    }
    assert!(cache.size_bytes() <= 100_000, "{}", cache.size_bytes());
    assert!(cache.size_bytes() > 0);
}
