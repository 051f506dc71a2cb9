//! What users' templates do, one line per habit.

use std::collections::BTreeMap;

use config::Document;
use model::{Labels, TimestampMs};
use proptest::prelude::*;

use super::{Templates, data};
use crate::{Alert, Notification};

fn alert(pairs: &[(&str, &str)], resolved: bool) -> Alert {
    Alert {
        labels: Labels::from_pairs(pairs.iter().copied()),
        annotations: BTreeMap::from([("summary".to_owned(), "a < b".to_owned())]),
        starts_at: TimestampMs(1_704_164_645_123),
        ends_at: TimestampMs(1_704_168_245_000),
        generator_url: String::new(),
        resolved,
    }
}

fn notification() -> Notification {
    Notification {
        receiver: "team.a-b".to_owned(),
        group_key: "{}/{}:{}".to_owned(),
        group_labels: Labels::from_pairs([("alertname", "Disk"), ("cluster", "c1")]),
        alerts: vec![
            alert(&[("alertname", "Disk"), ("cluster", "c1"), ("node", "n1"), ("severity", "page")], false),
            alert(&[("alertname", "Disk"), ("cluster", "c1"), ("node", "n2"), ("severity", "page")], true),
            alert(&[("alertname", "Disk"), ("cluster", "c1"), ("node", "n3"), ("severity", "page")], false),
        ],
        external_url: "http://am.example".to_owned(),
        truncated_alerts: 0,
        repeat: false,
        now: TimestampMs(1_704_168_245_000),
    }
}

fn check(source: &str, want: &str) {
    let text = Templates::defaults().text(source).expect(source);
    assert_eq!(text.render(&data(&notification(), 3)).expect(source), want, "{source}");
}

#[test]
fn reaches_what_alertmanager_offers() {
    let cases = [
        ("{{ .Status }} {{ .Receiver }} {{ .ExternalURL }}", r"firing team\.a-b http://am.example"),
        ("{{ .Alerts | len }}/{{ .Alerts.Firing | len }}/{{ len .Alerts.Resolved }}", "3/2/1"),
        ("{{ range .Alerts.Firing }}{{ .Labels.node }} {{ end }}", "n1 n3 "),
        ("{{ range $i, $a := .Alerts }}{{ $i }}{{ $a.Labels.node }}{{ end }}", "0n11n22n3"),
        ("{{ (index .Alerts 1).Status }} {{ (index .Alerts.Firing 1).Labels.node }}", "resolved n3"),
        ("{{ .GroupLabels.SortedPairs.Values | join \" \" }}", "Disk c1"),
        ("{{ .CommonLabels.Names | join \",\" }}", "alertname,cluster,severity"),
        ("{{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join \" \" }}{{ end }}", "page"),
        (
            "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}",
            "alertname=Disk;cluster=c1;severity=page;",
        ),
        ("{{ range $k, $v := .GroupLabels }}{{ $k }}={{ $v }};{{ end }}", "alertname=Disk;cluster=c1;"),
        (
            "[{{ .CommonLabels.missing }}][{{ index .CommonLabels \"missing\" }}][{{ .CommonAnnotations.summary }}]",
            "[][][a < b]",
        ),
        ("{{ if .CommonLabels.missing }}a{{ else if eq .Status \"firing\" }}b{{ end }}", "b"),
        ("{{ $root := . }}{{ range .Alerts.Resolved }}{{ $root.Status }}{{ $.Status }}{{ end }}", "firingfiring"),
        ("{{ (index .Alerts 0).Fingerprint | len }}", "16"),
        (
            "{{ define \"own\" }}<{{ .node }}>{{ end }}{{ range .Alerts }}{{ template \"own\" .Labels }}{{ end }}",
            "<n1><n2><n3>",
        ),
        ("{{ template \"__subject\" . }}", "[FIRING:2] Disk c1 (page)"),
        ("{{ template \"__alertmanagerURL\" . }}", "http://am.example/#/alerts?receiver=team%5C.a-b"),
    ];
    for (source, want) in cases {
        check(source, want);
    }
}

