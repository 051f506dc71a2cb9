//! How the values of one page become integers, where they can, and back, to the bit.
//!
//! Most values that machines report are decimals: counts, bytes, hundredths of seconds. `Decimal` holds such a value as
//! `k`, where the value is the double nearest to `k / 10^exponent`. A counter to which a program adds decimals drifts
//! away from them by rounding; `Sum` holds the `k` of each addition. What fits neither goes to pco as it is. A few
//! values that do not fit among many that do (a staleness marker, a first NaN) are kept aside as exceptions.

use crate::bytes::{Cursor, put_varint};
use crate::error::Malformed;

/// The powers of ten that are tried; divisors that all integers of a chunk share make up for the ones between.
const EXPONENTS: [u8; 4] = [0, 3, 6, 9];
/// Adding and subtracting this rounds to an integer what is smaller than 2^51.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Below this the integer and its double are the same, and rounding with [`ROUNDER`] works.
const DECIMAL_LIMIT: f64 = 2_251_799_813_685_248.0;
/// Distances of two such integers still fit.
const INTEGER_LIMIT: u64 = 1 << 62;

/// A value that is kept apart: its index within the page, and its bits.
pub(crate) type Exception = (u32, u64);

/// What a page's values are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Integers divided by a power of ten.
    Decimal,
    /// A first value, and what is added to it from sample to sample, as such integers.
    Sum,
    /// As they are.
    Float,
}

/// 10 to the power of an exponent; exact.
pub(crate) fn power(exponent: u8) -> f64 {
    10f64.powi(i32::from(exponent))
}

/// The largest exponent a reader accepts.
pub(crate) const MAX_EXPONENT: u8 = 9;

/// The integer whose division by `power` gives exactly this value.
#[inline]
fn as_decimal(value: f64, power: f64) -> Option<i64> {
    let k = if power == 1.0 {
        Some(value as i64).filter(|k| k.unsigned_abs() < INTEGER_LIMIT)?
    } else {
        let scaled = value * power;
        rounded(scaled)?
    };
    (from_decimal(k, power).to_bits() == value.to_bits()).then_some(k)
}

/// The nearest integer, of what is small enough and a number.
#[inline]
fn rounded(scaled: f64) -> Option<i64> {
    (scaled.abs() < DECIMAL_LIMIT).then_some(((scaled + ROUNDER) - ROUNDER) as i64)
}

#[inline]
fn from_decimal(k: i64, power: f64) -> f64 {
    k as f64 / power
}

/// The integer by which one value follows from another.
#[inline]
fn as_addition(from: f64, to: f64, power: f64) -> Option<i64> {
    let k = rounded((to - from) * power)?;
    ((from + from_decimal(k, power)).to_bits() == to.to_bits()).then_some(k)
}

/// How many values of a page may be exceptions: each costs about ten bytes.
fn exceptions_allowed(values: usize) -> usize {
    1 + values / 16
}

/// Finds the form of a page, and the smallest exponent it needs.
pub(crate) fn fit(values: &[f64]) -> (Form, u8) {
    if let Some(exponent) = fit_decimal(values) {
        return (Form::Decimal, exponent);
    }
    match EXPONENTS.iter().skip(1).find(|&&exponent| is_sum(values, power(exponent))) {
        Some(&exponent) => (Form::Sum, exponent),
        None => (Form::Float, 0),
    }
}

fn fit_decimal(values: &[f64]) -> Option<u8> {
    let powers = EXPONENTS.map(power);
    let (mut level, mut exceptions) = (0, 0);
    for &value in values {
        match (level..powers.len()).find(|&l| as_decimal(value, powers[l]).is_some()) {
            Some(needed) => level = needed,
            None => exceptions += 1,
        }
        if exceptions > exceptions_allowed(values.len()) {
            return None;
        }
    }
    Some(EXPONENTS[level])
}

fn is_sum(values: &[f64], power: f64) -> bool {
    let mut exceptions = 0;
    let mut current = chain_start(values.first().copied().unwrap_or(0.0));
    for &value in values.iter().skip(1) {
        if as_addition(current, value, power).is_none() {
            exceptions += 1;
            if exceptions > exceptions_allowed(values.len()) {
                return false;
            }
        }
        current = chain_next(current, value);
    }
    true
}

