//! One file per case: what a user gets to read, and what the router makes of it.

use std::path::Path;
use std::time::Duration;

use config::Document;
use model::{Labels, TimestampMs};
use notify::Delivery;

use super::Config;
use crate::engine::route::GroupBy;

fn load(text: &str) -> Result<Config, Vec<String>> {
    Document::parse(Path::new("am.yml"), text)
        .and_then(|document| Config::decode(document, &Delivery::default()))
        .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
}

const RECEIVERS: &str = "receivers: [{name: a}, {name: b}]\n";

#[test]
fn every_problem_is_named_with_its_place() {
    let cases = [
        ("route: {receiver: a, reciever: b}\n", "am.yml:2:22: unknown key \"reciever\"; did you mean \"receiver\"?"),
        ("route: {receiver: x}\n", "am.yml:2:19: there is no receiver \"x\"; defined are \"a\", \"b\""),
        ("route: {receiver: a, routes: [{receiver: y}]}\n", "there is no receiver \"y\""),
        ("route: {group_by: [x]}\n", "the root route has no receiver"),
        ("route: {receiver: a, matchers: [x=y]}\n", "must not have matchers"),
        ("route: {receiver: a, match: {x: y}}\n", "must not have match"),
        ("route: {receiver: a, continue: true}\n", "must not have continue"),
        ("route: {receiver: a, mute_time_intervals: [x]}\n", "must not have mute_time_intervals"),
        ("route: {receiver: a, group_by: ['...', x]}\n", "stands alone"),
        ("route: {receiver: a, group_by: [x, x]}\n", "stands twice"),
        ("route: {receiver: a, group_interval: 0s}\n", "am.yml:2:38: must be longer than 0"),
        ("route: {receiver: a, repeat_interval: 0s}\n", "must be longer than 0"),
        ("route: {receiver: a, group_wait: soon}\n", "not a duration"),
        ("route: {receiver: a, routes: [{matchers: ['x']}]}\n", "am.yml:2:43: bad matcher \"x\""),
        ("route: {receiver: a, routes: [{match_re: {x: '['}}]}\n", "invalid regular expression"),
        ("route: {receiver: a, routes: [{mute_time_intervals: [night]}]}\n", "there is no time interval \"night\""),
        ("route: {receiver: a}\ninhibit_rules: [{source_matchers: ['x=~[']}]\n", "bad matcher"),
        ("route: {receiver: a}\ninhibit_rules: [{source: x}]\n", "unknown key \"source\""),
        ("route: {receiver: a}\ntime_intervals: [{name: n, time_intervals: [{weekdays: [someday]}]}]\n", "not a day"),
        ("route: {receiver: a}\ntime_intervals: [{name: n}, {name: n}]\n", "\"n\" is defined twice"),
        ("route: {receiver: a}\nglobal: {resolve_timeout: 0s}\n", "must be longer than 0"),
        ("route: {receiver: a}\nfoo: 1\n", "am.yml:3:1: unknown key \"foo\""),
        ("{}\n", ""),
    ];
    for (text, want) in cases {
        let text = if text == "{}\n" { RECEIVERS.to_owned() } else { format!("{RECEIVERS}{text}") };
        let problems = load(&text).expect_err(&text);
        assert!(problems.iter().any(|p| p.contains(want)), "{text}: {problems:?}");
    }
}

#[test]
fn what_exists_only_elsewhere_is_one_problem() {
    for section in ["slack_configs: [{channel: x}]", "pagerduty_configs: {}", "slack_configs: x"] {
        let text = format!("route: {{receiver: a}}\nreceivers: [{{name: a, {section}}}]\n");
        let problems = load(&text).expect_err("has a problem");
        assert!(problems.len() == 1 && problems[0].contains("am.yml:2:23: "), "{problems:?}");
        assert!(problems[0].contains("is not supported yet; use webhook_configs"), "{problems:?}");
    }
}

#[test]
fn problems_come_all_at_once() {
    let problems = load("route: {receiver: x, group_interval: 0s}\nreceivers: [{name: a}, {name: a}]\nfoo: 1\n");
    let problems = problems.expect_err("has problems");
    assert!(problems.len() >= 4, "{problems:?}");
    assert!(problems.iter().any(|p| p.contains("the receiver \"a\" is defined twice")), "{problems:?}");
    assert!(load("").is_err());
    assert!(load("- 1\n").is_err());
}

