//! The index of a block being written: collects labels series by series, and writes its sections at the end.
//!
//! In memory a series costs four bytes per label, and a label value its text and some forty bytes.

use std::collections::HashMap;

use model::Labels;

use crate::catalog::{Catalog, Name};
use crate::error::Malformed;
use crate::lists::write_lists;
use crate::series::SeriesWriter;
use crate::symbols::write_symbols;

const TOO_MANY: Malformed = Malformed("more labels than a block can hold; write smaller blocks");

/// The values of one label, numbered as they come.
struct NameDraft {
    text: Box<str>,
    values: HashMap<Box<str>, u32>,
}

/// Neighbouring series of one shape.
struct Run {
    shape: u32,
    /// The first of them.
    series: u32,
    /// Where their values begin in `Indexer::values`.
    values: usize,
}

/// Collects the labels of all series.
#[derive(Default)]
pub(crate) struct Indexer {
    names: Vec<NameDraft>,
    name_numbers: HashMap<Box<str>, u32>,
    shapes: Vec<Box<[u32]>>,
    shape_numbers: HashMap<Box<[u32]>, u32>,
    runs: Vec<Run>,
    /// The values of all series, one after another.
    values: Vec<u32>,
    series: u32,
    last: Labels,
    last_shape: u32,
}

impl Indexer {
    /// Adds a series and returns its number.
    pub(crate) fn push(&mut self, labels: &Labels) -> Result<u32, Malformed> {
        if self.series == u32::MAX {
            return Err(TOO_MANY);
        }
        let last = std::mem::replace(&mut self.last, labels.clone());
        let same_shape = self.series > 0 && last.iter().map(|pair| pair.0).eq(labels.iter().map(|pair| pair.0));
        let shape = if same_shape { self.last_shape } else { self.shape(labels)? };
        if !same_shape || self.runs.is_empty() {
            self.runs.push(Run { shape, series: self.series, values: self.values.len() });
        }
        let before = self.values.len().saturating_sub(if same_shape { self.shapes[shape as usize].len() } else { 0 });
        let mut last = last.iter();
        for (at, (_, value)) in labels.iter().enumerate() {
            let known = if same_shape { last.next().filter(|pair| pair.1 == value) } else { None };
            let number = match known {
                Some(_) => self.values[before + at],
                None => self.value(self.shapes[shape as usize][at], value)?,
            };
            self.values.push(number);
        }
        self.last_shape = shape;
        self.series += 1;
        Ok(self.series - 1)
    }

    /// How many series there are.
    pub(crate) fn series(&self) -> u32 {
        self.series
    }

    /// The labels of the series that was added last.
    pub(crate) fn last(&self) -> &Labels {
        &self.last
    }

    fn shape(&mut self, labels: &Labels) -> Result<u32, Malformed> {
        let mut shape = Vec::new();
        for (name, _) in labels.iter() {
            shape.push(match self.name_numbers.get(name) {
                Some(&number) => number,
                None => {
                    let number = u32::try_from(self.names.len()).map_err(|_| TOO_MANY)?;
                    self.name_numbers.insert(name.into(), number);
                    self.names.push(NameDraft { text: name.into(), values: HashMap::new() });
                    number
                }
            });
        }
        if let Some(&number) = self.shape_numbers.get(shape.as_slice()) {
            return Ok(number);
        }
        let number = u32::try_from(self.shapes.len()).map_err(|_| TOO_MANY)?;
        self.shapes.push(shape.as_slice().into());
        self.shape_numbers.insert(shape.into(), number);
        Ok(number)
    }

    fn value(&mut self, name: u32, value: &str) -> Result<u32, Malformed> {
        let values = &mut self.names[name as usize].values;
        if let Some(&number) = values.get(value) {
            return Ok(number);
        }
        let number = u32::try_from(values.len()).map_err(|_| TOO_MANY)?;
        values.insert(value.into(), number);
        Ok(number)
    }

