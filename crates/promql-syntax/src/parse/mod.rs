//! The parser: recursive descent, with precedence climbing between operators. It stops at the first mistake.
//!
//! What it says, and where, follows Prometheus' grammar. There an unexpected word is blamed on the innermost construct that
//! has a message of its own: brackets, braces, modifiers, or an aggregation around the place; anything else is just
//! unexpected. A word that cannot be read is reported when the parser looks at it, not before.

mod call;
mod duration;
mod modifier;
mod postfix;
mod primary;
mod selector;

use model::Matcher;

use crate::ast::{Binary, Expr, Number, Unary};
use crate::check::check;
use crate::error::{Fault, Span};
use crate::lex::lex;
use crate::ops::{BinaryOp, LOWEST, POW};
use crate::token::{Kind, Token, describe};
use crate::{MAX_DEPTH, MAX_QUERY_BYTES, Options, ParseError};

/// Parses and checks an expression.
///
/// # Errors
/// On everything that Prometheus refuses; on experimental syntax that `options` do not allow; on more than
/// [`MAX_QUERY_BYTES`], [`MAX_DEPTH`] or [`crate::MAX_REGEX_BYTES`].
pub fn parse(query: &str, options: Options) -> Result<Expr, ParseError> {
    Parser::new(query, options).and_then(Parser::query).map_err(|fault| fault.within(query))
}

/// Parses a selector without any modifier, as in `match[]`. Its name, if it has one, is the last matcher.
///
/// That one of the matchers refuses the empty string is not checked here: not every endpoint asks for it.
///
/// # Errors
/// On everything that is not a selector.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    Parser::new(text, Options::default()).and_then(Parser::lone_selector).map_err(|fault| fault.within(text))
}

/// An expression and the levels that it has.
struct Parsed {
    expr: Expr,
    depth: usize,
}

impl Parsed {
    /// An expression without others in it.
    fn leaf(expr: Expr) -> Self {
        Self { expr, depth: 1 }
    }
}

struct Parser<'a> {
    query: &'a str,
    tokens: Vec<Token>,
    at: usize,
    /// Why the last token cannot be read, if so.
    unreadable: Option<Fault>,
    options: Options,
    /// How many aggregations surround this place.
    aggregations: usize,
    /// How many calls of this parser surround this place.
    nesting: usize,
    /// How many calls of its part for durations read the duration of this place.
    duration_calls: usize,
    /// How much memory the regular expressions so far take, about.
    regex_bytes: usize,
}

impl<'a> Parser<'a> {
    fn new(query: &'a str, options: Options) -> Result<Self, Fault> {
        if query.len() > MAX_QUERY_BYTES {
            let message =
                format!("query is {} bytes long, more than the {MAX_QUERY_BYTES} that are allowed", query.len());
            return Err(Fault::new(Span::default(), message));
        }
        let lexed = lex(query);
        let (tokens, unreadable) = (lexed.tokens, lexed.fault);
        Ok(Self {
            query,
            tokens,
            at: 0,
            unreadable,
            options,
            aggregations: 0,
            nesting: 0,
            duration_calls: 0,
            regex_bytes: 0,
        })
    }

    fn query(mut self) -> Result<Expr, Fault> {
        if self.peek() == Kind::End {
            return Err(Fault::new(Span::default(), "no expression found in input"));
        }
        let mut expr = self.expr()?.expr;
        self.expect_end()?;
        check(&mut expr)?;
        Ok(expr)
    }

    fn lone_selector(mut self) -> Result<Vec<Matcher>, Fault> {
        let selector = match self.peek() {
            kind if kind.names_a_metric() || kind == Kind::LeftBrace => self.selector()?,
            _ => return Err(self.lost()),
        };
        self.expect_end()?;
        Ok(selector.matchers)
    }

    fn expect_end(&mut self) -> Result<(), Fault> {
        if self.peek() == Kind::End { Ok(()) } else { Err(self.lost()) }
    }

    /// The token that comes next. The last is the end, or what cannot be read, and stays.
    fn token(&self) -> Token {
        let end = Token { kind: Kind::End, span: Span::new(self.query.len(), self.query.len()) };
        self.tokens.get(self.at).or(self.tokens.last()).copied().unwrap_or(end)
    }

    fn peek(&self) -> Kind {
        self.token().kind
    }

