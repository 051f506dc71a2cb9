//! What a query answers.

use std::fmt;

use model::{Labels, Sample, SampleBuffer, TimestampMs};

/// The four types of PromQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number.
    Scalar,
    /// One string.
    String,
    /// One sample for each series.
    Vector,
    /// A span of samples for each series.
    Matrix,
}

impl ValueType {
    /// The `resultType` of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }

    /// The name in error messages and in Prometheus' documentation.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
    /// Samples read from storage.
    pub samples_read: u64,
    /// Most samples held at one time.
    pub peak_samples: u64,
}
