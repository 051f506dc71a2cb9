//! One process of ours, which can die and come back at the same address with the same folder.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Folder, Process, binary, free_port, until};

/// One process, which can die and come back.
pub struct Member {
    pub name: String,
    role: &'static str,
    address: SocketAddr,
    folder: Folder,
    config: Option<PathBuf>,
    pub flags: Vec<String>,
    process: Option<Process>,
    starts: usize,
}

impl Member {
    /// Not started yet; an empty configuration is none.
    pub fn new(role: &'static str, name: &str, config: &str) -> Self {
        let (folder, address) = (Folder::new(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let config = (!config.is_empty()).then(|| folder.write("config.yml", config));
        Self { name: name.to_owned(), role, address, folder, config, flags: Vec::new(), process: None, starts: 0 }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(format!("{}.{}.log", self.role, self.starts))
    }

    /// Takes another configuration at the next start or reload.
    pub fn configure(&mut self, config: &str) {
        self.config = Some(self.folder.write("config.yml", config));
    }

    /// A file beside its configuration.
    pub fn write(&self, name: &str, text: &str) {
        self.folder.write(name, text);
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&mut self) {
        runtime::install_tls();
        self.starts += 1;
        // To a process that ignores the signal, a file that may not grow any more is an error, as on a full disk.
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#]).arg(binary());
        command.arg(self.role).args(&self.flags);
        command.args(self.config.iter().map(|path| format!("--config.file={}", path.display())));
        command.arg(format!("--storage.path={}", self.folder.path().join("store").display()));
        command.arg(format!("--web.listen-address={}", self.address));
        self.process = Some(Process::start(&mut command, &self.log()));
        let url = format!("http://{}/-/ready", self.address);
        until(&format!("readiness of {}", self.name), || async {
            let answer = reqwest::get(&url).await.map_err(|e| e.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        })
        .await;
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("was started")
    }

    /// `kill -9`, until it is gone.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("was started");
        process.signal("KILL");
        let _ = process.ended().await;
    }

    /// An orderly end.
    pub async fn terminate(&mut self) {
        let mut process = self.process.take().expect("was started");
        process.signal("TERM");
        let status = process.ended().await;
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}

impl Drop for Member {
    /// Of a test that failed, the end of the log says more than the test can.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(12)..];
            eprintln!("--- {} at {}, start {}\n{}", self.name, self.address, self.starts, last.join("\n"));
        }
    }
}
