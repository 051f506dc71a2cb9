//! The functions that Prometheus gives to templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};
use model::{Labels, TimestampMs};
use promql::VectorSample;
use regex::Regex;

use super::humanize;
use super::rewrite::{FIELD, PRINT, VERB};
use crate::text::{go_form, go_time};

type Answer = Result<Value, TemplateError>;

/// Answers a query in a template.
pub(crate) type Ask = dyn Fn(&str) -> Result<Vec<VectorSample>, String> + Send + Sync;

/// What the functions that look around see.
pub(crate) struct Scope {
    /// Answers a query at the time of the evaluation.
    pub(crate) query: Arc<Ask>,
    /// Where users reach this server.
    pub(crate) external_url: String,
    /// The time of the evaluation.
    pub(crate) at: TimestampMs,
}

type Function = fn(&[Value]) -> Answer;

const PURE: &[(&str, Function)] = &[
    ("args", |a| Ok(args(a))),
    ("first", first),
    ("graphLink", |a| Ok(text(graph_link(string(a, 0)?, 0)))),
    ("humanize", |a| Ok(text(humanize::humanize(number(a)?)))),
    ("humanize1024", |a| Ok(text(humanize::humanize1024(number(a)?)))),
    ("humanizeDuration", |a| Ok(text(humanize::humanize_duration(number(a)?)))),
    ("humanizePercentage", |a| Ok(text(humanize::humanize_percentage(number(a)?)))),
    ("humanizeTimestamp", |a| Ok(text(humanize::humanize_timestamp(number(a)?)))),
    ("index", index),
    ("label", |a| sample_label(argument(a, 1)?, string(a, 0)?)),
    ("match", |a| Ok(Value::Bool(regex(string(a, 0)?)?.is_match(string(a, 1)?)))),
    ("parseDuration", |a| Ok(Value::Float(model::parse_duration(string(a, 0)?).map_err(exec)?.as_secs_f64()))),
    ("print", |a| Ok(text(joined(a, |before, after| !is_string(before) && !is_string(after))))),
    ("println", |a| Ok(text(joined(a, |_, _| true) + "\n"))),
    ("reReplaceAll", |a| Ok(text(regex(string(a, 0)?)?.replace_all(string(a, 2)?, string(a, 1)?)))),
    ("safeHtml", |a| Ok(text(string(a, 0)?))),
    ("sortByLabel", sort_by_label),
    ("stripDomain", |a| Ok(text(strip_domain(string(a, 0)?)))),
    ("stripPort", |a| Ok(text(split_port(string(a, 0)?).map_or(string(a, 0)?, |(host, _)| host)))),
    ("strvalue", |a| sample_label(argument(a, 0)?, "__value__")),
    ("tableLink", |a| Ok(text(graph_link(string(a, 0)?, 1)))),
    ("title", |a| Ok(text(title(string(a, 0)?)))),
    ("toLower", |a| Ok(text(string(a, 0)?.to_lowercase()))),
    ("toTime", |a| Ok(text(go_time(TimestampMs::from_seconds(number(a)?))))),
    ("toUpper", |a| Ok(text(string(a, 0)?.to_uppercase()))),
    ("urlQueryEscape", |a| Ok(text(query_escaped(string(a, 0)?)))),
    ("value", |a| sample_value(argument(a, 0)?)),
    (FIELD, field),
    (PRINT, |a| Ok(print(argument(a, 0)?))),
    (VERB, verb),
];

/// Those that need a [`Scope`].
const SCOPED: [&str; 4] = ["externalURL", "now", "pathPrefix", "query"];
/// Those of text/template itself.
const BUILT_IN: [&str; 16] = [
    "and", "call", "eq", "ge", "gt", "html", "js", "le", "len", "lt", "ne", "not", "or", "printf", "slice", "urlquery",
];

/// Whether a template may call it.
pub(super) fn exists(name: &str) -> bool {
    let pure = !name.starts_with('\u{0}') && PURE.iter().any(|(n, _)| *n == name);
    pure || SCOPED.contains(&name) || BUILT_IN.contains(&name)
}

