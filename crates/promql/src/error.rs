//! Why a query has no answer, in words that users of Prometheus recognise.

use model::SelectError;

/// A query that could not be parsed or answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromqlError {
    /// The text is not PromQL.
    #[error("parse error: {message}")]
    Parse {
        /// What is wrong with it.
        message: String,
    },
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
    /// The query would hold more samples than it may.
    #[error(
        "query processing would load too many samples into memory in query execution \
         (limit {limit}; narrow the selectors or raise the limit)"
    )]
    TooManySamples {
        /// How many it may hold at once.
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
    /// The server is at fault: `internal`.
    Internal,
}

impl PromqlError {
    /// Who has to act.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Parse { .. } | Self::Unsupported { .. } | Self::BadData(_) => ErrorClass::BadData,
            Self::Execution(_) | Self::TooManySamples { .. } => ErrorClass::Execution,
            Self::Timeout => ErrorClass::Timeout,
            Self::Canceled => ErrorClass::Canceled,
            Self::Storage(_) => ErrorClass::Internal,
        }
    }

    pub(crate) fn parse(message: impl Into<String>) -> Self {
        Self::Parse { message: message.into() }
    }

    pub(crate) fn unsupported(construct: impl Into<String>) -> Self {
        Self::Unsupported { construct: construct.into() }
    }

    pub(crate) fn execution(message: impl Into<String>) -> Self {
        Self::Execution(message.into())
    }
}