    /// Writes all sections.
    pub(crate) fn finish(mut self) -> Result<IndexSections, Malformed> {
        let mut sections = IndexSections::default();
        let mut catalog = Catalog::default();
        let mut order: Vec<u32> = (0..self.names.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| self.names[a as usize].text.cmp(&self.names[b as usize].text));
        let users = self.users();
        for &number in &order {
            let draft = &mut self.names[number as usize];
            let values = std::mem::take(&mut draft.values);
            let text = std::mem::take(&mut draft.text);
            let count = values.len() as u32;
            let (symbols, lists) = (sections.values.len(), sections.postings.len());
            let renumbered = write_values(values, &mut sections.values)?;
            let series = self.write_postings(&users[number as usize], &renumbered, &mut sections.postings)?;
            catalog.names.push(Name { text, values: count, series, symbols, lists });
        }
        let mut sorted = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &number)| sorted[number as usize] = at as u32);
        let renamed = |shape: &[u32]| shape.iter().map(|&name| sorted[name as usize]).collect();
        catalog.shapes = self.shapes.iter().map(|shape| renamed(shape)).collect();
        catalog.write(&mut sections.catalog);
        let mut writer = SeriesWriter::new(&catalog);
        for (run, series) in self.runs_and_lengths() {
            let labels = self.shapes[run.shape as usize].len();
            for at in 0..series as usize {
                writer.push(run.shape, &self.values[run.values + at * labels..][..labels])?;
            }
        }
        sections.series = writer.finish();
        Ok(sections)
    }

    /// Each run with the number of its series.
    fn runs_and_lengths(&self) -> impl Iterator<Item = (&Run, u32)> {
        let ends = self.runs.iter().skip(1).map(|run| run.series).chain([self.series]);
        self.runs.iter().zip(ends).map(|(run, end)| (run, end - run.series))
    }

    /// For each label the parts of `values` that are its own, in order of series.
    fn users(&self) -> Vec<Vec<Column>> {
        let mut users: Vec<Vec<Column>> = self.names.iter().map(|_| Vec::new()).collect();
        for (run, count) in self.runs_and_lengths() {
            let shape = &self.shapes[run.shape as usize];
            for (at, &name) in shape.iter().enumerate() {
                let column = Column { series: run.series, count, values: run.values + at, stride: shape.len() };
                users[name as usize].push(column);
            }
        }
        users
    }

    /// Renumbers the values of a label in order of their texts, and writes the series of each. Returns how many there are.
    fn write_postings(&mut self, users: &[Column], renumbered: &[u32], out: &mut Vec<u8>) -> Result<u32, Malformed> {
        let mut ends = vec![0u32; renumbered.len()];
        for column in users {
            for at in column.places() {
                let value = &mut self.values[at];
                *value = renumbered[*value as usize];
                ends[*value as usize] += 1;
            }
        }
        let mut series = 0;
        for end in &mut ends {
            // First where each list begins; filling it moves that to where it ends.
            series += std::mem::replace(end, series);
        }
        let mut all = vec![0u32; series as usize];
        for column in users {
            for (at, ordinal) in column.places().zip(column.series..) {
                let end = &mut ends[self.values[at] as usize];
                all[*end as usize] = ordinal;
                *end += 1;
            }
        }
        let from = |value: usize| if value == 0 { 0 } else { ends[value - 1] as usize };
        let start = out.len();
        write_lists((0..ends.len()).map(|value| &all[from(value)..ends[value] as usize]), out);
        if u32::try_from(out.len() - start).is_ok() { Ok(series) } else { Err(TOO_MANY) }
    }
}

/// The values of one label of neighbouring series.
struct Column {
    series: u32,
    count: u32,
    values: usize,
    stride: usize,
}

impl Column {
    fn places(&self) -> impl Iterator<Item = usize> {
        (self.values..).step_by(self.stride).take(self.count as usize)
    }
}

/// Writes the values of a label, sorted; returns the new number of each old one.
fn write_values(values: HashMap<Box<str>, u32>, out: &mut Vec<u8>) -> Result<Vec<u32>, Malformed> {
    let mut sorted: Vec<(&str, u32)> = values.iter().map(|(text, &number)| (&**text, number)).collect();
    sorted.sort_unstable();
    let mut renumbered = vec![0; sorted.len()];
    sorted.iter().enumerate().for_each(|(at, &(_, number))| renumbered[number as usize] = at as u32);
    let texts: Vec<&str> = sorted.iter().map(|&(text, _)| text).collect();
    let start = out.len();
    write_symbols(&texts, out);
    if u32::try_from(out.len() - start).is_ok() { Ok(renumbered) } else { Err(TOO_MANY) }
}

/// The sections of an index.
#[derive(Default)]
pub(crate) struct IndexSections {
    pub(crate) catalog: Vec<u8>,
    pub(crate) values: Vec<u8>,
    pub(crate) series: Vec<u8>,
    pub(crate) postings: Vec<u8>,
}
