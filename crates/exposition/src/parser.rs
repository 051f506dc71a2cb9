//! The pull parser: one entry per line, everything borrowed from the body.

use std::borrow::Cow;

use model::{MetricKind, TimestampMs};

use crate::number::parse_value;
use crate::series::{BLANKS, Cursor, shorten, unescape};

/// One line of a body.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// `# HELP family text`.
    Help {
        /// The family's name.
        family: Cow<'a, str>,
        /// Its help text, unescaped.
        help: Cow<'a, str>,
    },
    /// `# TYPE family kind`.
    Type {
        /// The family's name.
        family: Cow<'a, str>,
        /// Its kind.
        kind: MetricKind,
    },
    /// `# UNIT family unit`.
    Unit {
        /// The family's name.
        family: Cow<'a, str>,
        /// Its unit.
        unit: &'a str,
    },
    /// Any other line that begins with `#`, the text after it.
    Comment(&'a str),
    /// One sample.
    Sample {
        /// The raw text of name and labels: delimited, not yet validated. [`crate::series_labels`] reads it, and the
        /// same text always means the same series.
        series: &'a str,
        /// The value; a NaN is never a staleness marker.
        value: f64,
        /// The time the target gave, if it gave one.
        timestamp: Option<TimestampMs>,
    },
}

/// The first line that is not of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// Iterates over the entries of a body. After an error it ends: what follows cannot be trusted.
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    rest: &'a str,
    /// Set when a line that is not UTF-8 follows `rest`.
    broken_tail: bool,
    line: usize,
}

impl<'a> Parser<'a> {
    /// Starts at the top of a body. The last line may lack its line feed.
    pub fn new(body: &'a [u8]) -> Self {
        match std::str::from_utf8(body) {
            Ok(rest) => Self { rest, broken_tail: false, line: 0 },
            Err(e) => {
                let valid = body.get(..e.valid_up_to()).unwrap_or_default();
                let whole_lines = memchr::memrchr(b'\n', valid).map_or(0, |at| at + 1);
                // A prefix of what was found valid, cut after a line feed, is valid.
                let rest = std::str::from_utf8(&valid[..whole_lines]).unwrap_or_default();
                Self { rest, broken_tail: true, line: 0 }
            }
        }
    }

    /// The number of the line that was read last, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// An error at the line that was read last, for callers that find something wrong with an entry.
    pub fn error(&self, message: impl ToString) -> ParseError {
        ParseError { line: self.line, message: message.to_string() }
    }

    fn stop(&mut self, message: impl ToString) -> Option<Result<Entry<'a>, ParseError>> {
        self.rest = "";
        self.broken_tail = false;
        Some(Err(self.error(message)))
    }
}

impl<'a> Iterator for Parser<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = memchr::memchr(b'\n', self.rest.as_bytes()).unwrap_or(self.rest.len());
            let line = &self.rest[..end];
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            self.line += 1;
            let line = line.trim_start_matches(BLANKS);
            let entry = match line.as_bytes().first() {
                None => continue,
                Some(b'#') => comment(&line[1..]),
                Some(_) => sample(line),
            };
            return match entry {
                Ok(entry) => Some(Ok(entry)),
                Err(message) => self.stop(message),
            };
        }
        if self.broken_tail {
            self.line += 1;
            return self.stop("invalid UTF-8");
        }
        None
    }
}

/// Neither a value nor a timestamp can hold a brace, so the last `}` of a line ends its series. A brace elsewhere makes
/// the series' text one that [`crate::series_labels`] refuses.
#[inline]
fn sample(line: &str) -> Result<Entry<'_>, String> {
    let end = match memchr::memrchr(b'}', line.as_bytes()) {
        Some(brace) => brace + 1,
        None => line.find(BLANKS).unwrap_or(line.len()),
    };
    let (series, rest) = line.split_at(end);
    let mut words = rest.split(BLANKS).filter(|w| !w.is_empty());
    let Some(value) = words.next() else {
        return Err(format!("expected a value after the series {:?}", shorten(series)));
    };
    let value = parse_value(value).map_err(|e| e.to_string())?;
    let timestamp = match words.next() {
        None => None,
        Some(text) => match text.parse() {
            Ok(ms) => Some(TimestampMs(ms)),
            Err(_) => return Err(format!("not a timestamp in whole milliseconds: {:?}", shorten(text))),
        },
    };
    match words.next() {
        None => Ok(Entry::Sample { series, value, timestamp }),
        Some(more) => Err(format!("expected the end of the line at {:?}", shorten(more))),
    }
}

/// A line that begins with `#`, without it. Only `# HELP` and `# TYPE` can be wrong; the format calls the rest comments.
fn comment(text: &str) -> Result<Entry<'_>, String> {
    let plain = Ok(Entry::Comment(text));
    let trimmed = text.trim_start_matches(BLANKS);
    if trimmed.len() == text.len() {
        return plain;
    }
    let Some((keyword, rest)) = trimmed.split_once(BLANKS) else { return plain };
    if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
        return plain;
    }
    let mut cursor = Cursor(rest);
    cursor.skip_blanks();
    let family =
        if cursor.0.starts_with('"') { cursor.quoted().ok() } else { cursor.bare_name(true).map(Cow::Borrowed) };
    let rest = match family.is_some() {
        true if cursor.0.is_empty() => Some(""),
        true => cursor.0.strip_prefix(BLANKS),
        false => None,
    };
    match (keyword, family, rest) {
        ("HELP", Some(family), Some(help)) => Ok(Entry::Help { family, help: unescape_help(help) }),
        ("TYPE", Some(family), Some(kind)) => Ok(Entry::Type { family, kind: metric_kind(kind.trim_matches(BLANKS))? }),
        ("UNIT", Some(family), Some(unit)) => Ok(Entry::Unit { family, unit: unit.trim_matches(BLANKS) }),
        ("UNIT", ..) => plain,
        _ => Err(format!("expected a metric name after {keyword}, got {:?}", shorten(rest.unwrap_or(trimmed)))),
    }
}

/// In help texts only the backslash and the line feed are escaped; `unescape` reads `\"` too, which no writer of this
/// format produces unless it means a quote.
fn unescape_help(raw: &str) -> Cow<'_, str> {
    if raw.contains('\\') { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
}

fn metric_kind(name: &str) -> Result<MetricKind, String> {
    Ok(match name {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        "gaugehistogram" => MetricKind::GaugeHistogram,
        "summary" => MetricKind::Summary,
        "info" => MetricKind::Info,
        "stateset" => MetricKind::StateSet,
        "untyped" | "unknown" => MetricKind::Unknown,
        other => return Err(format!("invalid metric type {:?}", shorten(other))),
    })
}
