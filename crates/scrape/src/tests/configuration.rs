//! What an operator may write, and what is said about the rest.

use std::time::Duration;

use config::{Document, Global};

use crate::ScrapeConfig;

fn problems(yaml: &str) -> Vec<String> {
    let document = Document::parse("c.yml".as_ref(), yaml).expect("is YAML");
    let fields = document.root().mapping().expect("a mapping");
    let _ = ScrapeConfig::decode_all(&fields, &Global::default());
    fields.finish();
    document.finish().err().map(|p| p.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn a_full_entry_has_no_problem() {
    let entry = r#"
scrape_configs:
- job_name: everything
  scrape_interval: 15s
  scrape_timeout: 5s
  metrics_path: /m
  scheme: https
  params: {module: [a, b]}
  honor_labels: true
  honor_timestamps: false
  track_timestamps_staleness: true
  enable_compression: false
  sample_limit: 1
  label_limit: 2
  label_name_length_limit: 3
  label_value_length_limit: 4
  target_limit: 5
  body_size_limit: 10MB
  keep_dropped_targets: 10
  follow_redirects: false
  scrape_protocols: [PrometheusProto, PrometheusText0.0.4]
  fallback_scrape_protocol: PrometheusText0.0.4
  basic_auth: {username: u, password: p}
  tls_config: {insecure_skip_verify: true}
  static_configs: [{targets: ['a:1'], labels: {b: c}}]
  file_sd_configs: [{files: ['targets/*.yml'], refresh_interval: 1m}]
  relabel_configs: [{source_labels: [a], target_label: b}]
  metric_relabel_configs: [{action: drop, source_labels: [a], regex: b}]
"#;
    assert_eq!(problems(entry), [""; 0]);
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    let cases = [
        ("{}", "c.yml:1:18: job_name is missing"),
        ("{job_name: ''}", "job_name is empty"),
        ("{job_name: a, scrape_interval: 5s, scrape_timeout: 6s}", "scrape timeout greater than scrape interval (5s)"),
        ("{job_name: a, scrape_interval: 0s}", "must be longer than 0"),
        ("{job_name: a, scheme: ftp}", "\"ftp\" is not a scheme"),
        ("{job_name: a, static_configs: [{targets: ['http://b']}]}", "\"http://b\" is not a valid hostname"),
        ("{job_name: a, static_configs: [{targets: ['']}]}", "no address"),
        ("{job_name: a, static_configs: [{targets: ['b:port']}]}", "\"b:port\" is not an address: invalid port number"),
        ("{job_name: a, static_configs: [{targets: ['b:99999']}]}", "\"b:99999\" is not an address: invalid port"),
        ("{job_name: a, static_configs: [{targets: ['b:1:2']}]}", "\"b:1:2\" is not an address: invalid port"),
        ("{job_name: a, static_configs: [{targets: [':9100']}]}", "\":9100\" is not an address: empty host"),
        ("{job_name: a, static_configs: [{targets: ['::1']}]}", "\"::1\" is not an address"),
        ("{job_name: a, static_configs: [{targets: ['[::1']}]}", "\"[::1\" is not an address"),
        ("{job_name: a, static_configs: [{target: [b]}]}", "did you mean \"targets\"?"),
        ("{job_name: a, file_sd_configs: [{files: [b.txt]}]}", "not valid for file discovery"),
        ("{job_name: a, file_sd_configs: [{}]}", "at least one path name"),
        (
            "{job_name: a, kubernetes_sd_configs: [{role: pod}]}",
            "kubernetes_sd_configs is not supported yet; use file_sd_configs",
        ),
        ("{job_name: a, http_sd_configs: [{url: x}]}", "http_sd_configs is not supported yet; use file_sd_configs"),
        ("{job_name: a, scrape_protocols: [OpenMetricsText1.0.0]}", "add PrometheusText0.0.4"),
        ("{job_name: a, fallback_scrape_protocol: PrometheusProto}", "use PrometheusText0.0.4"),
        ("{job_name: a, relabel_configs: [{action: x}]}", "unknown relabel action"),
        ("{job_name: a, sample_limit: -1}", "expected a whole number from 0"),
        ("{job_name: a, honour_labels: true}", "did you mean \"honor_labels\"?"),
    ];
    for (entry, want) in cases {
        let found = problems(&format!("scrape_configs: [{entry}]"));
        assert!(found.len() == 1 && found[0].contains(want), "{entry}: {found:?}");
    }
}

#[test]
fn a_job_given_twice_names_both_lines() {
    let found = problems("scrape_configs:\n- job_name: a\n- job_name: b\n- job_name: a\n");
    let want = "c.yml:4:3: found multiple scrape configs with job name \"a\": in line 2 and in line 4; rename one";
    assert_eq!(found, [want]);
}

#[test]
fn the_timeout_gives_way_to_the_interval() {
    let decode = |yaml: &str| {
        let document = Document::parse("c.yml".as_ref(), yaml).expect("is YAML");
        ScrapeConfig::decode(&document.root(), &Global::default()).expect("decodes")
    };
    let config = decode("{job_name: a, scrape_interval: 3s}");
    assert_eq!((config.interval, config.timeout), (Duration::from_secs(3), Duration::from_secs(3)));
    let config = decode("{job_name: a}");
    assert_eq!((config.interval, config.timeout), (Duration::from_secs(60), Duration::from_secs(10)));
}
