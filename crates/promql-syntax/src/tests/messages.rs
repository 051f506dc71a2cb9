//! What is refused, with what words, and where.

use super::parsed;
use crate::{Options, parse};

fn message(query: &str, options: Options) -> String {
    match parse(query, options) {
        Ok(expr) => format!("{expr} is no mistake"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn mistakes_are_called_what_prometheus_calls_them() {
    let lines: Vec<&str> = include_str!("observed.txt").lines().filter(|line| !line.starts_with("## ")).collect();
    assert!(lines.len() > 600, "{} lines", lines.len());
    for pair in lines.chunks(2) {
        let (query, want) = (pair[0].replace('⏎', "\n"), pair[1].trim_start().replace('⏎', "\n"));
        assert_eq!(message(&query, Options::default()), want, "{query}");
    }
}

/// What Prometheus 2.42 has other words for, or did not know.
const OF_PROMETHEUS_3: &[(&str, &str)] = &[
    ("", "unknown position: parse error: no expression found in input"),
    ("foo[", "1:5: parse error: unexpected end of input in duration expression"),
    (
        "foo[]",
        r#"1:5: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
    ),
    ("foo[bar]", "1:5: parse error: unexpected character in duration expression: 'b'"),
    ("foo[:1m]", "1:6: parse error: unexpected colon before duration in duration expression"),
    ("foo[5m x]", "1:8: parse error: unexpected character: 'x', expected ':'"),
    ("foo[5mx]", r#"1:5: parse error: bad number or duration syntax: "5mx""#),
    ("foo[5hs]", r#"1:5: parse error: unknown unit "hs" in duration "5hs""#),
    ("foo[1s5m]", r#"1:5: parse error: not a valid duration string: "1s5m""#),
    ("foo[300y]", "1:5: parse error: duration out of range"),
    ("foo[1e11]", "1:5: parse error: duration out of range"),
    ("foo[-5m]", "1:5: parse error: duration must be greater than 0"),
    ("foo[5m:0s]", "1:8: parse error: duration must be greater than 0"),
    (
        "foo offset",
        "1:11: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    ),
    (
        "foo offset bar",
        r#"1:12: parse error: unexpected identifier "bar" in offset, expected number, duration, step(), or range()"#,
    ),
    ("foo offset Inf", "1:12: parse error: duration out of range"),
    ("foo[5m:)]", "1:9: parse error: unexpected right parenthesis ')'"),
    (
        "(foo[5m:)]",
        r#"1:9: parse error: unexpected ")" in subquery selector, expected number, duration, step(), range(), or "]""#,
    ),
    (r#"sum by ("") (foo)"#, r#"1:9: parse error: invalid label name for grouping: """#),
    (r#"sum by (1) (foo)"#, r#"1:9: parse error: unexpected number "1" in grouping opts, expected label"#),
    (r#"{"a", "b"}"#, r#"{__name__="a",__name__="b"} is no mistake"#),
    (r#"a{"b"}"#, r#"1:1: parse error: metric name must not be set twice: "a" or "b""#),
    (r#"{"a"=}"#, r#"1:6: parse error: unexpected "}" in label matching, expected string"#),
    (r#"foo{a=~"["}"#, "1:5: parse error: error parsing regexp: missing closing ]: `[`"),
    (r#"foo{"a b"=~"a**"}"#, "1:5: parse error: error parsing regexp: invalid nested repetition operator: `**`"),
    ("foo @ 1e20", "1:1: parse error: timestamp out of bounds for @ modifier: 100000000000000000000.000000"),
    ("1_", r#"1:1: parse error: bad number or duration syntax: "1_""#),
    ("1.2.3", r#"1:1: parse error: bad number or duration syntax: "1.2.""#),
    ("1_0.5", r#"1:1: parse error: error parsing number: strconv.ParseFloat: parsing "1_0.5": invalid syntax"#),
    ("step(1)", r#"1:1: parse error: expected 0 argument(s) in call to "step", got 1"#),
    (
        "sort_by_label(foo, 1)",
        r#"1:20: parse error: expected type string in call to function "sort_by_label", got scalar"#,
    ),
    ("limitk(foo)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1"),
    ("limit_ratio(\"a\", foo)", "1:13: parse error: expected type scalar in aggregation parameter, got string"),
    ("a or on (b) 1", r#"1:1: parse error: vector matching only allowed between instant vectors"#),
    ("{a=\"b\" or c=\"d\"}", r#"1:8: parse error: unexpected identifier "or" in label matching, expected "," or "}""#),
    (
        "first_over_time(foo)",
        r#"1:17: parse error: expected type range vector in call to function "first_over_time", got instant vector"#,
    ),
];

#[test]
fn mistakes_that_only_prometheus_3_knows() {
    for (query, want) in OF_PROMETHEUS_3 {
        assert_eq!(message(query, Options::default()), *want, "{query}");
    }
}

#[test]
fn experiments_are_refused_where_they_are_not_allowed() {
    let duration = "experimental duration expression is not enabled";
    let cases = [
        ("foo[5m * 2]", 5, duration),
        ("foo[1m + 5m * 2]", 10, duration),
        ("foo[(5m)]", 6, duration),
        ("foo[step()]", 5, duration),
        ("foo[max(5m, range()):1m]", 13, duration),
        ("foo offset (1h + 5m)", 13, duration),
        ("foo offset -step()", 13, duration),
        ("foo anchored", 1, "anchored modifier is experimental and not enabled"),
        ("rate(foo[5m] smoothed)", 6, "smoothed modifier is experimental and not enabled"),
        ("1 + foo * fill(0) bar", 5, "binop fill modifiers are experimental and not enabled"),
        ("a == on (b) group_left fill_right (1) c", 1, "binop fill modifiers are experimental and not enabled"),
        ("1 + info(foo)", 5, r#"function "info" is not enabled"#),
    ];
    for (query, column, want) in cases {
        let found = message(query, Options::default());
        assert_eq!(found, format!("1:{column}: parse error: {want}"), "{query}");
        parsed(query);
    }
    let strict = Options { experimental_functions: false, ..Options::default() };
    assert_eq!(
        message("mad_over_time(foo[5m])", strict),
        r#"1:1: parse error: function "mad_over_time" is not enabled"#
    );
    assert_eq!(
        message("limitk(1, foo)", strict),
        "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
    );
}

#[test]
fn mistakes_in_experiments() {
    let cases = [
        ("foo[5m / 0]", "1:8: parse error: division by zero"),
        ("foo[5m % 0s]", "1:8: parse error: modulo by zero"),
        ("foo[2 * bar]", "1:9: parse error: unexpected character: 'b', expected ':'"),
        (
            "foo[5m * ]",
            r#"1:10: parse error: unexpected "]" in subquery or range selector, expected number, duration, step(), or range()"#,
        ),
        (
            "(foo[min(5m)])",
            r#"1:12: parse error: unexpected ")" in subquery or range selector, expected number, duration, step(), or range()"#,
        ),
        ("foo anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
        ("foo[5m:] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"),
        ("sum(foo) smoothed", "1:1: parse error: smoothed modifier not implemented"),
        ("a + fill(b) c", r#"1:10: parse error: unexpected identifier "b""#),
        ("a + fill(1) 2", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        ("a and fill(1) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("info(foo, bar)", "1:11: parse error: expected label selectors only, got vector selector instead"),
        ("info(foo, sum(bar))", "1:11: parse error: expected label selectors only"),
        ("info(1)", r#"1:6: parse error: expected type instant vector in call to function "info", got scalar"#),
    ];
    for (query, want) in cases {
        assert_eq!(message(query, Options::EXPERIMENTAL), want, "{query}");
    }
}
