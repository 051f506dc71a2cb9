//! Reading: what is in memory, what is being recovered and what is in blocks, as one.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use block::{Block, BlockError, LabelScratch, Reader};
use head::{Head, HeadSeries};
use model::{
    Changes, Column, Hints, HistogramBuffer, Labels, Matcher, MetricMetadata, Queryable, STALE_NAN_BITS, SampleBuffer,
    SelectError, Selection, StoredSeries, TimeRange, Version, is_stale,
};
use parking_lot::Mutex;
use postings::LabelIndex;

use crate::Store;
use crate::catalogue::{Catalogue, overlaps};
use crate::damages::Damages;
use crate::layers::{Layer, layers};
use crate::merge::merge;

/// How long a read waits for the replay of what it needs.
const WAIT_FOR_REPLAY: Duration = Duration::from_secs(120);
/// What dividing a staleness marker by anything gives: the marker, made quiet.
const QUIET_STALE_NAN_BITS: u64 = STALE_NAN_BITS | 0x0008_0000_0000_0000;

fn storage(error: impl std::fmt::Display) -> SelectError {
    SelectError::Storage(error.to_string())
}

/// A block as one selection reads it. Series are usually read one after another, by few threads: each finds a reader that
/// was near its series last.
struct Source {
    block: Block,
    column: Column,
    /// Where each was used last.
    readers: Mutex<Vec<(u32, Box<Reader>)>>,
    scratches: Mutex<Vec<(u32, Box<LabelScratch>)>>,
    damages: Arc<Damages>,
}

impl Source {
    /// Notes what was found damaged, and tells the reader.
    fn failed(&self, error: BlockError) -> SelectError {
        self.damages.name(&error);
        storage(error)
    }

    /// What `ask` makes of the labels of a series.
    fn with_labels<T>(&self, ordinal: u32, ask: impl FnOnce(&LabelScratch) -> T) -> Option<T> {
        let mut scratch = nearest(&self.scratches, ordinal).unwrap_or_default();
        let read = self.block.labels_into(ordinal, &mut scratch);
        // The index was checked when the series was selected, so there is nothing to go wrong any more.
        let answer = read.ok().map(|()| ask(&scratch));
        self.scratches.lock().push((ordinal, scratch));
        answer
    }
}

/// Takes what was used nearest before `at`.
fn nearest<T>(pool: &Mutex<Vec<(u32, T)>>, at: u32) -> Option<T> {
    let mut pool = pool.lock();
    let best = pool.iter().enumerate().min_by_key(|(_, (last, _))| at.abs_diff(*last)).map(|(place, _)| place)?;
    Some(pool.swap_remove(best).1)
}

/// One series of a block.
struct BlockSeries {
    source: Arc<Source>,
    ordinal: u32,
    labels: OnceLock<Labels>,
}

impl StoredSeries for BlockSeries {
    fn labels(&self) -> &Labels {
        let build = || self.source.with_labels(self.ordinal, LabelScratch::labels).flatten();
        self.labels.get_or_init(|| build().unwrap_or_default())
    }

    fn each_label(&self, each: &mut dyn FnMut(&str, &str)) {
        self.source.with_labels(self.ordinal, |scratch| scratch.iter().for_each(|(name, value)| each(name, value)));
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        let reader = nearest(&self.source.readers, self.ordinal);
        let mut reader = reader.unwrap_or_else(|| Box::new(self.source.block.reader()));
        let from = into.len();
        let read = reader.read(self.ordinal, range, self.source.column, into);
        self.source.readers.lock().push((self.ordinal, reader));
        if self.source.column == Column::Average {
            let markers = into.values[from..].iter_mut().filter(|value| value.to_bits() == QUIET_STALE_NAN_BITS);
            markers.for_each(|value| *value = model::stale_nan());
        }
        read.map_err(|error| self.source.failed(error))
    }

    fn read_histograms(&self, range: TimeRange, into: &mut HistogramBuffer) -> Result<(), SelectError> {
        self.source.block.reader().read_histograms(self.ordinal, range, into).map_err(|error| self.source.failed(error))
    }
}

