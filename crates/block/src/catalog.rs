//! Which labels there are, and the *shapes*: which of them a series has. The few things of an index that are kept in
//! memory once they were read.

use crate::bytes::{Cursor, bits_for, put_varint};
use crate::error::Malformed;
use crate::symbols::part;

/// A label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: Box<str>,
    /// How many values it has.
    pub(crate) values: u32,
    /// How many series have it.
    pub(crate) series: u32,
    /// Where its values begin in their section.
    pub(crate) symbols: usize,
    /// Where its lists begin in theirs.
    pub(crate) lists: usize,
}

/// All labels, sorted, and all shapes. A shape is the numbers of its labels, ascending.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    pub(crate) names: Vec<Name>,
    pub(crate) shapes: Vec<Box<[u32]>>,
}

impl Catalog {
    /// Appends the section.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.names.len() as u64);
        for name in &self.names {
            put_varint(out, name.text.len() as u64);
            out.extend_from_slice(name.text.as_bytes());
            for number in [u64::from(name.values), u64::from(name.series), name.symbols as u64, name.lists as u64] {
                put_varint(out, number);
            }
        }
        put_varint(out, self.shapes.len() as u64);
        for shape in &self.shapes {
            put_varint(out, shape.len() as u64);
            shape.iter().for_each(|&name| put_varint(out, u64::from(name)));
        }
    }

    /// Reads the section.
    pub(crate) fn read(section: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(section);
        let mut catalog = Self::default();
        for _ in 0..cursor.count(section.len())? {
            let text: Box<str> = part(&mut cursor)?.into();
            if catalog.names.last().is_some_and(|last| last.text >= text) {
                return Err(Malformed("label names are not in order"));
            }
            let mut number = |limit: usize| cursor.count(limit);
            let (values, series) = (number(u32::MAX as usize)? as u32, number(u32::MAX as usize)? as u32);
            let (symbols, lists) = (number(usize::MAX)?, number(usize::MAX)?);
            catalog.names.push(Name { text, values, series, symbols, lists });
        }
        for _ in 0..cursor.count(section.len())? {
            let mut shape = Vec::new();
            for _ in 0..cursor.count(cursor.remaining())? {
                let name = cursor.count(catalog.names.len())? as u32;
                if name as usize == catalog.names.len() || shape.last().is_some_and(|&last| last >= name) {
                    return Err(Malformed("the labels of a series are not in order"));
                }
                shape.push(name);
            }
            catalog.shapes.push(shape.into());
        }
        if cursor.remaining() == 0 { Ok(catalog) } else { Err(Malformed("label names have bytes left over")) }
    }

    /// The number of a label.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        // There are at most u32::MAX labels: shapes name them by such numbers.
        self.names.binary_search_by(|n| (*n.text).cmp(name)).ok().map(|at| at as u32)
    }

    /// How many bits the number of a shape takes.
    pub(crate) fn shape_bits(&self) -> u32 {
        bits_for(self.shapes.len() as u32)
    }

    /// How many bits the number of a value of this label takes.
    pub(crate) fn value_bits(&self, name: u32) -> u32 {
        bits_for(self.names[name as usize].values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        let name = |text: &str, at| Name { text: text.into(), values: 3, series: 500, symbols: at, lists: at * 2 };
        let catalog = Catalog {
            names: vec![name("a", 0), name("b", 17), name("zürich", 1 << 40)],
            shapes: vec![[].into(), [0, 2].into(), [1].into()],
        };
        let mut out = Vec::new();
        catalog.write(&mut out);
        assert_eq!(Catalog::read(&out).expect("reads"), catalog);
        assert_eq!((catalog.find("b"), catalog.find("c"), catalog.shape_bits()), (Some(1), None, 2));
        assert!((0..out.len()).all(|cut| Catalog::read(&out[..cut]).is_err()));
    }
}
