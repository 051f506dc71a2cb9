//! What can go wrong with a peer.

use model::{AppendError, SelectError};
use runtime::{HttpClientError, PoolError};

use crate::survey::SurveyError;

/// Why a comparison did not come to its end. The next one begins anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error(transparent)]
    Client(#[from] HttpClientError),
    /// Without its address, which may hold a password.
    #[error("cannot reach the peer: {0}")]
    Request(String),
    #[error("the peer answers {status}: {text}")]
    Status { status: u16, text: String },
    #[error("the peer's answer is longer than the {0} bytes allowed")]
    TooLong(usize),
    #[error("the peer's answer makes no sense: {0}; run the same version on both")]
    Malformed(String),
    #[error("the peer compares other series; give both the same rules, scrape jobs and peers.match")]
    OtherScope,
    #[error("the peer compares windows of {theirs} ms and not of {ours} ms; set the same peers.window on both")]
    OtherWindow { ours: i64, theirs: i64 },
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error(transparent)]
    Survey(#[from] SurveyError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<reqwest::Error> for PeerError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        // The cause says what happened; the error itself only what was being done.
        let causes = std::iter::successors(std::error::Error::source(&error), |e| e.source());
        let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        Self::Request(text)
    }
}
