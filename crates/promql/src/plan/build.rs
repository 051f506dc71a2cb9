//! Turns a syntax tree into a plan.

use model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};
use promql_parser::parser::token::{
    T_ADD, T_ATAN2, T_AVG, T_BOTTOMK, T_COUNT, T_COUNT_VALUES, T_DIV, T_EQLC, T_GROUP, T_GTE, T_GTR, T_LAND, T_LOR,
    T_LSS, T_LTE, T_LUNLESS, T_MAX, T_MIN, T_MOD, T_MUL, T_NEQ, T_POW, T_QUANTILE, T_STDDEV, T_STDVAR, T_SUB, T_SUM,
    T_TOPK, TokenType,
};
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinModifier, BinaryExpr, Expr, LabelModifier, Offset, SubqueryExpr,
    VectorMatchCardinality, VectorSelector,
};

use super::{
    Aggregate, AggregateFunction, At, BinaryOp, Cardinality, FoldFunction, Grouping, MapCall, MapFunction, Plan,
    RangeSource, Scalar, Selector, SetBinary, SetOp, Shift, Vector, VectorBinary, WithScalar, functions,
};
use crate::syntax::{epoch_ms, matchers, value_type};
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

/// Plans a whole query.
pub(crate) fn build(expr: &Expr) -> Result<Plan, PromqlError> {
    match value_type(expr) {
        ValueType::Scalar => scalar(expr).map(Plan::Scalar),
        ValueType::String => string(expr).map(Plan::String),
        ValueType::Vector => vector(expr).map(|(vector, _)| Plan::Vector(vector)),
        ValueType::Matrix => range_source(expr).map(|(source, _)| Plan::Matrix(source)),
    }
}

fn wrong_type(expected: ValueType, expr: &Expr) -> PromqlError {
    let (expected, got) = (expected.documented(), value_type(expr).documented());
    PromqlError::parse(format!("expected type {expected}, got {got}"))
}

/// Strips parentheses.
pub(super) fn inner(mut expr: &Expr) -> &Expr {
    while let Expr::Paren(paren) = expr {
        expr = &paren.expr;
    }
    expr
}

pub(super) fn string(expr: &Expr) -> Result<String, PromqlError> {
    match inner(expr) {
        Expr::StringLiteral(literal) => Ok(literal.val.clone()),
        _ => Err(wrong_type(ValueType::String, expr)),
    }
}

pub(super) fn scalar(expr: &Expr) -> Result<Scalar, PromqlError> {
    match inner(expr) {
        expr if value_type(expr) != ValueType::Scalar => Err(wrong_type(ValueType::Scalar, expr)),
        Expr::NumberLiteral(number) => Ok(Scalar::Literal(number.val)),
        Expr::Unary(unary) => Ok(Scalar::Negate(Box::new(scalar(&unary.expr)?))),
        Expr::Binary(binary) => {
            let op = binary_op(&binary.op)?;
            Ok(Scalar::Binary(op, Box::new(scalar(&binary.lhs)?), Box::new(scalar(&binary.rhs)?)))
        }
        Expr::Call(call) => functions::scalar_call(call),
        _ => Err(wrong_type(ValueType::Scalar, expr)),
    }
}

pub(super) fn vector(expr: &Expr) -> Result<Named, PromqlError> {
    match inner(expr) {
        expr if value_type(expr) != ValueType::Vector => Err(wrong_type(ValueType::Vector, expr)),
        Expr::VectorSelector(parsed) => {
            let selector = selector(parsed)?;
            let names = selector_names(&selector.matchers);
            Ok((Vector::Select(selector), names))
        }
        Expr::Unary(unary) => {
            let (input, names) = vector(&unary.expr)?;
            let call = MapCall { function: MapFunction::Negate, params: Vec::new(), input: Box::new(input) };
            Ok(drop_name(Vector::Map(call), names))
        }
        Expr::Aggregate(parsed) => aggregate(parsed),
        Expr::Binary(binary) => vector_binary(binary),
        Expr::Call(call) => functions::vector_call(call),
        _ => Err(wrong_type(ValueType::Vector, expr)),
    }
}

pub(super) fn range_source(expr: &Expr) -> Result<(RangeSource, Names), PromqlError> {
    match inner(expr) {
        Expr::MatrixSelector(matrix) => {
            let (range_ms, selector) = (positive_ms(matrix.range)?, selector(&matrix.vs)?);
            let names = selector_names(&selector.matchers);
            Ok((RangeSource::Select { selector, range_ms }, names))
        }
        Expr::Subquery(parsed) => subquery(parsed),
        _ => Err(wrong_type(ValueType::Matrix, expr)),
    }
}

