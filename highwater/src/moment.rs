//! Moments as people write and read them.

use jiff::Timestamp;
use model::TimestampMs;

/// From here on a number counts milliseconds: as seconds it would be the year 33658.
const MILLISECONDS_FROM: f64 = 1e12;

/// Reads RFC 3339, or seconds (or milliseconds, if that many) since 1970.
pub fn parse_moment(text: &str) -> Result<TimestampMs, String> {
    if let Ok(number) = text.parse::<f64>() {
        let ms = if number.abs() < MILLISECONDS_FROM { number * 1000.0 } else { number };
        return if ms.is_finite() { Ok(TimestampMs(ms.round() as i64)) } else { Err("not a moment".to_owned()) };
    }
    let at: Timestamp = text.parse().map_err(|_| "write 2026-01-31T12:00:00Z or seconds since 1970".to_owned())?;
    Ok(TimestampMs(at.as_millisecond()))
}

/// `2026-01-31 12:00:00` in UTC, or the number where there is no such date.
pub fn show_moment(at: i64) -> String {
    match Timestamp::from_millisecond(at) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let cases = [
            ("0", 0),
            ("1700000000", 1_700_000_000_000),
            ("1700000000.5", 1_700_000_000_500),
            ("1700000000123", 1_700_000_000_123),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T23:13:20.25+01:00", 1_700_000_000_250),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_moment(text), Ok(TimestampMs(ms)), "{text}");
        }
        for text in ["", "yesterday", "NaN", "inf", "2023-11-14"] {
            assert!(parse_moment(text).is_err(), "{text}");
        }
        assert_eq!(show_moment(1_700_000_000_000), "2023-11-14 22:13:20");
        assert_eq!(show_moment(i64::MAX), i64::MAX.to_string());
    }
}
