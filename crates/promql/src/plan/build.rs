//! Turns a syntax tree into a plan.

use model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};
use promql_syntax::{
    AggregateOp, Aggregation, Binary, BinaryOp as Op, Expr, Matching, Stretch, Subquery, VectorSelector, quote,
};

use super::{
    Aggregate, AggregateFunction, At, BinaryOp, Cardinality, Extension, FoldFunction, Grouping, MapCall, MapFunction,
    Parameter, Place, Plan, RangeSource, Scalar, Selector, SetBinary, SetOp, Shift, Vector, VectorBinary, WithScalar,
    functions,
};
use crate::{PromqlError, ValueType};

/// The resolution of a subquery that names none: Prometheus' default evaluation interval.
pub(crate) const DEFAULT_SUBQUERY_STEP_MS: i64 = 60_000;

/// What metric names the rows of a vector have, which tells whether dropping the name can make two rows equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    None,
    One,
    Mixed,
}

pub(super) type Named = (Vector, Names);

/// Plans a whole query, all of whose durations are written out.
pub(crate) fn build(expr: &Expr) -> Result<Plan, PromqlError> {
    match expr.value_type() {
        ValueType::Scalar => scalar(expr).map(Plan::Scalar),
        ValueType::String => string(expr).map(Plan::String),
        ValueType::Vector => vector(expr).map(|(vector, _)| Plan::Vector(vector)),
        ValueType::Matrix => range_source(expr).map(|(source, _)| Plan::Matrix(source)),
    }
}

/// The parser checks types; this is what would come of one that it did not.
fn wrong_type(expected: ValueType, expr: &Expr) -> PromqlError {
    let (expected, got) = (expected.documented(), expr.value_type().documented());
    PromqlError::execution(format!("expected type {expected}, got {got}"))
}

/// Where an expression begins.
pub(super) fn place(expr: &Expr) -> Place {
    Place(expr.span().start)
}

pub(super) fn parameter(expr: &Expr) -> Result<Parameter, PromqlError> {
    // Parentheses around a parameter are none of it.
    let expr = expr.unparenthesized();
    Ok(Parameter { value: scalar(expr)?, place: place(expr) })
}

pub(super) fn string(expr: &Expr) -> Result<String, PromqlError> {
    match expr.unparenthesized() {
        Expr::String(literal) => Ok(literal.value.clone()),
        _ => Err(wrong_type(ValueType::String, expr)),
    }
}

pub(super) fn scalar(expr: &Expr) -> Result<Scalar, PromqlError> {
    match expr.unparenthesized() {
        Expr::Number(number) => Ok(Scalar::Literal(number.value)),
        Expr::Unary(unary) if unary.negative => Ok(Scalar::Negate(Box::new(scalar(&unary.expr)?))),
        Expr::Unary(unary) => scalar(&unary.expr),
        Expr::Binary(binary) => {
            let op = binary_op(binary.op).ok_or_else(|| wrong_type(ValueType::Scalar, expr))?;
            Ok(Scalar::Binary(op, Box::new(scalar(&binary.lhs)?), Box::new(scalar(&binary.rhs)?)))
        }
        Expr::Call(call) => functions::scalar_call(call),
        _ => Err(wrong_type(ValueType::Scalar, expr)),
    }
}

pub(super) fn vector(expr: &Expr) -> Result<Named, PromqlError> {
    match expr.unparenthesized() {
        Expr::Vector(parsed) => {
            let mut selector = selector(parsed)?;
            // An instant has no edges to anchor.
            selector.extension = selector.extension.filter(|extension| *extension == Extension::Smoothed);
            let names = selector_names(&selector.matchers);
            Ok((Vector::Select(selector), names))
        }
        Expr::Unary(unary) if unary.negative => {
            let (input, names) = vector(&unary.expr)?;
            let call = MapCall { function: MapFunction::Negate, params: Vec::new(), input: Box::new(input) };
            Ok(drop_name(Vector::Map(call), names))
        }
        Expr::Unary(unary) => vector(&unary.expr),
        Expr::Aggregation(parsed) => aggregation(parsed),
        Expr::Binary(binary) => vector_binary(binary),
        Expr::Call(call) => functions::vector_call(call),
        _ => Err(wrong_type(ValueType::Vector, expr)),
    }
}

pub(super) fn range_source(expr: &Expr) -> Result<(RangeSource, Names), PromqlError> {
    match expr.unparenthesized() {
        Expr::Matrix(matrix) => {
            let (range_ms, selector) = (fixed(&matrix.range)?, selector(&matrix.selector)?);
            let names = selector_names(&selector.matchers);
            Ok((RangeSource::Select { selector, range_ms }, names))
        }
        Expr::Subquery(parsed) => subquery(parsed),
        _ => Err(wrong_type(ValueType::Matrix, expr)),
    }
}