/// A series of which only a part of the time is read, as the layers of a query say.
struct Within {
    series: Box<dyn StoredSeries>,
    range: TimeRange,
    /// Raw samples count one each.
    ones: bool,
}

impl StoredSeries for Within {
    fn labels(&self) -> &Labels {
        self.series.labels()
    }

    fn each_label(&self, each: &mut dyn FnMut(&str, &str)) {
        self.series.each_label(each);
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        let range = TimeRange { start: range.start.max(self.range.start), end: range.end.min(self.range.end) };
        if range.start > range.end {
            return Ok(());
        }
        let from = into.len();
        self.series.read(range, into)?;
        if self.ones {
            into.values[from..].iter_mut().filter(|value| !is_stale(**value)).for_each(|value| *value = 1.0);
        }
        Ok(())
    }

    fn read_histograms(&self, range: TimeRange, into: &mut HistogramBuffer) -> Result<(), SelectError> {
        let range = TimeRange { start: range.start.max(self.range.start), end: range.end.min(self.range.end) };
        if range.start > range.end { Ok(()) } else { self.series.read_histograms(range, into) }
    }
}

/// A series of the head. What is sealed stays in memory as long as somebody holds the list of blocks of before.
struct Held {
    series: HeadSeries,
    _list: Arc<Catalogue>,
}

impl StoredSeries for Held {
    fn labels(&self) -> &Labels {
        self.series.labels()
    }

    fn each_label(&self, each: &mut dyn FnMut(&str, &str)) {
        self.series.each_label(each);
    }

    fn read(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        self.series.read(range, into)
    }

    fn read_newest(&self, range: TimeRange, into: &mut SampleBuffer) -> Result<(), SelectError> {
        self.series.read_newest(range, into)
    }

    fn read_histograms(&self, range: TimeRange, into: &mut HistogramBuffer) -> Result<(), SelectError> {
        self.series.read_histograms(range, into)
    }
}

type SeriesList = Vec<Box<dyn StoredSeries>>;

fn boxed<S: StoredSeries + 'static>(series: impl Iterator<Item = S>) -> SeriesList {
    series.map(|series| Box::new(series) as Box<dyn StoredSeries>).collect()
}

/// Everything that can be read, at one moment.
struct View<'a> {
    store: &'a Store,
    recovered: Option<Arc<Head>>,
    catalogue: Arc<Catalogue>,
}

