//! Debian's prometheus and a central side by side, with the same samples and the same lookback.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tier::{App, Options};

use super::answer::Answer;
use super::data;
use crate::harness::{DEADLINE, Folder, Process, free_port, until};

/// A multiple of 5 s and two: see [`data`].
const LOOKBACK_SECONDS: u64 = 297;

/// When a query is asked, in seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub enum When {
    At(i64),
    Over { start: i64, end: i64, step: i64 },
}

/// Both servers.
pub struct Servers {
    _folder: Folder,
    _process: Process,
    prometheus: SocketAddr,
    central: App<central::Central>,
    client: reqwest::Client,
}

impl Servers {
    /// Starts both and gives them the data.
    pub async fn start() -> Self {
        runtime::install_tls();
        let folder = Folder::new();
        let prometheus = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = folder.write("prometheus.yml", "global: {scrape_interval: 1h}\n");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("prometheus").display()));
        command.arg(format!("--web.listen-address={prometheus}")).arg("--web.enable-remote-write-receiver");
        command.arg(format!("--query.lookback-delta={LOOKBACK_SECONDS}s"));
        let process = Process::start(&mut command, &folder.path().join("prometheus.log"));
        let options = Options {
            query_lookback: Duration::from_secs(LOOKBACK_SECONDS),
            ..Options::new("127.0.0.1:0", folder.path().join("central"))
        };
        let mut central = App::build(options).await.unwrap_or_else(|e| panic!("central does not build: {e}"));
        central.start().unwrap_or_else(|e| panic!("central does not start: {e}"));
        let client = reqwest::Client::builder().timeout(DEADLINE).build().expect("a client");
        let servers = Self { _folder: folder, _process: process, prometheus, central, client };
        servers.load().await;
        servers
    }

    async fn load(&self) {
        let ready = format!("http://{}/-/ready", self.prometheus);
        until("prometheus", || async {
            let answer = self.client.get(&ready).send().await.map_err(|e| e.to_string())?;
            answer.error_for_status().map(drop).map_err(|e| e.to_string())
        })
        .await;
        for batch in data::batches() {
            let body = remote_write::encode(&batch);
            for server in [self.prometheus, self.central.address()] {
                let request = self.client.post(format!("http://{server}/api/v1/write")).body(body.clone());
                let request = request
                    .header("Content-Type", "application/x-protobuf")
                    .header("Content-Encoding", "snappy")
                    .header("X-Prometheus-Remote-Write-Version", "0.1.0");
                let answer = request.send().await.expect("answers");
                let status = answer.status();
                assert!(status.is_success(), "{server}: {status}: {}", answer.text().await.unwrap_or_default());
            }
        }
    }

    /// What Prometheus says and what we say.
    pub async fn ask(&self, theirs: &str, ours: &str, when: When) -> Result<(Answer, Answer), String> {
        tokio::try_join!(self.ask_one(self.prometheus, theirs, when), self.ask_one(self.central.address(), ours, when))
    }

    async fn ask_one(&self, server: SocketAddr, query: &str, when: When) -> Result<Answer, String> {
        let (path, times) = match when {
            When::At(time) => ("query", vec![("time", time)]),
            When::Over { start, end, step } => ("query_range", vec![("start", start), ("end", end), ("step", step)]),
        };
        let mut form = vec![("query", query.to_owned())];
        form.extend(times.into_iter().map(|(name, value)| (name, value.to_string())));
        let request = self.client.post(format!("http://{server}/api/v1/{path}")).form(&form);
        let answer = request.send().await.map_err(|e| format!("{server}: {e}"))?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|e| format!("{server}: {e}"))?;
        Answer::read(status, &body).map_err(|e| format!("{server}: {e}"))
    }

    pub async fn stop(self) {
        self.central.stop(DEADLINE).await;
    }
}
