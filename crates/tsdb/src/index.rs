//! Which series there are, and which of them have a label: postings.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::{Labels, MatchOp, Matcher};

use crate::series::Series;

/// Position of a series in the index, in order of creation.
type SeriesRef = u32;

/// All series, by labels and by label.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_labels: HashMap<Labels, Arc<Series>>,
    by_ref: Vec<Arc<Series>>,
    /// Label name, label value, series that have it: ascending references.
    postings: HashMap<String, BTreeMap<String, Vec<SeriesRef>>>,
}

impl Index {
    pub(crate) fn len(&self) -> usize {
        self.by_ref.len()
    }

    pub(crate) fn get(&self, labels: &Labels) -> Option<&Arc<Series>> {
        self.by_labels.get(labels)
    }

    pub(crate) fn all(&self) -> &[Arc<Series>] {
        &self.by_ref
    }

    pub(crate) fn create(&mut self, labels: &Labels) -> Arc<Series> {
        let series = Arc::new(Series::new(labels.clone()));
        self.insert(series.clone());
        series
    }

    pub(crate) fn insert(&mut self, series: Arc<Series>) {
        let reference = self.by_ref.len() as SeriesRef;
        for (name, value) in series.labels().iter() {
            if !self.postings.contains_key(name) {
                self.postings.insert(name.to_owned(), BTreeMap::new());
            }
            // Just inserted where it was missing.
            let Some(values) = self.postings.get_mut(name) else { continue };
            match values.get_mut(value) {
                Some(list) => list.push(reference),
                None => {
                    values.insert(value.to_owned(), vec![reference]);
                }
            }
        }
        self.by_labels.insert(series.labels().clone(), series.clone());
        self.by_ref.push(series);
    }

    /// The series that satisfy every matcher, in order of creation.
    ///
    /// The matcher with the fewest candidates is answered from postings; the rest are checked on each candidate.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<Arc<Series>> {
        let narrowest = matchers
            .iter()
            .filter(|m| !m.matches(""))
            .map(|m| (self.candidates_at_most(m), m))
            .min_by_key(|(count, _)| *count);
        let satisfied = |s: &&Arc<Series>| model::matches_all(matchers, s.labels());
        match narrowest {
            None => self.by_ref.iter().filter(satisfied).cloned().collect(),
            Some((_, matcher)) => {
                let candidates = self.candidates(matcher);
                candidates.iter().filter_map(|r| self.by_ref.get(*r as usize)).filter(satisfied).cloned().collect()
            }
        }
    }

    fn candidates_at_most(&self, matcher: &Matcher) -> usize {
        let Some(values) = self.postings.get(matcher.name()) else { return 0 };
        match matcher.op() {
            MatchOp::Equal => values.get(matcher.value()).map_or(0, Vec::len),
            // Not worth evaluating here: assumed to select about everything that has the label.
            _ => values.values().map(Vec::len).sum(),
        }
    }

    fn candidates(&self, matcher: &Matcher) -> Vec<SeriesRef> {
        let Some(values) = self.postings.get(matcher.name()) else { return Vec::new() };
        if matcher.op() == MatchOp::Equal {
            return values.get(matcher.value()).cloned().unwrap_or_default();
        }
        let mut out: Vec<SeriesRef> =
            values.iter().filter(|(value, _)| matcher.matches(value)).flat_map(|(_, list)| list).copied().collect();
        out.sort_unstable();
        out
    }

    /// Label names of all series.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.postings.keys().map(String::as_str)
    }

    /// Values of one label with the number of series that have them, in order of values.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        self.postings.get(name).into_iter().flatten().map(|(value, list)| (value.as_str(), list.len()))
    }
}
