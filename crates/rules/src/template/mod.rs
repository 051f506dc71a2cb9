//! Templates of labels and annotations: Go's text/template (crate `gotmpl`) with Prometheus' variables and functions.

mod functions;
mod humanize;
mod rewrite;

#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::sync::Arc;

use gotmpl::parse::{ListNode, Parser};
use gotmpl::{FuncMap, Value};

use rewrite::Rewriter;

pub(crate) use functions::{Scope, functions, graph_link, map};

/// A template that cannot be parsed: syntax, an unknown function or an unknown variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid template: {0}")]
pub struct TemplateError(String);

/// Longer results are cut off with an error: an annotation is for people.
const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// More steps of `range` than this, nested ones included, are refused.
const MAX_RANGE_STEPS: u64 = 100_000;
/// The variables that Prometheus defines before every template. On the first line, so that line numbers hold.
const VARIABLES: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                         {{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    text: String,
    /// `None` where the text holds no action and stands for itself.
    parsed: Option<Arc<Parsed>>,
}

#[derive(Debug)]
struct Parsed {
    body: ListNode,
    defines: Vec<(String, ListNode)>,
}

impl Template {
    /// Text that stands for itself.
    pub fn literal(text: impl Into<String>) -> Self {
        Self { text: text.into(), parsed: None }
    }

    /// Parses a template and checks that all functions and variables exist.
    ///
    /// # Errors
    /// When it is malformed or names something unknown.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if !text.contains("{{") {
            return Ok(Self::literal(text));
        }
        let source = format!("{VARIABLES}{text}");
        let fail = |error: gotmpl::TemplateError| TemplateError(described(&error));
        let (mut body, defines) = Parser::new(&source, "{{", "}}").and_then(Parser::parse).map_err(fail)?;
        let mut rewriter = Rewriter::new(functions::exists);
        rewriter.template(&mut body);
        let mut named = Vec::new();
        for mut define in defines {
            rewriter.template(&mut define.body);
            named.push((define.name.to_string(), define.body));
        }
        rewriter.finish().map_err(TemplateError)?;
        Ok(Self { text: text.to_owned(), parsed: Some(Arc::new(Parsed { body, defines: named })) })
    }

    /// The template as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Binds the template to functions; the result can be expanded many times.
    pub(crate) fn bind(&self, functions: &FuncMap) -> Bound<'_> {
        let Some(parsed) = &self.parsed else { return Bound::Literal(&self.text) };
        let mut engine = gotmpl::Template::new("").max_range_iters(MAX_RANGE_STEPS).funcs(functions.clone());
        for (name, body) in &parsed.defines {
            engine = engine.add_parse_tree(name, body.clone());
        }
        Bound::Engine(engine.add_parse_tree(BODY, parsed.body.clone()))
    }
}

/// The name under which the body itself is kept; no template can be called so by accident.
const BODY: &str = "\u{0}body";

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.parsed.is_some() == other.parsed.is_some()
    }
}

/// A template that can be expanded.
pub(crate) enum Bound<'t> {
    Literal(&'t str),
    Engine(gotmpl::Template),
}

impl Bound<'_> {
    /// The result, or what went wrong as text in its place: an alert is never lost to a template.
    pub(crate) fn expand(&self, data: &Value) -> String {
        let engine = match self {
            Self::Literal(text) => return (*text).to_owned(),
            Self::Engine(engine) => engine,
        };
        let mut out = Limited(String::new());
        match engine.execute_template_fmt(&mut out, BODY, data) {
            Ok(()) => out.0,
            Err(gotmpl::TemplateError::Write) => {
                format!("<error expanding template: the result is larger than {MAX_OUTPUT_BYTES} bytes>")
            }
            Err(error) => format!("<error expanding template: {}>", described(&error)),
        }
    }
}

struct Limited(String);

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_OUTPUT_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The error without the library's own frame. Positions on the first line are moved back over [`VARIABLES`].
fn described(error: &gotmpl::TemplateError) -> String {
    use gotmpl::TemplateError::{Exec, Lex, Parse};
    match error {
        Parse { line, col, message, .. } | Lex { line, col, message, .. } => {
            let column = if *line == 1 { col.saturating_sub(VARIABLES.len()).max(1) } else { *col };
            format!("line {line}, column {column}: {message}")
        }
        Exec(message) => message.clone(),
        other => other.to_string(),
    }
}