fn subquery(parsed: &Subquery) -> Result<(RangeSource, Names), PromqlError> {
    let (input, names) = vector(&parsed.expr)?;
    let source = RangeSource::Subquery {
        input: Box::new(input),
        range_ms: fixed(&parsed.range)?,
        step_ms: parsed.step.as_ref().map_or(Ok(DEFAULT_SUBQUERY_STEP_MS), fixed)?,
        shift: Shift { offset_ms: fixed(&parsed.offset)?, at: at(parsed.at) },
    };
    Ok((source, names))
}

fn fixed(stretch: &Stretch) -> Result<i64, PromqlError> {
    stretch.fixed_ms().ok_or_else(|| PromqlError::BadData("a duration was not computed".to_owned()))
}

fn at(parsed: Option<promql_syntax::At>) -> Option<At> {
    parsed.map(|at| match at {
        promql_syntax::At::Start => At::Start,
        promql_syntax::At::End => At::End,
        promql_syntax::At::Time(ms) => At::Time(ms),
    })
}

fn selector(parsed: &VectorSelector) -> Result<Selector, PromqlError> {
    let extension = parsed.extension.map(|extension| match extension {
        promql_syntax::Extension::Anchored => Extension::Anchored,
        promql_syntax::Extension::Smoothed => Extension::Smoothed,
    });
    let shift = Shift { offset_ms: fixed(&parsed.offset)?, at: at(parsed.at) };
    Ok(Selector { matchers: parsed.matchers.clone(), shift, extension })
}

fn selector_names(matchers: &[Matcher]) -> Names {
    match matchers.iter().find(|m| m.name() == METRIC_NAME && m.op() == MatchOp::Equal) {
        Some(matcher) if matcher.value().is_empty() => Names::None,
        Some(_) => Names::One,
        None => Names::Mixed,
    }
}

/// For a node that drops the metric name from rows with such names.
pub(super) fn drop_name(vector: Vector, names: Names) -> Named {
    let vector = if names == Names::Mixed { distinct(vector, false) } else { vector };
    (vector, Names::None)
}

pub(super) fn distinct(input: Vector, strict: bool) -> Vector {
    Vector::Distinct { strict, input: Box::new(input) }
}

/// The labels that `absent` can tell of a series that is not there: those asked for by exactly one `=`.
pub(super) fn absent_labels(expr: &Expr) -> Labels {
    let parsed = match expr.unparenthesized() {
        Expr::Vector(selector) => selector,
        Expr::Matrix(matrix) => &matrix.selector,
        _ => return Labels::empty(),
    };
    let (mut labels, mut seen) = (LabelsBuilder::new(), Vec::new());
    for matcher in parsed.matchers.iter().filter(|m| m.name() != METRIC_NAME) {
        if matcher.op() == MatchOp::Equal && !seen.contains(&matcher.name()) {
            labels.set(matcher.name(), matcher.value());
            seen.push(matcher.name());
        } else {
            labels.remove(matcher.name());
        }
    }
    labels.build()
}

fn excluding(labels: &[String]) -> Grouping {
    let mut labels = labels.to_vec();
    labels.push(METRIC_NAME.to_owned());
    Grouping { include: false, labels }
}

fn aggregation(parsed: &Aggregation) -> Result<Named, PromqlError> {
    let (input, names) = vector(&parsed.expr)?;
    let missing = || PromqlError::execution("missing parameter of the aggregation");
    let param = || parsed.param.as_deref().ok_or_else(missing);
    let function = match parsed.op {
        AggregateOp::Sum => AggregateFunction::Fold(FoldFunction::Sum),
        AggregateOp::Avg => AggregateFunction::Fold(FoldFunction::Avg),
        AggregateOp::Min => AggregateFunction::Fold(FoldFunction::Min),
        AggregateOp::Max => AggregateFunction::Fold(FoldFunction::Max),
        AggregateOp::Count => AggregateFunction::Fold(FoldFunction::Count),
        AggregateOp::Group => AggregateFunction::Fold(FoldFunction::Group),
        AggregateOp::Stddev => AggregateFunction::Fold(FoldFunction::Stddev),
        AggregateOp::Stdvar => AggregateFunction::Fold(FoldFunction::Stdvar),
        AggregateOp::TopK => AggregateFunction::Top { largest: true, k: parameter(param()?)? },
        AggregateOp::BottomK => AggregateFunction::Top { largest: false, k: parameter(param()?)? },
        AggregateOp::LimitK => AggregateFunction::Limit(parameter(param()?)?),
        AggregateOp::LimitRatio => AggregateFunction::LimitRatio(parameter(param()?)?),
        AggregateOp::Quantile => AggregateFunction::Quantile(parameter(param()?)?),
        AggregateOp::CountValues => AggregateFunction::CountValues(count_values_label(string(param()?)?)?),
    };
    let grouping = match parsed.without {
        true => excluding(&parsed.grouping),
        false => Grouping { include: true, labels: parsed.grouping.clone() },
    };
    let names = match &function {
        AggregateFunction::Top { .. } | AggregateFunction::Limit(_) | AggregateFunction::LimitRatio(_) => names,
        AggregateFunction::CountValues(label) if label == METRIC_NAME => Names::Mixed,
        _ if grouping.include && grouping.labels.iter().any(|l| l == METRIC_NAME) => names,
        _ => Names::None,
    };
    Ok((Vector::Aggregate(Aggregate { function, grouping, input: Box::new(input) }), names))
}

