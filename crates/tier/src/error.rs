//! Why a tier cannot start.

use config::Problems;
use runtime::{BindError, MetricsError};

/// Everything a user can do wrong before a tier runs; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration; one problem a line.
    #[error("{0}")]
    Config(#[from] Problems),
    /// The listen address.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The external URL.
    #[error("not a URL: --web.external-url={url:?}: {reason}; write http://HOST:PORT/")]
    ExternalUrl {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A destination of `remote_write`.
    #[error("{0}")]
    Forward(#[from] forward::ForwardError),
    /// A scrape job.
    #[error("{0}")]
    Scrape(#[from] scrape::StartError),
    /// The alert routers.
    #[error("{0}")]
    Evaluate(#[from] evaluate::NotifierError),
    /// Another central.
    #[error("{0}")]
    Peers(#[from] peers::ComparerError),
    /// The query log.
    #[error("{0}")]
    QueryLog(String),
    /// The store.
    #[error("cannot open the store: {0}")]
    Store(#[from] tsdb::OpenError),
    /// A mistake in the program.
    #[error("internal error: {0}")]
    Internal(&'static str),
    /// A mistake in the program.
    #[error("{0}")]
    Metrics(#[from] MetricsError),
}
