//! What others hear of evaluations: for logs, metrics, and the list of queries that run.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::TimestampMs;

use crate::{PromqlError, QueryStats};

/// Hears of every evaluation of an engine, on the thread that evaluates: it should not take long.
pub trait QueryObserver: Send + Sync + fmt::Debug {
    /// An evaluation of this text begins. What is returned is told of its end; when the evaluation panics it is dropped
    /// untold.
    fn begins(&self, query: &str) -> Box<dyn RunningQuery>;
}

/// One evaluation, as its observer remembers it.
pub trait RunningQuery {
    /// The evaluation has ended.
    fn ended(self: Box<Self>, report: &QueryReport<'_>);
}

/// An evaluation after its end.
#[derive(Debug)]
pub struct QueryReport<'a> {
    /// The text as written.
    pub query: &'a str,
    /// Its first time.
    pub start: TimestampMs,
    /// Its last time: the first one, for an instant query.
    pub end: TimestampMs,
    /// Milliseconds between two times; 0 for an instant query.
    pub step_ms: i64,
    /// Who asked.
    pub origin: &'a QueryOrigin,
    /// How long the query waited for its turn.
    pub waited: Duration,
    /// How long parsing and planning took.
    pub prepared: Duration,
    /// What it took to evaluate.
    pub stats: &'a QueryStats,
    /// Why there is no answer.
    pub error: Option<&'a PromqlError>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum QueryOrigin {
    /// Somebody within the process.
    #[default]
    Internal,
    /// A request to the HTTP API.
    Request {
        /// The client's address.
        client: String,
        /// The HTTP method.
        method: String,
        /// The path that was asked.
        path: String,
    },
    /// A rule.
    RuleGroup {
        /// The file of its group.
        file: Arc<str>,
        /// The name of its group.
        name: Arc<str>,
    },
}
