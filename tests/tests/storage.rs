//! A tier's folder as its operator meets it: one owner, what a restart keeps, administration, what it says of itself.

use std::net::SocketAddr;
use std::process::Command;

use model::{Labels, Row, Sample, TimestampMs};
use reqwest::{Client, StatusCode};
use serde_json::json;

use crate::harness::{Element, Folder, Process, api, binary, free_port, query, query_some, until};

/// A central without configuration.
struct Central {
    process: Process,
    address: SocketAddr,
}

impl Central {
    async fn start(folder: &Folder, flags: &[&str]) -> Self {
        runtime::install_tls();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(binary());
        command.arg("central").args([storage(folder), format!("--web.listen-address={address}")]).args(flags);
        let process = Process::start(&mut command, &folder.path().join("central.log"));
        until("readiness", || api(address, "status/runtimeinfo", &[])).await;
        Self { process, address }
    }

    async fn post(&self, path: &str) -> (StatusCode, String) {
        let answer = Client::new().post(format!("http://{}{path}", self.address)).send().await.expect("answers");
        (answer.status(), answer.text().await.expect("is text"))
    }

    /// One sample of each series, now.
    async fn write(&self, series: &[&str]) {
        let row = |name: &&str| Row {
            labels: Labels::from_pairs([("__name__", *name), ("region", "a")]),
            sample: Sample { timestamp: TimestampMs(runtime::now().0 / 1000 * 1000), value: 0.5 },
        };
        let rows: Vec<Row> = series.iter().map(row).collect();
        let request = Client::new()
            .post(format!("http://{}/api/v1/write", self.address))
            .header("Content-Type", remote_write::CONTENT_TYPE)
            .header("Content-Encoding", remote_write::CONTENT_ENCODING)
            .header(remote_write::VERSION_HEADER, remote_write::VERSION)
            .body(remote_write::Encoder::default().encode(&rows, &[]));
        assert_eq!(request.send().await.expect("answers").status(), StatusCode::NO_CONTENT);
    }

    async fn end(mut self) {
        self.process.signal("TERM");
        assert!(self.process.ended().await.success());
    }
}

fn storage(folder: &Folder) -> String {
    format!("--storage.path={}", folder.path().join("store").display())
}

fn values(found: &[Element]) -> Vec<f64> {
    found.iter().map(|element| element.value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_owner_and_keeps_what_it_holds() {
    let folder = Folder::new();
    let first = Central::start(&folder, &[]).await;
    first.write(&["kept"]).await;

    let second = ["central", &storage(&folder), "--web.listen-address=127.0.0.1:0"].map(str::to_owned);
    let refused = Command::new(binary()).args(second).output().expect("runs");
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("cannot open the store") && errors.contains(&first.process.id().to_string()), "{errors}");

    first.end().await;
    let again = Central::start(&folder, &[]).await;
    assert_eq!(values(&query_some(again.address, "kept").await.expect("is there")), [0.5]);
    let info = api(again.address, "status/runtimeinfo", &[]).await.expect("answers");
    assert_eq!((&info["storageRetention"], &info["corruptionCount"]), (&json!("15d"), &json!(0)));
    again.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_left_as_it_is() {
    let folder = Folder::new();
    let newer = folder.write("store/store.json", r#"{"format":"highwater-store","version":99,"created_ms":0}"#);
    let before = std::fs::read(&newer).expect("is there");
    let arguments = ["central", &storage(&folder), "--web.listen-address=127.0.0.1:0"].map(str::to_owned);
    let refused = Command::new(binary()).args(arguments).output().expect("runs");
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("version 99"), "{errors}");
    assert_eq!(std::fs::read(&newer).expect("is there"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn series_are_deleted_and_the_store_is_copied_where_that_is_allowed() {
    let folder = Folder::new();
    let central = Central::start(&folder, &["--web.enable-admin-api"]).await;
    central.write(&["kept", "gone"]).await;
    let delete = "/api/v1/admin/tsdb/delete_series?match[]=gone";
    assert_eq!(central.post(delete).await, (StatusCode::NO_CONTENT, String::new()));
    assert_eq!(query(central.address, "gone").await, Ok(vec![]));
    assert_eq!(central.post("/api/v1/admin/tsdb/clean_tombstones").await.0, StatusCode::NO_CONTENT);
    assert_eq!(query(central.address, "gone").await, Ok(vec![]));

    let (status, answer) = central.post("/api/v1/admin/tsdb/snapshot").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("is JSON");
    let name = answer["data"]["name"].as_str().expect("is named");
    let copied = folder.path().join("store/snapshots").join(name);
    assert!(copied.is_dir(), "{}", copied.display());
    central.end().await;

    // A copy is a store, and holds what was not deleted.
    let moved = Folder::new();
    std::fs::rename(copied, moved.path().join("store")).expect("moves");
    let copy = Central::start(&moved, &[]).await;
    assert_eq!(values(&query_some(copy.address, "kept").await.expect("is there")), [0.5]);
    assert_eq!(query(copy.address, "gone").await, Ok(vec![]));
    assert!(copy.post(delete).await.1.contains("admin APIs disabled"));
    copy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_tells_what_it_holds() {
    let folder = Folder::new();
    let flags = ["--storage.max-series=2", "--storage.retention.size=1GB", "--storage.tsdb.retention.time=1d"];
    let central = Central::start(&folder, &flags).await;
    central.write(&["a", "b"]).await;
    let status = api(central.address, "status/tsdb", &[("limit", "1")]).await.expect("answers");
    assert_eq!(status["headStats"]["numSeries"], 2);
    assert_eq!(status["seriesCountByLabelValuePair"], json!([{"name": "region=a", "value": 2}]));
    let info = api(central.address, "status/runtimeinfo", &[]).await.expect("answers");
    assert_eq!(info["storageRetention"], "1d or 1GB");
    let flags = api(central.address, "status/flags", &[]).await.expect("answers");
    assert_eq!((&flags["storage.max-series"], &flags["storage.source-label"]), (&json!("2"), &json!("region")));
    let metrics = reqwest::get(format!("http://{}/metrics", central.address)).await.expect("answers");
    let metrics = metrics.text().await.expect("is text");
    for line in [
        "prometheus_tsdb_head_series 2",
        "prometheus_tsdb_head_samples_appended_total{type=\"float\"} 2",
        "prometheus_tsdb_wal_corruptions_total 0",
        "highwater_store_writable 1",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in {metrics}");
    }
    central.end().await;
}
