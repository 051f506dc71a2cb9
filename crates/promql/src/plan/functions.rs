//! The functions of the language: which node each becomes, and which are not there.

use model::{Labels, METRIC_NAME};
use promql_parser::parser::{Call, Expr};
use regex::Regex;

use super::build::{Named, Names, absent_labels, distinct, drop_name, inner, range_source, scalar, string, vector};
use super::{MapCall, MapFunction, RangeCall, RangeFunction, Relabel, Scalar, Vector};
use crate::PromqlError;
use crate::eval::{date, math};

/// A call that answers a scalar.
pub(super) fn scalar_call(call: &Call) -> Result<Scalar, PromqlError> {
    match call.func.name {
        "time" => Ok(Scalar::Time),
        "pi" => Ok(Scalar::Literal(std::f64::consts::PI)),
        "scalar" => Ok(Scalar::OfVector(Box::new(vector(arg(call, 0)?)?.0))),
        name => Err(unknown(name)),
    }
}

/// A call that answers an instant vector.
pub(super) fn vector_call(call: &Call) -> Result<Named, PromqlError> {
    let name = call.func.name;
    if let Some(function) = range_function(name) {
        return range_call(function, call);
    }
    if let Some(function) = plain_function(name) {
        return map_call(MapFunction::Math(function), call, 0, &[]);
    }
    if let Some(function) = date_function(name) {
        if call.args.is_empty() {
            let now = Box::new(Vector::OfScalar(Scalar::Time));
            let node = MapCall { function: MapFunction::Math(function), params: Vec::new(), input: now };
            return Ok((Vector::Map(node), Names::None));
        }
        return map_call(MapFunction::Math(function), call, 0, &[]);
    }
    match name {
        "round" if call.args.len() == 1 => {
            let (input, names) = vector(arg(call, 0)?)?;
            let params = vec![Scalar::Literal(1.0)];
            let node = MapCall { function: MapFunction::Round, params, input: Box::new(input) };
            Ok(drop_name(Vector::Map(node), names))
        }
        "round" => map_call(MapFunction::Round, call, 0, &[1]),
        "clamp" => map_call(MapFunction::Clamp, call, 0, &[1, 2]),
        "clamp_min" => map_call(MapFunction::ClampMin, call, 0, &[1]),
        "clamp_max" => map_call(MapFunction::ClampMax, call, 0, &[1]),
        "timestamp" => timestamp(call),
        "vector" => Ok((Vector::OfScalar(scalar(arg(call, 0)?)?), Names::None)),
        "absent" => {
            let labels = absent_labels(arg(call, 0)?)?;
            Ok((Vector::Absent { input: Box::new(vector(arg(call, 0)?)?.0), labels }, Names::None))
        }
        "sort" | "sort_desc" => {
            let (input, names) = vector(arg(call, 0)?)?;
            Ok((Vector::Sort { descending: name == "sort_desc", input: Box::new(input) }, names))
        }
        "histogram_quantile" => {
            let quantile = scalar(arg(call, 0)?)?;
            let input = Box::new(vector(arg(call, 1)?)?.0);
            Ok((Vector::HistogramQuantile { quantile, input }, Names::None))
        }
        "label_replace" => label_replace(call),
        "label_join" => label_join(call),
        name => Err(unknown(name)),
    }
}

/// The parser knows every function of Prometheus; this engine does not.
fn unknown(name: &str) -> PromqlError {
    let kind = if name.starts_with("histogram_") { "native histogram function" } else { "function" };
    PromqlError::unsupported(format!("{kind} {name:?}"))
}

fn arg(call: &Call, index: usize) -> Result<&Expr, PromqlError> {
    let missing = || PromqlError::parse(format!("expected more arguments in call to {:?}", call.func.name));
    call.args.args.get(index).map(AsRef::as_ref).ok_or_else(missing)
}

fn map_call(function: MapFunction, call: &Call, input: usize, params: &[usize]) -> Result<Named, PromqlError> {
    let (input, names) = vector(arg(call, input)?)?;
    let params = params.iter().map(|i| scalar(arg(call, *i)?)).collect::<Result<_, _>>()?;
    Ok(drop_name(Vector::Map(MapCall { function, params, input: Box::new(input) }), names))
}

fn timestamp(call: &Call) -> Result<Named, PromqlError> {
    let (input, names) = vector(arg(call, 0)?)?;
    let node = match (inner(arg(call, 0)?), input) {
        (Expr::VectorSelector(_), Vector::Select(selector)) => Vector::Timestamps(selector),
        (_, input) => {
            let function = MapFunction::EvaluationTime;
            Vector::Map(MapCall { function, params: Vec::new(), input: Box::new(input) })
        }
    };
    Ok(drop_name(node, names))
}

