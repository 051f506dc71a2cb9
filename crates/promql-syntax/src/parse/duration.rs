//! Durations: in brackets and behind `offset`, as numbers, as durations, as arithmetic.

use super::Parser;
use crate::MAX_DEPTH;
use crate::ast::Stretch;
use crate::durations::{DurationExpr, DurationKind, DurationOp, MAX_SECONDS};
use crate::error::{Fault, Span};
use crate::ops::{AggregateOp, BinaryOp, LOWEST, POW};
use crate::token::{Clock, Kind};

/// Where a duration stands, which is what errors name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Range,
    Step,
    Offset,
}

impl Place {
    fn context(self) -> (&'static str, &'static str) {
        match self {
            Self::Range => ("subquery or range selector", "number, duration, step(), or range()"),
            Self::Step => ("subquery selector", r#"number, duration, step(), range(), or "]""#),
            Self::Offset => ("offset", "number, duration, step(), or range()"),
        }
    }
}

impl Parser<'_> {
    /// A range or a step.
    pub(super) fn positive_stretch(&mut self, place: Place) -> Result<Stretch, Fault> {
        self.duration_calls = 0;
        let expr = self.duration(place, LOWEST)?;
        self.readable()?;
        if let DurationKind::Literal { seconds, .. } = expr.kind
            && (seconds <= 0.0 || seconds.is_nan())
        {
            return Err(Fault::new(expr.span, "duration must be greater than 0"));
        }
        Ok(Self::stretch(expr))
    }

    /// What follows `offset`. Arithmetic there stands in parentheses: `a offset 5m + b` is a sum.
    pub(super) fn offset_stretch(&mut self) -> Result<Stretch, Fault> {
        self.duration_calls = 0;
        let expr = match self.peek() {
            Kind::LeftParen => self.duration(Place::Offset, LOWEST)?,
            _ => self.signed_duration(Place::Offset)?,
        };
        Ok(Self::stretch(expr))
    }

    /// A literal is a length of time at once.
    fn stretch(expr: DurationExpr) -> Stretch {
        if let DurationKind::Literal { seconds, .. } = expr.kind {
            return Stretch::Fixed((seconds * 1e9).round() as i64 / 1_000_000);
        }
        Stretch::Computed(Box::new(expr))
    }

    /// Called when a part is complete: mistakes in it come first.
    fn arithmetic_allowed(&self, span: Span) -> Result<(), Fault> {
        match self.options.duration_expressions {
            true => Ok(()),
            false => Err(Fault::new(span, "experimental duration expression is not enabled")),
        }
    }

    /// Durations with operators between them that bind at least as tightly as `least`.
    fn duration(&mut self, place: Place, least: u8) -> Result<DurationExpr, Fault> {
        // Every level takes at least one more call.
        self.duration_calls += 1;
        if self.duration_calls > MAX_DEPTH {
            return Err(self.too_deep());
        }
        let mut lhs = self.signed_duration(place)?;
        while let Some((op, binding)) = self.duration_op()
            && binding >= least
        {
            let op_span = self.advance().span;
            let rhs = self.duration(place, if binding == POW { POW } else { binding + 1 })?;
            self.arithmetic_allowed(lhs.span)?;
            if let (DurationOp::Div | DurationOp::Mod, DurationKind::Literal { seconds: 0.0, .. }) = (op, &rhs.kind) {
                let message = if op == DurationOp::Div { "division by zero" } else { "modulo by zero" };
                return Err(Fault::new(op_span, message));
            }
            let span = lhs.span.to(rhs.span);
            lhs = DurationExpr { kind: DurationKind::Binary(op, Box::new(lhs), Box::new(rhs)), span };
        }
        Ok(lhs)
    }

