//! One document per case: what a user gets to read.

use std::time::Duration;

use proptest::prelude::*;

use crate::{Document, Global, Node, SecretSource};

fn problems(text: &str, decode: impl FnOnce(&Node<'_>)) -> Vec<String> {
    let document = match Document::parse("c.yml".as_ref(), text) {
        Ok(document) => document,
        Err(problems) => return problems.0.iter().map(ToString::to_string).collect(),
    };
    decode(&document.root());
    document.finish().err().map(|p| p.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

fn global(text: &str) -> Vec<String> {
    problems(text, |node| {
        if let Some(fields) = node.mapping() {
            if let Some(section) = fields.get("global") {
                Global::decode(&section);
            }
            fields.finish();
        }
    })
}

#[test]
fn names_every_problem_with_its_place() {
    let found = global(
        "global:\n  scrape_intervall: 5s\n  evaluation_interval: 5 minutes\n  external_labels: {__x: a, 1b: c}\nfoo: 1\n",
    );
    assert_eq!(
        found,
        [
            r#"c.yml:2:3: unknown key "scrape_intervall"; did you mean "scrape_interval"?"#,
            r#"c.yml:3:24: not a duration: "5 minutes" (write for example 15s, 1h30m or 500ms)"#,
            r#"c.yml:4:21: the label name "__x" is reserved; names that begin with two underscores are internal"#,
            r#"c.yml:4:29: "1b" is not a label name; use letters, digits and underscores, and begin with no digit"#,
            r#"c.yml:5:1: unknown key "foo"; known here: global"#,
        ]
    );
}

#[test]
fn refuses_what_is_not_one_yaml_document() {
    let cases = [
        ("a: [1", "not valid YAML"),
        ("a: 1\na: 2\n", "c.yml:2:1"),
        ("a: 1\n---\nb: 2\n", "more than one YAML document"),
        ("? [1]\n: 2\n", "a key must be text"),
    ];
    for (text, want) in cases {
        let found = problems(text, |_| {});
        assert!(found.len() == 1 && found[0].contains(want), "{text:?}: {found:?}");
    }
    assert_eq!(problems(&"[".repeat(1000), |_| {}).len(), 1);
    assert!(problems(&"- ".repeat(100), |_| {})[0].contains("levels deep"));
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        text.push_str(&format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 10].join(", ")));
    }
    assert_eq!(problems(&text, |_| {}).len(), 1);
}

#[test]
fn scalars_keep_their_text_and_null_is_absent() {
    let text = "a: 010\nb: \"true\"\nc: ~\nd: |\n  x\ne: yes\nbase: &b {k: 1, l: 2}\nf: {<<: *b, l: 3}\n";
    let document = Document::parse("c.yml".as_ref(), text).expect("parses");
    let fields = document.root().mapping().expect("a mapping");
    assert_eq!(fields.string("a").as_deref(), Some("010"));
    assert_eq!(fields.string("b").as_deref(), Some("true"));
    assert!(fields.get("c").is_none());
    assert_eq!(fields.string("d").as_deref(), Some("x\n"));
    assert_eq!(fields.bool("e"), Some(true));
    let merged = fields.get("f").and_then(|n| n.mapping()).expect("a mapping");
    assert_eq!((merged.u64("k"), merged.u64("l")), (Some(1), Some(3)));
}

#[test]
fn defaults_are_those_of_prometheus() {
    let document = Document::parse("c.yml".as_ref(), "scrape_interval: 5s\n").expect("parses");
    let global = Global::decode(&document.root());
    assert_eq!(global.scrape_timeout, Duration::from_secs(5));
    assert_eq!(global.evaluation_interval, Duration::from_secs(60));
}

#[test]
fn an_unreadable_file_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = Document::load(&folder.path().join("none.yml")).expect_err("is not there").to_string();
    assert!(missing.contains("none.yml: cannot read the file") && missing.contains("check the path"), "{missing}");
    assert!(Document::load(folder.path()).is_err());
    std::fs::write(folder.path().join("bin.yml"), [0xff, 0xfe, 0x00]).expect("writes");
    assert!(Document::load(&folder.path().join("bin.yml")).is_err());
}

#[test]
fn a_secret_stands_in_place_or_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), " from file\n").expect("writes");
    let decode = |text: &str| {
        let document = Document::parse(&folder.path().join("c.yml"), text).expect("parses");
        let secret = SecretSource::required(&document.root().mapping().expect("a mapping"), "token", "token_file");
        (secret, document.finish().err().map(|p| p.to_string()).unwrap_or_default())
    };
    let (inline, _) = decode("token: in place\n");
    assert!(!format!("{inline:?}").contains("in place"));
    assert_eq!(inline.and_then(|s| s.read().ok()).as_deref(), Some("in place"));
    let (file, _) = decode("token_file: token\n");
    assert_eq!(file.and_then(|s| s.read().ok()).as_deref(), Some("from file"));
    let (missing, _) = decode("token_file: none\n");
    let error = missing.expect("is decoded").read().expect_err("is not there").to_string();
    assert!(error.contains("none: ") && error.contains("check the path"), "{error}");
    assert!(decode("{token: a, token_file: b}\n").1.contains("at most one of token and token_file"));
    assert!(decode("other: a\n").1.contains("token is missing; give token or token_file"));
}

proptest! {
    #[test]
    fn no_text_panics(text in "[\\PC\n]{0,200}") {
        let _ = problems(&text, |node| { Global::decode(node); });
    }
}
