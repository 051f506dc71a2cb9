//! Go's regular expressions (RE2), which Prometheus' users write, in the syntax of the `regex` crate.
//!
//! Both read most expressions alike. They differ in `\d`, `\s`, `\w` and `\b`, which are of ASCII in RE2; in `\Q..\E`, octal
//! escapes and braces that count nothing; in what has a meaning inside of brackets; and in repetitions of repetitions, which
//! RE2 refuses. What is refused is so in the words of Go's `regexp/syntax`.

mod class;

use super::MatcherError;

/// Counts of a repetition beyond this are refused.
const MAX_REPEAT: u32 = 1000;

/// The pattern in the syntax of the `regex` crate, not anchored. Groups keep their numbers, and their names where the
/// crate allows them.
///
/// # Errors
/// When it is no regular expression of Go.
pub fn rust_regex(pattern: &str) -> Result<String, MatcherError> {
    let translator =
        Translator { pattern, rest: pattern, out: String::new(), groups: 0, repeatable: false, last_repeat: None };
    translator.translate().map_err(|reason| MatcherError { pattern: pattern.to_owned(), reason })
}

type Reason = String;

/// Go's way of saying which part is wrong.
fn refuse<T>(what: &str, part: &str) -> Result<T, Reason> {
    Err(format!("{what}: `{part}`"))
}

struct Translator<'a> {
    pattern: &'a str,
    rest: &'a str,
    out: String,
    /// How many groups are open.
    groups: usize,
    /// Whether there is something that can be repeated.
    repeatable: bool,
    /// The text from the last repetition on, if nothing came since.
    last_repeat: Option<&'a str>,
}

impl<'a> Translator<'a> {
    fn translate(mut self) -> Result<String, Reason> {
        while let Some(c) = self.rest.chars().next() {
            let (before, was_repeat) = (self.rest, self.last_repeat.take());
            match c {
                '(' => self.open_group()?,
                '[' => self.class()?,
                '\\' => self.escape()?,
                '*' | '+' | '?' => {
                    self.take(1);
                    self.repeat(before, was_repeat)?;
                }
                '{' if self.counted()? => self.repeat(before, was_repeat)?,
                '{' => self.literal(c),
                ')' if self.groups == 0 => return refuse("unexpected )", self.pattern),
                c => {
                    self.take(c.len_utf8());
                    self.out.push(c);
                    self.repeatable = c != '|';
                    self.groups -= usize::from(c == ')');
                }
            }
        }
        if self.groups > 0 { refuse("missing closing )", self.pattern) } else { Ok(self.out) }
    }

    /// Takes `count` bytes off the rest.
    fn take(&mut self, count: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.take(c.len_utf8());
        Some(c)
    }

    /// What has been taken since `before` was the rest.
    fn since(&self, before: &'a str) -> &'a str {
        &before[..before.len() - self.rest.len()]
    }

    /// A character that stands for itself.
    fn literal(&mut self, c: char) {
        self.take(c.len_utf8());
        self.push_literal(c);
    }

    fn push_literal(&mut self, c: char) {
        push_escaped(&mut self.out, c);
        self.repeatable = true;
    }

    /// Reads on after an operator of repetition that began at `before`.
    fn repeat(&mut self, before: &'a str, was_repeat: Option<&'a str>) -> Result<(), Reason> {
        if self.rest.starts_with('?') {
            self.take(1);
        }
        if let Some(first) = was_repeat {
            return refuse("invalid nested repetition operator", self.since(first));
        }
        if !self.repeatable {
            return refuse("missing argument to repetition operator", self.since(before));
        }
        self.out.push_str(self.since(before));
        self.last_repeat = Some(before);
        Ok(())
    }

    /// Takes `{n}`, `{n,}` or `{n,m}`; false where the brace begins none of them.
    fn counted(&mut self) -> Result<bool, Reason> {
        let Some((inner, _)) = self.rest[1..].split_once('}') else { return Ok(false) };
        let (least, most) = inner.split_once(',').map_or((inner, None), |(least, most)| (least, Some(most)));
        let is_number = |text: &str| {
            !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
        };
        let is_open = most.is_some_and(str::is_empty);
        if !is_number(least) || !(is_open || most.is_none_or(is_number)) {
            return Ok(false);
        }
        // What does not fit is too large in any case.
        let value = |text: &str| text.parse().unwrap_or(u32::MAX);
        let taken = self.take(inner.len() + 2);
        let (least, most) = (value(least), most.filter(|_| !is_open).map(value));
        if least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT || most < least) {
            return refuse("invalid repeat count", taken);
        }
        Ok(true)
    }

    fn open_group(&mut self) -> Result<(), Reason> {
        if self.rest.starts_with("(?P<") || self.rest.starts_with("(?<") {
            self.named_group()?;
        } else if self.rest.starts_with("(?") {
            if self.flags()? {
                return Ok(());
            }
        } else {
            self.take(1);
            self.out.push('(');
        }
        self.groups += 1;
        self.repeatable = false;
        Ok(())
    }

