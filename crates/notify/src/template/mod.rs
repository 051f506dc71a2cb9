//! Go text/template as Alertmanager's users know it: their `.tmpl` files, our defaults, and the texts of a receiver.
//!
//! The crate `gotmpl` parses and executes the language. It knows neither methods nor Go's times, so every field access
//! is rewritten into a call of our [`data::member`] after parsing ([`rewrite`]); with that `.Alerts.Firing`,
//! `.CommonLabels.SortedPairs.Values` and `.StartsAt.Format "15:04"` mean what they mean in Go. `html` texts are
//! escaped by context as in Go's html/template.

mod data;
mod functions;
mod rewrite;
mod time;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use config::Node;
use gotmpl::parse::{DefineNode, ListNode, Node as TemplateNode, Parser, TextNode, is_empty_tree};
use gotmpl::{TemplateError, Value};

pub(crate) use data::{of as data, quote_like_regex};
pub(crate) use time::{rfc3339, zero_time};

/// What one text may come to; more is a template that runs away.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// How often all `range`s of one text may turn together.
const MAX_RANGE_TURNS: u64 = 1_000_000;
/// Larger template files are refused.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// As many files may be named by all patterns together.
const MAX_FILES: usize = 256;

/// The definitions that texts may call, and what turns texts into templates.
#[derive(Clone)]
pub(crate) struct Templates {
    defines: BTreeMap<String, ListNode>,
}

impl Templates {
    /// Our own definitions only.
    pub(crate) fn defaults() -> Self {
        let mut out = Self { defines: BTreeMap::new() };
        let added = out.add("defaults.tmpl", include_str!("defaults.tmpl"));
        debug_assert!(added.is_ok(), "our own definitions are templates: {added:?}");
        out
    }

