//! What nodes do: functions, operators, aggregations, resolved to what evaluation tells apart.

use model::Column;
use regex::Regex;

/// A time of the whole query, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryTime {
    Start,
    End,
    Step,
    /// From start to end.
    Range,
}

/// What stands at the edges of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    /// The sample before.
    Anchored,
    /// What lies between the samples around.
    Smoothed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Changes,
    Resets,
    Deriv,
    PredictLinear,
    Smoothing,
    Sum,
    Avg,
    Min,
    Max,
    Count,
    First,
    Last,
    Present,
    Absent,
    Quantile,
    Stddev,
    Stdvar,
    Mad,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMin,
    TimeOfMax,
}

impl RangeFunction {
    /// Whether the answer is still the same metric.
    pub fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    /// Which value of a rollup stands for the samples in a window; `None` where none can.
    pub fn column(self) -> Option<Column> {
        match self {
            Self::Rate | Self::Increase | Self::Delta | Self::Irate | Self::Idelta | Self::Last => Some(Column::Last),
            Self::Sum => Some(Column::Sum),
            Self::Avg => Some(Column::Average),
            Self::Min => Some(Column::Min),
            Self::Max => Some(Column::Max),
            Self::Count => Some(Column::Count),
            _ => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HistogramFunction {
    Quantile,
    /// Each of the quantiles, told apart by this label.
    Quantiles(String),
    Fraction,
}

/// How rows are sorted.
#[derive(Debug)]
pub(crate) enum SortOrder {
    Value { descending: bool },
    Labels { names: Vec<String>, descending: bool },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum MapFunction {
    /// A plain function of one number.
    Math(fn(f64) -> f64),
    Negate,
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    /// `timestamp` of anything but a selector.
    EvaluationTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl BinaryOp {
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cardinality {
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetOp {
    And,
    Or,
    Unless,
}

/// Aggregations that need a fixed amount of memory for a group and step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoldFunction {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
}

/// Changes of labels.
#[derive(Debug)]
pub(crate) enum Relabel {
    Replace { destination: String, replacement: String, source: String, regex: Regex },
    Join { destination: String, separator: String, sources: Vec<String> },
}
