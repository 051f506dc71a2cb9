//! Takes secrets out of a configuration before it is shown: the text is parsed and written again without them, so
//! that no notation of YAML can hide one.

use std::path::Path;

use config::{Document, Node};

const SECRET: &str = "<secret>";

/// A key with one of these in it holds a secret, at any depth.
const SECRET_WORDS: [&str; 5] = ["password", "passwd", "passphrase", "secret", "credential"];
/// So does one that ends like this.
const SECRET_ENDS: [&str; 4] = ["token", "api_key", "access_key", "private_key"];

/// The configuration without its secrets, comments and original layout; empty for an empty one.
pub(crate) fn redacted_yaml(yaml: &str) -> String {
    match Document::parse(Path::new("config"), yaml) {
        Ok(document) => {
            let mut out = String::new();
            write_node(&mut out, &document.root(), Place { depth: 0, after: After::Start });
            out
        }
        // Text that cannot be parsed cannot be trusted to be free of secrets either.
        Err(_) => "# the configuration in force is not shown: it cannot be parsed\n".to_owned(),
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let names_a_file = key.ends_with("_file");
    !names_a_file && (SECRET_WORDS.iter().any(|w| key.contains(w)) || SECRET_ENDS.iter().any(|e| key.ends_with(e)))
}

/// What stands on the line already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Start,
    Key,
    Dash,
}

#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    after: After,
}

fn write_node(out: &mut String, node: &Node<'_>, place: Place) {
    if node.is_mapping()
        && let Some(mapping) = node.mapping()
    {
        let entries: Vec<_> = mapping.entries().map(|(key, _, value)| (key, value)).collect();
        write_mapping(out, &entries, place);
    } else if node.is_sequence() {
        write_sequence(out, &node.items(), place);
    } else if !node.is_null() {
        let text = node.text().unwrap_or_default();
        if place.after != After::Start {
            out.push(' ');
        }
        write_scalar(out, &without_password(text));
        out.push('\n');
    } else if place.after != After::Start {
        out.push('\n');
    }
}

fn write_mapping(out: &mut String, entries: &[(&str, Node<'_>)], place: Place) {
    if entries.is_empty() {
        out.push_str(if place.after == After::Start { "{}\n" } else { " {}\n" });
        return;
    }
    if place.after == After::Key {
        out.push('\n');
    }
    for (i, (key, value)) in entries.iter().enumerate() {
        if place.after == After::Dash && i == 0 {
            out.push(' ');
        } else {
            indent(out, place.depth);
        }
        write_scalar(out, key);
        out.push(':');
        // As a section `authorization` holds credentials; as a header it is them.
        let is_header = key.eq_ignore_ascii_case("authorization") && !value.is_mapping();
        if (is_secret(key) || is_header) && !value.is_null() {
            out.push_str(&format!(" {SECRET}\n"));
        } else {
            write_node(out, value, Place { depth: place.depth + 1, after: After::Key });
        }
    }
}

fn write_sequence(out: &mut String, items: &[Node<'_>], place: Place) {
    if items.is_empty() {
        out.push_str(if place.after == After::Start { "[]\n" } else { " []\n" });
        return;
    }
    if place.after != After::Start {
        out.push('\n');
    }
    for item in items {
        indent(out, place.depth);
        out.push('-');
        write_node(out, item, Place { depth: place.depth + 1, after: After::Dash });
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Plain where that cannot be misread, else in double quotes.
fn write_scalar(out: &mut String, text: &str) {
    let plain_start = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '<' | '$'));
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./<>$+()=;~^".contains(c);
    if plain_start && text.chars().all(plain) && !text.eq_ignore_ascii_case("null") {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A URL without the password and the tokens in it.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let authority = match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some((user, host)) => format!("{user}:xxxxx@{host}"),
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let pairs: Vec<_> = query.split('&').map(without_token).collect();
            format!("{path}?{}", pairs.join("&"))
        }
        None => path.to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

fn without_token(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={SECRET}"),
        _ => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WRITTEN: &str = "\
# comment
global: {scrape_interval: 15s, external_labels: {region: eu}}
empty:
scrape_configs:
- job_name: 'a b'
  basic_auth: {username: u, password: hunter2}
  authorization:
    type: Bearer
    credentials: |
      hunter2
      hunter3
  static_configs:
  - targets: [\"a:1\", 'b:2']
    labels: {}
- job_name: b
  password_file: /etc/pw
  params: {token: [hunter2, hunter3]}
  headers: {Authorization: Basic hunter2}
remote_write:
- url: http://u:hunter2@host/write?x=1&access_token=hunter2&y=2
  sigv4: {access_key: hunter2, secret_key: hunter2}
  oauth2: {client_secret: \"hunter2\", client_id: me}
  bearer_token: hunter2
  regex: 'a\\.b[c]'
";

    const SHOWN: &str = "\
global:
  scrape_interval: 15s
  external_labels:
    region: eu
empty:
scrape_configs:
  - job_name: \"a b\"
    basic_auth:
      username: u
      password: <secret>
    authorization:
      type: Bearer
      credentials: <secret>
    static_configs:
      - targets:
          - \"a:1\"
          - \"b:2\"
        labels: {}
  - job_name: b
    password_file: /etc/pw
    params:
      token: <secret>
    headers:
      Authorization: <secret>
remote_write:
  - url: \"http://u:xxxxx@host/write?x=1&access_token=<secret>&y=2\"
    sigv4:
      access_key: <secret>
      secret_key: <secret>
    oauth2:
      client_secret: <secret>
      client_id: me
    bearer_token: <secret>
    regex: \"a\\\\.b[c]\"
";

    #[test]
    fn secrets_are_taken_out() {
        assert_eq!(redacted_yaml(WRITTEN), SHOWN);
        assert_eq!(redacted_yaml(SHOWN), SHOWN);
    }

    #[test]
    fn what_cannot_be_parsed_is_not_shown() {
        assert!(!redacted_yaml("password: [hunter2\n").contains("hunter2"));
        assert_eq!(redacted_yaml(""), "");
    }

    proptest! {
        #[test]
        fn scalars_read_back(texts in prop::collection::vec("\\PC{0,20}|[\\t\\n :#'\"{}-]{1,5}", 1..4)) {
            let mut yaml = String::new();
            for text in &texts {
                yaml.push_str("- ");
                write_scalar(&mut yaml, text);
                yaml.push('\n');
            }
            let document = Document::parse(Path::new("x"), &yaml).expect("is YAML");
            let back: Vec<_> = document.root().items().iter().map(|n| n.text().unwrap_or_default().to_owned()).collect();
            prop_assert_eq!(back, texts);
        }
    }
}
