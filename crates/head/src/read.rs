//! Selecting series and reading them.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use hashbrown::HashSet;
use model::{HistogramBuffer, Labels, Matcher, SampleBuffer, SelectError, StoredSeries, TimeRange};
use postings::MatchCache;

use crate::catalog::{Catalog, SLICE};
use crate::head::Head;
use crate::index::Index;
use crate::pairs::PairId;
use crate::series::{Locks, Series, State};

/// So many selected series may lack a rank before one is given to all.
const MAX_UNRANKED: usize = 2048;

/// A selected series. Holds on to its samples and its labels, whatever becomes of the head.
#[derive(Debug)]
pub struct HeadSeries {
    catalog: Arc<Catalog>,
    series: Series,
    reference: u32,
    labels: OnceLock<Labels>,
}

impl StoredSeries for HeadSeries {
    fn labels(&self) -> &Labels {
        self.labels.get_or_init(|| self.catalog.index.read().labels(self.reference))
    }

    fn each_label(&self, each: &mut dyn FnMut(&str, &str)) {
        let index = self.catalog.index.read();
        index
            .pairs_of(self.reference)
            .iter()
            .map(|pair| index.pairs.text(*pair))
            .for_each(|(name, value)| each(name, value));
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        self.series.read(range, into);
        Ok(())
    }

    fn read_newest(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        self.series.read_newest(range, into);
        Ok(())
    }

    fn read_histograms(&self, range: TimeRange, into: &mut HistogramBuffer) -> Result<(), SelectError> {
        self.series.read_histograms(range, into);
        Ok(())
    }
}

impl HeadSeries {
    /// The names of the labels that any of these have.
    pub fn names_of(selected: &[Self]) -> BTreeSet<String> {
        texts_of(selected, |index, pair| index.pairs.name_of(pair), |index, name| index.pairs.name(name).to_owned())
    }

    /// The values that any of these have for a label.
    pub fn values_of(selected: &[Self], name: &str) -> BTreeSet<String> {
        let named = |index: &Index, pair| (index.pairs.text(pair).0 == name).then_some(pair);
        texts_of(selected, named, |index, pair| index.pairs.text(pair).1.to_owned())
    }
}

/// What `pick` finds among the pairs of any of these, as text. Numbers are gathered, few texts are made.
fn texts_of(
    selected: &[HeadSeries],
    pick: impl Fn(&Index, PairId) -> Option<u32>,
    text: impl Fn(&Index, u32) -> String,
) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    // One selection is of one catalog.
    for part in selected.chunk_by(|a, b| Arc::ptr_eq(&a.catalog, &b.catalog)) {
        let Some(first) = part.first() else { continue };
        let mut numbers = HashSet::new();
        for slice in part.chunks(SLICE) {
            let index = first.catalog.index.read();
            numbers.extend(slice.iter().flat_map(|s| index.pairs_of(s.reference)).filter_map(|p| pick(&index, *p)));
        }
        let numbers: Vec<u32> = numbers.into_iter().collect();
        for slice in numbers.chunks(SLICE) {
            let index = first.catalog.index.read();
            texts.extend(slice.iter().map(|number| text(&index, *number)));
        }
    }
    texts
}

impl Head {
    /// The series that satisfy all matchers and have samples within `range`, in label order. No label set is built.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange, cache: &MatchCache) -> Vec<HeadSeries> {
        let catalog = self.catalog();
        let mut found = Vec::new();
        postings::select(&*catalog, matchers, cache, &mut found);
        retain(&catalog, &mut found, |series| series.overlaps(range));
        in_label_order(&catalog, found)
    }

    /// How many of the series that satisfy all matchers have a newest sample within `range` that is no staleness marker.
    pub fn count_live(&self, matchers: &[Matcher], range: TimeRange, cache: &MatchCache) -> usize {
        let catalog = self.catalog();
        let mut found = Vec::new();
        postings::select(&*catalog, matchers, cache, &mut found);
        retain(&catalog, &mut found, |series| series.is_live(range));
        found.len()
    }

    /// Ranks the series that came since they were ranked last, when those are more than a twentieth. Call it now and
    /// then; it takes long where there are many series, beside appends and reads.
    pub fn refresh_order(&self) {
        let catalog = self.catalog();
        let count = catalog.index.read().len();
        if count - catalog.order().len().min(count) > count / 20 {
            catalog.order_of(count);
        }
    }
}

/// Keeps the series, given by ascending number, of which `keep` holds. Locks nothing for long.
fn retain(catalog: &Catalog, found: &mut Vec<u32>, mut keep: impl FnMut(&State) -> bool) {
    let mut kept = 0;
    for start in (0..found.len()).step_by(SLICE) {
        let index = catalog.index.read();
        let mut locks = Locks::default();
        for at in start..found.len().min(start + SLICE) {
            let series = found[at];
            if index.series().get(series as usize).is_some_and(|s| keep(locks.of(s))) {
                found[kept] = series;
                kept += 1;
            }
        }
    }
    found.truncate(kept);
}

/// Handles of series, given by ascending number.
fn in_label_order(catalog: &Arc<Catalog>, mut ranked: Vec<u32>) -> Vec<HeadSeries> {
    let mut order = catalog.order();
    let unranked_from = |len: usize, list: &[u32]| list.partition_point(|s| (*s as usize) < len);
    let mut split = unranked_from(order.len(), &ranked);
    if ranked.len() - split > MAX_UNRANKED.max(ranked.len() / 50)
        && let Some(last) = ranked.last()
    {
        order = catalog.order_of(*last as usize + 1);
        split = unranked_from(order.len(), &ranked);
    }
    let unranked = ranked.split_off(split);
    order.sort(&mut ranked);
    let mut new = handles(catalog, &unranked);
    new.sort_by_cached_key(|series| series.labels().clone());
    if new.is_empty() {
        return handles(catalog, &ranked);
    }
    let mut out = Vec::with_capacity(ranked.len() + new.len());
    let mut from = 0;
    for series in new {
        let to = from + {
            let index = catalog.index.read();
            ranked[from..].partition_point(|s| index.compare(*s, series.labels()).is_lt())
        };
        out.append(&mut handles(catalog, &ranked[from..to]));
        out.push(series);
        from = to;
    }
    out.append(&mut handles(catalog, &ranked[from..]));
    out
}

fn handles(catalog: &Arc<Catalog>, series: &[u32]) -> Vec<HeadSeries> {
    let mut out = Vec::with_capacity(series.len());
    for slice in series.chunks(SLICE) {
        let index = catalog.index.read();
        out.extend(slice.iter().filter_map(|reference| {
            let series = index.series().get(*reference as usize)?.clone();
            Some(HeadSeries { catalog: catalog.clone(), series, reference: *reference, labels: OnceLock::new() })
        }));
    }
    out
}
