use proptest::prelude::*;

use super::*;

/// How a pattern was understood, in one line.
fn shape(pattern: &str) -> String {
    match Pattern::new(pattern).expect("compiles") {
        Pattern::Plain { literals, globs, prefix } => {
            let globs: Vec<String> = globs.iter().map(glob_text).collect();
            format!("{:?} {:?} from {prefix:?}", literals, globs)
        }
        Pattern::Regex { prefix, .. } => format!("regex from {prefix:?}"),
    }
}

fn glob_text(glob: &Glob) -> String {
    let gap = |filled: bool| if filled { '+' } else { '*' };
    let mut out = glob.prefix.clone();
    for (filled, text) in &glob.middle {
        out.push(gap(*filled));
        out.push_str(std::str::from_utf8(text.needle()).expect("UTF-8"));
    }
    out.push(gap(glob.last_filled));
    out + &glob.suffix
}

#[test]
fn understands_what_people_write() {
    for (pattern, want) in [
        ("", r#"[""] [] from """#),
        ("up", r#"["up"] [] from "up""#),
        ("c|a|b|a", r#"["a", "b", "c"] [] from """#),
        ("node-1|node-2|node-10", r#"["node-1", "node-10", "node-2"] [] from "node-""#),
        ("node-(1|2)(a|b)?", r#"["node-1", "node-1a", "node-1b", "node-2", "node-2a", "node-2b"] [] from "node-""#),
        ("v[0-2]", r#"["v0", "v1", "v2"] [] from "v""#),
        ("a|", r#"["", "a"] [] from """#),
        ("^up$", r#"["up"] [] from "up""#),
        ("^(a|b)$|^c$", r#"["a", "b", "c"] [] from """#),
        ("(?m)^up$", r#"["up"] [] from "up""#),
        (r"10\.0\.0\.1:9100", r#"["10.0.0.1:9100"] [] from "10.0.0.1:9100""#),
        ("(?i)ab", r#"["AB", "Ab", "aB", "ab"] [] from """#),
        ("(?i)é", r#"["É", "é"] [] from """#),
        ("a{3}b{0,2}", r#"["aaa", "aaab", "aaabb"] [] from "aaa""#),
        (".*", r#"[] ["*"] from """#),
        (".+", r#"[] ["+"] from """#),
        ("(.*)", r#"[] ["*"] from """#),
        (r"[\s\S]*", r#"[] ["*"] from """#),
        ("(.+)?", r#"[""] ["+"] from """#),
        (".*|x", r#"["x"] ["*"] from """#),
        ("x.*", r#"[] ["x*"] from "x""#),
        ("^x.*$", r#"[] ["x*"] from "x""#),
        (".*x", r#"[] ["*x"] from """#),
        (".*x.+", r#"[] ["*x+"] from """#),
        ("a.*.*b.*.+", r#"[] ["a*b+"] from "a""#),
        ("(foo|fob).*", r#"[] ["foo*", "fob*"] from "fo""#),
        ("kube-.*|kubelet", r#"["kubelet"] ["kube-*"] from "kube""#),
        ("ü.*|ö.*", r#"[] ["ü*", "ö*"] from """#),
        ("a.b", r#"regex from "a""#),
        (".+.+", r#"regex from """#),
        ("(?-s)a.*", r#"regex from "a""#),
        ("a+", r#"regex from """#),
        ("x[0-9]{4}", r#"regex from "x""#),
        ("(x1)(y2)[0-9]+", r#"regex from "x1y2""#),
        (r"\bfoo.*", r#"regex from "foo""#),
        ("ab$.*", r#"regex from "ab""#),
        (r"\d+|\w+", r#"regex from """#),
        (r"[^\s\S]", r#"regex from """#),
    ] {
        assert_eq!(shape(pattern), want, "{pattern}");
    }
}

#[test]
fn gaps_take_what_dots_take() {
    let check = |pattern: &str, yes: &[&str], no: &[&str]| {
        let pattern = Pattern::new(pattern).expect("compiles");
        yes.iter().for_each(|value| assert!(pattern.is_match(value), "{pattern:?} and {value:?}"));
        no.iter().for_each(|value| assert!(!pattern.is_match(value), "{pattern:?} and {value:?}"));
    };
    check("a.*a", &["aa", "aba", "a\na"], &["a", "ab", ""]);
    check("a.+a", &["aba", "aéa", "aaa"], &["aa", "a"]);
    check(".*ab.*ab.*", &["abab", "xabxabx"], &["ab", "aab", "aba"]);
    check(".+b.*b", &["abb", "bbb", "éb b"], &["bb", "b"]);
    check(".*é.+", &["éx", "xéé"], &["é", "xé"]);
}

#[test]
fn stays_small_whatever_is_asked() {
    let words: Vec<String> = (0..20_000).map(|i| format!("pod-{i}")).collect();
    let pattern = Pattern::new(&words.join("|")).expect("a list of words needs no regular expression");
    assert_eq!(pattern.literals().map(<[String]>::len), Some(20_000));
    assert!(pattern.is_match("pod-777") && !pattern.is_match("pod-20000"));
    // Each would be far too much written out; the regular expression library has limits of its own.
    for pattern in
        ["(a|b){30}", "((a{999}){999}){999}", "(){4000000000}", r"[^\s\S]{1,4000000000}", "(a|bc)*", "(ab?){0,99}"]
    {
        if let Ok(pattern) = Pattern::new(pattern) {
            assert!(pattern.literals().is_none_or(|literals| literals.len() <= 1024), "{pattern:?}");
        }
    }
}

#[test]
fn knows_about_how_much_it_weighs() {
    let kib = |pattern| Pattern::new(pattern).expect("compiles").weight_bytes() / 1024;
    assert_eq!(kib("a.*|b"), 0);
    assert!((1..10).contains(&kib("[a-z]{100}x?")));
    assert!((500..2000).contains(&kib("[^a]{900}b")));
    assert!((1000..2500).contains(&kib(r"\pL{40}")));
}

/// Expressions from pieces that are likely to be understood, and likely to match short values of the same letters.
fn expression() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "k", "ab", "é", "\n", "ſ", "A"]).prop_map(str::to_owned),
        4 => prop::sample::select(vec![".*", ".+", ".", ".?", ".*?", r"[\s\S]*", "", "(?-s:.*)"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["[ab]", "[^a]", "[a-cé]", r"\w", r"\d*", r"\b", "^", "$", r"\z", "(?m:^)", "(?m:$)"])
            .prop_map(str::to_owned),
    ];
    piece.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
            1 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.join("|")),
            1 => (inner.clone(), prop::sample::select(vec!["?", "*", "+", "{2}", "{0,2}", "{1,}"]))
                .prop_map(|(part, times)| format!("(?:{part}){times}")),
            1 => inner.prop_map(|part| format!("(?i:{part})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn matches_what_the_anchored_expression_matches(
        pattern in expression(),
        values in prop::collection::vec("[abkABKéſ\u{212a}\n1]{0,5}", 1..20),
    ) {
        let translated = rust_regex(&pattern).ok();
        let Some(Ok(plain)) = translated.map(|translated| Regex::new(&format!("^(?s:{translated})$"))) else {
            prop_assert!(Pattern::new(&pattern).is_err());
            return Ok(());
        };
        let analysed = Pattern::new(&pattern).expect("the plain one compiled");
        let own = analysed.literals().unwrap_or_default();
        for value in values.iter().chain(own).map(String::as_str).chain([""]) {
            let want = plain.is_match(value);
            prop_assert_eq!(analysed.is_match(value), want, "{:?} as {:?} on {:?}", &pattern, &analysed, value);
            if want {
                prop_assert!(value.starts_with(analysed.prefix()));
            }
            prop_assert!(want || value.is_empty() || !analysed.takes_all_non_empty());
            prop_assert!(analysed.literals().is_none_or(|all| all.iter().any(|l| l == value) == want));
        }
    }
}
