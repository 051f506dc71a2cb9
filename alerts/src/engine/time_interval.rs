//! Named spans of the calendar during which routes are muted or active.

use jiff::tz::TimeZone;
use model::TimestampMs;

/// First and last, both included. Days of the month below zero count from the month's end.
pub type Span = (i16, i16);

/// One entry of a named interval: every kind that is given must hold, and of each kind one span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeInterval {
    /// Minutes of the day, the end not included.
    pub times: Vec<Span>,
    /// Days of the week, Sunday is 0.
    pub weekdays: Vec<Span>,
    /// Days of the month, 1 to 31 or -31 to -1.
    pub days_of_month: Vec<Span>,
    /// Months, 1 to 12.
    pub months: Vec<Span>,
    /// Years.
    pub years: Vec<Span>,
    /// Where the clock stands; UTC unless said otherwise.
    pub location: TimeZone,
}

impl TimeInterval {
    /// Whether an instant lies within.
    pub fn contains(&self, at: TimestampMs) -> bool {
        let Ok(instant) = jiff::Timestamp::from_millisecond(at.0) else { return false };
        let local = instant.to_zoned(self.location.clone());
        let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
        let weekday = i16::from(local.weekday().to_sunday_zero_offset());
        let day = i16::from(local.day());
        let days = i16::from(local.days_in_month());
        let within =
            |spans: &[Span], value: i16| spans.is_empty() || spans.iter().any(|(a, b)| *a <= value && value <= *b);
        (self.times.is_empty() || self.times.iter().any(|(start, end)| *start <= minute && minute < *end))
            && within(&self.weekdays, weekday)
            && (self.days_of_month.is_empty() || self.days_of_month.iter().any(|s| day_within(*s, day, days)))
            && within(&self.months, i16::from(local.month()))
            && within(&self.years, local.year())
    }
}

fn day_within((first, last): Span, day: i16, days_in_month: i16) -> bool {
    let resolve = |d: i16| if d < 0 { days_in_month + d + 1 } else { d };
    resolve(first).max(1) <= day && day <= resolve(last).min(days_in_month)
}

/// `HH:MM` in minutes; `24:00` is the end of the day.
///
/// # Errors
/// On any other text.
pub fn parse_time(text: &str) -> Result<i16, String> {
    let error = || format!("not a time of day: {text:?} (write for example 09:00 or 24:00)");
    let (hours, minutes) = text.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2).ok_or_else(error)?;
    let (hours, minutes): (u8, u8) = (hours.parse().map_err(|_| error())?, minutes.parse().map_err(|_| error())?);
    if (hours < 24 && minutes < 60) || (hours, minutes) == (24, 0) {
        Ok(i16::from(hours) * 60 + i16::from(minutes))
    } else {
        Err(error())
    }
}

/// `monday` or `monday:friday`.
///
/// # Errors
/// On any other text, and when the last day stands before the first (Sunday is the first day of the week).
pub fn parse_weekdays(text: &str) -> Result<Span, String> {
    let names = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    parse_span(text, "a day of the week", |word| {
        names.iter().position(|n| n.eq_ignore_ascii_case(word)).and_then(|at| i16::try_from(at).ok())
    })
}

/// `may`, `5` or `january:march`.
///
/// # Errors
/// On any other text, and when the last month stands before the first.
pub fn parse_months(text: &str) -> Result<Span, String> {
    let names = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    parse_span(text, "a month", |word| match names.iter().position(|n| n.eq_ignore_ascii_case(word)) {
        Some(at) => i16::try_from(at + 1).ok(),
        None => word.parse().ok().filter(|m| (1..=12).contains(m)),
    })
}

/// `15`, `1:5` or `-3:-1`.
///
/// # Errors
/// On any other text, on days no month has, and when the last day stands before the first.
pub fn parse_days_of_month(text: &str) -> Result<Span, String> {
    let (first, last) = split(text);
    let day = |word: &str| {
        word.trim().parse::<i16>().ok().filter(|d| *d != 0 && (-31..=31).contains(d)).ok_or_else(|| {
            format!("not a day of the month: {word:?} (write 1 to 31, or -31 to -1 counted from the month's end)")
        })
    };
    let span = (day(first)?, day(last)?);
    if span.0 < 0 && span.1 > 0 {
        return Err(format!("{text:?} begins at the month's end; its last day must be counted from the end too"));
    }
    // Only spans that are out of order in every month; `28:-5` holds in none of the short ones and that is meant.
    let order = |d: i16| if d < 0 { 31 + d + 1 } else { d };
    if order(span.0) > order(span.1) { Err(out_of_order(text)) } else { Ok(span) }
}

