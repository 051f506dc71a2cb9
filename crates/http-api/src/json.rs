//! JSON as Prometheus writes it, straight into bytes: samples, label sets, strings, and anything that serialises.

use std::io::{self, Write as _};

use model::{Labels, TimestampMs};
use serde::Serialize;
use serde_json::ser::Formatter;

/// Adds a timestamp: seconds, with three decimals where it is not whole.
pub(crate) fn timestamp(out: &mut Vec<u8>, at: TimestampMs) {
    if at.0 < 0 {
        out.push(b'-');
    }
    let ms = at.0.unsigned_abs();
    unsigned(out, ms / 1000);
    let rest = ms % 1000;
    if rest != 0 {
        out.extend([b'.', digit(rest / 100), digit(rest / 10 % 10), digit(rest % 10)]);
    }
}

/// The same without zeros at its end: how scalars and strings show theirs.
pub(crate) fn short_timestamp(out: &mut Vec<u8>, at: TimestampMs) {
    timestamp(out, at);
    if at.0 % 1000 != 0 {
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Adds `[timestamp,"value"]`.
pub(crate) fn sample(out: &mut Vec<u8>, at: TimestampMs, value: f64) {
    out.push(b'[');
    timestamp(out, at);
    out.extend_from_slice(b",\"");
    sample_value(out, value);
    out.extend_from_slice(b"\"]");
}

/// Adds a sample's value: plain notation, an exponent below 1e-6 and from 1e21.
pub(crate) fn sample_value(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    if magnitude != 0.0 && magnitude.is_finite() && !(1e-6..1e21).contains(&magnitude) {
        let start = out.len();
        // Writing to memory cannot fail, here and below.
        let _ = write!(out, "{value:e}");
        complete_exponent(out, start);
    } else {
        plain_value(out, value);
    }
}

/// Adds a value without an exponent, however long that is: how the API shows scalars.
pub(crate) fn plain_value(out: &mut Vec<u8>, value: f64) {
    const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value.fract() == 0.0 && value.abs() < EXACT_INTEGERS {
        if value.is_sign_negative() {
            out.push(b'-');
        }
        unsigned(out, value.abs() as u64);
    } else if (1e-5..1e15).contains(&value.abs()) {
        // In these bounds the shortest digits come without an exponent, and much faster than from `write!`.
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else {
        let _ = write!(out, "{value}");
    }
}

/// Go writes an exponent with its sign and at least two digits: `1e-7` becomes `1e-07`.
fn complete_exponent(out: &mut Vec<u8>, start: usize) {
    let Some(e) = out.iter().skip(start).position(|b| *b == b'e').map(|at| start + at) else { return };
    let mut digits = e + 1;
    if out.get(digits) == Some(&b'-') {
        digits += 1;
    } else {
        out.insert(digits, b'+');
        digits += 1;
    }
    if out.len() - digits < 2 {
        out.insert(digits, b'0');
    }
}

fn digit(value: u64) -> u8 {
    b'0' + (value % 10) as u8
}

fn unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = digit(value);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Adds a string with its quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    fragment(out, text, true);
    out.push(b'"');
}

/// Bytes that never need an escape, wherever they stand.
static IS_PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] = byte >= 0x20 && !matches!(byte as u8, b'<' | b'>' | b'&' | b'"' | b'\\' | 0xe2);
        byte += 1;
    }
    plain
};

/// Adds the inside of a string. As in Go, `<`, `>`, `&` and the two line separators of Unicode are escaped, so that a
/// browser which mistakes the answer for something else finds nothing to run. `all` escapes what JSON demands too.
fn fragment(out: &mut Vec<u8>, text: &str, all: bool) {
    let bytes = text.as_bytes();
    let (mut copied, mut next) = (0, 0);
    while let Some(skipped) = bytes[next..].iter().position(|byte| !IS_PLAIN[usize::from(*byte)]) {
        let at = next + skipped;
        let byte = bytes[at];
        next = at + 1;
        let (escape, length): (&[u8], usize) = match byte {
            b'<' => (b"\\u003c", 1),
            b'>' => (b"\\u003e", 1),
            b'&' => (b"\\u0026", 1),
            0xe2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => (b"\\u2028", 3),
            0xe2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => (b"\\u2029", 3),
            b'"' if all => (b"\\\"", 1),
            b'\\' if all => (b"\\\\", 1),
            b'\n' if all => (b"\\n", 1),
            b'\r' if all => (b"\\r", 1),
            b'\t' if all => (b"\\t", 1),
            0..0x20 if all => (b"", 1),
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..at]);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        }
        out.extend_from_slice(escape);
        copied = at + length;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Adds a label set as an object.
