//! Strings as Go writes and reads them in source code.

use std::fmt::Write;

/// `text` in double quotes, escaped as Go's `strconv.Quote` does; U+FFFD too, which the lexer would refuse to read back.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            char::REPLACEMENT_CHARACTER => out.push_str("\\ufffd"),
            c => escape_into(&mut out, c, '"'),
        }
    }
    out.push('"');
    out
}

/// A character in single quotes, as Go's `%q` shows it; the end of the text is U+FFFD there.
pub(crate) fn quote_char(c: Option<char>) -> String {
    let mut out = "'".to_owned();
    escape_into(&mut out, c.unwrap_or(char::REPLACEMENT_CHARACTER), '\'');
    out.push('\'');
    out
}

/// A character as Go's `%#U` shows it: `U+0027 '''`.
pub(crate) fn code_point(c: char) -> String {
    let shown = if is_printable(c) { format!(" '{c}'") } else { String::new() };
    format!("U+{:04X}{shown}", u32::from(c))
}

fn escape_into(out: &mut String, c: char, delimiter: char) {
    let short = match c {
        '\\' => Some('\\'),
        c if c == delimiter => Some(delimiter),
        '\u{7}' => Some('a'),
        '\u{8}' => Some('b'),
        '\u{c}' => Some('f'),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        '\u{b}' => Some('v'),
        _ => None,
    };
    // Writing to a string cannot fail.
    let _ = match (short, u32::from(c)) {
        (Some(short), _) => write!(out, "\\{short}"),
        (None, _) if is_printable(c) => out.write_char(c),
        (None, code) if c.is_ascii() => write!(out, "\\x{code:02x}"),
        (None, code) if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
        (None, code) => write!(out, "\\U{code:08x}"),
    };
}

/// Whether the standard library would print a character that continues a text, rather than escape it.
fn is_printable(c: char) -> bool {
    let text: String = ['a', c].into_iter().collect();
    matches!(c, '\'' | '"' | '\\') || !text.escape_debug().any(|shown| shown == '\\')
}

/// The text of a literal that the lexer has accepted, without its quotes and escapes. What is not UTF-8 (`"\xff"`) becomes
/// U+FFFD, which is how Prometheus shows it. `None` on an octal escape beyond a byte, which Go's lexer lets pass.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    if literal.starts_with('`') {
        return Some(inner.to_owned());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            push(&mut out, c);
            continue;
        }
        match rest.next()? {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(0xc),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(0xb),
            'x' => out.push(u8::try_from(digits(&mut rest, 0, 2, 16)?).ok()?),
            'u' => push(&mut out, char::from_u32(digits(&mut rest, 0, 4, 16)?)?),
            'U' => push(&mut out, char::from_u32(digits(&mut rest, 0, 8, 16)?)?),
            c @ '0'..='7' => out.push(u8::try_from(digits(&mut rest, c.to_digit(8)?, 2, 8)?).ok()?),
            c => push(&mut out, c),
        }
    }
    Some(String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// `count` more digits behind `value`.
fn digits(rest: &mut std::str::Chars<'_>, value: u32, count: usize, base: u32) -> Option<u32> {
    (0..count).try_fold(value, |value, _| value.checked_mul(base)?.checked_add(rest.next()?.to_digit(base)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go() {
        assert_eq!(
            quote("a\"b\\c\n\u{1}\u{7f}ä\u{200b}\u{1f600}\u{e0001}'"),
            r#""a\"b\\c\n\x01\x7fä\u200b😀\U000e0001'""#
        );
        assert_eq!(quote_char(Some('\'')), r"'\''");
        assert_eq!(quote_char(Some('"')), "'\"'");
        assert_eq!(quote_char(None), "'\u{fffd}'");
        assert_eq!(code_point('\''), "U+0027 '''");
        assert_eq!(code_point('\n'), "U+000A");
    }

    #[test]
    fn unquotes_as_go() {
        for (literal, text) in [
            (r#""""#, ""),
            (r#""a\tb""#, "a\tb"),
            (r"'\''", "'"),
            (r#""\x41\102\u00e4\U0001F600""#, "AB\u{e4}\u{1f600}"),
            (r#""\xc3\xa4""#, "ä"),
            (r#""\xff""#, "\u{fffd}"),
            (r"`a\b`", r"a\b"),
        ] {
            assert_eq!(unquote(literal).as_deref(), Some(text), "{literal}");
        }
        assert_eq!(unquote(r#""\777""#), None);
    }
}
