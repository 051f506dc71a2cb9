//! `query`, `query_range`, `query_exemplars`, `format_query`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use model::{TimeRange, TimestampMs};
use promql::{PromqlError, QueryLimits, QueryResult};

use crate::answer::{Answer, json_response};
use crate::api::{Answered, Api, LONGEST_TIMEOUT, Shared};
use crate::error::ApiError;
use crate::json;
use crate::params::Params;
use crate::result::{Timings, truncate, write_result};
use crate::time::{MAX_TIME, MIN_TIME};

/// What is asked for, after its parameters were checked.
enum Question {
    At(TimestampMs),
    Over { range: TimeRange, step_ms: i64 },
}

/// A query with its own limits.
struct Asked {
    text: String,
    question: Question,
    arrived: Instant,
    deadline: Instant,
    lookback: Option<Duration>,
    limit: Option<usize>,
    wants_stats: bool,
}

pub(crate) async fn instant(State(api): Shared, params: Params) -> Answered {
    let limit = params.limit()?;
    let at = params.time("time", runtime::now())?;
    answer(api, Asked::new(&params, Question::At(at), limit)?).await
}

pub(crate) async fn range(State(api): Shared, params: Params) -> Answered {
    let limit = params.limit()?;
    let range = TimeRange { start: params.required_time("start")?, end: params.required_time("end")? };
    if range.end < range.start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = step_ms(&params, range, api.options.engine.options().max_points)?;
    answer(api, Asked::new(&params, Question::Over { range, step_ms }, limit)?).await
}

/// The step of a range query, in whole milliseconds.
fn step_ms(params: &Params, range: TimeRange, max_points: usize) -> Result<i64, ApiError> {
    // A missing step is no duration either.
    let step_ns = match params.duration_ns("step")? {
        Some(ns) => ns,
        None => return Err(ApiError::parameter("step", "cannot parse \"\" to a valid duration")),
    };
    if step_ns < 1_000_000 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", reason));
    }
    let step_ms = step_ns / 1_000_000;
    // Points are counted with the step as given, but never fewer than the engine will compute.
    if usize::try_from((range.end - range.start) / step_ms).unwrap_or(usize::MAX) > max_points {
        let message = format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
            with_thousands(max_points)
        );
        return Err(ApiError::bad_data(message));
    }
    Ok(step_ms)
}

fn with_thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", with_thousands(number / 1000), number % 1000) }
}

impl Asked {
    fn new(params: &Params, question: Question, limit: Option<usize>) -> Result<Self, ApiError> {
        let arrived = Instant::now();
        let timeout_ns = params.duration_ns("timeout")?.map(|ns| u64::try_from(ns).unwrap_or(0));
        let lookback = match params.duration_ns("lookback_delta")? {
            None | Some(0) => None,
            Some(ns) => {
                let ns = u64::try_from(ns).map_err(|_| ApiError::parameter("lookback_delta", "must be positive"))?;
                Some(Duration::from_nanos(ns))
            }
        };
        let timeout = timeout_ns.map_or(Duration::MAX, Duration::from_nanos);
        Ok(Self {
            text: params.get("query").to_owned(),
            question,
            arrived,
            deadline: arrived + timeout.min(LONGEST_TIMEOUT),
            lookback,
            limit,
            wants_stats: !params.get("stats").is_empty(),
        })
    }
}

async fn answer(api: Arc<Api>, mut asked: Asked) -> Answered {
    let _running = api.query_metrics.arrive();
    asked.deadline = asked.deadline.min(api.deadline(asked.arrived));
    let worker = api.clone();
    let json = api.compute(asked.deadline, move |left| evaluate(&worker, &asked, left)).await?;
    Ok(json_response(StatusCode::OK, json))
}

/// Evaluates and writes the answer; runs on the pool.
fn evaluate(api: &Api, asked: &Asked, left: Arc<AtomicBool>) -> Result<Vec<u8>, ApiError> {
    let started = Instant::now();
    let waited = started - asked.arrived;
    api.query_metrics.waited(waited);
    let limits = QueryLimits {
        lookback: asked.lookback,
        deadline: Some(asked.deadline),
        cancelled: Some(left),
        max_samples: None,
    };
    let outcome = run(api, asked, &limits);
    let total = started.elapsed();
    api.query_metrics.evaluated(total, outcome.as_ref().map_or(0, |(result, _)| result.samples_read));
    let (mut result, prepared) = outcome.map_err(|e| ApiError::query(&e))?;
    if truncate(&mut result.value, asked.limit) {
        result.warnings.push(TRUNCATED.to_owned());
    }
    let timings = asked.wants_stats.then_some(Timings { waited, prepared, total });
    let mut answer = Answer::open();
    write_result(&mut answer.out, &result, timings)?;
    Ok(answer.close(&result.warnings, &result.infos))
}

/// What `limit` says when it took something away.
pub(crate) const TRUNCATED: &str = "results truncated due to limit";

fn run(api: &Api, asked: &Asked, limits: &QueryLimits) -> Result<(QueryResult, Duration), PromqlError> {
    let (engine, storage) = (&api.options.engine, api.options.storage.as_ref());
    let started = Instant::now();
    let query = engine.parse(&asked.text)?;
    let prepared = started.elapsed();
    let result = match asked.question {
        Question::At(at) => engine.instant(storage, &query, at, limits)?,
        Question::Over { range, step_ms } => engine.range(storage, &query, range, step_ms, limits)?,
    };
    Ok((result, prepared))
}

/// Exemplars are not stored: a query that could have some has none.
pub(crate) async fn exemplars(State(api): Shared, params: Params) -> Answered {
    let start = params.time("start", MIN_TIME)?;
    let end = params.time("end", MAX_TIME)?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let worker = api.clone();
    let text = params.get("query").to_owned();
    api.compute_json(move || {
        worker.options.engine.parse(&text).map_err(|e| ApiError::query(&e))?;
        let mut answer = Answer::open();
        answer.out.extend_from_slice(b"[]");
        Ok(answer.close(&[], &[]))
    })
    .await
}

/// The canonical form of a query.
pub(crate) async fn format(State(api): Shared, params: Params) -> Answered {
    let worker = api.clone();
    let text = params.get("query").to_owned();
    api.compute_json(move || {
        let query = worker.options.engine.parse(&text).map_err(|e| ApiError::query(&e))?;
        let mut answer = Answer::open();
        json::string(&mut answer.out, &query.to_promql());
        Ok(answer.close(&[], &[]))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        for (number, want) in [(0, "0"), (999, "999"), (11_000, "11,000"), (1_000_050, "1,000,050")] {
            assert_eq!(with_thousands(number), want);
        }
    }
}
