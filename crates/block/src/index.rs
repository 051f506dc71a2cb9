//! The index of an open block: from labels to series, and from series to labels.

use std::borrow::Cow;
use std::cmp::Ordering;

use model::Labels;
use postings::{LabelIndex, SeriesOrdinal};

use crate::block::{Block, Shared};
use crate::catalog::{Catalog, Name};
use crate::error::{BlockError, Malformed};
use crate::format::SectionKind;
use crate::lists::{list_len, read_list};
use crate::series::{SeriesCursor, SeriesIds};
use crate::symbols::Symbols;

/// The sections of an index, checked.
#[derive(Clone, Copy)]
pub(crate) struct Index<'a> {
    shared: &'a Shared,
    pub(crate) catalog: &'a Catalog,
    values: (u64, &'a [u8]),
    series: (u64, &'a [u8]),
    postings: (u64, &'a [u8]),
}

impl Shared {
    /// The index; its sections are checked when it is asked for first.
    pub(crate) fn index(&self) -> Result<Index<'_>, BlockError> {
        Ok(Index {
            shared: self,
            catalog: self.catalog()?,
            values: self.section(SectionKind::Values as u32)?,
            series: self.section(SectionKind::Series as u32)?,
            postings: self.section(SectionKind::Postings as u32)?,
        })
    }
}

impl<'a> Index<'a> {
    /// The values of a label.
    pub(crate) fn symbols(&self, name: &Name) -> Symbols<'a> {
        Symbols::new(self.values.1.get(name.symbols..).unwrap_or_default(), name.values)
    }

    fn lists(&self, name: &Name) -> &'a [u8] {
        self.postings.1.get(name.lists..).unwrap_or_default()
    }

    pub(crate) fn value_error(&self, malformed: Malformed) -> BlockError {
        self.shared.corrupt(self.values.0, malformed)
    }

    fn name(&self, name: &str) -> Option<&'a Name> {
        self.catalog.find(name).map(|number| &self.catalog.names[number as usize])
    }

    /// The series of a value, appended.
    pub(crate) fn list(&self, name: &Name, value: u32, into: &mut Vec<u32>) -> Result<(), BlockError> {
        if value >= name.values {
            return Ok(());
        }
        let read = read_list(self.lists(name), value, self.shared.series(), into);
        read.map_err(|malformed| self.shared.corrupt(self.postings.0, malformed))
    }

    /// How many series a value has.
    pub(crate) fn list_len(&self, name: &Name, value: u32) -> Result<u32, BlockError> {
        if value >= name.values {
            return Ok(0);
        }
        let read = list_len(self.lists(name), value, self.shared.series());
        read.map_err(|malformed| self.shared.corrupt(self.postings.0, malformed))
    }

    /// The labels of a series as numbers.
    pub(crate) fn ids<'c>(&self, cursor: &'c mut SeriesCursor, ordinal: u32) -> Result<&'c SeriesIds, BlockError> {
        if ordinal >= self.shared.series() {
            return Err(BlockError::invalid(&self.shared.path, "there is no such series"));
        }
        let read = cursor.seek(self.series.1, self.catalog, self.shared.series(), ordinal);
        read.map_err(|malformed| self.shared.corrupt(self.series.0, malformed))
    }

    /// Label and value numbers of a series; in their order series are sorted.
    fn pairs<'s>(&self, ids: &'s SeriesIds) -> impl Iterator<Item = (u32, u32)> + use<'s, 'a> {
        // The cursor refuses unknown shapes.
        self.catalog.shapes[ids.shape as usize].iter().copied().zip(ids.values.iter().copied())
    }
}

/// The labels of one series of a block. Used again for the next series, it decodes only what differs.
#[derive(Debug, Clone, Default)]
pub struct LabelScratch {
    /// The block that the rest is about.
    block: u64,
    cursor: SeriesCursor,
    shown: SeriesIds,
    text: Vec<(String, String)>,
    /// How many of `text` are labels of the series.
    len: usize,
}