#[test]
fn children_inherit_all_but_time_intervals() {
    let text = "
route:
  receiver: a
  group_by: [alertname]
  group_wait: 1s
  routes:
    - matchers: [ team=\"x\", severity=~\"p|q\" ]
      receiver: b
      mute_time_intervals: [always]
      repeat_interval: 1h
      continue: true
      routes:
        - match: {env: prod}
          group_by: ['...']
time_intervals:
  - name: always
    time_intervals: [{}]
receivers: [{name: a}, {name: b}]
";
    let config = load(text).expect("is valid");
    let (child, grandchild) = (config.routes.get(1).expect("exists"), config.routes.get(2).expect("exists"));
    assert_eq!(child.key, r#"{}/{severity=~"p|q",team="x"}"#);
    assert_eq!(child.options.group_wait, Duration::from_secs(1));
    assert_eq!(grandchild.options.receiver, "b");
    assert_eq!(grandchild.options.repeat_interval, Duration::from_secs(3600));
    assert_eq!(grandchild.options.group_by, GroupBy::All);
    assert_eq!(config.muted_by(&child.options, TimestampMs(0)), ["always"]);
    assert_eq!(config.muted_by(&grandchild.options, TimestampMs(0)), Vec::<String>::new());
    let alert = Labels::from_pairs([("team", "x"), ("severity", "p"), ("env", "prod")]);
    assert_eq!(config.routes.matching(&alert), [2]);
}

#[test]
fn defaults_are_those_of_alertmanager() {
    let config = load(&format!("route: {{receiver: a}}\n{RECEIVERS}")).expect("is valid");
    let root = &config.routes.get(0).expect("exists").options;
    let seconds = [root.group_wait, root.group_interval, root.repeat_interval, config.resolve_timeout];
    assert_eq!(seconds.map(|d| d.as_secs()), [30, 300, 14_400, 300]);
    assert_eq!(root.group_by, GroupBy::Labels(Vec::new()));
}

#[test]
fn a_route_is_active_only_within_its_intervals() {
    let text = "
route:
  receiver: a
  routes: [{receiver: b, active_time_intervals: [morning, never]}]
time_intervals:
  - name: morning
    time_intervals: [{times: [{start_time: '06:00', end_time: '12:00'}]}]
  - name: never
    time_intervals: [{years: ['1970']}]
receivers: [{name: a}, {name: b}]
";
    let config = load(text).expect("is valid");
    let child = &config.routes.get(1).expect("exists").options;
    let at = |text: &str| TimestampMs(text.parse::<jiff::Timestamp>().expect("parses").as_millisecond());
    assert!(config.muted_by(child, at("2026-01-31T07:00:00Z")).is_empty());
    assert_eq!(config.muted_by(child, at("2026-01-31T13:00:00Z")), ["morning", "never"]);
}

#[test]
fn the_shown_configuration_has_no_secrets_and_reads_back() {
    let text = r#"
global: {smtp_auth_password: hush, resolve_timeout: 5m}
route: {receiver: a, group_by: [], routes: [{match: {x: "yes: no"}}]}
receivers:
  - name: a
    webhook_configs:
      - url: "https://user:hush@hooks.example.org/path/hush?token=hush"
        http_config: {authorization: {credentials: hush}, http_headers: {X-Key: {values: [hush]}}}
      - url: http://127.0.0.1:5001/
    dingtalk_configs:
      - {webhook: "https://oapi.dingtalk.com/robot/send?access_token=hush", secret: hush, title: 'a: "b"'}
"#;
    let document = Document::parse(Path::new("am.yml"), text).expect("is YAML");
    let shown = super::redact::redact(&document.root());
    let want = r##"global:
  smtp_auth_password: <secret>
  resolve_timeout: 5m
route:
  receiver: a
  group_by: []
  routes:
  - match:
      x: "yes: no"
receivers:
- name: a
  webhook_configs:
  - url: "https://hooks.example.org/<secret>"
    http_config:
      authorization:
        credentials: <secret>
      http_headers:
        X-Key:
          values:
          - <secret>
  - url: "http://127.0.0.1:5001/"
  # dingtalk_configs:
  # - webhook: "https://oapi.dingtalk.com/<secret>"
  #   secret: <secret>
  #   title: "a: \"b\""
"##;
    assert_eq!(shown, want);
    assert!(!shown.contains("hush"));
    assert!(Document::parse(Path::new("shown.yml"), &shown).is_ok());
}