    fn named_group(&mut self) -> Result<(), Reason> {
        let Some((head, _)) = self.rest.split_once('>') else {
            return refuse("invalid named capture", self.rest);
        };
        let taken = self.take(head.len() + 1);
        let name = head.trim_start_matches("(?").trim_start_matches('P').trim_start_matches('<');
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
            return refuse("invalid named capture", taken);
        }
        // A name that begins with a digit is none there.
        self.out.push_str(if name.starts_with(|c: char| c.is_ascii_digit()) { "(" } else { taken });
        Ok(())
    }

    /// `(?i)` or `(?i:`; true where no group opens.
    fn flags(&mut self) -> Result<bool, Reason> {
        let before = self.rest;
        self.take(2);
        let (mut on, mut off, mut negated) = (String::new(), String::new(), false);
        loop {
            match self.next() {
                Some(c @ ('i' | 'm' | 's' | 'U')) if negated => off.push(c),
                Some(c @ ('i' | 'm' | 's' | 'U')) => on.push(c),
                Some('-') if !negated => negated = true,
                Some(c @ (':' | ')')) if !negated || !off.is_empty() => {
                    self.push_flags(&on, &off, c);
                    return Ok(c == ')');
                }
                _ => return refuse("invalid or unsupported Perl syntax", self.since(before)),
            }
        }
    }

    /// Flags, each once: Go lets them be repeated, and believes what is said last.
    fn push_flags(&mut self, on: &str, off: &str, end: char) {
        let distinct = |flags: &str, but: &str| -> String {
            "imsU".chars().filter(|flag| flags.contains(*flag) && !but.contains(*flag)).collect()
        };
        let (on, off) = (distinct(on, off), distinct(off, ""));
        let minus = if off.is_empty() { "" } else { "-" };
        // There, `(?)` is not valid.
        let no_group = if on.is_empty() && off.is_empty() && end == ')' { ":" } else { "" };
        self.out.push_str(&format!("(?{on}{minus}{off}{no_group}{end}"));
    }

    fn escape(&mut self) -> Result<(), Reason> {
        let kind = self.rest[1..].chars().next();
        let same = match kind {
            Some('A') => r"\A",
            Some('z') => r"\z",
            Some('b') => r"(?-u:\b)",
            Some('B') => r"(?-u:\B)",
            Some('Q') => {
                self.quoted();
                return Ok(());
            }
            Some('C') => return refuse("invalid escape sequence", r"\C"),
            _ => {
                if let Some(class) = self.escaped_class()? {
                    self.out.push_str(&class);
                    self.repeatable = true;
                    return Ok(());
                }
                let c = self.escaped_char()?;
                self.push_literal(c);
                return Ok(());
            }
        };
        self.take(2);
        self.out.push_str(same);
        self.repeatable = true;
        Ok(())
    }

    /// `\Q...\E`: everything stands for itself, as far as `\E` or the end.
    fn quoted(&mut self) {
        self.take(2);
        let (text, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
        self.rest = rest;
        text.chars().for_each(|c| self.push_literal(c));
    }

    /// The character that an escape stands for.
    fn escaped_char(&mut self) -> Result<char, Reason> {
        let before = self.rest;
        self.take(1);
        let Some(c) = self.next() else { return refuse("trailing backslash at end of expression", "") };
        let octal_follows = self.rest.starts_with(|c: char| c.is_digit(8));
        let found = match c {
            '0' => self.digits(8, 2, 0),
            '1'..='7' if octal_follows => self.digits(8, 2, c.to_digit(8).unwrap_or_default()),
            'x' => self.hexadecimal(),
            'a' => Some('\u{7}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        };
        match found {
            Some(c) => Ok(c),
            None => refuse("invalid escape sequence", self.since(before)),
        }
    }

    /// `41` or `{1f600}`. What is wrong is taken too, which is how Go shows it.
    fn hexadecimal(&mut self) -> Option<char> {
        if !self.rest.starts_with('{') {
            let (high, low) = (self.next()?, self.next()?);
            return char::from_u32(high.to_digit(16)? * 16 + low.to_digit(16)?);
        }
        self.take(1);
        let mut value = None;
        loop {
            match self.next()? {
                '}' => return char::from_u32(value?),
                c => {
                    let more = value.unwrap_or(0) * 16 + c.to_digit(16)?;
                    value = Some(more).filter(|value| *value <= u32::from(char::MAX));
                    value?;
                }
            }
        }
    }

    /// At most `count` more digits behind `value`.
    fn digits(&mut self, base: u32, count: usize, value: u32) -> Option<char> {
        let found = self.rest.chars().take(count).map_while(|c| c.to_digit(base)).collect::<Vec<_>>();
        self.take(found.len());
        char::from_u32(found.into_iter().fold(value, |value, digit| value * base + digit))
    }
}

/// Escapes what has a meaning to the `regex` crate, inside of brackets or outside.
fn push_escaped(out: &mut String, c: char) {
    if c.is_ascii_punctuation() && regex_syntax::is_meta_character(c) {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests;
