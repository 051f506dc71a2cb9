//! The functions of the language: which node each becomes, and which are not there.

use model::{Labels, METRIC_NAME, Matcher, rust_regex};
use promql_syntax::{Call, Expr};
use regex::Regex;

use super::build::{
    Named, Names, absent_labels, distinct, drop_name, parameter, place, range_source, scalar, string, vector,
};
use super::{
    Extension, HistogramCall, HistogramFunction, InfoCall, MapCall, MapFunction, QueryTime, RangeCall, RangeFunction,
    RangeSource, Relabel, Scalar, SortOrder, Vector,
};
use crate::PromqlError;
use crate::eval::{date, math};

/// A call that answers a scalar.
pub(super) fn scalar_call(call: &Call) -> Result<Scalar, PromqlError> {
    let of_query = |time| Ok(Scalar::OfQuery(time));
    match call.function.name {
        "time" => Ok(Scalar::Time),
        "pi" => Ok(Scalar::Literal(std::f64::consts::PI)),
        "scalar" => Ok(Scalar::OfVector(Box::new(vector(arg(call, 0)?)?.0))),
        "start" => of_query(QueryTime::Start),
        "end" => of_query(QueryTime::End),
        "step" => of_query(QueryTime::Step),
        "range" => of_query(QueryTime::Range),
        name @ ("min_of" | "max_of") => {
            let (left, right) = (Box::new(scalar(arg(call, 0)?)?), Box::new(scalar(arg(call, 1)?)?));
            Ok(Scalar::Extreme { largest: name == "max_of", left, right })
        }
        name => Err(unknown(name)),
    }
}

/// A call that answers an instant vector.
pub(super) fn vector_call(call: &Call) -> Result<Named, PromqlError> {
    let name = call.function.name;
    if let Some(function) = range_function(name) {
        return range_call(function, call);
    }
    if let Some(function) = plain_function(name) {
        return map_call(MapFunction::Math(function), call, &[]);
    }
    if let Some(function) = date_function(name) {
        if call.args.is_empty() {
            let now = Box::new(Vector::OfScalar(Scalar::Time));
            let node = MapCall { function: MapFunction::Math(function), params: Vec::new(), input: now };
            return Ok((Vector::Map(node), Names::None));
        }
        return map_call(MapFunction::Math(function), call, &[]);
    }
    match name {
        "round" if call.args.len() == 1 => {
            let (input, names) = vector(arg(call, 0)?)?;
            let params = vec![Scalar::Literal(1.0)];
            let node = MapCall { function: MapFunction::Round, params, input: Box::new(input) };
            Ok(drop_name(Vector::Map(node), names))
        }
        "round" => map_call(MapFunction::Round, call, &[1]),
        "clamp" => map_call(MapFunction::Clamp, call, &[1, 2]),
        "clamp_min" => map_call(MapFunction::ClampMin, call, &[1]),
        "clamp_max" => map_call(MapFunction::ClampMax, call, &[1]),
        "timestamp" => timestamp(call),
        "vector" => Ok((Vector::OfScalar(scalar(arg(call, 0)?)?), Names::None)),
        "absent" => {
            let (labels, input) = (absent_labels(arg(call, 0)?), Box::new(vector(arg(call, 0)?)?.0));
            Ok((Vector::Absent { input, labels }, Names::None))
        }
        "sort" | "sort_desc" => sorted(call, SortOrder::Value { descending: name == "sort_desc" }),
        "sort_by_label" | "sort_by_label_desc" => {
            let names = strings(call, 1)?;
            sorted(call, SortOrder::Labels { names, descending: name == "sort_by_label_desc" })
        }
        "histogram_quantile" => histogram(HistogramFunction::Quantile, call, 1, &call.args[..1], 1),
        "histogram_fraction" => histogram(HistogramFunction::Fraction, call, 2, &call.args[..2], 2),
        "histogram_quantiles" => {
            let function = HistogramFunction::Quantiles(string(arg(call, 1)?)?);
            histogram(function, call, 0, call.args.get(2..).unwrap_or(&[]), 1)
        }
        "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev" | "histogram_stdvar" => {
            let (input, names) = vector(arg(call, 0)?)?;
            Ok((Vector::NativeOnly { input: Box::new(input) }, names))
        }
        "info" => info(call),
        "label_replace" => label_replace(call),
        "label_join" => label_join(call),
        name => Err(unknown(name)),
    }
}

/// The parser knows every function of Prometheus; this engine does not.
fn unknown(name: &str) -> PromqlError {
    PromqlError::unsupported(format!("function {name:?}"))
}

fn arg(call: &Call, index: usize) -> Result<&Expr, PromqlError> {
    let missing = || PromqlError::execution(format!("expected more arguments in call to {:?}", call.function.name));
    call.args.get(index).map(Expr::unparenthesized).ok_or_else(missing)
}

fn strings(call: &Call, from: usize) -> Result<Vec<String>, PromqlError> {
    call.args.iter().skip(from).map(string).collect()
}

