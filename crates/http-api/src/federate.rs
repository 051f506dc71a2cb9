//! `/federate`: the newest sample of selected series, for a Prometheus that pulls.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use exposition::Writer;
use model::{
    Hints, Labels, LabelsBuilder, METRIC_NAME, Matcher, MetricKind, Queryable, Sample, SampleBuffer, Selection,
    TimeRange, TimestampMs, is_stale,
};

use crate::api::{Shared, text_response};
use crate::error::ApiError;
use crate::params::Params;

/// Series by metric name, each with its newest sample.
type Families = BTreeMap<String, BTreeMap<Labels, Sample>>;

pub(crate) async fn federate(State(api): Shared, params: Result<Params, ApiError>) -> Response {
    let params = match params {
        Ok(params) => params,
        Err(error) => return refusal(&error),
    };
    let deadline = api.deadline(Instant::now());
    let worker = api.clone();
    let text = api.compute(deadline, move |left| {
        let selectors = params.selectors()?;
        let lookback_ms = i64::try_from(worker.options.engine.options().lookback.as_millis()).unwrap_or(i64::MAX);
        let end = runtime::now();
        // Open on the left, as everywhere in PromQL.
        let range = TimeRange { start: end - lookback_ms + 1, end };
        let is_left = || left.load(std::sync::atomic::Ordering::Relaxed);
        let families = newest(worker.options.storage.as_ref(), &selectors, range, is_left)?;
        Ok(exposed(&families, &(worker.options.external_labels)()))
    });
    match text.await {
        Ok(text) => text_response(StatusCode::OK, exposition::CONTENT_TYPE, text),
        Err(error) => refusal(&error),
    }
}

/// Scrapers read the reason as plain text.
fn refusal(error: &ApiError) -> Response {
    (error.status(), format!("{}\n", error.message)).into_response()
}

/// Selects series that are not stale; those without a name cannot be exposed.
fn newest(
    storage: &dyn Queryable,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
    is_left: impl Fn() -> bool,
) -> Result<Families, ApiError> {
    let mut families = Families::new();
    let mut buffer = SampleBuffer::default();
    for matchers in selectors {
        for series in storage.select(&Selection { matchers, range, hints: Hints::default() })? {
            if is_left() {
                return Err(ApiError::new(crate::error::ErrorKind::Canceled, "the client has left"));
            }
            let labels = series.labels();
            let name = labels.metric_name();
            if name.is_empty() {
                continue;
            }
            buffer.clear();
            series.read(range, &mut buffer)?;
            let (Some(at), Some(value)) = (buffer.timestamps.last(), buffer.values.last()) else { continue };
            if !is_stale(*value) {
                let sample = Sample { timestamp: TimestampMs(*at), value: *value };
                families.entry(name.to_owned()).or_default().insert(labels.clone(), sample);
            }
        }
    }
    Ok(families)
}

/// Writes the families with timestamps. A series without an instance says so, lest the puller's own is taken for it.
fn exposed(families: &Families, external_labels: &Labels) -> String {
    let mut out = String::new();
    let mut labels = LabelsBuilder::new();
    for (name, series) in families {
        let mut writer = Writer::new(&mut out);
        writer.kind(name, MetricKind::Unknown);
        for (stored, sample) in series {
            labels.reset(stored);
            for (external, value) in external_labels.iter() {
                labels.set_default(external, value);
            }
            let instance = labels.get("instance").is_none().then_some(("instance", ""));
            let others = labels.iter().filter(|(label, _)| *label != METRIC_NAME);
            writer.sample_of(name, instance.into_iter().chain(others), sample.value, Some(sample.timestamp));
        }
    }
    out
}
