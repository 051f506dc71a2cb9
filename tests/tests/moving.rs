//! Moving out: what a store exports, Debian's promtool reads, sample for sample.

use std::process::{Command, Output};

use model::{Labels, Row, Sample, TimestampMs};

use crate::harness::{Folder, Process, binary, free_port, until};

fn run(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    output
}

/// Lines in an order of their own: dumps of several blocks need not come in one.
fn lines(output: &Output) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_reads_what_is_exported_sample_for_sample() {
    runtime::install_tls();
    let (folder, port) = (Folder::new(), free_port());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut command = Command::new(binary());
    command.arg("central").arg(format!("--storage.path={}", path("store")));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let mut process = Process::start(&mut command, &folder.path().join("central.log"));
    let start = runtime::now().0 - 6 * 3_600_000;
    let row = |i: usize| Row {
        labels: Labels::from_pairs([("__name__", "moved"), ("series", &(i % 5).to_string())]),
        sample: Sample { timestamp: TimestampMs(start + (i / 5) as i64 * 60_000), value: (i * 7 % 11) as f64 / 4.0 },
    };
    let body = remote_write::Encoder::default().encode(&(0..1500).map(row).collect::<Vec<_>>(), &[]);
    let client = reqwest::Client::new();
    until("the samples are taken", || async {
        let request = client
            .post(format!("http://127.0.0.1:{port}/api/v1/write"))
            .header("Content-Type", remote_write::CONTENT_TYPE)
            .header("Content-Encoding", remote_write::CONTENT_ENCODING);
        let answer = request.body(body.clone()).send().await.map_err(|e| e.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    })
    .await;
    process.signal("TERM");
    assert!(process.ended().await.success());

    let store = format!("--storage.path={}", path("store"));
    run(binary(), &["tsdb", "verify", &store]);
    run(binary(), &["tsdb", "export", &store, &format!("--output={}", path("out"))]);
    run("promtool", &["tsdb", "analyze", &path("out")]);
    let (ours, theirs) = (run(binary(), &["tsdb", "dump", &store]), run("promtool", &["tsdb", "dump", &path("out")]));
    assert_eq!(lines(&ours).len(), 1500);
    assert_eq!(lines(&ours), lines(&theirs));

    // And back: an export is a Prometheus data folder, too.
    let again = format!("--storage.path={}", path("again"));
    run(binary(), &["tsdb", "import", &format!("--from={}", path("out")), &again]);
    assert_eq!(lines(&run(binary(), &["tsdb", "dump", &again])), lines(&ours));
}
