//! From text to words, in one pass. What is no word ends the list: [`Lexed::fault`] says why.
//!
//! Two places have words of their own: inside of braces every word is an identifier, and inside of brackets a colon is a
//! colon and only the words of durations exist. The errors are those of Prometheus' lexer, place by place.

mod numbers;
mod strings;

pub(crate) use numbers::{parse_duration_ms, parse_number};

use crate::error::Fault;
use crate::quote::quote_char;
use crate::token::{Clock, Keyword, Kind, Token, classify};
use crate::{AggregateOp, BinaryOp, Span};

/// The words of a text. The last is [`Kind::End`] or, where there is a fault, [`Kind::Unreadable`].
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) fault: Option<Fault>,
}

pub(crate) fn lex(query: &str) -> Lexed {
    let mut lexer = Lexer::new(query);
    let fault = loop {
        match lexer.next_word() {
            Ok(true) => {}
            Ok(false) => break None,
            Err(message) => {
                let fault = Fault::new(Span::new(lexer.error_at, query.len()), message);
                lexer.emit(Kind::Unreadable);
                break Some(fault);
            }
        }
    };
    if fault.is_none() {
        lexer.emit(Kind::End);
    }
    Lexed { tokens: lexer.tokens, fault }
}

struct Lexer<'a> {
    query: &'a str,
    tokens: Vec<Token>,
    /// Where the word begins that is being read.
    start: usize,
    /// The next character.
    at: usize,
    /// Where a fault begins: the start of the word that could not be read.
    error_at: usize,
    open_parens: usize,
    in_braces: bool,
    in_brackets: bool,
    /// Between brackets, where a duration begins: what follows is a number, a sign or a word of durations.
    duration_expected: bool,
    seen_colon: bool,
    seen_duration: bool,
}

type Message = String;

impl<'a> Lexer<'a> {
    fn new(query: &'a str) -> Self {
        Self {
            query,
            tokens: Vec::new(),
            start: 0,
            at: 0,
            error_at: 0,
            open_parens: 0,
            in_braces: false,
            in_brackets: false,
            duration_expected: false,
            seen_colon: false,
            seen_duration: false,
        }
    }

