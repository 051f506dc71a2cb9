//! Durations as Prometheus writes them: `1h30m`, `500ms`, `15d`.

use std::time::Duration;

/// Text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: {0:?} (write for example 15s, 1h30m or 500ms)")]
pub struct DurationError(pub String);

// Largest first: units must appear in this order, each at most once.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Parses a Prometheus duration (`model.ParseDuration`): whole numbers with units `y w d h m s ms` in falling order,
/// or a plain `0`.
///
/// # Errors
/// On anything else, and on durations of more than 292 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total_ms, mut next_unit) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let found = UNITS[next_unit..].iter().position(|(unit, _)| *unit == &rest[..letters]).ok_or_else(error)?;
        let factor = UNITS[next_unit + found].1;
        total_ms = number.checked_mul(factor).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(error)?;
        next_unit += found + 1;
        rest = &rest[letters..];
    }
    if text.is_empty() || total_ms > i64::MAX as u64 / 1_000_000 {
        return Err(error());
    }
    Ok(Duration::from_millis(total_ms))
}

/// The shortest exact notation: `90m` is `1h30m`, zero is `0s`. Weeks and years only where nothing is left over.
pub fn format_duration(duration: Duration) -> String {
    let mut ms = duration.as_millis() as u64;
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, factor) in UNITS {
        let count = ms / factor;
        let whole_only = matches!(unit, "y" | "w");
        if count > 0 && (!whole_only || ms.is_multiple_of(factor)) {
            out.push_str(&format!("{count}{unit}"));
            ms -= count * factor;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_prometheus_reads() {
        let cases =
            [("0", 0), ("15s", 15_000), ("1h30m", 5_400_000), ("500ms", 500), ("1d", 86_400_000), ("1m500ms", 60_500)];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "1", "s", "1s1h", "1h1h", "-1s", "1.5h", "1 h", "300y", "99999999999999999999s", "1µs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn writes_what_prometheus_writes() {
        for text in ["0s", "15s", "1h30m", "500ms", "15d", "1w", "1y", "1d12h"] {
            assert_eq!(format_duration(parse_duration(text).expect("parses")), text);
        }
        assert_eq!(format_duration(Duration::from_secs(8 * 86_400)), "8d");
    }

    proptest! {
        #[test]
        fn writing_and_reading_agree(ms in 0u64..1_000_000_000_000) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse_duration(&text);
        }
    }
}
