//! Words of the language, and how errors describe them.

use crate::quote::quote;
use crate::{AggregateOp, BinaryOp, Span};

/// A word and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// The end of the text.
    End,
    /// Something that is no word; the lexer knows what is wrong with it, and nothing follows.
    Unreadable,
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    /// `=`
    Assign,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
    /// `@`
    At,
    Op(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    /// A word that stands for a time or a length of time where it is called.
    Clock(Clock),
    Identifier,
    /// An identifier with colons.
    MetricIdentifier,
    Number,
    Duration,
    String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Anchored,
    Bool,
    By,
    Fill,
    FillLeft,
    FillRight,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Smoothed,
    Without,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    End,
    MaxOf,
    MinOf,
    Range,
    Start,
    Step,
}

/// What a word outside of braces is; keywords are written in any case.
pub(crate) fn classify(word: &str) -> Kind {
    let lower = word.to_ascii_lowercase();
    let keyword = match lower.as_str() {
        "and" => Kind::Op(BinaryOp::And),
        "or" => Kind::Op(BinaryOp::Or),
        "unless" => Kind::Op(BinaryOp::Unless),
        "atan2" => Kind::Op(BinaryOp::Atan2),
        "anchored" => Kind::Keyword(Keyword::Anchored),
        "bool" => Kind::Keyword(Keyword::Bool),
        "by" => Kind::Keyword(Keyword::By),
        "fill" => Kind::Keyword(Keyword::Fill),
        "fill_left" => Kind::Keyword(Keyword::FillLeft),
        "fill_right" => Kind::Keyword(Keyword::FillRight),
        "group_left" => Kind::Keyword(Keyword::GroupLeft),
        "group_right" => Kind::Keyword(Keyword::GroupRight),
        "ignoring" => Kind::Keyword(Keyword::Ignoring),
        "offset" => Kind::Keyword(Keyword::Offset),
        "on" => Kind::Keyword(Keyword::On),
        "smoothed" => Kind::Keyword(Keyword::Smoothed),
        "without" => Kind::Keyword(Keyword::Without),
        "end" => Kind::Clock(Clock::End),
        "max_of" => Kind::Clock(Clock::MaxOf),
        "min_of" => Kind::Clock(Clock::MinOf),
        "range" => Kind::Clock(Clock::Range),
        "start" => Kind::Clock(Clock::Start),
        "step" => Kind::Clock(Clock::Step),
        "inf" | "nan" => Kind::Number,
        _ if word.contains(':') => Kind::MetricIdentifier,
        _ => Kind::Identifier,
    };
    match (keyword, AggregateOp::ALL.iter().find(|op| op.as_str() == lower)) {
        (Kind::Identifier, Some(op)) => Kind::Aggregate(*op),
        _ => keyword,
    }
}

impl Kind {
    /// Whether a metric may be called so.
    pub(crate) fn names_a_metric(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Clock(_) => true,
            Self::Op(op) => op.is_set(),
            Self::Keyword(keyword) => {
                use Keyword::{Anchored, By, Offset, Smoothed, Without};
                matches!(keyword, Anchored | By | Offset | Smoothed | Without)
            }
            _ => false,
        }
    }

    /// Whether a label in `by (...)` and its like may be called so without quotes.
    pub(crate) fn names_a_label(self) -> bool {
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Clock(_) => true,
            Self::Op(op) => op.is_set() || op == BinaryOp::Atan2,
            Self::Keyword(keyword) => keyword != Keyword::Without,
            _ => false,
        }
    }

    /// Whether an expression may begin with it.
    pub(crate) fn begins_an_expression(self) -> bool {
        use BinaryOp::{Add, Sub};
        matches!(
            self,
            Self::Number | Self::Duration | Self::String | Self::LeftParen | Self::LeftBrace | Self::Op(Add | Sub)
        ) || self.names_a_metric()
    }
}

/// A word as errors call it: `identifier "foo"`, `<op:+>`, `")"`.
pub(crate) fn describe(token: Token, query: &str) -> String {
    let text = token.span.of(query);
    let quoted = || match text.len() > 10 {
        true => format!("{}...", quote(&text.chars().take(10).collect::<String>())),
        false => quote(text),
    };
    match token.kind {
        Kind::End => "end of input".to_owned(),
        Kind::Op(_) | Kind::At | Kind::Matches | Kind::MatchesNot => format!("<op:{text}>"),
        Kind::Keyword(_) => format!("<{text}>"),
        Kind::Aggregate(_) => format!("<aggr:{text}>"),
        Kind::Identifier => format!("identifier {}", quote(text)),
        Kind::MetricIdentifier => format!("metric identifier {}", quote(text)),
        Kind::Number => format!("number {}", quoted()),
        Kind::Duration => format!("duration {}", quoted()),
        Kind::String => format!("string {}", quoted()),
        _ => quoted(),
    }
}
