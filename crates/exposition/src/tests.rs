use std::borrow::Cow;

use model::{Labels, MetricKind, TimestampMs};
use proptest::prelude::*;

use super::*;

fn entries(body: &str) -> Vec<Entry<'_>> {
    Parser::new(body.as_bytes()).collect::<Result<_, _>>().expect("parses")
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

#[test]
fn reads_a_body() {
    let body = "# HELP http_requests_total Requests \\\\ served.\\nSecond line.\n\
                # TYPE http_requests_total counter\n\
                http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\
                \n\
                # just a comment\n\
                #TYPE not really\n\
                \t plain \t 12.5 \n\
                # UNIT plain seconds\n\
                # EOF\n\
                last{a=\"}\"} NaN";
    let got = entries(body);
    let want = [
        Entry::Help {
            family: Cow::Borrowed("http_requests_total"),
            help: Cow::Borrowed("Requests \\ served.\nSecond line."),
        },
        Entry::Type { family: Cow::Borrowed("http_requests_total"), kind: MetricKind::Counter },
        Entry::Sample {
            series: "http_requests_total{method=\"post\",code=\"200\"}",
            value: 1027.0,
            timestamp: Some(TimestampMs(1_395_066_363_000)),
        },
        Entry::Comment(" just a comment"),
        Entry::Comment("TYPE not really"),
        Entry::Sample { series: "plain", value: 12.5, timestamp: None },
        Entry::Unit { family: Cow::Borrowed("plain"), unit: "seconds" },
        Entry::Comment(" EOF"),
    ];
    assert_eq!(got[..want.len()], want);
    let Some(Entry::Sample { series, value, .. }) = got.last() else { panic!("{got:?}") };
    assert_eq!(*series, "last{a=\"}\"}");
    assert!(value.is_nan() && !model::is_stale(*value));
}

#[test]
fn names_the_line_that_is_wrong() {
    let cases = [
        ("a 1\nb\n", 2, "expected a value"),
        ("a{x=\"y\"}\n", 1, "expected a value"),
        ("a 1 2 3\n", 1, "end of the line"),
        ("a 1 2.5\n", 1, "not a timestamp"),
        ("a 1 99999999999999999999\n", 1, "not a timestamp"),
        ("a x\n", 1, "not a number"),
        ("a 1e999\n", 1, "out of range"),
        ("a 1\r\n", 1, "not a number"),
        ("\n\n# TYPE a nonsense\n", 3, "invalid metric type"),
        ("# TYPE a\n", 1, "invalid metric type"),
        ("# HELP 1a text\n", 1, "expected a metric name"),
        ("# HELP a-b text\n", 1, "expected a metric name"),
        ("# HELP \"a text\n", 1, "expected a metric name"),
        ("<html>\n", 1, "expected a value"),
    ];
    for (body, line, message) in cases {
        let error = Parser::new(body.as_bytes()).find_map(Result::err).expect(body);
        assert_eq!(error.line, line, "{body:?}: {error}");
        assert!(error.message.contains(message), "{body:?}: {error}");
    }
}

#[test]
fn ends_after_an_error() {
    let mut parser = Parser::new(b"a x\nb 1\n");
    assert!(parser.next().is_some_and(|e| e.is_err()));
    assert!(parser.next().is_none());
}

#[test]
fn names_the_line_that_is_not_utf8() {
    let mut parser = Parser::new(b"a 1\nb{x=\"\xff\"} 1\nc 1\n");
    assert!(matches!(parser.next(), Some(Ok(Entry::Sample { series: "a", .. }))));
    assert_eq!(parser.next(), Some(Err(ParseError { line: 2, message: "invalid UTF-8".into() })));
    assert_eq!(parser.next(), None);
}

