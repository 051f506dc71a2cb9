//! The canonical form of an expression: one line, spaces and parentheses as Prometheus prints them.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use model::{format_duration, is_legacy_label_name, is_legacy_metric_name};
use promql_parser::label::{Matcher, Matchers};
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinaryExpr, Expr, LabelModifier, Offset, VectorMatchCardinality, VectorSelector,
};

/// The canonical form of `expr`.
pub(crate) fn print(expr: &Expr) -> String {
    let mut out = String::new();
    write_expr(&mut out, expr);
    out
}

/// A number as Go prints it with `%v`: an exponent below 1e-4 and from 1e21.
pub(crate) fn print_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value != 0.0 && (value.abs() < 1e-4 || value.abs() >= 1e21) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

fn write_expr(out: &mut String, expr: &Expr) {
    match expr {
        Expr::Aggregate(aggregate) => write_aggregate(out, aggregate),
        Expr::Unary(unary) => {
            out.push('-');
            write_expr(out, &unary.expr);
        }
        Expr::Binary(binary) => write_binary(out, binary),
        Expr::Paren(paren) => {
            out.push('(');
            write_expr(out, &paren.expr);
            out.push(')');
        }
        Expr::Subquery(subquery) => {
            write_expr(out, &subquery.expr);
            let step = subquery.step.map(format_duration).unwrap_or_default();
            push(out, format_args!("[{}:{step}]", format_duration(subquery.range)));
            write_time(out, subquery.at.as_ref(), subquery.offset.as_ref());
        }
        Expr::NumberLiteral(number) => out.push_str(&print_float(number.val)),
        Expr::StringLiteral(string) => out.push_str(&quote(&string.val)),
        Expr::VectorSelector(selector) => {
            write_selector(out, selector);
            write_time(out, selector.at.as_ref(), selector.offset.as_ref());
        }
        Expr::MatrixSelector(matrix) => {
            write_selector(out, &matrix.vs);
            push(out, format_args!("[{}]", format_duration(matrix.range)));
            write_time(out, matrix.vs.at.as_ref(), matrix.vs.offset.as_ref());
        }
        Expr::Call(call) => {
            push(out, format_args!("{}(", call.func.name));
            for (i, arg) in call.args.args.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_expr(out, arg);
            }
            out.push(')');
        }
        // The parser never makes one.
        Expr::Extension(extension) => out.push_str(extension.expr.name()),
    }
}

/// A string literal that the parser reads back.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => push(&mut out, format_args!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Writing to a string cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn names(labels: &[String]) -> String {
    let quoted = |l: &String| if is_legacy_label_name(l) { l.clone() } else { quote(l) };
    labels.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

fn write_aggregate(out: &mut String, aggregate: &AggregateExpr) {
    push(out, format_args!("{}", aggregate.op));
    match &aggregate.modifier {
        Some(LabelModifier::Include(by)) if !by.labels.is_empty() => {
            push(out, format_args!(" by ({}) ", names(&by.labels)));
        }
        Some(LabelModifier::Exclude(without)) => push(out, format_args!(" without ({}) ", names(&without.labels))),
        _ => {}
    }
    out.push('(');
    if let Some(param) = &aggregate.param {
        write_expr(out, param);
        out.push_str(", ");
    }
    write_expr(out, &aggregate.expr);
    out.push(')');
}

fn write_binary(out: &mut String, binary: &BinaryExpr) {
    write_expr(out, &binary.lhs);
    push(out, format_args!(" {}", binary.op));
    if let Some(modifier) = &binary.modifier {
        out.push_str(if modifier.return_bool { " bool" } else { "" });
        match &modifier.matching {
            Some(LabelModifier::Include(on)) => push(out, format_args!(" on ({})", names(&on.labels))),
            Some(LabelModifier::Exclude(ignoring)) if !ignoring.labels.is_empty() => {
                push(out, format_args!(" ignoring ({})", names(&ignoring.labels)));
            }
            _ => {}
        }
        match &modifier.card {
            VectorMatchCardinality::ManyToOne(include) => {
                push(out, format_args!(" group_left ({})", names(&include.labels)));
            }
            VectorMatchCardinality::OneToMany(include) => {
                push(out, format_args!(" group_right ({})", names(&include.labels)));
            }
            VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {}
        }
    }
    out.push(' ');
    write_expr(out, &binary.rhs);
}

