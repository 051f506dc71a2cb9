//! Where in a query something stands, and what is wrong with it.

use std::fmt;

/// A stretch of the query's text, in bytes. A query is at most [`crate::MAX_QUERY_BYTES`] long, so that 32 bits do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: offset(start), end: offset(end) }
    }

    /// From the beginning of this to the end of `last`.
    pub(crate) fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    /// The text itself; empty where `query` is another text than the one that was parsed.
    pub fn of(self, query: &str) -> &str {
        query.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Where it begins, as Prometheus shows it in errors and annotations.
    pub fn position(self, query: &str) -> Position {
        Position::of(query, self.start as usize)
    }
}

/// A place in a query: line and column, both from 1, the column in bytes. Written `line:column`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The query is empty.
    Unknown,
    /// A place.
    At {
        /// The line, from 1.
        line: usize,
        /// The byte in the line, from 1.
        column: usize,
    },
}

impl Position {
    /// The place of the byte `offset`; one beyond the end counts as the end.
    pub fn of(query: &str, offset: usize) -> Self {
        if query.is_empty() {
            return Self::Unknown;
        }
        let before = &query.as_bytes()[..offset.min(query.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Self::At { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "unknown position"),
            Self::At { line, column } => write!(f, "{line}:{column}"),
        }
    }
}

/// A text that is not PromQL. Shown as Prometheus shows it: `1:5: parse error: unexpected end of input`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: parse error: {message}")]
pub struct ParseError {
    /// What is wrong, in Prometheus' words where it knows the mistake too.
    pub message: String,
    /// The text that is wrong; for what the lexer cannot read, everything from there on.
    pub span: Span,
    /// Where that begins.
    pub position: Position,
}

/// An error on its way out of the parser, which knows the text.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) span: Span,
}

impl Fault {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span }
    }

    pub(crate) fn within(self, query: &str) -> ParseError {
        ParseError { position: self.span.position(query), message: self.message, span: self.span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_lines_and_bytes() {
        let shown = |query: &str, offset| Position::of(query, offset).to_string();
        assert_eq!(shown("", 0), "unknown position");
        assert_eq!(shown("abc", 0), "1:1");
        assert_eq!(shown("abc", 3), "1:4");
        assert_eq!(shown("abc", 9), "1:4");
        assert_eq!(shown("a\nbc", 1), "1:2");
        assert_eq!(shown("a\nbc", 2), "2:1");
        assert_eq!(shown("ä\nä b", 6), "2:4");
    }
}
