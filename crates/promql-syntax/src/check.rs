//! Types: what may stand where. Runs over what the parser has read, children before their parents, as Prometheus does, so
//! that the same mistake is the first.

use crate::ast::{Aggregation, Binary, Call, Cardinality, Expr, VectorSelector};
use crate::error::Fault;
use crate::ops::{BinaryOp, ValueType};
use crate::quote::quote;

/// Checks an expression, and settles what its types decide: operators have a [`crate::Matching`] between instant vectors
/// only, and set operators match many to many.
pub(crate) fn check(expr: &mut Expr) -> Result<(), Fault> {
    let span = expr.span();
    match expr {
        Expr::Number(_) | Expr::String(_) => Ok(()),
        Expr::Vector(selector) => check_selector(selector),
        Expr::Matrix(matrix) => check_selector(&matrix.selector),
        Expr::Paren(paren) => check(&mut paren.expr),
        Expr::Unary(unary) => {
            check(&mut unary.expr)?;
            match unary.expr.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(()),
                other => {
                    let allowed = "unary expression only allowed on expressions of type scalar or instant vector";
                    Err(Fault::new(span, format!("{allowed}, got {}", quote(other.documented()))))
                }
            }
        }
        Expr::Subquery(subquery) => {
            check(&mut subquery.expr)?;
            match subquery.expr.value_type() {
                ValueType::Vector => Ok(()),
                other => {
                    Err(Fault::new(span, format!("subquery is only allowed on instant vector, got {other} instead")))
                }
            }
        }
        Expr::Aggregation(aggregation) => check_aggregation(aggregation),
        Expr::Binary(binary) => check_binary(binary),
        Expr::Call(call) => check_call(call),
    }
}

/// Checks an expression and that it has a type; `context` says where it stands.
fn expect(expr: &mut Expr, wanted: ValueType, context: &str) -> Result<(), Fault> {
    check(expr)?;
    let got = expr.value_type();
    if got == wanted {
        return Ok(());
    }
    let message = format!("expected type {} in {context}, got {}", wanted.documented(), got.documented());
    Err(Fault::new(expr.span(), message))
}

fn check_selector(selector: &VectorSelector) -> Result<(), Fault> {
    let fault = |message: String| Err(Fault::new(selector.span, message));
    if let (Some(name), Some((_, others))) = (&selector.name, selector.matchers.split_last()) {
        return match others.iter().find(|matcher| matcher.name() == model::METRIC_NAME) {
            None => Ok(()),
            Some(other) => {
                fault(format!("metric name must not be set twice: {} or {}", quote(name), quote(other.value())))
            }
        };
    }
    match selector.matchers.iter().all(model::Matcher::matches_empty) {
        true => fault("vector selector must contain at least one non-empty matcher".to_owned()),
        false => Ok(()),
    }
}

fn check_aggregation(aggregation: &mut Aggregation) -> Result<(), Fault> {
    expect(&mut aggregation.expr, ValueType::Vector, "aggregation expression")?;
    match (&mut aggregation.param, aggregation.op.parameter()) {
        (Some(param), Some(wanted)) => expect(param, wanted, "aggregation parameter"),
        _ => Ok(()),
    }
}

fn check_binary(binary: &mut Binary) -> Result<(), Fault> {
    check(&mut binary.lhs)?;
    check(&mut binary.rhs)?;
    let (op, left, right) = (binary.op, binary.lhs.value_type(), binary.rhs.value_type());
    let at_op = |message: String| Err(Fault::new(binary.op_span, message));
    if binary.return_bool && !op.is_comparison() {
        return at_op("bool modifier can only be used on comparison operators".to_owned());
    }
    if op.is_comparison() && !binary.return_bool && (left, right) == (ValueType::Scalar, ValueType::Scalar) {
        return at_op("comparisons between scalars must use BOOL modifier".to_owned());
    }
    if let Some(matching) = &binary.matching
        && matching.on
        && let Some(label) = matching.labels.iter().find(|label| matching.include.contains(label))
    {
        return at_op(format!("label {} must not occur in ON and GROUP clause at once", quote(label)));
    }
    for operand in [&binary.lhs, &binary.rhs] {
        if !matches!(operand.value_type(), ValueType::Scalar | ValueType::Vector) {
            let message = "binary expression must contain only scalar and instant vector types";
            return Err(Fault::new(operand.span(), message));
        }
    }
    if (left, right) == (ValueType::Vector, ValueType::Vector) {
        return check_vectors(binary);
    }
    let matching = binary.matching.take();
    let fault = |message: String| Err(Fault::new(binary.span, message));
    if matching.as_ref().is_some_and(|matching| !matching.labels.is_empty()) {
        return fault("vector matching only allowed between instant vectors".to_owned());
    }
    if matching.is_some_and(|matching| matching.fills()) {
        return fault("filling in missing series only allowed between instant vectors".to_owned());
    }
    if op.is_set() {
        return fault(format!("set operator {} not allowed in binary scalar expression", quote(op.as_str())));
    }
    Ok(())
}

/// Set operators between two instant vectors have no modifiers but `on` and `ignoring`.
fn check_vectors(binary: &mut Binary) -> Result<(), Fault> {
    let (op, span): (BinaryOp, _) = (binary.op, binary.span);
    let Some(matching) = binary.matching.as_mut().filter(|_| op.is_set()) else { return Ok(()) };
    if matching.card != Cardinality::OneToOne {
        return Err(Fault::new(span, format!("no grouping allowed for {} operation", quote(op.as_str()))));
    }
    if matching.fills() {
        return Err(Fault::new(span, "filling in missing series not allowed for set operators"));
    }
    matching.card = Cardinality::ManyToMany;
    Ok(())
}

fn check_call(call: &mut Call) -> Result<(), Fault> {
    let (function, got) = (call.function, call.args.len());
    let fault = |message: String| Err(Fault::new(call.span, message));
    let (least, most) = (function.min_args(), function.max_args());
    let wrong = match most {
        Some(most) if least == most && got != most => Some(format!("{most}")),
        _ if got < least => Some(format!("at least {least}")),
        Some(most) if got > most => Some(format!("at most {most}")),
        _ => None,
    };
    if let Some(wanted) = wrong {
        return fault(format!("expected {wanted} argument(s) in call to {}, got {got}", quote(function.name)));
    }
    let only_labels = function.name == "info";
    for (index, arg) in call.args.iter_mut().enumerate() {
        let Some(wanted) = function.arg_type(index) else { continue };
        match arg {
            Expr::Vector(selector) if only_labels && index == 1 => {
                if selector.name.is_some() {
                    let message = "expected label selectors only, got vector selector instead";
                    return Err(Fault::new(selector.span, message));
                }
            }
            _ => expect(arg, wanted, &format!("call to function {}", quote(function.name)))?,
        }
        if only_labels && index == 1 && !matches!(arg, Expr::Vector(_)) {
            return Err(Fault::new(arg.span(), "expected label selectors only"));
        }
    }
    Ok(())
}
