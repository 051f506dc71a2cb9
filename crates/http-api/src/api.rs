//! The routes, what their handlers share, and how their work reaches the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use model::{ExemplarQueryable, Labels, Queryable, TimestampMs};
use promql::{Engine, ResultCache};
use query_gate::QueryGate;
use runtime::{CpuPool, Metrics, MetricsError, method_not_allowed};

use crate::answer::JSON;
use crate::caller::{asking, identify};
use crate::compression::compress;
use crate::cors::{CorsOrigins, cors};
use crate::endpoints::endpoints;
use crate::error::ApiError;
use crate::sources::{FleetSource, RulesSource, StatusSource, StoreSource, TargetsSource};
use crate::stream::Written;
use crate::{cache, federate, page};

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
    /// Where exemplars are.
    pub exemplars: Arc<dyn ExemplarQueryable>,
    /// The same as an operator sees it.
    pub store: Arc<dyn StoreSource>,
    /// Whether `/api/v1/admin` may change what is stored.
    pub enable_admin: bool,
    /// Whether `/-/quit` is answered by the role, for `features`.
    pub enable_lifecycle: bool,
    /// Whether the role takes remote write, for `features`.
    pub receives_writes: bool,
    /// Where whatever reads the store waits for its turn.
    pub gate: QueryGate,
    /// Where query metrics are registered.
    pub metrics: Metrics,
    /// The external labels in force; `/federate` adds those that a series lacks.
    pub external_labels: Arc<dyn Fn() -> Labels + Send + Sync>,
    /// How long a query may take, unless the caller asks for less.
    pub query_timeout: Duration,
    /// Bytes for answers of range queries that are asked again; 0: none are kept.
    pub result_cache_bytes: u64,
    /// Which web pages may read the answers.
    pub cors_origins: CorsOrigins,
    /// Configuration, flags, reloads.
    pub status: Arc<dyn StatusSource>,
    /// Targets.
    pub targets: Arc<dyn TargetsSource>,
    /// Rules and alerts.
    pub rules: Arc<dyn RulesSource>,
    /// Who sends to this tier.
    pub fleet: Arc<dyn FleetSource>,
}

/// What handlers share.
pub(crate) struct Api {
    pub(crate) options: ApiOptions,
    pub(crate) result_cache: Option<Arc<ResultCache>>,
    /// Where answers are written and compressed while they are sent. It is not where queries wait for their turn: a
    /// query that has its result must never wait behind those that have none.
    pub(crate) writers: CpuPool,
}

/// Each connection has at most one piece of an answer to write, so that none is ever refused.
const MAX_WAITING_WRITERS: usize = 1 << 20;

pub(crate) type Shared = axum::extract::State<Arc<Api>>;
pub(crate) type Answered = Result<Response, ApiError>;

/// Every route of the API, to be merged with the role's other routes, and the answer to paths that no route serves.
///
/// # Errors
/// When the query metrics are registered already.
pub fn router(options: ApiOptions) -> Result<Router, MetricsError> {
    let result_cache = cache::result_cache(options.result_cache_bytes, &options.metrics)?;
    let cors_origins = options.cors_origins.clone();
    let writers = CpuPool::new(std::thread::available_parallelism().map_or(1, usize::from), MAX_WAITING_WRITERS);
    let api = Arc::new(Api { options, result_cache, writers: writers.clone() });
    let below_v1 = endpoints().fold(Router::new(), |router, endpoint| router.route(endpoint.path, endpoint.route()));
    let routes = below_v1
        .route("/federate", get(federate::federate))
        .route("/", get(page::page))
        .route("/graph", get(page::page))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed);
    let layered = routes
        .layer(from_fn_with_state(writers, compress))
        .layer(from_fn_with_state(cors_origins, cors))
        .layer(from_fn(identify));
    Ok(layered.with_state(api))
}

async fn unknown_path() -> Response {
    plain_refusal(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// As Go's server writes what no handler wrote.
pub(crate) fn plain_refusal(status: StatusCode, text: impl Into<String>) -> Response {
    let mut response = text_response(status, "text/plain; charset=utf-8", text.into());
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A clock cannot be asked for a moment centuries ahead.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);

impl Api {
    /// When a request that arrived at this moment has had the server's time.
    pub(crate) fn deadline(&self, arrived: Instant) -> Instant {
        arrived + self.options.query_timeout.min(LONGEST_TIMEOUT)
    }

    /// Runs work that reads the store when it is its caller's turn, at most until `deadline`. The flag that the work gets is set when
    /// the client leaves or the deadline passes.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(Arc<AtomicBool>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let left = LeftFlag::default();
        let flag = left.0.clone();
        self.options.gate.run(&asking().caller, deadline, move |_| work(flag)).await?
    }

    /// The same with the server's own deadline, for an answer in JSON.
    pub(crate) async fn compute_json(
        &self,
        work: impl FnOnce() -> Result<Vec<u8>, ApiError> + Send + 'static,
    ) -> Answered {
        self.compute_written(|_| Ok(Written::whole(work()?))).await
    }

    /// The same for an answer that may be too large to be written at once.
    pub(crate) async fn compute_written(
        &self,
        work: impl FnOnce(Arc<AtomicBool>) -> Result<Written, ApiError> + Send + 'static,
    ) -> Answered {
        Ok(self.respond(self.compute(self.deadline(Instant::now()), work).await?))
    }

    /// The response with an answer in JSON; what is not written yet is written while it is sent.
    pub(crate) fn respond(&self, written: Written) -> Response {
        written.into_response(&self.writers, JSON)
    }
}

/// Tells the work that nobody waits for it any more: the handler's future was dropped.
#[derive(Default)]
pub(crate) struct LeftFlag(pub(crate) Arc<AtomicBool>);

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
