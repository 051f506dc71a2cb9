//! Looks at a query before the parser does: bounds its length and nesting, so that no recursion over its tree can
//! exhaust a stack, and smooths over what the parser library cannot take (raw strings with backslashes, durations
//! beyond its range).

use model::parse_duration;

use crate::PromqlError;

/// Longest query, in bytes.
pub(crate) const MAX_QUERY_BYTES: usize = 64 * 1024;
/// Deepest nesting of a query's tree. A chain of n operators counts as n levels, since it parses into a list.
pub(crate) const MAX_DEPTH: usize = 256;

// 292 years: what fits into nanoseconds, the bound of Prometheus.
const MAX_DURATION_SECONDS: f64 = 9.2e9;

/// What is known of one open parenthesis, or of the whole query.
#[derive(Default)]
struct Level {
    operators: usize,
    deepest_child: usize,
}

impl Level {
    fn depth(&self) -> usize {
        1 + self.operators + self.deepest_child
    }
}

struct Scanner<'a> {
    rest: &'a str,
    out: String,
    levels: Vec<Level>,
    current: Level,
    in_brackets: bool,
    duration_follows: bool,
}

/// Returns the query as the parser should see it.
///
/// # Errors
/// When it is too long, too deep, or holds a duration out of range.
pub(crate) fn admit(query: &str) -> Result<String, PromqlError> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(PromqlError::parse(format!("the query is longer than {MAX_QUERY_BYTES} bytes; split it")));
    }
    let mut scanner = Scanner {
        rest: query,
        out: String::with_capacity(query.len()),
        levels: Vec::new(),
        current: Level::default(),
        in_brackets: false,
        duration_follows: false,
    };
    while let Some(first) = scanner.rest.chars().next() {
        scanner.step(first)?;
    }
    while !scanner.levels.is_empty() {
        scanner.close();
    }
    if scanner.current.depth() > MAX_DEPTH {
        return Err(too_deep());
    }
    Ok(scanner.out)
}

fn too_deep() -> PromqlError {
    PromqlError::parse(format!("the query is nested deeper than {MAX_DEPTH} levels; split it with a recording rule"))
}

impl Scanner<'_> {
    fn step(&mut self, first: char) -> Result<(), PromqlError> {
        match first {
            '"' | '\'' | '`' => self.string(first),
            '#' => self.skip_comment(),
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.') => self.word()?,
            c => {
                self.punctuation(c)?;
                self.take(c.len_utf8());
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at(bytes);
        self.out.push_str(taken);
        self.rest = rest;
    }

    fn punctuation(&mut self, c: char) -> Result<(), PromqlError> {
        match c {
            '(' => {
                self.levels.push(std::mem::take(&mut self.current));
                if self.levels.len() > MAX_DEPTH {
                    return Err(too_deep());
                }
            }
            ')' => self.close(),
            '[' => {
                self.in_brackets = true;
                self.current.operators += 1;
            }
            ']' => self.in_brackets = false,
            '+' | '-' | '*' | '/' | '%' | '^' | '=' | '<' | '>' | '!' | '@' => self.current.operators += 1,
            _ => {}
        }
        if !c.is_whitespace() && !matches!(c, '+' | '-') {
            self.duration_follows = false;
        }
        Ok(())
    }

    fn close(&mut self) {
        if let Some(parent) = self.levels.pop() {
            let child = std::mem::replace(&mut self.current, parent);
            self.current.deepest_child = self.current.deepest_child.max(child.depth());
        }
    }

    /// Copies a string literal. A raw one is rewritten with escapes: the parser library reads backslashes in it.
    fn string(&mut self, quote: char) {
        let mut escaped = false;
        let body = &self.rest[1..];
        let end = body.char_indices().find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped && quote != '`';
            ends
        });
        let Some((end, _)) = end else {
            self.take(self.rest.len());
            return;
        };
        if quote == '`' {
            self.out.push('"');
            for c in body[..end].chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
            self.rest = &body[end + 1..];
        } else {
            self.take(end + 2);
        }
    }

    fn skip_comment(&mut self) {
        let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    fn word(&mut self) -> Result<(), PromqlError> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
        let mut end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        // In brackets a colon separates range and step.
        if self.in_brackets {
            end = self.rest[..end].find(':').unwrap_or(end).max(1);
        }
        let word = &self.rest[..end];
        if word.eq_ignore_ascii_case("offset") {
            self.current.operators += 1;
            self.duration_follows = true;
        } else {
            if ["and", "or", "unless", "atan2"].iter().any(|op| word.eq_ignore_ascii_case(op)) {
                self.current.operators += 1;
            }
            if self.in_brackets || std::mem::take(&mut self.duration_follows) {
                check_duration(word)?;
            }
        }
        self.take(end);
        Ok(())
    }
}

/// Refuses durations that the parser library would panic on or misread. What is no duration at all is left to it.
fn check_duration(word: &str) -> Result<(), PromqlError> {
    let seconds = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|n| n as f64),
        None => word.parse::<f64>().ok(),
    };
    match seconds {
        Some(seconds) if seconds.abs() < MAX_DURATION_SECONDS => Ok(()),
        Some(_) => Err(PromqlError::parse(format!("duration out of range: {word:?}"))),
        None if word.starts_with(|c: char| c.is_ascii_digit()) && parse_duration(word).is_err() => {
            Err(PromqlError::parse(format!("not a valid duration string: {word:?}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_strings_become_quoted_ones() {
        assert_eq!(admit(r"up{a=~`\d+`}").as_deref(), Ok(r#"up{a=~"\\d+"}"#));
        assert_eq!(admit(r#"up{a="\"`"}"#).as_deref(), Ok(r#"up{a="\"`"}"#));
        assert_eq!(admit("up # `x\n+ 1").as_deref(), Ok("up \n+ 1"));
    }

    #[test]
    fn durations_out_of_range_are_refused() {
        for query in ["up[1e30]", "up offset 1e300", "up offset -inf", "up[99999999999s]", "up[300y]", "up[5m:1e99]"] {
            assert!(admit(query).is_err(), "{query}");
        }
        for query in ["up[5m:1m]", "up[300]", "up offset -1h30m", "up[0x10]", "up offset 5m + 1e30"] {
            assert_eq!(admit(query).as_deref(), Ok(query));
        }
    }

    #[test]
    fn depth_counts_parentheses_and_chains() {
        let nested = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
        assert!(admit(&nested(200)).is_ok());
        assert!(admit(&nested(300)).is_err());
        assert!(admit(&"(".repeat(60_000)).is_err());
        assert!(admit(&vec!["a"; 200].join(" or ")).is_ok());
        assert!(admit(&vec!["a"; 300].join("+")).is_err());
        assert!(admit(&format!("{}a", "-".repeat(300))).is_err());
        assert!(admit(&" ".repeat(MAX_QUERY_BYTES + 1)).is_err());
    }
}
