//! From text to a syntax tree and back. The grammar is that of the `promql-parser` package; this module makes it safe
//! on hostile input and makes its messages read like those of Prometheus.

mod guard;
mod print;

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::{MatchOp, Matcher};
use promql_parser::label;
use promql_parser::parser::{self, Expr};

use crate::{PromqlError, ValueType};

pub(crate) use print::{epoch_ms, print, print_float};

/// Parses one expression.
pub(crate) fn parse_expr(query: &str) -> Result<Expr, PromqlError> {
    let admitted = guard::admit(query)?;
    if admitted.trim().is_empty() {
        return Err(PromqlError::parse("no expression found in input"));
    }
    // The guard keeps from the parser library what it is known to panic on; this is for what is not known.
    match catch_unwind(AssertUnwindSafe(|| parser::parse(&admitted))) {
        Ok(Ok(expr)) => Ok(expr),
        Ok(Err(message)) if message != UNEXPLAINED => Err(PromqlError::parse(reword(&message))),
        Ok(Err(_)) | Err(_) => Err(PromqlError::parse(explain(&admitted))),
    }
}

/// What the parser library says when it does not know what is wrong.
const UNEXPLAINED: &str = "invalid promql query";

/// Says what can be seen without a parser.
fn explain(query: &str) -> &'static str {
    let query = query.trim_end();
    let dangling = query.ends_with(|c: char| "+-*/%^=<>!,@".contains(c));
    let last = query.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("");
    let words = ["and", "or", "unless", "by", "without", "on", "ignoring", "offset", "bool", "atan2"];
    if dangling || (query.contains(' ') && words.iter().any(|word| last.eq_ignore_ascii_case(word))) {
        return "unexpected end of input";
    }
    "invalid promql query: two operands without an operator between them, or an operator without an operand"
}

/// Parses one series selector, as in `match[]`: a name, matchers, or both.
///
/// # Errors
/// When the text is anything else, or has an offset or `@`.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, PromqlError> {
    match parse_expr(text)? {
        Expr::VectorSelector(selector) if selector.offset.is_none() && selector.at.is_none() => {
            matchers(selector.name.as_deref(), &selector.matchers)
        }
        _ => {
            Err(PromqlError::parse(format!("{text:?} is not a series selector; write for example up{{job=\"node\"}}")))
        }
    }
}

/// The matchers of a selector, the metric name first.
pub(crate) fn matchers(name: Option<&str>, parsed: &label::Matchers) -> Result<Vec<Matcher>, PromqlError> {
    if !parsed.or_matchers.is_empty() {
        return Err(PromqlError::unsupported("\"or\" between label matchers"));
    }
    let mut out: Vec<Matcher> = name.map(|n| Matcher::equal(model::METRIC_NAME, n)).into_iter().collect();
    for matcher in &parsed.matchers {
        let op = match matcher.op {
            label::MatchOp::Equal => MatchOp::Equal,
            label::MatchOp::NotEqual => MatchOp::NotEqual,
            label::MatchOp::Re(_) => MatchOp::Regex,
            label::MatchOp::NotRe(_) => MatchOp::NotRegex,
        };
        let compiled = Matcher::new(op, matcher.name.clone(), matcher.value.clone());
        out.push(compiled.map_err(|e| PromqlError::parse(e.to_string()))?);
    }
    let names = out.iter().filter(|m| m.name() == model::METRIC_NAME && m.op() == MatchOp::Equal);
    let mut names = names.map(Matcher::value);
    if let (Some(first), Some(second)) = (names.next(), names.next()) {
        return Err(PromqlError::parse(format!("metric name must not be set twice: {first:?} or {second:?}")));
    }
    if out.iter().all(|m| m.matches("")) {
        return Err(PromqlError::parse("vector selector must contain at least one non-empty matcher"));
    }
    Ok(out)
}

