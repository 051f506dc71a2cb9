//! PromQL as text: from a query to a checked syntax tree whose every node knows where it stands, and back.
//!
//! [`parse`] reads a query, [`parse_selector`] what stands in `match[]`. An [`Expr`] prints itself in Prometheus' canonical
//! form (`to_string`), as `format_query` does ([`Expr::pretty`]) and as `parse_query` does ([`Expr::to_json`]).
//!
//! # The language
//!
//! ```text
//! query     = expr
//! expr      = [sign] operand | expr operator [bool] [on (..) | ignoring (..)] [group_left (..)] [fill (..)] expr
//! operand   = (number | "string" | (expr) | selector | function(expr, ..) | aggregation) modifier*
//! selector  = name | [name] { name="value", "other name"!="value", =~, !~, "metric name" }
//! aggregation = sum [by (..) | without (..)] (expr) | sum (expr) [by (..) | without (..)]
//! modifier  = [duration] | [duration:[duration]] | offset duration | @ time | @ start() | @ end() | anchored | smoothed
//! operators, loosest first: or; and unless; == != > < >= <=; + -; * / % atan2 and signs; ^ (associates to the right)
//! ```
//!
//! Numbers are durations and durations are numbers (`[300]`, `1h * 2`); keywords are written in any case and may name
//! metrics and labels where nothing else is meant by them; `#` begins a comment.
//!
//! # Invariants
//!
//! - Errors have Prometheus' words and places (`1:5: parse error: ...`), so that they are tested against it.
//! - No text makes the parser panic; the time that it takes is proportional to the text. A query has at most
//!   [`MAX_QUERY_BYTES`], a tree at most [`MAX_DEPTH`] levels (a chain of `n` operators has `n`), and regular expressions of
//!   [`MAX_REGEX_BYTES`] when they are compiled, which is what takes time and memory.
//! - A tree that [`parse`] answers is typed: every operand and argument has a type that is allowed there.
//! - What is printed reads back as the same tree, but for the places, and for the sign that an infinity is printed with.
//!
//! Non-goals: evaluation, and which functions an engine can compute. Experimental syntax is always understood, and refused
//! in Prometheus' words where [`Options`] do not allow it.

mod ast;
mod check;
mod durations;
mod error;
mod functions;
mod lex;
mod ops;
mod parse;
mod print;
mod quote;
mod token;

pub use ast::{
    Aggregation, At, Binary, Call, Cardinality, Expr, Extension, Matching, MatrixSelector, Number, Paren, Stretch,
    StringLiteral, Subquery, Unary, VectorSelector,
};
pub use durations::{DurationError, DurationExpr, DurationKind, DurationOp};
pub use error::{ParseError, Position, Span};
pub use functions::{Function, function, functions};
pub use ops::{AggregateOp, BinaryOp, ValueType};
pub use parse::{parse, parse_selector};
pub use quote::quote;

/// Longer queries are refused.
pub const MAX_QUERY_BYTES: usize = 64 * 1024;

/// Deeper queries are refused, so that a tree can be walked recursively on any stack.
pub const MAX_DEPTH: usize = 256;

/// Queries whose regular expressions together take more memory, about, are refused.
pub const MAX_REGEX_BYTES: usize = 32 * 1024 * 1024;

/// Which of Prometheus' experimental features a query may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Functions and aggregations behind `promql-experimental-functions`, but for `info`.
    pub experimental_functions: bool,
    /// `info`.
    pub info: bool,
    /// `promql-duration-expr`: arithmetic in durations.
    pub duration_expressions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_ranges: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub fill: bool,
}

impl Options {
    /// Everything.
    pub const EXPERIMENTAL: Self = Self {
        experimental_functions: true,
        info: true,
        duration_expressions: true,
        extended_ranges: true,
        fill: true,
    };
}

impl Default for Options {
    /// Experimental functions are allowed, experimental syntax and `info` are not.
    fn default() -> Self {
        Self {
            experimental_functions: true,
            info: false,
            duration_expressions: false,
            extended_ranges: false,
            fill: false,
        }
    }
}

#[cfg(test)]
mod tests;
