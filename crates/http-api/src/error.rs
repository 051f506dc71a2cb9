//! Errors as the API shows them, and their HTTP status.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::SelectError;
use promql::{ErrorClass, PromqlError};
use query_gate::GateError;

use crate::answer::json_response;
use crate::json;
use crate::sources::StoreError;

/// The `errorType` of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    NotFound,
    Unavailable,
    /// Switched off by the operator.
    Disabled,
}

impl ErrorKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
            Self::Unavailable | Self::Disabled => "unavailable",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // "Client closed request" has no name in the registry; proxies know the number.
            Self::Canceled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            // Prometheus answers so where its administration is not enabled.
            Self::Internal | Self::Disabled => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A request that has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// The value of a parameter is at fault.
    pub(crate) fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {reason}"))
    }

    /// A query's text or its evaluation is at fault.
    pub(crate) fn query(error: &PromqlError) -> Self {
        match error.class() {
            ErrorClass::BadData => Self::parameter("query", error),
            ErrorClass::Execution => Self::new(ErrorKind::Execution, error.to_string()),
            ErrorClass::Timeout => Self::new(ErrorKind::Timeout, error.to_string()),
            ErrorClass::Canceled => Self::new(ErrorKind::Canceled, error.to_string()),
            ErrorClass::Unavailable => Self::new(ErrorKind::Unavailable, error.to_string()),
            ErrorClass::Internal => Self::new(ErrorKind::Internal, error.to_string()),
        }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status()
    }
}

impl From<SelectError> for ApiError {
    fn from(error: SelectError) -> Self {
        Self::new(ErrorKind::Internal, error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::new(ErrorKind::Internal, error.to_string())
    }
}

impl From<GateError> for ApiError {
    fn from(error: GateError) -> Self {
        let kind = match error {
            GateError::Full => ErrorKind::Unavailable,
            GateError::LateInQueue | GateError::Late => ErrorKind::Timeout,
            GateError::Panicked => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(ErrorKind::Internal, format!("cannot write the answer: {error}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.kind == ErrorKind::Internal {
            tracing::error!(error = %self.message, "a request failed");
        }
        let mut out = b"{\"status\":\"error\",\"errorType\":".to_vec();
        json::string(&mut out, self.kind.as_str());
        out.extend_from_slice(b",\"error\":");
        json::string(&mut out, &self.message);
        out.push(b'}');
        json_response(self.status(), out)
    }
}
