//! The values of one label: sorted, each sharing the beginning of the one before, in groups that can be searched.

use std::cmp::Ordering;

use crate::bytes::{Cursor, put_varint};
use crate::error::Malformed;

/// How many values share one entry point: a value costs two bytes more when it is, and a label set walks through half a
/// group for each of its values.
const GROUP: u32 = 8;

const NOT_TEXT: Malformed = Malformed("a text is not UTF-8");

/// Appends the values of a label, which ascend.
pub(crate) fn write_symbols(values: &[&str], out: &mut Vec<u8>) {
    let table = out.len();
    let groups = values.chunks(GROUP as usize);
    out.resize(table + groups.len() * 4, 0);
    for (index, group) in groups.enumerate() {
        let offset = (out.len() - table) as u32;
        out[table + index * 4..][..4].copy_from_slice(&offset.to_le_bytes());
        let mut last = "";
        for (at, value) in group.iter().enumerate() {
            let shared = if at == 0 { 0 } else { shared_prefix(last, value) };
            if at > 0 {
                put_varint(out, shared as u64);
            }
            put_varint(out, (value.len() - shared) as u64);
            out.extend_from_slice(&value.as_bytes()[shared..]);
            last = value;
        }
    }
}

/// How many bytes of whole characters two strings have in common.
fn shared_prefix(a: &str, b: &str) -> usize {
    let mut shared = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    while !b.is_char_boundary(shared) {
        shared -= 1;
    }
    shared
}

/// The values of one label, in the file.
#[derive(Clone, Copy)]
pub(crate) struct Symbols<'a> {
    /// From the label's table of groups on.
    bytes: &'a [u8],
    count: u32,
}

impl<'a> Symbols<'a> {
    pub(crate) fn new(bytes: &'a [u8], count: u32) -> Self {
        Self { bytes, count }
    }

    /// Reads a group from its beginning, calling `each` with number and text until it returns false.
    /// Returns whether it never did.
    fn group(&self, group: u32, each: &mut dyn FnMut(u32, &str) -> bool, text: &mut String) -> Result<bool, Malformed> {
        let mut cursor = self.group_cursor(group)?;
        let first = group * GROUP;
        text.clear();
        for id in first..self.count.min(first.saturating_add(GROUP)) {
            let shared = if id == first { 0 } else { cursor.count(text.len())? };
            if !text.is_char_boundary(shared) {
                return Err(Malformed("a label value is cut within a character"));
            }
            text.truncate(shared);
            text.push_str(part(&mut cursor)?);
            if !each(id, text) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn group_cursor(&self, group: u32) -> Result<Cursor<'a>, Malformed> {
        let offset = Cursor::at(self.bytes, group as usize * 4)?.u32()?;
        Cursor::at(self.bytes, offset as usize)
    }

    /// The text of a value, into `text`.
    pub(crate) fn get(&self, id: u32, text: &mut String) -> Result<(), Malformed> {
        if id >= self.count {
            return Err(Malformed("there is no such label value"));
        }
        let mut cursor = self.group_cursor(id / GROUP)?;
        // As bytes, so that only the one that is wanted is checked to be text.
        let mut bytes = std::mem::take(text).into_bytes();
        bytes.clear();
        for at in 0..=id % GROUP {
            let shared = if at == 0 { 0 } else { cursor.count(bytes.len())? };
            let length = cursor.count(cursor.remaining())?;
            bytes.truncate(shared);
            bytes.extend_from_slice(cursor.take(length)?);
        }
        *text = String::from_utf8(bytes).map_err(|_| NOT_TEXT)?;
        Ok(())
    }

    /// The group in which a text is, or would be.
    fn group_of(&self, wanted: &str) -> Result<u32, Malformed> {
        let (mut low, mut high) = (0, self.count.div_ceil(GROUP));
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if part(&mut self.group_cursor(middle)?)? <= wanted { low = middle } else { high = middle }
        }
        Ok(low)
    }

    /// The number of a value.
    pub(crate) fn find(&self, wanted: &str) -> Result<Option<u32>, Malformed> {
        let mut found = None;
        if self.count > 0 {
            let mut look = |id: u32, text: &str| match text.cmp(wanted) {
                Ordering::Less => true,
                order => {
                    found = order.is_eq().then_some(id);
                    false
                }
            };
            self.group(self.group_of(wanted)?, &mut look, &mut String::new())?;
        }
        Ok(found)
    }

    /// Calls `each` with number and text of every value that begins with `prefix`, in order, until it returns false.
    pub(crate) fn each(&self, prefix: &str, each: &mut dyn FnMut(u32, &str) -> bool) -> Result<(), Malformed> {
        let mut look = |id: u32, text: &str| {
            if text.starts_with(prefix) { each(id, text) } else { text < prefix }
        };
        let mut text = String::new();
        for group in self.group_of(prefix)?..self.count.div_ceil(GROUP) {
            if !self.group(group, &mut look, &mut text)? {
                break;
            }
        }
        Ok(())
    }
}

/// A length and as many bytes of text.
pub(crate) fn part<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Malformed> {
    let length = cursor.count(cursor.remaining())?;
    std::str::from_utf8(cursor.take(length)?).map_err(|_| NOT_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_are_found_and_listed(values in prop::collection::btree_set("[aä€b]{1,6}", 0..80), prefix in "[aä]{0,3}") {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let mut out = vec![1, 2, 3];
            write_symbols(&values, &mut out);
            let symbols = Symbols::new(&out[3..], values.len() as u32);
            let mut text = String::new();
            for (id, value) in values.iter().enumerate() {
                symbols.get(id as u32, &mut text).expect("reads");
                prop_assert_eq!(&text, value);
                prop_assert_eq!(symbols.find(value), Ok(Some(id as u32)));
            }
            prop_assert_eq!(symbols.find("aäzz"), Ok(None));
            let mut listed = Vec::new();
            symbols.each(&prefix, &mut |id, text| { listed.push((id as usize, text.to_owned())); true }).expect("reads");
            let want: Vec<_> = values.iter().enumerate().filter(|(_, v)| v.starts_with(&prefix)).map(|(i, v)| (i, (*v).to_owned())).collect();
            prop_assert_eq!(listed, want);
        }

        #[test]
        fn nothing_malformed_gets_out(bytes in prop::collection::vec(0u8..20, 0..120), count in 0u32..60) {
            let symbols = Symbols::new(&bytes, count);
            let _ = symbols.get(3, &mut String::new());
            let _ = symbols.find("a");
            let _ = symbols.each("", &mut |_, _| true);
        }
    }
}