/// What is added to after the first value.
fn chain_start(first: f64) -> f64 {
    if first.is_finite() { first } else { 0.0 }
}

/// What is added to after a value: a marker does not end a sum.
fn chain_next(current: f64, value: f64) -> f64 {
    if value.is_finite() { value } else { current }
}

/// Appends the integers of a page, one per value. Returns false, with nothing useful appended, when too few fit this power.
pub(crate) fn to_decimals(values: &[f64], power: f64, ints: &mut Vec<i64>, exceptions: &mut Vec<Exception>) -> bool {
    let Some(mut last) = values.iter().find_map(|&value| as_decimal(value, power)) else { return false };
    for (at, &value) in values.iter().enumerate() {
        match as_decimal(value, power) {
            Some(k) => last = k,
            None => exceptions.push((at as u32, value.to_bits())),
        }
        // In place of an exception, what costs least.
        ints.push(last);
    }
    exceptions.len() <= exceptions_allowed(values.len())
}

/// The inverse: appends the values of a page. `first` is there when the integers are distances.
pub(crate) fn from_decimals(first: Option<i64>, ints: &[i64], divisor: i64, power: f64, into: &mut Vec<f64>) {
    // Most are integers; a division by one would cost as much as all the rest.
    if power == 1.0 {
        append_decimals(first, ints, divisor, |k| k as f64, into);
    } else {
        append_decimals(first, ints, divisor, |k| from_decimal(k, power), into);
    }
}

#[inline]
fn append_decimals(first: Option<i64>, ints: &[i64], divisor: i64, value_of: impl Fn(i64) -> f64, into: &mut Vec<f64>) {
    let Some(mut k) = first else {
        into.extend(ints.iter().map(|&int| value_of(int.wrapping_mul(divisor))));
        return;
    };
    into.push(value_of(k));
    into.extend(ints.iter().map(|&int| {
        k = k.wrapping_add(int.wrapping_mul(divisor));
        value_of(k)
    }));
}

/// Puts the exceptions of a page of decimals in their places; `from` is where the page begins in `into`.
pub(crate) fn put_exceptions(exceptions: &[Exception], from: usize, into: &mut [f64]) {
    for &(at, bits) in exceptions {
        if let Some(value) = into.get_mut(from + at as usize) {
            *value = f64::from_bits(bits);
        }
    }
}

/// Appends the additions of a page, one per value but the first. Returns false as [`to_decimals`] does.
pub(crate) fn to_additions(values: &[f64], power: f64, ints: &mut Vec<i64>, exceptions: &mut Vec<Exception>) -> bool {
    let Some((&first, rest)) = values.split_first() else { return false };
    let mut current = chain_start(first);
    for (at, &value) in rest.iter().enumerate() {
        let k = as_addition(current, value, power);
        if k.is_none() {
            exceptions.push((at as u32 + 1, value.to_bits()));
        }
        ints.push(k.unwrap_or(0));
        current = chain_next(current, value);
    }
    exceptions.len() <= exceptions_allowed(values.len())
}

/// The inverse: appends the values of a page.
pub(crate) fn from_additions(
    first: f64,
    ints: &[i64],
    divisor: i64,
    power: f64,
    exceptions: &[Exception],
    into: &mut Vec<f64>,
) {
    into.push(first);
    let mut current = chain_start(first);
    let mut done = 0;
    for &(at, bits) in exceptions {
        // The reader of exceptions made sure that they ascend and lie within the page.
        let (until, value) = ((at as usize).saturating_sub(1).clamp(done, ints.len()), f64::from_bits(bits));
        into.extend(ints[done..until].iter().map(|&int| {
            current += from_decimal(int.wrapping_mul(divisor), power);
            current
        }));
        if until < ints.len() {
            into.push(value);
        }
        current = chain_next(current, value);
        done = (until + 1).min(ints.len());
    }
    into.extend(ints[done..].iter().map(|&int| {
        current += from_decimal(int.wrapping_mul(divisor), power);
        current
    }));
}

