//! Properties of all queries, generated from a grammar and from noise.

use proptest::prelude::*;
use proptest::sample::select;

use super::parsed;
use crate::{Expr, Options, parse};

/// A tree without its places.
fn without_places(expr: &Expr) -> String {
    let shown = format!("{expr:?}");
    let mut parts = shown.split("Span {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('}').map_or("", |(_, rest)| rest))
}

fn duration() -> impl Strategy<Value = String> {
    let atom = select(vec!["5m", "1h30m", "300", "1.5", "step()", "range()", "500ms", "1w"]).prop_map(str::to_owned);
    atom.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["+", "-", "*", "/", "%", "^"]), inner.clone())
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            (select(vec!["min", "max", "min_of"]), inner.clone(), inner).prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
        ]
    })
}

fn series() -> impl Strategy<Value = String> {
    let selector = select(vec![
        "up",
        "a:b",
        "sum",
        "offset",
        "by",
        "start",
        r#"up{a="1"}"#,
        r#"{"c d"!="e",__name__="f.g"}"#,
        r#"{a=~"b|c.*",b!~""}"#,
        r#"up{a="\"\n\\ä"}"#,
    ]);
    let modifier = prop_oneof![
        4 => Just(String::new()),
        1 => select(vec![" @ 5", " @ -1.5", " @ start()", " @ end()", " anchored", " smoothed"]).prop_map(str::to_owned),
        1 => select(vec![" offset 5m", " offset -300", " offset (1h + 5)", " offset -(5m)", " offset step()"])
            .prop_map(str::to_owned),
    ];
    (selector, modifier).prop_map(|(selector, modifier)| selector.to_owned() + &modifier)
}

/// Expressions whose value is an instant vector.
fn vector() -> impl Strategy<Value = String> {
    series().prop_recursive(4, 24, 3, |inner| {
        let scalar = select(vec!["1", "-2.5", "1h", "(+Inf)", "NaN", "time()", "scalar(up)", "(1 + 2)", "1 == bool 2", "1e30"]);
        let operator = select(vec![
            "+", "-", "*", "/", "%", "^", "atan2", "==", "!= bool", ">=", "and", "or", "unless", "and on (a)", "or ignoring (b)",
            r#"* on (a, "b c") group_left (d)"#, "/ ignoring (a) group_right", "+ on ()", "+ fill (3)", "< bool on (a) fill_left (-1)",
        ]);
        let grouping = select(vec!["", "by (a, b)", "without (c)", "without ()", r#"by ("a.b")"#]);
        prop_oneof![
            3 => (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            1 => (scalar, select(vec!["+", "> ", "^", "atan2"]), inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            1 => inner.clone().prop_map(|a| format!("({a})")),
            1 => (select(vec!["-", "+", "- "]), inner.clone()).prop_map(|(sign, a)| format!("{sign}{a}")),
            2 => (select(vec!["sum", "topk(5", "count_values('x'", "AVG", "limit_ratio(-0.5"]), grouping, inner.clone(), any::<bool>())
                .prop_map(|(op, grouping, a, behind)| match op.split_once('(') {
                    Some((op, param)) if behind => format!("{op}({param}, {a}) {grouping}"),
                    Some((op, param)) => format!("{op} {grouping} ({param}, {a})"),
                    None => format!("{op} {grouping} ({a})"),
                }),
            2 => (select(vec!["abs", "rate", "hour", "absent"]), inner.clone(), duration(), duration()).prop_map(|(f, a, range, step)| match f {
                "rate" => format!("rate(({a})[{range}:{step}] offset 5m)"),
                f => format!("{f}({a})"),
            }),
            1 => (inner, duration()).prop_map(|(a, range)| format!("last_over_time(({a})[{range}:] @ end())")),
            1 => duration().prop_map(|range| format!("increase(up{{a=\"b\"}}[{range}])")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_printed_reads_back(query in vector()) {
        let Ok(expr) = parse(&query, Options::EXPERIMENTAL) else { return Ok(()) };
        for text in [expr.to_string(), expr.pretty()] {
            let again = parsed(&text);
            prop_assert_eq!(without_places(&again), without_places(&expr), "{} became {}", query, text);
        }
    }

    #[test]
    fn every_part_is_found_where_it_says(query in vector()) {
        fn check(expr: &Expr, query: &str) {
            let text = expr.span().of(query);
            assert_eq!(without_places(&parsed(text)), without_places(expr), "{text:?} of {query:?}");
            expr.children().into_iter().for_each(|child| check(child, query));
        }
        if let Ok(expr) = parse(&query, Options::EXPERIMENTAL) {
            check(&expr, &query);
        }
    }

    #[test]
    fn most_of_what_is_generated_is_valid(queries in prop::collection::vec(vector(), 40)) {
        let valid = queries.iter().filter(|query| parse(query, Options::EXPERIMENTAL).is_ok()).count();
        prop_assert!(valid > 10, "{} of {}", valid, queries.len());
    }

    #[test]
    fn no_text_makes_it_panic(query in "\\PC{0,60}") {
        let _ = parse(&query, Options::EXPERIMENTAL);
    }

    #[test]
    fn no_near_query_makes_it_panic(
        query in "(sum|rate|up|offset|by|on|and|bool|fill|min|step|start|anchored|group_left|[\\(\\)\\[\\]{}@,:\"'`=~!<>^%*/#\n\\\\-]|5m|1e9|0x|inf|\\+|_| |[a-z0-9ä]){0,30}"
    ) {
        if let Err(error) = parse(&query, Options::EXPERIMENTAL) {
            let (start, end) = (error.span.start as usize, error.span.end as usize);
            prop_assert!(start <= end && query.get(start..end).is_some(), "{}", error);
        }
        let _ = crate::parse_selector(&query);
    }
}

/// The lexer refuses U+FFFD as it stands, which is what a string with a stray byte holds.
#[test]
fn a_string_that_is_no_utf8_reads_back() {
    let printed = parse(r#""a\xda""#, Options::default()).expect("parses").to_string();
    assert_eq!(printed, r#""a\ufffd""#);
    assert_eq!(parse(&printed, Options::default()).expect("parses").to_string(), printed);
}
