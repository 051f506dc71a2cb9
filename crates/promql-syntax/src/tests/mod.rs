//! The language as a whole: what is accepted and what it means, what is refused and how, and that no text does harm.

mod messages;
mod properties;

use crate::{At, Expr, Extension, MAX_DEPTH, MAX_QUERY_BYTES, Options, Stretch, function, parse, parse_selector};

pub(crate) fn parsed(query: &str) -> Expr {
    parse(query, Options::EXPERIMENTAL).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The expression with parentheses around every operator.
fn grouped(expr: &Expr) -> String {
    match expr {
        Expr::Binary(binary) => format!("({} {} {})", grouped(&binary.lhs), binary.op, grouped(&binary.rhs)),
        Expr::Unary(unary) => format!("({}{})", if unary.negative { "-" } else { "+" }, grouped(&unary.expr)),
        other => other.to_string(),
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    let cases = [
        ("a + b * c", "(a + (b * c))"),
        ("a * b + c", "((a * b) + c)"),
        ("a - b - c", "((a - b) - c)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-a ^ b", "(-(a ^ b))"),
        ("-a * b", "((-a) * b)"),
        ("a ^ -b * c", "((a ^ (-b)) * c)"),
        ("a ^ - b ^ c", "(a ^ (-(b ^ c)))"),
        ("a == b + c", "(a == (b + c))"),
        ("a and b or c unless d", "((a and b) or (c unless d))"),
        ("a or b and c", "(a or (b and c))"),
        ("a and b == c", "(a and (b == c))"),
        ("a % b atan2 c / d", "(((a % b) atan2 c) / d)"),
        ("a + b offset 5m", "(a + b offset 5m)"),
        ("-a offset 5m", "(-a offset 5m)"),
        ("-rate(a[5m:]) + b", "((-rate(a[5m:])) + b)"),
        ("a offset 5m + b", "(a offset 5m + b)"),
        ("a offset -5m * 2", "(a offset -5m * 2)"),
        ("a @ 5 - 3", "(a @ 5.000 - 3)"),
    ];
    for (query, want) in cases {
        assert_eq!(grouped(&parsed(query)), want, "{query}");
    }
}

#[test]
fn keywords_may_be_names() {
    for word in [
        "sum",
        "avg",
        "by",
        "without",
        "offset",
        "and",
        "or",
        "unless",
        "start",
        "end",
        "step",
        "range",
        "anchored",
        "smoothed",
        "fill",
        "fill_left",
        "topk",
        "limitk",
        "min_of",
        "a:b",
        ":",
        "_",
    ] {
        for query in [format!("{word} + 1"), format!("{word}{{a=\"b\"}}"), format!("1 + {word}")] {
            assert!(parse(&query, Options::default()).is_ok(), "{query}");
        }
    }
    for word in ["sum", "bool", "by", "on", "ignoring", "group_left", "offset", "and", "atan2", "start", "fill", "a:b"]
    {
        let query = format!("sum by ({word}, {word}) (up)");
        assert!(parsed(&query).to_string().contains(word), "{query}");
    }
    assert!(parse("SUM BY (a) (up) AND ON (b) up OFFSET 5m", Options::default()).is_ok());
    assert!(parse("RATE(up[5m])", Options::default()).is_err());
}

#[test]
fn durations_are_numbers_and_numbers_are_durations() {
    let range = |query: &str| match parsed(query) {
        Expr::Matrix(matrix) => matrix.range.fixed_ms(),
        _ => None,
    };
    assert_eq!(range("up[300]"), Some(300_000));
    assert_eq!(range("up[1.5]"), Some(1500));
    assert_eq!(range("up[1h30m]"), Some(5_400_000));
    assert_eq!(range("up[0x10]"), Some(16_000));
    assert_eq!(range("up[ 1d ]"), Some(86_400_000));
    let value = |query: &str| match parsed(query) {
        Expr::Number(number) => Some(number.value),
        _ => None,
    };
    assert_eq!(value("1h30m"), Some(5400.0));
    assert_eq!(value("-500ms"), Some(-0.5));
    for (text, want) in [("0x1F", 31.0), ("0755", 493.0), ("08", 8.0), ("1_000", 1000.0), ("1e3", 1000.0), (".5", 0.5)]
    {
        assert_eq!(value(text), Some(want), "{text}");
    }
    assert!(value("NAN").is_some_and(f64::is_nan));
    assert_eq!(value("-iNf"), Some(f64::NEG_INFINITY));
}

#[test]
fn modifiers_in_any_order() {
    for query in
        ["up offset 5m @ start() anchored", "up anchored @ start() offset 5m", "up @ start() offset 300 anchored"]
    {
        let Expr::Vector(selector) = parsed(query) else { panic!("{query}") };
        assert_eq!(selector.offset, Stretch::Fixed(300_000), "{query}");
        assert_eq!(selector.at, Some(At::Start), "{query}");
        assert_eq!(selector.extension, Some(Extension::Anchored), "{query}");
        assert_eq!((selector.span.start, selector.span.end as usize), (0, query.len()), "{query}");
    }
}

#[test]
fn every_node_knows_its_place() {
    fn walk<'a>(expr: &Expr, query: &'a str, into: &mut Vec<&'a str>) {
        into.push(expr.span().of(query));
        expr.children().into_iter().for_each(|child| walk(child, query, into));
    }
    let places = |query: &'static str| {
        let mut found = Vec::new();
        walk(&parsed(query), query, &mut found);
        found
    };
    assert_eq!(
        places(" sum by (a) ( rate(x{b=\"c\"}[5m] offset 1h) ) / - 2 "),
        [
            "sum by (a) ( rate(x{b=\"c\"}[5m] offset 1h) ) / - 2",
            "sum by (a) ( rate(x{b=\"c\"}[5m] offset 1h) )",
            "rate(x{b=\"c\"}[5m] offset 1h)",
            "x{b=\"c\"}[5m] offset 1h",
            "- 2",
        ]
    );
    assert_eq!(places("topk(3, a) by (b)"), ["topk(3, a) by (b)", "3", "a"]);
    assert_eq!(places("-(rate(a[5m:1m] @ 5))")[1..4], ["(rate(a[5m:1m] @ 5))", "rate(a[5m:1m] @ 5)", "a[5m:1m] @ 5"]);
}

