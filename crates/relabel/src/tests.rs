//! Each case is a rule as an operator writes it, a label set, and what becomes of it.

use config::Document;
use model::{Labels, LabelsBuilder};
use proptest::prelude::*;

use crate::{RelabelRule, apply};

fn decode(yaml: &str) -> Result<Vec<RelabelRule>, Vec<String>> {
    let document = Document::parse("c.yml".as_ref(), yaml).expect("is YAML");
    let rules = document.root().items().iter().filter_map(RelabelRule::decode).collect();
    match document.finish() {
        Ok(()) => Ok(rules),
        Err(problems) => Err(problems.0.into_iter().map(|p| p.message).collect()),
    }
}

fn labels(text: &str) -> Labels {
    Labels::from_pairs(text.split_whitespace().map(|pair| pair.split_once('=').expect("name=value")))
}

fn run(yaml: &str, before: &Labels) -> Option<Labels> {
    let rules = decode(yaml).unwrap_or_else(|problems| panic!("{yaml}: {problems:?}"));
    let mut builder = LabelsBuilder::from_labels(before);
    apply(&rules, &mut builder).then(|| builder.build())
}

/// `after` is `-` where the label set is dropped.
fn check(yaml: &str, before: &str, after: &str) {
    let want = (after != "-").then(|| labels(after));
    assert_eq!(run(yaml, &labels(before)), want, "{yaml} on {before}");
}

#[test]
fn replace() {
    check("- {source_labels: [a], target_label: d}", "a=foo", "a=foo d=foo");
    check("- {source_labels: [a, b], separator: '-', target_label: d}", "a=1 b=2", "a=1 b=2 d=1-2");
    check("- {source_labels: [a, x, b], target_label: d}", "a=1 b=2", "a=1 b=2 d=1;;2");
    check(
        "- {source_labels: [a], regex: f(.*), target_label: d, replacement: ch$1-ch$1}",
        "a=foo",
        "a=foo d=choo-choo",
    );
    check("- {source_labels: [a], regex: f, target_label: d}", "a=foo", "a=foo");
    check("- {source_labels: [a], regex: (f).*, target_label: a, replacement: ''}", "a=foo b=1", "b=1");
    check("- {target_label: d, replacement: x}", "a=1", "a=1 d=x");
    check("- {source_labels: [none], target_label: a}", "a=1", "");
    check("- {source_labels: [a], regex: '(.*)-(.*)', target_label: '${1}', replacement: $2}", "a=x-y", "a=x-y x=y");
    check("- {source_labels: [a], regex: '(x?)-(.*)', target_label: '${1}', replacement: $2}", "a=-y", "a=-y");
    check("- {source_labels: [a], regex: '([^:]+)(?::\\d+)?', target_label: a}", "a=host:9100", "a=host");
    check(
        "- {source_labels: [a], regex: '(?P<port>.*)', target_label: b, replacement: '$port/${port}'}",
        "a=1",
        "a=1 b=1/1",
    );
    check("- {source_labels: [a], regex: (?i)FOO, target_label: b, replacement: y}", "a=foo", "a=foo b=y");
    let joined_by_line_feed =
        "- {source_labels: [a, b], separator: \"\\n\", regex: 1.2, target_label: c, replacement: y}";
    check(joined_by_line_feed, "a=1 b=2", "a=1 b=2 c=y");
    check("- {source_labels: [a], target_label: b}\n- {source_labels: [b], target_label: c}", "a=1", "a=1 b=1 c=1");
}

#[test]
fn templates_are_those_of_go() {
    let cases = [
        ("$1", "x"),
        ("${1}y", "xy"),
        ("$1y", ""),
        ("$2", ""),
        ("$0", "x"),
        ("$01", ""),
        ("$$1", "$1"),
        ("$", "$"),
        ("$-", "$-"),
        ("${", "${"),
        ("${}", "${}"),
        ("${1", "${1"),
        ("${a-b}", "${a-b}"),
        ("$none", ""),
        ("a$1$1b", "ax"),
    ];
    for (replacement, want) in cases {
        let yaml = format!("- {{source_labels: [a], regex: (x), target_label: d, replacement: '{replacement}'}}");
        let got = run(&yaml, &labels("a=x")).expect("kept");
        assert_eq!(got.get("d").unwrap_or(""), want, "{replacement}");
    }
}

#[test]
fn keep_and_drop() {
    check("- {action: keep, source_labels: [a], regex: f.*}", "a=foo", "a=foo");
    check("- {action: keep, source_labels: [a], regex: f}", "a=foo", "-");
    check("- {action: drop, source_labels: [a], regex: f.*}", "a=foo", "-");
    check("- {action: drop, source_labels: [a], regex: f|o}", "a=foo", "a=foo");
    check("- {action: DROP, source_labels: [a], regex: ''}", "b=1", "-");
    check("- {action: keepequal, source_labels: [a], target_label: b}", "a=1 b=1", "a=1 b=1");
    check("- {action: keepequal, source_labels: [a], target_label: b}", "a=1 b=2", "-");
    check("- {action: dropequal, source_labels: [a], target_label: b}", "a=1 b=1", "-");
    check("- {action: dropequal, source_labels: [a], target_label: b}", "a=1 b=2", "a=1 b=2");
    check("- {action: dropequal, source_labels: [a], target_label: b}", "c=1", "-");
    check("- {action: drop, source_labels: [a]}\n- {target_label: d, replacement: x}", "a=1", "-");
}

