//! The functions that Alertmanager adds to Go's templates.

use std::sync::Arc;

use gotmpl::{FuncMap, SafeKind, Value, ValueFunc};
use percent_encoding::percent_decode_str;
use regex::Regex;

use crate::json::go_json;

use super::data::{self, error, text};
use super::rewrite::MEMBER;
use super::time;

type Function = fn(&[Value]) -> gotmpl::Result<Value>;

const FUNCTIONS: [(&str, Function); 18] = [
    (MEMBER, data::member),
    ("date", date),
    ("humanizeDuration", humanize_duration),
    ("index", index),
    ("join", join),
    ("match", matches),
    ("reReplaceAll", replace_all),
    ("safeHtml", |args| safe(args, SafeKind::Html)),
    ("safeUrl", |args| safe(args, SafeKind::Url)),
    ("since", since),
    ("stringSlice", |args| Ok(Value::List(args.into()))),
    ("title", |args| Ok(text(&title_case(string(args, 0)?)))),
    ("toJson", |args| Ok(text(&json(value(args, 0)?)))),
    ("toLower", |args| Ok(text(&string(args, 0)?.to_lowercase()))),
    ("toUpper", |args| Ok(text(&string(args, 0)?.to_uppercase()))),
    ("trimSpace", |args| Ok(text(string(args, 0)?.trim()))),
    ("tz", tz),
    ("urlUnescape", |args| Ok(text(&percent_decode_str(&string(args, 0)?.replace('+', " ")).decode_utf8_lossy()))),
];

/// Go's own; the engine brings them.
const BUILTINS: [&str; 18] = [
    "and", "call", "eq", "ge", "gt", "html", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf", "println",
    "slice", "urlquery",
];

/// All of them, for an engine.
pub(crate) fn all() -> FuncMap {
    FUNCTIONS.iter().map(|(name, function)| ((*name).to_owned(), Arc::new(*function) as ValueFunc)).collect()
}

/// Whether a template may call it.
pub(crate) fn is_known(name: &str) -> bool {
    BUILTINS.contains(&name) || FUNCTIONS.iter().any(|(known, _)| *known == name)
}

fn value(args: &[Value], at: usize) -> gotmpl::Result<&Value> {
    args.get(at).ok_or_else(|| error(format!("argument {} is missing", at + 1)))
}

fn string(args: &[Value], at: usize) -> gotmpl::Result<&str> {
    match value(args, at)? {
        Value::String(text) | Value::Safe { s: text, .. } => Ok(text),
        other => Err(error(format!("argument {} must be text, not {}", at + 1, other.type_name()))),
    }
}

/// Go's `index`, but a label that is not there is empty.
fn index(args: &[Value]) -> gotmpl::Result<Value> {
    let mut current = value(args, 0)?.clone();
    for at in &args[1..] {
        let found = current.index(at)?;
        current = if matches!((&current, &found), (Value::Map(_), Value::Nil)) { text("") } else { found };
    }
    Ok(current)
}

fn join(args: &[Value]) -> gotmpl::Result<Value> {
    let Value::List(items) = value(args, 1)? else { return Err(error("join needs a separator and a list")) };
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    Ok(text(&items.join(string(args, 0)?)))
}

fn regex(pattern: &str) -> gotmpl::Result<Regex> {
    let refuse = |reason: String| error(format!("not a regular expression: {pattern:?}: {reason}"));
    let translated = model::rust_regex(pattern).map_err(|e| refuse(e.reason))?;
    Regex::new(&translated).map_err(|e| refuse(e.to_string()))
}

fn matches(args: &[Value]) -> gotmpl::Result<Value> {
    Ok(Value::Bool(regex(string(args, 0)?)?.is_match(string(args, 1)?)))
}

fn replace_all(args: &[Value]) -> gotmpl::Result<Value> {
    Ok(text(&regex(string(args, 0)?)?.replace_all(string(args, 2)?, string(args, 1)?)))
}

fn safe(args: &[Value], kind: SafeKind) -> gotmpl::Result<Value> {
    Ok(Value::Safe { kind, s: Arc::from(string(args, 0)?) })
}

fn date(args: &[Value]) -> gotmpl::Result<Value> {
    Ok(text(&time::GoTime::read(string(args, 1)?)?.format(string(args, 0)?)))
}

fn tz(args: &[Value]) -> gotmpl::Result<Value> {
    Ok(text(&time::GoTime::read(string(args, 1)?)?.in_zone(string(args, 0)?)?.to_string()))
}

fn since(args: &[Value]) -> gotmpl::Result<Value> {
    let now = time::GoTime::from_ms(runtime::now());
    Ok(text(&time::format_duration(now.since(&time::GoTime::read(string(args, 0)?)?))))
}

fn humanize_duration(args: &[Value]) -> gotmpl::Result<Value> {
    let seconds = match value(args, 0)? {
        Value::String(written) => match written.parse() {
            Ok(seconds) => Some(seconds),
            Err(_) => time::parse_duration(written).map(|ns| ns as f64 / 1e9),
        },
        other => other.as_float(),
    };
    Ok(text(&humanize_seconds(seconds.ok_or_else(|| error("humanizeDuration needs a number or a duration"))?)))
}

/// `1d 2h 3m 4s` from a second on, `12.5ms` below.
fn humanize_seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds == 0.0 {
        return if seconds == 0.0 { "0s".to_owned() } else { format!("{seconds}").replace("inf", "+Inf") };
    }
    let (sign, size) = (if seconds < 0.0 { "-" } else { "" }, seconds.abs());
    if size < 1.0 {
        let (mut small, mut prefix) = (size, "");
        for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if small >= 1.0 {
                break;
            }
            (small, prefix) = (small * 1000.0, next);
        }
        return format!("{sign}{}{prefix}s", four_digits(small));
    }
    let whole = size as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four_digits(size)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// C's `%.4g` for numbers from 1 to 1000.
fn four_digits(number: f64) -> String {
    let decimals = if number < 10.0 {
        3
    } else if number < 100.0 {
        2
    } else {
        1
    };
    let written = format!("{number:.decimals$}");
    written.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The first letter of each word large, the others small.
fn title_case(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut inside = false;
    for c in written.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = c.is_alphanumeric() || c == '_' || (inside && (c == '\'' || c == '’'));
    }
    out
}

fn json(value: &Value) -> String {
    fn convert(value: &Value) -> serde_json::Value {
        match value {
            Value::Nil | Value::Function(_) => serde_json::Value::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Uint(n) => (*n).into(),
            Value::Float(n) => (*n).into(),
            Value::String(s) | Value::Safe { s, .. } => s.as_ref().into(),
            Value::List(items) => items.iter().map(convert).collect(),
            Value::Map(map) => map.iter().map(|(k, v)| (k.to_string(), convert(v))).collect(),
        }
    }
    go_json(&convert(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn humanizes_like_prometheus() {
        let cases = [
            (0.0, "0s"),
            (0.0125, "12.5ms"),
            (1.0, "1s"),
            (59.999, "60s"),
            (59.5, "59.5s"),
            (60.0, "1m 0s"),
            (3725.0, "1h 2m 5s"),
            (90_061.0, "1d 1h 1m 1s"),
            (-61.0, "-1m 1s"),
            (0.000_001, "1us"),
            (f64::INFINITY, "+Inf"),
        ];
        for (seconds, want) in cases {
            assert_eq!(humanize_seconds(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn titles_words() {
        for (written, want) in [("disk FULL", "Disk Full"), ("it's ok", "It's Ok"), ("", ""), ("node_x y", "Node_x Y")]
        {
            assert_eq!(title_case(written), want);
        }
    }
}
