//! The sections `rule_files` and `alerting`.

use super::*;
use crate::Alertmanagers;

#[test]
fn reads_what_prometheus_reads() {
    let config = decode(
        r#"
alerting:
  alert_relabel_configs: [{action: labeldrop, regex: replica}]
  alertmanagers:
  - scheme: https
    path_prefix: /am/
    timeout: 3s
    api_version: v2
    basic_auth: {username: u, password: p}
    static_configs:
    - targets: ['a:9093', 'b:9093', 'a:9093']
      labels: {zone: x}
    relabel_configs: [{source_labels: [__address__], regex: 'b:.*', action: drop}]
  - static_configs: [{targets: ['[::1]:9093']}]
"#,
    )
    .expect("is valid");
    let want = Alertmanagers {
        active: vec!["http://[::1]:9093/api/v2/alerts".into(), "https://a:9093/am/api/v2/alerts".into()],
        dropped: vec!["https://b:9093/am/api/v2/alerts".into()],
    };
    assert_eq!(config.alerting.alertmanagers(), want);
    assert_eq!(decode("alerting:\nrule_files:\n").expect("is valid"), EvaluationConfig::default());
}

#[test]
fn names_what_is_wrong_and_where() {
    let cases = [
        ("rule_files: [/nonexistent/r.yml]", "c.yml:1:14: cannot read /nonexistent/r.yml"),
        ("rule_files: ['/nonexistent*/r.yml']", "last component only"),
        ("alerting: {alertmanager: []}", "did you mean \"alertmanagers\"?"),
        ("alerting: {alertmanagers: [{api_version: v1}]}", "only api_version v2"),
        ("alerting: {alertmanagers: [{scheme: ftp}]}", "use http or https"),
        ("alerting: {alertmanagers: [{timeout: 0s}]}", "longer than 0"),
        ("alerting: {alertmanagers: [{static_configs: [{targets: ['http://a:1']}]}]}", "write host:port"),
        ("alerting: {alertmanagers: [{static_configs: [{targets: ['a:99999']}]}]}", "write host:port"),
        ("alerting: {alertmanagers: [{static_configs: [{target: [a]}]}]}", "did you mean \"targets\"?"),
        ("alerting: {alertmanagers: [{file_sd_configs: []}]}", "use static_configs"),
        ("alerting: {alertmanagers: [{tls_config: {ca_file: /nonexistent}}]}", "cannot read /nonexistent"),
        ("alerting: {alert_relabel_configs: [{action: nope}]}", "unknown relabel action"),
    ];
    for (text, want) in cases {
        let problems = decode(text).expect_err(text).to_string();
        assert!(problems.contains(want), "{text}: {problems}");
    }
}

#[test]
fn loads_rule_files_and_names_all_problems() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writes");
    write("b.yml", "groups: [{name: b, rules: [{record: r, expr: x}]}]");
    write("a.yml", "groups: [{name: a, interval: 5s, rules: []}]");
    let path = folder.path().display();
    let config = decode(&format!("rule_files: ['{path}/*.yml', '{path}/a.yml']")).expect("is valid");
    let defaults = GroupDefaults { interval: Duration::from_secs(7), ..GroupDefaults::default() };
    let loaded = config.load_rules(&engine(), &defaults).expect("loads");
    let found: Vec<_> = loaded.groups.iter().map(|g| (g.name.as_str(), g.interval.as_secs())).collect();
    assert_eq!(found, [("a", 5), ("b", 7)]);
    write("a.yml", "groups: [{nam: a}]");
    write("b.yml", "groups: [{name: b, rules: [{record: r, expr: 'x('}]}]");
    let problems = config.load_rules(&engine(), &defaults).expect_err("are wrong").to_string();
    assert!(problems.contains("a.yml:1:11: unknown key \"nam\"") && problems.contains("b.yml:1:"), "{problems}");
}