    fn peek_after(&self) -> Kind {
        self.tokens.get(self.at + 1).map_or(Kind::End, |token| token.kind)
    }

    fn advance(&mut self) -> Token {
        let token = self.token();
        self.at += 1;
        token
    }

    fn text(&self, token: Token) -> &'a str {
        token.span.of(self.query)
    }

    /// Takes the next token if it is `kind`.
    fn accept(&mut self, kind: Kind) -> Option<Token> {
        (self.peek() == kind).then(|| self.advance())
    }

    /// Where the last token ended.
    fn last_end(&self) -> u32 {
        let last = self.at.checked_sub(1).and_then(|last| self.tokens.get(last));
        last.map_or(0, |token| token.span.end)
    }

    /// The next token cannot stand here.
    fn unexpected(&mut self, context: &str, expected: &str) -> Fault {
        let token = self.token();
        if token.kind == Kind::Unreadable
            && let Some(fault) = self.unreadable.take()
        {
            return fault;
        }
        let mut message = format!("unexpected {}", describe(token, self.query));
        for (word, what) in [(" in ", context), (", expected ", expected)] {
            if !what.is_empty() {
                message.push_str(word);
                message.push_str(what);
            }
        }
        Fault::new(token.span, message)
    }

    /// The next token cannot stand here, and no construct around has a better explanation.
    fn lost(&mut self) -> Fault {
        let context = if self.aggregations > 0 { "aggregation" } else { "" };
        self.unexpected(context, "")
    }

    /// The next token must be readable before anything is said of those before it.
    fn readable(&mut self) -> Result<(), Fault> {
        if self.peek() == Kind::Unreadable { Err(self.lost()) } else { Ok(()) }
    }

    fn too_deep(&self) -> Fault {
        Fault::new(self.token().span, format!("query is nested more than {MAX_DEPTH} levels deep"))
    }

    /// A node above expressions of which the deepest has `depth` levels.
    fn above(&self, depth: usize, expr: Expr) -> Result<Parsed, Fault> {
        if depth >= MAX_DEPTH { Err(self.too_deep()) } else { Ok(Parsed { expr, depth: depth + 1 }) }
    }

    fn expr(&mut self) -> Result<Parsed, Fault> {
        self.binary(LOWEST)
    }

    /// Operands with operators between them that bind at least as tightly as `least`.
    fn binary(&mut self, least: u8) -> Result<Parsed, Fault> {
        if self.nesting >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        self.nesting += 1;
        let mut lhs = self.signed()?;
        while let Kind::Op(op) = self.peek()
            && op.binding() >= least
        {
            let op_span = self.advance().span;
            let modifiers = self.modifiers()?;
            let rhs = self.binary(if op.binding() == POW { POW } else { op.binding() + 1 })?;
            let span = lhs.expr.span().to(rhs.expr.span());
            if modifiers.matching.fills() && !self.options.fill {
                return Err(Fault::new(span, "binop fill modifiers are experimental and not enabled"));
            }
            let binary = Binary {
                op,
                lhs: Box::new(lhs.expr),
                rhs: Box::new(rhs.expr),
                return_bool: modifiers.return_bool,
                matching: Some(Box::new(modifiers.matching)),
                op_span,
                span,
            };
            lhs = self.above(lhs.depth.max(rhs.depth), Expr::Binary(binary))?;
        }
        self.nesting -= 1;
        Ok(lhs)
    }

    /// An operand, with its sign if it has one. A sign binds like `*`: `-a^b` is `-(a^b)`.
    fn signed(&mut self) -> Result<Parsed, Fault> {
        let Kind::Op(sign @ (BinaryOp::Add | BinaryOp::Sub)) = self.peek() else {
            let operand = self.primary()?;
            return self.postfix(operand);
        };
        let start = self.advance().span;
        let negative = sign == BinaryOp::Sub;
        let operand = self.binary(POW)?;
        if let Expr::Number(number) = operand.expr {
            let value = if negative { -number.value } else { number.value };
            return Ok(Parsed::leaf(Expr::Number(Number { value, span: start.to(number.span), ..number })));
        }
        let span = start.to(operand.expr.span());
        self.above(operand.depth, Expr::Unary(Unary { negative, expr: Box::new(operand.expr), span }))
    }
}
