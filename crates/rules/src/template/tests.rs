//! What Prometheus' templates yield, here.

use proptest::prelude::*;

use super::*;
use model::{Labels, Sample, TimestampMs};
use promql::VectorSample;

fn scope() -> Scope {
    let query = |text: &str| match text {
        "up" => Ok(["b", "a"]
            .iter()
            .zip([2.0, 1.5])
            .map(|(instance, value)| VectorSample {
                labels: Labels::from_pairs([("__name__", "up"), ("instance", instance)]),
                sample: Sample { timestamp: TimestampMs(0), value },
            })
            .collect()),
        "none" => Ok(Vec::new()),
        _ => Err("no such series".to_owned()),
    };
    Scope { query: Arc::new(query), external_url: "http://h:9090/p".into(), at: TimestampMs(1_700_000_000_250) }
}

fn data(value: f64) -> Value {
    let strings = |pairs: &[(&str, &str)]| map(pairs.iter().copied());
    let fields = [
        ("Labels", strings(&[("instance", "node-1.example.org:9100"), ("job", "node")])),
        ("ExternalLabels", strings(&[("region", "eu")])),
        ("ExternalURL", Value::String("http://h:9090/p".into())),
        ("Value", Value::Float(value)),
    ];
    Value::Map(Arc::new(fields.into_iter().map(|(n, v)| (Arc::from(n), v)).collect()))
}

fn expand(text: &str, value: f64) -> String {
    let template = Template::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    template.bind(&functions(scope())).expand(&data(value))
}

#[test]
fn variables() {
    let cases = [
        ("{{ $labels.job }} of {{ .Labels.job }}", "node of node"),
        ("{{ $labels.missing }}|{{ .Labels.missing }}|{{ index $labels \"missing\" }}", "||"),
        ("{{ if $labels.missing }}yes{{ else }}no{{ end }}", "no"),
        ("{{ if eq $labels.missing \"\" }}empty{{ end }}", "empty"),
        ("{{ printf \"[%s]\" $labels.missing }}", "[]"),
        (
            "{{ $externalLabels.region }} {{ $externalURL }} {{ externalURL }} {{ pathPrefix }}",
            "eu http://h:9090/p http://h:9090/p /p",
        ),
        (
            "{{ range $name, $value := $labels }}{{ $name }}={{ $value }};{{ end }}",
            "instance=node-1.example.org:9100;job=node;",
        ),
        ("{{ with $labels }}{{ .job }}{{ end }}", "node"),
        ("no {template}", "no {template}"),
        ("{{ define \"x\" }}<{{ .arg0 }}>{{ end }}{{ template \"x\" (args $labels.job) }}", "<node>"),
        ("{{ $x := 1 }}{{ range $i, $s := query \"up\" }}{{ $x = $i }}{{ end }}{{ $x }}", "1"),
    ];
    for (text, want) in cases {
        assert_eq!(expand(text, 1.0), want, "{text}");
    }
}

#[test]
fn numbers_print_as_in_go() {
    let cases = [
        (1.0, "1"),
        (0.25, "0.25"),
        (1e21, "1e+21"),
        (0.00001, "1e-05"),
        (123_456_789.0, "1.23456789e+08"),
        (f64::INFINITY, "+Inf"),
        (f64::NAN, "NaN"),
    ];
    for (value, want) in cases {
        assert_eq!(expand("{{ $value }}", value), want);
    }
    assert_eq!(expand("{{ printf \"%.2f\" $value }} {{ $value | printf \"%.0f%%\" }}", 12.345), "12.35 12%");
}

