//! A parsed file: its tree with positions, and the problems found in it so far.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use saphyr::{MarkedYaml, ScalarStyle, YamlData, YamlLoader};
use saphyr_parser::Parser;

use crate::{Node, Problem, Problems};

/// Larger files are refused unread: a configuration of this size is a mistake.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Deeper nesting is refused: decoders recurse.
const MAX_DEPTH: usize = 64;

/// A position in a file, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// The tree that decoders walk.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) at: Position,
    pub(crate) kind: ValueKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ValueKind {
    Null,
    /// The text as written, escapes resolved.
    Scalar(String),
    Sequence(Vec<Value>),
    /// Keys with their positions, in order, each once.
    Mapping(Vec<(String, Position, Value)>),
}

/// One configuration file.
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
    text: String,
    root: Value,
    problems: RefCell<Vec<Problem>>,
}

impl Document {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// When it cannot be read, is larger than 16 MiB or is not YAML.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let unreadable = |e: std::io::Error| {
            let advice = match e.kind() {
                std::io::ErrorKind::NotFound => "check the path",
                std::io::ErrorKind::PermissionDenied => "make it readable for the user that runs highwater",
                _ => "check that it is a plain text file",
            };
            Problems::of_file(path, format!("cannot read the file: {e}; {advice}"))
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_FILE_BYTES {
            return Err(Problems::of_file(
                path,
                format!("the file has {size} bytes, more than the {MAX_FILE_BYTES} allowed; split it"),
            ));
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Parses text that came from `path` (which is only shown and resolved against, never read).
    ///
    /// # Errors
    /// When it is not YAML, holds more than one document, or nests too deeply.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        let problem = |at: Position, message: String| {
            Problems(vec![Problem { file: path.to_owned(), line: at.line, column: at.column, message }])
        };
        check_depth(text).map_err(|(at, message)| problem(at, message))?;
        let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
        // Scalars keep their text: whether `010` is a number is for the section to say.
        loader.early_parse(false);
        let scan_error = |e: &saphyr_parser::ScanError| {
            let at = Position { line: e.marker().line(), column: e.marker().col() + 1 };
            problem(at, format!("not valid YAML: {}", e.info()))
        };
        Parser::new_from_str(text).load(&mut loader, true).map_err(|e| scan_error(&e))?;
        // A key given twice and an alias that expands too far are found while the tree is built.
        if let Some(e) = loader.error() {
            return Err(scan_error(e));
        }
        let mut documents = loader.into_documents();
        if documents.len() > 1 {
            return Err(Problems::of_file(path, "the file holds more than one YAML document; keep the first only"));
        }
        let root = match documents.pop() {
            Some(yaml) => convert(yaml).map_err(|(at, message)| problem(at, message))?,
            None => Value { at: Position { line: 1, column: 1 }, kind: ValueKind::Null },
        };
        Ok(Self { path: path.to_owned(), text: text.to_owned(), root, problems: RefCell::default() })
    }

    /// The node that holds everything.
    pub fn root(&self) -> Node<'_> {
        Node::new(self, &self.root)
    }

    /// The file, as the user named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A path written in this file: relative ones count from the file's folder, as in Prometheus.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    pub(crate) fn report(&self, at: Position, message: String) {
        let problem = Problem { file: self.path.clone(), line: at.line, column: at.column, message };
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Everything that decoders reported, in order of lines.
    ///
    /// # Errors
    /// When anything was reported.
    pub fn finish(self) -> Result<(), Problems> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        Problems(problems).or(())
    }
}

type Failure = (Position, String);

/// Walks the event stream once without building anything: building and dropping a tree recurse.
fn check_depth(text: &str) -> Result<(), Failure> {
    use saphyr_parser::Event;
    let mut depth = 0usize;
    for item in Parser::new_from_str(text) {
        // Errors are reported by the load that follows.
        let Ok((event, span)) = item else { return Ok(()) };
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            let at = Position { line: span.start.line(), column: span.start.col() + 1 };
            return Err((at, format!("nested more than {MAX_DEPTH} levels deep; flatten it")));
        }
    }
    Ok(())
}

fn convert(yaml: MarkedYaml<'_>) -> Result<Value, Failure> {
    let at = Position { line: yaml.span.start.line(), column: yaml.span.start.col() + 1 };
    let kind = match yaml.data {
        YamlData::Representation(text, style, tag) => scalar(&text, style, tag.is_some_and(|t| t.suffix == "str")),
        YamlData::Sequence(items) => ValueKind::Sequence(items.into_iter().map(convert).collect::<Result<_, _>>()?),
        YamlData::Mapping(entries) => mapping(entries)?,
        YamlData::Tagged(_, inner) => convert(*inner)?.kind,
        YamlData::Value(_) | YamlData::Alias(_) | YamlData::BadValue => ValueKind::Null,
    };
    Ok(Value { at, kind })
}

fn scalar(text: &str, style: ScalarStyle, tagged_as_text: bool) -> ValueKind {
    let null = style == ScalarStyle::Plain && !tagged_as_text && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    if null { ValueKind::Null } else { ValueKind::Scalar(text.to_owned()) }
}

fn mapping<'a>(entries: impl IntoIterator<Item = (MarkedYaml<'a>, MarkedYaml<'a>)>) -> Result<ValueKind, Failure> {
    let mut out: Vec<(String, Position, Value)> = Vec::new();
    let mut merged: Vec<(String, Position, Value)> = Vec::new();
    for (key, value) in entries {
        let key = convert(key)?;
        let ValueKind::Scalar(name) = key.kind else {
            return Err((key.at, "a key must be text".to_owned()));
        };
        let value = convert(value)?;
        if name == "<<" {
            merge(value, &mut merged);
        } else {
            out.push((name, key.at, value));
        }
    }
    for entry in merged {
        if !out.iter().any(|(n, _, _)| *n == entry.0) {
            out.push(entry);
        }
    }
    Ok(ValueKind::Mapping(out))
}

/// YAML's merge key: what stands in the mapping itself wins, then earlier merges.
fn merge(value: Value, into: &mut Vec<(String, Position, Value)>) {
    match value.kind {
        ValueKind::Mapping(entries) => into.extend(entries),
        ValueKind::Sequence(items) => items.into_iter().for_each(|item| merge(item, into)),
        ValueKind::Null | ValueKind::Scalar(_) => {}
    }
}