    fn peek(&self) -> Option<char> {
        self.query.get(self.at..)?.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.bump();
        }
        found
    }

    fn accept_run(&mut self, wanted: impl Fn(char) -> bool) {
        while self.accept(&wanted) {}
    }

    fn word(&self) -> &'a str {
        self.query.get(self.start..self.at).unwrap_or_default()
    }

    fn emit(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, span: Span::new(self.start, self.at) });
        self.start = self.at;
        self.error_at = self.at;
    }

    /// Reads one word, or the space before it. False at the end.
    fn next_word(&mut self) -> Result<bool, Message> {
        self.start = self.at;
        self.error_at = self.at;
        if self.duration_expected {
            return self.duration_word();
        }
        if self.peek() == Some('#') {
            self.accept_run(|c| c != '\n' && c != '\r');
            return Ok(true);
        }
        if self.in_braces { self.word_in_braces() } else { self.statement_word() }
    }

    fn statement_word(&mut self) -> Result<bool, Message> {
        let Some(c) = self.bump() else {
            return match (self.open_parens, self.in_brackets) {
                (1.., _) => Err("unclosed left parenthesis".to_owned()),
                (0, true) => Err("unclosed left bracket".to_owned()),
                (0, false) => Ok(false),
            };
        };
        match c {
            c if is_space(c) => self.accept_run(is_space),
            ',' => self.emit(Kind::Comma),
            '*' | '/' | '%' | '+' | '-' | '^' => self.emit(Kind::Op(arithmetic(c))),
            '=' if self.peek() == Some('~') => {
                return Err(format!("unexpected character after '=': {}", quote_char(Some('~'))));
            }
            '=' if self.accept(|c| c == '=') => self.emit(Kind::Op(BinaryOp::Equal)),
            '=' => self.emit(Kind::Assign),
            '!' => match self.bump() {
                Some('=') => self.emit(Kind::Op(BinaryOp::NotEqual)),
                other => return Err(format!("unexpected character after '!': {}", quote_char(other))),
            },
            '<' if self.accept(|c| c == '=') => self.emit(Kind::Op(BinaryOp::LessEqual)),
            '<' => self.emit(Kind::Op(BinaryOp::Less)),
            '>' if self.accept(|c| c == '=') => self.emit(Kind::Op(BinaryOp::GreaterEqual)),
            '>' => self.emit(Kind::Op(BinaryOp::Greater)),
            '@' => self.emit(Kind::At),
            c if self.begins_a_number(c) => self.number_or_duration()?,
            '"' | '\'' | '`' => self.string(c)?,
            c if is_alpha(c) || c == ':' => match self.in_brackets {
                true => self.word_in_brackets(c)?,
                false => self.keyword_or_identifier(),
            },
            '(' | ')' => self.paren(c)?,
            '{' => {
                self.emit(Kind::LeftBrace);
                self.in_braces = true;
            }
            '[' if self.in_brackets => return Err("unexpected left bracket '['".to_owned()),
            '[' => {
                self.emit(Kind::LeftBracket);
                (self.in_brackets, self.duration_expected, self.seen_colon) = (true, true, false);
            }
            ']' if !self.in_brackets => return Err("unexpected right bracket ']'".to_owned()),
            ']' => self.right_bracket(),
            c => return Err(format!("unexpected character: {}", quote_char(Some(c)))),
        }
        Ok(true)
    }

    fn paren(&mut self, c: char) -> Result<(), Message> {
        if c == '(' {
            self.emit(Kind::LeftParen);
            self.open_parens += 1;
            return Ok(());
        }
        // Prometheus places this error behind the parenthesis.
        if self.open_parens == 0 {
            self.error_at = self.at;
            return Err("unexpected right parenthesis ')'".to_owned());
        }
        self.emit(Kind::RightParen);
        self.open_parens -= 1;
        Ok(())
    }

    fn right_bracket(&mut self) {
        self.emit(Kind::RightBracket);
        (self.in_brackets, self.duration_expected) = (false, false);
    }

    fn keyword_or_identifier(&mut self) {
        self.accept_run(|c| is_alphanumeric(c) || c == ':');
        let kind = match classify(self.word()) {
            // Metrics may be called so; the modifier is always followed by its value.
            Kind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight) if !self.paren_follows() => {
                Kind::Identifier
            }
            kind => kind,
        };
        self.emit(kind);
    }

    fn paren_follows(&self) -> bool {
        self.query.get(self.at..).is_some_and(|rest| rest.trim_start_matches(is_space).starts_with('('))
    }

    /// Between brackets, after the first number.
    fn word_in_brackets(&mut self, c: char) -> Result<(), Message> {
        if c != ':' {
            return match self.duration_keyword() {
                true => Ok(()),
                false => Err(format!("unexpected character: {}, expected ':'", quote_char(Some(c)))),
            };
        }
        if self.seen_colon {
            return Err("unexpected colon ':'".to_owned());
        }
        self.emit(Kind::Colon);
        self.seen_colon = true;
        Ok(())
    }

    /// The words of durations.
    fn duration_keyword(&mut self) -> bool {
        let begin = self.at;
        self.accept_run(is_alpha);
        let kind = match classify(self.word()) {
            kind @ Kind::Clock(Clock::Step | Clock::Range | Clock::MinOf | Clock::MaxOf) => kind,
            kind @ Kind::Aggregate(AggregateOp::Min | AggregateOp::Max) => kind,
            _ => {
                self.at = begin;
                return false;
            }
        };
        self.emit(kind);
        true
    }

    /// Between brackets, before the first number.
    fn duration_word(&mut self) -> Result<bool, Message> {
        let Some(c) = self.bump() else { return Err("unexpected end of input in duration expression".to_owned()) };
        match c {
            ']' => {
                self.right_bracket();
                self.seen_colon = false;
            }
            ':' => {
                // Prometheus places these errors behind the colon.
                self.error_at = self.at;
                if !self.seen_duration {
                    return Err("unexpected colon before duration in duration expression".to_owned());
                }
                if self.seen_colon {
                    return Err("unexpected repeated colon in duration expression".to_owned());
                }
                self.emit(Kind::Colon);
                self.seen_colon = true;
            }
            '(' | ')' => self.paren(c)?,
            c if is_space(c) => self.accept_run(is_space),
            '*' | '/' | '%' | '+' | '-' | '^' => self.emit(Kind::Op(arithmetic(c))),
            ',' => self.emit(Kind::Comma),
            c if self.begins_a_number(c) => {
                (self.seen_duration, self.duration_expected) = (true, false);
                self.number_or_duration()?;
            }
            // Prometheus forgets that these are durations, and refuses a colon behind them.
            c if is_alpha(c) && self.duration_keyword() => self.seen_duration = true,
            c => return Err(format!("unexpected character in duration expression: {}", quote_char(Some(c)))),
        }
        Ok(true)
    }

    fn word_in_braces(&mut self) -> Result<bool, Message> {
        let Some(c) = self.bump() else { return Err("unexpected end of input inside braces".to_owned()) };
        match c {
            c if is_space(c) => self.accept_run(is_space),
            c if is_alpha(c) => {
                self.accept_run(is_alphanumeric);
                self.emit(Kind::Identifier);
            }
            ',' => self.emit(Kind::Comma),
            '"' | '\'' | '`' => self.string(c)?,
            '=' if self.accept(|c| c == '~') => self.emit(Kind::Matches),
            '=' => self.emit(Kind::Assign),
            '!' => match self.bump() {
                Some('~') => self.emit(Kind::MatchesNot),
                Some('=') => self.emit(Kind::Op(BinaryOp::NotEqual)),
                other => return Err(format!("unexpected character after '!' inside braces: {}", quote_char(other))),
            },
            '{' => return Err("unexpected left brace '{'".to_owned()),
            '}' => {
                self.emit(Kind::RightBrace);
                self.in_braces = false;
            }
            c => return Err(format!("unexpected character inside braces: {}", quote_char(Some(c)))),
        }
        Ok(true)
    }
}

fn arithmetic(c: char) -> BinaryOp {
    match c {
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        _ => BinaryOp::Pow,
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}
