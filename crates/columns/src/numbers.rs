//! Columns of whole numbers as runs of equal steps: series by number, and times.

use crate::DecodeError;
use crate::sections::{Reader, put_number, unzigzag, zigzag};

const OUTSIDE: DecodeError = DecodeError::Malformed("a column has more rows than the message");

/// Appends a column: for every run of equal differences between neighbours its length less one and the difference.
pub(crate) fn put_column(out: &mut Vec<u8>, column: impl Iterator<Item = i64>) {
    let (mut previous, mut step, mut run) = (0_i64, 0_i64, 0_u64);
    let mut put = |run: u64, step: i64| {
        if run > 0 {
            put_number(out, run - 1);
            put_number(out, zigzag(step));
        }
    };
    for value in column {
        let difference = value.wrapping_sub(previous);
        previous = value;
        if run > 0 && difference == step {
            run += 1;
        } else {
            put(run, step);
            (step, run) = (difference, 1);
        }
    }
    put(run, step);
}

/// Reads the runs of a column of exactly `rows` values. `each` gets the value before the run, step and length, and gives
/// the last value of the run.
fn runs(
    bytes: &[u8],
    rows: usize,
    mut each: impl FnMut(i64, i64, usize) -> Result<i64, DecodeError>,
) -> Result<(), DecodeError> {
    let (mut reader, mut left, mut previous) = (Reader::new(bytes), rows, 0_i64);
    while left > 0 {
        let run = usize::try_from(reader.number()?).ok().filter(|run| *run < left).ok_or(OUTSIDE)? + 1;
        let step = unzigzag(reader.number()?);
        left -= run;
        previous = each(previous, step, run)?;
    }
    reader.end()
}

/// Reads a column of times.
pub(crate) fn read_times(bytes: &[u8], rows: usize, into: &mut Vec<i64>) -> Result<(), DecodeError> {
    into.clear();
    into.reserve(rows);
    runs(bytes, rows, |mut previous, step, run| {
        if step == 0 {
            into.resize(into.len() + run, previous);
            return Ok(previous);
        }
        into.extend((0..run).map(|_| {
            previous = previous.wrapping_add(step);
            previous
        }));
        Ok(previous)
    })
}

/// Reads a column of series numbers.
pub(crate) fn read_numbers(bytes: &[u8], rows: usize, into: &mut Vec<u32>) -> Result<(), DecodeError> {
    into.clear();
    into.reserve(rows);
    runs(bytes, rows, |previous, step, run| {
        // Steps of one run go one way: where first and last are numbers, so is what lies between.
        let last = i128::from(previous) + i128::from(step) * run as i128;
        let first = previous.wrapping_add(step);
        if u32::try_from(first).is_err() || u32::try_from(last).is_err() {
            return Err(DecodeError::Malformed("a series number"));
        }
        into.extend((1..=run as i64).map(|nth| (previous + step * nth) as u32));
        Ok(last as i64)
    })
}
