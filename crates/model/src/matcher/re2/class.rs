//! Sets of characters: `[a-z]`, `[[:alpha:]]`, `\d`, `\p{Greek}`.

use super::{Reason, Translator, push_escaped, refuse};

const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

impl<'a> Translator<'a> {
    /// A set in brackets, which come next.
    pub(super) fn class(&mut self) -> Result<(), Reason> {
        let whole = self.rest;
        self.take(1);
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.take(1);
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.named_class()? {
                continue;
            }
            if self.rest.starts_with('\\')
                && let Some(class) = self.escaped_class()?
            {
                self.out.push_str(&class);
                continue;
            }
            self.class_range(whole)?;
        }
        self.take(1);
        self.out.push(']');
        self.repeatable = true;
        Ok(())
    }

    /// `[:alpha:]` or `[:^alpha:]`, if it comes next; what is not closed is a bracket.
    fn named_class(&mut self) -> Result<bool, Reason> {
        let Some((name, _)) = self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
            return Ok(false);
        };
        let taken = self.take(name.len() + 4);
        if !NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return refuse("invalid character class range", taken);
        }
        self.out.push_str(taken);
        Ok(true)
    }

    /// One character, or all from one to another.
    fn class_range(&mut self, whole: &'a str) -> Result<(), Reason> {
        let before = self.rest;
        let low = self.class_char(whole)?;
        push_escaped(&mut self.out, low);
        let mut behind = self.rest.chars();
        if behind.next() != Some('-') || matches!(behind.next(), None | Some(']')) {
            return Ok(());
        }
        self.take(1);
        let high = self.class_char(whole)?;
        if high < low {
            return refuse("invalid character class range", self.since(before));
        }
        self.out.push('-');
        push_escaped(&mut self.out, high);
        Ok(())
    }

    fn class_char(&mut self, whole: &str) -> Result<char, Reason> {
        match self.rest.chars().next() {
            None => refuse("missing closing ]", whole),
            Some('\\') => self.escaped_char(),
            Some(c) => {
                self.take(c.len_utf8());
                Ok(c)
            }
        }
    }

    /// The set that an escape stands for, if it comes next and is one.
    pub(super) fn escaped_class(&mut self) -> Result<Option<String>, Reason> {
        let set = match self.rest[1..].chars().next() {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('s') => r"[\t\n\x0C\r ]",
            Some('S') => r"[^\t\n\x0C\r ]",
            Some('w') => "[0-9A-Za-z_]",
            Some('W') => "[^0-9A-Za-z_]",
            Some('p' | 'P') => return self.unicode_class().map(Some),
            _ => return Ok(None),
        };
        self.take(2);
        Ok(Some(set.to_owned()))
    }

    /// `\pN`, `\p{Greek}`, `\P{Greek}`, `\p{^Greek}`.
    fn unicode_class(&mut self) -> Result<String, Reason> {
        let before = self.rest;
        let mut negated = self.take(2) == r"\P";
        let name = match self.rest.strip_prefix('{') {
            None => {
                let length = self.rest.chars().next().map_or(0, char::len_utf8);
                self.take(length)
            }
            Some(inner) => {
                let Some((name, _)) = inner.split_once('}') else {
                    return refuse("invalid character class range", before);
                };
                self.take(name.len() + 2);
                name
            }
        };
        let plain = name.strip_prefix('^').unwrap_or(name);
        negated ^= plain.len() < name.len();
        let class = format!(r"\{}{{{plain}}}", if negated { 'P' } else { 'p' });
        let known =
            plain.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') && regex_syntax::parse(&class).is_ok();
        if known { Ok(class) } else { refuse("invalid character class range", self.since(before)) }
    }
}
