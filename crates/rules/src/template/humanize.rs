//! Numbers for people, as Prometheus' template functions write them.

use model::TimestampMs;

use crate::text::{four_digits, go_time};

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// `1234567` is `1.235M`, `0.0012` is `1.2m`.
pub(crate) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return four_digits(value);
    }
    let (value, unit) = if value.abs() >= 1.0 { scaled_down(value, 1000.0, &LARGE) } else { scaled_up(value) };
    four_digits(value) + unit
}

/// `2097152` is `2Mi`.
pub(crate) fn humanize1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return four_digits(value);
    }
    let (value, unit) = scaled_down(value, 1024.0, &LARGE_BINARY);
    four_digits(value) + unit
}

fn scaled_down(value: f64, base: f64, units: &[&'static str]) -> (f64, &'static str) {
    let (mut value, mut unit) = (value, "");
    for larger in units {
        if value.abs() < base {
            break;
        }
        (value, unit) = (value / base, larger);
    }
    (value, unit)
}

fn scaled_up(value: f64) -> (f64, &'static str) {
    let (mut value, mut unit) = (value, "");
    for smaller in SMALL {
        if value.abs() >= 1.0 {
            break;
        }
        (value, unit) = (value * 1000.0, smaller);
    }
    (value, unit)
}

/// Seconds: `3661` is `1h 1m 1s`, `0.0123` is `12.3ms`.
pub(crate) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four_digits(seconds);
    }
    if seconds.abs() < 1.0 {
        let (value, unit) = if seconds == 0.0 { (seconds, "") } else { scaled_up(seconds) };
        return format!("{}{unit}s", four_digits(value));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    // Saturates, as casts do.
    let whole = seconds.abs() as i64;
    let (s, m, h, d) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    if d > 0 {
        format!("{sign}{d}d {h}h {m}m {s}s")
    } else if h > 0 {
        format!("{sign}{h}h {m}m {s}s")
    } else if m > 0 {
        format!("{sign}{m}m {s}s")
    } else {
        format!("{sign}{}s", four_digits(seconds.abs()))
    }
}

/// `0.1234` is `12.34%`.
pub(crate) fn humanize_percentage(value: f64) -> String {
    four_digits(value * 100.0) + "%"
}

/// Seconds since the epoch, as Go prints a time in UTC.
pub(crate) fn humanize_timestamp(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four_digits(seconds);
    }
    go_time(TimestampMs::from_seconds(seconds))
}