/// A function of the values of the first argument; `params` are the others.
fn map_call(function: MapFunction, call: &Call, params: &[usize]) -> Result<Named, PromqlError> {
    let (input, names) = vector(arg(call, 0)?)?;
    let params = params.iter().map(|i| scalar(arg(call, *i)?)).collect::<Result<_, _>>()?;
    Ok(drop_name(Vector::Map(MapCall { function, params, input: Box::new(input) }), names))
}

fn sorted(call: &Call, order: SortOrder) -> Result<Named, PromqlError> {
    let (input, names) = vector(arg(call, 0)?)?;
    Ok((Vector::Sort { order, input: Box::new(input) }, names))
}

fn histogram(
    function: HistogramFunction,
    call: &Call,
    input: usize,
    params: &[Expr],
    repairs: usize,
) -> Result<Named, PromqlError> {
    let params = params.iter().map(parameter).collect::<Result<_, _>>()?;
    let (buckets, repairs) = (place(arg(call, input)?), place(arg(call, repairs)?));
    let (input, names) = vector(arg(call, input)?)?;
    // Quantiles that are equal make rows that are.
    let names = if matches!(function, HistogramFunction::Quantiles(_)) { Names::Mixed } else { names };
    let call = HistogramCall { function, params, input: Box::new(input), buckets, repairs };
    Ok(drop_name(Vector::Histogram(call), names))
}

fn info(call: &Call) -> Result<Named, PromqlError> {
    let (input, names) = vector(arg(call, 0)?)?;
    let (metrics, labels) = match call.args.get(1).map(Expr::unparenthesized) {
        Some(Expr::Vector(selector)) => {
            selector.matchers.iter().cloned().partition(|m: &Matcher| m.name() == METRIC_NAME)
        }
        _ => (vec![Matcher::equal(METRIC_NAME, "target_info")], Vec::new()),
    };
    Ok((Vector::Info(InfoCall { input: Box::new(input), names: metrics, labels }), names))
}

fn timestamp(call: &Call) -> Result<Named, PromqlError> {
    let (input, names) = vector(arg(call, 0)?)?;
    let node = match (arg(call, 0)?, input) {
        (Expr::Vector(_), Vector::Select(selector)) => Vector::Timestamps(selector),
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
    check_extension(function, call.function.name, &source)?;
    let params = params_at.iter().map(|i| scalar(arg(call, *i)?)).collect::<Result<_, _>>()?;
    let absent = function == RangeFunction::Absent;
    let absent_labels = if absent { absent_labels(arg(call, source_at)?) } else { Labels::empty() };
    let node = Vector::Range(RangeCall { function, source, params, absent_labels, place: place(arg(call, 0)?) });
    Ok(match names {
        _ if absent => (node, Names::None),
        names if function.keeps_name() => (node, names),
        Names::Mixed => (distinct(node, true), Names::None),
        _ => (node, Names::None),
    })
}

/// Windows with values at their edges are made for few functions.
fn check_extension(function: RangeFunction, name: &str, source: &RangeSource) -> Result<(), PromqlError> {
    let RangeSource::Select { selector, .. } = source else { return Ok(()) };
    let changes = matches!(function, RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Delta);
    let counts = matches!(function, RangeFunction::Changes | RangeFunction::Resets);
    let (modifier, allowed) = match selector.extension {
        Some(Extension::Anchored) if !changes && !counts => ("anchored", "changes, delta, increase, rate, resets"),
        Some(Extension::Smoothed) if !changes => ("smoothed", "delta, increase, rate"),
        _ => return Ok(()),
    };
    Err(PromqlError::Execution(format!("{modifier} modifier can only be used with: {allowed} - not with {name}")))
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
        "asinh" => math::asinh,
        "acosh" => math::acosh,
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
    (distinct(Vector::Relabel { relabel, input: Box::new(input) }, false), names)
}

fn label_replace(call: &Call) -> Result<Named, PromqlError> {
    let destination = string(arg(call, 1)?)?;
    let pattern = string(arg(call, 4)?)?;
    let refuse = || PromqlError::execution(format!("invalid regular expression in label_replace(): {pattern}"));
    // What is translated is whole, so that a group of the pattern cannot escape the group that anchors it.
    let translated = rust_regex(&pattern).map_err(|_| refuse())?;
    let regex = Regex::new(&format!("^(?s:{translated})$")).map_err(|_| refuse())?;
    if destination.is_empty() {
        return Err(PromqlError::execution("invalid destination label name in label_replace(): "));
    }
    let replacement = string(arg(call, 2)?)?;
    let relabel =
        Relabel::Replace { destination: destination.clone(), replacement, source: string(arg(call, 3)?)?, regex };
    Ok(relabelled(relabel, &destination, vector(arg(call, 0)?)?))
}

fn label_join(call: &Call) -> Result<Named, PromqlError> {
    let destination = string(arg(call, 1)?)?;
    let separator = string(arg(call, 2)?)?;
    let sources = strings(call, 3)?;
    if sources.iter().any(String::is_empty) {
        return Err(PromqlError::execution("invalid source label name in label_join(): "));
    }
    if destination.is_empty() {
        return Err(PromqlError::execution("invalid destination label name in label_join(): "));
    }
    let relabel = Relabel::Join { destination: destination.clone(), separator, sources };
    Ok(relabelled(relabel, &destination, vector(arg(call, 0)?)?))
}
