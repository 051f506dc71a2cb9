//! Arithmetic in durations, which ends when the query's step and range are known.

use std::time::Duration;

use promql_syntax::{Expr, Stretch};

use crate::PromqlError;

/// What `step()` and `range()` stand for in durations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    pub step: Duration,
    pub range: Duration,
}

/// Whether all durations are written out.
pub(crate) fn are_fixed(expr: &Expr) -> bool {
    let fixed = |stretch: &Stretch| stretch.fixed_ms().is_some();
    let own = match expr {
        Expr::Vector(selector) => fixed(&selector.offset),
        Expr::Matrix(matrix) => fixed(&matrix.range) && fixed(&matrix.selector.offset),
        Expr::Subquery(node) => fixed(&node.range) && fixed(&node.offset) && node.step.as_ref().is_none_or(fixed),
        _ => true,
    };
    own && expr.children().into_iter().all(are_fixed)
}

/// Writes all durations out.
///
/// # Errors
/// When arithmetic ends in no duration, or in none that is allowed where it stands.
pub(crate) fn fix(expr: &mut Expr, spans: Spans) -> Result<(), PromqlError> {
    match expr {
        Expr::Number(_) | Expr::String(_) => Ok(()),
        Expr::Vector(selector) => offset(&mut selector.offset, spans),
        Expr::Matrix(matrix) => {
            offset(&mut matrix.selector.offset, spans)?;
            length(&mut matrix.range, spans)
        }
        Expr::Subquery(subquery) => {
            offset(&mut subquery.offset, spans)?;
            subquery.step.iter_mut().try_for_each(|step| length(step, spans))?;
            length(&mut subquery.range, spans)?;
            fix(&mut subquery.expr, spans)
        }
        Expr::Call(call) => call.args.iter_mut().try_for_each(|arg| fix(arg, spans)),
        Expr::Aggregation(aggregation) => {
            aggregation.param.iter_mut().try_for_each(|param| fix(param, spans))?;
            fix(&mut aggregation.expr, spans)
        }
        Expr::Binary(binary) => {
            fix(&mut binary.lhs, spans)?;
            fix(&mut binary.rhs, spans)
        }
        Expr::Unary(unary) => fix(&mut unary.expr, spans),
        Expr::Paren(paren) => fix(&mut paren.expr, spans),
    }
}

fn offset(stretch: &mut Stretch, Spans { step, range }: Spans) -> Result<(), PromqlError> {
    let ms = stretch.ms(step, range).map_err(|e| PromqlError::BadData(e.to_string()))?;
    *stretch = Stretch::Fixed(ms);
    Ok(())
}

fn length(stretch: &mut Stretch, spans: Spans) -> Result<(), PromqlError> {
    offset(stretch, spans)?;
    match stretch.fixed_ms() {
        Some(ms) if ms > 0 => Ok(()),
        _ => Err(PromqlError::BadData("duration must be greater than 0".to_owned())),
    }
}
