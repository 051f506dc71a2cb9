//! What a query does, in a form made for evaluation: types are checked, functions resolved, regular expressions
//! compiled, and the places marked where two series may end up with the same labels.

mod build;
mod functions;

use model::{Column, Labels, Matcher};
use regex::Regex;

use crate::eval::{RowLabels, collect};
pub(crate) use build::build;

/// A whole query.
#[derive(Debug)]
pub(crate) enum Plan {
    Scalar(Scalar),
    String(String),
    Vector(Vector),
    Matrix(RangeSource),
}

/// A number at each step.
#[derive(Debug)]
pub(crate) enum Scalar {
    Literal(f64),
    Time,
    /// `scalar(v)`
    OfVector(Box<Vector>),
    Negate(Box<Scalar>),
    Binary(BinaryOp, Box<Scalar>, Box<Scalar>),
}

/// A set of series, each with a value or none at each step. No two rows of an evaluated node have equal labels.
#[derive(Debug)]
pub(crate) enum Vector {
    Select(Selector),
    /// `timestamp(selector)`: when the samples were taken.
    Timestamps(Selector),
    Range(RangeCall),
    Map(MapCall),
    /// Vector on one side, scalar on the other.
    WithScalar(WithScalar),
    Binary(VectorBinary),
    Set(SetBinary),
    Aggregate(Aggregate),
    /// `vector(s)`
    OfScalar(Scalar),
    Absent {
        input: Box<Vector>,
        labels: Labels,
    },
    HistogramQuantile {
        quantile: Scalar,
        input: Box<Vector>,
    },
    Sort {
        descending: bool,
        input: Box<Vector>,
    },
    Relabel {
        relabel: Relabel,
        input: Box<Vector>,
    },
    /// Joins rows that became equal by the loss or change of labels; refuses two values at one step, and, where
    /// `strict`, any two equal rows.
    Distinct {
        strict: bool,
        input: Box<Vector>,
    },
}

/// A series selector with its shift in time.
#[derive(Debug)]
pub(crate) struct Selector {
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
}

/// `offset` and `@`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shift {
    pub offset_ms: i64,
    pub at: Option<At>,
}

/// The time an `@` pins a selector to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Start,
    End,
    Time(i64),
}

/// Where windows of samples come from.
#[derive(Debug)]
pub(crate) enum RangeSource {
    Select { selector: Selector, range_ms: i64 },
    Subquery { input: Box<Vector>, range_ms: i64, step_ms: i64, shift: Shift },
}

/// A function over windows.
#[derive(Debug)]
pub(crate) struct RangeCall {
    pub function: RangeFunction,
    pub source: RangeSource,
    pub params: Vec<Scalar>,
    /// Labels of the answer of `absent_over_time`.
    pub absent_labels: Labels,
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

/// A function of each value on its own; drops the metric name.
#[derive(Debug)]
pub(crate) struct MapCall {
    pub function: MapFunction,
    pub params: Vec<Scalar>,
    pub input: Box<Vector>,
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

#[derive(Debug)]
pub(crate) struct WithScalar {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub scalar_left: bool,
    pub scalar: Scalar,
    pub input: Box<Vector>,
}

/// Labels that decide which series belong together.
#[derive(Debug, Clone)]
pub(crate) struct Grouping {
    /// `by`/`on` when true, `without`/`ignoring` otherwise.
    pub include: bool,
    /// As written; when excluding, with `__name__`.
    pub labels: Vec<String>,
}

impl Grouping {
    /// The names, for [`Grouping::key`].
    pub fn names(&self) -> Vec<&str> {
        self.labels.iter().map(String::as_str).collect()
    }

    /// What remains of a row's labels, which are not looked at where nothing can remain; `names` are those of
    /// [`Grouping::names`].
    pub fn kept<'p>(
        &self,
        labels: RowLabels<'p>,
        names: &'p [&'p str],
    ) -> impl Iterator<Item = (&'p str, &'p str)> + Clone + use<'p> {
        let include = self.include;
        let asked = !(include && names.is_empty());
        let pairs = asked.then(|| labels.iter()).into_iter().flatten();
        pairs.filter(move |(name, _)| names.contains(name) == include)
    }

    /// The same as a label set.
    pub fn key(&self, labels: RowLabels<'_>, names: &[&str]) -> Labels {
        collect(self.kept(labels, names))
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

#[derive(Debug)]
pub(crate) struct VectorBinary {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub matching: Grouping,
    pub cardinality: Cardinality,
    /// Labels that the "one" side gives to the result.
    pub include: Vec<String>,
    pub left: Box<Vector>,
    pub right: Box<Vector>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetOp {
    And,
    Or,
    Unless,
}

#[derive(Debug)]
pub(crate) struct SetBinary {
    pub op: SetOp,
    pub matching: Grouping,
    pub left: Box<Vector>,
    pub right: Box<Vector>,
}

#[derive(Debug)]
pub(crate) struct Aggregate {
    pub function: AggregateFunction,
    pub grouping: Grouping,
    pub input: Box<Vector>,
}

#[derive(Debug)]
pub(crate) enum AggregateFunction {
    Fold(FoldFunction),
    /// `topk`, and `bottomk` where `largest` is false.
    Top {
        largest: bool,
        k: Scalar,
    },
    Quantile(Scalar),
    CountValues(String),
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

impl Vector {
    /// Whether rows come in order of their labels: those of a store do, and some nodes change neither.
    pub fn is_in_label_order(&self) -> bool {
        match self {
            Self::Select(_) => true,
            Self::Range(call) => call.function.keeps_name() && matches!(call.source, RangeSource::Select { .. }),
            Self::WithScalar(binary) => {
                binary.op.is_comparison() && !binary.return_bool && binary.input.is_in_label_order()
            }
            Self::Set(set) => set.op != SetOp::Or && set.left.is_in_label_order(),
            _ => false,
        }
    }

    /// Whether an instant answer comes in an order of its own.
    pub fn is_ordered(&self) -> bool {
        match self {
            Self::Sort { .. } => true,
            Self::Aggregate(aggregate) => matches!(aggregate.function, AggregateFunction::Top { .. }),
            Self::Map(call) => call.input.is_ordered(),
            Self::WithScalar(binary) => binary.input.is_ordered(),
            Self::Relabel { input, .. } | Self::Distinct { input, .. } => input.is_ordered(),
            _ => false,
        }
    }
}
