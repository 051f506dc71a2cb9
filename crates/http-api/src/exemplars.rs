//! `query_exemplars`: what stands behind the series that an expression selects.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use model::{Exemplar, SeriesExemplars, TimeRange};

use crate::answer::Answer;
use crate::api::{Answered, Shared};
use crate::error::ApiError;
use crate::json;
use crate::params::Params;
use crate::result::array;
use crate::stream::List;
use crate::time::{MAX_TIME, MIN_TIME};

pub(crate) async fn exemplars(State(api): Shared, params: Params) -> Answered {
    let range = TimeRange { start: params.time("start", MIN_TIME)?, end: params.time("end", MAX_TIME)? };
    if range.end < range.start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let worker = api.clone();
    let text = params.get("query").to_owned();
    let deadline = api.deadline(std::time::Instant::now());
    let written = api.compute(deadline, move |_| {
        let options = &worker.options;
        let query = options.engine.parse(&text).map_err(|e| ApiError::bad_data(e.to_string()))?;
        let selectors = query.selectors();
        if selectors.is_empty() {
            return Ok(None);
        }
        let found = options.exemplars.exemplars(&selectors, range);
        let after = Answer { out: Vec::new() }.close(&[], &[]);
        Ok(Some(array(Answer::open().out, List::new(found, b",", |out, series| of_series(out, &series)), after)))
    });
    match written.await? {
        Some(written) => Ok(api.respond(written)),
        // As in Prometheus: there is nothing that could have any.
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

fn of_series(out: &mut Vec<u8>, SeriesExemplars { series, exemplars }: &SeriesExemplars) {
    out.extend_from_slice(b"{\"seriesLabels\":");
    json::labels(out, series);
    out.extend_from_slice(b",\"exemplars\":[");
    for (i, Exemplar { labels, value, timestamp }) in exemplars.iter().enumerate() {
        json::comma(out, i);
        out.extend_from_slice(b"{\"labels\":");
        json::labels(out, labels);
        out.extend_from_slice(b",\"value\":\"");
        json::sample_value(out, *value);
        out.extend_from_slice(b"\",\"timestamp\":");
        json::timestamp(out, *timestamp);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
}
