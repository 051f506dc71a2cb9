//! A query's result as JSON.

use std::time::Duration;

use model::{Labels, TimestampMs};
use promql::{QueryResult, Value};
use serde::Serialize;

use crate::error::ApiError;
use crate::json;

/// How long the parts of a query took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timings {
    /// Until a slot of the pool was free.
    pub(crate) waited: Duration,
    /// To parse and plan.
    pub(crate) prepared: Duration,
    /// To parse, plan and evaluate.
    pub(crate) total: Duration,
}

/// Keeps the first `limit` series. True when there were more.
pub(crate) fn truncate(value: &mut Value, limit: Option<usize>) -> bool {
    let Some(limit) = limit else { return false };
    match value {
        Value::Vector(samples) if samples.len() > limit => samples.truncate(limit),
        Value::Matrix(series) if series.len() > limit => series.truncate(limit),
        _ => return false,
    }
    true
}

/// Adds `{"resultType":..,"result":..}`, with `stats` where timings are given.
pub(crate) fn write_result(out: &mut Vec<u8>, result: &QueryResult, timings: Option<Timings>) -> Result<(), ApiError> {
    out.reserve(estimated_bytes(&result.value));
    out.extend_from_slice(b"{\"resultType\":");
    json::string(out, result.value.value_type().as_str());
    out.extend_from_slice(b",\"result\":");
    match &result.value {
        Value::Scalar(sample) => pair(out, sample.timestamp, |out| json::plain_value(out, sample.value)),
        Value::String { timestamp, value } => {
            out.push(b'[');
            json::timestamp(out, *timestamp);
            out.push(b',');
            json::string(out, value);
            out.push(b']');
        }
        Value::Vector(samples) => {
            list(out, samples, |out, series| {
                metric(out, &series.labels, "value");
                json::sample(out, series.sample.timestamp, series.sample.value);
            });
        }
        Value::Matrix(series) => {
            list(out, series, |out, series| {
                metric(out, &series.labels, "values");
                out.push(b'[');
                let samples = series.samples.timestamps.iter().zip(&series.samples.values);
                for (i, (at, value)) in samples.enumerate() {
                    json::comma(out, i);
                    json::sample(out, TimestampMs(*at), *value);
                }
                out.push(b']');
            });
        }
    }
    if let Some(timings) = timings {
        out.extend_from_slice(b",\"stats\":");
        json::value(out, &Stats::new(result, timings))?;
    }
    out.push(b'}');
    Ok(())
}

/// A little more than most results need, so that large answers are not copied while they grow.
fn estimated_bytes(value: &Value) -> usize {
    const SERIES_BYTES: usize = 160;
    const SAMPLE_BYTES: usize = 24;
    match value {
        Value::Scalar(_) | Value::String { .. } => SERIES_BYTES,
        Value::Vector(samples) => samples.len() * (SERIES_BYTES + SAMPLE_BYTES),
        Value::Matrix(series) => series.iter().map(|s| SERIES_BYTES + s.samples.len() * SAMPLE_BYTES).sum(),
    }
}

fn pair(out: &mut Vec<u8>, at: TimestampMs, value: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'[');
    json::timestamp(out, at);
    out.extend_from_slice(b",\"");
    value(out);
    out.extend_from_slice(b"\"]");
}

/// Writes objects that `item` leaves open.
fn list<T>(out: &mut Vec<u8>, items: &[T], item: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, one) in items.iter().enumerate() {
        json::comma(out, i);
        item(out, one);
        out.push(b'}');
    }
    out.push(b']');
}

/// Opens an object with its `metric` and the key of what follows.
fn metric(out: &mut Vec<u8>, labels: &Labels, key: &str) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, labels);
    out.push(b',');
    json::string(out, key);
    out.push(b':');
}

#[derive(Serialize)]
struct Stats {
    timings: StatsTimings,
    samples: StatsSamples,
}

/// Seconds. The engine sorts while it evaluates, so there is no time of its own for that.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsTimings {
    eval_total_time: f64,
    result_sort_time: f64,
    query_preparation_time: f64,
    inner_eval_time: f64,
    exec_queue_time: f64,
    exec_total_time: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsSamples {
    total_queryable_samples: u64,
    peak_samples: u64,
}

impl Stats {
    fn new(result: &QueryResult, timings: Timings) -> Self {
        let Timings { waited, prepared, total } = timings;
        Self {
            timings: StatsTimings {
                eval_total_time: total.as_secs_f64(),
                result_sort_time: 0.0,
                query_preparation_time: prepared.as_secs_f64(),
                inner_eval_time: total.saturating_sub(prepared).as_secs_f64(),
                exec_queue_time: waited.as_secs_f64(),
                exec_total_time: (waited + total).as_secs_f64(),
            },
            samples: StatsSamples { total_queryable_samples: result.samples_read, peak_samples: result.peak_samples },
        }
    }
}