/// `int.from_bytes(hashlib.md5(b"foo").digest()[8:], "big") % 1000` and so on.
#[test]
fn hashmod() {
    check("- {action: hashmod, source_labels: [a], target_label: d, modulus: 1000}", "a=foo", "a=foo d=696");
    check(
        "- {action: hashmod, source_labels: [a, b, c], target_label: d, modulus: 1000}",
        "a=a b=b c=c",
        "a=a b=b c=c d=710",
    );
    check("- {action: hashmod, source_labels: [a], target_label: d, modulus: 1000}", "b=1", "b=1 d=958");
    check(
        "- {action: hashmod, source_labels: [a], target_label: d, modulus: 3}",
        "a=10.0.0.1:9100",
        "a=10.0.0.1:9100 d=2",
    );
    let whole = "- {action: hashmod, source_labels: [a], target_label: d, modulus: 18446744073709551615}";
    check(whole, "a=foo", "a=foo d=17145033699835028696");
}

#[test]
fn whole_label_names() {
    check("- {action: labelmap, regex: meta_(.+)}", "meta_x=1 y=2", "meta_x=1 x=1 y=2");
    check("- {action: labelmap, regex: (.)_(.), replacement: '${2}_$1'}", "a_b=1", "a_b=1 b_a=1");
    check("- {action: labelmap, regex: (b?)(.*), replacement: $1}", "a=1 b=2", "a=1 b=2");
    check("- {action: labeldrop, regex: a.*}", "a=1 ab=2 b=3", "b=3");
    check("- {action: labelkeep, regex: a.*}", "a=1 ab=2 b=3", "a=1 ab=2");
    check("- {action: lowercase, source_labels: [a], target_label: a}", "a=FoO", "a=foo");
    check("- {action: uppercase, source_labels: [a, b], target_label: c}", "a=x b=ß", "a=x b=ß c=X;SS");
}

#[test]
fn regular_expressions_are_those_of_go() {
    let digits = r"- {source_labels: [a], regex: '(\d+)\Q.\E', target_label: b}";
    check(digits, "a=12.", "a=12. b=12");
    check(digits, "a=١٢.", "a=١٢.");
    check(digits, "a=12x", "a=12x");
}

#[test]
fn refuses_what_prometheus_refuses() {
    let cases = [
        ("- {action: nonsense}", "unknown relabel action \"nonsense\""),
        ("- {action: replace}", "replace action requires 'target_label' value"),
        ("- {source_labels: [a]}", "replace action requires 'target_label' value"),
        ("- {action: hashmod, target_label: a}", "hashmod requires non-zero modulus"),
        ("- {action: hashmod, modulus: 2}", "hashmod action requires 'target_label' value"),
        ("- {action: hashmod, modulus: -2, target_label: a}", "expected a whole number"),
        ("- {action: lowercase, target_label: a, replacement: b}", "'replacement' can not be set for lowercase action"),
        ("- {action: keepequal, source_labels: [a], target_label: a, regex: b}", "keepequal action requires only"),
        ("- {action: labeldrop, source_labels: [a], regex: b}", "labeldrop action requires only 'regex'"),
        ("- {action: labelkeep, target_label: a}", "labelkeep action requires only 'regex'"),
        ("- {action: labelmap, replacement: ''}", "invalid 'replacement' for labelmap action"),
        ("- {regex: 'a[', target_label: b}", "invalid regular expression \"a[\": missing closing ]: `[`"),
        ("- {regex: 'a)(b', target_label: b}", "invalid regular expression"),
        ("- {source_labels: [''], target_label: b}", "not a valid label name"),
        ("- {sourcelabels: [a], target_label: b}", "did you mean \"source_labels\"?"),
    ];
    for (yaml, want) in cases {
        let problems = decode(yaml).expect_err(yaml);
        assert!(problems.iter().any(|p| p.contains(want)), "{yaml}: {problems:?}");
    }
}

#[test]
fn rules_compare_by_what_is_written() {
    let one = "- {source_labels: [a], regex: x.*, target_label: b}";
    assert_eq!(decode(one), decode("- {target_label: b, regex: 'x.*', source_labels: [a], separator: ;}"));
    assert_ne!(decode(one), decode("- {source_labels: [a], regex: y.*, target_label: b}"));
}

proptest! {
    #[test]
    fn no_template_and_no_value_panics(replacement in "[$a-c{}0-9é]{0,8}", value in "\\PC{0,8}") {
        let yaml = format!("- {{source_labels: [a], regex: (.)(?P<b>.*), target_label: d, replacement: '{replacement}'}}");
        let _ = run(&yaml, &Labels::from_pairs([("a", value)]));
    }
}