fn write_selector(out: &mut String, selector: &VectorSelector) {
    out.push_str(selector.name.as_deref().unwrap_or(""));
    let Matchers { matchers, .. } = &selector.matchers;
    if matchers.is_empty() {
        return;
    }
    out.push('{');
    for (i, matcher) in matchers.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        write_matcher(out, matcher);
    }
    out.push('}');
}

fn write_matcher(out: &mut String, matcher: &Matcher) {
    let Matcher { op, name, value } = matcher;
    if name == model::METRIC_NAME && op.to_string() == "=" && !is_legacy_metric_name(value) {
        out.push_str(&quote(value));
    } else if is_legacy_label_name(name) {
        push(out, format_args!("{name}{op}{}", quote(value)));
    } else {
        push(out, format_args!("{}{op}{}", quote(name), quote(value)));
    }
}

fn write_time(out: &mut String, at: Option<&AtModifier>, offset: Option<&Offset>) {
    match at {
        Some(AtModifier::Start) => out.push_str(" @ start()"),
        Some(AtModifier::End) => out.push_str(" @ end()"),
        Some(AtModifier::At(time)) => push(out, format_args!(" @ {:.3}", epoch_ms(*time) as f64 / 1000.0)),
        None => {}
    }
    match offset {
        Some(Offset::Pos(by)) if !by.is_zero() => push(out, format_args!(" offset {}", format_duration(*by))),
        Some(Offset::Neg(by)) if !by.is_zero() => push(out, format_args!(" offset -{}", format_duration(*by))),
        _ => {}
    }
}

/// Milliseconds since the Unix epoch, negative before it.
pub(crate) fn epoch_ms(time: SystemTime) -> i64 {
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => ms(after),
        Err(before) => -ms(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse_expr;

    #[test]
    fn canonical_forms() {
        let cases = [
            ("sum(rate(x[5m]))by(a,b)", "sum by (a, b) (rate(x[5m]))"),
            ("sum  without() (x)", "sum without () (x)"),
            ("topk( 3,x{a='b',c!~`\\d`} )", r#"topk(3, x{a="b",c!~"\\d"})"#),
            ("a+on(b)group_left(c)d", "a + on (b) group_left (c) d"),
            ("a==bool ignoring(x)b", "a == bool ignoring (x) b"),
            ("-a^2", "-a ^ 2"),
            ("(a or b)unless c", "(a or b) unless c"),
            ("x[90m:30s]@start()offset -5m", "x[1h30m:30s] @ start() offset -5m"),
            ("x[5m]@1.5 offset 1w", "x[5m] @ 1.500 offset 1w"),
            ("max_over_time(x[1h:])", "max_over_time(x[1h:])"),
            ("x @ -1", "x @ -1.000"),
            ("1e21+0.00001+Inf+0.5-1", "1e+21 + 1e-05 + +Inf + 0.5 - 1"),
            (r#"{"a.b",c="d"}"#, r#"{"a.b",c="d"}"#),
            (r#"label_replace(x,"a","$1","b","(.*)")"#, r#"label_replace(x, "a", "$1", "b", "(.*)")"#),
            ("'it\\'s'", r#""it's""#),
        ];
        for (query, want) in cases {
            let printed = print(&parse_expr(query).expect("parses"));
            assert_eq!(printed, want);
            assert_eq!(print(&parse_expr(&printed).expect("parses again")), want, "not a fixed point");
        }
    }
}
