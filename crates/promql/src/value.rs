//! What a query answers.

use std::time::Duration;

use model::{Labels, Sample, SampleBuffer, TimestampMs};

use crate::ValueType;
use crate::eval::AnswerMemory;

/// One series of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    /// The series.
    pub labels: Labels,
    /// Its value; the timestamp is that of the evaluation.
    pub sample: Sample,
}

/// One series of a matrix; never empty.
#[derive(Debug, Clone)]
pub struct MatrixSeries {
    /// The series.
    pub labels: Labels,
    /// Its samples.
    pub samples: SampleBuffer,
}

/// The answer itself.
#[derive(Debug, Clone)]
pub enum Value {
    /// Of a scalar expression at an instant.
    Scalar(Sample),
    /// Of a string literal at an instant.
    String {
        /// When it was asked for.
        timestamp: TimestampMs,
        /// The string.
        value: String,
    },
    /// Sorted by labels, unless `sort`, `topk` or a relative of them says otherwise.
    Vector(Vec<VectorSample>),
    /// Sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

impl Value {
    /// Its type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Scalar(_) => ValueType::Scalar,
            Self::String { .. } => ValueType::String,
            Self::Vector(_) => ValueType::Vector,
            Self::Matrix(_) => ValueType::Matrix,
        }
    }
}

/// The answer and what it took.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The answer.
    pub value: Value,
    /// The answer may be wrong, for these reasons; sorted, without repetition.
    pub warnings: Vec<String>,
    /// The query may not mean what its author thinks; sorted, without repetition.
    pub infos: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
    /// The answer counts as memory of queries until this is dropped.
    pub memory: AnswerMemory,
}

impl QueryResult {
    /// An answer that no evaluation gave.
    pub fn new(value: Value) -> Self {
        let (warnings, infos, stats, memory) = Default::default();
        Self { value, warnings, infos, stats, memory }
    }
}

/// What an evaluation took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples read from storage, each once.
    pub samples_read: u64,
    /// Most samples held at one time.
    pub peak_samples: u64,
    /// Most bytes held at one time.
    pub peak_bytes: u64,
    /// Samples looked at, as Prometheus counts them; see [`QueryStatsWanted`](crate::QueryStatsWanted).
    pub queryable_samples: Option<u64>,
    /// The same for each step.
    pub queryable_per_step: Option<Vec<(TimestampMs, u64)>>,
    /// Evaluating, without sorting the answer.
    pub inner_eval: Duration,
    /// Sorting the answer.
    pub result_sort: Duration,
}