/// Adds the matchers of every series selector in `expr`, in order of the text.
pub(crate) fn collect_selectors(expr: &Expr, into: &mut Vec<Vec<Matcher>>) -> Result<(), PromqlError> {
    match expr {
        Expr::VectorSelector(selector) => into.push(matchers(selector.name.as_deref(), &selector.matchers)?),
        Expr::MatrixSelector(matrix) => into.push(matchers(matrix.vs.name.as_deref(), &matrix.vs.matchers)?),
        Expr::Aggregate(aggregate) => {
            aggregate.param.iter().try_for_each(|param| collect_selectors(param, into))?;
            collect_selectors(&aggregate.expr, into)?;
        }
        Expr::Unary(unary) => collect_selectors(&unary.expr, into)?,
        Expr::Binary(binary) => {
            collect_selectors(&binary.lhs, into)?;
            collect_selectors(&binary.rhs, into)?;
        }
        Expr::Paren(paren) => collect_selectors(&paren.expr, into)?,
        Expr::Subquery(subquery) => collect_selectors(&subquery.expr, into)?,
        Expr::Call(call) => call.args.args.iter().try_for_each(|arg| collect_selectors(arg, into))?,
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
    Ok(())
}

/// The type of an expression.
pub(crate) fn value_type(expr: &Expr) -> ValueType {
    match expr.value_type() {
        parser::value::ValueType::Scalar => ValueType::Scalar,
        parser::value::ValueType::String => ValueType::String,
        parser::value::ValueType::Vector => ValueType::Vector,
        parser::value::ValueType::Matrix => ValueType::Matrix,
    }
}

/// Says in Prometheus' words what the parser library says in its own.
fn reword(message: &str) -> String {
    let documented = |name: &str| match name {
        "vector" => "instant vector".to_owned(),
        "matrix" => "range vector".to_owned(),
        other => other.to_owned(),
    };
    let typed = message.strip_prefix("expected type ").and_then(|rest| {
        let (expected, rest) = rest.split_once(" in ")?;
        let (context, got) = rest.rsplit_once(", got ")?;
        Some(format!("expected type {} in {context}, got {}", documented(expected), documented(got)))
    });
    let text = typed.unwrap_or_else(|| message.to_owned());
    let text = match text.strip_prefix("unary expression only allowed on expressions of type scalar or vector, got: ") {
        Some(got) => {
            let got = documented(got);
            format!("unary expression only allowed on expressions of type scalar or instant vector, got {got:?}")
        }
        None => text,
    };
    let quotes_names = ["expected ", "unknown function", "label '", "metric name", "set operator", "no grouping"];
    if quotes_names.iter().any(|prefix| text.starts_with(prefix)) { text.replace('\'', "\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn selectors() {
        let shown = |text: &str| -> Vec<String> {
            parse_selector(text).expect("is a selector").iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown("up"), [r#"__name__="up""#]);
        assert_eq!(shown(r#"up{a!="b",c=~"d|e"}"#), [r#"__name__="up""#, r#"a!="b""#, r#"c=~"d|e""#]);
        assert_eq!(shown(r#"{__name__=~"a.*"}"#), [r#"__name__=~"a.*""#]);
        assert_eq!(shown(r#"{"a.b", "c d"="e"}"#), [r#"__name__="a.b""#, r#"c d="e""#]);
        for text in ["", "up + 1", "up[5m]", "up offset 5m", "{}", r#"{a=""}"#, r#"{a=~".*"}"#, r#"up{a=~"["}"#, "1"] {
            assert!(parse_selector(text).is_err(), "{text}");
        }
    }

    #[test]
    fn messages_read_like_those_of_prometheus() {
        let message = |query: &str| parse_expr(query).expect_err("is not PromQL").to_string();
        let cases = [
            ("", "parse error: no expression found in input"),
            ("foo(", "parse error: unclosed left parenthesis"),
            ("foo +", "parse error: unexpected end of input"),
            ("foo and", "parse error: unexpected end of input"),
            (
                "foo bar",
                "parse error: invalid promql query: two operands without an operator between them, or an operator without an operand",
            ),
            ("foo(1)", r#"parse error: unknown function with name "foo""#),
            ("rate(up)", r#"parse error: expected type range vector in call to function "rate", got instant vector"#),
            ("1 > 2", "parse error: comparisons between scalars must use BOOL modifier"),
            (
                "-up[5m]",
                r#"parse error: unary expression only allowed on expressions of type scalar or instant vector, got "range vector""#,
            ),
        ];
        for (query, want) in cases {
            assert_eq!(message(query), want, "{query}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_text_makes_the_parser_panic(query in "\\PC{0,60}") {
            let _ = parse_expr(&query);
        }

        #[test]
        fn no_near_query_makes_the_parser_panic(
            query in "(sum|rate|up|offset|by|on|and|\\(|\\)|\\[|\\]|\\{|\\}|5m|1e9|inf|,|:|@|\"|`|=|-|\\+| |[a-z0-9]){0,30}",
        ) {
            let _ = parse_expr(&query);
        }
    }
}