fn count_values_label(label: String) -> Result<String, PromqlError> {
    if label.is_empty() {
        Err(PromqlError::execution(format!("invalid label name {}", quote(&label))))
    } else {
        Ok(label)
    }
}

fn binary_op(op: Op) -> Option<BinaryOp> {
    Some(match op {
        Op::Add => BinaryOp::Add,
        Op::Sub => BinaryOp::Sub,
        Op::Mul => BinaryOp::Mul,
        Op::Div => BinaryOp::Div,
        Op::Mod => BinaryOp::Mod,
        Op::Pow => BinaryOp::Pow,
        Op::Atan2 => BinaryOp::Atan2,
        Op::Equal => BinaryOp::Equal,
        Op::NotEqual => BinaryOp::NotEqual,
        Op::Less => BinaryOp::Less,
        Op::LessEqual => BinaryOp::LessEqual,
        Op::Greater => BinaryOp::Greater,
        Op::GreaterEqual => BinaryOp::GreaterEqual,
        Op::And | Op::Or | Op::Unless => return None,
    })
}

fn vector_binary(binary: &Binary) -> Result<Named, PromqlError> {
    let Some(op) = binary_op(binary.op) else { return set_binary(binary) };
    let sides = (binary.lhs.value_type(), binary.rhs.value_type());
    if let (ValueType::Scalar, _) | (_, ValueType::Scalar) = sides {
        return with_scalar(op, binary, sides.0 == ValueType::Scalar);
    }
    let matching = matching(binary.matching.as_deref());
    let parsed = binary.matching.as_deref();
    let (cardinality, include) = match parsed.map(|m| (m.card, m.include.clone())) {
        Some((promql_syntax::Cardinality::ManyToOne, include)) => (Cardinality::ManyToOne, include),
        Some((promql_syntax::Cardinality::OneToMany, include)) => (Cardinality::OneToMany, include),
        _ => (Cardinality::OneToOne, Vec::new()),
    };
    let (fill_left, fill_right) = parsed.map_or((None, None), |m| (m.fill_left, m.fill_right));
    let ((left, left_names), (right, right_names)) = (vector(&binary.lhs)?, vector(&binary.rhs)?);
    let return_bool = binary.return_bool;
    let many_names = if cardinality == Cardinality::OneToMany { right_names } else { left_names };
    let loses_names = many_names == Names::Mixed && (!op.is_comparison() || return_bool);
    let names = if include.iter().any(|l| l == METRIC_NAME) {
        Names::Mixed
    } else if !op.is_comparison() || return_bool {
        Names::None
    } else if fill_left.is_some() || fill_right.is_some() {
        // What stands in for a series has no name.
        Names::Mixed
    } else {
        many_names
    };
    let (left, right) = (Box::new(left), Box::new(right));
    let node = VectorBinary {
        op,
        return_bool,
        matching,
        cardinality,
        include,
        loses_names,
        fill_left,
        fill_right,
        left,
        right,
    };
    Ok((Vector::Binary(node), names))
}

fn matching(parsed: Option<&Matching>) -> Grouping {
    match parsed {
        Some(matching) if matching.on => Grouping { include: true, labels: matching.labels.clone() },
        Some(matching) => excluding(&matching.labels),
        None => excluding(&[]),
    }
}

fn with_scalar(op: BinaryOp, binary: &Binary, scalar_left: bool) -> Result<Named, PromqlError> {
    let (number, series) = if scalar_left { (&binary.lhs, &binary.rhs) } else { (&binary.rhs, &binary.lhs) };
    let ((input, names), scalar) = (vector(series)?, scalar(number)?);
    let return_bool = binary.return_bool;
    let node = Vector::WithScalar(WithScalar { op, return_bool, scalar_left, scalar, input: Box::new(input) });
    let keeps_name = op.is_comparison() && !return_bool;
    Ok(if keeps_name { (node, names) } else { drop_name(node, names) })
}

fn set_binary(binary: &Binary) -> Result<Named, PromqlError> {
    let op = match binary.op {
        Op::And => SetOp::And,
        Op::Unless => SetOp::Unless,
        _ => SetOp::Or,
    };
    let ((left, left_names), (right, right_names)) = (vector(&binary.lhs)?, vector(&binary.rhs)?);
    let names = match op {
        SetOp::And | SetOp::Unless => left_names,
        SetOp::Or if left_names == Names::None && right_names == Names::None => Names::None,
        SetOp::Or => Names::Mixed,
    };
    let matching = matching(binary.matching.as_deref());
    Ok((Vector::Set(SetBinary { op, matching, left: Box::new(left), right: Box::new(right) }), names))
}