impl LabelScratch {
    /// The pairs, in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.text[..self.len].iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The label set. `None` only for a block that no writer wrote.
    pub fn labels(&self) -> Option<Labels> {
        Labels::from_sorted(self.iter())
    }

    /// The order of label sets.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }

    /// The order of label sets.
    pub fn compare_labels(&self, other: &Labels) -> Ordering {
        self.iter().cmp(other.iter())
    }

    fn show(&mut self, index: &Index<'_>, ordinal: u32) -> Result<(), BlockError> {
        if self.block != index.shared.identity {
            (self.block, self.cursor, self.len) = (index.shared.identity, SeriesCursor::default(), 0);
            self.shown = SeriesIds { shape: u32::MAX, values: Vec::new() };
        }
        let ids = index.ids(&mut self.cursor, ordinal)?;
        let names = &index.catalog.shapes[ids.shape as usize];
        let same_shape = self.shown.shape == ids.shape && self.len == names.len();
        if self.text.len() < names.len() {
            self.text.resize_with(names.len(), Default::default);
        }
        // Should a value not be readable, nothing of what is shown may be taken for right.
        self.len = 0;
        for (at, (&name, &value)) in names.iter().zip(&ids.values).enumerate() {
            let (name_text, value_text) = &mut self.text[at];
            let name = &index.catalog.names[name as usize];
            if !same_shape {
                name_text.clear();
                name_text.push_str(&name.text);
            }
            if !same_shape || self.shown.values[at] != value {
                index.symbols(name).get(value, value_text).map_err(|malformed| index.value_error(malformed))?;
            }
        }
        self.len = names.len();
        self.shown.clone_from(ids);
        Ok(())
    }
}

/// How a label is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameStatistics {
    /// The label's name.
    pub name: String,
    /// How many values it has.
    pub values: u32,
    /// How many series have it.
    pub series: u32,
}

impl Block {
    /// Whether what [`LabelIndex`] answers can be relied on. Its methods cannot return errors: where they meet damage they
    /// leave out, and say so here. Call it before a selection (it checks the index' checksums, once), and after it.
    ///
    /// # Errors
    /// The damage that was met first.
    pub fn check_index(&self) -> Result<(), BlockError> {
        self.shared.index()?;
        self.shared.fault.get().map_or(Ok(()), |fault| Err(fault.clone()))
    }

    /// The labels of a series. Series are numbered in order of their labels.
    ///
    /// # Errors
    /// When there is no such series, or the index is damaged.
    pub fn labels(&self, ordinal: u32) -> Result<Labels, BlockError> {
        let mut scratch = LabelScratch::default();
        self.labels_into(ordinal, &mut scratch)?;
        let malformed = Malformed("the labels of a series are not in order");
        scratch.labels().ok_or_else(|| self.shared.corrupt(0, malformed))
    }

    /// The labels of a series, without allocating for those that come in order.
    ///
    /// # Errors
    /// As [`Block::labels`]; what the scratch holds then is of no use.
    pub fn labels_into(&self, ordinal: u32, scratch: &mut LabelScratch) -> Result<(), BlockError> {
        scratch.show(&self.shared.index()?, ordinal)
    }

