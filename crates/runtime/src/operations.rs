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
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Says whether requests can be served: true once everything runs, false when stopping begins.
    pub fn set_ready(&self, ready: bool) {
        self.inner.ready.store(ready, Ordering::Release);
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
        .route("/-/reload", post(reload).put(reload))
        .with_state(lifecycle)
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
