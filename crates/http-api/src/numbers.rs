//! Numbers and booleans in parameters, refused in the words of Go's `strconv`, which clients of Prometheus know.

use std::num::IntErrorKind;

/// Text that is not what a parameter asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("strconv.{function}: parsing {text:?}: {reason}")]
pub(crate) struct NumberError {
    function: &'static str,
    text: String,
    reason: &'static str,
}

const SYNTAX: &str = "invalid syntax";

/// A whole number.
pub(crate) fn whole(text: &str) -> Result<i64, NumberError> {
    text.parse().map_err(|e: std::num::ParseIntError| refused("Atoi", text, e.kind()))
}

/// A whole number of 32 bits.
pub(crate) fn whole32(text: &str) -> Result<i32, NumberError> {
    text.parse().map_err(|e: std::num::ParseIntError| refused("ParseInt", text, e.kind()))
}

/// True or false, in any of the spellings that Go knows.
pub(crate) fn boolean(text: &str) -> Result<bool, NumberError> {
    match text {
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        _ => Err(NumberError { function: "ParseBool", text: text.to_owned(), reason: SYNTAX }),
    }
}

fn refused(function: &'static str, text: &str, kind: &IntErrorKind) -> NumberError {
    let is_out_of_range = matches!(kind, IntErrorKind::PosOverflow | IntErrorKind::NegOverflow);
    let reason = if is_out_of_range { "value out of range" } else { SYNTAX };
    NumberError { function, text: text.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_of_go() {
        let said = |error: NumberError| error.to_string();
        assert_eq!((whole("7"), whole("-1"), whole("+3"), whole32("8")), (Ok(7), Ok(-1), Ok(3), Ok(8)));
        assert_eq!(said(whole("x").expect_err("no number")), r#"strconv.Atoi: parsing "x": invalid syntax"#);
        assert_eq!(said(whole("").expect_err("no number")), r#"strconv.Atoi: parsing "": invalid syntax"#);
        let large = "99999999999999999999";
        let want = format!("strconv.Atoi: parsing {large:?}: value out of range");
        assert_eq!(said(whole(large).expect_err("too large")), want);
        let want = r#"strconv.ParseInt: parsing "9999999999": value out of range"#;
        assert_eq!(said(whole32("9999999999").expect_err("too large")), want);
        assert_eq!((boolean("T"), boolean("0")), (Ok(true), Ok(false)));
        let want = r#"strconv.ParseBool: parsing "maybe": invalid syntax"#;
        assert_eq!(said(boolean("maybe").expect_err("neither")), want);
    }
}
