//! Go's `time.Time` and `time.Duration` in templates. The engine has no such values, so both travel as the text that
//! Go would print, and are read again when a method is called on them.

use std::fmt;

use gotmpl::Value;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use model::TimestampMs;

use super::data::{error, text};

/// An instant with the zone it is shown in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoTime {
    instant: Timestamp,
    offset: Offset,
    zone: String,
}

/// RFC 3339 in UTC, milliseconds only where there are any, as Go writes times into JSON.
pub(crate) fn rfc3339(at: TimestampMs) -> String {
    GoTime::from_ms(at).format("2006-01-02T15:04:05.999999999Z07:00")
}

impl GoTime {
    /// In UTC; what lies beyond the years -9999 to 9999 is brought to their edge.
    pub(crate) fn from_ms(at: TimestampMs) -> Self {
        let edge = if at.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Self::utc(Timestamp::from_millisecond(at.0).unwrap_or(edge))
    }

    /// [`zero_time`].
    pub(crate) fn zero() -> Self {
        Self::from_ms(ZERO)
    }

    fn utc(instant: Timestamp) -> Self {
        Self { instant, offset: Offset::UTC, zone: "UTC".to_owned() }
    }

    /// Reads what [`GoTime::fmt`] wrote.
    pub(crate) fn read(written: &str) -> gotmpl::Result<Self> {
        Self::parse(written).ok_or_else(|| error(format!("{written:?} is not a time")))
    }

    fn parse(written: &str) -> Option<Self> {
        let mut parts = written.split(' ');
        let (date, time, offset, zone) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let local: DateTime = format!("{date}T{time}").parse().ok()?;
        let (hours, minutes) = offset.get(1..).filter(|o| o.len() == 4 && o.is_ascii())?.split_at(2);
        let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
        let offset = Offset::from_seconds(if offset.starts_with('-') { -seconds } else { seconds }).ok()?;
        Some(Self { instant: offset.to_timestamp(local).ok()?, offset, zone: zone.to_owned() })
    }

    /// The same instant as a named zone shows it.
    pub(crate) fn in_zone(&self, name: &str) -> gotmpl::Result<Self> {
        let zone = TimeZone::get(name).map_err(|e| error(format!("unknown time zone {name:?}: {e}")))?;
        Ok(self.shown_in(&zone))
    }

    fn shown_in(&self, zone: &TimeZone) -> Self {
        let info = zone.to_offset_info(self.instant);
        Self { instant: self.instant, offset: info.offset(), zone: info.abbreviation().to_owned() }
    }

    /// Nanoseconds from `earlier` to this.
    pub(crate) fn since(&self, earlier: &Self) -> i64 {
        let ns = self.instant.as_nanosecond() - earlier.instant.as_nanosecond();
        i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
    }

    fn plus(&self, ns: i64) -> gotmpl::Result<Self> {
        let moved = Timestamp::from_nanosecond(self.instant.as_nanosecond() + i128::from(ns));
        let instant = moved.map_err(|e| error(format!("beyond the calendar: {e}")))?;
        Ok(Self { instant, offset: self.offset, zone: self.zone.clone() })
    }

    /// Go's `Format`: the layout shows how Monday, January 2, 15:04:05 2006 in MST would look.
    pub(crate) fn format(&self, layout: &str) -> String {
        let local = self.offset.to_datetime(self.instant);
        let mut out = String::with_capacity(layout.len() + 8);
        let mut rest = layout;
        while let Some(c) = rest.chars().next() {
            let used = match next_element(rest) {
                Some(element) => {
                    self.write_element(element, local, &mut out);
                    element.len()
                }
                None => {
                    out.push(c);
                    c.len_utf8()
                }
            };
            rest = &rest[used..];
        }
        out
    }

