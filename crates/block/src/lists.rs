//! The series of one label value: ascending numbers, written as the gaps between runs of neighbours.
//! Series are numbered in order of their labels, so those that share a value often are neighbours.

use crate::bytes::{Cursor, put_varint};
use crate::error::Malformed;

/// How many lists share one entry point.
const GROUP: u32 = 16;

/// Appends the lists of a label's values, in order of the values. None is empty.
pub(crate) fn write_lists<'a>(lists: impl ExactSizeIterator<Item = &'a [u32]>, out: &mut Vec<u8>) {
    let table = out.len();
    out.resize(table + lists.len().div_ceil(GROUP as usize) * 4, 0);
    let mut body = Vec::new();
    for (index, list) in lists.enumerate() {
        if index.is_multiple_of(GROUP as usize) {
            let offset = (out.len() - table) as u32;
            out[table + index / GROUP as usize * 4..][..4].copy_from_slice(&offset.to_le_bytes());
        }
        put_varint(out, list.len() as u64);
        if let [only] = list {
            put_varint(out, u64::from(*only));
            continue;
        }
        body.clear();
        write_runs(list, &mut body);
        put_varint(out, body.len() as u64);
        out.extend_from_slice(&body);
    }
}

/// A run is `gap * 2` for a single number, or `gap * 2 + 1` and its length minus two; the gap is from the end of the run
/// before.
fn write_runs(list: &[u32], out: &mut Vec<u8>) {
    let mut next = 0;
    for run in list.chunk_by(|a, b| a + 1 == *b) {
        let gap = u64::from(run[0] - next);
        if let [_] = run {
            put_varint(out, gap * 2);
        } else {
            put_varint(out, gap * 2 + 1);
            put_varint(out, run.len() as u64 - 2);
        }
        next = run[0] + run.len() as u32;
    }
}

/// Where in a label's lists that of a value lies.
fn seek(bytes: &[u8], value: u32) -> Result<Cursor<'_>, Malformed> {
    let offset = Cursor::at(bytes, (value / GROUP) as usize * 4)?.u32()?;
    let mut cursor = Cursor::at(bytes, offset as usize)?;
    for _ in 0..value % GROUP {
        if cursor.varint()? == 1 {
            cursor.varint()?;
        } else {
            let length = cursor.count(cursor.remaining())?;
            cursor.take(length)?;
        }
    }
    Ok(cursor)
}

/// How many series a value has. `bytes` begin at the label's table.
pub(crate) fn list_len(bytes: &[u8], value: u32, series: u32) -> Result<u32, Malformed> {
    // Not above `series`, which is 32 bits.
    Ok(seek(bytes, value)?.count(series as usize)? as u32)
}

/// Appends the series of a value, all of them below `series`.
pub(crate) fn read_list(bytes: &[u8], value: u32, series: u32, into: &mut Vec<u32>) -> Result<(), Malformed> {
    let mut cursor = seek(bytes, value)?;
    let count = cursor.count(series as usize)?;
    let outside = Malformed("a list names series that are not there");
    if count == 1 {
        into.push(u32::try_from(cursor.varint()?).ok().filter(|&only| only < series).ok_or(outside)?);
        return Ok(());
    }
    let length = cursor.count(cursor.remaining())?;
    let mut body = Cursor::new(cursor.take(length)?);
    into.reserve(count);
    let (mut next, from) = (0u64, into.len());
    while body.remaining() > 0 {
        let token = body.varint()?;
        let run = if token & 1 == 0 { 1 } else { body.varint()?.saturating_add(2) };
        let start = next + (token >> 1);
        next = start.checked_add(run).filter(|&end| end <= u64::from(series)).ok_or(outside)?;
        // Below `series`, which is 32 bits.
        into.extend(start as u32..next as u32);
    }
    if into.len() - from == count { Ok(()) } else { Err(Malformed("a list is not as long as it says")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_come_back(lists in prop::collection::vec(prop::collection::btree_set(0..400u32, 1..300), 0..40)) {
            let lists: Vec<Vec<u32>> = lists.into_iter().map(|list| list.into_iter().collect()).collect();
            let mut out = Vec::new();
            write_lists(lists.iter().map(Vec::as_slice), &mut out);
            for (value, list) in lists.iter().enumerate() {
                let mut back = Vec::new();
                prop_assert_eq!(read_list(&out, value as u32, 400, &mut back), Ok(()));
                prop_assert_eq!(&back, list);
                prop_assert_eq!(list_len(&out, value as u32, 400), Ok(list.len() as u32));
                if list.last() == Some(&399) {
                    prop_assert!(read_list(&out, value as u32, 399, &mut back).is_err());
                }
            }
        }

        #[test]
        fn nothing_malformed_gets_out(bytes in prop::collection::vec(0u8..20, 0..120), value in 0u32..40) {
            let _ = read_list(&bytes, value, 1000, &mut Vec::new());
            let _ = list_len(&bytes, value, 1000);
        }
    }
}