fn subquery(parsed: &SubqueryExpr) -> Result<(RangeSource, Names), PromqlError> {
    let (input, names) = vector(&parsed.expr)?;
    let source = RangeSource::Subquery {
        input: Box::new(input),
        range_ms: positive_ms(parsed.range)?,
        step_ms: parsed.step.map_or(Ok(DEFAULT_SUBQUERY_STEP_MS), positive_ms)?,
        shift: shift(parsed.offset.as_ref(), parsed.at.as_ref())?,
    };
    Ok((source, names))
}

fn positive_ms(duration: std::time::Duration) -> Result<i64, PromqlError> {
    match i64::try_from(duration.as_millis()) {
        Ok(0) => Err(PromqlError::parse("duration must be greater than 0")),
        Ok(ms) => Ok(ms),
        Err(_) => Err(PromqlError::parse("duration out of range")),
    }
}

fn selector(parsed: &VectorSelector) -> Result<Selector, PromqlError> {
    Ok(Selector {
        matchers: matchers(parsed.name.as_deref(), &parsed.matchers)?,
        shift: shift(parsed.offset.as_ref(), parsed.at.as_ref())?,
    })
}

fn shift(offset: Option<&Offset>, at: Option<&AtModifier>) -> Result<Shift, PromqlError> {
    let ms =
        |d: &std::time::Duration| i64::try_from(d.as_millis()).map_err(|_| PromqlError::parse("duration out of range"));
    let offset_ms = match offset {
        None => 0,
        Some(Offset::Pos(by)) => ms(by)?,
        Some(Offset::Neg(by)) => -ms(by)?,
    };
    let at = at.map(|at| match at {
        AtModifier::Start => At::Start,
        AtModifier::End => At::End,
        AtModifier::At(time) => At::Time(epoch_ms(*time)),
    });
    Ok(Shift { offset_ms, at })
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
pub(super) fn absent_labels(expr: &Expr) -> Result<Labels, PromqlError> {
    let parsed = match inner(expr) {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(matrix) => &matrix.vs,
        _ => return Ok(Labels::empty()),
    };
    let (mut labels, mut seen) = (LabelsBuilder::new(), Vec::new());
    for matcher in matchers(parsed.name.as_deref(), &parsed.matchers)? {
        if matcher.name() == METRIC_NAME {
            continue;
        }
        if matcher.op() == MatchOp::Equal && !seen.iter().any(|name| name == matcher.name()) {
            labels.set(matcher.name(), matcher.value());
            seen.push(matcher.name().to_owned());
        } else {
            labels.remove(matcher.name());
        }
    }
    Ok(labels.build())
}

fn grouping(modifier: Option<&LabelModifier>) -> Grouping {
    match modifier {
        None => Grouping { include: true, labels: Vec::new() },
        Some(LabelModifier::Include(by)) => Grouping { include: true, labels: by.labels.clone() },
        Some(LabelModifier::Exclude(without)) => excluding(&without.labels),
    }
}

fn excluding(labels: &[String]) -> Grouping {
    let mut labels = labels.to_vec();
    labels.push(METRIC_NAME.to_owned());
    Grouping { include: false, labels }
}

fn aggregate(parsed: &AggregateExpr) -> Result<Named, PromqlError> {
    let (input, names) = vector(&parsed.expr)?;
    let param = || parsed.param.as_deref().ok_or_else(|| PromqlError::parse("missing parameter of the aggregation"));
    let function = match parsed.op.id() {
        T_SUM => AggregateFunction::Fold(FoldFunction::Sum),
        T_AVG => AggregateFunction::Fold(FoldFunction::Avg),
        T_MIN => AggregateFunction::Fold(FoldFunction::Min),
        T_MAX => AggregateFunction::Fold(FoldFunction::Max),
        T_COUNT => AggregateFunction::Fold(FoldFunction::Count),
        T_GROUP => AggregateFunction::Fold(FoldFunction::Group),
        T_STDDEV => AggregateFunction::Fold(FoldFunction::Stddev),
        T_STDVAR => AggregateFunction::Fold(FoldFunction::Stdvar),
        T_TOPK => AggregateFunction::Top { largest: true, k: scalar(param()?)? },
        T_BOTTOMK => AggregateFunction::Top { largest: false, k: scalar(param()?)? },
        T_QUANTILE => AggregateFunction::Quantile(scalar(param()?)?),
        T_COUNT_VALUES => AggregateFunction::CountValues(count_values_label(string(param()?)?)?),
        _ => return Err(PromqlError::unsupported(format!("aggregation {:?}", parsed.op.to_string()))),
    };
    let grouping = grouping(parsed.modifier.as_ref());
    let names = match &function {
        AggregateFunction::Top { .. } => names,
        AggregateFunction::CountValues(label) if label == METRIC_NAME => Names::Mixed,
        _ if grouping.include && grouping.labels.iter().any(|l| l == METRIC_NAME) => names,
        _ => Names::None,
    };
    Ok((Vector::Aggregate(Aggregate { function, grouping, input: Box::new(input) }), names))
}

fn count_values_label(label: String) -> Result<String, PromqlError> {
    if label.is_empty() { Err(PromqlError::parse(format!("invalid label name {label:?}"))) } else { Ok(label) }
}

fn binary_op(op: &TokenType) -> Result<BinaryOp, PromqlError> {
    Ok(match op.id() {
        T_ADD => BinaryOp::Add,
        T_SUB => BinaryOp::Sub,
        T_MUL => BinaryOp::Mul,
        T_DIV => BinaryOp::Div,
        T_MOD => BinaryOp::Mod,
        T_POW => BinaryOp::Pow,
        T_ATAN2 => BinaryOp::Atan2,
        T_EQLC => BinaryOp::Equal,
        T_NEQ => BinaryOp::NotEqual,
        T_LSS => BinaryOp::Less,
        T_LTE => BinaryOp::LessEqual,
        T_GTR => BinaryOp::Greater,
        T_GTE => BinaryOp::GreaterEqual,
        _ => return Err(PromqlError::unsupported(format!("operator {:?}", op.to_string()))),
    })
}

fn vector_binary(binary: &BinaryExpr) -> Result<Named, PromqlError> {
    let default = BinModifier::default();
    let modifier = binary.modifier.as_ref().unwrap_or(&default);
    if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
        return Err(PromqlError::unsupported("modifier \"fill\""));
    }
    let matching = match &modifier.matching {
        Some(LabelModifier::Include(on)) => Grouping { include: true, labels: on.labels.clone() },
        Some(LabelModifier::Exclude(ignoring)) => excluding(&ignoring.labels),
        None => excluding(&[]),
    };
    if let Some(op) = set_op(binary.op.id()) {
        return set_binary(op, matching, binary);
    }
    let op = binary_op(&binary.op)?;
    let return_bool = modifier.return_bool;
    let keeps_name = op.is_comparison() && !return_bool;
    let sides = (value_type(&binary.lhs), value_type(&binary.rhs));
    if let (ValueType::Scalar, _) | (_, ValueType::Scalar) = sides {
        let scalar_left = sides.0 == ValueType::Scalar;
        let (number, series) = if scalar_left { (&binary.lhs, &binary.rhs) } else { (&binary.rhs, &binary.lhs) };
        let (input, names) = vector(series)?;
        let scalar = scalar(number)?;
        let node = Vector::WithScalar(WithScalar { op, return_bool, scalar_left, scalar, input: Box::new(input) });
        return Ok(if keeps_name { (node, names) } else { drop_name(node, names) });
    }
    let (cardinality, include) = match &modifier.card {
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => (Cardinality::OneToOne, Vec::new()),
        VectorMatchCardinality::ManyToOne(include) => (Cardinality::ManyToOne, include.labels.clone()),
        VectorMatchCardinality::OneToMany(include) => (Cardinality::OneToMany, include.labels.clone()),
    };
    let ((left, left_names), (right, right_names)) = (vector(&binary.lhs)?, vector(&binary.rhs)?);
    let names = match cardinality {
        _ if include.iter().any(|l| l == METRIC_NAME) => Names::Mixed,
        _ if !keeps_name => Names::None,
        Cardinality::OneToMany => right_names,
        Cardinality::OneToOne | Cardinality::ManyToOne => left_names,
    };
    let (left, right) = (Box::new(left), Box::new(right));
    Ok((Vector::Binary(VectorBinary { op, return_bool, matching, cardinality, include, left, right }), names))
}

fn set_op(id: u16) -> Option<SetOp> {
    match id {
        T_LAND => Some(SetOp::And),
        T_LOR => Some(SetOp::Or),
        T_LUNLESS => Some(SetOp::Unless),
        _ => None,
    }
}

fn set_binary(op: SetOp, matching: Grouping, binary: &BinaryExpr) -> Result<Named, PromqlError> {
    let ((left, left_names), (right, right_names)) = (vector(&binary.lhs)?, vector(&binary.rhs)?);
    let names = match op {
        SetOp::And | SetOp::Unless => left_names,
        SetOp::Or if left_names == Names::None && right_names == Names::None => Names::None,
        SetOp::Or => Names::Mixed,
    };
    Ok((Vector::Set(SetBinary { op, matching, left: Box::new(left), right: Box::new(right) }), names))
}
