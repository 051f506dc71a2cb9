//! The syntax tree. Every node carries the stretch of text that it was read from.

use std::time::Duration;

use model::Matcher;

use crate::{AggregateOp, BinaryOp, DurationExpr, Function, Span, ValueType};

/// An expression. At most [`crate::MAX_DEPTH`] levels deep, so that walking it recursively is safe.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `1.5`, `0x1f`, `Inf`, `5m`
    Number(Number),
    /// `"text"`
    String(StringLiteral),
    /// `up{job="node"} offset 5m`
    Vector(VectorSelector),
    /// `up[5m]`
    Matrix(MatrixSelector),
    /// `rate(up[5m])[1h:1m]`
    Subquery(Subquery),
    /// `rate(up[5m])`
    Call(Call),
    /// `sum by (job) (up)`
    Aggregation(Aggregation),
    /// `a + on (job) b`
    Binary(Binary),
    /// `-a`; a sign before a number belongs to the number
    Unary(Unary),
    /// `(a)`
    Paren(Paren),
}

/// A number.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// The value; of a duration, seconds.
    pub value: f64,
    /// Whether it was written as a duration (`5m`), and is printed as one.
    pub is_duration: bool,
    /// Where it stands, with its sign.
    pub span: Span,
}

/// A string literal.
#[derive(Debug, Clone, PartialEq)]
pub struct StringLiteral {
    /// The text, without quotes and escapes. Bytes that are not UTF-8 (`"\xff"`) are U+FFFD.
    pub value: String,
    /// Where it stands, with its quotes.
    pub span: Span,
}

/// A selector of series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// The name before the braces. A name in quotes inside of them is only a matcher.
    pub name: Option<String>,
    /// All matchers in the order of the text; the one of [`Self::name`] comes last.
    pub matchers: Vec<Matcher>,
    /// How far back it looks (forward where negative); zero without `offset`.
    pub offset: Stretch,
    /// The time that `@` fixes.
    pub at: Option<At>,
    /// `anchored` or `smoothed`.
    pub extension: Option<Extension>,
    /// Where it stands, with `@` and `offset`; inside of a [`MatrixSelector`] without.
    pub span: Span,
}

/// A selector of ranges of series.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// The series; `offset`, `@` and `anchored` of the range are kept here.
    pub selector: VectorSelector,
    /// How long the range is.
    pub range: Stretch,
    /// Where it stands, with all that follows the brackets.
    pub span: Span,
}

/// An expression that is evaluated at many times.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// The expression.
    pub expr: Box<Expr>,
    /// How long the range is.
    pub range: Stretch,
    /// The distance of the evaluations; `None` leaves it to the engine.
    pub step: Option<Stretch>,
    /// How far back the range ends; zero without `offset`.
    pub offset: Stretch,
    /// The time that `@` fixes.
    pub at: Option<At>,
    /// Where it stands, with all that follows the brackets.
    pub span: Span,
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function.
    pub function: &'static Function,
    /// The arguments: as many as the function takes, and of its types.
    pub args: Vec<Expr>,
    /// Where it stands, with its parentheses.
    pub span: Span,
}

/// An aggregation.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregation {
    /// Which.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Box<Expr>,
    /// The parameter of those that have one ([`AggregateOp::parameter`]).
    pub param: Option<Box<Expr>>,
    /// The labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// `without`; else `by`, or nothing.
    pub without: bool,
    /// Where it stands.
    pub span: Span,
}

/// Two expressions and an operator between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// The left operand.
    pub lhs: Box<Expr>,
    /// The right operand.
    pub rhs: Box<Expr>,
    /// `bool`: the comparison answers 0 or 1.
    pub return_bool: bool,
    /// How series find their partners; only between two instant vectors.
    pub matching: Option<Box<Matching>>,
    /// Where the operator stands, without its modifiers.
    pub op_span: Span,
    /// Where both operands stand.
    pub span: Span,
}

/// How the series of two vectors find one another.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// How many partners there may be.
    pub card: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// `on`; else `ignoring`, or nothing.
    pub on: bool,
    /// The labels of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// `fill` or `fill_left`: what stands for a missing left partner.
    pub fill_left: Option<f64>,
    /// `fill` or `fill_right`: what stands for a missing right partner.
    pub fill_right: Option<f64>,
}

