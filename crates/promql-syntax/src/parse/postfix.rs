//! What may stand behind an operand: brackets, `offset`, `@`, `anchored`, `smoothed`; any number of them, in any order.

use super::duration::Place;
use super::{Parsed, Parser};
use crate::ast::{At, Expr, Extension, MatrixSelector, Stretch, Subquery};
use crate::error::{Fault, Span};
use crate::token::{Clock, Keyword, Kind};

/// The parts of a selector or subquery that modifiers change.
struct Target<'a> {
    offset: &'a mut Stretch,
    at: &'a mut Option<At>,
    end: &'a mut u32,
}

fn target(expr: &mut Expr) -> Option<Target<'_>> {
    match expr {
        Expr::Vector(selector) => {
            Some(Target { offset: &mut selector.offset, at: &mut selector.at, end: &mut selector.span.end })
        }
        Expr::Matrix(matrix) => {
            Some(Target { offset: &mut matrix.selector.offset, at: &mut matrix.selector.at, end: &mut matrix.span.end })
        }
        Expr::Subquery(subquery) => {
            Some(Target { offset: &mut subquery.offset, at: &mut subquery.at, end: &mut subquery.span.end })
        }
        _ => None,
    }
}

const TARGETS: &str = "must be preceded by an instant vector selector or range vector selector or a subquery";

impl Parser<'_> {
    pub(super) fn postfix(&mut self, mut parsed: Parsed) -> Result<Parsed, Fault> {
        loop {
            match self.peek() {
                Kind::LeftBracket => parsed = self.brackets(parsed)?,
                Kind::Keyword(Keyword::Offset) => self.offset(&mut parsed.expr)?,
                Kind::At => self.at_modifier(&mut parsed.expr)?,
                Kind::Keyword(Keyword::Anchored) => self.extension(&mut parsed.expr, Extension::Anchored)?,
                Kind::Keyword(Keyword::Smoothed) => self.extension(&mut parsed.expr, Extension::Smoothed)?,
                _ => return Ok(parsed),
            }
        }
    }

    /// A range or a subquery.
    fn brackets(&mut self, parsed: Parsed) -> Result<Parsed, Fault> {
        let open = self.advance().span;
        let range = self.positive_stretch(Place::Range)?;
        if self.accept(Kind::Colon).is_some() {
            return self.subquery(parsed, range);
        }
        let Some(close) = self.accept(Kind::RightBracket) else {
            return Err(self.unexpected("subquery or range", r#"":" or "]""#));
        };
        let fault = |message: &str| Err(Fault::new(open.to(close.span), message));
        match parsed.expr {
            Expr::Vector(selector) if selector.offset != Stretch::ZERO => {
                fault("no offset modifiers allowed before range")
            }
            Expr::Vector(selector) if matches!(selector.at, Some(At::Time(_))) => {
                fault("no @ modifiers allowed before range")
            }
            Expr::Vector(selector) => {
                let span = selector.span.to(close.span);
                Ok(Parsed { expr: Expr::Matrix(MatrixSelector { selector, range, span }), ..parsed })
            }
            _ => fault("ranges only allowed for vector selectors"),
        }
    }

    /// Reads on after the colon.
    fn subquery(&mut self, parsed: Parsed, range: Stretch) -> Result<Parsed, Fault> {
        let step = match self.peek() {
            Kind::RightBracket => None,
            _ => Some(self.positive_stretch(Place::Step)?),
        };
        let Some(close) = self.accept(Kind::RightBracket) else {
            return Err(self.unexpected("subquery selector", r#""]""#));
        };
        let span = parsed.expr.span().to(close.span);
        let expr = Box::new(parsed.expr);
        let subquery = Subquery { expr, range, step, offset: Stretch::ZERO, at: None, span };
        self.above(parsed.depth, Expr::Subquery(subquery))
    }

    fn offset(&mut self, expr: &mut Expr) -> Result<(), Fault> {
        self.advance();
        let offset = self.offset_stretch()?;
        let (end, span) = (self.last_end(), expr.span());
        let Some(target) = target(expr) else {
            return Err(Fault::new(span, format!("offset modifier {TARGETS}")));
        };
        if *target.offset != Stretch::ZERO {
            return Err(Fault::new(span, "offset may not be set multiple times"));
        }
        (*target.offset, *target.end) = (offset, end);
        Ok(())
    }

    fn at_modifier(&mut self, expr: &mut Expr) -> Result<(), Fault> {
        self.advance();
        let at = self.at_time(expr.span())?;
        let (end, span) = (self.last_end(), expr.span());
        let Some(target) = target(expr) else {
            return Err(Fault::new(span, format!("@ modifier {TARGETS}")));
        };
        if target.at.is_some() {
            return Err(Fault::new(span, "@ <timestamp> may not be set multiple times"));
        }
        (*target.at, *target.end) = (Some(at), end);
        Ok(())
    }

    /// A time, or `start()` or `end()`; `before` is what it is said of.
    fn at_time(&mut self, before: Span) -> Result<At, Fault> {
        const CONTEXT: (&str, &str) = ("@", "timestamp");
        let named = match self.peek() {
            Kind::Clock(Clock::Start) => At::Start,
            Kind::Clock(Clock::End) => At::End,
            _ => {
                let Some(seconds) = self.signed_number()? else { return Err(self.unexpected(CONTEXT.0, CONTEXT.1)) };
                // Beyond this, milliseconds would not fit; Prometheus wraps around there.
                if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 / 1000.0 {
                    let shown = match seconds {
                        f64::INFINITY => "+Inf".to_owned(),
                        f64::NEG_INFINITY => "-Inf".to_owned(),
                        _ => format!("{seconds:.6}"),
                    };
                    return Err(Fault::new(before, format!("timestamp out of bounds for @ modifier: {shown}")));
                }
                return Ok(At::Time((seconds * 1000.0).round() as i64));
            }
        };
        self.advance();
        for paren in [Kind::LeftParen, Kind::RightParen] {
            if self.accept(paren).is_none() {
                return Err(self.unexpected(CONTEXT.0, CONTEXT.1));
            }
        }
        Ok(named)
    }

    fn extension(&mut self, expr: &mut Expr, extension: Extension) -> Result<(), Fault> {
        let end = self.advance().span.end;
        let (name, span) = (extension.as_str(), expr.span());
        let fault = |message: String| Err(Fault::new(span, message));
        if !self.options.extended_ranges {
            return fault(format!("{name} modifier is experimental and not enabled"));
        }
        let (found, span_end) = match expr {
            Expr::Vector(selector) => (&mut selector.extension, &mut selector.span.end),
            Expr::Matrix(matrix) => (&mut matrix.selector.extension, &mut matrix.span.end),
            Expr::Subquery(_) => return fault(format!("{name} modifier is not supported for subqueries")),
            _ => return fault(format!("{name} modifier not implemented")),
        };
        if found.is_some_and(|other| other != extension) {
            return fault("anchored and smoothed modifiers cannot be used together".to_owned());
        }
        (*found, *span_end) = (Some(extension), end);
        Ok(())
    }
}
