//! Numbers, times and durations as Go and Prometheus write them.

use model::TimestampMs;

/// `strconv.FormatFloat(v, 'e', -1, 64)`: the shortest exact digits, an exponent of at least two digits.
pub fn exponent_form(value: f64) -> String {
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{digits}e{}", padded_exponent(exponent)),
        None => text,
    }
}

/// `strconv.FormatFloat(v, 'f', -1, 64)`: the shortest exact digits, never an exponent.
pub fn plain_form(value: f64) -> String {
    not_finite(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// `fmt.Sprint(v)`, which is `%v`: plain between 1e-4 and 1e6, with an exponent outside.
pub fn go_form(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e6).contains(&magnitude) { exponent_form(value) } else { plain_form(value) }
}

fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

fn padded_exponent(exponent: &str) -> String {
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{sign}{digits:0>2}")
}

/// `%.4g`: four significant digits, without trailing zeros.
pub fn four_digits(value: f64) -> String {
    if let Some(text) = not_finite(value) {
        return text.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{value:.3e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let power: i32 = exponent.parse().unwrap_or(0);
    if (-4..4).contains(&power) {
        let decimals = usize::try_from(3 - power).unwrap_or(0);
        return without_trailing_zeros(&format!("{value:.decimals$}")).to_owned();
    }
    format!("{}e{}", without_trailing_zeros(digits), padded_exponent(exponent))
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// A time in UTC, split as a calendar does.
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    seconds_of_day: i64,
    ms: i64,
}

impl Civil {
    /// Days to a date in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
    fn of(at: TimestampMs) -> Self {
        let (seconds, ms) = (at.0.div_euclid(1000), at.0.rem_euclid(1000));
        let (days, seconds_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        Self { year, month, day, seconds_of_day, ms }
    }

    fn render(&self, separator: char) -> String {
        let Self { year, month, day, seconds_of_day, .. } = self;
        let (hour, minute, second) = (seconds_of_day / 3600, seconds_of_day / 60 % 60, seconds_of_day % 60);
        let fraction = match self.ms {
            0 => String::new(),
            ms => format!(".{ms:03}").trim_end_matches('0').to_owned(),
        };
        format!("{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}")
    }
}

/// `time.RFC3339Nano` in UTC: `2023-11-14T22:13:20.25Z`.
pub fn rfc3339(at: TimestampMs) -> String {
    Civil::of(at).render('T') + "Z"
}

/// `time.Time.String()` in UTC: `2023-11-14 22:13:20 +0000 UTC`.
pub fn go_time(at: TimestampMs) -> String {
    Civil::of(at).render(' ') + " +0000 UTC"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_as_go() {
        let cases = [
            (1.0, "1e+00", "1", "1", "1"),
            (0.0, "0e+00", "0", "0", "0"),
            (-1234.5, "-1.2345e+03", "-1234.5", "-1234.5", "-1234"),
            (1e21, "1e+21", "1000000000000000000000", "1e+21", "1e+21"),
            (1e-7, "1e-07", "0.0000001", "1e-07", "1e-07"),
            (1_234_567.0, "1.234567e+06", "1234567", "1.234567e+06", "1.235e+06"),
            (123_456.0, "1.23456e+05", "123456", "123456", "1.235e+05"),
            (0.99996, "9.9996e-01", "0.99996", "0.99996", "1"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN", "NaN", "NaN"),
        ];
        for (value, exponent, plain, go, four) in cases {
            assert_eq!(exponent_form(value), exponent);
            assert_eq!(plain_form(value), plain);
            assert_eq!(go_form(value), go);
            assert_eq!(four_digits(value), four, "{value}");
        }
    }

    #[test]
    fn writes_times_as_go() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_102_444_800_000, "2100-01-01T00:00:00Z"),
        ];
        for (ms, want) in cases {
            assert_eq!(rfc3339(TimestampMs(ms)), want);
        }
        assert_eq!(go_time(TimestampMs(1_700_000_000_250)), "2023-11-14 22:13:20.25 +0000 UTC");
        for extreme in [TimestampMs::MIN, TimestampMs::MAX] {
            assert!(!rfc3339(extreme).is_empty());
        }
    }
}
