//! What the stand-ins that speak HTTP share.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runtime::{BindError, ServerLimits, Supervisor};

/// How an HTTP stand-in fails on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An HTTP status.
    Status(u16),
    /// The service's own code: `errcode` of DingTalk, `Code` of SendSms. A webhook has none and answers 500.
    Code(String),
    /// A success with a body that says nothing.
    Garbage,
    /// No answer until the client gives up.
    Hang,
}

/// Larger bodies are refused.
pub(crate) const MAX_BODY_BYTES: usize = 4 << 20;

/// Listens and serves under the supervisor; the address has the real port.
pub(crate) async fn serve(
    supervisor: &Supervisor,
    name: &str,
    address: &str,
    router: Router,
) -> Result<SocketAddr, BindError> {
    let listener = runtime::bind(address).await?;
    // A bound listener has an address; were it not so, nobody could send anything to it.
    let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)));
    // Requests that hang on demand must not hold up the stop.
    let limits = ServerLimits { drain: Duration::from_millis(100), ..ServerLimits::default() };
    runtime::serve(
        supervisor,
        name,
        listener,
        router.layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES)),
        limits,
    );
    Ok(address)
}

/// The answer of a fault that does not depend on the service.
pub(crate) async fn fail(fault: &Fault) -> Response {
    match fault {
        Fault::Status(status) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, "failed on demand\n").into_response()
        }
        Fault::Hang => std::future::pending().await,
        Fault::Garbage => "<html>nothing here</html>".into_response(),
        Fault::Code(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
