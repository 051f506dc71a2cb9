//! From the raw text of a series, `name{label="value"}` or `{"utf-8 name", label="value"}`, to its labels.

use std::borrow::Cow;

use model::{Labels, METRIC_NAME};

/// Why a text is not a series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// Something else stands where `expected` should.
    #[error("expected {expected} at {found:?}")]
    Unexpected {
        /// What the format wants here.
        expected: &'static str,
        /// The text from here on, shortened.
        found: String,
    },
    /// A quoted string has no end.
    #[error("unterminated quoted string {0:?}")]
    Unterminated(String),
    /// A label name, or the metric name, is given twice.
    #[error("duplicate label name {0:?}")]
    DuplicateLabel(String),
    /// A quoted name is empty.
    #[error("empty name in quotes")]
    EmptyName,
}

const SHOWN_CHARS: usize = 40;

pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// A label as it stands in a body: name and unescaped value.
pub type SeriesPair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The labels of a series, the metric name among them; unescaped, labels with an empty value left out.
///
/// # Errors
/// When the text is not exactly one series, or names a label twice.
pub fn series_labels(text: &str) -> Result<Labels, SeriesError> {
    let pairs = series_pairs(text)?;
    let kept = pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.as_ref(), v.as_ref()));
    // Sorted, unique and without empty values by the lines above.
    Ok(Labels::from_sorted(kept).unwrap_or_default())
}

/// Like [`series_labels`], but with the labels whose value is empty: with `honor_labels` an empty `instance` keeps the
/// target's own from being attached. Sorted by name, each name once.
///
/// # Errors
/// When the text is not exactly one series, or names a label twice.
pub fn series_pairs(text: &str) -> Result<Vec<SeriesPair<'_>>, SeriesError> {
    let mut pairs = Vec::with_capacity(16);
    let mut rest = Cursor(text.trim_start_matches(BLANKS));
    if !rest.0.starts_with('{') {
        let name = rest.bare_name(true).ok_or_else(|| rest.unexpected("a metric name"))?;
        pairs.push((Cow::Borrowed(METRIC_NAME), Cow::Borrowed(name)));
        rest.skip_blanks();
    }
    if rest.eat('{') {
        rest.label_list(&mut pairs)?;
        rest.skip_blanks();
    }
    if !rest.0.is_empty() {
        return Err(rest.unexpected("nothing more after the series"));
    }
    pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = pairs.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(SeriesError::DuplicateLabel(twice[0].0.clone().into_owned()));
    }
    Ok(pairs)
}

pub(crate) const BLANKS: [char; 2] = [' ', '\t'];

/// What is left to read.
pub(crate) struct Cursor<'a>(pub(crate) &'a str);

impl<'a> Cursor<'a> {
    pub(crate) fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches(BLANKS);
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.0.strip_prefix(wanted).map(|rest| self.0 = rest).is_some()
    }

    fn unexpected(&self, expected: &'static str) -> SeriesError {
        SeriesError::Unexpected { expected, found: shorten(self.0) }
    }

    /// A name of the legacy alphabet; metric names may hold colons. Takes nothing where there is none.
    pub(crate) fn bare_name(&mut self, colons: bool) -> Option<&'a str> {
        let legal = |(at, b): (usize, u8)| {
            b.is_ascii_alphabetic() || b == b'_' || (colons && b == b':') || (at > 0 && b.is_ascii_digit())
        };
        let length = self.0.bytes().enumerate().take_while(|x| legal(*x)).count();
        // Only ASCII was counted, so this is a character boundary.
        let (name, rest) = self.0.split_at(length);
        self.0 = rest;
        (!name.is_empty()).then_some(name)
    }

    /// What stands between two quotes, unescaped.
    pub(crate) fn quoted(&mut self) -> Result<Cow<'a, str>, SeriesError> {
        let Some(inner) = self.0.strip_prefix('"') else { return Err(self.unexpected("a quoted string")) };
        let bytes = inner.as_bytes();
        let (mut at, mut escaped) = (0, false);
        loop {
            match memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
                None => return Err(SeriesError::Unterminated(shorten(self.0))),
                // A backslash hides what follows it; both are ASCII or the middle of a string we do not cut.
                Some(found) if bytes[at + found] == b'\\' => {
                    escaped = true;
                    at += found + 2;
                }
                Some(found) => {
                    let raw = &inner[..at + found];
                    self.0 = &inner[at + found + 1..];
                    return Ok(if escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) });
                }
            }
        }
    }

    /// The labels after `{`, up to and with `}`. A quoted string without `=` is the metric name.
    fn label_list(&mut self, pairs: &mut Vec<SeriesPair<'a>>) -> Result<(), SeriesError> {
        loop {
            self.skip_blanks();
            if self.eat('}') {
                return Ok(());
            }
            let is_quoted = self.0.starts_with('"');
            let name = if is_quoted {
                self.quoted()?
            } else {
                Cow::Borrowed(self.bare_name(false).ok_or_else(|| self.unexpected("a label name or '}'"))?)
            };
            if name.is_empty() {
                return Err(SeriesError::EmptyName);
            }
            self.skip_blanks();
            if self.eat('=') {
                self.skip_blanks();
                pairs.push((name, self.quoted()?));
            } else if is_quoted {
                pairs.push((Cow::Borrowed(METRIC_NAME), name));
            } else {
                return Err(self.unexpected("'='"));
            }
            self.skip_blanks();
            if !self.eat(',') && !self.0.starts_with('}') {
                return Err(self.unexpected("',' or '}'"));
            }
        }
    }
}

/// `\\`, `\"` and `\n`; any other backslash stands for itself, as in Prometheus.
pub(crate) fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('\\' | '"')) => out.push(c),
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
    }
    out
}