    /// Our own definitions and those of the files that the items of `templates:` name; a later definition of a name
    /// replaces an earlier one. What cannot be read or parsed is reported on its item.
    pub(crate) fn decode(patterns: &[Node<'_>]) -> Self {
        let mut out = Self::defaults();
        let mut files = 0;
        for node in patterns {
            for path in matching_files(node) {
                files += 1;
                if files > MAX_FILES {
                    node.problem(format!("more than {MAX_FILES} template files; merge them"));
                    return out;
                }
                if let Err(problem) = read(&path).and_then(|source| out.add(&path.display().to_string(), &source)) {
                    node.problem(problem);
                }
            }
        }
        out.check_calls(patterns);
        out
    }

    fn add(&mut self, file: &str, source: &str) -> Result<(), String> {
        let (top, defines) = parse(Some(file), source)?;
        let mut named: Vec<_> = defines.into_iter().map(|d| (d.name.to_string(), d.body)).collect();
        // As in Go, a file's text outside definitions is a template of the file's own name.
        if let Some(name) = Path::new(file).file_name().filter(|_| !top.is_empty_tree()) {
            named.push((name.to_string_lossy().into_owned(), top));
        }
        for (name, mut body) in named {
            if body.nodes.iter().all(is_empty_tree) && self.defines.contains_key(&name) {
                continue;
            }
            rewrite::list(&mut body);
            self.defines.insert(name, body);
        }
        Ok(())
    }

    /// Definitions may call each other across files, so this is looked at when all are there.
    fn check_calls(&self, patterns: &[Node<'_>]) {
        let Some(node) = patterns.first() else { return };
        for (name, body) in &self.defines {
            if let Err(problem) = self.check(body) {
                node.problem(format!("in the definition {name:?}: {problem}"));
            }
        }
    }

    /// Names every function and template that `body` calls and nobody defines: Go refuses the former when parsing.
    fn check(&self, body: &ListNode) -> Result<(), String> {
        let calls = rewrite::calls(body);
        if let Some((name, line)) = calls.functions.iter().find(|(name, _)| !functions::is_known(name)) {
            return Err(format!("line {line}: function {name:?} is not defined; use one that Alertmanager has"));
        }
        if let Some((name, line)) = calls.templates.iter().find(|(name, _)| !self.defines.contains_key(**name)) {
            return Err(format!("line {line}: template {name:?} is not defined; add its file to templates"));
        }
        Ok(())
    }

    /// Makes a template of a text.
    ///
    /// # Errors
    /// When it is not a template, or calls what is not defined.
    pub(crate) fn text(&self, source: &str) -> Result<Text, String> {
        if !source.contains("{{") {
            return Ok(Text(Engine::Literal(source.to_owned())));
        }
        let (mut top, with_own) = self.parse_text(source)?;
        rewrite::list(&mut top);
        let mut engine = gotmpl::Template::new(ROOT).funcs(functions::all()).max_range_iters(MAX_RANGE_TURNS);
        for (name, body) in with_own.defines {
            engine = engine.add_parse_tree(&name, body);
        }
        let engine = engine.add_parse_tree(MAIN, top).parse(ENTRY).map_err(|e| e.to_string())?;
        Ok(Text(Engine::Plain(Box::new(engine))))
    }

    /// Makes a template of HTML; what it inserts is escaped by context.
    ///
    /// # Errors
    /// As [`Templates::text`], and when a value stands where it cannot be escaped.
    pub(crate) fn html(&self, source: &str) -> Result<Text, String> {
        let (mut top, with_own) = self.parse_text(source)?;
        rewrite::list(&mut top);
        let mut engine = gotmpl::html::Template::new(ROOT).funcs(functions::all()).max_range_iters(MAX_RANGE_TURNS);
        for (name, body) in with_own.defines {
            engine = engine.add_parse_tree(&name, body).map_err(|e| e.to_string())?;
        }
        let engine =
            engine.add_parse_tree(MAIN, top).and_then(|engine| engine.parse(ENTRY)).map_err(|e| position_first(&e))?;
        // Contexts are worked out at the first execution; what they forbid does not depend on the data.
        match engine.execute_to_string(&data::sample()) {
            Err(error @ TemplateError::Escape { .. }) => Err(position_first(&error)),
            _ => Ok(Text(Engine::Html(Box::new(engine)))),
        }
    }

    fn parse_text(&self, source: &str) -> Result<(ListNode, Self), String> {
        let (top, defines) = parse(None, source)?;
        let mut with_own = self.clone();
        let own: Vec<_> = defines.iter().map(|d| d.name.to_string()).collect();
        for mut define in defines {
            rewrite::list(&mut define.body);
            with_own.defines.insert(define.name.to_string(), define.body);
        }
        for body in own.iter().filter_map(|name| with_own.defines.get(name)).chain([&top]) {
            with_own.check(body)?;
        }
        Ok((top, with_own))
    }
}

const ROOT: &str = "text";
const MAIN: &str = "highwater.main";
/// The text itself is a definition too, since only definitions can be added after they were rewritten.
const ENTRY: &str = r#"{{ template "highwater.main" . }}"#;

/// Follows the source while it is parsed: the parser takes a block without an end and an end without a block in its
/// stride, and then what follows is not where it should be.
const MARK: char = '\u{1}';

fn parse(file: Option<&str>, source: &str) -> Result<(ListNode, Vec<DefineNode>), String> {
    let parse = |source: &str| {
        Parser::with_name(file, source, "{{", "}}").and_then(Parser::parse).map_err(|e| position_first(&e))
    };
    // First as it is, so that an error does not speak of the mark.
    parse(source)?;
    let (mut top, defines) = parse(&format!("{source}{MARK}"))?;
    let unmarked = match top.nodes.last() {
        Some(TemplateNode::Text(last)) => {
            last.text.strip_suffix(MARK).map(|text| TextNode { pos: last.pos, text: text.into() })
        }
        _ => None,
    };
    let Some(last) = unmarked else {
        let place = file.map(|f| format!("{f}: ")).unwrap_or_default();
        let line = top.nodes.last().and_then(rewrite::line).unwrap_or(1);
        return Err(format!(
            "{place}a block has no {{{{ end }}}}, or an {{{{ end }}}} or {{{{ else }}}} has no block, from line {line} on"
        ));
    };
    top.nodes.pop();
    if !last.text.is_empty() {
        top.nodes.push(TemplateNode::Text(last));
    }
    Ok((top, defines))
}

/// `FILE:LINE:COLUMN: message`, without Go's leading word, which says nothing here.
fn position_first(error: &TemplateError) -> String {
    let text = error.to_string();
    text.strip_prefix("template: ").map(str::to_owned).unwrap_or(text)
}

fn matching_files(node: &Node<'_>) -> Vec<std::path::PathBuf> {
    let Some(pattern) = node.text() else { return Vec::new() };
    let full = node.document().resolve(pattern);
    let Some(full) = full.to_str() else {
        node.problem("the path is not valid UTF-8; rename the folder");
        return Vec::new();
    };
    let found: Vec<_> = match glob::glob(full) {
        Ok(paths) => paths.filter_map(Result::ok).filter(|p| p.is_file()).take(MAX_FILES + 1).collect(),
        Err(error) => {
            node.problem(format!("not a file pattern: {error}"));
            return Vec::new();
        }
    };
    if found.is_empty() && !pattern.contains(['*', '?', '[']) {
        node.problem(format!("cannot read {full}: no such file; check the path"));
    }
    found
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |e: std::io::Error| format!("cannot read {}: {e}; check the path and its rights", path.display());
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(format!("{} is larger than {MAX_FILE_BYTES} bytes; split it", path.display()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// A text ready to be filled with a notification.
pub(crate) struct Text(Engine);

enum Engine {
    Literal(String),
    Plain(Box<gotmpl::Template>),
    Html(Box<gotmpl::html::Template>),
}

impl Text {
    /// Fills the text.
    ///
    /// # Errors
    /// When an action fails on this notification, or the result is longer than 1 MiB.
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        let mut out = Capped(String::new());
        match &self.0 {
            Engine::Literal(text) => out.0.clone_from(text),
            Engine::Plain(template) => template.execute_fmt(&mut out, data)?,
            Engine::Html(template) => template.execute_fmt(&mut out, data)?,
        }
        Ok(out.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Engine::Literal(_) => "Text(literal)",
            Engine::Plain(_) => "Text(template)",
            Engine::Html(_) => "Text(html)",
        })
    }
}

struct Capped(String);

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_OUTPUT_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
