//! Targets over time: reports, what a reload keeps and ends, files, limits, shutdown.

use std::sync::atomic::Ordering;
use std::time::Duration;

use model::TimestampMs;

use super::support::{Behaviour, FakeTarget, Server, scrape_config, wait_for};
use crate::{Health, ScrapeConfig};

const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

fn job(name: &str, targets: &[&FakeTarget], more: &str) -> ScrapeConfig {
    let addresses: Vec<_> = targets.iter().map(|t| format!("'{}'", t.address)).collect();
    scrape_config(&format!(
        "{{job_name: {name}, scrape_interval: 200ms, static_configs: [{{targets: [{}]}}]{more}}}",
        addresses.join(", ")
    ))
}

#[tokio::test]
async fn every_scrape_reports_on_itself() {
    let target = FakeTarget::start(Behaviour::body("# HELP a What it is.\n# TYPE a gauge\na 1\nd 2\n")).await;
    let drop_d = ", metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: d}]";
    let server = Server::start(vec![job("j", &[&target], drop_d)]);
    let address = target.address.as_str();
    wait_for("two scrapes", || (server.store.values("up", address).len() >= 2).then_some(())).await;
    let store = &server.store;
    assert_eq!(store.values("scrape_samples_scraped", address)[..2], ["2", "2"]);
    assert_eq!(store.values("scrape_samples_post_metric_relabeling", address)[..2], ["1", "1"]);
    assert_eq!(store.values("scrape_series_added", address)[..2], ["1", "0"]);
    assert_eq!(store.metadata().len(), 1);
    assert_eq!(store.metadata()[0].help, "What it is.");
    let rows = store.rows();
    let labels = rows.iter().find(|r| r.labels.metric_name() == "a").map(|r| r.labels.to_string());
    assert_eq!(labels, Some(format!("a{{instance=\"{address}\", job=\"j\"}}")));
    let times: Vec<TimestampMs> =
        rows.iter().filter(|r| r.labels.metric_name() == "a").map(|r| r.sample.timestamp).collect();
    assert!(times.is_sorted() && times[0] != times[1], "{times:?}");
    let status = server.target(address).expect("is there");
    assert_eq!((status.scrape_pool.as_str(), status.health), ("j", Health::Up));
    assert_eq!(status.scrape_url, format!("http://{address}/metrics"));
    assert_eq!(status.global_url, status.scrape_url.replace("127.0.0.1", "edge.example"));
    assert_eq!(status.discovered_labels.get("__address__"), Some(address));
    assert!(status.last_scrape.is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_store_that_takes_nothing_leaves_a_gap_and_healthy_targets() {
    let target = FakeTarget::start(Behaviour::body("a 1\n")).await;
    let (server, address) = (Server::start(vec![job("j", &[&target], "")]), target.address.as_str());
    server.store.wait_for_last("a", address, "1").await;
    server.store.full.store(true, Ordering::Relaxed);
    // Each scrape is one sample and five about itself.
    wait_for("two lost scrapes", || {
        let metrics = String::from_utf8_lossy(&server.metrics.render()).into_owned();
        let lost = metrics.lines().find_map(|l| l.strip_prefix("highwater_scrape_samples_lost_total "))?;
        (lost.parse::<f64>().expect("is a number") >= 12.0).then_some(())
    })
    .await;
    let stored = server.store.values("up", address).len();
    let status = server.target(address).expect("is there");
    assert_eq!((status.health, status.last_error.as_str()), (Health::Up, ""));
    server.store.full.store(false, Ordering::Relaxed);
    wait_for("what comes after", || (server.store.values("up", address).len() > stored).then_some(())).await;
    assert!(server.store.values("up", address).iter().all(|up| up == "1"));
    server.stop().await;
}

#[tokio::test]
async fn a_reload_ends_what_it_removes_and_nothing_else() {
    let (stays, leaves) =
        (FakeTarget::start(Behaviour::body("a 1\n")).await, FakeTarget::start(Behaviour::body("a 1\n")).await);
    let server = Server::start(vec![job("one", &[&stays, &leaves], ""), job("two", &[&stays], "")]);
    for target in [&stays, &leaves] {
        server.store.wait_for_last("a", &target.address, "1").await;
    }
    wait_for("job two", || {
        let is_two = |r: &model::Row| r.labels.get("job") == Some("two");
        server.store.rows().iter().any(is_two).then_some(())
    })
    .await;

    // Job one loses a target and changes its timeout, job two goes.
    server.manager.reload(vec![job("one", &[&stays], ", scrape_timeout: 150ms")]).await.expect("reloads");
    for metric in REPORTS.iter().chain(&["a"]) {
        assert_eq!(server.store.last(metric, &leaves.address).as_deref(), Some("stale"), "{metric}");
    }
    let rows = server.store.rows();
    let of_two: Vec<_> = rows.iter().filter(|r| r.labels.get("job") == Some("two")).collect();
    let ended = of_two.iter().filter(|r| model::is_stale(r.sample.value)).count();
    assert_eq!(ended, REPORTS.len() + 1);
    assert!(of_two[of_two.len() - ended..].iter().all(|r| model::is_stale(r.sample.value)));
    assert_eq!(server.manager.scrape_pools(), ["one"]);
    assert_eq!(server.manager.targets().active.len(), 1);
    let quiet = leaves.request_count();

    let before = server.store.values("up", &stays.address).len();
    wait_for("more scrapes", || (server.store.values("up", &stays.address).len() >= before + 2).then_some(())).await;
    let of_one: Vec<_> = server.store.rows().into_iter().filter(|r| r.labels.get("job") == Some("one")).collect();
    let of_stays = |metric: &str| -> Vec<f64> {
        let wanted = |r: &&model::Row| {
            r.labels.metric_name() == metric && r.labels.get("instance") == Some(stays.address.as_str())
        };
        of_one.iter().filter(wanted).map(|r| r.sample.value).collect()
    };
    assert!(of_stays("a").iter().all(|v| *v == 1.0), "a kept series was ended");
    assert_eq!(of_stays("scrape_series_added").iter().sum::<f64>(), 1.0, "the cache did not survive");
    assert_eq!(leaves.request_count(), quiet, "a removed target was scraped");
    server.stop().await;
}

#[tokio::test]
async fn new_rules_apply_to_known_series() {
    let target = FakeTarget::start(Behaviour::body("a 1\nb 1\n")).await;
    let server = Server::start(vec![job("j", &[&target], "")]);
    server.store.wait_for_last("b", &target.address, "1").await;
    let drop_b = ", metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: b}]";
    server.manager.reload(vec![job("j", &[&target], drop_b)]).await.expect("reloads");
    server.store.wait_for_last("b", &target.address, "stale").await;
    assert!(server.store.values("a", &target.address).iter().all(|v| v == "1"));
    server.stop().await;
}

#[tokio::test]
async fn a_reload_that_cannot_work_changes_nothing() {
    let target = FakeTarget::start(Behaviour::body("a 1\n")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let server = Server::start(vec![job("j", &[&target], "")]);
    // The certificate is fine when the configuration is read and gone when the client is built.
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("makes a certificate");
    std::fs::write(&file, authority.cert.pem()).expect("writes");
    let broken = job("k", &[&target], &format!(", tls_config: {{ca_file: '{}'}}", file.display()));
    std::fs::remove_file(&file).expect("removes");
    let error = server.manager.reload(vec![broken]).await.expect_err("is refused").to_string();
    assert!(error.contains("scrape job \"k\""), "{error}");
    assert_eq!(server.manager.scrape_pools(), ["j"]);
    server.store.wait_for_last("a", &target.address, "1").await;
    server.stop().await;
}

#[tokio::test]
async fn shutdown_ends_no_series() {
    let target = FakeTarget::start(Behaviour::body("a 1\n")).await;
    let hangs = FakeTarget::start(Behaviour::Hang(Vec::new())).await;
    let server = Server::start(vec![job("j", &[&target, &hangs], "")]);
    server.store.wait_for_last("a", &target.address, "1").await;
    wait_for("a hanging scrape", || (hangs.request_count() > 0).then_some(())).await;
    let began = std::time::Instant::now();
    let store = server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(store.rows().iter().all(|r| !model::is_stale(r.sample.value)));
}

#[tokio::test]
async fn files_come_change_and_go() {
    let target = FakeTarget::start(Behaviour::body("a 1\n")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.yml");
    let yaml = format!(
        "{{job_name: j, scrape_interval: 200ms, file_sd_configs: [{{files: ['{}/*.yml']}}], \
          relabel_configs: [{{action: drop, source_labels: [drop], regex: 'yes'}}]}}",
        folder.path().display()
    );
    let server = Server::start(vec![scrape_config(&yaml)]);
    std::fs::write(&file, format!("- targets: ['{}']\n  labels: {{env: x}}\n", target.address)).expect("writes");
    server.store.wait_for_last("a", &target.address, "1").await;
    let status = server.target(&target.address).expect("is there");
    assert_eq!(status.labels.get("env"), Some("x"));
    assert_eq!(status.discovered_labels.get("__meta_filepath"), file.to_str());

    std::fs::write(&file, format!("- targets: ['{}', other]\n  labels: {{drop: 'yes'}}\n", target.address))
        .expect("writes");
    server.store.wait_for_last("up", &target.address, "stale").await;
    let targets = wait_for("dropped targets", || {
        let targets = server.manager.targets();
        (targets.active.is_empty() && targets.dropped.len() == 2).then_some(targets)
    })
    .await;
    assert_eq!(targets.dropped_counts["j"], 2);
    assert_eq!(targets.dropped[0].discovered_labels.get("drop"), Some("yes"));
    server.stop().await;
}

#[tokio::test]
async fn too_many_targets_fail_together() {
    let (one, two) =
        (FakeTarget::start(Behaviour::body("a 1\n")).await, FakeTarget::start(Behaviour::body("a 1\n")).await);
    let server = Server::start(vec![job("j", &[&one, &two], ", target_limit: 1")]);
    for target in [&one, &two] {
        server.store.wait_for_last("up", &target.address, "0").await;
        let want = "target_limit exceeded (number of targets: 2, limit: 1)";
        wait_for("the reason", || server.target(&target.address).filter(|t| t.last_error == want)).await;
        assert_eq!(target.request_count(), 0);
    }
    server.manager.reload(vec![job("j", &[&one], ", target_limit: 1")]).await.expect("reloads");
    server.store.wait_for_last("a", &one.address, "1").await;
    server.stop().await;
}

#[tokio::test]
async fn the_same_target_found_twice_is_scraped_once() {
    let target = FakeTarget::start(Behaviour::body("a 1\n")).await;
    let server = Server::start(vec![job(
        "j",
        &[&target, &target],
        ", keep_dropped_targets: 1, relabel_configs: [{action: drop, source_labels: [x], regex: y}]",
    )]);
    server.store.wait_for_last("a", &target.address, "1").await;
    assert_eq!(server.manager.targets().active.len(), 1);
    server.stop().await;
}
