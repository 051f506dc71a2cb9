//! The canonical form: one line, spaces, parentheses and names as Prometheus prints them. It reads back as the same tree.

mod json;
mod pretty;

use std::fmt;
use std::time::Duration;

use model::{METRIC_NAME, MatchOp, Matcher, format_duration, is_legacy_label_name};

use crate::ast::{
    Aggregation, At, Binary, Cardinality, Expr, MatrixSelector, Number, Stretch, Subquery, Unary, VectorSelector,
};
use crate::durations::{DurationExpr, DurationKind};
use crate::quote::quote;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::String(string) => f.write_str(&quote(&string.value)),
            Self::Vector(selector) => selector.fmt(f),
            Self::Matrix(matrix) => matrix.fmt(f),
            Self::Subquery(subquery) => write!(f, "{}{}", subquery.expr, Brackets(subquery)),
            Self::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                for (index, arg) in call.args.iter().enumerate() {
                    write!(f, "{}{arg}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            Self::Aggregation(aggregation) => {
                write!(f, "{}(", Head(aggregation))?;
                if let Some(param) = &aggregation.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregation.expr)
            }
            Self::Binary(binary) => write!(f, "{} {} {}", binary.lhs, Operator(binary), binary.rhs),
            Self::Unary(unary) => write!(f, "{}{}", unary.sign(), unary.expr),
            Self::Paren(paren) => write!(f, "({})", paren.expr),
        }
    }
}

impl Unary {
    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "+" }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_seconds(f, self.value, self.is_duration)
    }
}

/// A number, or seconds as a duration.
fn write_seconds(f: &mut fmt::Formatter<'_>, value: f64, is_duration: bool) -> fmt::Result {
    match value {
        f64::INFINITY => f.write_str("+Inf"),
        f64::NEG_INFINITY => f.write_str("-Inf"),
        _ if is_duration => write_ms(f, (value * 1000.0).round() as i64),
        _ => write!(f, "{value}"),
    }
}

fn write_ms(f: &mut fmt::Formatter<'_>, ms: i64) -> fmt::Result {
    let sign = if ms < 0 { "-" } else { "" };
    write!(f, "{sign}{}", format_duration(Duration::from_millis(ms.unsigned_abs())))
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(ms) => write_ms(f, *ms),
            Self::Computed(expr) => expr.fmt(f),
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Literal { seconds, is_duration } => write_seconds(f, *seconds, *is_duration),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Negative(expr) => write!(f, "-{expr}"),
            DurationKind::Paren(expr) => write!(f, "({expr})"),
            DurationKind::Binary(op, a, b) => write!(f, "{a} {} {b}", op.as_str()),
            DurationKind::Min(a, b) => write!(f, "min({a}, {b})"),
            DurationKind::Max(a, b) => write!(f, "max({a}, {b})"),
        }
    }
}

fn write_at(f: &mut fmt::Formatter<'_>, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        Some(At::Time(ms)) => {
            let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
            write!(f, " @ {sign}{}.{:03}", ms / 1000, ms % 1000)
        }
    }
}

fn write_offset(f: &mut fmt::Formatter<'_>, offset: &Stretch) -> fmt::Result {
    if *offset == Stretch::ZERO { Ok(()) } else { write!(f, " offset {offset}") }
}

impl VectorSelector {
    /// The name and the matchers, without modifiers.
    fn write_series(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or_default())?;
        let is_name = |matcher: &Matcher| {
            matcher.name() == METRIC_NAME
                && matcher.op() == MatchOp::Equal
                && self.name.as_deref() == Some(matcher.value())
        };
        let mut shown: Vec<String> = self.matchers.iter().filter(|m| !is_name(m)).map(show_matcher).collect();
        if shown.is_empty() {
            return Ok(());
        }
        shown.sort_unstable();
        write!(f, "{{{}}}", shown.join(","))
    }

    fn write_extension(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.extension.map_or(Ok(()), |extension| write!(f, " {}", extension.as_str()))
    }
}

fn show_matcher(matcher: &Matcher) -> String {
    format!("{}{}{}", show_label(matcher.name()), matcher.op().as_str(), quote(matcher.value()))
}

fn show_label(name: &str) -> String {
    if is_legacy_label_name(name) { name.to_owned() } else { quote(name) }
}

fn show_labels(labels: &[String]) -> String {
    labels.iter().map(|label| show_label(label)).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for VectorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_series(f)?;
        write_at(f, self.at)?;
        self.write_extension(f)?;
        write_offset(f, &self.offset)
    }
}

impl fmt::Display for MatrixSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.selector.write_series(f)?;
        write!(f, "[{}]", self.range)?;
        self.selector.write_extension(f)?;
        write_at(f, self.selector.at)?;
        write_offset(f, &self.selector.offset)
    }
}

/// What stands behind the expression of a subquery.
struct Brackets<'a>(&'a Subquery);

impl fmt::Display for Brackets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subquery = self.0;
        write!(f, "[{}:", subquery.range)?;
        if let Some(step) = &subquery.step {
            step.fmt(f)?;
        }
        f.write_str("]")?;
        write_at(f, subquery.at)?;
        write_offset(f, &subquery.offset)
    }
}

/// What stands before the parenthesis of an aggregation.
struct Head<'a>(&'a Aggregation);

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = show_labels(&self.0.grouping);
        f.write_str(self.0.op.as_str())?;
        match (self.0.without, labels.is_empty()) {
            (true, _) => write!(f, " without ({labels}) "),
            (false, false) => write!(f, " by ({labels}) "),
            (false, true) => Ok(()),
        }
    }
}

/// An operator with its modifiers.
struct Operator<'a>(&'a Binary);

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        f.write_str(if self.0.return_bool { " bool" } else { "" })?;
        let Some(matching) = &self.0.matching else { return Ok(()) };
        let grouped = match matching.card {
            Cardinality::ManyToOne => Some("left"),
            Cardinality::OneToMany => Some("right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if matching.on || !matching.labels.is_empty() || grouped.is_some() {
            let word = if matching.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", show_labels(&matching.labels))?;
        }
        if let Some(side) = grouped {
            write!(f, " group_{side} ({})", show_labels(&matching.include))?;
        }
        let fill = |f: &mut fmt::Formatter<'_>, word, value: Option<f64>| match value {
            None => Ok(()),
            Some(value) => {
                write!(f, " {word} (")?;
                write_seconds(f, value, false)?;
                f.write_str(")")
            }
        };
        let (left, right) = (matching.fill_left, matching.fill_right);
        if left.map(f64::to_bits) == right.map(f64::to_bits) {
            return fill(f, "fill", left);
        }
        fill(f, "fill_left", left)?;
        fill(f, "fill_right", right)
    }
}

#[cfg(test)]
mod tests;