pub(crate) fn labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        comma(out, i);
        string(out, name);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

/// Adds the comma that every item but the first needs.
pub(crate) fn comma(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

/// Adds an array of strings.
pub(crate) fn strings<S: AsRef<str>>(out: &mut Vec<u8>, items: impl IntoIterator<Item = S>) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        comma(out, i);
        string(out, item.as_ref());
    }
    out.push(b']');
}

/// Adds anything that serialises, its strings and numbers in the same notation.
///
/// # Errors
/// When the value refuses to be serialised.
pub(crate) fn value(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, GoLike))
}

struct GoLike;

impl Formatter for GoLike {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let mut text = Vec::with_capacity(24);
        sample_value(&mut text, value);
        writer.write_all(&text)
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let mut escaped = Vec::with_capacity(text.len());
        fragment(&mut escaped, text, false);
        writer.write_all(&escaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("is UTF-8")
    }

    #[test]
    fn values_are_those_of_go() {
        // What Debian's Prometheus answers to vector(x).
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (1e-7, "1e-07"),
            (9.999e-7, "9.999e-07"),
            (1e-6, "0.000001"),
            (-1.5e-10, "-1.5e-10"),
            (5e-324, "5e-324"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (1e21, "1e+21"),
            (123_456e20, "1.23456e+25"),
            (1e20, "100000000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (9_007_199_254_740_993.0, "9007199254740992"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0 / 3.0, "0.3333333333333333"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, want) in cases {
            assert_eq!(shown(|out| sample_value(out, value)), want);
        }
        assert_eq!(shown(|out| plain_value(out, 1e-7)), "0.0000001");
        assert_eq!(shown(|out| plain_value(out, 1e21)), "1000000000000000000000");
    }

    #[test]
    fn timestamps_are_seconds() {
        let cases = [
            (0, "0"),
            (1500, "1.500"),
            (-1500, "-1.500"),
            (-20, "-0.020"),
            (1_795_288_947_020, "1795288947.020"),
            (i64::MIN, "-9223372036854775.808"),
        ];
        for (ms, want) in cases {
            assert_eq!(shown(|out| timestamp(out, TimestampMs(ms))), want);
        }
        for (ms, want) in [(0, "0"), (10_000, "10"), (1500, "1.5"), (-1050, "-1.05"), (7, "0.007")] {
            assert_eq!(shown(|out| short_timestamp(out, TimestampMs(ms))), want);
        }
    }

    #[test]
    fn strings_are_escaped_as_in_go() {
        let text = "<&>\u{2028}\u{2029}\u{7f}\u{1}\"\\/\t\n\r\u{fffe}é";
        let want = "\"\\u003c\\u0026\\u003e\\u2028\\u2029\u{7f}\\u0001\\\"\\\\/\\t\\n\\r\u{fffe}é\"";
        assert_eq!(shown(|out| string(out, text)), want);
        assert_eq!(shown(|out| value(out, &"a<\n").expect("serialises")), "\"a\\u003c\\n\"");
        assert_eq!(shown(|out| value(out, &(2.0, 0.5, 1e-9)).expect("serialises")), "[2,0.5,1e-09]");
    }

    proptest! {
        #[test]
        fn values_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            for write in [sample_value, plain_value] {
                let back: f64 = shown(|out| write(out, value)).parse().expect("is a number");
                prop_assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()));
            }
        }

        #[test]
        fn strings_read_back(text in any::<String>()) {
            let json = shown(|out| string(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("is JSON"), text.clone());
            let json = shown(|out| value(out, &text).expect("serialises"));
            prop_assert_eq!(serde_json::from_str::<String>(&json).expect("is JSON"), text);
        }
    }
}