    /// The number of a series.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn find(&self, labels: &Labels) -> Result<Option<u32>, BlockError> {
        let index = self.shared.index()?;
        let mut wanted = Vec::with_capacity(labels.len());
        for (name, value) in labels.iter() {
            let Some(number) = index.catalog.find(name) else { return Ok(None) };
            let symbols = index.symbols(&index.catalog.names[number as usize]);
            let Some(id) = symbols.find(value).map_err(|malformed| index.value_error(malformed))? else {
                return Ok(None);
            };
            wanted.push((number, id));
        }
        let mut cursor = SeriesCursor::default();
        let (mut low, mut high) = (0, self.shared.series());
        while low < high {
            let middle = low + (high - low) / 2;
            match index.pairs(index.ids(&mut cursor, middle)?).cmp(wanted.iter().copied()) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(Some(middle)),
            }
        }
        Ok(None)
    }

    /// The labels that series have, sorted.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn names(&self) -> Result<Vec<NameStatistics>, BlockError> {
        let names = &self.shared.catalog()?.names;
        let of = |name: &Name| NameStatistics { name: name.text.to_string(), values: name.values, series: name.series };
        Ok(names.iter().map(of).collect())
    }

    /// The values of a label, sorted, each with the number of series that have it.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn cardinality(&self, name: &str) -> Result<Vec<(String, u32)>, BlockError> {
        let index = self.shared.index()?;
        let Some(name) = index.name(name) else { return Ok(Vec::new()) };
        let mut values = Vec::new();
        let mut collect = |_, value: &str| {
            values.push((value.to_owned(), 0));
            true
        };
        index.symbols(name).each("", &mut collect).map_err(|malformed| index.value_error(malformed))?;
        for (id, (_, series)) in values.iter_mut().enumerate() {
            *series = index.list_len(name, id as u32)?;
        }
        Ok(values)
    }

    /// Runs what cannot return errors; damage is kept for [`Block::check_index`].
    fn keeping_fault<T>(&self, otherwise: T, read: impl FnOnce(Index<'_>) -> Result<T, BlockError>) -> T {
        self.shared.index().and_then(read).unwrap_or_else(|error| {
            self.shared.fault.get_or_init(|| error);
            otherwise
        })
    }
}

/// Where it meets damage it leaves out; see [`Block::check_index`].
impl LabelIndex for Block {
    fn series_count(&self) -> usize {
        self.shared.series() as usize
    }

    fn all(&self, into: &mut Vec<SeriesOrdinal>) {
        into.extend(0..self.shared.series());
    }

    fn value_id(&self, name: &str, value: &str) -> Option<u32> {
        self.keeping_fault(None, |index| {
            let Some(name) = index.name(name) else { return Ok(None) };
            index.symbols(name).find(value).map_err(|malformed| index.value_error(malformed))
        })
    }

    fn postings(&self, name: &str, value_id: u32, into: &mut Vec<SeriesOrdinal>) {
        self.keeping_fault((), |index| {
            let from = into.len();
            let read = index.name(name).map_or(Ok(()), |name| index.list(name, value_id, into));
            read.inspect_err(|_| into.truncate(from))
        });
    }

    fn postings_len(&self, name: &str, value_id: u32) -> usize {
        let len = |index: Index<'_>| index.name(name).map_or(Ok(0), |name| index.list_len(name, value_id));
        self.keeping_fault(0, len) as usize
    }

    fn values(&self, name: &str, prefix: &str, each: &mut dyn FnMut(u32, &str) -> bool) {
        self.keeping_fault((), |index| {
            let Some(name) = index.name(name) else { return Ok(()) };
            index.symbols(name).each(prefix, each).map_err(|malformed| index.value_error(malformed))
        });
    }

    fn value_of(&self, series: SeriesOrdinal, name: &str) -> Option<(u32, Cow<'_, str>)> {
        self.keeping_fault(None, |index| {
            let Some(number) = index.catalog.find(name) else { return Ok(None) };
            let mut cursor = SeriesCursor::default();
            let ids = index.ids(&mut cursor, series)?;
            let Some((_, value)) = index.pairs(ids).find(|pair| pair.0 == number) else { return Ok(None) };
            let mut text = String::new();
            let symbols = index.symbols(&index.catalog.names[number as usize]);
            symbols.get(value, &mut text).map_err(|malformed| index.value_error(malformed))?;
            Ok(Some((value, Cow::Owned(text))))
        })
    }

    fn cache_key(&self, name: &str) -> (u64, u32) {
        let values = |index: Index<'_>| Ok(index.name(name).map_or(0, |name| name.values));
        (self.shared.identity, self.keeping_fault(0, values))
    }

    fn on_every_series(&self, name: &str) -> bool {
        let all = |index: Index<'_>| Ok(index.name(name).is_some_and(|name| name.series == self.shared.series()));
        self.keeping_fault(false, all)
    }
}
