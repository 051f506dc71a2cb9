//! The rows that reach the top of a plan, as an answer: collected and sorted within the budget.

use std::time::{Duration, Instant};

use model::{Labels, Sample, SampleBuffer, TimestampMs};

use crate::eval::{Evaluation, Held, RowLabels, SAMPLE_BYTES, Steps, compact, is_absent, sort_by};
use crate::plan::{Plan, RangeSource, Vector};
use crate::{MatrixSeries, PromqlError, Value, VectorSample};

/// An answer with what it claims of the budget.
pub(crate) struct Collected<'a> {
    pub value: Value,
    pub held: Held<'a>,
    /// How long sorting took.
    pub sorting: Duration,
}

/// The answer at one instant.
pub(crate) fn instant_value<'a>(
    evaluation: &'a Evaluation<'a>,
    plan: &Plan,
    at: TimestampMs,
) -> Result<Collected<'a>, PromqlError> {
    let steps = Steps::once(at.0);
    let held = evaluation.budget.hold(0)?;
    let value = match plan {
        Plan::String(text) => Value::String { timestamp: at, value: text.clone() },
        Plan::Scalar(scalar) => {
            let value = evaluation.scalar(scalar, steps)?.first().copied().unwrap_or(f64::NAN);
            Value::Scalar(Sample { timestamp: at, value })
        }
        Plan::Vector(vector) => return instant_vector(evaluation, vector, at),
        Plan::Matrix(source) => {
            let mut matrix = Matrix { series: Vec::new(), held };
            evaluation.matrix(source, steps, &mut |labels, samples| matrix.push(labels, samples))?;
            return matrix.sorted(evaluation, matches!(source, RangeSource::Subquery { .. }));
        }
    };
    Ok(Collected { value, held, sorting: Duration::ZERO })
}

fn instant_vector<'a>(
    evaluation: &'a Evaluation<'a>,
    vector: &Vector,
    at: TimestampMs,
) -> Result<Collected<'a>, PromqlError> {
    let mut samples = Vec::new();
    let mut held = evaluation.budget.hold(0)?;
    evaluation.vector(vector, Steps::once(at.0), &mut |labels, column| {
        if let Some(value) = column.first().copied().filter(|v| !is_absent(*v)) {
            let labels = labels.build();
            held.add(1)?;
            held.add_labels(&labels)?;
            samples.push(VectorSample { labels, sample: Sample { timestamp: at, value } });
        }
        held.work(1)
    })?;
    let sorting = Instant::now();
    if !vector.is_ordered() && !vector.is_in_label_order() {
        samples = sort_by(samples, evaluation.budget, |a, b| a.labels.cmp(&b.labels))?;
    }
    Ok(Collected { value: Value::Vector(samples), held, sorting: sorting.elapsed() })
}

/// The answer at every step of the query.
pub(crate) fn range_value<'a>(
    evaluation: &'a Evaluation<'a>,
    plan: &Plan,
    steps: Steps,
) -> Result<Collected<'a>, PromqlError> {
    let mut matrix = Matrix { series: Vec::new(), held: evaluation.budget.hold(0)? };
    let mut buffer = SampleBuffer::default();
    let mut collect = |labels: RowLabels<'_>, column: &mut [f64]| {
        compact(column, steps, &mut buffer);
        matrix.push(labels, &buffer)
    };
    let in_order = match plan {
        Plan::Scalar(scalar) => {
            collect((&Labels::empty()).into(), &mut evaluation.scalar(scalar, steps)?)?;
            true
        }
        Plan::Vector(vector) => {
            evaluation.vector(vector, steps, &mut collect)?;
            vector.is_in_label_order()
        }
        // The engine has refused them.
        Plan::String(_) | Plan::Matrix(_) => true,
    };
    matrix.sorted(evaluation, !in_order)
}

struct Matrix<'a> {
    series: Vec<MatrixSeries>,
    held: Held<'a>,
}

impl<'a> Matrix<'a> {
    fn push(&mut self, labels: RowLabels<'_>, samples: &SampleBuffer) -> Result<(), PromqlError> {
        if !samples.is_empty() {
            let labels = labels.build();
            self.held.add(samples.len())?;
            // The times, beside the values.
            self.held.add_bytes(samples.len() * (SAMPLE_BYTES - size_of::<f64>()))?;
            self.held.add_labels(&labels)?;
            self.series.push(MatrixSeries { labels, samples: samples.clone() });
        }
        self.held.work(samples.len())
    }

    fn sorted(mut self, evaluation: &'a Evaluation<'a>, is_needed: bool) -> Result<Collected<'a>, PromqlError> {
        let sorting = Instant::now();
        if is_needed {
            self.series = sort_by(self.series, evaluation.budget, |a, b| a.labels.cmp(&b.labels))?;
        }
        Ok(Collected { value: Value::Matrix(self.series), held: self.held, sorting: sorting.elapsed() })
    }
}
