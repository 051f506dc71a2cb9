//! The tree as `parse_query` answers it, key by key in the order in which Go writes them: sorted.

use model::Matcher;
use serde_json::{Value, json};

use crate::ast::{At, Binary, Call, Expr, Extension, Stretch, VectorSelector};

impl Expr {
    /// The tree in the form of Prometheus' `/api/v1/parse_query`. Lengths of time that are computed are 0 there.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Number(number) => json!({"type": "numberLiteral", "val": number_text(number.value)}),
            Self::String(string) => json!({"type": "stringLiteral", "val": string.value}),
            Self::Paren(paren) => json!({"expr": paren.expr.to_json(), "type": "parenExpr"}),
            Self::Unary(unary) => json!({"expr": unary.expr.to_json(), "op": unary.sign(), "type": "unaryExpr"}),
            Self::Vector(selector) => selector_json(selector, None),
            Self::Matrix(matrix) => selector_json(&matrix.selector, Some(&matrix.range)),
            Self::Subquery(subquery) => json!({
                "expr": subquery.expr.to_json(),
                "offset": ms(&subquery.offset),
                "range": ms(&subquery.range),
                "startOrEnd": start_or_end(subquery.at),
                "step": subquery.step.as_ref().map_or(0, ms),
                "timestamp": timestamp(subquery.at),
                "type": "subquery",
            }),
            Self::Aggregation(aggregation) => json!({
                "expr": aggregation.expr.to_json(),
                "grouping": aggregation.grouping,
                "op": aggregation.op.as_str(),
                "param": aggregation.param.as_ref().map(|param| param.to_json()),
                "type": "aggregation",
                "without": aggregation.without,
            }),
            Self::Binary(binary) => binary_json(binary),
            Self::Call(call) => call_json(call),
        }
    }
}

fn binary_json(binary: &Binary) -> Value {
    let matching = binary.matching.as_ref().map(|matching| {
        json!({
            "card": matching.card.as_str(),
            "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
            "include": matching.include,
            "labels": matching.labels,
            "on": matching.on,
        })
    });
    json!({
        "bool": binary.return_bool,
        "lhs": binary.lhs.to_json(),
        "matching": matching,
        "op": binary.op.as_str(),
        "rhs": binary.rhs.to_json(),
        "type": "binaryExpr",
    })
}

fn call_json(call: &Call) -> Value {
    let function = call.function;
    json!({
        "args": call.args.iter().map(Expr::to_json).collect::<Vec<_>>(),
        "func": {
            "argTypes": function.args.iter().map(|arg| arg.as_str()).collect::<Vec<_>>(),
            "name": function.name,
            "returnType": function.returns.as_str(),
            "variadic": function.variadic,
        },
        "type": "call",
    })
}

/// An instant selector, or a range selector where there is a range.
fn selector_json(selector: &VectorSelector, range: Option<&Stretch>) -> Value {
    let mut json = json!({
        "anchored": selector.extension == Some(Extension::Anchored),
        "matchers": selector.matchers.iter().map(matcher_json).collect::<Vec<_>>(),
        "name": selector.name.as_deref().unwrap_or_default(),
        "offset": ms(&selector.offset),
    });
    if let Some(range) = range {
        json["range"] = json!(ms(range));
    }
    json["smoothed"] = json!(selector.extension == Some(Extension::Smoothed));
    json["startOrEnd"] = start_or_end(selector.at);
    json["timestamp"] = timestamp(selector.at);
    json["type"] = json!(if range.is_some() { "matrixSelector" } else { "vectorSelector" });
    json
}

fn matcher_json(matcher: &Matcher) -> Value {
    json!({"name": matcher.name(), "type": matcher.op().as_str(), "value": matcher.value()})
}

fn ms(stretch: &Stretch) -> i64 {
    stretch.fixed_ms().unwrap_or_default()
}

fn timestamp(at: Option<At>) -> Value {
    match at {
        Some(At::Time(ms)) => json!(ms),
        _ => Value::Null,
    }
}

fn start_or_end(at: Option<At>) -> Value {
    match at {
        Some(At::Start) => json!("start"),
        Some(At::End) => json!("end"),
        _ => Value::Null,
    }
}

/// A number without an exponent, as Go's `strconv.FormatFloat(value, 'f', -1, 64)`.
fn number_text(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}
