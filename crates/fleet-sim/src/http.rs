//! The fleet over HTTP: pages to scrape, and faults on demand.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use model::TimestampMs;
use serde::Serialize;
use serde_json::json;

use crate::fault::{Fault, FaultError, FaultKind, FaultRequest};
use crate::fleet::{Fleet, PageError};
use crate::topology::Component;

/// What a page is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A request for a fault is a few hundred bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

impl Fleet {
    /// Serves `GET /` (what is there), the pages of all targets, and `/faults`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(describe))
            .route("/metacluster/{metacluster}/cluster/{cluster}/{component}", get(cluster_page))
            .route("/metacluster/{metacluster}/cluster/{cluster}/node/{node}/{component}", get(node_page))
            .route("/faults", get(list_faults).post(inject_fault))
            .route("/faults/{id}", delete(lift_fault))
            .fallback(no_such_path)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(self.clone())
    }
}

/// The time on this machine's clock.
fn clock() -> TimestampMs {
    // A clock before 1970 is as good as 1970: every counter is zero then.
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// An error as `{"error": "..."}`.
fn refuse(status: StatusCode, error: impl ToString) -> Response {
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}

fn answer(fleet: &Fleet, metacluster: &str, cluster: &str, node: Option<&str>, component: &str) -> Response {
    let page = fleet.target(metacluster, cluster, node, component).and_then(|target| fleet.page_by(&target, clock));
    match page {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error @ PageError::UnknownTarget { .. }) => refuse(StatusCode::NOT_FOUND, error),
        Err(error @ PageError::Unreachable(_)) => refuse(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

async fn cluster_page(
    State(fleet): State<Fleet>,
    Path((metacluster, cluster, component)): Path<(String, String, String)>,
) -> Response {
    answer(&fleet, &metacluster, &cluster, None, &component)
}

async fn node_page(
    State(fleet): State<Fleet>,
    Path((metacluster, cluster, node, component)): Path<(String, String, String, String)>,
) -> Response {
    answer(&fleet, &metacluster, &cluster, Some(&node), &component)
}

#[derive(Serialize)]
struct MetaclusterSummary<'a> {
    name: &'a str,
    region: &'a str,
    clusters: Vec<String>,
    targets: usize,
}

async fn describe(State(fleet): State<Fleet>) -> Response {
    let config = fleet.config();
    let summary = |m: &'_ crate::topology::Metacluster| {
        let (clusters, targets) = (fleet.clusters(&m.name), fleet.targets(&m.name).len());
        json!(MetaclusterSummary { name: &m.name, region: &m.region, clusters, targets })
    };
    let kinds = FaultKind::ALL.map(|kind| json!({"kind": kind, "needs": kind.required_fields()}));
    Json(json!({
        "metaclusters": fleet.metaclusters().iter().map(summary).collect::<Vec<_>>(),
        "nodes_per_cluster": config.nodes_per_cluster,
        "components": Component::ALL.map(Component::as_str),
        "paths": [
            "/metacluster/{metacluster}/cluster/{cluster}/{component}",
            "/metacluster/{metacluster}/cluster/{cluster}/node/{node}/{component}",
        ],
        "fault_kinds": kinds,
    }))
    .into_response()
}

async fn list_faults(State(fleet): State<Fleet>) -> Json<Vec<Fault>> {
    Json(fleet.faults(clock()))
}

async fn inject_fault(State(fleet): State<Fleet>, body: Bytes) -> Response {
    let request: FaultRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("not a fault: {error}")),
    };
    match fleet.inject(&request, clock) {
        Ok(fault) => {
            tracing::info!(id = fault.id, kind = fault.kind.as_str(), metacluster = fault.metacluster, "fault begins");
            (StatusCode::CREATED, Json(fault)).into_response()
        }
        Err(error @ FaultError::TooMany) => refuse(StatusCode::TOO_MANY_REQUESTS, error),
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

async fn lift_fault(State(fleet): State<Fleet>, Path(id): Path<String>) -> Response {
    match fleet.lift(&id, clock) {
        Ok(fault) => {
            tracing::info!(id = fault.id, kind = fault.kind.as_str(), metacluster = fault.metacluster, "fault ends");
            Json(fault).into_response()
        }
        Err(error) => refuse(StatusCode::NOT_FOUND, error),
    }
}

async fn no_such_path(uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("nothing at {}; GET / lists what there is", uri.path()))
}
