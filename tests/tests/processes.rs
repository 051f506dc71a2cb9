//! The binary as a user starts it: bad starts, reload, an orderly stop.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{DEADLINE, Folder, Process, binary, free_port, query, query_some, start, until};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_bad_configuration_is_refused_with_every_problem_and_its_line() {
    let folder = Folder::new();
    folder.write("broken-rules.yml", "groups:\n- name: a\n  rules:\n  - record: x\n    expr: sum(\n");
    let config = folder.write(
        "edge.yml",
        "global:\n  scrape_intervall: 5s\nrule_files: [broken-rules.yml, none.yml]\nscrape_configs:\n- job_name: a\n- job_name: a\n\
         remote_write:\n- url: 'http://central:9090/api/v1/write'\n  match: ['up{']\n",
    );
    for arguments in [
        vec!["edge", "--web.listen-address=127.0.0.1:0", "--config.file"],
        vec!["cascade", "--web.listen-address=127.0.0.1:0", "--config.file"],
        vec!["check", "config"],
    ] {
        let path = config.to_str().expect("is text");
        let output = run(&[arguments, vec![path]].concat());
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        for want in [
            "edge.yml:2:3: unknown key \"scrape_intervall\"; did you mean \"scrape_interval\"?",
            "none.yml",
            "edge.yml:6:",
            "edge.yml:9:",
            "broken-rules.yml:5:",
        ] {
            assert!(errors.contains(want), "{want:?} is not in:\n{errors}");
        }
    }
}

#[test]
fn unusable_arguments_are_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = format!("--web.listen-address={}", taken.local_addr().expect("has an address"));
    let cases: [(&[&str], &str); 6] = [
        (&["central", &address], "choose another port"),
        (&["central", "--web.listen-address=nonsense"], "HOST:PORT"),
        (
            &["central", "--web.listen-address=127.0.0.1:0", "--config.file=/nonexistent.yml"],
            "/nonexistent.yml: cannot read the file",
        ),
        (&["central", "--web.listen-address=127.0.0.1:0", "--web.external-url=here"], "--web.external-url"),
        (
            &["alerts", "--web.listen-address=127.0.0.1:0", "--config.file=/nonexistent.yml"],
            "/nonexistent.yml: cannot read the file",
        ),
        (&["edge", "--storage.retention.time=long"], "not a duration"),
    ];
    for (arguments, want) in cases {
        let output = run(arguments);
        let errors = text(&output.stderr);
        assert!(!output.status.success() && errors.contains(want), "{arguments:?}: {errors}");
    }
}

#[test]
fn every_command_explains_itself() {
    for command in ["edge", "cascade", "central", "alerts", "demo", "simulate", "check"] {
        let output = run(&[command, "--help"]);
        assert!(output.status.success() && text(&output.stdout).contains("Usage: highwater"), "{command}");
    }
    assert!(text(&run(&["--version"]).stdout).starts_with("highwater "));
}

/// `highwater check KIND FILE...`, which must find nothing wrong.
fn check(kind: &str, files: &[std::path::PathBuf]) {
    let files: Vec<&str> = files.iter().filter_map(|f| f.to_str()).collect();
    let output = run(&[&["check", kind], files.as_slice()].concat());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn every_example_is_valid() {
    let deploy =
        |names: &[&str]| names.iter().map(|n| crate::harness::root().join("deploy").join(n)).collect::<Vec<_>>();
    check("config", &deploy(&["edge.yml", "cascade.yml", "central.yml"]));
    check("rules", &deploy(&["rules/edge.yml", "rules/cascade.yml", "rules/central.yml"]));
    check("alerts", &deploy(&["alerts.yml"]));
}

#[test]
fn every_configuration_of_the_readme_is_valid() {
    let folder = Folder::new();
    for rules in ["edge.yml", "cascade.yml", "central.yml"] {
        let from = crate::harness::root().join("deploy/rules").join(rules);
        folder.write(&format!("rules/{rules}"), &std::fs::read_to_string(from).expect("is readable"));
    }
    let readme = std::fs::read_to_string(crate::harness::root().join("README.md")).expect("is readable");
    let blocks: Vec<&str> = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 4, "one configuration per role");
    for (i, block) in blocks.into_iter().enumerate() {
        let kind = if block.contains("receivers:") { "alerts" } else { "config" };
        check(kind, &[folder.write(&format!("{i}.yml"), block)]);
    }
}

