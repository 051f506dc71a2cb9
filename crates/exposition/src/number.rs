//! Sample values: read as Go's `strconv.ParseFloat` does, written as `strconv.FormatFloat(v, 'g', -1, 64)` does.

use std::fmt::Write as _;

/// The NaN that Prometheus stores for a target's `NaN`.
const ORDINARY_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;
/// Whole numbers below this are written without an exponent.
const PLAIN_LIMIT: f64 = 1_000_000.0;

/// Text that is not a number a sample may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text is no number.
    #[error("not a number: {0:?}")]
    Syntax(String),
    /// A number beyond the largest finite 64-bit float.
    #[error("number out of range: {0:?}")]
    Range(String),
}

/// Parses a sample value: decimal or hexadecimal (`0x1p-2`), `+Inf`, `-Inf`, `NaN` in any case. No underscores.
///
/// # Errors
/// On text that is no number, and on finite numbers that a 64-bit float cannot hold.
pub fn parse_value(text: &str) -> Result<f64, NumberError> {
    let bytes = text.as_bytes();
    if (1..=15).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_digit) {
        return Ok(bytes.iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0')) as f64);
    }
    let (negative, magnitude) = match bytes.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if let Some(digits) = magnitude.strip_prefix("0x").or_else(|| magnitude.strip_prefix("0X")) {
        let value = parse_hexadecimal(digits).ok_or_else(|| NumberError::Syntax(text.to_owned()))?;
        return finite(if negative { -value } else { value }, text);
    }
    let value: f64 = text.parse().map_err(|_| NumberError::Syntax(text.to_owned()))?;
    if value.is_nan() {
        // Rust reads a signed nan, Go does not.
        return if magnitude.len() == text.len() {
            Ok(f64::from_bits(ORDINARY_NAN_BITS))
        } else {
            Err(NumberError::Syntax(text.to_owned()))
        };
    }
    if magnitude.as_bytes().first().is_some_and(|b| matches!(b, b'i' | b'I')) {
        return Ok(value);
    }
    finite(value, text)
}

fn finite(value: f64, text: &str) -> Result<f64, NumberError> {
    if value.is_infinite() { Err(NumberError::Range(text.to_owned())) } else { Ok(value) }
}

/// `h.hhhp±d` after its `0x`; the exponent is mandatory, as in Go. Infinite when out of range.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Beyond this the result is zero or infinite for every mantissa a body can carry.
    let magnitude = unsigned.parse::<i64>().unwrap_or(i64::MAX).min(1 << 40);
    let mut exponent = if exponent.starts_with('-') { -magnitude } else { magnitude };

    let (mut mantissa, mut sticky, mut seen, mut after_point) = (0u64, false, false, false);
    for byte in digits.bytes() {
        if byte == b'.' && !after_point {
            after_point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        seen = true;
        if mantissa >> 60 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if after_point { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exponent += if after_point { 0 } else { 4 };
        }
    }
    seen.then(|| scale(mantissa, sticky, exponent))
}

/// `mantissa * 2^exponent`, rounded once to the nearest float, ties to even; `sticky` stands for non-zero bits below.
fn scale(mantissa: u64, sticky: bool, exponent: i64) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let zeros = mantissa.leading_zeros();
    let mantissa = u128::from(mantissa << zeros);
    let exponent = exponent - i64::from(zeros);
    let leading = exponent + 63;
    if leading > 1023 {
        return f64::INFINITY;
    }
    // A subnormal result keeps fewer bits.
    let keep = if leading >= -1022 { 53 } else { 53 - (-1022 - leading) };
    if keep < 0 {
        return 0.0;
    }
    let shift = 64 - keep;
    let half = 1u128 << (shift - 1);
    let rest = mantissa & ((1u128 << shift) - 1);
    let mut kept = mantissa >> shift;
    if rest > half || (rest == half && (sticky || kept & 1 == 1)) {
        kept += 1;
    }
    // Two exact steps: a single power of two down to 2^-1074 is not a normal float.
    let power = exponent + shift;
    let first = power / 2;
    kept as f64 * power_of_two(first) * power_of_two(power - first)
}