/// All functions beyond those of text/template.
pub(crate) fn functions(scope: Scope) -> FuncMap {
    let mut out = FuncMap::new();
    for (name, function) in PURE {
        out.insert((*name).to_owned(), Arc::new(*function));
    }
    let mut add = |name: &str, function: ValueFunc| {
        out.insert(name.to_owned(), function);
    };
    let Scope { query, external_url, at } = scope;
    add("query", Arc::new(move |a| Ok(samples(query(string(a, 0)?).map_err(exec)?))));
    let prefix = path_prefix(&external_url).to_owned();
    add("pathPrefix", Arc::new(move |_| Ok(text(&prefix))));
    add("externalURL", Arc::new(move |_| Ok(text(&external_url))));
    add("now", Arc::new(move |_| Ok(Value::Float(at.as_seconds()))));
    out
}

fn exec(message: impl ToString) -> TemplateError {
    TemplateError::Exec(message.to_string())
}

fn text(text: impl AsRef<str>) -> Value {
    Value::String(Arc::from(text.as_ref()))
}

fn argument(args: &[Value], at: usize) -> Result<&Value, TemplateError> {
    args.get(at).ok_or_else(|| exec(format!("argument {} is missing", at + 1)))
}

fn string(args: &[Value], at: usize) -> Result<&str, TemplateError> {
    match argument(args, at)? {
        Value::String(text) => Ok(text),
        other => Err(exec(format!("argument {} must be a string, not a {}", at + 1, other.type_name()))),
    }
}

/// The last argument as a number; strings are parsed, as Prometheus does.
fn number(args: &[Value]) -> Result<f64, TemplateError> {
    let value = argument(args, args.len().saturating_sub(1))?;
    match value {
        Value::String(text) => text.trim().parse().map_err(|_| exec(format!("{text:?} is not a number"))),
        _ => value.as_float().ok_or_else(|| exec(format!("a {} is not a number", value.type_name()))),
    }
}

fn regex(pattern: &str) -> Result<Regex, TemplateError> {
    let translated = model::rust_regex(pattern).ok().and_then(|translated| Regex::new(&translated).ok());
    translated.ok_or_else(|| exec(format!("{pattern:?} is not a regular expression")))
}

/// A map of strings.
pub(crate) fn map<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    Value::Map(Arc::new(pairs.map(|(name, value)| (Arc::from(name), text(value))).collect()))
}

/// A structure with the fields `Labels` and `Value`, as `query` returns them.
fn sample(labels: &Labels, value: f64) -> Value {
    let fields = [(Arc::from("Labels"), map(labels.iter())), (Arc::from("Value"), Value::Float(value))];
    Value::Map(Arc::new(BTreeMap::from(fields)))
}

fn samples(vector: Vec<VectorSample>) -> Value {
    Value::List(vector.iter().map(|s| sample(&s.labels, s.sample.value)).collect())
}

fn args(values: &[Value]) -> Value {
    let named = values.iter().enumerate().map(|(i, v)| (Arc::from(format!("arg{i}")), v.clone()));
    Value::Map(Arc::new(named.collect()))
}

fn first(args: &[Value]) -> Answer {
    match argument(args, 0)? {
        Value::List(items) => items.first().cloned().ok_or_else(|| exec("first() called on a vector without elements")),
        other => Err(exec(format!("first() wants a query's result, not a {}", other.type_name()))),
    }
}

fn is_structure(value: &Value) -> bool {
    matches!(value.field("Labels"), Some(Value::Map(_)))
}

fn sample_value(value: &Value) -> Answer {
    let wrong = || exec(format!("value() wants a sample, not a {}", value.type_name()));
    value.field("Value").filter(|_| is_structure(value)).cloned().ok_or_else(wrong)
}

fn sample_label(value: &Value, name: &str) -> Answer {
    match value.field("Labels") {
        Some(labels @ Value::Map(_)) => Ok(labels.field(name).cloned().unwrap_or_else(|| text(""))),
        _ => Err(exec(format!("a {} has no labels; pass a sample", value.type_name()))),
    }
}

fn sort_by_label(args: &[Value]) -> Answer {
    let (name, value) = (string(args, 0)?, argument(args, 1)?);
    let Value::List(items) = value else {
        return Err(exec(format!("sortByLabel() wants a query's result, not a {}", value.type_name())));
    };
    let key = |item: &Value| item.field("Labels").and_then(|l| l.field(name)).map(Value::to_string).unwrap_or_default();
    let mut sorted: Vec<Value> = items.to_vec();
    sorted.sort_by_cached_key(key);
    Ok(Value::List(sorted.into()))
}