impl View<'_> {
    fn heads(&self) -> impl Iterator<Item = &Head> {
        self.recovered.as_deref().into_iter().chain([&self.store.head])
    }

    /// Where raw samples begin.
    fn raw_from(&self) -> i64 {
        let blocks = self.catalogue.raw.iter().map(|block| block.meta().min_time);
        let heads = self.heads().filter_map(Head::bounds).map(|(first, _)| first.0);
        blocks.chain(heads).min().unwrap_or(i64::MAX)
    }

    /// The blocks that say which series there are within a range: rollups only where raw samples are gone.
    fn blocks(&self, range: TimeRange) -> impl Iterator<Item = &Block> {
        let rollups = if range.start.0 < self.raw_from() { self.catalogue.rollups.as_slice() } else { &[] };
        let all = self.catalogue.raw.iter().chain(rollups);
        all.filter(move |block| overlaps(block.meta(), range))
    }

    /// The numbers of the selected series of a block.
    fn ordinals(&self, block: &Block, matchers: &[Matcher]) -> Result<Vec<u32>, SelectError> {
        let mut ordinals = Vec::new();
        self.of_index(block, || postings::select(block, matchers, &self.store.match_cache, &mut ordinals))?;
        Ok(ordinals)
    }

    /// Notes what was found damaged, and tells the reader.
    fn failed(&self, error: BlockError) -> SelectError {
        self.store.damages.name(&error);
        storage(error)
    }

    /// Asks the index of a block, which cannot return errors itself.
    fn of_index(&self, block: &Block, ask: impl FnOnce()) -> Result<(), SelectError> {
        block.check_index().map_err(|error| self.failed(error))?;
        ask();
        block.check_index().map_err(|error| self.failed(error))
    }

    fn of_block(&self, block: &Block, matchers: &[Matcher], column: Column) -> Result<SeriesList, SelectError> {
        let (readers, scratches) = (Mutex::default(), Mutex::default());
        let ordinals = self.ordinals(block, matchers)?.into_iter();
        let source =
            Arc::new(Source { block: block.clone(), column, readers, scratches, damages: self.store.damages.clone() });
        let series = |ordinal| BlockSeries { source: source.clone(), ordinal, labels: OnceLock::new() };
        Ok(boxed(ordinals.map(series)))
    }

    /// One list per place that answers a layer, the older places first.
    fn layer(&self, layer: Layer, matchers: &[Matcher], hints: &Hints) -> Result<Vec<SeriesList>, SelectError> {
        let Layer { resolution, range } = layer;
        let blocks = self.catalogue.within(resolution, range);
        let mut lists =
            blocks.map(|block| self.of_block(block, matchers, hints.column)).collect::<Result<Vec<_>, _>>()?;
        if resolution == 0 {
            let cache = &self.store.match_cache;
            if let Some(head) = &self.recovered {
                lists.push(boxed(head.select(matchers, range, cache).into_iter()));
            }
            let held = |series| Held { series, _list: self.catalogue.clone() };
            lists.push(boxed(self.store.head.select(matchers, range, cache).into_iter().map(held)));
        }
        Ok(lists)
    }

    fn select(&self, selection: &Selection<'_>) -> Result<SeriesList, SelectError> {
        let Selection { matchers, range, hints } = selection;
        let layers = layers(*range, hints, self.raw_from(), &self.catalogue.coverages());
        let mut lists = Vec::new();
        for layer in &layers {
            let ones = layer.resolution == 0 && hints.rollups && hints.column == Column::Count;
            let wrap = |series| Within { series, range: layer.range, ones };
            for list in self.layer(*layer, matchers, hints)? {
                if let Some(limit) = hints.max_series.filter(|limit| list.len() > limit.get()) {
                    return Err(SelectError::TooMany { limit });
                }
                let needs_no_wrapping = layers.len() == 1 && !ones;
                lists.push(if needs_no_wrapping { list } else { boxed(list.into_iter().map(wrap)) });
            }
        }
        Ok(merge(lists))
    }

    /// Only where everything asked for is in one head: elsewhere a series may be in several places.
    fn count_live(&self, selection: &Selection<'_>) -> Option<usize> {
        let Selection { matchers, range, .. } = selection;
        let mut heads = self.heads().filter(|head| head_overlaps(head, *range));
        let head = heads.next();
        if heads.next().is_some() || self.blocks(*range).next().is_some() {
            return None;
        }
        Some(head.map_or(0, |head| head.count_live(matchers, *range, &self.store.match_cache)))
    }

    /// The handles of the head's series that satisfy any of the matcher lists.
    fn in_head(&self, head: &Head, any_of: &[Vec<Matcher>], range: TimeRange) -> Vec<HeadSeries> {
        let select = |matchers: &Vec<Matcher>| head.select(matchers, range, &self.store.match_cache);
        any_of.iter().flat_map(select).collect()
    }

    /// Calls `each` with the labels of every series of a block that satisfies any of the matcher lists.
    fn in_block(
        &self,
        block: &Block,
        any_of: &[Vec<Matcher>],
        mut each: impl FnMut(&LabelScratch),
    ) -> Result<(), SelectError> {
        let mut ordinals = BTreeSet::new();
        for matchers in any_of {
            ordinals.extend(self.ordinals(block, matchers)?);
        }
        let mut scratch = LabelScratch::default();
        for ordinal in ordinals {
            block.labels_into(ordinal, &mut scratch).map_err(|error| self.failed(error))?;
            each(&scratch);
        }
        Ok(())
    }
}

