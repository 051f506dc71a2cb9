//! The endpoints every process has: metrics, health, readiness, reload.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::{Metrics, MetricsError, Supervisor};

/// What can read its configuration again. A failed reload changes nothing.
pub trait Reload: Send + Sync {
    /// Reads, validates, then applies.
    ///
    /// # Errors
    /// Every problem with the new configuration, one a line; the old one stays in force.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// A process' state as others see it, and its reload.
#[derive(Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

struct Inner {
    ready: AtomicBool,
    supervisor: Supervisor,
    metrics: Metrics,
    reload: Box<dyn Reload>,
    reload_successful: prometheus::IntGauge,
    reload_seconds: prometheus::Gauge,
    reloading: tokio::sync::Mutex<()>,
    quit_requested: AtomicBool,
    quit: tokio::sync::Notify,
}

impl Lifecycle {
    /// Not ready until [`Lifecycle::set_ready`].
    ///
    /// # Errors
    /// When the reload metrics are registered already.
    pub fn new(supervisor: &Supervisor, metrics: &Metrics, reload: Box<dyn Reload>) -> Result<Self, MetricsError> {
        let reload_successful = metrics
            .int_gauge("highwater_config_last_reload_successful", "Whether the last configuration reload succeeded.")?;
        let reload_seconds = metrics.gauge(
            "highwater_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded with success, in seconds since the epoch.",
        )?;
        reload_successful.set(1);
        reload_seconds.set(crate::now().as_seconds());
        let inner = Inner {
            ready: AtomicBool::new(false),
            supervisor: supervisor.clone(),
            metrics: metrics.clone(),
            reload,
            reload_successful,
            reload_seconds,
            reloading: tokio::sync::Mutex::default(),
            quit_requested: AtomicBool::new(false),
            quit: tokio::sync::Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Says whether requests can be served: true once everything runs, false when stopping begins.
    pub fn set_ready(&self, ready: bool) {
        self.inner.ready.store(ready, Ordering::Release);
    }

    /// Resolves when somebody has asked the process to end. One caller waits.
    pub async fn quit_requested(&self) {
        self.inner.quit.notified().await;
    }

    /// Asks the process to end; false when it was asked before.
    fn quit(&self) -> bool {
        let is_first = !self.inner.quit_requested.swap(true, Ordering::AcqRel);
        if is_first {
            // Kept for whoever waits later.
            self.inner.quit.notify_one();
        }
        is_first
    }

    /// Reloads the configuration, one reload at a time. Once begun it goes on to its end even when the returned future
    /// is dropped: a client that hangs up must not leave half a configuration behind.
    ///
    /// # Errors
    /// Every problem with the new configuration, one a line.
    pub async fn reload(&self) -> Result<(), String> {
        let (answer, done) = tokio::sync::oneshot::channel();
        let lifecycle = self.clone();
        self.inner.supervisor.spawn("reload", move |stop| async move {
            tokio::select! {
                // Nobody listens when the client has hung up.
                result = lifecycle.reload_now() => drop(answer.send(result)),
                // A process that ends needs no new configuration, and its queues need the time.
                () = stop.requested() => {}
            }
        });
        done.await.unwrap_or_else(|_| Err("the reload did not end; look into the log".to_owned()))
    }

    async fn reload_now(&self) -> Result<(), String> {
        let _one_at_a_time = self.inner.reloading.lock().await;
        let result = self.inner.reload.reload().await;
        self.inner.reload_successful.set(i64::from(result.is_ok()));
        match &result {
            Ok(()) => {
                self.inner.reload_seconds.set(crate::now().as_seconds());
                tracing::info!("configuration reloaded");
            }
            Err(problems) => {
                for problem in problems.lines() {
                    tracing::error!(problem, "configuration not reloaded; the old one stays in force");
                }
            }
        }
        result
    }
}

/// `/metrics`, `/-/healthy`, `/-/ready` (GET and HEAD) and `/-/reload` (POST and PUT).
pub fn operations_router(lifecycle: Lifecycle) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload).get(post_or_put))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(lifecycle)
}