fn range_call(function: RangeFunction, call: &Call) -> Result<Named, PromqlError> {
    let (source_at, params_at): (usize, &[usize]) = match function {
        RangeFunction::Quantile => (1, &[0]),
        RangeFunction::PredictLinear => (0, &[1]),
        RangeFunction::Smoothing => (0, &[1, 2]),
        _ => (0, &[]),
    };
    let (source, names) = range_source(arg(call, source_at)?)?;
    let params = params_at.iter().map(|i| scalar(arg(call, *i)?)).collect::<Result<_, _>>()?;
    let absent = function == RangeFunction::Absent;
    let absent_labels = if absent { absent_labels(arg(call, source_at)?)? } else { Labels::empty() };
    let node = Vector::Range(RangeCall { function, source, params, absent_labels });
    Ok(match names {
        _ if absent => (node, Names::None),
        names if function.keeps_name() => (node, names),
        Names::Mixed => (distinct(node, true), Names::None),
        _ => (node, Names::None),
    })
}

fn range_function(name: &str) -> Option<RangeFunction> {
    Some(match name {
        "rate" => RangeFunction::Rate,
        "increase" => RangeFunction::Increase,
        "delta" => RangeFunction::Delta,
        "irate" => RangeFunction::Irate,
        "idelta" => RangeFunction::Idelta,
        "changes" => RangeFunction::Changes,
        "resets" => RangeFunction::Resets,
        "deriv" => RangeFunction::Deriv,
        "predict_linear" => RangeFunction::PredictLinear,
        "double_exponential_smoothing" => RangeFunction::Smoothing,
        "sum_over_time" => RangeFunction::Sum,
        "avg_over_time" => RangeFunction::Avg,
        "min_over_time" => RangeFunction::Min,
        "max_over_time" => RangeFunction::Max,
        "count_over_time" => RangeFunction::Count,
        "first_over_time" => RangeFunction::First,
        "last_over_time" => RangeFunction::Last,
        "present_over_time" => RangeFunction::Present,
        "absent_over_time" => RangeFunction::Absent,
        "quantile_over_time" => RangeFunction::Quantile,
        "stddev_over_time" => RangeFunction::Stddev,
        "stdvar_over_time" => RangeFunction::Stdvar,
        "mad_over_time" => RangeFunction::Mad,
        "ts_of_first_over_time" => RangeFunction::TimeOfFirst,
        "ts_of_last_over_time" => RangeFunction::TimeOfLast,
        "ts_of_min_over_time" => RangeFunction::TimeOfMin,
        "ts_of_max_over_time" => RangeFunction::TimeOfMax,
        _ => return None,
    })
}

fn plain_function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "deg" => math::degrees,
        "rad" => math::radians,
        "sgn" => math::sign,
        _ => return None,
    })
}

fn date_function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => date::minute,
        "hour" => date::hour,
        "day_of_week" => date::day_of_week,
        "day_of_month" => date::day_of_month,
        "day_of_year" => date::day_of_year,
        "days_in_month" => date::days_in_month,
        "month" => date::month,
        "year" => date::year,
        _ => return None,
    })
}

fn relabelled(relabel: Relabel, destination: &str, (input, names): Named) -> Named {
    let names = if destination == METRIC_NAME { Names::Mixed } else { names };
    (distinct(Vector::Relabel { relabel, input: Box::new(input) }, true), names)
}

fn label_replace(call: &Call) -> Result<Named, PromqlError> {
    let destination = string(arg(call, 1)?)?;
    let pattern = string(arg(call, 4)?)?;
    if destination.is_empty() {
        return Err(PromqlError::execution(format!(
            "invalid destination label name in label_replace(): {destination}"
        )));
    }
    // Compiled alone first, so that a group of the pattern cannot escape the group that anchors it.
    let regex = Regex::new(&pattern).and_then(|_| Regex::new(&format!("^(?s:{pattern})$")));
    let regex = regex
        .map_err(|_| PromqlError::execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
    let replacement = string(arg(call, 2)?)?;
    let relabel =
        Relabel::Replace { destination: destination.clone(), replacement, source: string(arg(call, 3)?)?, regex };
    Ok(relabelled(relabel, &destination, vector(arg(call, 0)?)?))
}

fn label_join(call: &Call) -> Result<Named, PromqlError> {
    let destination = string(arg(call, 1)?)?;
    if destination.is_empty() {
        return Err(PromqlError::execution(format!("invalid destination label name in label_join(): {destination}")));
    }
    let separator = string(arg(call, 2)?)?;
    let sources: Vec<String> = call.args.args.iter().skip(3).map(|a| string(a)).collect::<Result<_, _>>()?;
    if sources.iter().any(String::is_empty) {
        return Err(PromqlError::execution("invalid source label name in label_join(): "));
    }
    let relabel = Relabel::Join { destination: destination.clone(), separator, sources };
    Ok(relabelled(relabel, &destination, vector(arg(call, 0)?)?))
}
