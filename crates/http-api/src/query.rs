//! `query`, `query_range`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use model::{TimeRange, TimestampMs};
use promql::{PromqlError, QueryLimits, QueryOrigin, QueryResult, QueryStatsWanted};

use crate::api::{Answered, Api, LONGEST_TIMEOUT, Shared};
use crate::caller::asking;
use crate::error::ApiError;
use crate::params::Params;
use crate::result::{Timings, truncate, written};
use crate::stream::Written;
use crate::time::parse_duration_ns;
use crate::{cache, fleet};

/// What is asked for, after its parameters were checked.
enum Question {
    At(TimestampMs),
    Over { range: TimeRange, step_ms: i64, from_cache: bool },
}

impl Question {
    /// No step is later.
    fn end(&self) -> TimestampMs {
        match self {
            Self::At(at) => *at,
            Self::Over { range, .. } => range.end,
        }
    }
}

/// A query with its own limits.
struct Asked {
    text: String,
    question: Question,
    arrived: Instant,
    deadline: Instant,
    lookback: Option<Duration>,
    limit: Option<usize>,
    stats: QueryStatsWanted,
    origin: QueryOrigin,
}

pub(crate) async fn instant(State(api): Shared, params: Params) -> Answered {
    let limit = params.limit()?;
    let at = params.time("time", runtime::now())?;
    answer(api, Asked::new(&params, Question::At(at), limit)?).await
}

pub(crate) async fn range(State(api): Shared, headers: HeaderMap, params: Params) -> Answered {
    let limit = params.limit()?;
    let range = TimeRange { start: params.required_time("start")?, end: params.required_time("end")? };
    if range.end < range.start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = step_ms(&params, range, api.options.engine.options().max_points)?;
    let from_cache = cache::is_wanted(&params, &headers);
    answer(api, Asked::new(&params, Question::Over { range, step_ms, from_cache }, limit)?).await
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
        let lookback = match params.get("lookback_delta") {
            "" => None,
            text => {
                let ns = parse_duration_ns(text)
                    .map_err(|e| ApiError::bad_data(format!("error parsing lookback delta duration: {e}")))?;
                // Anything but a span that lies in the past means the server's own, as in Prometheus.
                u64::try_from(ns).ok().filter(|ns| *ns > 0).map(Duration::from_nanos)
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
            stats: match params.get("stats") {
                "" => QueryStatsWanted::None,
                "all" => QueryStatsWanted::PerStep,
                _ => QueryStatsWanted::Total,
            },
            origin: asking().origin,
        })
    }
}

async fn answer(api: Arc<Api>, mut asked: Asked) -> Answered {
    asked.deadline = asked.deadline.min(api.deadline(asked.arrived));
    let worker = api.clone();
    let written = api.compute(asked.deadline, move |left| evaluate(&worker, &asked, left)).await?;
    Ok(api.respond(written))
}

/// Evaluates and begins the answer; runs on the pool.
fn evaluate(api: &Api, asked: &Asked, left: Arc<AtomicBool>) -> Result<Written, ApiError> {
    let started = Instant::now();
    let waited = started - asked.arrived;
    let limits = QueryLimits {
        lookback: asked.lookback,
        deadline: Some(asked.deadline),
        cancelled: Some(left),
        stats: asked.stats,
        origin: asked.origin.clone(),
        waited,
        ..QueryLimits::default()
    };
    let (mut result, prepared) = run(api, asked, limits).map_err(|e| ApiError::query(&e))?;
    let total = started.elapsed();
    if truncate(&mut result.value, asked.limit) {
        result.warnings.push(TRUNCATED.to_owned());
    }
    // First, for only so many are shown: that something is missing matters more than how it was computed.
    result.infos.splice(0..0, fleet::infos(api.options.fleet.as_ref(), asked.question.end()));
    let timings = (asked.stats != QueryStatsWanted::None).then_some(Timings { waited, prepared, total });
    written(result, timings)
}

/// What `limit` says when it took something away.
pub(crate) const TRUNCATED: &str = "results truncated due to limit";

fn run(api: &Api, asked: &Asked, limits: QueryLimits) -> Result<(QueryResult, Duration), PromqlError> {
    let (engine, storage) = (&api.options.engine, api.options.storage.as_ref());
    let started = Instant::now();
    let query = engine.parse(&asked.text)?;
    let prepared = started.elapsed();
    let limits = &QueryLimits { prepared, ..limits };
    let result = match asked.question {
        Question::At(at) => engine.instant(storage, &query, at, limits)?,
        Question::Over { range, step_ms, from_cache } => match &api.result_cache {
            Some(cache) if from_cache => cache.range(engine, storage, &query, range, step_ms, limits)?,
            _ => engine.range(storage, &query, range, step_ms, limits)?,
        },
    };
    Ok((result, prepared))
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
