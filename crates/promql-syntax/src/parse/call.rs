//! Calls of functions, and aggregations.

use super::{Parsed, Parser};
use crate::ast::{Aggregation, Call, Expr};
use crate::error::{Fault, Span};
use crate::functions::function;
use crate::ops::AggregateOp;
use crate::quote::quote;
use crate::token::{Keyword, Kind};

/// Which argument of `label_replace` is a regular expression.
const LABEL_REPLACE_REGEX: usize = 4;

impl Parser<'_> {
    /// A call; a name and a parenthesis come next.
    pub(super) fn call(&mut self) -> Result<Parsed, Fault> {
        let name = self.advance();
        let (args, depth) = self.arguments()?;
        let text = self.text(name);
        let fault = |message: String| Fault::new(name.span, message);
        let function = function(text).ok_or_else(|| fault(format!("unknown function with name {}", quote(text))))?;
        let allowed = match function.name {
            "info" => self.options.info,
            _ => self.options.experimental_functions || !function.experimental,
        };
        if !allowed {
            return Err(fault(format!("function {} is not enabled", quote(text))));
        }
        let mut span = name.span;
        span.end = self.last_end();
        let pattern = args.get(LABEL_REPLACE_REGEX).map(Expr::unparenthesized);
        if let ("label_replace", Some(Expr::String(pattern))) = (function.name, pattern) {
            self.weigh_regex(model::regex_weight_bytes(&pattern.value), pattern.span)?;
        }
        self.above(depth, Expr::Call(Call { function, args, span }))
    }

    /// An aggregation; its name and then a parenthesis or its labels come next.
    pub(super) fn aggregation(&mut self, op: AggregateOp) -> Result<Parsed, Fault> {
        let start = self.advance().span;
        self.aggregations += 1;
        let before = self.grouping()?;
        if self.peek() != Kind::LeftParen {
            return Err(self.lost());
        }
        let (args, depth) = self.arguments()?;
        self.aggregations -= 1;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => {
                self.readable()?;
                self.grouping()?
            }
        };
        let (grouping, without) = grouping.unwrap_or_default();
        let span = Span { start: start.start, end: self.last_end() };
        let (param, expr) = self.operands(op, args, span)?;
        self.above(depth, Expr::Aggregation(Aggregation { op, expr, param, grouping, without, span }))
    }

    /// `by (...)` or `without (...)`, if it comes next; true for the latter.
    fn grouping(&mut self) -> Result<Option<(Vec<String>, bool)>, Fault> {
        let without = match self.peek() {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((self.labels()?, without)))
    }

    /// The parameter and what is aggregated.
    fn operands(&self, op: AggregateOp, args: Vec<Expr>, span: Span) -> Result<(Option<Box<Expr>>, Box<Expr>), Fault> {
        let fault = |message: String| Err(Fault::new(span, message));
        if args.is_empty() {
            return fault("no arguments for aggregate expression provided".to_owned());
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let flag = "--enable-feature=promql-experimental-functions";
            return fault(format!("{op}() is experimental and must be enabled with {flag}"));
        }
        let (wanted, got) = (1 + usize::from(op.parameter().is_some()), args.len());
        let mut args = args.into_iter().map(Box::new);
        match (wanted, args.next(), args.next(), args.next()) {
            (1, Some(expr), None, None) => Ok((None, expr)),
            (2, Some(param), Some(expr), None) => Ok((Some(param), expr)),
            _ => fault(format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
            )),
        }
    }

    /// Arguments in parentheses, and the levels of the deepest.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), Fault> {
        self.advance();
        let (mut args, mut depth) = (Vec::new(), 0);
        if self.accept(Kind::RightParen).is_some() {
            return Ok((args, depth));
        }
        loop {
            let arg = self.expr()?;
            depth = depth.max(arg.depth);
            args.push(arg.expr);
            if self.accept(Kind::RightParen).is_some() {
                return Ok((args, depth));
            }
            let Some(comma) = self.accept(Kind::Comma) else { return Err(self.lost()) };
            self.readable()?;
            if !self.peek().begins_an_expression() {
                return Err(Fault::new(comma.span, "trailing commas not allowed in function call args"));
            }
        }
    }
}