/// Adds a text that may be there; few are new.
fn note(texts: &mut BTreeSet<String>, text: &str) {
    if !texts.contains(text) {
        texts.insert(text.to_owned());
    }
}

fn head_overlaps(head: &Head, range: TimeRange) -> bool {
    head.bounds().is_some_and(|(first, last)| first <= range.end && last >= range.start)
}

impl Store {
    fn view(&self, range: TimeRange) -> Result<View<'_>, SelectError> {
        if self.recovery.concerns_any() && !self.recovery.wait_for(range.start.0, WAIT_FOR_REPLAY) {
            return Err(storage("the log of the last run is still being replayed, ask again later"));
        }
        // In this order: what leaves the one is in the other before.
        let recovered = self.recovery.head();
        Ok(View { store: self, recovered, catalogue: self.catalogue() })
    }
}

impl Queryable for Store {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Box<dyn StoredSeries>>, SelectError> {
        self.view(selection.range)?.select(selection)
    }

    fn count_live(&self, selection: &Selection<'_>) -> Result<Option<usize>, SelectError> {
        Ok(self.view(selection.range)?.count_live(selection))
    }

    fn series(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<Labels>, SelectError> {
        let view = self.view(range)?;
        let everything = [Vec::new()];
        let any_of = if any_of.is_empty() { &everything } else { any_of };
        let mut found = Vec::new();
        for head in view.heads() {
            found.extend(view.in_head(head, any_of, range).iter().map(|series| series.labels().clone()));
        }
        for block in view.blocks(range) {
            view.in_block(block, any_of, |scratch| found.extend(scratch.labels()))?;
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn label_names(&self, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        let view = self.view(range)?;
        let mut names = BTreeSet::new();
        for head in view.heads().filter(|head| head_overlaps(head, range)) {
            if any_of.is_empty() {
                names.extend(head.names());
            } else {
                names.append(&mut HeadSeries::names_of(&view.in_head(head, any_of, range)));
            }
        }
        for block in view.blocks(range) {
            if any_of.is_empty() {
                names.extend(block.names().map_err(|error| view.failed(error))?.into_iter().map(|name| name.name));
            } else {
                view.in_block(block, any_of, |scratch| scratch.iter().for_each(|(name, _)| note(&mut names, name)))?;
            }
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(&self, name: &str, any_of: &[Vec<Matcher>], range: TimeRange) -> Result<Vec<String>, SelectError> {
        let view = self.view(range)?;
        let mut values = BTreeSet::new();
        for head in view.heads().filter(|head| head_overlaps(head, range)) {
            if any_of.is_empty() {
                values.extend(head.values(name));
            } else {
                values.append(&mut HeadSeries::values_of(&view.in_head(head, any_of, range), name));
            }
        }
        for block in view.blocks(range) {
            if any_of.is_empty() {
                let mut each = |_, value: &str| {
                    note(&mut values, value);
                    true
                };
                view.of_index(block, || block.values(name, "", &mut each))?;
            } else {
                view.in_block(block, any_of, |scratch| {
                    let own = scratch.iter().filter(|pair| pair.0 == name);
                    own.for_each(|(_, value)| note(&mut values, value));
                })?;
            }
        }
        Ok(values.into_iter().collect())
    }

    fn metadata(&self) -> Vec<MetricMetadata> {
        self.families.all()
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }
}

impl Changes for Store {
    fn version(&self) -> Option<Version> {
        // What is replayed was written before anybody kept a journal.
        if self.recovery.concerns_any() {
            return None;
        }
        let changes = self.journal.version();
        let view = View { store: self, recovered: self.recovery.head(), catalogue: self.catalogue() };
        // One late sample can move the border between rollups and raw samples.
        let layout = if view.catalogue.rollups.is_empty() { i64::MIN } else { view.raw_from() };
        Some(Version { changes, layout })
    }

    fn changed(&self, since: Version, range: TimeRange) -> Option<Vec<TimeRange>> {
        if self.version()?.layout != since.layout {
            return None;
        }
        self.journal.changed(since.changes, range)
    }
}
