//! A webhook that keeps whatever is posted to any of its paths.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use runtime::{BindError, Supervisor};
use serde::Serialize;

use crate::web::{self, Fault};
use crate::{Faults, Inbox};

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct WebhookMessage {
    /// Milliseconds since the epoch.
    pub received_at_ms: i64,
    /// Path and query.
    pub path: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The body; text where it was not JSON.
    pub body: serde_json::Value,
}

/// The stand-in's handle.
#[derive(Debug, Clone)]
pub struct Webhook {
    address: SocketAddr,
    /// What it received.
    pub inbox: Inbox<WebhookMessage>,
    /// How it fails.
    pub faults: Faults<Fault>,
}

impl Webhook {
    /// Starts it on `HOST:PORT`.
    ///
    /// # Errors
    /// When nobody can listen there.
    pub async fn start(supervisor: &Supervisor, address: &str) -> Result<Self, BindError> {
        let (inbox, faults) = (Inbox::new(), Faults::new());
        let router = Router::new().fallback(receive).with_state((inbox.clone(), faults.clone()));
        let address = web::serve(supervisor, "stand-in webhook", address, router).await?;
        Ok(Self { address, inbox, faults })
    }

    /// Where to post to.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }
}

async fn receive(
    State((inbox, faults)): State<(Inbox<WebhookMessage>, Faults<Fault>)>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(fault) = faults.take() {
        inbox.refuse(format!("on demand: {fault:?}"));
        return web::fail(&fault).await;
    }
    let authorization = headers.get("authorization").map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let body = serde_json::from_slice(&body)
        .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(&body).into_owned()));
    inbox.take(WebhookMessage { received_at_ms: runtime::now().0, path: uri.to_string(), authorization, body });
    "ok\n".into_response()
}