/// A field of a structure, or a key of a map of strings: a missing one is empty there, as in Go.
fn field(args: &[Value]) -> Answer {
    let mut value = argument(args, 0)?.clone();
    for i in 1..args.len() {
        let name = string(args, i)?;
        value = match value.field(name) {
            Some(found) => found.clone(),
            None if matches!(value, Value::Map(_)) && !is_structure(&value) => text(""),
            None => return Err(exec(format!("there is no field {name:?} in a {}", value.type_name()))),
        };
    }
    Ok(value)
}

/// `index x 1 "a"`, with an empty string for a missing key of a map.
fn index(args: &[Value]) -> Answer {
    let mut value = argument(args, 0)?.clone();
    for key in &args[1..] {
        value = match value.index(key)? {
            Value::Nil if matches!(value, Value::Map(_)) => text(""),
            found => found,
        };
    }
    Ok(value)
}

/// Numbers in Go's form; everything else is left to the library, `<no value>` included.
fn print(value: &Value) -> Value {
    match value {
        Value::Float(number) => text(go_form(*number)),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| print(item).to_string()).collect();
            text(format!("[{}]", items.join(" ")))
        }
        Value::Map(entries) => {
            let entries: Vec<String> = entries.iter().map(|(name, item)| format!("{name}:{}", print(item))).collect();
            text(format!("map[{}]", entries.join(" ")))
        }
        other => other.clone(),
    }
}

fn is_string(value: &Value) -> bool {
    matches!(value, Value::String(_))
}

/// Values one after the other, with a space where `separated` says so of two neighbours.
fn joined(values: &[Value], separated: fn(&Value, &Value) -> bool) -> String {
    let mut out = String::new();
    for (i, value) in values.iter().enumerate() {
        if i > 0 && separated(&values[i - 1], value) {
            out.push(' ');
        }
        out.push_str(&print(value).to_string());
    }
    out
}

/// `VERB format index value`: what `%v` makes of a number, since the library prints it as Rust does.
fn verb(args: &[Value]) -> Answer {
    let value = argument(args, 2)?;
    let index = args[1].as_int().and_then(|i| usize::try_from(i).ok()).unwrap_or(usize::MAX);
    let is_v = args[0].as_str().and_then(|format| verb_at(format, index)) == Some('v');
    Ok(if is_v { print(value) } else { value.clone() })
}

/// The verb that prints an argument; `None` where there is none, or arguments are named by number.
fn verb_at(format: &str, index: usize) -> Option<char> {
    let mut chars = format.chars();
    let mut at = 0;
    while chars.any(|c| c == '%') {
        loop {
            match chars.next()? {
                '+' | '-' | '#' | ' ' | '.' | '0'..='9' => {}
                '*' => at += 1,
                '[' => return None,
                '%' => break,
                verb if at == index => return Some(verb),
                _ => {
                    at += 1;
                    break;
                }
            }
        }
    }
    None
}

/// The first letter of every word in upper case; a word ends at white space and ASCII punctuation other than `_`.
fn title(text: &str) -> String {
    let (mut out, mut previous) = (String::with_capacity(text.len()), ' ');
    for c in text.chars() {
        let separated = match previous {
            '_' => false,
            p if p.is_ascii() => !p.is_ascii_alphanumeric(),
            p => p.is_whitespace(),
        };
        if separated {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        previous = c;
    }
    out
}

/// `host:port` and `[host]:port`; `None` for everything else.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => Some((inner.strip_suffix(']').filter(|h| !h.contains(['[', ']']))?, port)),
        None if host.contains([':', '[', ']']) || port.contains(['[', ']']) => None,
        None => Some((host, port)),
    }
}

/// `node-1.example.org:9100` is `node-1:9100`; addresses stay.
fn strip_domain(text: &str) -> String {
    let (host, port) = split_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let short = host.split('.').next().unwrap_or(host);
    if port.is_empty() { short.to_owned() } else { format!("{short}:{port}") }
}

/// Go's `url.QueryEscape`.
fn query_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The expression's page in the UI, below the external URL; tab 0 shows a graph, 1 a table.
pub(crate) fn graph_link(expression: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", query_escaped(expression))
}

fn path_prefix(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.find('/').map_or("", |at| &after_scheme[at..])
}
