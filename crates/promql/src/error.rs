//! Why a query has no answer, in words that users of Prometheus recognise.

use model::SelectError;
use promql_syntax::ParseError;

/// A query that could not be parsed or answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromqlError {
    /// The text is not PromQL.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The text is PromQL, and this engine does not know the construct.
    #[error("{construct} is not supported by this engine (docs/promql.md lists what is)")]
    Unsupported {
        /// The construct, as a user would name it.
        construct: String,
    },
    /// A parameter of the query is out of its bounds.
    #[error("{0}")]
    BadData(String),
    /// The data do not fit what the expression demands of them.
    #[error("{0}")]
    Execution(String),
    /// The query would hold more samples than it may (`--query.max-samples`).
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The query would hold more memory than it may.
    #[error(
        "the query needs more than {limit} bytes of memory; select fewer series, a shorter range or a longer step, or \
         raise --query.max-memory"
    )]
    TooMuchMemory {
        /// How many bytes it may hold at once.
        limit: usize,
    },
    /// All queries together would hold more memory than they may.
    #[error(
        "all queries together need more than {limit} bytes of memory; try again when fewer run, or raise \
         --query.max-memory-total"
    )]
    TooMuchMemoryInAll {
        /// How many bytes they may hold at once.
        limit: usize,
    },
    /// The query's selectors choose more series than they may.
    #[error("the query selects more than {limit} series; add label matchers, or raise --query.max-series")]
    TooManySeries {
        /// How many it may select.
        limit: usize,
    },
    /// The deadline passed.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// Nobody waits for the answer any more.
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The store could not be read.
    #[error("expanding series: {0}")]
    Storage(#[from] SelectError),
}

/// What a caller tells apart: the `errorType` of the HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The request is wrong: `bad_data`.
    BadData,
    /// The request is right and the data refuse it: `execution`.
    Execution,
    /// `timeout`.
    Timeout,
    /// `canceled`.
    Canceled,
    /// The server has no room for it now: `unavailable`.
    Unavailable,
    /// The server is at fault: `internal`.
    Internal,
}

impl PromqlError {
    /// Who has to act.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Parse(_) | Self::Unsupported { .. } | Self::BadData(_) => ErrorClass::BadData,
            Self::Execution(_) | Self::TooManySamples | Self::TooMuchMemory { .. } | Self::TooManySeries { .. } => {
                ErrorClass::Execution
            }
            Self::TooMuchMemoryInAll { .. } => ErrorClass::Unavailable,
            Self::Timeout => ErrorClass::Timeout,
            Self::Canceled => ErrorClass::Canceled,
            Self::Storage(_) => ErrorClass::Internal,
        }
    }

    pub(crate) fn unsupported(construct: impl Into<String>) -> Self {
        Self::Unsupported { construct: construct.into() }
    }

    pub(crate) fn execution(message: impl Into<String>) -> Self {
        Self::Execution(message.into())
    }
}