/// `2026` or `2026:2030`.
///
/// # Errors
/// On any other text, and when the last year stands before the first.
pub fn parse_years(text: &str) -> Result<Span, String> {
    parse_span(text, "a year", |word| word.parse().ok().filter(|y| (0..=9999).contains(y)))
}

fn split(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, text))
}

fn out_of_order(text: &str) -> String {
    format!("{text:?} ends before it begins; swap the two or write two spans")
}

fn parse_span(text: &str, what: &str, parse: impl Fn(&str) -> Option<i16>) -> Result<Span, String> {
    let (first, last) = split(text);
    let part = |word: &str| parse(word.trim()).ok_or_else(|| format!("not {what}: {word:?}"));
    let span = (part(first)?, part(last)?);
    if span.0 > span.1 { Err(out_of_order(text)) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval() -> TimeInterval {
        TimeInterval {
            times: Vec::new(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            years: Vec::new(),
            location: TimeZone::UTC,
        }
    }

    fn at(text: &str) -> TimestampMs {
        TimestampMs(text.parse::<jiff::Timestamp>().expect("parses").as_millisecond())
    }

    #[test]
    fn spans_of_the_calendar() {
        let weekdays = |t| TimeInterval { weekdays: vec![parse_weekdays(t).expect(t)], ..interval() };
        let days = |t| TimeInterval { days_of_month: vec![parse_days_of_month(t).expect(t)], ..interval() };
        let months = |t| TimeInterval { months: vec![parse_months(t).expect(t)], ..interval() };
        let years = |t| TimeInterval { years: vec![parse_years(t).expect(t)], ..interval() };
        let times =
            |a, b| TimeInterval { times: vec![(parse_time(a).expect(a), parse_time(b).expect(b))], ..interval() };
        // 2026-02-28 is a Saturday.
        let cases = [
            (weekdays("saturday"), "2026-02-28T12:00:00Z", true),
            (weekdays("Monday:Friday"), "2026-02-28T12:00:00Z", false),
            (weekdays("sunday:saturday"), "2026-02-28T12:00:00Z", true),
            (days("-1"), "2026-02-28T12:00:00Z", true),
            (days("-1"), "2026-03-28T12:00:00Z", false),
            (days("1:5"), "2026-03-05T23:59:59Z", true),
            (days("25:31"), "2026-02-28T00:00:00Z", true),
            (days("-3:-1"), "2026-02-25T00:00:00Z", false),
            (months("january:3"), "2026-03-31T00:00:00Z", true),
            (months("may"), "2026-03-31T00:00:00Z", false),
            (years("2020:2026"), "2026-03-31T00:00:00Z", true),
            (times("09:00", "17:00"), "2026-03-31T17:00:00Z", false),
            (times("09:00", "17:00"), "2026-03-31T09:00:00Z", true),
            (times("22:00", "24:00"), "2026-03-31T23:59:59Z", true),
            (interval(), "2026-03-31T23:59:59Z", true),
        ];
        for (interval, instant, want) in cases {
            assert_eq!(interval.contains(at(instant)), want, "{interval:?} {instant}");
        }
    }

    #[test]
    fn the_clock_stands_where_it_is_said() {
        let offset = TimeZone::fixed(jiff::tz::offset(8));
        let office = TimeInterval { times: vec![(9 * 60, 17 * 60)], location: offset, ..interval() };
        assert!(office.contains(at("2026-03-31T01:00:00Z")));
        assert!(!office.contains(at("2026-03-31T12:00:00Z")));
    }

    #[test]
    fn refuses_what_is_no_span() {
        for text in ["", "9:00", "25:00", "24:01", "09:60", "0900", "-1:00"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
        for text in ["", "someday", "friday:monday", "monday:"] {
            assert!(parse_weekdays(text).is_err(), "{text}");
        }
        for text in ["0", "32", "-1:5", "5:1", "-1:-3", "x"] {
            assert!(parse_days_of_month(text).is_err(), "{text}");
        }
        for text in ["13", "0", "march:january"] {
            assert!(parse_months(text).is_err(), "{text}");
        }
        assert!(parse_years("2030:2020").is_err());
    }
}
