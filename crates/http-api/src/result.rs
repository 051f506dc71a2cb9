//! A query's result as JSON, written piece by piece.

use std::time::Duration;

use model::{Labels, TimestampMs};
use promql::{AnswerMemory, MatrixSeries, QueryResult, Value, VectorSample};
use serde::{Serialize, Serializer};

use crate::answer::Answer;
use crate::error::ApiError;
use crate::json;
use crate::stream::{Framed, List, Writing, Written};

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

/// Begins the whole answer, envelope included; with `stats` where timings are given.
pub(crate) fn written(result: QueryResult, timings: Option<Timings>) -> Result<Written, ApiError> {
    let mut before = Answer::open();
    before.out.extend_from_slice(b"{\"resultType\":");
    json::string(&mut before.out, result.value.value_type().as_str());
    before.out.extend_from_slice(b",\"result\":");
    let mut after = Answer { out: Vec::new() };
    if let Some(timings) = timings {
        after.out.extend_from_slice(b",\"stats\":");
        json::value(&mut after.out, &Stats::new(&result, timings))?;
    }
    after.out.push(b'}');
    let after = after.close(&result.warnings, &result.infos);
    let mut before = before.out;
    Ok(match result.value {
        Value::Scalar(sample) => {
            before.push(b'[');
            json::short_timestamp(&mut before, sample.timestamp);
            before.extend_from_slice(b",\"");
            json::plain_value(&mut before, sample.value);
            before.extend_from_slice(b"\"]");
            whole(before, after)
        }
        Value::String { timestamp, value } => {
            before.push(b'[');
            json::short_timestamp(&mut before, timestamp);
            before.push(b',');
            json::string(&mut before, &value);
            before.push(b']');
            whole(before, after)
        }
        Value::Vector(samples) => {
            let inner = List::new(samples, b",", vector_sample);
            array(before, Accounted { inner, _memory: result.memory }, after)
        }
        Value::Matrix(series) => array(before, Accounted { inner: Matrix::new(series), _memory: result.memory }, after),
    })
}

fn whole(mut before: Vec<u8>, mut after: Vec<u8>) -> Written {
    before.append(&mut after);
    Written::whole(before)
}

/// The bytes before, a JSON array of what `inner` writes, the bytes after.
pub(crate) fn array(mut before: Vec<u8>, inner: impl Writing, mut after: Vec<u8>) -> Written {
    before.push(b'[');
    after.insert(0, b']');
    Written::begin(Framed { before, inner, after })
}

fn vector_sample(out: &mut Vec<u8>, series: VectorSample) {
    metric(out, &series.labels, "value");
    json::sample(out, series.sample.timestamp, series.sample.value);
    out.push(b'}');
}

/// Opens an object with its `metric` and the key of what follows.
fn metric(out: &mut Vec<u8>, labels: &Labels, key: &str) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, labels);
    out.push(b',');
    json::string(out, key);
    out.push(b':');
}

/// What is written counts as memory of queries until all of it is.
struct Accounted<W> {
    inner: W,
    _memory: AnswerMemory,
}

impl<W: Writing> Writing for Accounted<W> {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        self.inner.write(out, enough)
    }
}

/// Series with many samples each: a piece may end within a series. What is written is dropped series by series.
struct Matrix {
    series: std::vec::IntoIter<MatrixSeries>,
    is_first: bool,
    /// The series that is being written, and how many of its samples are.
    present: Option<(MatrixSeries, usize)>,
}

impl Matrix {
    fn new(series: Vec<MatrixSeries>) -> Self {
        Self { series: series.into_iter(), is_first: true, present: None }
    }

    /// The next series, opened; `None` after the last.
    fn open(&mut self, out: &mut Vec<u8>) -> Option<(MatrixSeries, usize)> {
        let series = self.series.next()?;
        if !std::mem::take(&mut self.is_first) {
            out.push(b',');
        }
        metric(out, &series.labels, "values");
        out.push(b'[');
        Some((series, 0))
    }
}

