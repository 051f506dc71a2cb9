//! The configuration as `/api/v2/status` shows it: written anew without secrets, so that `amtool` can read it.
//!
//! Sections that only Highwater knows (`dingtalk_configs`, `sms_configs`) become comments: amtool refuses unknown keys.

use config::Node;

/// What stands in for a secret; Alertmanager's tools know it.
const SECRET: &str = "<secret>";
/// Keys that hold a secret, or part of such a key.
const SECRET_WORDS: [&str; 9] = [
    "password",
    "secret",
    "token",
    "api_key",
    "routing_key",
    "service_key",
    "user_key",
    "credentials",
    "auth_identity",
];

/// Writes the tree below `root` as YAML.
pub fn redact(root: &Node<'_>) -> String {
    let mut out = String::new();
    section(root, 0, Context::default(), &mut out);
    out
}

#[derive(Clone, Copy, Default)]
struct Context {
    /// URLs in here lead to people's channels and often carry a token.
    receivers: bool,
    /// Values of HTTP headers.
    headers: bool,
}

impl Context {
    fn below(self, key: &str) -> Self {
        Self {
            receivers: self.receivers || matches!(key, "receivers" | "global"),
            headers: self.headers || key == "http_headers",
        }
    }
}

fn section(node: &Node<'_>, indent: usize, context: Context, out: &mut String) {
    let Some(fields) = node.mapping() else { return };
    let pad = " ".repeat(indent);
    for (key, _, value) in fields.entries() {
        let mut text = format!("{pad}{}:", scalar(key));
        nested(&value, key, indent, context.below(key), &mut text);
        let ours = ["dingtalk_", "sms_", "voice_"].iter().any(|prefix| key.starts_with(prefix));
        if ours {
            for line in text.lines() {
                out.push_str(&format!("{pad}# {}\n", line.get(indent..).unwrap_or(line)));
            }
        } else {
            out.push_str(&text);
        }
    }
}

/// What follows a key or a dash: text on the same line, or lines below it.
fn nested(value: &Node<'_>, key: &str, indent: usize, context: Context, out: &mut String) {
    if value.is_mapping() {
        let mut inner = String::new();
        section(value, indent + 2, context, &mut inner);
        out.push_str(if inner.is_empty() { " {}\n" } else { "\n" });
        out.push_str(&inner);
    } else if value.is_sequence() {
        let items = value.items();
        out.push_str(if items.is_empty() { " []\n" } else { "\n" });
        for item in items {
            list_item(&item, key, indent, context, out);
        }
    } else if value.is_null() {
        out.push('\n');
    } else {
        out.push_str(&format!(" {}\n", scalar(&shown(key, value.text().unwrap_or_default(), context))));
    }
}

fn list_item(item: &Node<'_>, key: &str, indent: usize, context: Context, out: &mut String) {
    let pad = " ".repeat(indent);
    let mut inner = String::new();
    if item.is_mapping() {
        section(item, indent + 2, context, &mut inner);
    }
    match inner.get(indent + 2..) {
        Some(rest) => out.push_str(&format!("{pad}- {rest}")),
        None => {
            out.push_str(&format!("{pad}-"));
            nested(item, key, indent + 2, context, out);
        }
    }
}

fn shown(key: &str, text: &str, context: Context) -> String {
    let key = key.to_ascii_lowercase();
    let secret = SECRET_WORDS.iter().any(|word| key.contains(word)) && !key.ends_with("_file");
    if secret || context.headers {
        return SECRET.to_owned();
    }
    match text.split_once("://") {
        Some((scheme, rest)) if context.receivers && scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            let path = if path.len() > 1 { format!("/{SECRET}") } else { path.to_owned() };
            format!("{scheme}://{host}{path}")
        }
        _ => text.to_owned(),
    }
}

/// A scalar that reads back as the same text: plain where it cannot be mistaken, otherwise in double quotes.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_/<".contains(c))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./<>@+".contains(c))
        && !matches!(text.to_ascii_lowercase().as_str(), "null" | "~");
    // JSON strings are YAML strings.
    if plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
