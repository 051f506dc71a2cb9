//! The labels of each series, as the numbers of its shape and its values. Each series says only what differs from the one
//! before, in as many bits as the number of values of a label needs; every thirty-second one says all.

use crate::bytes::{BitPosition, BitWriter, Cursor};
use crate::catalog::Catalog;
use crate::error::Malformed;

/// How many series share one entry point.
const GROUP: u32 = 32;

/// The labels of one series as numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeriesIds {
    pub(crate) shape: u32,
    /// The numbers of its values, one per label of the shape.
    pub(crate) values: Vec<u32>,
}

/// Writes the section.
pub(crate) struct SeriesWriter<'a> {
    catalog: &'a Catalog,
    offsets: Vec<u32>,
    bits: BitWriter,
    last: SeriesIds,
    count: u32,
}

impl<'a> SeriesWriter<'a> {
    pub(crate) fn new(catalog: &'a Catalog) -> Self {
        let last = SeriesIds::default();
        Self { catalog, offsets: Vec::new(), bits: BitWriter::default(), last, count: 0 }
    }

    /// Adds the next series.
    pub(crate) fn push(&mut self, shape: u32, values: &[u32]) -> Result<(), Malformed> {
        let names = &self.catalog.shapes[shape as usize];
        let entry = self.count.is_multiple_of(GROUP);
        if entry {
            self.bits.align();
            let offset = u32::try_from(self.bits.len()).map_err(|_| Malformed("the labels do not fit a block"))?;
            self.offsets.push(offset);
        }
        if entry || shape != self.last.shape {
            self.bits.push(1, 1);
            self.bits.push(shape, self.catalog.shape_bits());
            for (&name, &value) in names.iter().zip(values) {
                self.bits.push(value, self.catalog.value_bits(name));
            }
        } else {
            self.bits.push(0, 1);
            for ((&name, &value), &last) in names.iter().zip(values).zip(&self.last.values) {
                self.bits.push(u32::from(value != last), 1);
                if value != last {
                    self.bits.push(value, self.catalog.value_bits(name));
                }
            }
        }
        self.last.shape = shape;
        self.last.values.clear();
        self.last.values.extend_from_slice(values);
        self.count += 1;
        Ok(())
    }

    /// The section: where each group begins after this table, and the groups.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bits.align();
        let mut out: Vec<u8> = self.offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        out.extend_from_slice(&self.bits.into_bytes());
        out
    }
}

/// Reads the section, best from front to back.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeriesCursor {
    ids: SeriesIds,
    /// The series after the one in `ids`, 0 when there is none in it.
    next: u32,
    position: BitPosition,
}

impl SeriesCursor {
    /// The labels of a series.
    pub(crate) fn seek(
        &mut self,
        section: &[u8],
        catalog: &Catalog,
        series: u32,
        ordinal: u32,
    ) -> Result<&SeriesIds, Malformed> {
        if ordinal >= series {
            return Err(Malformed("there is no such series"));
        }
        if ordinal + 1 == self.next {
            return Ok(&self.ids);
        }
        let groups = section.get(series.div_ceil(GROUP) as usize * 4..).ok_or(Malformed("the labels are cut short"))?;
        if ordinal < self.next || ordinal / GROUP != self.next / GROUP || self.next == 0 {
            let group = ordinal / GROUP;
            let offset = Cursor::at(section, group as usize * 4)?.u32()?;
            (self.next, self.position) = (group * GROUP, BitPosition(offset as usize * 8));
        }
        while self.next <= ordinal {
            if self.next.is_multiple_of(GROUP) {
                // Each group begins with a whole byte.
                self.position.0 = self.position.0.next_multiple_of(8);
            }
            if let Err(malformed) = self.step(groups, catalog) {
                self.next = 0;
                return Err(malformed);
            }
            self.next += 1;
        }
        Ok(&self.ids)
    }

    fn step(&mut self, groups: &[u8], catalog: &Catalog) -> Result<(), Malformed> {
        let whole = self.position.read(groups, 1)? == 1;
        if whole {
            self.ids.shape = self.position.read(groups, catalog.shape_bits())?;
            self.ids.values.clear();
        } else if self.next.is_multiple_of(GROUP) {
            return Err(Malformed("a group of series does not begin with all labels"));
        }
        let shape = catalog.shapes.get(self.ids.shape as usize).ok_or(Malformed("a series has an unknown shape"))?;
        for (at, &name) in shape.iter().enumerate() {
            if !whole && self.position.read(groups, 1)? == 0 {
                continue;
            }
            let value = self.position.read(groups, catalog.value_bits(name))?;
            if value >= catalog.names[name as usize].values {
                return Err(Malformed("a series has an unknown label value"));
            }
            match self.ids.values.get_mut(at) {
                Some(last) => *last = value,
                None => self.ids.values.push(value),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Name;
    use proptest::prelude::*;

    fn catalog() -> Catalog {
        let name = |text: &str, values| Name { text: text.into(), values, series: 1, symbols: 0, lists: 0 };
        Catalog {
            names: vec![name("a", 1), name("b", 5), name("c", 70_000)],
            shapes: vec![[].into(), [0, 1].into(), [0, 1, 2].into()],
        }
    }

    fn series() -> impl Strategy<Value = SeriesIds> {
        prop_oneof![
            1 => Just(SeriesIds { shape: 0, values: Vec::new() }),
            3 => (0..5u32).prop_map(|b| SeriesIds { shape: 1, values: vec![0, b] }),
            9 => (0..5u32, 0..70_000u32).prop_map(|(b, c)| SeriesIds { shape: 2, values: vec![0, b, c] }),
        ]
    }

    proptest! {
        #[test]
        fn series_come_back_in_any_order(all in prop::collection::vec(series(), 1..140),
                                         order in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
            let catalog = catalog();
            let mut writer = SeriesWriter::new(&catalog);
            for ids in &all {
                writer.push(ids.shape, &ids.values).expect("fits");
            }
            let section = writer.finish();
            let count = all.len() as u32;
            let mut cursor = SeriesCursor::default();
            let wanted = (0..all.len()).chain(order.iter().map(|i| i.index(all.len())));
            for at in wanted {
                prop_assert_eq!(cursor.seek(&section, &catalog, count, at as u32), Ok(&all[at]));
            }
            prop_assert!(cursor.seek(&section, &catalog, count, count).is_err());
        }

        #[test]
        fn nothing_malformed_gets_out(section in prop::collection::vec(any::<u8>(), 0..120), ordinal in 0u32..60) {
            let _ = SeriesCursor::default().seek(&section, &catalog(), 60, ordinal);
        }
    }
}
