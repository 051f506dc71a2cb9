//! Metrics about requests, under the names that Prometheus' dashboards know.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use prometheus::{HistogramVec, IntCounterVec};
use runtime::{Metrics, MetricsError};

/// Buckets of Prometheus' own request histogram.
const REQUEST_SECONDS: &[f64] = &[0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];

/// Counts and times requests by route. One per process.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl HttpMetrics {
    /// Registers `prometheus_http_requests_total{handler,code}` and
    /// `prometheus_http_request_duration_seconds{handler}`.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self, MetricsError> {
        let requests =
            metrics.counter_vec("prometheus_http_requests_total", "Counter of HTTP requests.", &["handler", "code"])?;
        let seconds = metrics.histogram_vec(
            "prometheus_http_request_duration_seconds",
            "Histogram of latencies for HTTP requests.",
            &["handler"],
            REQUEST_SECONDS,
        )?;
        Ok(Self { requests, seconds })
    }

    /// Wraps every route of `router`. Requests that no route serves count as `handler="other"`.
    pub fn observe(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), observe))
    }
}

async fn observe(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let handler = request.extensions().get::<MatchedPath>().map_or("other".to_owned(), |p| handler_name(p.as_str()));
    let started = Instant::now();
    let response = next.run(request).await;
    metrics.seconds.with_label_values(&[&handler]).observe(started.elapsed().as_secs_f64());
    metrics.requests.with_label_values(&[handler.as_str(), response.status().as_str()]).inc();
    response
}

/// `/label/{name}/values` as Prometheus names it: `/label/:name/values`.
fn handler_name(route: &str) -> String {
    route.replace("{*", "*").replace('{', ":").replace('}', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_named_as_in_prometheus() {
        assert_eq!(handler_name("/api/v1/label/{name}/values"), "/api/v1/label/:name/values");
        assert_eq!(handler_name("/api/{*path}"), "/api/*path");
    }
}
