//! Alertmanager's API v2, and a status page for people.

mod alerts;
mod filter;
mod page;
mod silences;
mod status;
mod time;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, OriginalUri, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use model::TimestampMs;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::metrics::ApiMetrics;
use crate::shared::Core;

/// Larger bodies are refused.
const MAX_BODY_BYTES: usize = 16 << 20;

/// What handlers need.
pub struct Api {
    /// The state.
    pub core: Arc<Core>,
    /// The peers.
    pub cluster: Arc<Cluster>,
    /// Counters.
    pub metrics: ApiMetrics,
    /// When the process started.
    pub started_at: TimestampMs,
}

/// Every endpoint of the API, and `/`.
pub fn router(api: Arc<Api>) -> Router {
    let v2 = Router::new()
        .route("/status", get(status::status))
        .route("/receivers", get(status::receivers))
        .route("/alerts", get(alerts::list).post(alerts::post))
        .route("/alerts/groups", get(alerts::groups))
        .route("/silences", get(silences::list).post(silences::post))
        .route("/silence/{id}", get(silences::get).delete(silences::delete))
        .fallback(no_such_endpoint)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(cross_origin));
    Router::new().route("/", get(page::page)).nest("/api/v2", v2).route("/api/v1/{*rest}", any(gone)).with_state(api)
}

async fn no_such_endpoint(uri: OriginalUri) -> (StatusCode, Json<Value>) {
    let message = format!("path {} was not found", uri.path());
    (StatusCode::NOT_FOUND, Json(json!({ "code": 404, "message": message })))
}

/// API v1 is gone from Alertmanager too; who still calls it learns what to do.
async fn gone() -> (StatusCode, Json<Value>) {
    let error = "API v1 is not served; use the same endpoint of /api/v2 (in prometheus.yml: api_version: v2)";
    (StatusCode::GONE, Json(json!({ "status": "deprecated", "error": error })))
}

/// Lets pages of other origins (Grafana, karma, dashboards) call the API, as Alertmanager does.
async fn cross_origin(request: Request, next: Next) -> Response {
    let mut response =
        if request.method() == Method::OPTIONS { StatusCode::OK.into_response() } else { next.run(request).await };
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A request that cannot be answered. The body is Alertmanager's: the reason as a JSON string, or, where the request
/// does not have the shape of the API, an object with a code.
struct Refusal(StatusCode, Value);

impl Refusal {
    fn of(status: StatusCode, reason: impl ToString) -> Self {
        Self(status, Value::String(reason.to_string()))
    }

    fn bad_request(reason: impl ToString) -> Self {
        Self::of(StatusCode::BAD_REQUEST, reason)
    }

    /// The body is not what can be read at all.
    fn malformed(reason: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, json!({ "code": 400, "message": reason.to_string() }))
    }

    /// A field is missing (602), too short (612) or not of its type (601).
    fn unprocessable(code: u16, reason: impl ToString) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, json!({ "code": code, "message": reason.to_string() }))
    }

    fn internal(reason: impl ToString) -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, reason)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}
