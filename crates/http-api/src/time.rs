//! Moments and spans of time as parameters, and moments as JSON.

use std::time::Duration;

use model::TimestampMs;
use serde::Serializer;

/// Go's zero time: "never".
const NEVER: &str = "0001-01-01T00:00:00Z";
/// The earliest and latest moment of the API, as Prometheus' own pages write "no bound".
const EARLIEST: (&str, TimestampMs) =
    ("-292273086-05-16T16:47:06Z", TimestampMs((i64::MIN / 1000 + 62_135_596_801) * 1000));
const LATEST: (&str, TimestampMs) =
    ("292277025-08-18T07:12:54.999999999Z", TimestampMs((i64::MAX / 1000 - 62_135_596_801) * 1000 + 999));

/// Before every sample, for parameters that are not given.
pub(crate) const MIN_TIME: TimestampMs = EARLIEST.1;
/// After every sample.
pub(crate) const MAX_TIME: TimestampMs = LATEST.1;

/// Text that is not what a parameter asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeError {
    #[error("cannot parse {0:?} to a valid timestamp")]
    Time(String),
    #[error("cannot parse {0:?} to a valid duration")]
    Duration(String),
    #[error("cannot parse {0:?} to a valid duration. It overflows int64")]
    Overflow(String),
}

/// Parses seconds since the epoch (rounded to the millisecond) or RFC 3339.
pub(crate) fn parse_time(text: &str) -> Result<TimestampMs, TimeError> {
    let error = || TimeError::Time(text.to_owned());
    if let Ok(seconds) = text.parse::<f64>() {
        // Rounded apart from the whole seconds, as Prometheus does: 1.0005 is one second.
        let ms = seconds.trunc() * 1000.0 + (seconds.fract() * 1000.0).round();
        let bounds = MIN_TIME.0 as f64..=MAX_TIME.0 as f64;
        return if bounds.contains(&ms) { Ok(TimestampMs(ms as i64)) } else { Err(error()) };
    }
    if let Some((_, at)) = [EARLIEST, LATEST].into_iter().find(|(written, _)| *written == text) {
        return Ok(at);
    }
    let at: jiff::Timestamp = text.parse().map_err(|_| error())?;
    Ok(TimestampMs(at.as_millisecond()))
}

/// Parses seconds, whole or not, or a Prometheus duration. Seconds may be negative.
pub(crate) fn parse_duration_ns(text: &str) -> Result<i64, TimeError> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ns = seconds * 1e9;
        if ns.is_nan() {
            return Err(TimeError::Duration(text.to_owned()));
        }
        // 2^63 is exact as a float; everything below it fits.
        return if ns.abs() < i64::MAX as f64 { Ok(ns as i64) } else { Err(TimeError::Overflow(text.to_owned())) };
    }
    let duration = model::parse_duration(text).map_err(|_| TimeError::Duration(text.to_owned()))?;
    i64::try_from(duration.as_nanos()).map_err(|_| TimeError::Overflow(text.to_owned()))
}

/// RFC 3339 in UTC with as many decimals as needed.
pub(crate) fn rfc3339(at: TimestampMs) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| NEVER.to_owned(), |t| t.to_string())
}

/// Serialises a moment that may not have come yet.
pub(crate) fn serialize_moment<S: Serializer>(at: &Option<TimestampMs>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.map_or_else(|| NEVER.to_owned(), rfc3339))
}

/// Serialises a duration in Prometheus' notation.
pub(crate) fn serialize_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&model::format_duration(*duration))
}

/// Serialises a duration as seconds.
pub(crate) fn serialize_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments() {
        let cases = [
            ("0", 0),
            ("1.5", 1500),
            ("-1.5", -1500),
            ("1.0005", 1000),
            ("1.0019", 1002),
            ("1e9", 1_000_000_000_000),
            ("2020-01-01T00:00:00Z", 1_577_836_800_000),
            ("2020-01-01T00:00:00.123456+02:00", 1_577_829_600_123),
            ("-292273086-05-16T16:47:06Z", MIN_TIME.0),
            ("292277025-08-18T07:12:54.999999999Z", MAX_TIME.0),
        ];
        for (text, want) in cases {
            assert_eq!(parse_time(text), Ok(TimestampMs(want)), "{text}");
        }
        for text in ["", "abc", "0x10", "NaN", "Inf", "1e300", "-1e17", "2020-01-01", "2020-13-01T00:00:00Z"] {
            let want = format!("cannot parse {text:?} to a valid timestamp");
            assert_eq!(parse_time(text).expect_err(text).to_string(), want);
        }
    }

    #[test]
    fn spans() {
        let cases =
            [("1", 1_000_000_000), ("0.5", 500_000_000), ("-1", -1_000_000_000), ("1m", 60_000_000_000), ("0", 0)];
        for (text, want) in cases {
            assert_eq!(parse_duration_ns(text), Ok(want), "{text}");
        }
        for text in ["", "x", "NaN", "-1m", "1e300", "Inf", "9223372036.9"] {
            assert!(parse_duration_ns(text).is_err(), "{text}");
        }
        assert!(parse_duration_ns("1e300").expect_err("is long").to_string().ends_with("It overflows int64"));
    }

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(rfc3339(TimestampMs(1_700_000_000_250)), "2023-11-14T22:13:20.25Z");
        assert_eq!(rfc3339(TimestampMs(i64::MAX)), NEVER);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", number in any::<f64>()) {
            let _ = (parse_time(&text), parse_duration_ns(&text));
            let _ = (parse_time(&number.to_string()), parse_duration_ns(&number.to_string()));
        }
    }
}
