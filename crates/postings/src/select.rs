//! The evaluation of matchers: the smallest set first, then whatever narrows it at the least cost.
//!
//! A missing label counts as empty. So for each matcher only those values of its label *decide* on which it answers
//! otherwise than on the empty string: a matcher that the empty string does not satisfy demands one of them, and one that it
//! does satisfy forbids them all. `=` and `!=`, `=~` and `!~` have the same deciding values.

use std::collections::HashMap;
use std::sync::Arc;

use model::Matcher;

use crate::bitmap::Bitmap;
use crate::{LabelIndex, MatchCache, SeriesOrdinal, intersect, subtract};

/// What it costs to look up the label of one series, the text of one value or the start of one list, measured in
/// steps along a list. Rough on purpose: the ways it chooses between are far apart where it matters.
const LOOKUP_COST: usize = 32;
/// The lists of so many values are measured, those of more are estimated from a sample.
const MEASURED_VALUES: usize = 256;

/// Overwrites `out` with the series, ascending, that satisfy all matchers; with all series where there is none.
///
/// Where the index grows meanwhile, the answer is that of the moment at which the call began.
pub fn select<I: LabelIndex + ?Sized>(
    index: &I,
    matchers: &[Matcher],
    cache: &MatchCache,
    out: &mut Vec<SeriesOrdinal>,
) {
    out.clear();
    // Series from here on may have values that were not there yet when they were looked for.
    let count = index.series_count();
    let mut conditions = Vec::with_capacity(matchers.len());
    for matcher in matchers {
        match (deciding_values(index, matcher, cache), !matcher.matches_empty()) {
            (Deciding::Nothing, true) | (Deciding::EverySeries, false) => return,
            (Deciding::Nothing, false) | (Deciding::EverySeries, true) => {}
            (Deciding::Some(values), demands) => conditions.push(Condition::new(index, matcher, demands, values)),
        }
    }
    find_smallest(index, cache, &mut conditions);
    // What is demanded narrows more than what is forbidden; among equals the smaller set is cheaper to read.
    conditions.sort_by_key(|condition| (!condition.demands, condition.series));
    let mut selection = Selection { index, cache, series: out, spare: Vec::new(), list: Vec::new() };
    let mut rest = conditions.as_slice();
    if let Some((first, others)) = conditions.split_first()
        && first.demands
        && let Values::Known(ids) = &first.values
    {
        selection.start(first, ids);
        rest = others;
    } else {
        index.all(selection.series);
    }
    let known = selection.series.partition_point(|&series| (series as usize) < count);
    selection.series.truncate(known);
    for condition in rest {
        if selection.series.is_empty() {
            return;
        }
        selection.narrow(condition);
    }
}

/// What decides about a matcher.
enum Deciding {
    /// No value does.
    Nothing,
    /// Every value does, and every series has one.
    EverySeries,
    /// Some values do.
    Some(Values),
}

/// The deciding values of a matcher.
enum Values {
    /// Their ids, ascending.
    Known(Arc<[u32]>),
    /// To know them, so many values would have to be looked at.
    Unknown(usize),
}

struct Condition<'a> {
    matcher: &'a Matcher,
    /// Whether a series must have a deciding value, or must not.
    demands: bool,
    values: Values,
    /// How many series have a deciding value, roughly; `usize::MAX` as long as the values are unknown.
    series: usize,
}

impl<'a> Condition<'a> {
    fn new<I: LabelIndex + ?Sized>(index: &I, matcher: &'a Matcher, demands: bool, values: Values) -> Self {
        let series = match &values {
            Values::Known(ids) => estimate(index, matcher.name(), ids),
            Values::Unknown(_) => usize::MAX,
        };
        Self { matcher, demands, values, series }
    }

    fn found<I: LabelIndex + ?Sized>(&self, index: &I, cache: &MatchCache) -> Self {
        let ids = cache.find(index, self.matcher);
        Self::new(index, self.matcher, self.demands, Values::Known(ids))
    }
}

/// What can be said of the deciding values without looking at all values of the label.
fn deciding_values<I: LabelIndex + ?Sized>(index: &I, matcher: &Matcher, cache: &MatchCache) -> Deciding {
    let name = matcher.name();
    let pattern_takes_empty = matcher.matches_empty() != matcher.is_negated();
    let known = |ids: Arc<[u32]>| if ids.is_empty() { Deciding::Nothing } else { Deciding::Some(Values::Known(ids)) };
    match matcher.literals() {
        Some(literals) if !pattern_takes_empty => {
            let mut ids: Vec<u32> = literals.iter().filter_map(|value| index.value_id(name, value)).collect();
            ids.sort_unstable();
            return known(ids.into());
        }
        None if matcher.matches_all_non_empty() && pattern_takes_empty => return Deciding::Nothing,
        _ => {}
    }
    // The only literal is then the empty string.
    let any_value = matcher.literals().map_or(matcher.matches_all_non_empty(), |literals| literals.len() == 1);
    if any_value && index.on_every_series(name) {
        return Deciding::EverySeries;
    }
    match cache.recall(index, matcher) {
        Some(ids) => known(ids),
        None => Deciding::Some(Values::Unknown(index.cache_key(name).1 as usize)),
    }
}

