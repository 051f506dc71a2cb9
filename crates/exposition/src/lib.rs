//! The Prometheus text format 0.0.4: a pull parser that borrows from the body, and a writer.
//!
//! Invariants: the parser never panics and never copies a sample line; a sample's series is handed out as raw text,
//! which [`series_labels`] turns into labels and validates, so that a caller who has seen the text before pays for
//! neither. A NaN in a body is always an ordinary NaN: no target can forge a staleness marker.
//!
//! Non-goals: OpenMetrics (timestamps in seconds, exemplars) and protobuf. `# UNIT` and `# EOF` lines are understood
//! because targets send them in text 0.0.4 too, where they are comments.

mod number;
mod parser;
mod series;
mod writer;

pub use number::{NumberError, parse_value, write_value};
pub use parser::{Entry, ParseError, Parser};
pub use series::{SeriesError, SeriesPair, series_labels, series_pairs};
pub use writer::Writer;

/// The media type of what [`Writer`] writes and [`Parser`] reads.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests;