/// Appends exceptions: their number, then for each the distance from the one before and its eight bytes.
pub(crate) fn write_exceptions(exceptions: &[Exception], out: &mut Vec<u8>) {
    put_varint(out, exceptions.len() as u64);
    let mut next = 0;
    for &(at, bits) in exceptions {
        put_varint(out, u64::from(at - next));
        out.extend_from_slice(&bits.to_le_bytes());
        next = at + 1;
    }
}

/// Reads exceptions of a page of `values` values.
pub(crate) fn read_exceptions(
    cursor: &mut Cursor<'_>,
    values: usize,
    into: &mut Vec<Exception>,
) -> Result<(), Malformed> {
    into.clear();
    let mut next = 0;
    for _ in 0..cursor.count(values)? {
        let at = next + cursor.count(values)?;
        if at >= values {
            return Err(Malformed("an exception lies outside its page"));
        }
        // A page's count is far below u32::MAX.
        into.push((at as u32, cursor.u64()?));
        next = at + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    /// Through the form that fits, and back.
    fn there_and_back(values: &[f64]) -> (Form, Vec<f64>) {
        let (form, exponent) = fit(values);
        let (mut ints, mut exceptions, mut back) = (Vec::new(), Vec::new(), Vec::new());
        let power = power(exponent);
        match form {
            Form::Decimal if !to_decimals(values, power, &mut ints, &mut exceptions) => back.extend_from_slice(values),
            Form::Decimal => {
                from_decimals(None, &ints, 1, power, &mut back);
                put_exceptions(&exceptions, 0, &mut back);
            }
            Form::Sum => {
                assert!(to_additions(values, power, &mut ints, &mut exceptions));
                from_additions(values[0], &ints, 1, power, &exceptions, &mut back);
            }
            Form::Float => back.extend_from_slice(values),
        }
        (form, back)
    }

    #[test]
    fn finds_the_form() {
        let marker = f64::from_bits(0x7ff0_0000_0000_0002);
        let mut sum = 5.0;
        let sums: Vec<f64> = (0..200)
            .map(|i| {
                sum += f64::from(i * 7919 % 15_000) / 1000.0;
                sum
            })
            .collect();
        let ended: Vec<f64> = sums.iter().copied().chain([marker]).collect();
        let noise: Vec<f64> = (1..100).map(|i| f64::from(i).sqrt()).collect();
        for (values, form, exponent) in [
            (vec![1.0, 2.0, 1e15], Form::Decimal, 0),
            (vec![1.0, marker, 3.0], Form::Decimal, 0),
            (vec![1.0, -0.0, 3.0], Form::Decimal, 0),
            (vec![0.01, 0.02, 17.0], Form::Decimal, 3),
            (vec![0.1, 0.000_002], Form::Decimal, 6),
            (sums, Form::Sum, 3),
            (ended, Form::Sum, 3),
            (noise, Form::Float, 0),
        ] {
            assert_eq!(fit(&values), (form, exponent), "{values:?}");
            assert_eq!(bits(&there_and_back(&values).1), bits(&values));
        }
    }

    /// Values of all kinds, mixed.
    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => (-1000i64..1000).prop_map(|k| k as f64 / 1000.0),
            6 => any::<i32>().prop_map(f64::from),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => any::<i64>().prop_map(|k| k as f64),
        ]
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(values in prop::collection::vec(value(), 1..80)) {
            prop_assert_eq!(bits(&there_and_back(&values).1), bits(&values));
        }

        #[test]
        fn sums_come_back(additions in prop::collection::vec((0u32..100_000, prop::bool::weighted(0.02)), 1..300)) {
            let mut sum = 0.0;
            let values: Vec<f64> = additions.iter().map(|&(k, marker)| {
                sum += f64::from(k) / 1000.0;
                if marker { f64::NAN } else { sum }
            }).collect();
            prop_assert_eq!(bits(&there_and_back(&values).1), bits(&values));
        }

        #[test]
        fn exceptions_come_back(at in prop::collection::btree_map(0u32..500, any::<u64>(), 0..20)) {
            let exceptions: Vec<Exception> = at.into_iter().collect();
            let (mut out, mut back) = (Vec::new(), Vec::new());
            write_exceptions(&exceptions, &mut out);
            prop_assert_eq!(read_exceptions(&mut Cursor::new(&out), 500, &mut back), Ok(()));
            prop_assert_eq!(back, exceptions);
        }
    }
}