#[test]
fn knows_the_functions() {
    let cases = [
        (
            "{{ .Status | toUpper }}{{ toLower \"ÄB\" }}{{ title \"so IT is\" }}{{ trimSpace \" x \" }}",
            "FIRINGäbSo It Isx",
        ),
        ("{{ join \"+\" (stringSlice \"a\" \"b\") }} {{ match \"^n[0-9]$\" \"n1\" }}", "a+b true"),
        ("{{ reReplaceAll `\\Q(a\\E\\d` \"b\" \"x(a1\" }} {{ match `\\d` \"\u{663}\" }}", "xb false"),
        ("{{ reReplaceAll \"(.*)-(.*)\" \"$2:${1}\" \"a-b\" }}", "b:a"),
        (
            "{{ humanizeDuration 3725 }} {{ humanizeDuration \"0.5\" }} {{ humanizeDuration \"90s\" }}",
            "1h 2m 5s 500ms 1m 30s",
        ),
        ("{{ safeHtml \"<b>\" }}{{ urlUnescape \"a%20b+c\" }}", "<b>a b c"),
        ("{{ toJson .GroupLabels }}", r#"{"alertname":"Disk","cluster":"c1"}"#),
        (r#"{{ toJson "a<b" }}"#, r#""a\u003cb""#),
        ("{{ printf \"%s-%d\" .Status (len .Alerts) }}", "firing-3"),
    ];
    for (source, want) in cases {
        check(source, want);
    }
}

#[test]
fn tells_the_time_as_go_does() {
    let first = |action: &str| format!("{{{{ with index .Alerts 0 }}}}{{{{ {action} }}}}{{{{ end }}}}");
    let cases = [
        (".StartsAt", "2024-01-02 03:04:05.123 +0000 UTC"),
        (".EndsAt", "0001-01-01 00:00:00 +0000 UTC"),
        (".EndsAt.IsZero", "true"),
        (".StartsAt.Format \"2006-01-02 15:04:05\"", "2024-01-02 03:04:05"),
        (".StartsAt.Format \"Mon Jan _2 3:04PM '06 .000 Z07:00 -0700 MST\"", "Tue Jan  2 3:04AM '24 .123 Z +0000 UTC"),
        (".StartsAt.Format \"Monday, January 2 (02) Month\"", "Tuesday, January 2 (02) Month"),
        ("(.StartsAt.Add 28800e9).Format \"2006-01-02 15:04:05\"", "2024-01-02 11:04:05"),
        (".StartsAt | tz \"Asia/Shanghai\" | date \"15:04:05 MST -07:00\"", "11:04:05 CST +08:00"),
        (".StartsAt | date \"2006\"", "2024"),
        (".StartsAt.Unix", "1704164645"),
        (".StartsAt.Weekday", "Tuesday"),
        ("(.StartsAt.Add 90000000000).Sub .StartsAt", "1m30s"),
        ("((.StartsAt.Add 90000000000).Sub .StartsAt).Minutes", "1.5"),
        ("if gt (since .StartsAt).Hours 1.0 }}old{{ end", "old"),
        ("humanizeDuration ((.StartsAt.Add 5400e9).Sub .StartsAt)", "1h 30m 0s"),
        ("(.StartsAt.UTC.Add 1e6).UnixMilli", "1704164645124"),
    ];
    for (action, want) in cases {
        check(&first(action), want);
    }
    check("{{ with index .Alerts 1 }}{{ .EndsAt.Sub .StartsAt }}{{ end }}", "59m59.877s");
}

#[test]
fn html_is_escaped_by_context() {
    let source = "<a href=\"{{ .ExternalURL }}\">{{ .CommonAnnotations.summary }}</a>{{ safeHtml \"<b>\" }}\
                  <a href=\"javascript:{{ .Status }}\" title=\"{{ .CommonAnnotations.summary }}\"></a>";
    let text = Templates::defaults().html(source).expect("parses");
    let out = text.render(&data(&notification(), 3)).expect("renders");
    assert!(out.starts_with("<a href=\"http://am.example\">a &lt; b</a><b>"), "{out}");
    assert!(out.contains("title=\"a &lt; b\""), "{out}");
    let error = Templates::defaults().html("<a href=\"{{ .Status }}").expect_err("no context");
    assert!(error.contains("ends in a non-text context"), "{error}");
}

#[test]
fn defaults_render_for_every_channel() {
    let templates = Templates::defaults();
    let mut quiet = notification();
    quiet.alerts.retain(|a| a.resolved);
    quiet.group_labels = Labels::empty();
    let empty = Notification { alerts: Vec::new(), ..notification() };
    for n in [notification(), quiet, empty] {
        for name in ["dingtalk.default.title", "dingtalk.default.text", "email.default.subject", "email.default.text"] {
            let text = templates.text(&format!("{{{{ template {name:?} . }}}}")).expect("parses");
            let out = text.render(&data(&n, n.alerts.len())).expect(name);
            assert!(!out.contains("<no value>") && !out.contains("map["), "{name}: {out}");
        }
        let html = templates.html("{{ template \"email.default.html\" . }}").expect("parses");
        let out = html.render(&data(&n, n.alerts.len())).expect("renders");
        assert!(
            out.starts_with("<!DOCTYPE html>") && !out.contains("ZgotmplZ") && !out.contains("<no value>"),
            "{out}"
        );
    }
}

#[test]
fn bad_templates_are_named_when_the_file_is_read() {
    let cases = [
        ("{{ .Status ", "unclosed action"),
        ("a\n{{ end }}b", "has no block"),
        ("a\n{{ if .Status }}b", "from line 2 on"),
        ("{{ define \"d\" }}b", "a block has no"),
        ("a{{ else }}b", "has no block"),
        ("{{ shout .Status }}", "function \"shout\" is not defined"),
        ("x\n{{ template \"nope\" . }}", "line 2: template \"nope\" is not defined"),
        ("{{ define \"d\" }}{{ shout 1 }}{{ end }}{{ template \"d\" . }}", "function \"shout\""),
    ];
    for (source, want) in cases {
        let error = Templates::defaults().text(source).expect_err(source);
        assert!(error.contains(want), "{source}: {error}");
    }
}

#[test]
fn a_failing_action_is_an_error_and_not_a_panic() {
    let sources = [
        "{{ .Nope }}",
        "{{ .Status.Format \"x\" }}",
        "{{ index .Alerts 99 }}",
        "{{ tz \"Mars/Olympus\" \"x\" }}",
        "{{ match \"(\" \"x\" }}",
        "{{ toUpper }}",
        "{{ join }}",
        "{{ range 10000000 }}{{ end }}",
        "{{ range 100000 }}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{ end }}",
        "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}",
        "{{ .Alerts.Labels }}",
        "{{ .CommonLabels.Remove }}",
        "{{ .Status 1 }}",
    ];
    for source in sources {
        let text = Templates::defaults().text(source).expect(source);
        assert!(text.render(&data(&notification(), 3)).is_err(), "{source}");
    }
}

#[test]
fn files_define_and_replace() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
    write("a.tmpl", "{{ define \"mine\" }}1{{ end }}{{ define \"__subject\" }}S{{ end }}");
    write("b.tmpl", "{{ define \"mine\" }}2{{ end }}");
    write("bad.txt", "x\n{{ if }}");
    let decode = |yaml: &str| {
        let document = Document::parse(&folder.path().join("am.yml"), yaml).expect("is YAML");
        let templates = Templates::decode(&document.root().items());
        (templates, document.finish().err().map(|p| p.to_string()).unwrap_or_default())
    };
    let (templates, problems) = decode("['*.tmpl', 'none-*.tmpl']");
    assert_eq!(problems, "");
    let text = templates.text("{{ template \"mine\" . }}{{ template \"email.default.subject\" . }}").expect("parses");
    assert_eq!(text.render(&data(&notification(), 3)).expect("renders"), "2S");
    let (_, problems) = decode("[bad.txt]");
    assert!(problems.contains("am.yml:1:2:") && problems.contains("bad.txt:2:"), "{problems}");
    let (_, problems) = decode("[missing.tmpl]");
    assert!(problems.contains("no such file"), "{problems}");
}

proptest! {
    #[test]
    fn no_template_panics(source in r"(\{\{[ a-zA-Z.$|()0-9\x22-]{0,20}\}\}|[a-z\n]){0,6}") {
        if let Ok(text) = Templates::defaults().text(&source) {
            let _ = text.render(&data(&notification(), 3));
        }
    }

    #[test]
    fn no_layout_or_duration_panics(layout in "\\PC{0,40}", written in "[-+0-9.a-zµ ]{0,12}") {
        let _ = super::time::GoTime::from_ms(TimestampMs(1)).format(&layout);
        if let Some(ns) = super::time::parse_duration(&written) {
            let _ = super::time::format_duration(ns);
        }
    }

    #[test]
    fn times_and_durations_survive_as_text(ms in -62_135_596_800_000i64..253_402_300_799_000, ns in any::<i64>()) {
        let time = super::time::GoTime::from_ms(TimestampMs(ms));
        prop_assert_eq!(super::time::GoTime::read(&time.to_string()).expect("reads"), time);
        // Read as floating point, like every number in a template.
        let back = super::time::parse_duration(&super::time::format_duration(ns));
        prop_assert!(ns.unsigned_abs() > 1 << 52 || back.is_some_and(|b| b.abs_diff(ns) <= 1), "{ns} {back:?}");
    }
}