/// How many series may match on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// Without a modifier.
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// An expression with a sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    /// `-`; else `+`.
    pub negative: bool,
    /// The operand.
    pub expr: Box<Expr>,
    /// Where it stands, with its sign.
    pub span: Span,
}

/// An expression in parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Paren {
    /// The expression.
    pub expr: Box<Expr>,
    /// Where it stands, with its parentheses.
    pub span: Span,
}

/// A length of time in a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Stretch {
    /// Written out, in milliseconds.
    Fixed(i64),
    /// Arithmetic, known when the query's step and range are.
    Computed(Box<DurationExpr>),
}

impl Stretch {
    /// No time at all.
    pub const ZERO: Self = Self::Fixed(0);

    /// Milliseconds, where they are written out.
    pub fn fixed_ms(&self) -> Option<i64> {
        match self {
            Self::Fixed(ms) => Some(*ms),
            Self::Computed(_) => None,
        }
    }

    /// Milliseconds; `step` and `range` are what `step()` and `range()` stand for.
    ///
    /// # Errors
    /// On a division by zero, and on what does not fit into 292 years.
    pub fn ms(&self, step: Duration, range: Duration) -> Result<i64, crate::DurationError> {
        match self {
            Self::Fixed(ms) => Ok(*ms),
            Self::Computed(expr) => expr.ms(step, range),
        }
    }
}

/// The time that `@` fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// `@ 1609746000.5`, as milliseconds since the epoch.
    Time(i64),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// How a range reaches beyond its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// `anchored`
    Anchored,
    /// `smoothed`
    Smoothed,
}

impl Expr {
    /// Where it stands in the text.
    pub fn span(&self) -> Span {
        match self {
            Self::Number(node) => node.span,
            Self::String(node) => node.span,
            Self::Vector(node) => node.span,
            Self::Matrix(node) => node.span,
            Self::Subquery(node) => node.span,
            Self::Call(node) => node.span,
            Self::Aggregation(node) => node.span,
            Self::Binary(node) => node.span,
            Self::Unary(node) => node.span,
            Self::Paren(node) => node.span,
        }
    }

    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Vector(_) | Self::Aggregation(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Call(call) => call.function.returns,
            Self::Binary(binary) => {
                let scalar = |side: &Self| side.value_type() == ValueType::Scalar;
                if scalar(&binary.lhs) && scalar(&binary.rhs) { ValueType::Scalar } else { ValueType::Vector }
            }
            Self::Unary(unary) => unary.expr.value_type(),
            Self::Paren(paren) => paren.expr.value_type(),
        }
    }

    /// The expressions directly below, in the order of the text.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => Vec::new(),
            Self::Subquery(subquery) => vec![&subquery.expr],
            Self::Call(call) => call.args.iter().collect(),
            Self::Aggregation(aggregation) => {
                aggregation.param.iter().map(|param| &**param).chain([&*aggregation.expr]).collect()
            }
            Self::Binary(binary) => vec![&binary.lhs, &binary.rhs],
            Self::Unary(unary) => vec![&unary.expr],
            Self::Paren(paren) => vec![&paren.expr],
        }
    }

    /// Every series selector in it, in the order of the text.
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        let mut found = Vec::new();
        self.collect_selectors(&mut found);
        found
    }

    fn collect_selectors<'a>(&'a self, into: &mut Vec<&'a VectorSelector>) {
        match self {
            Self::Vector(selector) => into.push(selector),
            Self::Matrix(matrix) => into.push(&matrix.selector),
            _ => self.children().into_iter().for_each(|child| child.collect_selectors(into)),
        }
    }

    /// The expression without the parentheses around it.
    pub fn unparenthesized(&self) -> &Self {
        match self {
            Self::Paren(paren) => paren.expr.unparenthesized(),
            _ => self,
        }
    }
}

impl Extension {
    /// The keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}

impl Cardinality {
    /// The name in the HTTP API: `one-to-one`, `many-to-one`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}