#[test]
fn reads_series() {
    let cases = [
        ("up", labels(&[("__name__", "up")])),
        (":a:b_1", labels(&[("__name__", ":a:b_1")])),
        ("up{}", labels(&[("__name__", "up")])),
        ("up {b=\"2\",a=\"1\",}", labels(&[("__name__", "up"), ("a", "1"), ("b", "2")])),
        ("up { a = \"1\" ,\tb=\"\" }", labels(&[("__name__", "up"), ("a", "1")])),
        (r#"up{a="\\\"\n\x"}"#, labels(&[("__name__", "up"), ("a", "\\\"\n\\x")])),
        (r#"{"a.b", x="y"}"#, labels(&[("__name__", "a.b"), ("x", "y")])),
        (r#"{"a \"b\"", "x.y"="z"}"#, labels(&[("__name__", "a \"b\""), ("x.y", "z")])),
        ("{a=\"1\"}", labels(&[("a", "1")])),
        ("ä", Labels::empty()),
        ("up{ä=\"1\"}", Labels::empty()),
    ];
    for (text, want) in cases {
        match series_labels(text) {
            Ok(got) => assert_eq!(got, want, "{text}"),
            Err(error) => assert!(want.is_empty(), "{text}: {error}"),
        }
    }
}

#[test]
fn refuses_what_is_no_series() {
    let cases = [
        ("", "a metric name"),
        ("1up", "a metric name"),
        ("up}", "nothing more"),
        ("up 1 }", "nothing more"),
        ("up{a=\"1\"} 1}", "nothing more"),
        ("up{", "a label name"),
        ("up{,}", "a label name"),
        ("up{a:b=\"1\"}", "'='"),
        ("up{a}", "'='"),
        ("up{a=1}", "a quoted string"),
        ("up{a=\"1}", "unterminated"),
        ("up{a=\"1\\\"}", "unterminated"),
        ("up{a=\"\\", "unterminated"),
        ("up{a=\"1\" b=\"2\"}", "',' or '}'"),
        ("up{a=\"1\",a=\"2\"}", "duplicate label name \"a\""),
        ("up{a=\"\",a=\"\"}", "duplicate label name"),
        ("up{\"other\"}", "duplicate label name \"__name__\""),
        ("up{__name__=\"x\"}", "duplicate label name"),
        ("up{\"\"=\"x\"}", "empty name"),
        ("{\"\"}", "empty name"),
    ];
    for (text, message) in cases {
        let error = series_labels(text).expect_err(text).to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn writes_a_body() {
    let mut out = String::new();
    let mut writer = Writer::new(&mut out);
    writer.help("a", "back\\slash\nline");
    writer.kind("a", MetricKind::Counter);
    writer.kind("b.c", MetricKind::StateSet);
    writer.sample(&labels(&[("__name__", "a")]), 1.0, None);
    writer.sample(&labels(&[("__name__", "a"), ("x", "q\"\\\n"), ("y.z", "1")]), 1e6, Some(TimestampMs(-5)));
    writer.sample(&labels(&[("__name__", "b.c"), ("x", "1")]), f64::INFINITY, None);
    writer.sample(&Labels::empty(), 0.5, None);
    let want = "# HELP a back\\\\slash\\nline\n\
                # TYPE a counter\n\
                # TYPE \"b.c\" gauge\n\
                a 1\n\
                a{x=\"q\\\"\\\\\\n\",\"y.z\"=\"1\"} 1e+06 -5\n\
                {\"b.c\",x=\"1\"} +Inf\n\
                {} 0.5\n";
    assert_eq!(out, want);
}

fn any_labels() -> impl Strategy<Value = Labels> {
    let names = prop_oneof!["[a-zA-Z_][a-zA-Z0-9_]{0,6}", "(?s).{1,6}"];
    let metric = prop_oneof!["[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", "(?s).{1,8}"];
    (metric, prop::collection::btree_map(names, "(?s).{1,12}", 0..5))
        .prop_map(|(metric, pairs)| Labels::from_pairs(pairs.into_iter().chain([("__name__".to_owned(), metric)])))
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        samples in prop::collection::vec((any_labels(), any::<f64>(), prop::option::of(any::<i64>())), 1..5),
        help in "(?s).{0,20}",
    ) {
        let mut out = String::new();
        let mut writer = Writer::new(&mut out);
        writer.help("family", &help);
        for (labels, value, ms) in &samples {
            writer.sample(labels, *value, ms.map(TimestampMs));
        }
        let mut parser = Parser::new(out.as_bytes());
        let Some(Ok(Entry::Help { help: got, .. })) = parser.next() else { panic!("{out:?}") };
        prop_assert_eq!(got.as_ref(), help.as_str());
        for (labels, value, ms) in &samples {
            let Some(Ok(Entry::Sample { series, value: got, timestamp })) = parser.next() else { panic!("{out:?}") };
            prop_assert_eq!(&series_labels(series).expect("valid"), labels);
            prop_assert!(got == *value || (got.is_nan() && value.is_nan()));
            prop_assert_eq!(timestamp, ms.map(TimestampMs));
        }
        prop_assert!(parser.next().is_none());
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for entry in Parser::new(&body) {
            if let Ok(Entry::Sample { series, .. }) = entry {
                let _ = series_labels(series);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(body in "([a-z{}\",=# \\\\\n0-9ä]|HELP|TYPE){0,60}") {
        for entry in Parser::new(body.as_bytes()) {
            if let Ok(Entry::Sample { series, .. }) = entry {
                let _ = series_labels(series);
            }
        }
    }
}