    fn write_element(&self, element: &str, at: DateTime, out: &mut String) {
        let hour12 = if at.hour() % 12 == 0 { 12 } else { at.hour() % 12 };
        let month = MONTHS[usize::from(at.month().unsigned_abs()).clamp(1, 12) - 1];
        let weekday = WEEKDAYS[usize::from(at.weekday().to_sunday_zero_offset().unsigned_abs()).min(6)];
        let year_day = at.date().day_of_year();
        let written = match element {
            "January" => month.to_owned(),
            "Jan" => month[..3].to_owned(),
            "Monday" => weekday.to_owned(),
            "Mon" => weekday[..3].to_owned(),
            "MST" => self.zone.clone(),
            "2006" => format!("{:04}", at.year()),
            "06" => format!("{:02}", at.year().rem_euclid(100)),
            "01" => format!("{:02}", at.month()),
            "1" => at.month().to_string(),
            "02" => format!("{:02}", at.day()),
            "_2" => format!("{:2}", at.day()),
            "2" => at.day().to_string(),
            "002" => format!("{year_day:03}"),
            "__2" => format!("{year_day:3}"),
            "15" => format!("{:02}", at.hour()),
            "03" => format!("{hour12:02}"),
            "3" => hour12.to_string(),
            "04" => format!("{:02}", at.minute()),
            "4" => at.minute().to_string(),
            "05" => format!("{:02}", at.second()),
            "5" => at.second().to_string(),
            "PM" => if at.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
            "pm" => if at.hour() >= 12 { "pm" } else { "am" }.to_owned(),
            fraction if fraction.starts_with(['.', ',']) => fraction_of(fraction, at.subsec_nanosecond()),
            zone => self.numeric_zone(zone),
        };
        out.push_str(&written);
    }

    /// `-0700`, `Z07:00` and their kin.
    fn numeric_zone(&self, element: &str) -> String {
        let seconds = self.offset.seconds();
        if seconds == 0 && element.starts_with('Z') {
            return "Z".to_owned();
        }
        let sign = if seconds < 0 { '-' } else { '+' };
        let (h, m, s) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
        match &element[1..] {
            "07" => format!("{sign}{h:02}"),
            "0700" => format!("{sign}{h:02}{m:02}"),
            "07:00" => format!("{sign}{h:02}:{m:02}"),
            "070000" => format!("{sign}{h:02}{m:02}{s:02}"),
            _ => format!("{sign}{h:02}:{m:02}:{s:02}"),
        }
    }
}

/// Go's zero time, which stands for "not yet": the first of January of the year 1.
pub(crate) fn zero_time() -> TimestampMs {
    ZERO
}

const ZERO: TimestampMs = TimestampMs(-62_135_596_800_000);

impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Longer ones first where one begins another.
const ELEMENTS: [&str; 33] = [
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "2006",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "1",
    "__2",
    "_2",
    "2",
    "3",
    "4",
    "5",
    "PM",
    "pm",
    "-07:00:00",
    "-070000",
    "-07:00",
    "-0700",
    "-07",
    "Z07:00:00",
    "Z070000",
    "Z07:00",
    "Z0700",
    "Z07",
];

/// The element that `layout` begins with.
fn next_element(layout: &str) -> Option<&str> {
    if let Some(digits) = layout.strip_prefix(['.', ',']) {
        let kind = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
        let count = digits.len() - digits.trim_start_matches(kind).len();
        let ends = !digits[count..].starts_with(|c: char| c.is_ascii_digit());
        return ends.then(|| &layout[..=count]);
    }
    let element = ELEMENTS.into_iter().find(|e| layout.starts_with(e))?;
    let after = &layout[element.len()..];
    // "Janet" and "Month" are words; "_2006" is an underscore and a year.
    let is_word = matches!(element, "Jan" | "Mon") && after.starts_with(|c: char| c.is_ascii_lowercase());
    let is_year = element == "_2" && after.starts_with("006");
    (!is_word && !is_year).then(|| &layout[..element.len()])
}

/// `.000` keeps its zeros, `.999` drops them and, with nothing left, itself.
fn fraction_of(element: &str, ns: i32) -> String {
    let digits = format!("{ns:09}");
    let kept = &digits[..(element.len() - 1).min(9)];
    let kept = if element.ends_with('9') { kept.trim_end_matches('0') } else { kept };
    if kept.is_empty() { String::new() } else { format!("{}{kept}", &element[..1]) }
}

/// A method call on text that is a time or a duration.
pub(crate) fn method(written: &str, name: &str, args: &[Value]) -> gotmpl::Result<Value> {
    if let Some(time) = GoTime::parse(written) {
        return time_method(&time, name, args);
    }
    if let Some(ns) = parse_duration(written) {
        return duration_method(ns, name, args);
    }
    Err(error(format!("there is no field or method {name} in text")))
}

