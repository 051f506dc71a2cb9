//! `/federate`: the newest sample of selected series, for a Prometheus that pulls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use exposition::Writer;
use model::{
    Hints, Labels, LabelsBuilder, METRIC_NAME, Matcher, MetricKind, Queryable, Sample, SampleBuffer, Selection,
    TimeRange, TimestampMs, is_legacy_label_name, is_legacy_metric_name, is_stale,
};

use crate::api::{Shared, plain_refusal};
use crate::error::{ApiError, ErrorKind};
use crate::params::Params;
use crate::stream::{List, Written};

/// A series and its newest sample.
type Newest = (Labels, Sample);

/// A series to expose, and whether it is the first of its family.
type Exposed = (bool, Newest);

pub(crate) async fn federate(State(api): Shared, headers: HeaderMap, params: Result<Params, ApiError>) -> Response {
    let names = Names::accepted(&headers);
    let params = match params {
        Ok(params) => params,
        Err(error) => return refusal(&error),
    };
    let deadline = api.deadline(Instant::now());
    let worker = api.clone();
    let written = api.compute(deadline, move |left| {
        let selectors = params.any_selectors()?;
        let options = &worker.options;
        let lookback_ms = i64::try_from(options.engine.options().lookback.as_millis()).unwrap_or(i64::MAX);
        let end = runtime::now();
        // Open on the left, as everywhere in PromQL.
        let range = TimeRange { start: end - lookback_ms + 1, end };
        let newest = newest(options.storage.as_ref(), &selectors, range, &left)?;
        Ok(Written::begin(exposed(newest, (options.external_labels)(), names)))
    });
    match written.await {
        Ok(written) => written.into_response(&api.writers, names.content_type()),
        Err(error) => refusal(&error),
    }
}

/// Scrapers read the reason as plain text.
fn refusal(error: &ApiError) -> Response {
    plain_refusal(error.status(), format!("{}\n", error.message))
}

/// How names are written that Prometheus did not know before its third version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// In quotes, for whoever says `escaping=allow-utf-8`.
    Quoted,
    /// Each odd character as an underscore.
    Underscores,
}

impl Names {
    /// What the puller understands.
    fn accepted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let allows = |accept: &str| accept.to_ascii_lowercase().replace(' ', "").contains("escaping=allow-utf-8");
        if accepted.any(allows) { Self::Quoted } else { Self::Underscores }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Quoted => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            Self::Underscores => exposition::CONTENT_TYPE,
        }
    }

    fn metric(self, name: &str) -> String {
        if self == Self::Quoted || is_legacy_metric_name(name) { name.to_owned() } else { underscored(name, ":") }
    }

    fn label(self, name: &str) -> String {
        if self == Self::Quoted || is_legacy_label_name(name) { name.to_owned() } else { underscored(name, "") }
    }
}

/// The name with an underscore for each character that may not stand there.
fn underscored(name: &str, also: &str) -> String {
    let keeps =
        |at: usize, c: char| c == '_' || also.contains(c) || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
    name.chars().enumerate().map(|(at, c)| if keeps(at, c) { c } else { '_' }).collect()
}

/// Selects series that are not stale, sorted by name and then by labels; those without a name cannot be exposed.
fn newest(
    storage: &dyn Queryable,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
    left: &AtomicBool,
) -> Result<Vec<Newest>, ApiError> {
    let mut found = HashMap::new();
    let mut buffer = SampleBuffer::default();
    for matchers in selectors {
        for series in storage.select(&Selection { matchers, range, hints: Hints::default() })? {
            if left.load(Ordering::Relaxed) {
                return Err(ApiError::new(ErrorKind::Canceled, "the client has left"));
            }
            let labels = series.labels();
            if labels.metric_name().is_empty() || found.contains_key(labels) {
                continue;
            }
            buffer.clear();
            series.read_newest(range, &mut buffer)?;
            let (Some(at), Some(value)) = (buffer.timestamps.last(), buffer.values.last()) else { continue };
            // The text format has no word for a series that has ended.
            if !is_stale(*value) {
                found.insert(labels.clone(), Sample { timestamp: TimestampMs(*at), value: *value });
            }
        }
    }
    let mut newest: Vec<Newest> = found.into_iter().collect();
    newest.sort_by(|(a, _), (b, _)| a.metric_name().cmp(b.metric_name()).then_with(|| a.cmp(b)));
    Ok(newest)
}

/// Writes series after series with their timestamps, each family under its type. External labels follow the series' own
/// where it lacks them; so does an empty instance, lest the puller's own is taken for it.
fn exposed(
    newest: Vec<Newest>,
    external_labels: Labels,
    names: Names,
) -> List<Exposed, impl Fn(&mut Vec<u8>, Exposed)> {
    let mut external = LabelsBuilder::from_labels(&external_labels);
    external.remove(METRIC_NAME);
    let external: Vec<(String, String)> = with_instance(&external.build());
    let mut last_family = String::new();
    let items = newest.into_iter().map(|(labels, sample)| {
        let is_first = labels.metric_name() != last_family;
        if is_first {
            labels.metric_name().clone_into(&mut last_family);
        }
        (is_first, (labels, sample))
    });
    List::new(items.collect(), b"", move |out, (is_first, (labels, sample))| {
        let mut text = String::new();
        let mut writer = Writer::new(&mut text);
        let family = names.metric(labels.metric_name());
        if is_first {
            writer.kind(&family, MetricKind::Unknown);
        }
        let own = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
        let lacking = external.iter().filter(|(name, _)| labels.get(name).is_none());
        let all = own.chain(lacking.map(|(name, value)| (name.as_str(), value.as_str())));
        let all: Vec<_> = all.map(|(name, value)| (names.label(name), value)).collect();
        let pairs = all.iter().map(|(name, value)| (name.as_str(), *value));
        writer.sample_of(&family, pairs, sample.value, Some(sample.timestamp));
        out.extend_from_slice(text.as_bytes());
    })
}

/// The labels in order of names, an empty instance among them where there is none.
fn with_instance(labels: &Labels) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    if labels.get("instance").is_none() {
        pairs.push(("instance".to_owned(), String::new()));
        pairs.sort();
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn odd_names_are_written_as_the_puller_understands() {
        assert_eq!(Names::Underscores.metric("1http.requests:a/ä"), "_http_requests:a__");
        assert_eq!(Names::Underscores.label("k8s.io:x"), "k8s_io_x");
        assert_eq!(Names::Quoted.metric("http.requests"), "http.requests");
        assert_eq!(Names::accepted(&HeaderMap::new()), Names::Underscores);
        let mut headers = HeaderMap::new();
        let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1";
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        assert_eq!(Names::accepted(&headers), Names::Quoted);
    }
}
