//! Selectors of series: `up{job="node"}`, `{"a.b", "c d"="e"}`.

use model::{METRIC_NAME, MatchOp, Matcher};

use super::Parser;
use crate::MAX_REGEX_BYTES;
use crate::ast::{Stretch, VectorSelector};
use crate::error::{Fault, Span};
use crate::ops::BinaryOp;
use crate::token::{Kind, Token};

const CONTEXT: &str = "label matching";

impl Parser<'_> {
    /// A selector, whose name or brace comes next.
    pub(super) fn selector(&mut self) -> Result<VectorSelector, Fault> {
        let start = self.token().span;
        let name = (self.peek() != Kind::LeftBrace).then(|| self.advance()).map(|token| self.text(token).to_owned());
        let mut matchers = Vec::new();
        if self.accept(Kind::LeftBrace).is_some() {
            self.matchers(&mut matchers)?;
        }
        let mut span = start;
        span.end = self.last_end();
        matchers.extend(name.as_deref().map(|name| Matcher::equal(METRIC_NAME, name)));
        Ok(VectorSelector { name, matchers, offset: Stretch::ZERO, at: None, extension: None, span })
    }

    /// Reads on after the opening brace, as far as the closing one.
    fn matchers(&mut self, into: &mut Vec<Matcher>) -> Result<(), Fault> {
        if self.accept(Kind::RightBrace).is_some() {
            return Ok(());
        }
        loop {
            into.push(self.matcher()?);
            if self.accept(Kind::Comma).is_none() && self.peek() != Kind::RightBrace {
                return Err(self.unexpected(CONTEXT, r#""," or "}""#));
            }
            if self.accept(Kind::RightBrace).is_some() {
                return Ok(());
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher, Fault> {
        let token = self.token();
        let name = match token.kind {
            Kind::Identifier => self.text(token).to_owned(),
            Kind::String => self.unquoted(token)?,
            _ => return Err(self.unexpected(CONTEXT, r#"identifier or "}""#)),
        };
        self.advance();
        let op = match self.peek() {
            Kind::Assign => MatchOp::Equal,
            Kind::Op(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Kind::Matches => MatchOp::Regex,
            Kind::MatchesNot => MatchOp::NotRegex,
            _ if token.kind == Kind::String => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected(CONTEXT, "label matching operator")),
        };
        self.advance();
        let Some(value) = self.accept(Kind::String) else { return Err(self.unexpected(CONTEXT, "string")) };
        self.compile(op, name, token, value)
    }

    fn compile(&mut self, op: MatchOp, name: String, first: Token, value: Token) -> Result<Matcher, Fault> {
        let text = self.unquoted(value)?;
        let span = first.span.to(value.span);
        let matcher = Matcher::new(op, name, text)
            .map_err(|error| Fault::new(span, format!("error parsing regexp: {}", error.reason)))?;
        self.weigh_regex(matcher.weight_bytes(), span)?;
        Ok(matcher)
    }

    /// Adds what a regular expression takes to what the query's others do.
    pub(super) fn weigh_regex(&mut self, bytes: usize, span: Span) -> Result<(), Fault> {
        self.regex_bytes = self.regex_bytes.saturating_add(bytes);
        if self.regex_bytes <= MAX_REGEX_BYTES {
            return Ok(());
        }
        let limit = model::format_bytes(MAX_REGEX_BYTES as u64);
        Err(Fault::new(span, format!("the query's regular expressions together would take more than {limit}")))
    }
}
