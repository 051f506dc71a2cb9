//! Arithmetic in durations: `[5m * 2]`, `offset (1h + step())`. Experimental in Prometheus.

use std::time::Duration;

use crate::Span;

/// An expression where a duration stands.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub span: Span,
}

/// The forms of a [`DurationExpr`].
#[derive(Debug, Clone, PartialEq)]
pub enum DurationKind {
    /// A number of seconds.
    Literal {
        /// Seconds.
        seconds: f64,
        /// Whether it was written as a duration, and is printed as one.
        is_duration: bool,
    },
    /// `step()`: the distance of the query's steps; zero of an instant query.
    Step,
    /// `range()`: from the query's first step to its last; zero of an instant query.
    Range,
    /// `-5m`
    Negative(Box<DurationExpr>),
    /// `(5m)`
    Paren(Box<DurationExpr>),
    /// `5m + 1m`
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `min(5m, step())`, or `min_of`
    Min(Box<DurationExpr>, Box<DurationExpr>),
    /// `max(5m, step())`, or `max_of`
    Max(Box<DurationExpr>, Box<DurationExpr>),
}

/// An operator between two durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl DurationOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        }
    }
}

/// Arithmetic that ends in no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Something was divided by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Something was taken modulo zero.
    #[error("modulo by zero")]
    ModuloByZero,
    /// Beyond 292 years, or not a number.
    #[error("duration is out of range")]
    OutOfRange,
}

/// What fits into 63 bits of nanoseconds, as Go keeps durations.
pub(crate) const MAX_SECONDS: f64 = 9_223_372_036.854_776;

impl DurationExpr {
    /// Milliseconds, what is beyond them cut off; `step` and `range` are what `step()` and `range()` stand for.
    ///
    /// # Errors
    /// As [`DurationError`] says.
    pub fn ms(&self, step: Duration, range: Duration) -> Result<i64, DurationError> {
        let seconds = self.seconds(step, range)?;
        if seconds.is_nan() || seconds.abs() > MAX_SECONDS {
            return Err(DurationError::OutOfRange);
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn seconds(&self, step: Duration, range: Duration) -> Result<f64, DurationError> {
        let value = |expr: &Self| expr.seconds(step, range);
        Ok(match &self.kind {
            DurationKind::Literal { seconds, .. } => *seconds,
            DurationKind::Step => step.as_secs_f64(),
            DurationKind::Range => range.as_secs_f64(),
            DurationKind::Negative(expr) => -value(expr)?,
            DurationKind::Paren(expr) => value(expr)?,
            DurationKind::Min(a, b) => value(a)?.min(value(b)?),
            DurationKind::Max(a, b) => value(a)?.max(value(b)?),
            DurationKind::Binary(op, a, b) => match (op, value(a)?, value(b)?) {
                (DurationOp::Add, a, b) => a + b,
                (DurationOp::Sub, a, b) => a - b,
                (DurationOp::Mul, a, b) => a * b,
                (DurationOp::Div, _, 0.0) => return Err(DurationError::DivisionByZero),
                (DurationOp::Div, a, b) => a / b,
                (DurationOp::Mod, _, 0.0) => return Err(DurationError::ModuloByZero),
                (DurationOp::Mod, a, b) => a % b,
                (DurationOp::Pow, a, b) => a.powf(b),
            },
        })
    }
}