#[test]
fn selectors_alone() {
    let shown = |text: &str| -> Vec<String> {
        let matchers = parse_selector(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        matchers.iter().map(ToString::to_string).collect()
    };
    assert_eq!(shown("up"), [r#"__name__="up""#]);
    assert_eq!(shown(r#"up{a!="b",c=~"d|e",}"#), [r#"a!="b""#, r#"c=~"d|e""#, r#"__name__="up""#]);
    assert_eq!(shown(r#"{"a.b", "c d"='e'}"#), [r#"__name__="a.b""#, r#"c d="e""#]);
    assert_eq!(shown("{}"), [""; 0]);
    for (text, want) in [
        ("", "unknown position: parse error: unexpected end of input"),
        ("up + 1", "1:4: parse error: unexpected <op:+>"),
        ("up[5m]", r#"1:3: parse error: unexpected "[""#),
        ("up offset 5m", "1:4: parse error: unexpected <offset>"),
        ("up{", "1:4: parse error: unexpected end of input inside braces"),
        ("1", r#"1:1: parse error: unexpected number "1""#),
    ] {
        assert_eq!(parse_selector(text).map_err(|error| error.to_string()), Err(want.to_owned()), "{text}");
    }
}

#[test]
fn too_much_is_refused() {
    let refused = |query: String| {
        let error = parse(&query, Options::EXPERIMENTAL).map(|_| ()).expect_err("is too much");
        assert!(error.message.contains("levels deep") || error.message.contains("bytes long"), "{error}");
    };
    let many = 20_000;
    refused("(".repeat(many));
    refused("-".repeat(many) + "a");
    refused("abs(".repeat(many));
    refused("sum by (a) (".repeat(many / 4));
    refused("a + ".repeat(many / 2) + "a");
    refused("2 ^ ".repeat(many / 2) + "a");
    refused("a".to_owned() + &"[5m:]".repeat(many / 2));
    refused("a[".to_owned() + &"(".repeat(many));
    refused("a[".to_owned() + &"-".repeat(many));
    refused("a[1".to_owned() + &" + 1".repeat(many / 2) + "]");
    refused("a".repeat(MAX_QUERY_BYTES + 1));
    let deepest = |levels: usize| "(".repeat(levels) + "a" + &")".repeat(levels);
    assert!(parse(&deepest(MAX_DEPTH - 1), Options::default()).is_ok());
    refused(deepest(MAX_DEPTH));
}

#[test]
fn heavy_regular_expressions_are_refused() {
    let query = format!("{{{}}}", r#"a=~"\\pL{30}","#.repeat(4000));
    let error = parse(&query, Options::default()).expect_err("takes gigabytes");
    assert_eq!(error.message, "the query's regular expressions together would take more than 32MB");
    let replace = |pattern: &str| format!(r#"label_replace(up, "a", "$1", "b", ({pattern}))"#);
    let query = vec![replace(r#""\\pL{30}""#); 400].join(" or ");
    let error = parse(&query, Options::default()).expect_err("takes hundreds of megabytes");
    assert_eq!(error.message, "the query's regular expressions together would take more than 32MB");
    assert!(parse(&replace(r#""(.*):\\d+""#), Options::default()).is_ok());
    let query = format!("{{{}}}", r#"a=~"(?i)some-(host|name)-[a-z]+.*","#.repeat(1000));
    assert!(parse(&query, Options::default()).is_ok());
}

#[test]
fn the_tree_as_the_api_shows_it() {
    let json = |query: &str| parsed(query).to_json().to_string();
    assert_eq!(
        json(r#"up{a!="b"}[5m] offset -1h @ 1.5"#),
        concat!(
            r#"{"anchored":false,"matchers":[{"name":"a","type":"!=","value":"b"},"#,
            r#"{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":-3600000,"range":300000,"#,
            r#""smoothed":false,"startOrEnd":null,"timestamp":1500,"type":"matrixSelector"}"#
        )
    );
    assert_eq!(
        json("topk(+Inf, a @ end()) by (b)"),
        concat!(
            r#"{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","#,
            r#""offset":0,"smoothed":false,"startOrEnd":"end","timestamp":null,"type":"vectorSelector"},"#,
            r#""grouping":["b"],"op":"topk","param":{"type":"numberLiteral","val":"+Inf"},"type":"aggregation","#,
            r#""without":false}"#
        )
    );
    let binary: serde_json::Value = parsed("a > bool on (c) group_left (d) fill_left (3) b").to_json();
    assert_eq!(
        binary["matching"].to_string(),
        r#"{"card":"many-to-one","fillValues":{"lhs":3.0,"rhs":null},"include":["d"],"labels":["c"],"on":true}"#
    );
    assert_eq!((binary["bool"].as_bool(), binary["op"].as_str()), (Some(true), Some(">")));
    assert_eq!(parsed("1 + a").to_json()["matching"], serde_json::Value::Null);
    assert_eq!(parsed("a and b").to_json()["matching"]["card"], "many-to-many");
    let call = parsed("round(-(a))").to_json();
    assert_eq!(
        call["func"].to_string(),
        r#"{"argTypes":["vector","scalar"],"name":"round","returnType":"vector","variadic":1}"#
    );
    assert_eq!(call["args"][0]["type"], "unaryExpr");
    assert_eq!(call["args"][0]["op"], "-");
    assert_eq!(call["args"][0]["expr"]["type"], "parenExpr");
    assert_eq!(parsed("a[5m:]").to_json()["step"], 0);
    assert_eq!(parsed(r#""x""#).to_json().to_string(), r#"{"type":"stringLiteral","val":"x"}"#);
}

#[test]
fn every_function_can_be_called() {
    for function in crate::functions() {
        let args: Vec<&str> = function
            .args
            .iter()
            .map(|arg| match arg {
                crate::ValueType::Scalar => "1",
                crate::ValueType::String => r#""s""#,
                crate::ValueType::Vector if function.name == "info" => r#"{a="b"}"#,
                crate::ValueType::Vector => "a",
                crate::ValueType::Matrix => "a[5m]",
            })
            .collect();
        let query = format!("{}({})", function.name, args.join(", "));
        assert_eq!(parsed(&query).to_string(), query);
        assert!(crate::tests::function(function.name).is_some());
    }
}
