//! Times as the API writes them: RFC 3339 with milliseconds, in UTC.

use model::TimestampMs;

/// The last time that the calendar here holds, a day before the year 10000.
const LAST_MS: i64 = 253_402_207_200_000;

/// Writes a time; one that no calendar holds becomes the nearest that does.
pub fn format(at: TimestampMs) -> String {
    const YEAR_1_MS: i64 = -62_135_596_800_000;
    let ms = at.0.clamp(YEAR_1_MS, LAST_MS);
    // Within the range that jiff holds by the line above.
    let instant = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// Reads a time with any offset and precision. `None` for what stands for "not given": nothing, an empty text and Go's
/// zero time in the year 1.
///
/// # Errors
/// On any other text.
pub fn parse(text: Option<&str>) -> Result<Option<TimestampMs>, String> {
    let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(None) };
    // "For ever" is often written as the last second of the year 9999; a day less is as good.
    if text.ends_with('Z') && (text.starts_with("9999-12-30T") || text.starts_with("9999-12-31T")) {
        return Ok(Some(TimestampMs(LAST_MS)));
    }
    let instant: jiff::Timestamp =
        text.parse().map_err(|_| format!("not a time: {text:?} (write for example 2026-01-31T12:00:00.000Z)"))?;
    let is_zero = instant.to_zoned(jiff::tz::TimeZone::UTC).year() <= 1;
    Ok((!is_zero).then(|| TimestampMs(instant.as_millisecond())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_senders_write() {
        let cases = [
            ("2026-01-31T12:00:00Z", Some(1_769_860_800_000)),
            ("2026-01-31T12:00:00.123456789Z", Some(1_769_860_800_123)),
            ("2026-01-31T20:00:00.5+08:00", Some(1_769_860_800_500)),
            ("9999-12-31T23:59:59.999999999Z", Some(LAST_MS)),
            ("0001-01-01T00:00:00.000Z", None),
            ("0001-01-01T00:00:00Z", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse(Some(text)), Ok(want.map(TimestampMs)), "{text}");
        }
        assert_eq!(parse(None), Ok(None));
        for text in ["yesterday", "2026-13-01T00:00:00Z", "1769860800"] {
            assert!(parse(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_milliseconds() {
        assert_eq!(format(TimestampMs(1_769_860_800_005)), "2026-01-31T12:00:00.005Z");
        assert_eq!(format(TimestampMs::MAX), "9999-12-30T22:00:00.000Z");
        assert_eq!(format(TimestampMs::MIN), "0001-01-01T00:00:00.000Z");
    }
}
