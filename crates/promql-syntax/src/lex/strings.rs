//! String literals: `"..."` and `'...'` with Go's escapes, and raw ones in backticks.

use super::{Lexer, Message};
use crate::quote::code_point;
use crate::token::Kind;

impl Lexer<'_> {
    /// Reads on after the opening quote.
    pub(super) fn string(&mut self, quote: char) -> Result<(), Message> {
        loop {
            match self.bump() {
                Some(c) if c == quote => break,
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".to_owned()),
                Some('\\') if quote != '`' => self.escape(quote)?,
                None if quote == '`' => return Err("unterminated raw string".to_owned()),
                None => return Err("unterminated quoted string".to_owned()),
                Some('\n') if quote != '`' => return Err("unterminated quoted string".to_owned()),
                Some(_) => {}
            }
        }
        self.emit(Kind::String);
        Ok(())
    }

    /// Reads on after the backslash.
    fn escape(&mut self, quote: char) -> Result<(), Message> {
        let unterminated = || "escape sequence not terminated".to_owned();
        let (count, base, mut value) = match self.bump().ok_or_else(unterminated)? {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quote => return Ok(()),
            c @ '0'..='7' => (2, 8, c.to_digit(8).unwrap_or_default()),
            'x' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            c => return Err(format!("unknown escape sequence {}", code_point(c))),
        };
        for _ in 0..count {
            let c = self.bump().ok_or_else(unterminated)?;
            let illegal = || format!("illegal character {} in escape sequence", code_point(c));
            // Eight hexadecimal digits are 32 bits.
            value = u32::wrapping_add(u32::wrapping_mul(value, base), c.to_digit(base).ok_or_else(illegal)?);
        }
        let valid = match count {
            2 => value < 256,
            _ => char::from_u32(value).is_some(),
        };
        if valid { Ok(()) } else { Err("escape sequence is an invalid Unicode code point".to_owned()) }
    }
}
