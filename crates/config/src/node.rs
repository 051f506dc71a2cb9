//! A value in a file, and the readings of it.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use model::{Labels, LabelsBuilder, is_legacy_label_name};

use crate::document::{Document, Value, ValueKind};
use crate::{Mapping, Secret};

/// A value with its place. Every reading returns `None` after it has reported why.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    document: &'a Document,
    value: &'a Value,
}

impl<'a> Node<'a> {
    pub(crate) fn new(document: &'a Document, value: &'a Value) -> Self {
        Self { document, value }
    }

    /// The file it stands in.
    pub fn document(&self) -> &'a Document {
        self.document
    }

    /// Its line, from 1.
    pub fn line(&self) -> usize {
        self.value.at.line
    }

    /// Reports a problem at this place: say what is wrong and what to do, in lower case, without a full stop.
    pub fn problem(&self, message: impl Display) {
        self.document.report(self.value.at, message.to_string());
    }

    /// True for `null`, `~` and nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(self.value.kind, ValueKind::Null)
    }

    /// True for a mapping; for keys that take either a name or a section.
    pub fn is_mapping(&self) -> bool {
        matches!(self.value.kind, ValueKind::Mapping(_))
    }

    /// True for a list; for keys that take either one value or several.
    pub fn is_sequence(&self) -> bool {
        matches!(self.value.kind, ValueKind::Sequence(_))
    }

    fn expected(&self, what: &str) {
        let found = match &self.value.kind {
            ValueKind::Null => "nothing",
            ValueKind::Scalar(text) if text.len() <= 60 => {
                return self.problem(format!("expected {what}, found {text:?}"));
            }
            ValueKind::Scalar(_) => "text",
            ValueKind::Sequence(_) => "a list",
            ValueKind::Mapping(_) => "a section with keys",
        };
        self.problem(format!("expected {what}, found {found}"));
    }

    /// The text of a scalar, whatever it looks like.
    pub fn text(&self) -> Option<&'a str> {
        match &self.value.kind {
            ValueKind::Scalar(text) => Some(text),
            _ => {
                self.expected("text");
                None
            }
        }
    }

    /// The text of a scalar, owned.
    pub fn string(&self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// A scalar through any parser; its error becomes the problem.
    pub fn parse<T, E: Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.text()?).map_err(|e| self.problem(e)).ok()
    }

    /// A secret written in place.
    pub fn secret(&self) -> Option<Secret> {
        self.text().map(Secret::new)
    }

    /// A path; relative ones count from the file's folder.
    pub fn path(&self) -> Option<PathBuf> {
        self.text().map(|p| self.document.resolve(p))
    }

    /// `true` or `false`, and YAML 1.1's `yes`, `no`, `on`, `off`.
    pub fn bool(&self) -> Option<bool> {
        match &self.value.kind {
            ValueKind::Scalar(t) if matches!(t.to_ascii_lowercase().as_str(), "true" | "yes" | "on") => Some(true),
            ValueKind::Scalar(t) if matches!(t.to_ascii_lowercase().as_str(), "false" | "no" | "off") => Some(false),
            _ => {
                self.expected("true or false");
                None
            }
        }
    }

    /// A whole number from 0.
    pub fn u64(&self) -> Option<u64> {
        let number = if let ValueKind::Scalar(text) = &self.value.kind { text.parse().ok() } else { None };
        if number.is_none() {
            self.expected("a whole number from 0");
        }
        number
    }

    /// A finite number.
    pub fn f64(&self) -> Option<f64> {
        let number = if let ValueKind::Scalar(text) = &self.value.kind { text.parse::<f64>().ok() } else { None };
        let number = number.filter(|n| n.is_finite());
        if number.is_none() {
            self.expected("a number");
        }
        number
    }

    /// A Prometheus duration.
    pub fn duration(&self) -> Option<Duration> {
        self.parse(model::parse_duration)
    }

    /// A Prometheus duration above zero.
    pub fn positive_duration(&self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.problem("must be longer than 0");
            return None;
        }
        Some(duration)
    }

    /// A size in bytes, with or without a unit.
    pub fn bytes(&self) -> Option<u64> {
        self.parse(model::parse_bytes)
    }

    /// The section's keys.
    pub fn mapping(&self) -> Option<Mapping<'a>> {
        match &self.value.kind {
            ValueKind::Mapping(entries) => Some(Mapping::new(*self, self.document, entries)),
            _ => {
                self.expected("a section with keys");
                None
            }
        }
    }

    /// The items of a list. Nothing is an empty list.
    pub fn items(&self) -> Vec<Node<'a>> {
        match &self.value.kind {
            ValueKind::Sequence(items) => items.iter().map(|value| Node::new(self.document, value)).collect(),
            ValueKind::Null => Vec::new(),
            _ => {
                self.expected("a list");
                Vec::new()
            }
        }
    }

    /// A list of texts; what is not text is reported and left out.
    pub fn strings(&self) -> Vec<String> {
        self.items().iter().filter_map(Node::string).collect()
    }

    /// A section of label names and values. Values keep their text; names must be legal and not begin with `__`
    /// unless `internal` allows it.
    pub fn labels(&self, internal: bool) -> Option<Labels> {
        let mut builder = LabelsBuilder::new();
        for (name, key, value) in self.mapping()?.entries() {
            if !is_legacy_label_name(name) {
                key.problem(format!(
                    "{name:?} is not a label name; use letters, digits and underscores, and begin with no digit"
                ));
            } else if name.starts_with("__") && !internal {
                key.problem(format!(
                    "the label name {name:?} is reserved; names that begin with two underscores are internal"
                ));
            } else if let Some(text) = value.text() {
                builder.set(name, text);
            }
        }
        Some(builder.build())
    }
}
