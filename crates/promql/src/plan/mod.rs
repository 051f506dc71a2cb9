//! What a query does, in a form made for evaluation: types are checked, functions resolved, regular expressions
//! compiled, and the places marked where two series may end up with the same labels.

mod build;
mod durations;
mod functions;
mod grouping;
mod operations;
mod share;

use std::fmt;

use model::{Labels, Matcher};

pub(crate) use build::build;
pub(crate) use durations::{Spans, are_fixed, fix};
pub(crate) use grouping::Grouping;
pub(crate) use operations::{
    BinaryOp, Cardinality, Extension, FoldFunction, HistogramFunction, MapFunction, QueryTime, RangeFunction, Relabel,
    SetOp, SortOrder,
};
pub(crate) use share::{Shared, share};

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
    /// `start()` and its kin.
    OfQuery(QueryTime),
    /// `min_of`, and `max_of` where `largest`.
    Extreme {
        largest: bool,
        left: Box<Scalar>,
        right: Box<Scalar>,
    },
    /// `scalar(v)`
    OfVector(Box<Vector>),
    Negate(Box<Scalar>),
    Binary(BinaryOp, Box<Scalar>, Box<Scalar>),
    /// One that stands in the plan more than once.
    Shared(Shared<Scalar>),
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
    Histogram(HistogramCall),
    /// A function of native histograms alone: of the values here it leaves none.
    NativeOnly {
        input: Box<Vector>,
    },
    Info(InfoCall),
    Sort {
        order: SortOrder,
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
    /// One that stands in the plan more than once.
    Shared(Shared<Vector>),
}

/// Where in the text of the query something begins, in bytes: for remarks. Two parts of a plan that differ in nothing
/// else do the same, so it does not show in their texts, by which common parts are found.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place(pub u32);

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

/// A scalar that remarks may be about.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub value: Scalar,
    pub place: Place,
}

/// A series selector with its shift in time.
#[derive(Debug)]
pub(crate) struct Selector {
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
    pub extension: Option<Extension>,
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
    /// The first argument.
    pub place: Place,
}

/// A function of classic histograms.
#[derive(Debug)]
pub(crate) struct HistogramCall {
    pub function: HistogramFunction,
    /// One quantile, several, or both ends of a range.
    pub params: Vec<Parameter>,
    pub input: Box<Vector>,
    /// What remarks on buckets are about, and those on counts that had to be repaired.
    pub buckets: Place,
    pub repairs: Place,
}

/// `info`: labels that other series, joined by `instance` and `job`, have to say about the input's.
#[derive(Debug)]
pub(crate) struct InfoCall {
    pub input: Box<Vector>,
    /// Which metrics hold such labels; without any, none of the input's series is taken for one of them.
    pub names: Vec<Matcher>,
    /// Which labels are wanted, and with what values; all where there is none.
    pub labels: Vec<Matcher>,
}

/// A function of each value on its own; drops the metric name.
#[derive(Debug)]
pub(crate) struct MapCall {
    pub function: MapFunction,
    pub params: Vec<Scalar>,
    pub input: Box<Vector>,
}

#[derive(Debug)]
pub(crate) struct WithScalar {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub scalar_left: bool,
    pub scalar: Scalar,
    pub input: Box<Vector>,
}

#[derive(Debug)]
pub(crate) struct VectorBinary {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub matching: Grouping,
    pub cardinality: Cardinality,
    /// Labels that the "one" side gives to the result.
    pub include: Vec<String>,
    /// Whether rows of the "many" side may differ in a name that the result has not.
    pub loses_names: bool,
    /// What stands for a missing partner on the left, and on the right.
    pub fill_left: Option<f64>,
    pub fill_right: Option<f64>,
    pub left: Box<Vector>,
    pub right: Box<Vector>,
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
        k: Parameter,
    },
    /// `limitk`
    Limit(Parameter),
    LimitRatio(Parameter),
    Quantile(Parameter),
    CountValues(String),
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
            Self::Aggregate(aggregate) => {
                let passes =
                    matches!(aggregate.function, AggregateFunction::Limit(_) | AggregateFunction::LimitRatio(_));
                passes && aggregate.input.is_in_label_order()
            }
            Self::Shared(shared) => shared.input.is_in_label_order(),
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
            Self::Shared(shared) => shared.input.is_ordered(),
            Self::Relabel { input, .. } | Self::Distinct { input, .. } => input.is_ordered(),
            _ => false,
        }
    }
}