fn time_method(time: &GoTime, name: &str, args: &[Value]) -> gotmpl::Result<Value> {
    let local = time.offset.to_datetime(time.instant);
    let other = || GoTime::read(args.first().and_then(Value::as_str).unwrap_or_default());
    Ok(match name {
        "Format" => match args {
            [Value::String(layout)] => text(&time.format(layout)),
            _ => return Err(error("Format needs a layout")),
        },
        "String" => text(&time.to_string()),
        "Add" => text(&time.plus(duration_argument(args)?)?.to_string()),
        "Sub" => text(&format_duration(time.since(&other()?))),
        "Before" => Value::Bool(time.instant < other()?.instant),
        "After" => Value::Bool(time.instant > other()?.instant),
        "Equal" => Value::Bool(time.instant == other()?.instant),
        "IsZero" => Value::Bool(time.instant.as_millisecond() == ZERO.0),
        "UTC" => text(&GoTime::utc(time.instant).to_string()),
        "Local" => text(&time.shown_in(&TimeZone::system()).to_string()),
        "Unix" => Value::Int(time.instant.as_second()),
        "UnixMilli" => Value::Int(time.instant.as_millisecond()),
        "Year" => Value::Int(local.year().into()),
        "Month" => text(&time.format("January")),
        "Day" => Value::Int(local.day().into()),
        "Hour" => Value::Int(local.hour().into()),
        "Minute" => Value::Int(local.minute().into()),
        "Second" => Value::Int(local.second().into()),
        "YearDay" => Value::Int(local.date().day_of_year().into()),
        "Weekday" => text(&time.format("Monday")),
        _ => return Err(error(format!("a time has no method {name} here"))),
    })
}

fn duration_method(ns: i64, name: &str, args: &[Value]) -> gotmpl::Result<Value> {
    Ok(match name {
        "Hours" => Value::Float(ns as f64 / 3.6e12),
        "Minutes" => Value::Float(ns as f64 / 6e10),
        "Seconds" => Value::Float(ns as f64 / 1e9),
        "Milliseconds" => Value::Int(ns / 1_000_000),
        "Nanoseconds" => Value::Int(ns),
        "String" => text(&format_duration(ns)),
        "Truncate" | "Round" => {
            let unit = duration_argument(args)?.max(1);
            let half = if name == "Round" { unit / 2 * ns.signum() } else { 0 };
            text(&format_duration(ns.saturating_add(half) / unit * unit))
        }
        _ => return Err(error(format!("a duration has no method {name} here"))),
    })
}

/// A number of nanoseconds (in Go a constant like `28800e9`) or a duration.
fn duration_argument(args: &[Value]) -> gotmpl::Result<i64> {
    match args {
        [Value::Int(ns)] => Ok(*ns),
        [Value::Float(ns)] => Ok(*ns as i64),
        [Value::String(written)] => {
            parse_duration(written).ok_or_else(|| error(format!("{written:?} is not a duration")))
        }
        _ => Err(error("a duration is missing")),
    }
}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1000),
    ("µs", 1000),
    ("μs", 1000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go's `time.ParseDuration`, in nanoseconds.
pub(crate) fn parse_duration(written: &str) -> Option<i64> {
    let (negative, mut rest) = match written.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, written.strip_prefix('+').unwrap_or(written)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| *n > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, factor) = UNITS.into_iter().find(|(unit, _)| *unit == &rest[..letters])?;
        total += number * factor as f64;
        rest = &rest[letters..];
    }
    (!written.is_empty() && total < i64::MAX as f64).then_some(if negative { -(total as i64) } else { total as i64 })
}

/// Go's `Duration.String`: `1h2m3.5s`, below a second in the largest unit that gives a whole part.
pub(crate) fn format_duration(ns: i64) -> String {
    let (sign, size) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    let decimal = |whole: u64, part: u64, digits: usize| {
        let part = format!("{part:0digits$}");
        let part = part.trim_end_matches('0');
        if part.is_empty() { whole.to_string() } else { format!("{whole}.{part}") }
    };
    match size {
        0 => "0s".to_owned(),
        1..1000 => format!("{sign}{size}ns"),
        1000..1_000_000 => format!("{sign}{}µs", decimal(size / 1000, size % 1000, 3)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(size / 1_000_000, size % 1_000_000, 6)),
        _ => {
            let (seconds, part) = (size / 1_000_000_000, size % 1_000_000_000);
            let last = decimal(seconds % 60, part, 9);
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => format!("{sign}{last}s"),
                (0, minutes) => format!("{sign}{minutes}m{last}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{last}s"),
            }
        }
    }
}
