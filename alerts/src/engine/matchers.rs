//! The notation of matchers in alertmanager.yml, in API filters and in group keys: `{severity=~"a|b", team="x"}`.

use model::{MatchOp, Matcher, is_legacy_label_name};

/// Longer texts are refused: nobody writes such a matcher by hand.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Text that is not a list of matchers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad matcher {text:?}: {reason}; write for example severity=~\"critical|warning\"")]
pub struct MatcherSyntaxError {
    text: String,
    reason: String,
}

/// Parses matchers separated by commas, with or without braces around all of them. Names and values may be quoted;
/// in values `\\`, `\"` and `\n` are escapes and every other backslash stands for itself, as regular expressions need.
///
/// # Errors
/// On any other text, and on regular expressions that do not compile.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, MatcherSyntaxError> {
    let error = |reason: String| MatcherSyntaxError { text: text.chars().take(200).collect(), reason };
    if text.len() > MAX_TEXT_BYTES {
        return Err(error(format!("it has {} bytes, more than {MAX_TEXT_BYTES}", text.len())));
    }
    let inner = match (text.trim().strip_prefix('{'), text.trim().strip_suffix('}')) {
        (Some(rest), Some(_)) => rest.strip_suffix('}').unwrap_or(rest),
        (Some(_), None) => return Err(error("the closing brace is missing".to_owned())),
        // A value may end with a brace when it stands without quotes, as in a regular expression.
        _ => text.trim(),
    };
    let mut scanner = Scanner { rest: inner.trim() };
    let mut matchers = Vec::new();
    while !scanner.rest.is_empty() {
        matchers.push(scanner.matcher().map_err(error)?);
        if !scanner.rest.is_empty() && !scanner.take(",") {
            return Err(error(format!("expected a comma before {:?}", scanner.rest)));
        }
    }
    Ok(matchers)
}

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn take(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest.trim_start();
        true
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        let name = if self.rest.starts_with('"') { self.quoted()? } else { self.bare_name() };
        if name.is_empty() {
            return Err("the label name is missing".to_owned());
        }
        let operators =
            [("=~", MatchOp::Regex), ("!~", MatchOp::NotRegex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)];
        let Some((_, op)) = operators.into_iter().find(|(token, _)| self.take(token)) else {
            return Err("expected =, !=, =~ or !~ after the label name".to_owned());
        };
        let value = if self.rest.starts_with('"') { self.quoted()? } else { self.bare_value()? };
        Matcher::new(op, name, value).map_err(|e| e.to_string())
    }

    fn bare_name(&mut self) -> String {
        let stops = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
        self.split(self.rest.find(stops).unwrap_or(self.rest.len())).to_owned()
    }

    fn bare_value(&mut self) -> Result<String, String> {
        let value = self.split(self.rest.find(',').unwrap_or(self.rest.len())).trim_end().to_owned();
        if value.contains('"') {
            return Err("the value contains a quote; put quotes around it and write \\\" inside".to_owned());
        }
        Ok(unescape(&value))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                '"' if !escaped => {
                    let whole = self.split(at + 1);
                    return Ok(unescape(whole.trim_matches_once('"')));
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        Err("the closing quote is missing".to_owned())
    }

    /// Takes the first `at` bytes, a boundary that the caller found in `rest`, and the white space after them.
    fn split(&mut self, at: usize) -> &str {
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest.trim_start();
        taken
    }
}

trait TrimOnce {
    fn trim_matches_once(&self, c: char) -> &str;
}

impl TrimOnce for str {
    fn trim_matches_once(&self, c: char) -> &str {
        self.strip_prefix(c).and_then(|s| s.strip_suffix(c)).unwrap_or(self)
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out
}

/// One matcher as Alertmanager shows it.
pub fn format_matcher(matcher: &Matcher) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
    let name = matcher.name();
    let name = if is_legacy_label_name(name) { name.to_owned() } else { format!("\"{}\"", escape(name)) };
    format!("{name}{}\"{}\"", matcher.op().as_str(), escape(matcher.value()))
}

/// Matchers as they stand in a route's key: `{a="b",c=~"d"}`.
pub fn format_matchers(matchers: &[Matcher]) -> String {
    let parts: Vec<_> = matchers.iter().map(format_matcher).collect();
    format!("{{{}}}", parts.join(","))
}

/// Alertmanager's order within a route: by name, value, then operator. It is part of every group key.
pub fn sort_matchers(matchers: &mut [Matcher]) {
    matchers.sort_by(|a, b| {
        (a.name(), a.value(), operator_rank(a.op())).cmp(&(b.name(), b.value(), operator_rank(b.op())))
    });
}

fn operator_rank(op: MatchOp) -> u8 {
    match op {
        MatchOp::Equal => 0,
        MatchOp::NotEqual => 1,
        MatchOp::Regex => 2,
        MatchOp::NotRegex => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_notation() {
        let cases = [
            (r#"a="b""#, r#"{a="b"}"#),
            (r#"{a="b"}"#, r#"{a="b"}"#),
            (r#" { a = "b" , c!="d" , } "#, r#"{a="b",c!="d"}"#),
            ("a=b", r#"{a="b"}"#),
            ("a=~x|y", r#"{a=~"x|y"}"#),
            ("a=b c, d!~e", r#"{a="b c",d!~"e"}"#),
            (r#"a="b,c=d""#, r#"{a="b,c=d"}"#),
            (r#"a="say \"hi\"""#, r#"{a="say \"hi\""}"#),
            (r#"a=~"\\d+\.x{1,2}""#, r#"{a=~"\\d+\\.x{1,2}"}"#),
            (r#""a b"="c""#, r#"{"a b"="c"}"#),
            ("a=", r#"{a=""}"#),
            ("a=~.{2}", r#"{a=~".{2}"}"#),
            ("{}", "{}"),
            ("", "{}"),
        ];
        for (text, want) in cases {
            assert_eq!(format_matchers(&parse_matchers(text).expect(text)), want, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("a", "expected =, !=, =~ or !~"),
            ("=b", "label name is missing"),
            (r#"a="b"#, "closing quote"),
            (r#"a=b"c"#, "contains a quote"),
            (r#"a="b" c="d""#, "expected a comma"),
            (r#"{a="b""#, "closing brace"),
            ("a=~[", "invalid regular expression"),
            (",", "label name is missing"),
        ];
        for (text, want) in cases {
            let error = parse_matchers(text).expect_err(text).to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn writing_and_reading_agree(name in "[a-z_]{1,5}|[ -~]{1,5}", value in "\\PC{0,20}|[\\\\\"n\n]{0,8}") {
            let matcher = Matcher::equal(name, value);
            prop_assert_eq!(parse_matchers(&format_matcher(&matcher)), Ok(vec![matcher]));
        }

        #[test]
        fn never_panics(text in "[a={}\"\\\\,~! é]{0,30}") {
            let _ = parse_matchers(&text);
        }
    }
}