/// Looks for the deciding values of what is demanded, of the label with the fewest values first, as long as looking at
/// them may cost less than looking at the series of the smallest set so far.
fn find_smallest<I: LabelIndex + ?Sized>(index: &I, cache: &MatchCache, conditions: &mut [Condition<'_>]) {
    let mut smallest = conditions.iter().filter(|c| c.demands).map(|c| c.series).min().unwrap_or(0);
    let mut unknown = Vec::new();
    for (at, condition) in conditions.iter().enumerate().filter(|(_, c)| c.demands) {
        if let Values::Unknown(count) = condition.values {
            unknown.push((count, at));
        }
    }
    unknown.sort_unstable();
    for (count, at) in unknown {
        if count >= smallest {
            return;
        }
        conditions[at] = conditions[at].found(index, cache);
        smallest = smallest.min(conditions[at].series);
    }
}

/// How many series have one of these values, roughly.
fn estimate<I: LabelIndex + ?Sized>(index: &I, name: &str, ids: &[u32]) -> usize {
    let stride = ids.len().div_ceil(MEASURED_VALUES).max(1);
    let sample = ids.iter().step_by(stride).map(|&id| index.postings_len(name, id));
    let series = sample.fold(0usize, usize::saturating_add).saturating_mul(stride);
    series.min(index.series_count())
}

/// The series that satisfy all conditions so far, and buffers for the next.
struct Selection<'a, I: ?Sized> {
    index: &'a I,
    cache: &'a MatchCache,
    series: &'a mut Vec<SeriesOrdinal>,
    spare: Vec<SeriesOrdinal>,
    list: Vec<SeriesOrdinal>,
}

impl<I: LabelIndex + ?Sized> Selection<'_, I> {
    /// Begins with the series that satisfy a condition which demands.
    fn start(&mut self, condition: &Condition<'_>, ids: &[u32]) {
        if let Some(bits) = unite(self.index, condition.matcher.name(), ids, condition.series, self.series) {
            self.series.clear();
            bits.list(self.series);
        }
    }

    fn narrow(&mut self, condition: &Condition<'_>) {
        let one_by_one = LOOKUP_COST.saturating_mul(self.series.len());
        match &condition.values {
            Values::Known(ids) => {
                let lists = condition.series.saturating_add(LOOKUP_COST.saturating_mul(ids.len()));
                if one_by_one < lists {
                    self.check(condition, |id, _| ids.binary_search(&id).is_ok());
                } else {
                    self.combine(condition, ids);
                }
            }
            Values::Unknown(count) if self.series.len() > *count => {
                self.narrow(&condition.found(self.index, self.cache));
            }
            Values::Unknown(_) => {
                let mut known = HashMap::new();
                let demands = condition.demands;
                self.check(condition, |id, value| {
                    *known.entry(id).or_insert_with(|| condition.matcher.matches(value) == demands)
                });
            }
        }
    }

    /// Keeps the series that satisfy a condition, asking each for its value. `decides` says whether a value is a deciding one.
    fn check(&mut self, condition: &Condition<'_>, mut decides: impl FnMut(u32, &str) -> bool) {
        let mut last = None;
        self.series.retain(|&series| {
            let deciding = self.index.value_of(series, condition.matcher.name()).is_some_and(|(id, value)| {
                // Neighbours often share a value.
                match last {
                    Some((last_id, decided)) if last_id == id => decided,
                    _ => last.insert((id, decides(id, &value))).1,
                }
            });
            deciding == condition.demands
        });
    }

    /// Keeps the series that satisfy a condition, by the lists of its deciding values.
    fn combine(&mut self, condition: &Condition<'_>, ids: &[u32]) {
        match unite(self.index, condition.matcher.name(), ids, condition.series, &mut self.list) {
            None => {
                let operation = if condition.demands { intersect } else { subtract };
                operation(self.series, &self.list, &mut self.spare);
                std::mem::swap(self.series, &mut self.spare);
            }
            Some(bits) => self.series.retain(|&series| bits.contains(series) == condition.demands),
        }
    }
}

/// Unites the lists of some values: in `list` where that is short or comes as one; else, where sorting would cost more
/// than setting a bit for each, in the bits that are returned.
fn unite<I: LabelIndex + ?Sized>(
    index: &I,
    name: &str,
    ids: &[u32],
    estimated: usize,
    list: &mut Vec<SeriesOrdinal>,
) -> Option<Bitmap> {
    list.clear();
    if ids.len() == 1 || estimated < Bitmap::words_for(index.series_count()) {
        for &id in ids {
            index.postings(name, id, list);
        }
        if ids.len() > 1 {
            // No two values share a series, but their lists interleave.
            list.sort_unstable();
        }
        return None;
    }
    let mut bits = Bitmap::with_room_for(index.series_count());
    for &id in ids {
        list.clear();
        index.postings(name, id, list);
        bits.insert_all(list);
    }
    Some(bits)
}