    fn duration_op(&self) -> Option<(DurationOp, u8)> {
        let Kind::Op(op) = self.peek() else { return None };
        let duration_op = match op {
            BinaryOp::Add => DurationOp::Add,
            BinaryOp::Sub => DurationOp::Sub,
            BinaryOp::Mul => DurationOp::Mul,
            BinaryOp::Div => DurationOp::Div,
            BinaryOp::Mod => DurationOp::Mod,
            BinaryOp::Pow => DurationOp::Pow,
            _ => return None,
        };
        Some((duration_op, op.binding()))
    }

    fn signed_duration(&mut self, place: Place) -> Result<DurationExpr, Fault> {
        let Kind::Op(sign @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek() else { return self.plain_duration(place) };
        let start = self.advance().span;
        let mut operand = match place {
            // There, an operator behind the number belongs to the query.
            Place::Offset if self.peek() != Kind::LeftParen => self.plain_duration(place)?,
            _ => self.duration(place, POW)?,
        };
        let span = start.to(operand.span);
        match &mut operand.kind {
            DurationKind::Literal { seconds, .. } => {
                *seconds = if sign == BinaryOp::Sub { -*seconds } else { *seconds };
                operand.span = span;
                Ok(operand)
            }
            _ if sign == BinaryOp::Add => Ok(operand),
            _ => Ok(DurationExpr { kind: DurationKind::Negative(Box::new(operand)), span }),
        }
    }

    fn plain_duration(&mut self, place: Place) -> Result<DurationExpr, Fault> {
        match self.peek() {
            Kind::Number | Kind::Duration => {
                let number = self.number()?;
                if number.value.abs() > MAX_SECONDS {
                    return Err(Fault::new(number.span, "duration out of range"));
                }
                let kind = DurationKind::Literal { seconds: number.value, is_duration: number.is_duration };
                Ok(DurationExpr { kind, span: number.span })
            }
            Kind::Clock(Clock::Step) => self.clock(place, DurationKind::Step),
            Kind::Clock(Clock::Range) => self.clock(place, DurationKind::Range),
            Kind::Clock(Clock::MinOf) | Kind::Aggregate(AggregateOp::Min) => self.extreme(place, DurationKind::Min),
            Kind::Clock(Clock::MaxOf) | Kind::Aggregate(AggregateOp::Max) => self.extreme(place, DurationKind::Max),
            Kind::LeftParen => {
                let open = self.advance().span;
                let inner = self.duration(place, LOWEST)?;
                let close = self.part(place, Kind::RightParen)?;
                self.arithmetic_allowed(inner.span)?;
                Ok(DurationExpr { kind: DurationKind::Paren(Box::new(inner)), span: open.to(close) })
            }
            _ => Err(self.misplaced(place)),
        }
    }

    fn misplaced(&mut self, place: Place) -> Fault {
        let (context, expected) = place.context();
        self.unexpected(context, expected)
    }

    fn part(&mut self, place: Place, kind: Kind) -> Result<Span, Fault> {
        self.accept(kind).map(|token| token.span).ok_or_else(|| self.misplaced(place))
    }

    /// `step()` or `range()`.
    fn clock(&mut self, place: Place, kind: DurationKind) -> Result<DurationExpr, Fault> {
        let start = self.advance().span;
        self.part(place, Kind::LeftParen)?;
        let span = start.to(self.part(place, Kind::RightParen)?);
        self.arithmetic_allowed(span)?;
        Ok(DurationExpr { kind, span })
    }

    /// `min(a, b)` or `max(a, b)`.
    fn extreme(
        &mut self,
        place: Place,
        kind: fn(Box<DurationExpr>, Box<DurationExpr>) -> DurationKind,
    ) -> Result<DurationExpr, Fault> {
        let start = self.advance().span;
        self.part(place, Kind::LeftParen)?;
        let a = self.duration(place, LOWEST)?;
        self.part(place, Kind::Comma)?;
        let b = self.duration(place, LOWEST)?;
        let span = start.to(self.part(place, Kind::RightParen)?);
        self.arithmetic_allowed(span)?;
        Ok(DurationExpr { kind: kind(Box::new(a), Box::new(b)), span })
    }
}
