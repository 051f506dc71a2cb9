//! The routes, what their handlers share, and how their work reaches the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use model::{Labels, Queryable, TimestampMs};
use promql::Engine;
use runtime::{CpuPool, Metrics, MetricsError};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::answer::json_response;
use crate::cors::{CorsOrigins, cors};
use crate::error::{ApiError, ErrorKind};
use crate::metrics::QueryMetrics;
use crate::sources::{RulesSource, StatusSource, StoreSource, TargetsSource};
use crate::{admin, federate, page, query, rule_list, series, status, targets};

/// What a role hands to its API.
#[derive(Clone)]
pub struct ApiOptions {
    /// The role's name, for its status page.
    pub role: String,
    /// Highwater's version.
    pub version: String,
    /// The commit it was built from, or empty.
    pub revision: String,
    /// When the process started.
    pub started: TimestampMs,
    /// Evaluates queries; its options hold the limits and the lookback.
    pub engine: Arc<Engine>,
    /// Where samples are.
    pub storage: Arc<dyn Queryable>,
    /// The same as an operator sees it.
    pub store: Arc<dyn StoreSource>,
    /// Whether `/api/v1/admin` may change what is stored.
    pub enable_admin: bool,
    /// Where queries run.
    pub pool: CpuPool,
    /// Where query metrics are registered.
    pub metrics: Metrics,
    /// The external labels in force; `/federate` adds those that a series lacks.
    pub external_labels: Arc<dyn Fn() -> Labels + Send + Sync>,
    /// How long a query may take, unless the caller asks for less.
    pub query_timeout: Duration,
    /// Which web pages may read the answers.
    pub cors_origins: CorsOrigins,
    /// Configuration, flags, reloads.
    pub status: Arc<dyn StatusSource>,
    /// Targets.
    pub targets: Arc<dyn TargetsSource>,
    /// Rules and alerts.
    pub rules: Arc<dyn RulesSource>,
}

/// What handlers share.
pub(crate) struct Api {
    pub(crate) options: ApiOptions,
    pub(crate) query_metrics: QueryMetrics,
}

pub(crate) type Shared = axum::extract::State<Arc<Api>>;
pub(crate) type Answered = Result<Response, ApiError>;

/// Every route of the API, to be merged with the role's other routes. Paths below `/api/` that no route serves are
/// answered 404 in JSON.
///
/// # Errors
/// When the query metrics are registered already.
pub fn router(options: ApiOptions) -> Result<Router, MetricsError> {
    let query_metrics = QueryMetrics::new(&options.metrics)?;
    let cors_origins = options.cors_origins.clone();
    let api = Arc::new(Api { options, query_metrics });
    let routes = query_routes()
        .merge(state_routes())
        .merge(admin_routes())
        .route("/federate", get(federate::federate))
        .route("/", get(page::page))
        .route("/graph", get(page::page))
        .route("/api/{*path}", any(unknown_path))
        .route("/api", any(unknown_path))
        .route("/api/", any(unknown_path));
    // Fast gzip: these answers are read once, and mostly over a network that is faster than the best compression.
    let compression = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
    Ok(routes.layer(compression).layer(from_fn_with_state(cors_origins, cors)).with_state(api))
}

/// What reads the store.
fn query_routes() -> Router<Arc<Api>> {
    fn get_and_post<H: axum::handler::Handler<T, Arc<Api>> + Copy, T: 'static>(handler: H) -> MethodRouter<Arc<Api>> {
        get(handler).post(handler)
    }
    Router::new()
        .route("/api/v1/query", get_and_post(query::instant))
        .route("/api/v1/query_range", get_and_post(query::range))
        .route("/api/v1/query_exemplars", get_and_post(query::exemplars))
        .route("/api/v1/format_query", get_and_post(query::format))
        .route("/api/v1/labels", get_and_post(series::label_names))
        .route("/api/v1/label/{name}/values", get(series::label_values))
        .route("/api/v1/series", get_and_post(series::series))
        .route("/api/v1/metadata", get(series::metadata))
        .route("/api/v1/status/tsdb", get(status::tsdb))
}

/// What the process knows of its surroundings and itself.
fn state_routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/v1/targets", get(targets::targets))
        .route("/api/v1/scrape_pools", get(targets::scrape_pools))
        .route("/api/v1/rules", get(rule_list::rules))
        .route("/api/v1/alerts", get(rule_list::alerts))
        .route("/api/v1/alertmanagers", get(rule_list::alertmanagers))
        .route("/api/v1/status/buildinfo", get(status::build_info))
        .route("/api/v1/status/runtimeinfo", get(status::runtime_info))
        .route("/api/v1/status/config", get(status::config))
        .route("/api/v1/status/flags", get(status::flags))
}

/// What changes the store.
fn admin_routes() -> Router<Arc<Api>> {
    fn post_and_put<H: axum::handler::Handler<T, Arc<Api>> + Copy, T: 'static>(handler: H) -> MethodRouter<Arc<Api>> {
        post(handler).put(handler)
    }
    Router::new()
        .route("/api/v1/admin/tsdb/delete_series", post_and_put(admin::delete_series))
        .route("/api/v1/admin/tsdb/clean_tombstones", post_and_put(admin::clean_tombstones))
        .route("/api/v1/admin/tsdb/snapshot", post_and_put(admin::snapshot))
}

async fn unknown_path(uri: Uri) -> Response {
    ApiError::new(ErrorKind::NotFound, format!("no such endpoint: {}", uri.path())).into_response()
}

/// A clock cannot be asked for a moment centuries ahead.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);

impl Api {
    /// When a request that arrived at this moment has had the server's time.
    pub(crate) fn deadline(&self, arrived: Instant) -> Instant {
        arrived + self.options.query_timeout.min(LONGEST_TIMEOUT)
    }

    /// Runs work that reads the store on the pool, at most until `deadline`. The flag that the work gets is set when
    /// the client leaves or the deadline passes.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(Arc<AtomicBool>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let left = LeftFlag(Arc::default());
        let flag = left.0.clone();
        let result = tokio::time::timeout_at(deadline.into(), self.options.pool.run(move || work(flag))).await;
        match result {
            Ok(done) => done?,
            Err(_) => Err(ApiError::new(ErrorKind::Timeout, "query timed out in query execution")),
        }
    }

    /// The same with the server's own deadline, for an answer in JSON.
    pub(crate) async fn compute_json(
        &self,
        work: impl FnOnce() -> Result<Vec<u8>, ApiError> + Send + 'static,
    ) -> Answered {
        let json = self.compute(self.deadline(Instant::now()), |_| work()).await?;
        Ok(json_response(StatusCode::OK, json))
    }
}

/// Tells the work that nobody waits for it any more: the handler's future was dropped.
struct LeftFlag(Arc<AtomicBool>);

impl Drop for LeftFlag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A response that is text of the given media type.
pub(crate) fn text_response(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
