//! What may stand behind an operator (`bool`, `on`, `group_left`, `fill`), and lists of labels.

use super::Parser;
use crate::ast::{Cardinality, Matching};
use crate::error::Fault;
use crate::ops::BinaryOp;
use crate::quote::quote;
use crate::token::{Keyword, Kind};

/// The modifiers of an operator.
pub(super) struct Modifiers {
    pub(super) return_bool: bool,
    pub(super) matching: Matching,
}

impl Matching {
    pub(crate) fn fills(&self) -> bool {
        self.fill_left.is_some() || self.fill_right.is_some()
    }
}

const CONTEXT: &str = "grouping opts";

impl Parser<'_> {
    fn keyword(&mut self, keyword: Keyword) -> bool {
        self.accept(Kind::Keyword(keyword)).is_some()
    }

    /// Everything between an operator and its right operand.
    pub(super) fn modifiers(&mut self) -> Result<Modifiers, Fault> {
        let return_bool = self.keyword(Keyword::Bool);
        let mut matching = Matching {
            card: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        matching.on = self.keyword(Keyword::On);
        if matching.on || self.keyword(Keyword::Ignoring) {
            matching.labels = self.labels()?;
            if self.keyword(Keyword::GroupLeft) {
                matching.card = Cardinality::ManyToOne;
            } else if self.keyword(Keyword::GroupRight) {
                matching.card = Cardinality::OneToMany;
            }
            if matching.card != Cardinality::OneToOne && !self.operand_follows() {
                matching.include = self.labels()?;
            }
        }
        self.fills(&mut matching)?;
        Ok(Modifiers { return_bool, matching })
    }

    /// Whether the right operand may begin here, or `fill`; a parenthesis belongs to the labels.
    fn operand_follows(&self) -> bool {
        match self.peek() {
            Kind::LeftParen => false,
            Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight) => true,
            kind => kind.begins_an_expression(),
        }
    }

    /// `fill (...)`, or `fill_left (...)` and `fill_right (...)` in any order.
    fn fills(&mut self, matching: &mut Matching) -> Result<(), Fault> {
        if self.keyword(Keyword::Fill) {
            matching.fill_left = Some(self.fill_value()?);
            matching.fill_right = matching.fill_left;
            return Ok(());
        }
        loop {
            if matching.fill_left.is_none() && self.keyword(Keyword::FillLeft) {
                matching.fill_left = Some(self.fill_value()?);
            } else if matching.fill_right.is_none() && self.keyword(Keyword::FillRight) {
                matching.fill_right = Some(self.fill_value()?);
            } else {
                return Ok(());
            }
        }
    }

    fn fill_value(&mut self) -> Result<f64, Fault> {
        self.accept(Kind::LeftParen).ok_or_else(|| self.lost())?;
        let value = self.signed_number()?.ok_or_else(|| self.lost())?;
        self.accept(Kind::RightParen).ok_or_else(|| self.lost())?;
        Ok(value)
    }

    /// A number or duration with or without a sign; nothing where another word follows.
    pub(super) fn signed_number(&mut self) -> Result<Option<f64>, Fault> {
        let negative = match self.peek() {
            Kind::Op(BinaryOp::Sub) => true,
            Kind::Op(BinaryOp::Add) => false,
            Kind::Number | Kind::Duration => return Ok(Some(self.number()?.value)),
            _ => return Ok(None),
        };
        self.advance();
        match self.peek() {
            Kind::Number | Kind::Duration => {
                let value = self.number()?.value;
                Ok(Some(if negative { -value } else { value }))
            }
            _ => Ok(None),
        }
    }

    /// Labels in parentheses: `(job, "a.b")`.
    pub(super) fn labels(&mut self) -> Result<Vec<String>, Fault> {
        if self.accept(Kind::LeftParen).is_none() {
            return Err(self.unexpected(CONTEXT, r#""(""#));
        }
        let mut labels = Vec::new();
        if self.accept(Kind::RightParen).is_some() {
            return Ok(labels);
        }
        loop {
            labels.push(self.label()?);
            if self.accept(Kind::Comma).is_none() && self.peek() != Kind::RightParen {
                return Err(self.unexpected(CONTEXT, r#""," or ")""#));
            }
            if self.accept(Kind::RightParen).is_some() {
                return Ok(labels);
            }
        }
    }

    fn label(&mut self) -> Result<String, Fault> {
        let token = self.token();
        let label = match token.kind {
            kind if kind.names_a_label() => self.text(token).to_owned(),
            Kind::String => self.unquoted(token)?,
            _ => return Err(self.unexpected(CONTEXT, "label")),
        };
        if label.is_empty() {
            return Err(Fault::new(token.span, format!("invalid label name for grouping: {}", quote(&label))));
        }
        self.advance();
        Ok(label)
    }
}