impl Writing for Matrix {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        while out.len() < enough {
            let Some((series, written)) = self.present.take().or_else(|| self.open(out)) else { return true };
            let samples = &series.samples;
            let mut at = written;
            // By slices: skipping in the iterator would walk over what was written before, once for every piece.
            let (times, values) = (&samples.timestamps, &samples.values);
            let left = times.get(written..).unwrap_or_default().iter().zip(values.get(written..).unwrap_or_default());
            for (timestamp, value) in left {
                if out.len() >= enough {
                    break;
                }
                json::comma(out, at);
                json::sample(out, TimestampMs(*timestamp), *value);
                at += 1;
            }
            if at < samples.len() {
                self.present = Some((series, at));
                return false;
            }
            out.extend_from_slice(b"]}");
        }
        self.present.is_none() && self.series.len() == 0
    }
}

#[derive(Serialize)]
struct Stats {
    timings: StatsTimings,
    samples: StatsSamples,
}

/// Seconds.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    total_queryable_samples_per_step: Option<Vec<StepSamples>>,
    total_queryable_samples: u64,
    peak_samples: u64,
}

/// `[seconds, samples]`
struct StepSamples(TimestampMs, u64);

impl Serialize for StepSamples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = self.0.0;
        // Whole seconds without a fraction, as Go writes numbers.
        if ms % 1000 == 0 {
            (ms / 1000, self.1).serialize(serializer)
        } else {
            (self.0.as_seconds(), self.1).serialize(serializer)
        }
    }
}

impl Stats {
    fn new(result: &QueryResult, timings: Timings) -> Self {
        let Timings { waited, prepared, total } = timings;
        let stats = &result.stats;
        let per_step = stats.queryable_per_step.as_ref();
        Self {
            timings: StatsTimings {
                eval_total_time: total.as_secs_f64(),
                result_sort_time: stats.result_sort.as_secs_f64(),
                query_preparation_time: prepared.as_secs_f64(),
                inner_eval_time: stats.inner_eval.as_secs_f64(),
                exec_queue_time: waited.as_secs_f64(),
                exec_total_time: (waited + total).as_secs_f64(),
            },
            samples: StatsSamples {
                total_queryable_samples_per_step: per_step
                    .map(|steps| steps.iter().map(|(at, samples)| StepSamples(*at, *samples)).collect()),
                total_queryable_samples: stats.queryable_samples.unwrap_or(stats.samples_read),
                peak_samples: stats.peak_samples,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::SampleBuffer;

    fn matrix(sizes: &[usize]) -> Matrix {
        let series = sizes.iter().map(|size| {
            let mut samples = SampleBuffer::default();
            (0..*size).for_each(|i| samples.push(i as i64 * 500, i as f64 / 4.0));
            MatrixSeries { labels: Labels::from_pairs([("size", size.to_string())]), samples }
        });
        Matrix::new(series.collect())
    }

    #[test]
    fn a_piece_may_end_anywhere() {
        for sizes in [&[][..], &[1], &[3, 1], &[0, 50, 2]] {
            let mut whole = Vec::new();
            assert!(matrix(sizes).write(&mut whole, usize::MAX));
            let parsed: serde_json::Value =
                serde_json::from_str(&format!("[{}]", String::from_utf8_lossy(&whole))).expect("is JSON");
            let lengths: Vec<_> =
                parsed.as_array().expect("is a list").iter().map(|s| s["values"].as_array()).collect();
            assert!(lengths.iter().zip(sizes).all(|(values, size)| values.is_some_and(|v| v.len() == *size)));
            for enough in [1, 7, 100] {
                let (mut writing, mut pieces) = (matrix(sizes), Vec::new());
                loop {
                    let mut piece = Vec::new();
                    let is_last = writing.write(&mut piece, enough);
                    pieces.extend_from_slice(&piece);
                    if is_last {
                        break;
                    }
                    assert!(piece.len() >= enough, "a piece that is not the last is full");
                }
                assert_eq!(pieces, whole, "pieces of {enough}");
            }
        }
    }
}