/// 2^n for -1022 <= n <= 1023.
fn power_of_two(n: i64) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// Adds a value in Go's shortest form: `0.25`, `1e+06`, `+Inf`, `NaN`.
pub fn write_value(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if value == 0.0 || (value.abs() >= 1e-4 && value.abs() < PLAIN_LIMIT) {
        // Writing to a string cannot fail. Display is the shortest form that reads back, never with an exponent.
        let _ = write!(out, "{value}");
    } else {
        let start = out.len();
        let _ = write!(out, "{value:e}");
        pad_exponent(out, start);
    }
}

/// Go writes at least two exponent digits and always a sign: `1e6` becomes `1e+06`.
fn pad_exponent(out: &mut String, start: usize) {
    let Some(at) = out[start..].find('e').map(|at| start + at + 1) else { return };
    let negative = out[at..].starts_with('-');
    if !negative {
        out.insert(at, '+');
    }
    if out.len() - at == 2 {
        out.insert(at + 1, '0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        let cases = [
            ("0", 0.0),
            ("-0", -0.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("+1e3", 1000.0),
            ("1E-2", 0.01),
            ("123456789012345678", 123_456_789_012_345_680.0),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("0x1p-2", 0.25),
            ("0X1.8P1", 3.0),
            ("-0x.8p0", -0.5),
            ("0x1p-1074", 5e-324),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1075", 5e-324),
            ("0x1p-99999999999999999999", 0.0),
            ("0x1.fffffffffffffp1023", f64::MAX),
            ("0x20000000000001p0", 9_007_199_254_740_992.0),
            ("0x200000000000018p-4", 9_007_199_254_740_994.0),
            ("0x10000000000000000000000000000000p0", 2f64.powi(124)),
            ("1e-400", 0.0),
        ];
        for (text, value) in cases {
            assert_eq!(parse_value(text).map(f64::to_bits), Ok(value.to_bits()), "{text}");
        }
        for text in ["nan", "NaN", "NAN"] {
            assert_eq!(parse_value(text).map(f64::to_bits), Ok(ORDINARY_NAN_BITS), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        let cases =
            ["", "+", ".", "e5", "1e", "1_000", "0x_1p1", "0x1", "0xp1", "0x1p", "0x1.2.3p1", "+nan", "1 ", "1\r", "½"];
        for text in cases {
            assert!(matches!(parse_value(text), Err(NumberError::Syntax(_))), "{text}");
        }
        for text in ["1e400", "-1e309", "0x1p1024", "0x1.fffffffffffff8p1023"] {
            assert!(matches!(parse_value(text), Err(NumberError::Range(_))), "{text}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-12.5, "-12.5"),
            (999_999.0, "999999"),
            (999_999.5, "999999.5"),
            (1e6, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (1.7e308, "1.7e+308"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            let mut out = "x".to_owned();
            write_value(&mut out, value);
            assert_eq!(&out[1..], text);
        }
    }

    proptest! {
        #[test]
        fn every_float_survives(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            let mut text = String::new();
            write_value(&mut text, value);
            let back = parse_value(&text).expect("reads back");
            prop_assert!(back.to_bits() == bits || (back.is_nan() && value.is_nan()), "{}", text);
        }

        #[test]
        fn hexadecimal_is_exact(mantissa in 0u64..1 << 53, exponent in -1074i64..900) {
            let want = mantissa as f64 * power_of_two(exponent / 2) * power_of_two(exponent - exponent / 2);
            prop_assume!(want.is_finite());
            let got = parse_value(&format!("0x{mantissa:x}p{exponent}")).expect("reads");
            prop_assert_eq!(got.to_bits(), want.to_bits());
        }

        #[test]
        fn never_panics(text in "\\PC*|[0-9a-fxXpP.+_-]*") {
            let _ = parse_value(&text);
        }
    }
}