async fn get(port: u16, path: &str) -> Result<String, String> {
    runtime::install_tls();
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.map_err(|e| e.to_string())?;
    let ok = answer.status().is_success();
    let body = answer.text().await.map_err(|e| e.to_string())?;
    if ok { Ok(body) } else { Err(body) }
}

/// A role with its log in `ROLE.log`.
fn role(name: &str, folder: &Folder, port: u16, format: &str, config: &Path) -> Process {
    let mut command = Command::new(binary());
    command.arg(name).arg(format!("--config.file={}", config.display()));
    command.args([format!("--web.listen-address=127.0.0.1:{port}"), format!("--log.format={format}")]);
    command.arg(format!("--storage.path={}", folder.path().join("data").display()));
    Process::start(&mut command, &folder.path().join(format!("{name}.log")))
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_on_hangup_and_on_request_and_ends_on_terminate() {
    let (folder, port) = (Folder::new(), free_port());
    let config = folder.write("central.yml", "global: {external_labels: {central: a}}\n");
    let mut process = role("central", &folder, port, "json", &config);
    until("readiness", || get(port, "/-/ready")).await;
    assert!(get(port, "/-/healthy").await.is_ok());

    folder.write("central.yml", "global: {external_labels: {central: b}}\n");
    process.signal("HUP");
    until("the new configuration", || async {
        get(port, "/api/v1/status/config").await.and_then(|c| if c.contains("central: b") { Ok(()) } else { Err(c) })
    })
    .await;

    folder.write("central.yml", "nonsense: 1\n");
    let client = reqwest::Client::new();
    let refused = client.post(format!("http://127.0.0.1:{port}/-/reload")).send().await.expect("answers");
    assert_eq!(refused.status(), 500);
    assert!(refused.text().await.expect("is text").contains("unknown key \"nonsense\""));
    let metrics = get(port, "/metrics").await.expect("answers");
    assert!(metrics.contains("highwater_config_last_reload_successful 0"), "{metrics}");
    assert!(get(port, "/api/v1/status/config").await.expect("answers").contains("central: b"));

    process.signal("TERM");
    assert!(process.ended().await.success());
    let log = std::fs::read_to_string(folder.path().join("central.log")).expect("there is a log");
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "not JSON: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_ends_sends_what_it_holds() {
    let (folder, port) = (Folder::new(), free_port());
    let central = start::<central::Central>(None).await;
    let config = folder.write(
        "edge.yml",
        &format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, external_labels: {{metacluster: cell-a}}}}\n\
             scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n\
             remote_write: [{{url: 'http://{}/api/v1/write', queue_config: {{batch_send_deadline: 1h, max_samples_per_send: 50000}}}}]\n",
            central.address()
        ),
    );
    let mut edge = role("edge", &folder, port, "logfmt", &config);
    // Everything waits for the hour to pass, or for the end.
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    until("a few scrapes", || async {
        let count = query_some(address, "count_over_time(up[1m])").await?[0].value;
        if count >= 3.0 { Ok(()) } else { Err(format!("{count} scrapes")) }
    })
    .await;
    assert_eq!(query(central.address(), "up").await, Ok(vec![]));
    edge.signal("TERM");
    assert!(edge.ended().await.success());
    let sent =
        query_some(central.address(), r#"count_over_time(up{metacluster="cell-a"}[1m])"#).await.expect("is there");
    assert!(sent[0].value >= 3.0, "only {} samples arrived", sent[0].value);
    let log = std::fs::read_to_string(folder.path().join("edge.log")).expect("there is a log");
    assert!(log.lines().all(|line| line.contains("level=")), "not logfmt: {log}");
    central.stop(DEADLINE).await;
}
