//! What stands between operators: literals, parentheses, selectors, calls.

use super::{Parsed, Parser};
use crate::ast::{Expr, Number, Paren, StringLiteral};
use crate::error::Fault;
use crate::lex::{parse_duration_ms, parse_number};
use crate::quote::{quote, unquote};
use crate::token::{Keyword, Kind, Token};

impl Parser<'_> {
    pub(super) fn primary(&mut self) -> Result<Parsed, Fault> {
        match self.peek() {
            Kind::Number | Kind::Duration => Ok(Parsed::leaf(Expr::Number(self.number()?))),
            Kind::String => {
                let token = self.advance();
                let value = self.unquoted(token)?;
                Ok(Parsed::leaf(Expr::String(StringLiteral { value, span: token.span })))
            }
            Kind::LeftParen => self.paren(),
            Kind::Identifier | Kind::Clock(_) if self.peek_after() == Kind::LeftParen => self.call(),
            Kind::Aggregate(op)
                if matches!(
                    self.peek_after(),
                    Kind::LeftParen | Kind::Keyword(Keyword::By) | Kind::Keyword(Keyword::Without)
                ) =>
            {
                self.aggregation(op)
            }
            kind if kind == Kind::LeftBrace || kind.names_a_metric() => {
                Ok(Parsed::leaf(Expr::Vector(self.selector()?)))
            }
            _ => Err(self.lost()),
        }
    }

    fn paren(&mut self) -> Result<Parsed, Fault> {
        let open = self.advance().span;
        let inner = self.expr()?;
        let close = self.accept(Kind::RightParen).ok_or_else(|| self.lost())?.span;
        self.above(inner.depth, Expr::Paren(Paren { expr: Box::new(inner.expr), span: open.to(close) }))
    }

    /// A number or a duration, which comes next.
    pub(super) fn number(&mut self) -> Result<Number, Fault> {
        let token = self.advance();
        let text = self.text(token);
        let is_duration = token.kind == Kind::Duration;
        let value = match is_duration {
            true => parse_duration_ms(text).map(|ms| ms as f64 / 1000.0),
            false => parse_number(text),
        };
        let value = value.map_err(|message| Fault::new(token.span, message))?;
        Ok(Number { value, is_duration, span: token.span })
    }

    /// The value of a string literal.
    pub(super) fn unquoted(&self, token: Token) -> Result<String, Fault> {
        let text = self.text(token);
        let failed = || Fault::new(token.span, format!("error unquoting string {}: invalid syntax", quote(text)));
        unquote(text).ok_or_else(failed)
    }
}
