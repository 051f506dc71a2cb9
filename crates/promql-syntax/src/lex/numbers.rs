//! Numbers and durations: what they look like, and what they are worth.

use super::{Lexer, Message, is_alphanumeric};
use crate::quote::quote;
use crate::token::Kind;

impl Lexer<'_> {
    pub(super) fn begins_a_number(&self, c: char) -> bool {
        c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|next| next.is_ascii_digit()))
    }

    /// Reads again from the first character, which has been read.
    pub(super) fn number_or_duration(&mut self) -> Result<(), Message> {
        self.at = self.start;
        if self.number() {
            self.emit(Kind::Number);
        } else if self.rest_of_a_duration() {
            self.emit(Kind::Duration);
        } else {
            return Err(format!("bad number or duration syntax: {}", quote(self.word())));
        }
        Ok(())
    }

    /// Reads as far as a number goes; false where something else follows it directly. What it takes for a number need not
    /// be one: [`parse_number`] knows.
    fn number(&mut self) -> bool {
        let is_hex = self.accept(|c| c == '0') && self.accept(|c| matches!(c, 'x' | 'X'));
        if is_hex {
            self.accept(|c| c == '_');
        }
        let is_digit = |c: char| if is_hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        self.accept(|c| c == '.');
        self.accept(is_digit);
        let (mut dot, mut exponent) = (false, false);
        while let Some(c) = self.peek() {
            match c {
                c if is_digit(c) && !(is_hex && matches!(c, 'e' | 'E')) => self.accept_run(is_digit),
                '.' => {
                    self.bump();
                    if dot || is_hex || self.accept(|c| matches!(c, '_' | '.')) {
                        return false;
                    }
                    dot = true;
                }
                'e' | 'E' => {
                    self.bump();
                    if exponent {
                        return false;
                    }
                    exponent = true;
                    self.accept(|c| matches!(c, '+' | '-'));
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                '_' => {
                    self.bump();
                    if self.accept(|c| matches!(c, '.' | '_' | 'e' | 'E')) || self.peek().is_none() {
                        return false;
                    }
                }
                _ => break,
            }
        }
        self.at > self.start && !self.peek().is_some_and(is_alphanumeric)
    }

    /// Reads on after the first number of a duration. Units that do not exist (`hs`) or come in the wrong order are found
    /// by [`parse_duration_ms`].
    fn rest_of_a_duration(&mut self) -> bool {
        if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w' | 'y')) {
            return false;
        }
        self.accept(|c| c == 's');
        while self.accept(|c| c.is_ascii_digit()) {
            self.accept_run(|c| c.is_ascii_digit());
            if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w')) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        // What follows is part of the word that cannot be read.
        !self.accept(is_alphanumeric)
    }
}

/// The value of a number: Go's integers (decimal, `0x1f`, `0755`, with underscores), else Go's floats.
pub(crate) fn parse_number(text: &str) -> Result<f64, Message> {
    if let Some(integer) = parse_integer(text) {
        return Ok(integer as f64);
    }
    let failed = |why: &str| Err(format!("error parsing number: strconv.ParseFloat: parsing {}: {why}", quote(text)));
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" => return Ok(f64::INFINITY),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    // Underscores are for integers, and a hexadecimal float would need an exponent, which the lexer does not read.
    if lower.contains('_') || lower.starts_with("0x") {
        return failed("invalid syntax");
    }
    match lower.parse::<f64>() {
        Ok(value) if value.is_infinite() => failed("value out of range"),
        Ok(value) => Ok(value),
        Err(_) => failed("invalid syntax"),
    }
}

/// Go's `strconv.ParseInt` with base 0, as far as the lexer lets numbers through.
fn parse_integer(text: &str) -> Option<i64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, base) = match hex {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // An underscore may stand between digits, and after a prefix; the zero of an octal number is such a prefix.
    let separated = if base == 10 { digits } else { digits.strip_prefix('_').unwrap_or(digits) };
    if separated.starts_with('_') || separated.ends_with('_') || separated.contains("__") {
        return None;
    }
    let plain: String = separated.chars().filter(|c| *c != '_').collect();
    i64::from_str_radix(&plain, base).ok()
}

/// The milliseconds of a duration, in Prometheus' words where it is none.
pub(crate) fn parse_duration_ms(text: &str) -> Result<i64, Message> {
    let parsed = model::parse_duration(text).ok().and_then(|duration| i64::try_from(duration.as_millis()).ok());
    parsed.ok_or_else(|| {
        let units: Vec<&str> = text.split(|c: char| c.is_ascii_digit()).filter(|unit| !unit.is_empty()).collect();
        let known = |unit: &&str| matches!(*unit, "y" | "w" | "d" | "h" | "m" | "s" | "ms");
        if let Some(unit) = units.iter().find(|unit| !known(unit)) {
            return format!("unknown unit {} in duration {}", quote(unit), quote(text));
        }
        // If small numbers would do, the numbers are too large.
        let ones: String = units.iter().map(|unit| format!("1{unit}")).collect();
        match model::parse_duration(&ones) {
            Ok(_) => "duration out of range".to_owned(),
            Err(_) => format!("not a valid duration string: {}", quote(text)),
        }
    })
}