/// What a path answers to a method that it does not have, in the words of Go's server.
pub async fn method_not_allowed() -> Response {
    let headers = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (StatusCode::METHOD_NOT_ALLOWED, headers, "Method Not Allowed\n").into_response()
}

async fn post_or_put() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "Only POST or PUT requests allowed")
}

/// `/-/quit` (POST and PUT), as in Prometheus: refused unless `enabled`.
pub fn quit_router(lifecycle: Lifecycle, enabled: bool) -> Router {
    let handler = if enabled { post(quit).put(quit) } else { post(quit_refused).put(quit_refused) };
    let routes = Router::new().route("/-/quit", handler.get(post_or_put));
    routes.method_not_allowed_fallback(method_not_allowed).with_state(lifecycle)
}

async fn quit(State(lifecycle): State<Lifecycle>) -> &'static str {
    if lifecycle.quit() { "Requesting termination... Goodbye!" } else { "Termination already in progress." }
}

async fn quit_refused() -> (StatusCode, &'static str) {
    (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.")
}

async fn metrics(State(lifecycle): State<Lifecycle>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, lifecycle.inner.metrics.render()).into_response()
}

async fn healthy(State(lifecycle): State<Lifecycle>) -> Response {
    match lifecycle.inner.supervisor.failed() {
        None => "Highwater is Healthy.\n".into_response(),
        Some(task) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the task {task} panicked; restart the process\n"))
            .into_response(),
    }
}

async fn ready(State(lifecycle): State<Lifecycle>) -> Response {
    if lifecycle.inner.ready.load(Ordering::Acquire) {
        "Highwater is Ready.\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn reload(State(lifecycle): State<Lifecycle>) -> Response {
    match lifecycle.reload().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(problems) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config:\n{problems}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tower::ServiceExt;

    /// Two steps with a wait between them.
    #[derive(Clone, Default)]
    struct Steps {
        begun: Arc<tokio::sync::Notify>,
        go_on: Arc<tokio::sync::Notify>,
        finished: Arc<tokio::sync::Notify>,
    }

    impl Reload for Steps {
        fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
            Box::pin(async {
                self.begun.notify_one();
                self.go_on.notified().await;
                self.finished.notify_one();
                Ok(())
            })
        }
    }

    async fn asked(router: &Router, method: &str) -> (u16, String) {
        let request = axum::http::Request::builder().method(method).uri("/-/quit").body(axum::body::Body::empty());
        let response = router.clone().oneshot(request.expect("is a request")).await.expect("cannot fail");
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 10).await.expect("reads");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn quitting_ends_the_wait_where_it_is_enabled() {
        let (supervisor, metrics) = (Supervisor::new(), Metrics::new("test").expect("registers"));
        let lifecycle = Lifecycle::new(&supervisor, &metrics, Box::new(Steps::default())).expect("registers");
        let disabled = quit_router(lifecycle.clone(), false);
        assert_eq!(asked(&disabled, "POST").await, (403, "Lifecycle API is not enabled.".to_owned()));
        let enabled = quit_router(lifecycle.clone(), true);
        assert_eq!(asked(&enabled, "GET").await, (405, "Only POST or PUT requests allowed".to_owned()));
        assert_eq!(asked(&enabled, "PUT").await, (200, "Requesting termination... Goodbye!".to_owned()));
        assert_eq!(asked(&enabled, "POST").await, (200, "Termination already in progress.".to_owned()));
        let end = std::time::Duration::from_secs(10);
        tokio::time::timeout(end, lifecycle.quit_requested()).await.expect("was asked");
    }

    #[tokio::test]
    async fn a_reload_goes_on_when_its_client_hangs_up() {
        let (supervisor, metrics) = (Supervisor::new(), Metrics::new("test").expect("registers"));
        let steps = Steps::default();
        let lifecycle = Lifecycle::new(&supervisor, &metrics, Box::new(steps.clone())).expect("registers");
        tokio::select! {
            _ = lifecycle.reload() => panic!("waits for the second step"),
            () = steps.begun.notified() => {}
        }
        steps.go_on.notify_one();
        let end = std::time::Duration::from_secs(10);
        tokio::time::timeout(end, steps.finished.notified()).await.expect("the reload ends");
    }
}
