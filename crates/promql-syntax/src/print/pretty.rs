//! The form over several lines that `format_query` answers: what is longer than 100 columns is split at its parentheses
//! and operators, two columns per level.

use super::{Brackets, Head, Operator};
use crate::ast::Expr;

/// Longer expressions are split.
const MAX_COLUMNS: usize = 100;

impl Expr {
    /// The expression over as many lines as it needs, as Prometheus' `format_query` shows it.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.write_pretty(&mut out, 0);
        out
    }

    fn write_pretty(&self, out: &mut String, level: usize) {
        let line = self.to_string();
        let indent = "  ".repeat(level);
        if line.len() <= MAX_COLUMNS && !matches!(self, Self::Unary(_)) {
            // Prometheus does not indent a subquery.
            if !matches!(self, Self::Subquery(_)) {
                out.push_str(&indent);
            }
            out.push_str(&line);
            return;
        }
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => {
                out.push_str(&indent);
                out.push_str(&line);
            }
            Self::Subquery(subquery) => {
                subquery.expr.write_pretty(out, level);
                out.push_str(&Brackets(subquery).to_string());
            }
            Self::Call(call) => write_list(out, &format!("{indent}{}", call.function.name), &call.args, level),
            Self::Aggregation(aggregation) => {
                let parts = aggregation.param.iter().chain([&aggregation.expr]).map(|part| &**part);
                write_list(out, &format!("{indent}{}", Head(aggregation)), parts, level);
            }
            Self::Binary(binary) => {
                binary.lhs.write_pretty(out, level + 1);
                out.push_str(&format!("\n{indent}{}\n", Operator(binary)));
                binary.rhs.write_pretty(out, level + 1);
            }
            Self::Unary(unary) => {
                let mut operand = String::new();
                unary.expr.write_pretty(&mut operand, level);
                out.push_str(&format!("{indent}{}{}", unary.sign(), operand.trim()));
            }
            Self::Paren(paren) => write_list(out, &indent, [&*paren.expr], level),
        }
    }
}

/// Expressions in parentheses, one per line.
fn write_list<'a>(out: &mut String, head: &str, parts: impl IntoIterator<Item = &'a Expr>, level: usize) {
    out.push_str(head);
    out.push('(');
    for (index, part) in parts.into_iter().enumerate() {
        out.push_str(if index > 0 { ",\n" } else { "\n" });
        part.write_pretty(out, level + 1);
    }
    out.push_str(&format!("\n{})", "  ".repeat(level)));
}