/// Seen with promtool 2.42 and the value 1234567.
#[test]
fn prints_what_promtool_prints() {
    let cases = [
        (r#"{{ printf "%v" $value }}"#, "1.234567e+06"),
        (r#"{{ $value | printf "%s %% %v" "a" }} {{ printf "%*v" 3 1 }}"#, "a % 1.234567e+06   1"),
        (
            r#"{{ printf "%g|%e|%.3f|%8.2f|%+v" $value $value $value $value $value }}"#,
            "1.234567e+06|1.234567e+06|1234567.000|1234567.00|1.234567e+06",
        ),
        (r#"{{ print $value }}"#, "1.234567e+06"),
        (r#"{{ print $value "x" 1 2 }}"#, "1.234567e+06x1 2"),
        (r#"{{ println $value }}"#, "1.234567e+06\n"),
        (r#"{{ title "foo-bar b_c d.e éa" }}"#, "Foo-Bar B_c D.E Éa"),
        (r#"{{ stripPort "a:b:c" }}|{{ stripPort "[::1]" }}|{{ stripDomain "[::1]:80" }}"#, "a:b:c|[::1]|[::1]:80"),
        (r#"{{ if gt $value 1.0 }}x{{ end }}"#, "x"),
        (r#"{{ reReplaceAll "(.*):.*" "$1x" "a:b" }}|{{ reReplaceAll "(.*):.*" "${1}x" "a:b" }}"#, "|ax"),
        (r#"{{ "a" | toUpper | printf "%q" }}"#, "\"A\""),
        (r#"{{ $value | printf "%.2f" | humanize }}"#, "1.235M"),
        (r#"{{ args 1 2 }}"#, "map[arg0:1 arg1:2]"),
        ("{{ 1000000.0 }} {{ 1e21 }} {{ 100000.0 }} {{ 0.00001 }} {{ 0.0001 }}", "1e+06 1e+21 100000 1e-05 0.0001"),
        (r#"{{ and 1 0 }} {{ or "" "b" }} {{ not true }}"#, "0 b false"),
        (r#"{{ html "<a>" }} {{ urlquery "a b" }} {{ js "'" }}"#, r"&lt;a&gt; a+b \'"),
        (r#"{{- /* c */ -}} a {{ "b" -}} c"#, "a bc"),
        (r#"{{ with $x := 5 }}{{ $x }}{{ end }}{{ with "" }}{{ else }}e{{ end }}"#, "5e"),
        (r#"{{ printf "%s" }}"#, "%!s(MISSING)"),
        (r#"{{ printf "%d" 1 2 }}"#, "1%!(EXTRA int=2)"),
        (r#"{{ 1 | printf "%05d" }} {{ eq 1 2 1 }} {{ ne "a" "b" }}"#, "00001 true true"),
    ];
    for (text, want) in cases {
        assert_eq!(expand(text, 1_234_567.0), want, "{text}");
    }
}

#[test]
fn functions_for_numbers() {
    let cases = [
        ("humanize", 1_234_567.0, "1.235M"),
        ("humanize", 0.0012, "1.2m"),
        ("humanize", 0.0, "0"),
        ("humanize", -1500.0, "-1.5k"),
        ("humanize1024", 2_097_152.0, "2Mi"),
        ("humanize1024", 1.0, "1"),
        ("humanizeDuration", 0.0, "0s"),
        ("humanizeDuration", 0.0123, "12.3ms"),
        ("humanizeDuration", 59.5, "59.5s"),
        ("humanizeDuration", 3661.0, "1h 1m 1s"),
        ("humanizeDuration", -90_061.0, "-1d 1h 1m 1s"),
        ("humanizePercentage", 0.1234, "12.34%"),
        ("humanizePercentage", 0.123_456, "12.35%"),
        ("humanizeTimestamp", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        ("humanizeTimestamp", f64::NAN, "NaN"),
        ("toTime", 0.0, "1970-01-01 00:00:00 +0000 UTC"),
    ];
    for (function, value, want) in cases {
        assert_eq!(expand(&format!("{{{{ $value | {function} }}}}"), value), want, "{function} {value}");
    }
    assert_eq!(
        expand("{{ humanize \"1000\" }} {{ parseDuration \"1h30m\" }} {{ now }}", 0.0),
        "1k 5400 1.70000000025e+09"
    );
}

#[test]
fn functions_for_strings() {
    let cases = [
        ("{{ title \"a-b c_d\" }} {{ toUpper \"a\" }} {{ \"A\" | toLower }}", "A-B C_d A a"),
        (r#"{{ reReplaceAll "\\Q(a\\E\\d" "b" "x(a1" }}|{{ match "\\d" "\u0663" }}"#, "xb|false"),
        ("{{ match \"no.*\" $labels.job }} {{ reReplaceAll \"(n)o\" \"${1}a\" $labels.job }}", "true nade"),
        ("{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }}", "node-1.example.org node-1:9100"),
        ("{{ stripPort \"[::1]:80\" }} {{ stripPort \"a\" }} {{ stripDomain \"10.0.0.1:80\" }}", "::1 a 10.0.0.1:80"),
        ("{{ graphLink \"up == 0\" }}", "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
        ("{{ tableLink \"a{b=\\\"c\\\"}\" }}", "/graph?g0.expr=a%7Bb%3D%22c%22%7D&g0.tab=1"),
        ("{{ safeHtml \"<b>\" }} {{ len \"abc\" }} {{ \"a b\" | urlquery }}", "<b> 3 a&#43;b"),
    ];
    for (text, want) in cases {
        let want = want.replace("&#43;", "+");
        assert_eq!(expand(text, 1.0), want, "{text}");
    }
}

#[test]
fn queries() {
    let cases = [
        ("{{ with query \"up\" }}{{ . | first | value }} {{ . | first | label \"instance\" }}{{ end }}", "2 b"),
        (
            "{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }}={{ .Value }} {{ end }}",
            "a=1.5 b=2 ",
        ),
        ("{{ (query \"up\" | first).Labels.instance }}", "b"),
        ("{{ with query \"none\" }}some{{ else }}none{{ end }}", "none"),
    ];
    for (text, want) in cases {
        assert_eq!(expand(text, 1.0), want, "{text}");
    }
}

#[test]
fn a_failure_is_the_result() {
    let cases = [
        "a {{ query \"none\" | first | value }} b",
        "{{ query \"broken\" }}",
        "{{ .Lables.job }}",
        "{{ $value | match \"a\" }}",
        "{{ reReplaceAll \"(\" \"\" \"x\" }}",
        "{{ template \"missing\" }}",
        "{{ range $i, $x := query \"up\" }}{{ printf \"%070000d\" 1 }}{{ end }}",
        "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}",
    ];
    for text in cases {
        let result = expand(text, 1.0);
        assert!(result.starts_with("<error expanding template: ") && result.ends_with('>'), "{text}: {result}");
    }
}

#[test]
fn mistakes_are_found_when_parsing() {
    let cases = [
        ("{{ $labels.job", "line 1, column 15: "),
        ("{{ if }}x{{ end }}", "line 1, column 9: "),
        ("x\n{{ nope 1 }}", "line 2: function \"nope\" not defined"),
        ("{{ $nope }}", "undefined variable \"$nope\""),
        ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", "undefined variable \"$x\""),
        ("{{ define \"d\" }}{{ $labels.a }}{{ end }}", "undefined variable \"$labels\""),
    ];
    for (text, want) in cases {
        let error = Template::parse(text).expect_err(text).to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn never_panics(text in "(\\{\\{|\\}\\}|[$. |\"()a-z0-9]|labels|value|query|printf|range|if|end|with|define|index|first){0,20}") {
        if let Ok(template) = Template::parse(&text) {
            template.bind(&functions(scope())).expand(&data(1.0));
        }
    }
}
