//! The regular expression of a rule, and the templates that take text from its match.

use model::{LabelsBuilder, rust_regex};
use regex::{Captures, Regex};

/// An anchored regular expression that remembers how it was written.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) written: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Pattern {
    pub(crate) fn new(written: &str) -> Result<Self, String> {
        // Translated alone first: "a)(b" would otherwise become valid inside the group that anchors it.
        let translated = rust_regex(written).map_err(|error| error.to_string())?;
        let regex = Regex::new(&format!("^(?s:{translated})$")).map_err(|error| {
            let reason = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("invalid regular expression {written:?}: {reason}")
        })?;
        Ok(Self { written: written.to_owned(), regex })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    pub(crate) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.regex.captures(text)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Number(usize),
    Name(String),
}

/// Text with `$1`, `${1}`, `$name`, `${name}` and `$$`, read as Go's `Regexp.Expand` reads it: the longest name counts
/// (`$1x` is the group `1x`), a `$` without a name stands for itself, a group that took no part is empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    pub(crate) written: String,
    parts: Vec<Part>,
}

impl Template {
    pub(crate) fn new(written: &str) -> Self {
        let (mut parts, mut text, mut rest) = (Vec::new(), String::new(), written);
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                text.push('$');
                rest = after;
            } else if let Some((name, after)) = split_name(rest) {
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(group(name));
                rest = after;
            } else {
                text.push('$');
            }
        }
        text.push_str(rest);
        parts.push(Part::Text(text));
        parts.retain(|p| !matches!(p, Part::Text(t) if t.is_empty()));
        Self { written: written.to_owned(), parts }
    }

    pub(crate) fn expand(&self, captures: &Captures<'_>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            out.push_str(match part {
                Part::Text(text) => text,
                Part::Number(n) => captures.get(*n).map_or("", |m| m.as_str()),
                Part::Name(name) => captures.name(name).map_or("", |m| m.as_str()),
            });
        }
        out
    }
}

fn split_name(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (name, rest) = match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}')?,
        None => text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len())),
    };
    (!name.is_empty() && name.chars().all(is_name)).then_some((name, rest))
}

/// A number without leading zeros is a group's number, everything else its name.
fn group(name: &str) -> Part {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    match name.parse() {
        Ok(number) if is_number => Part::Number(number),
        _ => Part::Name(name.to_owned()),
    }
}

/// The values of `names`, the separator between them; a label that is not there is empty.
pub(crate) fn join(labels: &LabelsBuilder, names: &[String], separator: &str) -> String {
    let mut out = String::new();
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            out.push_str(separator);
        }
        out.push_str(labels.get(name).unwrap_or(""));
    }
    out
}
