//! What Go's `regexp` says of the same expressions, and that nothing that it takes is refused.

use proptest::prelude::*;

use super::rust_regex;
use crate::{MatchOp, Matcher};

#[test]
fn matches_as_go() {
    // pattern, what it matches as a whole, what it does not
    let cases: &[(&str, &[&str], &[&str])] = &[
        (r"\d+", &["12"], &["١٢", ""]),
        (r"\D", &["١", "a"], &["1"]),
        (r"\w+", &["aZ_9"], &["ä", "-"]),
        (r"\W", &["ä", "-"], &["a"]),
        (r"a\sb", &["a b", "a\tb", "a\x0cb"], &["a\x0bb", "a\u{a0}b"]),
        (r"[^\S]", &[" "], &["\x0b", "a"]),
        (r"[\d\-x]+", &["1-x"], &["١"]),
        (r".*\bä.*", &["aä"], &["ä", " ä", "ää"]),
        (r".*\Ba.*", &["ba"], &["a", "ä a"]),
        (r"\Qa.b*\E+", &["a.b*", "a.b**"], &["axb"]),
        (r"\Qa[b", &["a[b"], &["ab"]),
        (r"a{", &["a{"], &["a"]),
        (r"a{,2}", &["a{,2}"], &["aa"]),
        (r"a{02}", &["a{02}"], &["aa"]),
        (r"a{2}b{1,}c{0,1}", &["aab", "aabbc"], &["ab"]),
        (r"{a}", &["{a}"], &["a"]),
        (r"\101\x41\x{e4}\07", &["AAä\u{7}"], &[]),
        (r"\.\_\/\-\#\ ", &["._/-# "], &[]),
        (r"[]a]+", &["]a"], &["["]),
        (r"[^]a]", &["b"], &["]", "a"]),
        (r"[a&&b~~c]+", &["a&b~c"], &[]),
        (r"[[a]+", &["[a"], &["b"]),
        (r"[[:alpha:]_]+", &["a_"], &["1", ":"]),
        (r"[[:^alpha:]]", &["1"], &["a"]),
        (r"[[:alp]+", &[":alp["], &["h"]),
        (r"[a-]+", &["a-"], &["b"]),
        (r"[a-c-e]+", &["ab-e"], &["d"]),
        (r"[\]\\^]+", &["]\\^"], &["a"]),
        (r"\pN\p{Greek}\P{Greek}\p{^Lu}", &["1αbc"], &["1αbC"]),
        (r"(?i)abc", &["ABC", "abc"], &[]),
        (r"(?i:a)b", &["Ab"], &["AB"]),
        (r"(?-s)a.", &["ab"], &["a\n"]),
        (r"a.", &["a\n"], &[]),
        (r"(?P<x>a)(?<y_2>b)(?P<1>c)", &["abc"], &[]),
        (r"(?ii-ss)a(?i-i)b", &["Ab"], &["AB"]),
        (r"(?)a(|b)", &["a", "ab"], &[]),
        (r"(?m)a$.^b", &["a\nb"], &[]),
        (r"\Aa\z", &["a"], &[]),
        (r"^*a", &["a"], &[]),
        (r"a+?b*?c??", &["a", "aabbc"], &[]),
        (r"]}", &["]}"], &[]),
    ];
    for (pattern, yes, no) in cases {
        let matcher = Matcher::new(MatchOp::Regex, "l", *pattern).unwrap_or_else(|error| panic!("{error}"));
        for (values, want) in [(yes, true), (no, false)] {
            for value in *values {
                assert_eq!(matcher.matches(value), want, "{pattern} on {value:?}");
            }
        }
    }
}

#[test]
fn refuses_as_go() {
    // Observed from Go's regexp/syntax, which prefixes "error parsing regexp: ".
    let cases = [
        ("[", "missing closing ]: `[`"),
        ("x[a-", "missing closing ]: `[a-`"),
        ("[]", "missing closing ]: `[]`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("a)(b", "unexpected ): `a)(b`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("a|+?", "missing argument to repetition operator: `+?`"),
        ("(?:{2})", "missing argument to repetition operator: `{2}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a+?{3}b", "invalid nested repetition operator: `+?{3}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        (r"\", "trailing backslash at end of expression: ``"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\x4g", r"invalid escape sequence: `\x4g`"),
        (r"\x{41*}", r"invalid escape sequence: `\x{41*`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\y", r"invalid escape sequence: `\y`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"[b-a]", "invalid character class range: `b-a`"),
        (r"[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Klingon}", r"invalid character class range: `\p{Klingon}`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?P<a b>c)", "invalid named capture: `(?P<a b>`"),
        ("(?P<a", "invalid named capture: `(?P<a`"),
    ];
    for (pattern, reason) in cases {
        let error = rust_regex(pattern).expect_err(pattern);
        assert_eq!(error.reason, reason, "{pattern}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_translated_compiles(
        pattern in r"([abä0-9]|\\[dDsSwWbBAzpPxQE.\[\]{}0-7-]|\[|\]|\[:alpha:\]|\(|\)|\(\?|[:PimsU<>]|[*+?|^$.&~-]|\{[0-9],?[0-9]?\}|\{|\}){0,16}"
    ) {
        let Ok(translated) = rust_regex(&pattern) else { return Ok(()) };
        // What is behind flags that are no group can be repeated in Go only.
        let repeated_flags = pattern.contains(")*") || pattern.contains(")+") || pattern.contains(")?") || pattern.contains("){");
        let compiled = regex::Regex::new(&format!("^(?s:{translated})$"));
        prop_assert!(repeated_flags || compiled.is_ok(), "{} became {}", pattern, translated);
    }

    #[test]
    fn no_text_makes_it_panic(pattern in "\\PC{0,40}") {
        let _ = rust_regex(&pattern);
    }
}
