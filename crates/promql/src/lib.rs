//! PromQL over anything that is [`model::Queryable`]; the language and its limits are described in `docs/promql.md`.
//!
//! A query is parsed ([`Engine::parse`]; results are cached), planned once, and evaluated at an instant or over a range.
//! A range is evaluated in one pass over each series, all steps at once; aggregations fold while series stream by.
//! Semantics are those of Prometheus 3: windows and lookback are open on the left and closed on the right.
//!
//! Invariants: no text and no data make it panic; what it does not know it refuses by name
//! ([`PromqlError::Unsupported`]); a query holds at most `max_samples` samples and `max_memory_bytes` bytes, and
//! notices a deadline within some ten thousand samples; an answer does not depend on how many threads read for it,
//! and the value at a step, to its last bit, not on what other steps are asked for (the result cache lives of that).
//!
//! Non-goals: no I/O, no clock, no pool of threads: a query that reads many series starts as many helpers as
//! [`EngineOptions::helper_threads`] leaves it, and ends them. Time is always a parameter.

mod collect;
mod engine;
mod error;
mod eval;
mod observe;
mod plan;
mod result_cache;
mod syntax;
#[cfg(test)]
mod testing;
mod value;

pub use engine::{Engine, EngineOptions, Query, QueryLimits, QueryStatsWanted};
pub use error::{ErrorClass, PromqlError};
pub use eval::AnswerMemory;
pub use observe::{QueryObserver, QueryOrigin, QueryReport, RunningQuery};
pub use promql_syntax::{Options as SyntaxOptions, ParseError, ValueType};
pub use result_cache::{ResultCache, ResultCacheStatistics};
pub use syntax::{enable_features, parse_selector};
pub use value::{MatrixSeries, QueryResult, QueryStats, Value, VectorSample};
