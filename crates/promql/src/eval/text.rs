//! Numbers and times as Go prints them: messages and labels that people search for hold such.

use super::date;

/// `%g`, the shortest text that reads back as the same number: an exponent below 1e-4 and from 1e6.
pub(crate) fn general(value: f64) -> String {
    odd(value).unwrap_or_else(|| from_scientific(&format!("{value:e}"), 6))
}

/// `%.2g`: two digits that count.
pub(crate) fn two_digits(value: f64) -> String {
    odd(value).unwrap_or_else(|| from_scientific(&format!("{value:.1e}"), 2))
}

/// As OpenMetrics writes a bound or a quantile: never without a point or an exponent.
pub(crate) fn open_metrics(value: f64) -> String {
    let text = general(value);
    let whole = value.is_finite() && !text.contains(['.', 'e']);
    if whole { format!("{text}.0") } else { text }
}

/// `2006-01-02T15:04:05Z`.
pub(crate) fn rfc3339(ms: i64) -> String {
    // Whole seconds, cut off towards zero.
    let seconds = (ms / 1000) as f64;
    let second = (ms / 1000).rem_euclid(60);
    let (year, month, day) = (date::year(seconds), date::month(seconds), date::day_of_month(seconds));
    let (hour, minute) = (date::hour(seconds), date::minute(seconds));
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn odd(value: f64) -> Option<String> {
    match value {
        v if v.is_nan() => Some("NaN".to_owned()),
        v if v.is_infinite() => Some(if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned()),
        v if v == 0.0 => Some(if v.is_sign_negative() { "-0" } else { "0" }.to_owned()),
        _ => None,
    }
}

/// Turns `d.ddde±x` into plain notation where the exponent is small, and into Go's form of it where it is not.
fn from_scientific(text: &str, plain_below: i32) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let digits: String = digits.chars().filter(|c| *c != '.').collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        significant => significant,
    };
    if exponent < -4 || exponent >= plain_below {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{direction}{:02}", exponent.abs());
    }
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    if whole == 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    if digits.len() <= whole {
        return format!("{sign}{digits:0<whole$}");
    }
    let (before, after) = digits.split_at(whole);
    format!("{sign}{before}.{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_go_prints_them() {
        for (value, want) in [
            (0.0, "0"),
            (2.0, "2"),
            (-0.1, "-0.1"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (0.00001, "1e-05"),
            (100_000.0, "100000"),
            (1_234_567.0, "1.234567e+06"),
            (1e30, "1e+30"),
            (-12.5, "-12.5"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(general(value), want);
        }
        for (value, want) in [(5.0, "5"), (10.0, "10"), (123.0, "1.2e+02"), (0.456, "0.46"), (1e-7, "1e-07")] {
            assert_eq!(two_digits(value), want);
        }
        for (value, want) in [(1.0, "1.0"), (0.99, "0.99"), (f64::INFINITY, "+Inf"), (1e-9, "1e-09"), (0.0, "0.0")] {
            assert_eq!(open_metrics(value), want);
        }
    }

    #[test]
    fn times() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_709_251_199_999), "2024-02-29T23:59:59Z");
    }
}
